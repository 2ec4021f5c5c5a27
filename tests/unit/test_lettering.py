"""What no font can draw is warned of before anything starts, per scene and once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from cloudburst.job.loader import load_job
from cloudburst.videoapi.subtitles import Cue
from cloudburst.videoapi.typefaces import fonts, lettering

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOWHERE = "\U0010f123"  # for private use: no packaged font has it
LINE = "1\n00:00:00,200 --> 00:00:02,000\n"


pytestmark = pytest.mark.usefixtures("packages_only")


def with_subtitles(job_file: Callable[..., Path], *texts: str) -> Path:
    path = job_file(
        "version: 1\nscenes:\n"
        + "".join(
            f"  - {{name: s{number}, image: p.png, audio: a.wav, subtitle: {number}.srt}}\n"
            for number in range(len(texts))
        )
    )
    for number, text in enumerate(texts):
        (path.parent / f"{number}.srt").write_text(f"{LINE}{text}\n", encoding="utf-8")
    return path


def test_a_character_that_no_font_has_is_told_with_its_scene(job_file: Callable[..., Path]) -> None:
    job = load_job(with_subtitles(job_file, "山 a", f"山{NOWHERE}b{NOWHERE}", "한글 😀 \u200d{x}"))
    (warning,) = job.warnings
    assert "scenes.yaml:4: scenes[1].subtitle: 1.srt: " in warning
    assert f": {NOWHERE} (U+10F123); CLOUDBURST_FONTS" in warning
    assert [scene.missing for scene in job.scenes] == ["", NOWHERE, ""]
    assert [len(scene.warnings) for scene in job.scenes] == [0, 1, 0]


def test_what_is_missing_is_what_the_renderer_misses() -> None:
    text = f"A中{{ก}} \u200b\ufe0f\n😀\U0010f124{NOWHERE}{NOWHERE}\t"
    assert lettering.missing([Cue(0, 1, text)]) == f"{NOWHERE}\U0010f124"
    assert lettering.missing([Cue(0, 1, text)]) == lettering.faces(text, "zh-Hans").missing


def test_without_any_font_spaces_and_joiners_are_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fonts, "_packaged", tuple)
    fonts._search.cache_clear()
    assert lettering.missing([Cue(0, 1, "中 \u200d\ufe0f\nA")]) == "A中"


def test_of_many_characters_the_first_ones_are_named() -> None:
    many = "".join(chr(0x10F100 + number) for number in range(12))
    assert lettering.named(many[:10]).count("U+") == 10
    assert lettering.named(many).endswith("U+10F109) and 2 more")


def test_many_scenes_cost_little() -> None:
    texts = [
        [Cue(0, 1, "".join(chr(0x4E00 + 60 * s + n) for n in range(60)) + NOWHERE)]
        for s in range(300)
    ]
    lettering.missing(texts[0])  # opens the fonts
    start = time.process_time()
    assert {lettering.missing(cues) for cues in texts} == {NOWHERE}
    assert time.process_time() - start < 0.3


def test_a_job_is_checked_without_the_libraries_of_the_renderer(
    job_file: Callable[..., Path],
) -> None:
    code = (
        "import sys, json; from cloudburst.job.loader import load_job; load_job(sys.argv[1]); "
        "print(json.dumps([name for name in ('cv2', 'flask', 'imageio_ffmpeg') "
        "if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(with_subtitles(job_file, "山"))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == []
