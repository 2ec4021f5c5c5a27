"""Subtitles are drawn on a machine without any font, and look the same on every machine."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cloudburst.job.loader import load_job
from cloudburst.videoapi import fonts, render
from cloudburst.videoapi.ffmpeg import Deadline
from tests.support.inputs import EXAMPLE
from tests.support.letters import drawn, expected, hide_fonts, likeness, pictures

if TYPE_CHECKING:
    from pathlib import Path

# In each of these a Chinese, Japanese or Korean reader sees at once whose font it is.
TEXTS = {
    "simplified": ("骨直返海", "SC"),
    "traditional": ("體灣龜齊", "TC"),
    "mixed": ("第3章 Hello", "SC"),
    "japanese": ("かなカナ骨直返海", "JP"),
    "korean": ("한글", "KR"),
}
REGIONS = {"SC": "zh-Hans", "TC": "zh-Hant", "JP": "ja", "KR": "ko"}


@pytest.fixture(autouse=True)
def no_installed_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_fonts(tmp_path, monkeypatch)


@pytest.mark.video
@pytest.mark.parametrize(("text", "region"), TEXTS.values(), ids=TEXTS)
def test_chinese_is_drawn_without_an_installed_font(tmp_path: Path, text: str, region: str) -> None:
    pixels, warnings = drawn(tmp_path, text)
    assert warnings == []
    face = fonts.face_for("中", REGIONS[region])
    assert face is not None
    assert face.family == f"Noto Sans CJK {region}"
    box = expected(face, "\U0010f123" * len(text))  # drawn as a box: the font has no glyph for it
    ideal = expected(face, text)
    assert pixels.shape == pytest.approx(ideal.shape, abs=8)
    assert likeness(pixels, ideal) > 0.85
    assert likeness(pixels, box) < 0.5


@pytest.mark.video
def test_chinese_characters_have_the_shapes_of_simplified_chinese(tmp_path: Path) -> None:
    pixels, _ = drawn(tmp_path, TEXTS["simplified"][0])
    face = fonts.face_for("中")
    assert face is not None
    japanese = fonts.Face("Noto Sans CJK JP", face.file, 0)
    assert likeness(pixels, expected(face, TEXTS["simplified"][0])) > 0.85
    assert likeness(pixels, expected(japanese, TEXTS["simplified"][0])) < 0.8


@pytest.mark.video
def test_latin_is_drawn_without_an_installed_font(tmp_path: Path) -> None:
    pixels, warnings = drawn(tmp_path, "Ünïcode, Việt, Ελλάδα")
    face = fonts.face_for("A")
    assert face is not None
    assert (warnings, face.family) == ([], "Noto Sans")
    assert likeness(pixels, expected(face, "Ünïcode, Việt, Ελλάδα")) > 0.75


@pytest.mark.video
@pytest.mark.parametrize("char", ["ก", "א", "अ", "ა", "☯", "🚀"])
def test_a_character_of_another_script_is_drawn_in_the_font_that_has_it(
    tmp_path: Path, char: str
) -> None:
    pixels, warnings = drawn(tmp_path, char)
    face = fonts.face_for(char)
    assert warnings == []
    assert face is not None
    # libass draws it at the size of the font of the rest, so that an em is an em.
    assert likeness(pixels, expected(face, char)) > 0.85


@pytest.mark.video
def test_no_box_is_drawn_for_a_character_that_no_font_has(tmp_path: Path) -> None:
    plain, _ = drawn(tmp_path, "中文")
    pixels, (warning,) = drawn(tmp_path, "中\U0010f123文\U0010f124")
    assert np.array_equal(pixels, plain)
    assert "U+10F123" in warning
    assert "U+10F124" in warning
    nothing, warnings = drawn(tmp_path, "\U0010f123")
    assert nothing.shape == (1, 1)
    assert len(warnings) == 1


def render_sunset(folder: Path) -> Path:
    """Render the example's scene with Chinese subtitles on a still picture."""
    scene = next(scene for scene in load_job(EXAMPLE).scenes if scene.name == "06-sunset")
    assert scene.options.subtitle is not None
    folder.mkdir()
    request = render.Request(
        scene.image.read_bytes(),
        scene.audio.read_bytes(),
        scene.options.subtitle.read_bytes(),
        background_box=False,
    )
    video, warnings = render.render(request, folder, Deadline(60), threads=2)
    assert warnings == []
    return video


@pytest.mark.video
@pytest.mark.slow
def test_the_example_looks_the_same_where_the_fonts_of_the_system_are_hidden(
    tmp_path: Path,
) -> None:
    folders = "/usr/share/fonts /usr/local/share/fonts /etc/fonts /var/cache/fontconfig"
    script = (
        f'for folder in {folders}; do [ ! -d "$folder" ] || mount -t tmpfs none "$folder" || exit'
        '\ndone\nexec "$@"'
    )
    hidden = ["unshare", "-m", "sh", "-c", script, "sh"]
    trial = subprocess.run([*hidden, "true"], capture_output=True, check=False, text=True)
    if trial.returncode:
        pytest.skip(f"only root can hide folders: {trial.stderr.strip()}")
    code = "import sys, pathlib; from tests.integration.test_fonts import render_sunset; "
    code += "assert not any(pathlib.Path('/usr/share/fonts').glob('*')); "
    code += "render_sunset(pathlib.Path(sys.argv[1]))"
    subprocess.run(
        [*hidden, sys.executable, "-c", code, str(tmp_path / "hidden")],
        check=True,
        cwd=EXAMPLE.parents[1],
        timeout=120,
    )
    frames = pictures(tmp_path / "hidden" / "video.mp4")
    assert all(map(np.array_equal, frames, pictures(render_sunset(tmp_path / "visible"))))
    # Cues are shown from 0.1 s and from 2.56 s on; without one, 0.0 s is the picture alone.
    first, second = (np.abs(frames[i].astype(int) - frames[0]) > 100 for i in (30, 100))
    assert min(first.sum(), second.sum()) > 2000
    assert (first ^ second).sum() > 2000
