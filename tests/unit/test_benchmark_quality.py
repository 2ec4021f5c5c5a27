"""What the benchmark of bytes and quality says of what it measured."""

from __future__ import annotations

import math
import subprocess
from typing import TYPE_CHECKING

import pytest

from benchmarks.quality import Row, Video, read, save, smallest, summary
from benchmarks.render import FFMPEG

if TYPE_CHECKING:
    from pathlib import Path

PEER = Video(size=2_000_000, cpu=30.0, mean=88.0, low=86.0)
GOOD = Row(PEER, Video(size=1_500_000, cpu=2.0, mean=95.2, low=94.1), least=1_200_000)
LARGE = Row(PEER, Video(size=2_500_000, cpu=2.5, mean=94.96, low=93.0), least=2_100_000)
BLURRED = Row(PEER, Video(size=1_000_000, cpu=3.0, mean=94.9, low=92.9), least=math.inf)


def test_bold_is_what_misses_the_aim() -> None:
    assert GOOD.text("brook", "baseline") == (
        "| brook | baseline | 2.00 / 1.50 | 0.75 | 88.0 / 86.0 | 95.2 / 94.1 | 30.0 / 2.0 | 15.0x |"
        " yes: 1.20 |"
    )
    assert "| **1.25** |" in LARGE.text("a", "b")
    assert LARGE.text("a", "b").endswith("| no: 2.10 |")
    assert "| **94.9 / 92.9** |" in BLURRED.text("a", "b")
    assert BLURRED.text("a", "b").endswith("| no: never 95 |")


def test_the_summary_counts_both_aims() -> None:
    text = summary({"a": GOOD, "b": LARGE, "c": BLURRED})
    assert "1 of 3 meet both" in text
    assert "95 / 93 (2)" in text
    assert "the peer (2)" in text
    assert "10.0 to 15.0, median 12.0" in text


def test_an_interrupted_run_knows_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    assert read(path) == {}
    save(path, {"a": GOOD, "c": BLURRED})
    assert read(path) == {"a": GOOD, "c": BLURRED}


@pytest.mark.video
def test_a_video_that_meets_the_goal_is_found(tmp_path: Path) -> None:
    reference = tmp_path / "reference.mp4"
    command = [FFMPEG, "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x192:r=30:d=0.8"]
    command += ["-f", "lavfi", "-i", "sine=d=0.8", "-c:v", "libx264", "-qp", "0"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", str(reference)], check=True)
    size = smallest(reference, tmp_path)
    assert 0 < size < reference.stat().st_size
