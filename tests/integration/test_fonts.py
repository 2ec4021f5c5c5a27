"""Subtitles are drawn on a machine without any font, and look the same on every machine."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cloudburst.job.loader import load_job
from cloudburst.videoapi import render
from cloudburst.videoapi.ffmpeg import Deadline
from cloudburst.videoapi.typefaces import fonts
from tests.support.inputs import EXAMPLE
from tests.support.letters import (
    CJK,
    ITALIC,
    drawn,
    expected,
    hide_fonts,
    likeness,
    pictures,
)

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


@pytest.mark.video
@pytest.mark.parametrize("by_name", [False, True], ids=["file", "family"])
def test_the_font_that_the_user_chose_draws_the_letters(tmp_path: Path, by_name: bool) -> None:
    text = "affine Hamburg fg"
    italic = fonts.Face("Noto Sans Italic", str(ITALIC))
    font = "noto sans italic" if by_name else ITALIC.read_bytes()
    pixels, warnings = drawn(tmp_path, text, font)
    plain, _ = drawn(tmp_path, text)
    upright = fonts.face_for("A")
    assert upright is not None
    assert warnings == []
    assert pixels.shape == pytest.approx(expected(italic, text).shape, abs=8)
    assert likeness(pixels, expected(italic, text)) > 0.85
    assert likeness(plain, expected(upright, text)) > 0.85
    assert likeness(pixels, plain) < 0.6


@pytest.mark.video
def test_a_bold_font_is_a_font_of_its_own(tmp_path: Path) -> None:
    plain, _ = drawn(tmp_path, "lllllll")
    bold, warnings = drawn(tmp_path, "lllllll", "Noto Sans Bold")
    assert warnings == []
    assert bold.mean() > 1.2 * plain.mean(), "its strokes are wider"


@pytest.mark.video
def test_of_a_collection_the_face_of_the_language_draws(tmp_path: Path) -> None:
    text = "かな骨直返海"
    japanese, chinese = (
        fonts.Face(f"Noto Sans CJK {r}", str(CJK), i) for r, i in (("JP", 0), ("SC", 2))
    )
    assert fonts.face_for("中") == chinese
    pixels, warnings = drawn(tmp_path, text, CJK.read_bytes())
    assert warnings == []
    assert likeness(pixels, expected(japanese, text)) > 0.85
    assert likeness(pixels, expected(japanese, text)) > likeness(pixels, expected(chinese, text))
    latin, _ = drawn(tmp_path, "Hamburg", CJK.read_bytes())
    assert likeness(latin, expected(japanese, "Hamburg")) > 0.85
    assert likeness(latin, drawn(tmp_path, "Hamburg")[0]) < 0.85


@pytest.mark.video
def test_what_the_chosen_font_lacks_is_drawn_in_another(tmp_path: Path) -> None:
    pixels, warnings = drawn(tmp_path, "中文", ITALIC.read_bytes())
    face = fonts.face_for("中")
    assert face is not None
    assert warnings == []
    # An em is as large as one of the chosen font.
    plain = expected(face, "中文")
    assert likeness(pixels, plain) > 0.8
    mixed, warnings = drawn(tmp_path, "Hamburg 中\U0010f123", ITALIC.read_bytes())
    (warning,) = warnings
    assert "U+10F123" in warning
    assert mixed.shape[1] > pixels.shape[1]


@pytest.mark.video
def test_a_family_that_the_worker_does_not_have_is_reported_once(tmp_path: Path) -> None:
    pixels, (warning,) = drawn(tmp_path, "Hamburg", "Zapfino")
    assert warning == "no font on this worker is called Zapfino; Noto Sans is used instead"
    assert np.array_equal(pixels, drawn(tmp_path, "Hamburg")[0])


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
