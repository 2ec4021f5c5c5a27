"""The process that encodes: how its end is seen, whoever sees it first."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

import pytest

from cloudburst.videoapi import ffmpeg

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def frames() -> Iterator[bytes]:
    """Give frames slowly: between two of them, whoever asks for them sees that ffmpeg ended."""
    for _ in range(100):
        time.sleep(0.05)
        yield b"frame"


def slowly() -> bool:
    """Nobody has gone; but it takes a while to see that."""
    time.sleep(0.4)
    return False


@pytest.mark.parametrize("forbidden", [False, True], ids=["pidfd", "no pidfd"])
def test_an_ffmpeg_whose_exit_its_feeder_collected_is_a_failed_render(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forbidden: bool
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho no such encoder >&2\nexit 3\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    if forbidden:

        def refuse(_: int) -> int:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(ffmpeg.RenderError, match=r"ffmpeg ended with 3: no such encoder"):
        ffmpeg.run([], tmp_path, ffmpeg.Deadline(10.0, slowly), frames())


def test_fontconfig_does_not_read_the_configuration_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text('#!/bin/sh\nprintf %s "$FONTCONFIG_FILE" > read\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    monkeypatch.setenv("FONTCONFIG_FILE", "/etc/fonts/fonts.conf")
    ffmpeg.run([], tmp_path, ffmpeg.Deadline(10.0))
    assert (tmp_path / "read").read_text() == str(tmp_path / "fonts.conf")


def test_a_failure_is_not_blamed_on_fontconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(
        '#!/bin/sh\necho "no such encoder\n[ass] Failed to load fontconfig fonts!" >&2\nexit 3\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    with pytest.raises(ffmpeg.RenderError, match=r"^ffmpeg ended with 3: no such encoder$"):
        ffmpeg.run([], tmp_path, ffmpeg.Deadline(10.0))
