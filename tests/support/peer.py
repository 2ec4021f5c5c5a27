"""The public image's own server, from PyPI, in a virtual environment of its own."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from cloudburst.paths import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIREMENT = "video-generation-api==1.0.1"


def missing() -> str | None:
    """Return why the server cannot run here, or None if it can."""
    absent = [tool for tool in ("ffmpeg", "ffprobe") if shutil.which(tool) is None]
    return f"{REQUIREMENT} needs {' and '.join(absent)} on PATH" if absent else None


def interpreter() -> Path:
    """Return the Python of its virtual environment; install it once, beside the engine's cache."""
    folder = cache_folder() / "peer" / REQUIREMENT
    python = folder / "bin" / "python"
    folder.parent.mkdir(exist_ok=True)
    # Tests run in several processes, and only one may install it.
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, with_pip=True)
            command = [str(python), "-m", "pip", "install", "--quiet"]
            command += ["--disable-pip-version-check", REQUIREMENT]
            subprocess.run(command, check=True, timeout=600)
            (folder / "ready").touch()
    return python


def copy_package(work: Path) -> Path:
    """Copy its package into a folder: it writes to its working directory, which must be its own."""
    package = work / "video_generation_api"
    find = "import video_generation_api as p; print(p.__path__[0])"
    command = [str(interpreter()), "-c", find]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    shutil.copytree(result.stdout.strip(), package, dirs_exist_ok=True)
    return package


def container(work: Path) -> list[str]:
    """Return its command as an image of the test cloud, see `testcloud.cloud.Cloud.images`."""
    copy_package(work)
    script = Path(__file__).with_name("peer_container.py")
    return [str(interpreter()), str(script), "{address}", "{port}", str(work)]


@contextmanager
def server(work: Path, key: str | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the server in a folder; yield its URL and its process."""
    python = interpreter()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {**os.environ, "PORT": str(port)}
    environment.pop("AUTHENTICATION_KEY", None)
    if key:
        environment["AUTHENTICATION_KEY"] = key
    # It writes to its working directory and reads from its package: they must be the same.
    package = copy_package(work)
    environment["PYTHONPATH"] = str(work)
    with (work / "peer.log").open("wb") as log:
        process = subprocess.Popen(
            [str(python), "-m", "video_generation_api.app"],
            cwd=package,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process)
        yield url, process
    finally:
        # Kill its ffmpeg processes too: on an invalid picture one of them loops forever.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            requests.get(f"{url}/health", timeout=5)
        except requests.ConnectionError:
            time.sleep(0.2)
        else:
            return
    sys.exit("the peer does not answer; see peer.log in its folder")
