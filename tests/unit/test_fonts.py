"""Which font draws which characters, and how they are handed to libass."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cloudburst.models import Finding
from cloudburst.targets.local import doctor
from cloudburst.videoapi.subtitles import Cue, Style, draw, to_ass
from cloudburst.videoapi.typefaces import fonts

pytestmark = pytest.mark.usefixtures("packages_only")


def family(char: str, language: str = "chinese") -> str:
    face = fonts.face_for(char, language)
    assert face is not None
    return face.family


@pytest.mark.parametrize(
    ("chars", "name"),
    [
        ("Aéếжλ5", "Noto Sans"),
        ("中文骨直，。“龘𠮷かカ한", "Noto Sans CJK SC"),
        ("ก", "Noto Sans Thai"),
        ("ש", "Noto Sans Hebrew Light"),  # what libass looks for, not the typographic family
        ("ع", "Noto Sans Arabic"),
        ("😀", "Noto Emoji"),
    ],
)
def test_the_packages_have_a_font_for(chars: str, name: str) -> None:
    main = name if name == "Noto Sans CJK SC" else None
    sample = "中" if main else chars[0]
    chosen = fonts.choose(chars, sample)
    assert chosen.main is not None
    assert (chosen.main.family, chosen.others, chosen.missing) == (name, {}, "")


def test_an_upright_face_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upright = fonts.face_for("A")
    assert upright is not None
    (italic,) = Path(upright.file).parent.glob("NotoSans-Italic*")
    shutil.copy(italic, tmp_path / "a.ttf")
    monkeypatch.setenv("CLOUDBURST_FONTS", str(tmp_path))
    assert fonts.face_for("A") == upright


def test_a_folder_that_the_user_names_is_searched_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thai = fonts.face_for("ก")
    assert thai is not None
    shutil.copy(thai.file, tmp_path / "own.ttf")
    (tmp_path / "broken.ttf").write_bytes(b"not a font")
    monkeypatch.setenv("CLOUDBURST_FONTS", str(tmp_path))
    own = fonts.face_for("ก")
    assert own is not None
    assert own.file == str(tmp_path / "own.ttf")
    assert family("中") == "Noto Sans CJK SC"


def test_installed_fonts_are_searched_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    thai = fonts.face_for("ก")
    assert thai is not None
    shutil.copy(thai.file, tmp_path / "installed.ttf")
    monkeypatch.setattr(fonts, "_INSTALLED", (str(tmp_path),))
    assert fonts.face_for("ก") == thai
    monkeypatch.setattr(fonts, "_packaged", tuple)
    fonts._search.cache_clear()
    installed = fonts.face_for("ก")
    assert installed is not None
    assert installed.file == str(tmp_path / "installed.ttf")


@pytest.mark.parametrize(
    ("language", "name"),
    [
        ("zh-Hans", "SC"),
        ("zh-Hant", "TC"),
        ("zh-HK", "HK"),
        ("ja", "JP"),
        ("ko", "KR"),
        ("ko-KR", "KR"),
        ("th", "SC"),
    ],
)
def test_a_language_has_its_shapes(language: str, name: str) -> None:
    assert family("骨", language) == f"Noto Sans CJK {name}"


def test_a_text_is_split_where_its_font_changes() -> None:
    text = "中文 ครับ 👩\u200d🚀, ok"
    chosen = fonts.choose(text, "中")
    runs = chosen.runs(text)
    assert [(name, part) for name, _, part in runs] == [
        ("Noto Sans CJK SC", "中文 "),
        ("Noto Sans Thai", "ครับ"),  # with its marks
        ("Noto Sans CJK SC", " "),
        ("Noto Emoji", "👩\u200d🚀"),  # the joiner makes it an astronaut
        ("Noto Sans CJK SC", ", ok"),
    ]
    assert {scale for name, scale, _ in runs if name == "Noto Sans CJK SC"} == {1.0}


def test_a_mark_stays_with_its_letter() -> None:
    text = "a\u0331 ก\u0331"  # both fonts have this mark
    runs = fonts.choose(text, "A").runs(text)
    assert [part for _, _, part in runs] == ["a\u0331 ", "ก\u0331"]


def test_characters_that_no_font_has_are_listed_once() -> None:
    chosen = fonts.choose("A\U0010f123\U0010f123中\u200b\ufe0f \n", "A")
    assert chosen.missing == "\U0010f123"


def test_without_any_font_everything_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_packaged", tuple)
    fonts._search.cache_clear()
    chosen = fonts.choose("中A", "中")
    assert (chosen.main, chosen.missing) == (None, "A中")
    checks = list(doctor.examine())
    assert {check.finding for check in checks} == {Finding.WARNING}
    assert any("noto-cjk-sans-otc" in check.fix for check in checks)


def test_doctor_names_the_fonts() -> None:
    assert [(check.finding, check.text) for check in doctor.examine()] == [
        (Finding.OK, "Latin: Noto Sans"),
        (Finding.OK, "Chinese: Noto Sans CJK SC"),
        (Finding.OK, "other scripts: 32 of 32 tried"),
    ]


def test_libass_gets_the_chosen_files_and_no_others(tmp_path: Path) -> None:
    fonts.choose("中A😀", "中").install(tmp_path)
    linked = sorted(path.resolve().name for path in (tmp_path / "fonts").iterdir())
    assert linked == ["NotoEmoji[wght].ttf", "NotoSansCJK-Regular.ttc"]
    assert "<dir>" not in (tmp_path / "fonts.conf").read_text()


def test_a_change_of_font_is_a_command_and_text_is_not() -> None:
    text = "中{\\b1}ก\\"
    chosen = fonts.choose("中\uff5b\uff5db1\\ก", "中")
    assert chosen.main is not None
    style = Style(1920, 1080, chosen.main.family, chosen.width, chosen.runs, font_size=100)
    line = to_ass(draw([Cue(0, 1, text)], style)[0], style).splitlines()[-1].split(",", 9)[-1]
    scale = next(scale for name, scale, _ in chosen.runs("ก") if "Thai" in name)
    thai = rf"{{\fnNoto Sans Thai\fs{100 * scale:.4g}}}"
    assert line.endswith(f"中\uff5b\\\u2060b1\uff5d{thai}ก{{\\fn\\fs}}\\\u2060")
