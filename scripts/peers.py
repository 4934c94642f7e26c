"""The file systems that the benches compare: how each imports, where it keeps it, how it mounts.

Every cache, key and configuration of a peer stays in the bench's own directory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

Command = list[str | Path]


class Peer:
    """One way to keep a directory tree and to read it back."""

    name: str
    programs: tuple[str, ...] = ()
    keeps_content = True

    def __init__(self, work: Path) -> None:
        self.home = work / self.name.replace(" ", "-")
        self.store = self.home / "store"
        self.env = {**os.environ, "HOME": str(self.home)}

    def missing(self) -> str | None:
        """Return the first program that is not installed."""
        return next((name for name in self.programs if shutil.which(name) is None), None)

    def renew(self) -> None:
        """Make the store anew, with nothing in it."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        for command in self.init_commands():
            subprocess.run(
                command, env=self.env, check=True, stdout=subprocess.DEVNULL, cwd=self.home
            )

    def init_commands(self) -> list[Command]:
        return []

    def import_command(self) -> Command:
        """Return the command that imports its working directory."""
        raise NotImplementedError

    def base_command(self) -> Command | None:
        """Return the command by which its working directory comes to be below what is written.

        None where that can only be copied into the mount.
        """
        raise NotImplementedError

    def mount_command(self, mountpoint: Path) -> Command | None:
        """Return the command that mounts in the foreground; None where no mount is needed."""
        raise NotImplementedError

    def view(self, mountpoint: Path) -> Path:
        """Return where the imported tree is below the mount point."""
        return mountpoint


class Vfs(Peer):
    name = "vfs"

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self.command: Command = [sys.executable, "-m", "vfs"]
        self.env["VFS_STORE"] = str(self.store)

    def init_commands(self) -> list[Command]:
        return [[*self.command, "init"], [*self.command, "create", "data"]]

    def import_command(self) -> Command:
        return [*self.command, "import", ".", "data", "-m", "bench"]

    def mount_command(self, mountpoint: Path) -> Command:
        return [*self.command, "mount", "--foreground", mountpoint]

    def view(self, mountpoint: Path) -> Path:
        return mountpoint / "data@main"


class Plain(Peer):
    """A copy on the machine's own file system."""

    name = "plain copy"

    def import_command(self) -> Command:
        return ["sh", "-c", f"cp -a . '{self.store}' && sync -f '{self.store}'"]

    def mount_command(self, mountpoint: Path) -> None:
        del mountpoint

    def view(self, mountpoint: Path) -> Path:
        del mountpoint
        return self.store


class Squashfuse(Peer):
    name = "squashfuse"
    programs = ("mksquashfs", "squashfuse")

    def import_command(self) -> Command:
        zstd = ["-comp", "zstd", "-Xcompression-level", "3"]
        return ["mksquashfs", ".", self.store, *zstd, "-noappend", "-quiet", "-no-progress"]

    def mount_command(self, mountpoint: Path) -> Command:
        return ["squashfuse", "-f", self.store, mountpoint]


class Borg(Peer):
    name = "borg"
    programs = ("borg",)

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self.env |= {
            "BORG_BASE_DIR": str(self.home),
            "BORG_REPO": str(self.store),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }

    def init_commands(self) -> list[Command]:
        return [["borg", "init", "-e", "none"]]

    def import_command(self) -> Command:
        return ["borg", "create", "-C", "zstd", "::bench", "."]

    def mount_command(self, mountpoint: Path) -> Command:
        return ["borg", "mount", "-f", "::bench", mountpoint]


class Restic(Peer):
    name = "restic"
    programs = ("restic",)

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self.env |= {
            "RESTIC_CACHE_DIR": str(self.home / "cache"),
            "RESTIC_REPOSITORY": str(self.store),
            "RESTIC_PASSWORD": "bench",
        }

    def init_commands(self) -> list[Command]:
        return [["restic", "init"]]

    def import_command(self) -> Command:
        return ["restic", "backup", "--quiet", "."]

    def mount_command(self, mountpoint: Path) -> Command:
        return ["restic", "mount", mountpoint]

    def view(self, mountpoint: Path) -> Path:
        return mountpoint / "snapshots" / "latest"


class VfsBranch(Vfs):
    """A branch, mounted to be written to."""

    branch = "data@main"

    def base_command(self) -> Command:
        return self.import_command()

    def mount_command(self, mountpoint: Path) -> Command:
        return [*self.command, "mount", "--foreground", self.branch, mountpoint]

    def view(self, mountpoint: Path) -> Path:
        return mountpoint


class Directory(Peer):
    """A directory of the machine's own file system."""

    name = "ext4"

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        kind = subprocess.run(
            ["stat", "-f", "-c", "%T", work], capture_output=True, text=True, check=True
        ).stdout.strip()
        # What stat calls ext2/ext3 has been ext4 for a long time.
        self.name = "ext4" if kind == "ext2/ext3" else kind

    def base_command(self) -> Command:
        return ["cp", "-a", ".", self.store]

    def mount_command(self, mountpoint: Path) -> None:
        del mountpoint

    def view(self, mountpoint: Path) -> Path:
        del mountpoint
        return self.store


class FuseOverlayfs(Peer):
    """Upper directory, and the base as the lower one, on the machine's own file system."""

    name = "fuse-overlayfs"
    programs = ("fuse-overlayfs",)

    def init_commands(self) -> list[Command]:
        return [["mkdir", "upper", "scratch"]]

    def base_command(self) -> Command:
        return ["cp", "-a", ".", self.store]

    def mount_command(self, mountpoint: Path) -> Command:
        places = {"lowerdir": "store", "upperdir": "upper", "workdir": "scratch"}
        options = ",".join(f"{key}={self.home / name}" for key, name in places.items())
        return ["fuse-overlayfs", "-f", "-o", options, mountpoint]


class BarePyfuse3(Peer):
    """What takes names and attributes and drops the rest: the floor for whatever uses pyfuse3."""

    name = "bare pyfuse3"
    keeps_content = False

    def base_command(self) -> None:
        """There is no way in but the mount."""

    def mount_command(self, mountpoint: Path) -> Command:
        return [sys.executable, Path(__file__).with_name("bare_pyfuse3.py"), mountpoint]


class S3ql(Peer):
    """S3QL with a local back end, nothing encrypted, all else as it is by default."""

    name = "S3QL"
    programs = ("mkfs.s3ql", "mount.s3ql")

    def _options(self) -> Command:
        return ["--cachedir", self.home / "cache", "--authfile", os.devnull, "--log", "none"]

    def init_commands(self) -> list[Command]:
        make = ["mkfs.s3ql", "--plain", *self._options(), f"local://{self.store}"]
        return [["mkdir", self.store], make]

    def base_command(self) -> None:
        """There is no way in but the mount."""

    def mount_command(self, mountpoint: Path) -> Command:
        return ["mount.s3ql", "--fg", *self._options(), f"local://{self.store}", mountpoint]


ALL: tuple[type[Peer], ...] = (Vfs, Plain, Squashfuse, Borg, Restic)
WRITABLE: tuple[type[Peer], ...] = (VfsBranch, Directory, FuseOverlayfs, BarePyfuse3, S3ql)
