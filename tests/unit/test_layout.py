"""Cues become ASS that says the same: in lines that fit, in their direction, and in time."""

from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest

from cloudburst.videoapi.subtitles import Cue, Style, draw, to_ass
from cloudburst.videoapi.subtitles.wrap import wrap
from cloudburst.videoapi.typefaces import scripts


def style(**more: object) -> Style:
    def measure(text: str, size: float) -> float:
        return sum(size if scripts.count_cjk(char) else size / 2 for char in text)

    return Style(1920, 1080, "Sans", measure, **more)  # type: ignore[arg-type]


def test_ass_has_size_box_and_transparency() -> None:
    look = style(transparency=0.5, outline_color="&H00FF0000")
    text = to_ass(draw([Cue(1, 2.5, "Hello")], look)[0], look)
    assert "PlayResX: 1920" in text
    assert "Style: Default,Sans,60,&H00FFFFFF,&H00FF0000,&H80000000,0,4," in text
    assert "Dialogue: 0,0:00:01.00,0:00:02.50,Default,Hello\n" in text
    assert ",0,1,2,0,2," in to_ass([], style(box=False, font_size=48))


def test_a_cue_cannot_give_commands() -> None:
    text = to_ass(draw([Cue(0, 1, r"{\pos(0,0)} C:\new \Nx")], style())[0], style())
    line = text.splitlines()[-1].split(",", 4)[4]
    assert "{" not in line
    assert r"\n" not in line
    assert r"\N" not in line


def width(text: str) -> float:
    return style().measure(text, 60)


@pytest.mark.parametrize(
    "line",
    [
        "A small propeller rocket lifts from the pad and the whole valley shakes with it",
        "黄昏时分，渔船“慢慢”回到了港口。灯火一盏一盏地亮起来，海面像一面镜子，映着天空。",
        "混合 mixed text 和中文 with words 以及标点，and more，再来一些文字直到很长很长为止。",
        "x" * 200,
    ],
)
def test_long_lines_fit_and_lose_nothing(line: str) -> None:
    pieces = wrap(line, width, 1000)
    assert all(width(piece) <= 1000 for piece in pieces)
    assert "".join(pieces).replace(" ", "") == line.replace(" ", "")
    assert len(pieces) <= width(line) / 1000 + 2
    # The shortest is not a lonely word.
    assert min(map(width, pieces)) > 0.4 * max(map(width, pieces))


def test_punctuation_is_not_at_the_beginning_of_a_line() -> None:
    line = "黄昏时分，渔船“慢慢”回到了港口。灯火一盏一盏地亮起来，海面像一面镜子，映着天空。"
    for usable in range(300, 1500, 30):
        for piece in wrap(line, width, usable)[1:]:
            assert piece[0] not in "，。”、"
        for piece in wrap(line, width, usable)[:-1]:
            assert piece[-1] != "“"


@pytest.mark.parametrize(
    ("language", "line", "words"),
    [
        ("th", "สวัสดีชาวโลกวันนี้อากาศดีมาก", "สวัสดี ชาว โลก วัน นี้ อากาศ ดี มาก"),
        ("lo", "ຂ້ອຍຮັກພາສາລາວ", "ຂ້ອຍ ຮັກ ພາສາ ລາວ"),
        ("km", "ខ្ញុំស្រឡាញ់ភាសាខ្មែរណាស់", "ខ្ញុំ ស្រឡាញ់ ភាសាខ្មែរ ណាស់"),
        ("my", "ကျွန်တော်မြန်မာစကားပြောတတ်တယ်", "ကျွန်တော် မြန်မာ စကားပြော တတ် တယ်"),
        (
            "ja",
            "とても長い日本語の文章なので、改行する",
            "とても 長い 日本語の 文章 なので、 改行 する",
        ),
        ("ko", "한국어 문장입니다. 줄바꿈을", "한국어 문장입니다. 줄바꿈을"),
        ("en", "see http://example.com/a-b foo", "see http:// example.com/ a-b foo"),
    ],
)
def test_lines_are_broken_between_words(language: str, line: str, words: str) -> None:
    """Whatever the width, no line begins within one of these words."""
    starts = {sum(map(len, words.split()[:count])) for count in range(len(words.split()))}
    longest = max(map(width, words.split()))
    for usable in range(int(longest) + 1, int(width(line)) + 200, 20):
        position = 0
        for piece in wrap(line, width, usable, language):
            assert position in starts, piece
            assert width(piece) <= usable
            position += len(piece.replace(" ", ""))


@pytest.mark.parametrize(
    "word",
    [
        "नमस्तेनमस्तेनमस्ते" * 5,
        "e\u0301" * 60,
        "👨\u200d👩\u200d👧\u200d👦" * 20,
        "ខ្ញុំ" * 30,
        "🇫🇷" * 20,
        "👍🏽" * 30,
    ],
    ids=["hindi", "accents", "families", "khmer", "flags", "tones"],
)
def test_a_word_that_must_be_broken_keeps_its_characters_whole(word: str) -> None:
    pieces = wrap(word, width, 230)
    assert "".join(pieces) == word
    assert len(pieces) > 2
    for piece in pieces[1:]:
        assert not re.match(
            "[\u0300-\u036f\u200d\u093e-\u094d\u17b6-\u17d3\U0001f3fb-\U0001f3ff]", piece
        )
    if "\U0001f1eb" in word:
        assert {piece.count("\U0001f1eb") - piece.count("\U0001f1f7") for piece in pieces} == {0}


@pytest.mark.parametrize(
    ("line", "usable"),
    [
        ("これはテストですー。すごーいきゃっと" * 3, 400),
        ("価格は「百円」です。はい、そう" * 3, 500),
    ],
)
def test_japanese_lines_do_not_begin_with_what_belongs_to_the_one_before(
    line: str, usable: int
) -> None:
    for more in range(0, 900, 30):
        for piece in wrap(line, width, usable + more, "ja")[1:]:
            assert piece[0] not in "ー。」、ゃっ"


def parts(
    text: str, seconds: float, **more: object
) -> tuple[list[tuple[float, float, str]], list[str]]:
    drawn, notes = draw([Cue(10, 10 + seconds, text)], style(**more))
    plain = re.compile(r"\{[^}]*\}")
    return [(one.start, one.end, plain.sub("", one.text)) for one in drawn], notes


def test_a_cue_that_does_not_fit_gets_smaller_letters() -> None:
    text = "word " * 130
    (cue,), notes = draw([Cue(0, 60, text)], style())
    size = int(re.match(r"\{\\fs(\d+)\\bord\d\\shad\d+\}", cue.text)[1])  # type: ignore[index]
    assert 40 <= size < 60
    assert (cue.text.count(r"\N") + 1) * size <= 0.4 * 1080
    assert notes == []  # nothing that the user asked for was changed


@pytest.mark.parametrize("portrait", [False, True])
@pytest.mark.parametrize("seconds", [1.8, 12.0, 240.0])
def test_a_cue_that_would_fill_the_picture_is_shown_in_parts(
    seconds: float, portrait: bool
) -> None:
    sentences = [
        f"Sentence number {count} is about as long as the others are." for count in range(60)
    ]
    text = " ".join(sentences)
    size = {"width": 1080, "height": 1920} if portrait else {"width": 1920, "height": 1080}
    where = Style(font="Sans", measure=style().measure, **size)  # type: ignore[arg-type]
    drawn, notes = draw([Cue(10, 10 + seconds, text)], where)
    texts = [re.sub(r"\{[^}]*\}", "", one.text).replace(r"\N", " ") for one in drawn]
    assert " ".join(texts) == text
    assert all(part.startswith("Sentence") for part in texts)
    assert (drawn[0].start, drawn[-1].end) == (10, 10 + seconds)
    assert all(one.end == two.start for one, two in pairwise(drawn))
    speeds = [len(part) / (one.end - one.start) for part, one in zip(texts, drawn, strict=True)]
    assert max(speeds) < 1.1 * min(speeds)
    sizes = {
        int(found[1]) if (found := re.match(r"\{\\fs(\d+)", one.text)) else 60 for one in drawn
    }
    assert len(sizes) == 1
    # There is time for more and larger parts where the cue is long.
    assert sizes == ({60} if seconds == 240 else {40} if seconds == 1.8 else sizes)
    lines = max(one.text.count(r"\N") + 1 for one in drawn)
    assert lines * sizes.pop() <= 0.4 * where.height
    assert "in parts" in notes[0]


def test_lines_that_are_written_stay_together() -> None:
    text = "\n".join(f"line {count}" for count in range(20))
    shown, _ = parts(text, 60)
    assert [part.count("line") for _, _, part in shown] == [7, 7, 6]
    assert all(part.startswith("line") for _, _, part in shown)
    assert r"\N".join(part for _, _, part in shown) == text.replace("\n", r"\N")


def test_a_size_that_the_user_chose_is_changed_only_with_a_warning() -> None:
    shown, notes = parts("word " * 40, 60, font_size=200)
    assert len(shown) == 1
    assert "font_size 200" in notes[0]
    assert parts("word " * 4, 60, font_size=200)[1] == []
    # No smaller than they wanted it, where that is small already.
    drawn, _ = draw([Cue(0, 60, "word " * 2000)], style(font_size=20))
    assert all("\\fs" not in one.text for one in drawn)
    assert len(drawn) > 1


def test_a_line_has_the_direction_of_its_first_letter() -> None:
    def lines(text: str) -> list[str]:
        return draw([Cue(0, 5, text)], style())[0][0].text.split(r"\N")

    assert lines("abc שלום") == ["abc שלום"]
    assert lines("3 שלום abc\nabc") == ["3 שלום abc", "abc"]
    # The second half of a Hebrew line is Hebrew, even where it begins with a Latin word.
    hebrew = lines("של " * 30 + "abc " * 30)
    assert all(line.startswith(("\u200fabc", "של")) for line in hebrew)
    assert hebrew[-1].startswith("\u200f")
    broken = lines("abc " * 25 + "של " * 60)
    assert broken[-1].startswith("\u200e")
    assert ",-1\n" in to_ass([], style())


def test_joined_emoji_without_a_letter_get_a_script() -> None:
    """Otherwise libass draws an astronaut as a woman and a rocket."""
    texts = ("👩\u200d🚀", "👩\u200d🚀 ok", "ok 👩\u200d🚀", "🚀")
    drawn = [draw([Cue(0, 5, text)], style())[0][0].text for text in texts]
    assert [text.startswith("\u180e") for text in drawn] == [True, True, False, False]


@pytest.mark.parametrize(
    ("text", "said", "language"),
    [
        ("山顶的雪在阳光下融化", "chinese", "zh-Hans"),
        ("體灣龜齊", "chinese", "zh-Hant"),
        ("體灣龜齊", "zh-Hans", "zh-Hans"),
        ("かなカナ漢字", "chinese", "ja"),
        ("漢字", "ja", "ja"),
        ("한글", "english", "ko"),
        ("hello", "chinese", "zh-Hans"),
        ("hello 😀", "english", "en"),
    ],
)
def test_the_language_of_a_text(text: str, said: str, language: str) -> None:
    assert scripts.language_of(text, said) == language


def test_a_million_characters_are_laid_out_in_seconds() -> None:
    """As many as the parser lets through, in the scripts that take longest."""
    han = "".join(chr(0x4E00 + number * 7 % 20000) for number in range(10_000))
    cues = [Cue(3 * number, 3 * number + 3, han) for number in range(50)]
    began = time.process_time()
    draw(cues, style())
    assert time.process_time() - began < 6
