"""The bundle makes a video API of a Python that has nothing of this checkout."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import venv
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import requests
from PIL import Image

from cloudburst.targets import bundle
from cloudburst.videoapi.typefaces import fonts
from tests.support.inputs import write_sound
from tests.support.letters import SIZE, cropped, expected, likeness, pictures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHINESE, RARE = "骨直返海", "ꀄꊿꐨ"


def start(
    folder: Path,
    *options: str,
    wanted: frozenset[str] = frozenset(),
    lock: str = "",
    **more: str,
) -> subprocess.Popen[str]:
    """Start the bundle in a virtual environment of its own, with nothing in its environment."""
    for name, data in bundle.bundle(wanted).files.items():
        (folder / name).write_bytes(data)
    if lock:
        (folder / bundle.LOCK).write_text(lock)
    if not (folder / "venv").exists():
        venv.create(folder / "venv", with_pip=True)
    environment = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return subprocess.Popen(
        [folder / "venv" / "bin" / "python", folder / bundle.ARCHIVE, *options],
        env=environment
        | {"TMPDIR": str(folder), "HOME": str(folder), "PATH": "/usr/bin:/bin"}
        | more,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@contextmanager
def served(folder: Path, wanted: frozenset[str]) -> Iterator[str]:
    process = start(folder, "--host", "127.0.0.1", "--port", "0", wanted=wanted)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("video API on "), line + process.stdout.read()
        yield line.split()[-1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
@pytest.mark.video
@pytest.mark.timeout(600)
def test_a_fresh_python_becomes_the_video_api_and_renders(tmp_path: Path) -> None:
    wanted = fonts.own_files(CHINESE + RARE)
    assert wanted
    Image.new("RGB", (1920, 1080)).save(tmp_path / "p.png")
    with served(tmp_path, wanted) as url:
        health = requests.get(f"{url}/health", timeout=60).json()
        assert (health["status"], health["version"]) == ("healthy", bundle.__version__)
        for text, char in ((CHINESE, "中"), (RARE, RARE[0])):
            answer = requests.post(
                f"{url}/create_video_onestep", json=request(tmp_path, text), timeout=120
            ).json()
            assert (answer.get("success"), answer.get("warnings")) == (True, []), answer
            video = tmp_path / "video.mp4"
            video.write_bytes(requests.get(url + answer["download_endpoint"], timeout=60).content)
            pixels = cropped(pictures(video)[0])
            face = fonts.face_for(char)
            assert face is not None
            assert likeness(pixels, expected(face, text)) > 0.8
            assert likeness(pixels, expected(face, text[::-1])) < 0.5
    (folder,) = tmp_path.glob("cloudburst-????????????????")
    inside = {path.name for path in (folder / "modules" / "cloudburst").iterdir()}
    ours = {"__init__.py", "language.py", "locale", "media", "version.py", "videoapi"}
    assert inside - {"__pycache__"} == ours
    # A container that its machine starts again has everything already.
    made = folder.stat().st_ctime_ns
    with served(tmp_path, wanted) as url:
        assert requests.get(f"{url}/health", timeout=60).status_code == 200
    assert folder.stat().st_ctime_ns == made


def request(folder: Path, text: str) -> dict[str, object]:
    def b64(data: bytes) -> str:
        return base64.b64encode(data).decode()

    return {
        "input_image": b64((folder / "p.png").read_bytes()),
        "input_audio": b64(write_sound(folder / "a.wav", 0.5, rate=8000).read_bytes()),
        "subtitle": b64(f"1\n00:00:00,000 --> 00:00:09,000\n{text}\n".encode()),
        "subtitle_checked": True,
        "font_size": SIZE,
        "background_box": False,
    }


def test_a_lock_that_pip_refuses_ends_it_with_pip_s_own_words(tmp_path: Path) -> None:
    (tmp_path / "venv").symlink_to(sys.prefix)  # it only needs pip
    (tmp_path / "wheels").mkdir()
    name = "nothing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(tmp_path / "wheels" / name, "w") as wheel:
        wheel.writestr("nothing.py", "")
    lock = f"nothing==1.0 --hash=sha256:{'0' * 64}\n"
    process = start(tmp_path, lock=lock, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "wheels"))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "DO NOT MATCH THE HASHES" in said
    assert said.strip().endswith("pip could not install requirements.lock: exit code 1")
    assert not list(tmp_path.glob("cloudburst-*"))
