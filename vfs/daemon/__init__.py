"""The processes behind a mount: started, supervised, listed, ended."""

from vfs.daemon.control import MountInfo, list_mounts, mount
from vfs.daemon.spec import MountSpec
from vfs.daemon.unmounting import unmount

__all__ = ["MountInfo", "MountSpec", "list_mounts", "mount", "unmount"]
