"""What a command sees of its datum, and the command lines that show it. Starts nothing.

Without a sandbox the inputs are symlinks into mounts. In a sandbox they are real files below /pfs,
nothing else can be written to but /pfs/out and /tmp, and there is no network unless asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vfs.pipeline.datums import Datum
    from vfs.pipeline.spec import Spec

INSIDE: Final = Path("/pfs")
_SYSTEM: Final = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "etc", "opt")


@dataclass(frozen=True, slots=True)
class View:
    """Where a datum's inputs are, and where its output is to be, outside of any sandbox."""

    directory: Path  # of this try: `pfs` is what the command sees, `log` what it writes
    mounts: Mapping[str, Path]  # of inputs, by name

    @property
    def output(self) -> Path:
        """Return the directory to write to."""
        return self.directory / "pfs" / "out"

    @property
    def log(self) -> Path:
        """Return the file with all that the command says."""
        return self.directory / "log"

    def make(self, datum: Datum, *, links: bool) -> None:
        """Make the directories, and with *links* symlinks to the inputs."""
        self.output.mkdir(parents=True)
        for source, name in self.sources(datum) if links else ():
            place = self.directory / "pfs" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(source)

    def sources(self, datum: Datum) -> Iterator[tuple[Path, Path]]:
        """Yield where the pieces of a datum are, and what they are called below `pfs`."""
        for piece in datum.pieces:
            path = os.fsdecode(b"/".join(piece.path))
            yield self.mounts[piece.atom.name] / path, Path(piece.atom.name, path)


def variables(spec: Spec, datum: Datum, pfs: Path) -> dict[str, str]:
    """Return the variables that tell a command of its datum."""
    found = {"VFS_PFS": str(pfs), "VFS_OUT": str(pfs / "out")}
    found |= {"VFS_DATUM": datum.id, "VFS_PIPELINE": spec.name}
    names = [piece.atom.name for piece in datum.pieces]
    for piece in datum.pieces:
        atom = piece.atom
        found[f"VFS_IN_{atom.variable}"] = str(pfs / atom.name)
        if names.count(atom.name) == 1:  # a group may have many
            path = pfs / atom.name / os.fsdecode(b"/".join(piece.path))
            found[f"VFS_FILE_{atom.variable}"] = str(path)
    return found


def bubblewrap(
    spec: Spec, view: View, binds: Sequence[tuple[Path, Path]], environment: Mapping[str, str]
) -> list[str]:
    """Return the command line of bwrap(1) that runs a datum."""
    line = ["bwrap", "--die-with-parent", "--new-session", "--unshare-all", "--clearenv"]
    if spec.network:
        line.append("--share-net")
    for name in _SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            line += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists():
            line += ["--ro-bind", str(path), str(path)]
    line += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 - one of its own
    line += ["--ro-bind", spec.directory, spec.directory, "--chdir", spec.directory]
    for source, target in binds:
        line += ["--ro-bind", str(source), str(target)]
    line += ["--bind", str(view.output), str(INSIDE / "out")]
    for name, value in environment.items():
        line += ["--setenv", name, value]
    return [*line, "--", *spec.command]


def container(
    spec: Spec,
    view: View,
    binds: Sequence[tuple[Path, Path]],
    environment: Mapping[str, str],
    id_file: Path,
) -> list[str]:
    """Return the command line of podman(1) or docker(1) that runs a datum.

    *id_file* gets the id of the container.
    """
    line = [spec.sandbox, "run", "--rm", "--init"]
    line += ["--cidfile", str(id_file)]
    if not spec.network:
        line += ["--network", "none"]
    if spec.memory:
        line += ["--memory", str(spec.memory)]
    line += ["--cpus", str(spec.cpus)]
    for source, target in binds:
        line += ["--mount", f"type=bind,source={source},target={target},readonly"]
    line += ["--mount", f"type=bind,source={view.output},target={INSIDE / 'out'}"]
    line += ["--mount", f"type=bind,source={spec.directory},target={spec.directory},readonly"]
    line += ["--workdir", spec.directory]
    for name, value in environment.items():
        line += ["--env", f"{name}={value}"]
    return [*line, spec.image, *spec.command]
