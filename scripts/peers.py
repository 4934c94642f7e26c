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
    directory = ""  # of its own, in the bench's; by default its name
    programs: tuple[str, ...] = ()
    version_command: tuple[str, ...] = ()
    keeps_content = True
    imports = True  # False: what is read is another peer's, or made up
    remembers = False  # an import again stores nothing that was there before

    def __init__(self, work: Path) -> None:
        self.directory = self.directory or self.name.replace(" ", "-")
        self.home = work / self.directory
        self.store = self.home / "store"
        self.env = {**os.environ, "HOME": str(self.home)}

    def missing(self) -> str | None:
        """Return the first program that is not installed."""
        return next((name for name in self.programs if shutil.which(name) is None), None)

    def version(self) -> str:
        """Return what it says of itself; nothing where it is as old as the machine."""
        if not self.version_command:
            return ""
        done = subprocess.run(self.version_command, capture_output=True, text=True, check=False)
        lines = (done.stderr + done.stdout).strip().splitlines()
        return next((line for line in lines if self.name in line), lines[0] if lines else "")

    def renew(self) -> None:
        """Make the store anew, with nothing in it."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        for command in self.init_commands():
            done = subprocess.run(
                command, env=self.env, cwd=self.home, capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(f"{command[0]} failed: {done.stderr.strip()}")

    def init_commands(self) -> list[Command]:
        return []

    def import_command(self, version: str = "bench") -> Command:
        """Return the command that imports its working directory as a version."""
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
    version_command: tuple[str, ...] = (
        sys.executable,
        "-m",
        "vfs",
        "--version",
    )
    remembers = True

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self.command: Command = [sys.executable, "-m", "vfs"]
        self.env["VFS_STORE"] = str(self.store)

    def init_commands(self) -> list[Command]:
        return [[*self.command, "init"], [*self.command, "create", "data"]]

    def import_command(self, version: str = "bench") -> Command:
        return [*self.command, "import", ".", "data", "-m", version, "--tag", version]

    def mount_command(self, mountpoint: Path) -> Command:
        return [*self.command, "mount", "--foreground", "--read-only", mountpoint]

    def view(self, mountpoint: Path) -> Path:
        return mountpoint / "data@bench"


class VfsOneWorker(Vfs):
    """The same store, served by one process."""

    name = "vfs, 1 worker"
    directory = Vfs.name
    imports = False

    def mount_command(self, mountpoint: Path) -> Command:
        return [*super().mount_command(mountpoint), "--workers", "1"]


class VfsWithBranches(Vfs):
    """The same store, mounted so that branches can be made: files are opened by requests."""

    name = "vfs, writable"
    directory = Vfs.name
    imports = False

    def mount_command(self, mountpoint: Path) -> Command:
        return [*self.command, "mount", "--foreground", mountpoint]


class BareReader(Peer):
    """Names and sizes of the source, and bytes that are made up: the floor for pyfuse3."""

    name = "bare pyfuse3"
    keeps_content = False
    imports = False

    def mount_command(self, mountpoint: Path) -> Command:
        script = Path(__file__).with_name("bare_reader.py")
        return [sys.executable, script, self.home.parent / "source", mountpoint]


class Squashfuse(Peer):
    name = "squashfuse"
    programs = ("mksquashfs", "squashfuse")
    version_command: tuple[str, ...] = (
        "squashfuse",
        "--help",
    )

    def import_command(self, version: str = "bench") -> Command:
        zstd = ["-comp", "zstd", "-Xcompression-level", "3"]
        return ["mksquashfs", ".", self.store, *zstd, "-noappend", "-quiet", "-no-progress"]

    def mount_command(self, mountpoint: Path) -> Command:
        return ["squashfuse", "-f", self.store, mountpoint]


class Borg(Peer):
    name = "borg"
    programs = ("borg",)
    version_command: tuple[str, ...] = (
        "borg",
        "--version",
    )
    remembers = True

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self.env |= {
            "BORG_BASE_DIR": str(self.home),
            "BORG_REPO": str(self.store),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }

    def init_commands(self) -> list[Command]:
        return [["borg", "init", "-e", "none"]]

    def import_command(self, version: str = "bench") -> Command:
        return ["borg", "create", "-C", "zstd", f"::{version}", "."]

    def mount_command(self, mountpoint: Path) -> Command:
        return ["borg", "mount", "-f", "::bench", mountpoint]


class Restic(Peer):
    name = "restic"
    programs = ("restic",)
    version_command: tuple[str, ...] = (
        "restic",
        "version",
    )
    remembers = True

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self.env |= {
            "RESTIC_CACHE_DIR": str(self.home / "cache"),
            "RESTIC_REPOSITORY": str(self.store),
            "RESTIC_PASSWORD": "bench",
        }

    def init_commands(self) -> list[Command]:
        return [["restic", "init"]]

    def import_command(self, version: str = "bench") -> Command:
        return ["restic", "backup", "--quiet", "--tag", version, "."]

    def mount_command(self, mountpoint: Path) -> Command:
        return ["restic", "mount", mountpoint]

    def view(self, mountpoint: Path) -> Path:
        return mountpoint / "snapshots" / "latest"


class Bup(Peer):
    name = "bup"
    programs = ("bup",)
    version_command: tuple[str, ...] = (
        "bup",
        "--version",
    )
    remembers = True

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self.env["BUP_DIR"] = str(self.store)

    def init_commands(self) -> list[Command]:
        return [["bup", "init"]]

    def import_command(self, version: str = "bench") -> Command:
        del version  # it names them by their time
        return ["sh", "-c", "bup index -u . && bup save -q --strip -n bench ."]

    def mount_command(self, mountpoint: Path) -> Command:
        return ["bup", "fuse", "-f", mountpoint]

    def view(self, mountpoint: Path) -> Path:
        return mountpoint / "bench" / "latest"


class VfsBranch(Vfs):
    """A branch, mounted to be written to."""

    branch = "data@main"
    directory = "vfs-branch"

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

    def import_command(self, version: str = "bench") -> Command:
        del version
        return ["sh", "-c", f"cp -a . '{self.store}' && sync -f '{self.store}'"]

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
    version_command: tuple[str, ...] = (
        "fuse-overlayfs",
        "--version",
    )

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
