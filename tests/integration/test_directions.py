"""Text that runs from right to left is in the order in which Pillow draws it by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from cloudburst.videoapi.typefaces import fonts
from tests.support.letters import SIZE, cropped, drawn, frame, hide_fonts, likeness

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.letters import Pixels

# Lines, and what is seen in them from left to right: each word in its own order.
LINES = {
    "full stop": ("שלום לכולם. זה טוב!", ["!", "טוב", " ", "זה", " .", "לכולם", " ", "שלום"]),
    "arabic": ("مرحبا بالعالم.", [".", "بالعالم", " ", "مرحبا"]),
    "latin within": ("שלום CloudBurst 3.", [".CloudBurst 3 ", "שלום"]),
    "numbers": ("בשנת 2024 היו 15 ימים", ["ימים", " 15 ", "היו", " 2024 ", "בשנת"]),
    "hebrew within": ("say שלום עולם, ok.", ["say ", "עולם", " ", "שלום", ", ok."]),
    "brackets": ("שלום (עולם)", [")", "עולם", "( ", "שלום"]),
}


@pytest.fixture(autouse=True)
def no_installed_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_fonts(tmp_path, monkeypatch)


def by_hand(words: list[str]) -> Pixels:
    """Draw words beside each other with Pillow; it draws each in its own direction."""
    picture = Image.new("L", (2400, 300))
    pen = 50.0
    main = fonts.face_for("A")
    assert main is not None
    for word in words:
        face = fonts.face_for(word.strip() or "A") if len(word.strip()) == 1 else None
        face = face or fonts.face_for(word.strip()[:1] or "A")
        assert face is not None
        # One em is as large in each font.
        font = ImageFont.truetype(
            face.file, SIZE / main.height, face.index, layout_engine=ImageFont.Layout.RAQM
        )
        ImageDraw.Draw(picture).text((pen, 150), word, font=font, fill=255, anchor="ls")
        pen += font.getlength(word)
    return cropped(np.asarray(picture))


@pytest.mark.video
@pytest.mark.parametrize(("line", "words"), LINES.values(), ids=LINES)
def test_a_line_is_in_the_order_of_its_direction(
    tmp_path: Path, line: str, words: list[str]
) -> None:
    pixels, warnings = drawn(tmp_path, line)
    assert warnings == []
    ideal = by_hand(words)
    assert pixels.shape == pytest.approx(ideal.shape, abs=12)
    assert likeness(pixels, ideal) > 0.75
    assert likeness(pixels, by_hand(words[::-1])) < 0.5


@pytest.mark.video
def test_each_line_has_its_own_direction(tmp_path: Path) -> None:
    """Two lines are as each of them alone, but for their place."""
    both, _ = drawn(tmp_path, "שלום לכולם.\nHello, all.")
    rows = np.flatnonzero((both > 100).any(axis=1))
    gap = rows[:-1][np.diff(rows) > 10]
    assert len(gap) == 1
    alone = [drawn(tmp_path, line)[0] for line in ("שלום לכולם.", "Hello, all.")]
    for part, one in zip((both[: gap[0] + 1], both[gap[0] + 1 :]), alone, strict=True):
        assert likeness(cropped(part.astype(np.uint8)), one) > 0.9


@pytest.mark.video
@pytest.mark.parametrize("line", ["בָּרָ", "ދިވެހި ބަސް", "ܫܠܳܡܳ", "ߒߞߏ߫", "שלום", "Vowels"])
def test_the_box_has_the_same_room_on_both_sides_of_the_letters(tmp_path: Path, line: str) -> None:
    picture, warnings = frame(tmp_path, line, "#3060a0", background_opacity=0)
    assert warnings == []
    letters = np.nonzero((picture > 180).any(axis=0))[0]
    box = np.nonzero((picture < 40).any(axis=0))[0]
    left, right = letters.min() - box.min(), box.max() - letters.max()
    assert left == pytest.approx(right, abs=14)  # letters have some room of their own
    assert left > 20
    assert (letters.min() + letters.max()) / 2 == pytest.approx(960, abs=8)
