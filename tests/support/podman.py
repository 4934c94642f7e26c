"""Podman as it runs in tests: without systemd, the network and images from elsewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

_CONFIGURATION = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]  # no more than may be had
volumes = [{volumes}]
"""


def put_podman(programs: Path) -> str:
    """Make the program `podman` in a directory; return why it runs no container, if so.

    It has an image `scikit-learn`: the host's own directories, with this interpreter as `python`.
    """
    real, runtime = shutil.which("podman"), shutil.which("runc") or shutil.which("crun")
    if real is None or runtime is None:
        return "there is no podman, or no runc"
    own = programs.parent / ".podman"  # a short path, as Podman wants it
    own.mkdir()
    volumes = ", ".join(f'"{path}:{path}:ro"' for path in _directories())
    (own / "containers.conf").write_text(_CONFIGURATION.format(volumes=volumes))
    options = f"--root={own}/images --runroot={own}/run --storage-driver=vfs"
    program = programs / "podman"
    program.write_text(
        f"#!/bin/sh\nexport CONTAINERS_CONF={own}/containers.conf\n"
        f'exec {real} {options} --runtime={runtime} --cgroup-manager=cgroupfs "$@"\n'
    )
    program.chmod(0o755)
    podman = str(program)
    for command in (
        [podman, "import", "--change=ENV PATH=/image:/usr/bin:/bin", "-", "scikit-learn"],
        [podman, "run", "--rm", "--network=none", "scikit-learn", "python", "-c", "pass"],
    ):
        done = subprocess.run(command, input=_image(), capture_output=True, timeout=60, check=False)
        if done.returncode != 0:
            return f"podman runs no container here: {done.stderr.decode().strip()}"
    return ""


def _directories() -> list[str]:
    """Return what is in the image: the system's programs, this interpreter and its packages."""
    system = ["/usr", *(path for path in ("/bin", "/lib", "/lib64") if Path(path).exists())]
    packages = [path for path in sys.path if path.endswith("-packages") and Path(path).is_dir()]
    own = [sys.base_prefix, sys.prefix, *packages]
    return [*system, *sorted({path for path in own if not path.startswith("/usr/")})]


def _image() -> bytes:
    """Return an archive with nothing but /image/python, and directories to mount on."""
    file = BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("image", "tmp", "etc"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(directory)
        script = f'#!/bin/sh\nexec {sys.executable} "$@"\n'.encode()
        python = tarfile.TarInfo("image/python")
        python.size, python.mode = len(script), 0o755
        archive.addfile(python, BytesIO(script))
    return file.getvalue()
