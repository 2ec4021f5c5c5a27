"""Subtitle files as tools and people write them: times, formats, markup, and what is told."""

from __future__ import annotations

import pytest

from cloudburst.videoapi.subtitles import (
    Cue,
    SubtitleError,
    Subtitles,
    flatten,
    read,
    to_srt,
)

FIRST = "1\n00:00:00,200 --> 00:00:00,900\nfirst\n\n2\n"
LINE = "1\n00:00:00,200 --> 00:00:02,000\n"


def cues(text: str) -> list[tuple[float, float, str]]:
    return [(cue.start, cue.end, cue.text) for cue in read(text.encode()).cues]


def shown(text: str) -> str:
    (cue,) = read((LINE + text + "\n").encode()).cues
    return cue.text


def told(found: Subtitles) -> list[tuple[int, str]]:
    return [(notice.line, notice.message) for notice in found.notices]


REPAIRED = [
    "00:00:01:000 --> 00:00:02:000",
    "00:00:01，000 --> 00:00:02，000",
    "００：００：０１，０００ --> ００：００：０２，０００",
    "00:00:01,000 -> 00:00:02,000",
    "00:00:01,000 –> 00:00:02,000",
    "00:00:01,000 → 00:00:02,000",
    "00:00:01,000 -- > 00:00:02,000",
    "00:00:01,000 --&gt; 00:00:02,000",
    "00:00:01,000 ——》 00:00:02,000",
    "00:00:01,000 00:00:02,000",
    "00:00:01,000 - 00:00:02,000",
    "00:01,000 --> 00:02,000",
    "00:01:000 --> 00:02:000",
    "1.0 --> 2.0",
    "00:00:01 --> 00:00:02",
    "00:00:01,0000 --> 00:00:02.000000000",
    "00:00:01,000.00000000000272 --> 00:00:02,000",
    "00: 00: 01 , 000 --> 00:00:02, 000",
    "00.00.01.000 --> 00.00.02.000",
    "00;00;01;000 --> 00;00;02;000",
    "٠٠:٠٠:٠١٫٠٠٠ --> ٠٠:٠٠:٠٢٫٠٠٠",
    "\u202a00:00:01,000 –> 00:00:02,000\u202c",
    "[00:00:01,000 --> 00:00:02,000]",
    "OO:OO:01,OOO --> 00:00:02,000",
    "00:00:01,000 --> 00:00:02,0O0",
    "00:00:01:00 --> 00:00:02:00",
    "2 00:00:01,000 --> 00:00:02,000",
]


@pytest.mark.parametrize("line", REPAIRED)
def test_a_broken_time_is_read_as_it_is_meant_and_told(line: str) -> None:
    found = read(f"{FIRST}{line}\nsecond\n".encode())
    assert found.cues == (Cue(0.2, 0.9, "first"), Cue(1.0, 2.0, "second"))
    ((number, message),) = told(found)
    assert number == 6
    assert "was read as 00:00:01,000 --> 00:00:02,000" in message


@pytest.mark.parametrize(
    "line",
    [
        "00:00:01,000 --> 00:00:02,000",
        "0:0:1.0 --> 0:0:2,0",
        "00:00:01.000 --> 00:00:02.000 align:start position:10%",
        "00:00:01,000 --> 00:00:02,000 X1:10 X2:20 Y1:3 Y2:4",
        "00:00:01,000\t-->\t00:00:02,000",
    ],
)
def test_a_good_time_is_not_told(line: str) -> None:
    found = read(f"{FIRST}{line}\nsecond\n".encode())
    assert found.cues[1] == Cue(1.0, 2.0, "second")
    assert found.notices == ()


def test_many_repairs_are_one_notice() -> None:
    text = "".join(f"{n}\n00:00:0{n}:000 -> 00:00:0{n}:500\nx\n\n" for n in range(1, 5))
    ((line, message),) = told(read(text.encode()))
    assert line == 2
    assert message.startswith("4 times were repaired; the first, 00:00:01:000 -> 00:00:01:500, was")


UNREADABLE = [
    "-112:-7:-40,-521 --> -1:2:3,4",
    "00:00:0a,000 --> 00:00:02,000",
    "00:00:01,000 --> xx",
    "00:00:01,000 --> 00:00:",
    "00:00:01,000 <-- 00:00:02,000",
    "1 --> 2",
    "00:00:01,000 --> 00:00 02,000",
    "00:00:01,000 --> 00:00:02,0 0",
    "00:00:01,000 --> 00:00&gt;02,000",
    "1:2:3:4:5:6:7 --> 00:00:02,000",
]


@pytest.mark.parametrize("line", UNREADABLE)
def test_a_time_that_cannot_be_read_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(SubtitleError, match=r"^line 6: the time .* cannot be read; expected"):
        read(f"{FIRST}{line}\nsecond\n".encode())


def test_all_lines_that_cannot_be_read_are_named() -> None:
    text = "".join(f"{n}\n1:xx --> 00:00:02,000\na\n" for n in range(1, 4))
    with pytest.raises(SubtitleError, match=r"line 2: .*\(so it is in lines 5, 8\)"):
        read(text.encode())


@pytest.mark.parametrize(
    "text",
    ["A --> B", "12:30 --> 14:00", "x -> y", "2 > 1", "Open 9:00 -> 17:00", "1 - 2", "3:2"],
)
def test_an_arrow_in_the_words_is_words(text: str) -> None:
    assert shown(f"See:\n{text}\nok") == f"See:\n{text}\nok"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Type git commit -m <message> or List<String>", None),
        ("<Bob> Hi!", None),
        ("if a<b and c>d", None),
        ("a < b > c, {name}, {}, {1}", None),
        ("#include <vector>, vector<i> x", None),
        ("</script> <T> <string>", None),
        ("<I>a</I> <B >b</B>", "a b"),
        ('<FONT color="#ff0000" size=3>red</FONT>', "red"),
        ("<font color=red>red", "red"),
        ("<v Bob Smith>Hi</v> <c.yellow.bg>you</c>", "Hi you"),
        ("<ruby>漢<rt>kan</rt></ruby> <lang en>x</lang>", "漢kan x"),
        ("{\\an8}up {\\pos(1,2)\\i1}x", "up x"),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("{y:i}x", "x"),
    ],
)
def test_only_markup_is_markup(text: str, expected: str | None) -> None:
    assert shown(text) == (expected or text)


def test_entities_in_srt_are_characters_and_told() -> None:
    found = read((LINE + "Tom &amp; Jerry &#39;x&#39; AT&T &lt;b&gt;\n").encode())
    assert found.cues[0].text == "Tom & Jerry 'x' AT&T <b>"
    assert told(found) == [
        (2, "HTML entities such as &amp; were read as characters in 1 cue")
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "1\n{0}\na\n2\n{1}\nb\n",
        "{0}\na\n\n{1}\nb\n",
        "1\n\n{0}\n\na\n\n\n2\n\n{1}\n\nb\n",
        "1\r\r\n{0}\r\r\na\r\r\n\r\r\n2\r\r\n{1}\r\r\nb\r\r\n",
        "\ufeff1\n{0}\na\n\n\ufeff2\n{1}\nb",
        "7\n{0}\na\n\n7\n{1}\nb\n",
    ],
    ids=["no empty lines", "no numbers", "doubled", "crcrlf", "marks", "same numbers"],
)
def test_numbers_and_empty_lines_may_be_anything(text: str) -> None:
    one, two = "00:00:00,000 --> 00:00:01,000", "00:00:01,000 --> 00:00:02,000"
    assert cues(text.format(one, two)) == [(0, 1, "a"), (1, 2, "b")]


def test_a_countdown_is_not_numbers_of_cues() -> None:
    times = [f"00:00:0{n},000 --> 00:00:0{n},900\n" for n in range(4)]
    words = ["3\n", "2\n", "1\n", "go\n"]
    bare = "\n".join(time + word for time, word in zip(times, words, strict=True))
    numbered = "\n".join(
        f"{n}\n{time}{word}" for n, (time, word) in enumerate(zip(times, words, strict=True), 1)
    )
    for text in (bare, numbered):
        assert [cue[2] for cue in cues(text)] == ["3", "2", "1", "go"]


def test_joined_files_are_told() -> None:
    one = LINE + "a\n\n2\n00:00:03,000 --> 00:00:04,000\nb\n\n"
    ((line, message),) = told(read((one + "\ufeff" + one).encode()))
    assert line == 10
    assert "joined files" in message


VTT = """WEBVTT - title
Kind: captions

STYLE
::cue { color: red }

NOTE a private
remark

REGION
id:fred

intro-1
00:00.200 --> 00:01.000 align:start line:0
<v Bob>Hi &lt;b&gt; <c.yellow>there</c> <00:00:00.500>you

00:00:02.000 --> 00:00:03.000
Tom &amp; Jerry
00:00:04.000 --> 00:00:05.000
no empty line

lost words
"""


def test_web_vtt_whatever_its_name() -> None:
    found = read(VTT.encode())
    assert found.cues == (
        Cue(0.2, 1.0, "Hi <b> there you"),
        Cue(2.0, 3.0, "Tom & Jerry"),
        Cue(4.0, 5.0, "no empty line"),
    )
    assert told(found) == [(22, "1 line of text without a time is not shown: lost words")]


ASS = """[Script Info]
Title: x

[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:05.00,Default,,0,0,0,,secret
Dialogue: 0,0:00:00.50,0:00:02.00,Default,,0,0,0,,{\\an8\\b1}Hello, {note}world\\Nline\\htwo
Dialogue: 1,0:00:00.50,0:00:02.00,Default,,0,0,0,,Hello, world\\Nline\\htwo
Dialogue: 1,0:00:00.50,0:00:02.00,Default,,0,0,0,,{\\p1}m 0 0 l 1 1{\\p0}
Dialogue: 1,0:00:03.50,0:00:04.00,Default,,0,0,0,,{\\p1}m 0 0{\\p0}List<String>
"""


def test_ass_by_its_format_line() -> None:
    found = read(ASS.encode())
    assert found == Subtitles(
        (Cue(0.5, 2.0, "Hello, world\nline\u00a0two"), Cue(3.5, 4.0, "List<String>"))
    )
    swapped = "[Events]\nFormat: End, Start, Text\nDialogue: 0:00:02.00,0:00:01.00,a, b\n"
    assert cues(swapped) == [(1.0, 2.0, "a, b")]


def test_lrc_with_repeated_lines_and_an_offset() -> None:
    text = "[ti:Song]\n[offset:+500]\n[00:01.00][00:05.00]la\n[00:03.5]lo <00:04.00>li\n[00:07]\n"
    assert cues(text + "[00:08:50]end\n")[:3] == [
        (0.5, 3.0, "la"),
        (3.0, 4.5, "lo li"),
        (4.5, 6.5, "la"),
    ]
    found = read((text + "[00:08:50]end\n").encode())
    assert found.cues[3].start == 8.0
    assert found.cues[3].end > 8.5
    assert found.notices == ()


@pytest.mark.parametrize("order", ["in turn", "one after the other"])
def test_lrc_in_two_languages_shows_both(order: str) -> None:
    lines = [
        "[00:01.00]Hello",
        "[00:01.00]你好",
        "[00:05.00]Goodbye",
        "[00:05.00]再见",
        "[00:08.00]",
    ]
    if order != "in turn":
        lines = [*lines[::2], *lines[1::2]]
    found = read("\n".join(lines).encode())
    shown = [(cue.start, cue.end, cue.text) for cue in found.cues]
    assert shown == [
        (1.0, 5.0, "Hello"), (1.0, 5.0, "你好"), (5.0, 8.0, "Goodbye"), (5.0, 8.0, "再见"),
    ]  # fmt: skip
    assert found.notices == ()


def test_sbv_and_subviewer() -> None:
    text = "0:00:00.200,0:00:01.000\nHello <i>you</i>\n\n0:00:01.000,0:00:02.500\nWorld[br]two\n"
    assert cues(text) == [(0.2, 1.0, "Hello you"), (1.0, 2.5, "World\ntwo")]
    head = "[INFORMATION]\n[TITLE]private\n[END INFORMATION]\n[SUBTITLE]\n[COLF]&HFFFFFF\n"
    assert cues(head + "00:00:00.20,00:00:01.00\na[br]b\n\n") == [(0.2, 1.0, "a\nb")]


# As yt-dlp saves them: a line of a space above or below, and each line once more when it has been
# spoken.
YOUTUBE = """WEBVTT
Kind: captions
Language: en

00:00:00.000 --> 00:00:01.000 align:start position:0%
{space}
hello<00:00:00.500><c> there</c>

00:00:01.000 --> 00:00:01.010 align:start position:0%
hello there
{space}

00:00:01.010 --> 00:00:02.000 align:start position:0%
hello there
general<00:00:01.500><c> kenobi</c>
""".replace("{space}", " ")


def test_captions_that_youtube_has_made() -> None:
    found = read(YOUTUBE.encode(), seconds=2.5)
    assert found.cues == (
        Cue(0.0, 1.0, "hello there"),
        Cue(1.0, 1.01, "hello there"),
        Cue(1.01, 2.0, "hello there\ngeneral kenobi"),
    )
    assert found.notices == (), "what goes on being shown is not shown too briefly"


@pytest.mark.parametrize("empty", ["", " ", "\t "])
def test_a_remark_of_web_vtt_is_not_shown_whatever_the_line_before_it_has(empty: str) -> None:
    text = f"WEBVTT\n\n00:00.000 --> 00:01.000\nHi\n{empty}\nNOTE private\n\n"
    assert cues(f"{text}00:01.000 --> 00:02.000\nyou\n") == [(0.0, 1.0, "Hi"), (1.0, 2.0, "you")]


def test_web_vtt_that_has_lost_its_first_line() -> None:
    text = "00:00.000 --> 00:01.000\nHi\n\nNOTE private\n\n00:01.000 --> 00:02.000\nyou\n"
    assert cues(text) == [(0.0, 1.0, "Hi"), (1.0, 2.0, "you")]
    srt = "1\n00:00:00,000 --> 00:00:01,000\nHi\n\nNOTE this\n"
    assert cues(srt) == [(0.0, 1.0, "Hi\nNOTE this")], "in SRT they are words"


def test_what_stands_around_a_file_is_not_shown() -> None:
    fenced = "```srt\n" + LINE + "Hello\n```\n"
    assert shown_alone(fenced) == ("Hello", ())
    avid = "<begin subtitles>\n\n00:00:00:00 00:00:01:00\nHello\n\n<end subtitles>\n"
    assert read(avid.encode()).cues == (Cue(0.0, 1.0, "Hello"),)


def shown_alone(text: str) -> tuple[str, tuple[object, ...]]:
    found = read(text.encode())
    (cue,) = found.cues
    return cue.text, found.notices


def test_what_whisper_prints_on_a_terminal() -> None:
    found = read(b"[00:00.000 --> 00:01.000]  Hello there\n[00:01.000 --> 00:02.000]  3.5 km\n")
    assert found.cues == (Cue(0.0, 1.0, "Hello there"), Cue(1.0, 2.0, "3.5 km"))
    assert [message[:23] for _, message in told(found)] == ["2 times were repaired; "]


def test_times_of_premiere() -> None:
    text = "00:00:00:15 - 00:00:01:00\nHello\n\n00:00:01:00 - 00:00:02:00\nyou\n"
    assert cues(text) == [(0.5, 1.0, "Hello"), (1.0, 2.0, "you")]


def test_line_breaks_of_ass_in_srt() -> None:
    assert shown("one\\Ntwo") == "one\ntwo"
    assert shown("C:\\New and \\\\New") == "C:\\New and \\\\New"


def test_the_same_cue_twice_is_shown_once() -> None:
    assert flatten([Cue(0.0, 2.0, "a"), Cue(0.0, 2.0, "a"), Cue(1.0, 2.0, "b")]) == [
        Cue(0.0, 1.0, "a"),
        Cue(1.0, 2.0, "a\nb"),
    ]


def test_cues_are_written_as_every_tool_reads_them() -> None:
    found = read(
        "WEBVTT\n\n00:00.200 --> 00:01.000\n<v Bob>山\n\n00:02.000 --> 00:03.000\nb\nc\n".encode()
    )
    text = to_srt(found.cues)
    assert text == (
        "1\n00:00:00,200 --> 00:00:01,000\n山\n\n2\n00:00:02,000 --> 00:00:03,000\nb\nc\n"
    )
    assert read(text.encode()) == Subtitles(found.cues, encoding="utf-8")


OTHERS = [
    (b'<?xml version="1.0"?>\n<tt xmlns="x"></tt>', "TTML"),
    (b"<SAMI><BODY>", "SAMI"),
    (b"{0}{25}hi\n", "MicroDVD"),
    (b"[0][25]hi\n", "MPL2"),
    (b'[{"start": 0.0, "text": "x"}]', "JSON"),
    (b"start\tend\ttext\n0\t1\tx", "TSV"),
    (b'"Start","End","Text"\n0.2,1.0,x\n', "CSV"),
    (b"0.200000\t1.000000\thi\n", "Audacity"),
    (b"00:00:01:Hello\n", "TMPlayer"),
    (b"<fcpxml version='1.8'><resources/></fcpxml>", "XML"),
    (b"<!DOCTYPE html><html>", "HTML"),
    (b"{\\rtf1 x}", "RTF"),
    (b"PK\x03\x04abc", "ZIP"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\0\0\0\x20ftypisom", "MP4"),
]


@pytest.mark.parametrize(("data", "name"), OTHERS)
def test_what_is_not_read_is_named(data: bytes, name: str) -> None:
    with pytest.raises(SubtitleError, match=name):
        read(data)


def test_a_cue_without_length_is_shown_until_the_next() -> None:
    text = FIRST + "00:00:01,000 --> 00:00:01,000\nwords to be read\n\n"
    found = read((text + "3\n00:00:01,600 --> 00:00:02,200\nthree\n").encode())
    assert found.cues[1] == Cue(1.0, 1.6, "words to be read")
    assert told(found) == [(6, "1 cue has no end or no length; it is shown until 00:00:01,600")]
    alone = read((text + "3\n00:00:09,000 -->\nopen\n").encode())
    assert 1.5 < alone.cues[1].end < 4
    assert alone.cues[2].end > 9.4
    assert "2 cues have no end" in told(alone)[0][1]


def test_a_cue_that_ends_before_it_starts_is_shown_from_its_start() -> None:
    found = read(f"{FIRST}00:00:05,000 --> 00:00:03,000\nback\n".encode())
    assert found.cues[1].start == 5.0
    assert found.cues[1].end > 5.5
    assert "ends before it starts" in told(found)[0][1]


def test_cues_that_are_hours_late_are_shown_earlier() -> None:
    text = b"1\n01:00:00,500 --> 01:00:01,500\nHello\n\n2\n01:00:01,500 --> 01:00:02,000\nyou\n"
    found = read(text, seconds=2.5)
    assert found.cues == (Cue(0.5, 1.5, "Hello"), Cue(1.5, 2.0, "you"))
    assert told(found) == [(2, "all cues start 1 h late; they are shown that much earlier")]
    assert read(text).notices == ()


def test_cues_after_the_narration_are_told() -> None:
    text = f"{FIRST}00:00:03,000 --> 00:00:04,000\nlate\n".encode()
    assert told(read(text, seconds=2.5)) == [
        (
            6,
            "1 of 2 cues starts after the narration has ended, at 00:00:02,500; it is not shown",
        )
    ]
    assert read(text, seconds=3.5).notices == ()


def test_text_before_the_first_time_is_told() -> None:
    ((line, message),) = told(read(("A film\n\n" + LINE + "a\n").encode()))
    assert line == 1
    assert message == "1 line of text without a time is not shown: A film"


def test_more_cues_than_anybody_can_read_are_refused() -> None:
    text = "00:00:00,000 --> 00:00:00,100\nx\n" * 10_001
    with pytest.raises(SubtitleError, match="more than 10000 cues"):
        read(text.encode())


def fast(text: str, seconds: float | None = None) -> list[str]:
    found = read(text.encode(), seconds=seconds)
    return [f"{one.line}: {one.message}" for one in found.notices if "too briefly" in one.message]


def cue(text: str, end: str, start: str = "00:00:01,000") -> str:
    return f"1\n{start} --> {end}\n{text}\n\n"


def test_cues_that_nobody_can_read_are_one_notice_of_the_fastest() -> None:
    assert fast(cue("x" * 90, "00:00:03,000")) == [
        "2: 1 cue is shown too briefly to be read: 90 characters in 2 s"
    ]
    assert fast(cue("x" * 70, "00:00:03,000")) == []
    # A character of CJK takes as long as two letters.
    assert fast(cue("字" * 35, "00:00:03,000")) == []
    text = cue("字" * 45, "00:00:03,000") + cue("a", "00:00:05,000", "00:00:04,000")
    text += cue("字" * 45, "00:00:06,250", "00:00:05,000")
    (message,) = fast(text)
    assert message.startswith("10: 2 cues are shown too briefly to be read; the fastest has 45 ")
    assert message.endswith("45 characters in 1.2 s")
    # A moment in which two cues overlap is none in which both must be read.
    text = cue("x" * 60, "00:00:04,000") + cue("y" * 60, "00:00:08,000", "00:00:03,900")
    assert fast(text) == []


def test_the_end_of_the_narration_ends_the_time_to_read_a_cue() -> None:
    text = cue("x" * 90, "00:00:09,000")
    assert fast(text, 9.0) == []
    assert fast(text, 1.5) == ["2: 1 cue is shown too briefly to be read: 90 characters in 0.5 s"]
    assert fast(text, 0.5) == [], "it is not shown at all, of which there is another notice"
