"""SRT is read as people write it, and becomes ASS that says the same."""

from __future__ import annotations

import pytest

from cloudburst.videoapi import subtitles
from cloudburst.videoapi.subtitles import Cue, Style, flatten, parse, to_ass, wrap

GOOD = "1\n00:00:01,000 --> 00:00:02,500\nHello\n\n2\n00:00:03,000 --> 00:00:04,000\nTwo\nlines\n"


def style(**more: object) -> Style:
    def measure(text: str, size: float) -> float:
        return sum(size if subtitles.is_cjk(char) else size / 2 for char in text)

    return Style(1920, 1080, "Sans", measure, **more)  # type: ignore[arg-type]


def test_a_plain_file() -> None:
    assert parse(GOOD.encode()) == [Cue(1.0, 2.5, "Hello"), Cue(3.0, 4.0, "Two\nlines")]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace("\n", "\r").encode(),
        GOOD.replace(",", ".").encode(),
        GOOD.encode("utf-16"),
        GOOD.replace("1\n0", "9\n0").replace("2\n0", "1\n0").encode(),
        GOOD.replace("1\n0", "0").replace("\n2\n0", "\n0").encode(),
        GOOD.replace("Hello", "<i>Hello</i>").encode(),
        GOOD.replace("Hello", "<font color='red'>Hello</font>").encode(),
        GOOD.replace("Hello", "{\\an8}Hello").encode(),
        ("\n\n" + GOOD + "\n\n3\n00:00:05,000 --> 00:00:05,000\nno length\n").encode(),
        (GOOD + "\n3\n00:00:05,000 --> 00:00:06,000\n\n").encode(),
    ],
    ids=[
        "byte order mark",
        "crlf",
        "cr",
        "dots",
        "utf-16",
        "odd numbers",
        "no numbers",
        "tags",
        "font tag",
        "ass tag",
        "no length",
        "no text",
    ],
)
def test_the_same_cues_however_they_are_written(data: bytes) -> None:
    assert parse(data) == [Cue(1.0, 2.5, "Hello"), Cue(3.0, 4.0, "Two\nlines")]


def test_chinese_in_the_encodings_of_windows() -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\n山顶的雪\n"
    for encoding in ("utf-8", "gb18030", "gbk", "utf-16"):
        assert parse(text.encode(encoding))[0].text == "山顶的雪"


def test_cues_are_in_the_order_of_time() -> None:
    text = "00:00:03,000 --> 00:00:04,000\nb\n\n00:00:01,000 --> 00:00:02,000\na\n"
    assert [cue.text for cue in parse(text.encode())] == ["a", "b"]


@pytest.mark.parametrize("data", [b"", b"words", b"1\n00:00 --> 00:01\nx\n", b"\x89PNG\r\n\x1a\n"])
def test_what_is_not_srt_is_refused(data: bytes) -> None:
    with pytest.raises(subtitles.SubtitleError, match="no cue"):
        parse(data)


def test_overlapping_cues_stand_together_in_one_box() -> None:
    assert flatten([Cue(0, 4, "a"), Cue(2, 6, "b"), Cue(6, 7, "c")]) == [
        Cue(0, 2, "a"),
        Cue(2, 4, "a\nb"),
        Cue(4, 6, "b"),
        Cue(6, 7, "c"),
    ]


def test_ass_has_size_box_and_transparency() -> None:
    text = to_ass([Cue(1, 2.5, "Hello")], style(transparency=0.5, outline_color="&H00FF0000"))
    assert "PlayResX: 1920" in text
    assert "Style: Default,Sans,60,&H00FFFFFF,&H00FF0000,&H80000000,0,4," in text
    assert "Dialogue: 0,0:00:01.00,0:00:02.50,Default,Hello\n" in text
    assert ",0,1,2,0,2," in to_ass([Cue(1, 2, "x")], style(box=False, font_size=48))


def test_a_cue_cannot_give_commands() -> None:
    text = to_ass([Cue(0, 1, r"{\pos(0,0)} C:\new \Nx")], style())
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
