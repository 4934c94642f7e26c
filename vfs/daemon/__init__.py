"""The processes behind a mount: started, supervised, listed, ended."""

from vfs.daemon.control import MountInfo, MountSpec, list_mounts, mount, unmount

__all__ = ["MountInfo", "MountSpec", "list_mounts", "mount", "unmount"]
