"""Mending a damaged store with what its own rows tell, and with what copies of it have."""

from vfs.repo.repair.run import Repair, repair_store

__all__ = ["Repair", "repair_store"]
