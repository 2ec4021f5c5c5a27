"""Font files: which can be used, which of their fonts, and by which name."""

from __future__ import annotations

import io
import random
import shutil
import struct
from typing import TYPE_CHECKING

import pytest
from PIL import ImageFont

from cloudburst.videoapi.typefaces import fontfile, fonts
from cloudburst.videoapi.typefaces.fontfile import FontError
from tests.support.letters import CJK, HEBREW, ITALIC, LATIN

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.usefixtures("packages_only")


def length(face: fonts.Face | fontfile.Opened, text: str) -> float:
    """Return the width of a text in em, by FreeType."""
    own = face.own if isinstance(face, fonts.Face) else face
    assert own is not None
    assert own.data is not None
    return freetype(own.data, text)


def freetype(data: bytes, text: str, weight: int | None = None) -> float:
    font = ImageFont.truetype(io.BytesIO(data), 1000, layout_engine=ImageFont.Layout.BASIC)
    if weight is not None:
        font.set_variation_by_axes([weight])
    return font.getlength(text) / 1000


@pytest.mark.parametrize("path", [LATIN, ITALIC, HEBREW, CJK], ids=lambda path: path.stem)
def test_a_font_is_used_under_a_name_of_its_own(path: Path) -> None:
    font = fontfile.choose(path.read_bytes())
    assert (font.family, font.style, font.faces) == (fontfile.FAMILY, "Regular", 1)
    assert set(font.characters) == set(fontfile.opened(str(path), 0).characters)
    assert font.height == pytest.approx(fontfile.opened(str(path), 0).height)
    text = "".join(map(chr, list(font.characters)[200:240]))
    assert length(font, text) == pytest.approx(freetype(path.read_bytes(), text), abs=0.05)


def test_of_a_collection_the_face_of_the_region_is_used() -> None:
    data = CJK.read_bytes()
    japanese, chinese = fontfile.choose(data, "JP"), fontfile.choose(data)
    assert japanese.data != chinese.data
    assert fontfile.described(CJK)[0].family == "Noto Sans CJK JP"
    first = fontfile.alone(data, 0)
    assert japanese.data == first.data


def test_a_variable_font_has_the_weight_that_is_asked_for() -> None:
    bold = fonts.named("noto-sans bold")
    assert bold is not None
    widths = [freetype(LATIN.read_bytes(), "Hamburg", weight) for weight in (400, 700)]
    assert length(bold, "Hamburg") == pytest.approx(widths[1], abs=0.01)
    regular = fonts.named("NotoSans")
    assert regular is not None
    assert length(regular, "Hamburg") == pytest.approx(widths[0], abs=0.01)
    assert abs(widths[0] - widths[1]) > 0.1


def test_of_a_family_the_upright_font_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ITALIC, tmp_path / "a.ttf")
    shutil.copy(LATIN, tmp_path / "b.ttf")
    monkeypatch.setenv("CLOUDBURST_FONTS", str(tmp_path))
    text = "affine"
    upright, italic = (freetype(path.read_bytes(), text) for path in (LATIN, ITALIC))
    chosen, slanted = fonts.named("Noto Sans"), fonts.named("Noto Sans Italic")
    assert chosen is not None
    assert slanted is not None
    assert length(chosen, text) == pytest.approx(upright, abs=0.01)
    assert length(slanted, text) == pytest.approx(italic, abs=0.01)
    assert abs(upright - italic) > 0.05


def test_a_family_in_a_folder_that_the_user_names_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.ttf").write_bytes(LATIN.read_bytes()[:9000])
    monkeypatch.setenv("CLOUDBURST_FONTS", str(tmp_path))
    assert fonts.named("Noto Sans") is not None, "a damaged one does not hide the next"


def test_a_family_that_is_not_there() -> None:
    assert fonts.named("Noto Sanss Hebrew") is None
    assert fonts.near("Noto Sanss Hebrew")[0] == "Noto Sans Hebrew"
    assert fonts.near("Zapfino") == []


def test_the_chosen_font_draws_what_it_has_and_others_the_rest() -> None:
    hebrew = fonts.given(HEBREW.read_bytes())
    chosen = fonts.choose("Aש中!\U0010f123", "A", "zh-Hans", hebrew)
    assert chosen.main == hebrew
    assert chosen.missing == "\U0010f123"
    assert {char: face.family for char, face in chosen.others.items()} == {
        "A": "Noto Sans",
        "中": "Noto Sans CJK SC",
    } | ({} if hebrew.has("!") else {"!": "Noto Sans"})
    assert chosen.runs("ש")[0][0] == fontfile.FAMILY
    assert fonts.missing("Aש中\U0010f123", hebrew) == "\U0010f123"


def test_a_character_that_only_the_chosen_font_has_is_not_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hebrew = fonts.given(HEBREW.read_bytes())
    monkeypatch.setattr(fonts, "_packaged", tuple)
    fonts._search.cache_clear()
    assert fonts.missing("ש中", hebrew) == "中"
    assert fonts.choose("ש中", "A", "he", hebrew).missing == "中"
    fonts._search.cache_clear()


def bitmap_font() -> bytes:
    """Return a font without outlines: its tables but those, under other names."""
    data = bytearray(HEBREW.read_bytes())
    (count,) = struct.unpack_from(">H", data, 4)
    for number in range(count):
        at = 12 + 16 * number
        if bytes(data[at : at + 4]) in {b"glyf", b"loca"}:
            data[at : at + 4] = b"none"
    return bytes(data)


def overlapping(copies: int) -> bytes:
    """Return a font with more tables, each of which is the whole file."""
    font = HEBREW.read_bytes()
    (count,) = struct.unpack_from(">H", font, 4)
    head = 12 + 16 * (count + copies)
    records = [struct.unpack_from(">4sIII", font, 12 + 16 * number) for number in range(count)]
    moved = [(tag, check, offset + head, length) for tag, check, offset, length in records]
    names = [bytes([90, 90, 65 + number // 25, 65 + number % 25]) for number in range(copies)]
    moved += [(name, 0, 0, head + len(font)) for name in names]
    listed = b"".join(struct.pack(">4sIII", *record) for record in sorted(moved))
    return font[:4] + struct.pack(">HHHH", count + copies, 0, 0, 0) + listed + font


BAD = {
    "tables that are the whole file": (overlapping(1), "tables overlap"),
    "many such tables": (overlapping(180), "tables overlap"),
    "more tables than there are": (overlapping(250), r"has 2\d\d tables; the limit is 200"),
    "text": (b"just some words, no font", r"not a font \(it is text"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a font"),
    "nothing": (b"", "not a font"),
    "woff": (b"wOFF" + bytes(100), "WOFF is a font compressed for web pages; convert it to TTF"),
    "woff2": (b"wOF2" + bytes(100), "WOFF2 is a font compressed for web pages"),
    "type 1": (b"%!PS-AdobeFont-1.0: Utopia", "not a font"),
    "truncated": (HEBREW.read_bytes()[:-5000], "truncated"),
    "only a head": (b"OTTO", "truncated"),
    "a collection of nothing": (b"ttcf\x00\x01\x00\x00\xff\xff\xff\xff", "truncated"),
    "no tables": (b"\x00\x01\x00\x00" + bytes(100), "no outlines"),
    "bitmap": (bitmap_font(), "no outlines"),
    "too large": (bytes(fontfile.MAX_BYTES + 1), "20 MiB; the limit is 20 MiB"),
}


@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=BAD)
def test_what_is_no_font_is_refused_with_the_reason(data: bytes, words: str) -> None:
    with pytest.raises(FontError, match=words):
        fontfile.choose(data)


def test_every_font_that_comes_with_cloudburst_passes() -> None:
    files = list(fonts._files(""))
    assert len(files) > 50
    for path in files:
        fontfile._check_file(path.read_bytes())


@pytest.mark.parametrize("seed", range(6))
def test_damaged_fonts_are_refused_or_drawn(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable
    whole = (HEBREW if seed % 2 else LATIN).read_bytes()
    for _ in range(25):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 5, 200])):
            # Tables are listed at the beginning, where a wrong byte does most.
            data[chance.randrange(chance.choice([300, len(data)]))] = chance.randrange(256)
        try:
            font = fontfile.choose(bytes(data))
        except FontError as error:
            assert str(error)  # noqa: PT017 - either is right
        else:
            assert fontfile.shaped(font, "Hamburg שלום") >= 0
