"""A film of many languages, on a machine without fonts: each is drawn, and as it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from cloudburst.videoapi.typefaces import fonts, scripts
from tests.support.letters import SIZE, cropped, drawn, hide_fonts, likeness

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.letters import Pixels

# Sentences that fit on a line, and the font that draws them.
LANGUAGES = {
    "en": ("Sphinx of black quartz, judge my vow", "Noto Sans"),
    "de": ("Zwölf Boxkämpfer jagen Viktor", "Noto Sans"),
    "fr": ("Portez ce vieux whisky au juge blond", "Noto Sans"),
    "pl": ("Zażółć gęślą jaźń", "Noto Sans"),
    "vi": ("Tiếng Việt có sáu thanh điệu", "Noto Sans"),
    "el": ("Ξεσκεπάζω την ψυχή", "Noto Sans"),
    "ru": ("Съешь ещё булок", "Noto Sans"),
    "uk": ("Жебракують філософи при ґанку", "Noto Sans"),
    "hy": ("Բարեւ աշխարհ", "Noto Sans Armenian"),
    "ka": ("გამარჯობა მსოფლიო", "Noto Sans Georgian"),
    "am": ("ሰላም ልዑል", "Noto Sans Ethiopic"),
    "he": ("שלום עולם וברכה", "Noto Sans Hebrew"),
    "ar": ("مرحبا بالعالم", "Noto Sans Arabic"),
    "fa": ("سلام دنیا چطورید", "Noto Sans Arabic"),
    "ur": ("ہیلو دنیا کیسے ہیں", "Noto Sans Arabic"),
    "hi": ("नमस्ते दुनिया क्षत्रिय", "Noto Sans Devanagari"),
    "bn": ("ওহে বিশ্ব ক্ষুদ্র", "Noto Sans Bengali"),
    "pa": ("ਸਤਿ ਸ੍ਰੀ ਅਕਾਲ", "Noto Sans Gurmukhi"),
    "gu": ("નમસ્તે વિશ્વ", "Noto Sans Gujarati"),
    "or": ("ନମସ୍କାର ବିଶ୍ୱ", "Noto Sans Oriya"),
    "ta": ("வணக்கம் உலகம்", "Noto Sans Tamil"),
    "te": ("నమస్కారం ప్రపంచం", "Noto Sans Telugu"),
    "kn": ("ನಮಸ್ಕಾರ ಪ್ರಪಂಚ", "Noto Sans Kannada"),
    "ml": ("നമസ്കാരം ലോകം", "Noto Sans Malayalam"),
    "si": ("ආයුබෝවන් ලෝකය", "Noto Sans Sinhala"),
    "th": ("สวัสดีชาวโลกที่น่ารัก", "Noto Sans Thai"),
    "lo": ("ສະບາຍດີຊາວໂລກ", "Noto Sans Lao"),
    "km": ("សួស្តីពិភពលោក", "Noto Sans Khmer"),
    "my": ("မင်္ဂလာပါ ကမ္ဘာ", "Noto Sans Myanmar"),
    "bo": ("བཀྲ་ཤིས་བདེ་ལེགས", "Noto Serif Tibetan"),
    "mn": ("ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ", "Noto Sans Mongolian"),
    "chr": ("ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ", "Noto Sans Cherokee"),
    "iu": ("ᐃᓄᒃᑎᑐᑦ ᖃᓄᖅ", "Noto Sans CanAborig"),
    "dv": ("ދިވެހި ބަސް", "Noto Sans Thaana"),
    "syr": ("ܫܠܡܐ ܥܠܡܐ", "Noto Sans Syriac"),
    "nqo": ("ߒߞߏ ߞߊߣ", "Noto Sans NKo"),
    "zgh": ("ⵜⴰⵎⴰⵣⵉⵖⵜ", "Noto Sans Tifinagh"),
    "jv": ("ꦲꦏ꧀ꦱꦫꦗꦮ", "Noto Sans Javanese"),
    "ff": ("𞤆𞤵𞤤𞤢𞤪", "Noto Sans Adlam"),
    "zh-Hans": ("骨直返海，天地玄黄", "Noto Sans CJK SC"),
    "zh-Hant": ("體灣龜齊，骨直返海", "Noto Sans CJK TC"),
    "ja": ("いろはにほへと、骨直返海", "Noto Sans CJK JP"),
    "ko": ("다람쥐 헌 쳇바퀴에 타고파", "Noto Sans CJK KR"),
    "emoji": ("👩\u200d🚀🎉👍🏽❤\ufe0f🇫🇷", "Noto Emoji"),
}


@pytest.fixture(autouse=True)
def no_installed_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_fonts(tmp_path, monkeypatch)


def by_pillow(face: fonts.Face, text: str) -> Pixels:
    """Draw a text with Pillow's own HarfBuzz, with an em as large as libass's."""
    # libass sizes every font so that an em is as large as one of the main font.
    main = fonts.choose(text, "中" if scripts.count_cjk(text) else "A").main
    assert main is not None
    font = ImageFont.truetype(
        face.file, SIZE / main.height, face.index, layout_engine=ImageFont.Layout.RAQM
    )
    picture = Image.new("L", (2800, 400))
    ImageDraw.Draw(picture).text((100, 200), text, font=font, fill=255, anchor="ls")
    return cropped(np.asarray(picture))


@pytest.mark.video
@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_drawn_in_its_font_and_shaped(tmp_path: Path, language: str) -> None:
    text, family = LANGUAGES[language]
    pixels, warnings = drawn(tmp_path, text)
    assert warnings == []
    letter = next(char for char in text if char.isalpha() or char > "\U0001f000")
    face = fonts.face_for(letter, scripts.language_of(text, "chinese"))
    assert face is not None
    assert face.family.startswith(family)
    ideal = by_pillow(face, text)
    boxes = by_pillow(face, "".join(char if char == " " else "\U0010f123" for char in text))
    assert pixels.shape == pytest.approx(ideal.shape, abs=14)
    assert likeness(pixels, ideal) > 0.6  # Pillow rounds each advance to a pixel
    if boxes.std():  # some fonts have no box, but nothing at all
        assert likeness(pixels, boxes) < 0.5


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_fonts_have_every_character_of_a_language(language: str) -> None:
    text, family = LANGUAGES[language]
    tag = scripts.language_of(text, "chinese")
    chosen = fonts.choose(text, "中" if scripts.count_cjk(text) else "A", tag)
    assert chosen.missing == ""
    assert all(
        name.startswith((family, "Noto Sans"))
        for name, _, part in chosen.runs(text)
        if not part.isspace()
    )
    # A character of several code points is drawn in one font.
    assert not any(part[0] in "\u200d\ufe0f\U0001f3fd" for _, _, part in chosen.runs(text))
