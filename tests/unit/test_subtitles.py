"""SRT is read as people write it."""

from __future__ import annotations

import pytest

from cloudburst.videoapi import subtitles
from cloudburst.videoapi.subtitles import Cue, flatten, parse

GOOD = "1\n00:00:01,000 --> 00:00:02,500\nHello\n\n2\n00:00:03,000 --> 00:00:04,000\nTwo\nlines\n"


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


@pytest.mark.parametrize("data", [b"", b"words", b"1\n\nwords\n", b"a --> b\nwords\n"])
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
