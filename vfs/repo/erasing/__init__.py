"""Erasing contents from every version: what matches, who else has it, and doing it."""

from vfs.repo.erasing.plan import Content, Kept, Plan, make_plan
from vfs.repo.erasing.query import Query, Shared
from vfs.repo.erasing.run import Outcome, carry_out, check, gone_at, resume

__all__ = [
    "Content",
    "Kept",
    "Outcome",
    "Plan",
    "Query",
    "Shared",
    "carry_out",
    "check",
    "gone_at",
    "make_plan",
    "resume",
]
