"""Run the video API from its archive: what a machine does with the bundle that it was given.

    python video-api.zip --host 0.0.0.0 --port 5000

Installs what the lock beside the archive names, with its hashes, unpacks the archive, whose fonts
have to be files, and becomes `cloudburst.videoapi`. A second start finds both done. Standard
library only: until the lock is installed there is nothing else, not even translations.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NoReturn

LOCK = "requirements.lock"
# Not compiled: most of what is installed is never imported, and compiling it takes longer than
# installing it.
_INSTALL = (
    *("install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-compile"),
    *("--root-user-action", "ignore", "--progress-bar", "off"),
    *("--require-hashes", "--no-deps", "--only-binary", ":all:"),
)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Become the server that is in the archive that this program was started from.

    Args:
        arguments: of the server; None for this process's.
    """
    archive = Path(sys.argv[0]).resolve()
    folder = prepared(archive, archive.with_name(LOCK), Path(tempfile.gettempdir()))
    modules = str(folder / "modules")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([modules, str(folder / "packages")])}
    options = sys.argv[1:] if arguments is None else arguments
    os.chdir(modules)
    command = [sys.executable, "-m", "cloudburst.videoapi", *options]
    os.execve(sys.executable, command, environment)  # noqa: S606 - without a shell


def prepared(archive: Path, lock: Path, below: Path) -> Path:
    """Return a folder with the archive's modules and the packages that they need.

    Args:
        archive: the modules.
        lock: what they need, with hashes.
        below: where the folder is made; one that an earlier start has finished is taken.

    Raises:
        SystemExit: pip could not install the packages; it has printed why.
    """
    files = (archive.read_bytes(), lock.read_bytes())
    digest = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in files)).hexdigest()
    folder = below / f"cloudburst-{digest[:16]}"
    if not folder.exists():
        staging = Path(tempfile.mkdtemp(prefix="cloudburst-making-", dir=below))
        try:
            _install(lock, staging / "packages")
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(staging / "modules")
            staging.rename(folder)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    return folder


def _install(lock: Path, folder: Path) -> None:
    """Install into a folder and not into the interpreter, which may not be this user's."""
    command = [sys.executable, "-m", "pip", *_INSTALL, "--target", str(folder)]
    done = subprocess.run([*command, "--requirement", str(lock)], check=False)
    if done.returncode:
        sys.exit(f"pip could not install {lock.name}: exit code {done.returncode}")
