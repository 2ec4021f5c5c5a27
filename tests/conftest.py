"""Fixtures for all tests. No test touches the user's state; the engine's cache is shared."""

from __future__ import annotations

import math
import os
import struct
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from cloudburst.videoapi import fonts

if TYPE_CHECKING:
    from collections.abc import Callable

needs_font = pytest.mark.skipif(
    fonts.face_for("A") is None, reason="no font on this machine, so no subtitles"
)
EXAMPLE = Path(__file__).parent.parent / "examples" / "scenes.yaml"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("live")
    group.addoption("--live", action="store_true", help="rent machines on the AWS account")
    group.addoption("--max-usd", type=float, default=0.5, help="most that one test may cost")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("live"):
        skip = pytest.mark.skip(reason="rents machines on a real AWS account; --live runs it")
        for item in items:
            if item.get_closest_marker("live"):
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """Give every test a state folder of its own, and none of the user's settings."""
    folder = tmp_path / "state"
    monkeypatch.setenv("CLOUDBURST_STATE", str(folder))
    for name in ("RESULTS_DIR", "PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_HOME"):
        monkeypatch.delenv(name, raising=False)
    if not request.node.get_closest_marker("live"):
        for name in [name for name in os.environ if name.startswith(("AWS_", "DOCKER_IMAGE"))]:
            monkeypatch.delenv(name)
    return folder


def write_picture(path: Path, size: tuple[int, int] = (320, 180), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.radial_gradient("L").resize(size).convert(mode).save(path)
    return path


def write_sound(path: Path, seconds: float = 1.0, rate: int = 16000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        count = round(seconds * rate)
        tone = (round(8000 * math.sin(i * 440 * math.tau / rate)) for i in range(count))
        file.writeframes(struct.pack(f"<{count}h", *tone))
    return path


SRT = "1\n00:00:00,100 --> 00:00:00,900\nHello there\n"


@pytest.fixture
def job_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a scenes.yaml beside one picture, one sound and one SRT file."""

    def write(text: str, name: str = "scenes.yaml") -> Path:
        folder = tmp_path / "job"
        if not folder.exists():
            write_picture(folder / "p.png")
            write_sound(folder / "a.wav")
            (folder / "s.srt").write_text(SRT)
        path = folder / name
        path.write_text(text)
        return path

    return write


def scenes_yaml(count: int, more: str = "", scene: str = "") -> str:
    """Give the text of a job of so many scenes, all of the same picture and sound."""
    lines = "".join(
        f"  - {{name: s{number:02d}, image: p.png, audio: a.wav{scene}}}\n"
        for number in range(1, count + 1)
    )
    return f"version: 1\n{more}scenes:\n{lines}"
