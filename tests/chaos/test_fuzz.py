"""Whatever comes in – a job file, subtitles, an answer, a request – gets a result or a clear error.

Everything is derived from fixed seeds: a failure on one machine is a failure on every machine.
"""

from __future__ import annotations

import base64
import gc
import io
import json
import logging
import re
import time
import unicodedata
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

import psutil
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from cloudburst.errors import ArtifactInvalid, BadInput, SceneError, SceneRejected, WorkerUnhealthy
from cloudburst.job import yamltree
from cloudburst.job.loader import load_job
from cloudburst.models import Job, Scene
from cloudburst.models.job import MAX_PROBLEMS
from cloudburst.videoapi import encode, subtitles
from cloudburst.videoapi.app import Server, Settings
from cloudburst.workers import client as worker
from cloudburst.workers import messages
from cloudburst.workers.download import verify
from cloudburst.workers.messages import Rendered
from tests.chaos.loopback import KEY, Call, Loopback, connections, within
from tests.support.inputs import SRT, stub_video, write_picture, write_sound
from tests.support.patience import SOON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask.testing import FlaskClient


# The examples are the same every time: what `make test-all` has found once it finds again.
pytestmark = pytest.mark.slow

Result = TypeVar("Result")
Failure = TypeVar("Failure", bound=Exception)


def bounded(examples: int) -> settings:
    """Give the settings of a fuzz test: so many examples, the same ones every time."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )


def outcome(kind: type[Failure], call: Callable[[], Result]) -> Result | Failure:
    """Give what a call gives, or its error of the kind that it may raise."""
    try:
        return call()
    except kind as error:
        return error


def is_one_line(text: str) -> bool:
    """Say if a text can be shown in a line of a terminal and written to a file."""
    return not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text)


# -- scenes.yaml --------------------------------------------------------------------------------

VALID = """\
version: 1
name: all-keys
target: aws
defaults: &defaults
  language: english
  effects: [zoom_in, random]
  background_box: true
  background_opacity: 0.5
  font_size: 48
  outline_color: "&H00FF0000"
  is_portrait: false
  watermark: p.png
scenes:
  - name: intro
    image: p.png
    audio: a.wav
    subtitle: s.srt
  - {name: outlook, image: p.png, audio: a.wav, effects: [], font_size: ~}
distribution: {scenes_per_batch: 10, max_parallel_instances: 2, min_scenes_per_batch: 1}
limits:
  scene_timeout: 60
  health_timeout: 30
  attempts: 2
  max_cost_usd: 1.5
  on_max_cost: cancel
aws:
  regions: [us-east-1]
  markets: [spot, on-demand]
  instance_types: [c5.2xlarge]
  zones: [us-east-1a]
  order: [region, market, type, zone]
  image: me/mine:1
  disk_gb: 30
  ingress: 203.0.113.7/32
  lease_minutes: 60
  price_per_hour: {c5.2xlarge: 0.34}
output: {directory: results}
"""
LINES = VALID.splitlines(keepends=True)
TREE = yamltree.parse(VALID).value
KEYS = sorted(set(re.findall(r"(\w+):", VALID)))
ODD = [
    *("", "~", "null", "true", "-1", "0", "1", "1e999", "-1e999", ".nan", ".inf", "0x" + "f" * 90),
    *("9" * 99, "9" * 5000, "1_000", "0o17", "1e-400", "12:30", "no", "'", '"', "|", ">-", "%"),
    *(
        "[",
        "]",
        "{",
        "}",
        "{}",
        "[]",
        "[[[[]]]]",
        "- - - x",
        "? x",
        ": x",
        "? [a]\n: b",
        "@x",
        "`x",
    ),
    *(
        "&a",
        "*a",
        "&a [*a]",
        "*defaults",
        "<<: *defaults",
        "&defaults x",
        "!x y",
        "!!int 1",
        "!!set",
    ),
    *("!%1B x", "!<tag:x,1> y", '"\\e[31m"', '"\\0"', '"\\ud800"', '"\\U0010FFFF"', '"\\x85"'),
    *("../../x", "/dev/zero", "/dev/stdin", "/proc/self/mem", "/", "\u202e", "\u2028", "\ufeff"),
    *("x" * 300, "x/" * 3000, "---", "...", "#", "\t", "\x00", "\x1b", "\r", "画" * 90, "e\u0301"),
]
odd_scalars = st.one_of(
    st.sampled_from(ODD),
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(repr),
)


@pytest.fixture(scope="module")
def job_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job")
    write_picture(folder / "p.png")
    write_sound(folder / "a.wav")
    (folder / "s.srt").write_text(SRT)
    return folder


def loads(folder: Path, data: bytes) -> Job | list[str]:
    """Load a job; give it or its problems, after checking that they say what they must."""
    path = folder / "scenes.yaml"
    path.write_bytes(data)
    with within(10):
        try:
            job = load_job(path)
        except BadInput as error:
            problems = error.problems
        else:
            assert isinstance(job, Job)
            assert job.scenes
            return job
    assert 0 < len(problems) <= MAX_PROBLEMS + 1
    lines = data.count(b"\n") + data.count(b"\r") + data.count("\u2028".encode()) + 2
    for problem in problems:
        assert problem.file == str(path), problem
        assert 0 <= problem.line <= lines + data.count(b"\xc2\x85") + data.count(b"\xe2\x80\xa9")
        assert problem.message
        assert len(str(problem)) < 20_000
        assert is_one_line(str(problem)), problem
    return [str(problem) for problem in problems]


def test_the_file_that_is_mutated_is_valid(job_folder: Path) -> None:
    assert isinstance(loads(job_folder, VALID.encode()), Job)


@bounded(200)
@given(
    st.one_of(
        st.binary(max_size=400),
        st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.text("- :[]{}&*!|>'\"%@`#,?\n\tab01~\\", max_size=200).map(str.encode),
        st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "utf-7", "cp037"]).map(VALID.encode),
        st.binary(max_size=20).map(lambda data: data + VALID.encode()),
    )
)
def test_a_job_file_of_any_bytes(job_folder: Path, data: bytes) -> None:
    loads(job_folder, data)


class Edit(NamedTuple):
    """One change to the lines of a valid file."""

    kind: str
    at: int
    to: int
    text: str

    def apply(self, lines: list[str]) -> list[str]:
        if not lines:
            return lines
        at, to = self.at % len(lines), self.to % len(lines)
        before, line, after = lines[:at], lines[at].rstrip("\n"), lines[at + 1 :]
        key, colon, _ = line.partition(":")
        indent = key[: len(key) - len(key.lstrip(" -"))]
        place = self.to % (len(line) + 1)
        new = {
            "delete": [],
            "cut": [line[:place]],
            "value": [f"{key}{colon} {self.text}\n"],
            "key": [f"{indent}{self.text}: 1\n", f"{line}\n"],
            "indent": [" " * (self.to % 9) + line.lstrip() + "\n"],
            "insert": [f"{line[:place]}{self.text}{line[place:]}\n"],
            "nest": [f"{key}{colon} {'[' * (self.to % 40)}x{']' * (self.to % 40)}\n"],
        }
        match self.kind:
            case "duplicate":
                return [*lines[: to + 1], lines[at], *lines[to + 1 :]]
            case "swap":
                swapped = list(lines)
                swapped[at], swapped[to] = lines[to], lines[at]
                return swapped
            case "cut":
                return [*before, *new["cut"]]
            case kind:
                return [*before, *new[kind], *after]


KINDS = ["delete", "duplicate", "swap", "cut", "value", "key", "indent", "insert", "nest"]
edits = st.lists(
    st.builds(Edit, st.sampled_from(KINDS), st.integers(0, 99), st.integers(0, 99), odd_scalars),
    min_size=1,
    max_size=4,
)


@bounded(300)
@given(edits)
def test_a_job_file_with_mistakes(job_folder: Path, changes: list[Edit]) -> None:
    lines = list(LINES)
    for change in changes:
        lines = change.apply(lines)
    loads(job_folder, "".join(lines).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("number", range(len(ODD)))
def test_any_value_may_be_odd(job_folder: Path, number: int) -> None:
    for line in range(len(LINES)):
        # Mostly as a value, every fifth time as a key.
        kind = "value" if line % 5 else "key"
        changed = Edit(kind, line, 0, ODD[number]).apply(LINES)
        loads(job_folder, "".join(changed).encode("utf-8", "surrogatepass"))


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        [*KEYS, "p.png", "a.wav", "s.srt", "us-east-1", "&H00000000", ".", "/dev/zero"]
    ),
)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=12,
)


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(
        value, list
    ) else ()  # fmt: skip
    for key, item in items:
        yield from places(item, (*path, key))


PLACES = list(places(TREE))


def replaced(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    if not path:
        return new
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


@bounded(400)
@given(st.sampled_from(PLACES), trees, st.sampled_from(["json", "block", "flow"]))
def test_a_job_file_of_another_shape(
    job_folder: Path, place: tuple[str | int, ...], tree: object, form: str
) -> None:
    value = replaced(TREE, place, tree)
    text = (
        json.dumps(value, ensure_ascii=False)
        if form == "json"
        else yaml.safe_dump(value, default_flow_style=form == "flow", allow_unicode=True)
    )
    loads(job_folder, text.encode("utf-8", "surrogatepass"))


MANY = {
    "unknown keys": VALID + "".join(f"k{number}: 1\n" for number in range(20_000)),
    "aliases of a mapping of unknown keys": "a: &a {"
    + ",".join(f"k{number}: 1" for number in range(900))
    + "}\nscenes: ["
    + "*a," * 1000
    + "]\n",
    "one scene, often": "version: 1\nscenes:\n  - &s {name: s, image: p.png, audio: a.wav}\n"
    + "  - *s\n" * 20_000,
    "prices that are words": "aws: {price_per_hour: {"
    + ",".join(f"'{number}': x" for number in range(20_000))
    + "}}\n",
    "files that are not there": "version: 1\nscenes:\n"
    + "".join(f"  - {{name: s{n}, image: {n}.png, audio: {n}.wav}}\n" for n in range(2000)),
    "a key without an end": "version: 1\n? " + "ab" * 500_000 + "\n: 1\n",
    "a path without an end": VALID.replace("p.png", "x" * 1_000_000),
    "a number without an end": VALID.replace("60", "6" * 1_000_000),
    "brackets": "[" * 100_000,
    "dashes": "- " * 100_000,
    "documents": "---\n" * 100_000,
    "the same key": VALID + "name: x\n" * 50_000,
}


@pytest.mark.parametrize("name", MANY)
def test_a_large_job_file_is_refused_at_once_and_in_few_words(job_folder: Path, name: str) -> None:
    problems = loads(job_folder, MANY[name].encode())
    assert isinstance(problems, list)
    assert sum(map(len, problems)) < 1_000_000


@bounded(200)
@given(edits, st.sampled_from([yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)]))
def test_yaml_is_read_or_refused_by_either_parser(changes: list[Edit], loader: type) -> None:
    lines = list(LINES)
    for change in changes:
        lines = change.apply(lines)
    kept, yamltree._Loader = yamltree._Loader, loader
    try:
        read = outcome(yamltree.YamlError, lambda: yamltree.parse("".join(lines)))
    finally:
        yamltree._Loader = kept
    if isinstance(read, yamltree.YamlError):
        assert str(read)
    numbers = [read.line] if isinstance(read, yamltree.YamlError) else list(read.lines.values())
    assert all(number >= 1 for number in numbers)


# -- subtitles ----------------------------------------------------------------------------------

SUBTITLES = """\
1
00:00:00,000 --> 00:00:01,500
<i>Hello</i> {\\an8}there

2
00:00:01,000 --> 00:00:03,000
一架火箭升空
Two lines, C:\\new {\\pos(0,0)}

3
01:02:03.4 --> 01:02:05,678
last
"""
COMMANDS = [
    *(
        r"{\an8}",
        r"{\p1}m 0 0 l 100 100",
        r"{",
        "}",
        r"\N",
        r"\n",
        r"\h",
        "\\",
        "\\\u2060N",
        "{{}}",
    ),
    *(
        r"{\pos(0,0)\c&H0000FF&}",
        "<b>",
        "</font>",
        "<font color=red",
        "<",
        ">",
        "{<i>\\an8}",
        "{=1}",
    ),
    *("Dialogue: 0,0:00:00.00,9:00:00.00,Default,x", "[Events]", "[Script Info]", "Style: x,y"),
    *("\nDialogue: 0,0:00:00.00,9:00:00.00,Default,x", "\r[Fonts]\r", "\x0bx", "\x0cx", "\x1cx"),
    *("\x85[Events]", "\u2028Format: Text", "\x00", "\x1b[31m", "\ufeff", "\u202e", "\u200d", ";"),
    *(
        "00:00:00,000 --> 00:00:09,000",
        "\u0660:\u0660:\u0661,\u0660 --> \u0660:\u0660:\u0662,\u0660",
        "00:00:09,000 --> 00:00:00,000",
    ),
    *("999:99:99,999 --> 999:99:99,999", "12", "-->", "画" * 200, "x" * 500, " " * 500, "e\u0301"),
]
style = subtitles.Style(1920, 1080, "Sans", lambda text, size: len(text) * size / 2)
# Nothing is too wide for this one: a line stays a line.
endless = subtitles.Style(1920, 1080, "Sans", lambda _text, _size: 0.0)
# What a cue begins with that is too long for the size of the others.
SMALLER = re.compile(r"\A\{\\fs\d+\\bord\d+\\shad\d+\}")
DIALOGUE = re.compile(r"Dialogue: 0,\d+:\d\d:\d\d\.\d\d,\d+:\d\d:\d\d\.\d\d,Default,([^\n\r\0]*)\n")


def reads(data: bytes) -> list[subtitles.Cue]:
    """Read subtitles and write them as ASS, after checking that no text in them is a command."""
    with within(10):
        cues = outcome(subtitles.SubtitleError, lambda: subtitles.parse(data))
        if isinstance(cues, subtitles.SubtitleError):
            assert is_one_line(str(cues))
            return []
        assert cues
        assert cues == sorted(cues, key=lambda cue: (cue.start, cue.end))
        assert all(cue.text.strip() and cue.start < cue.end for cue in cues)
        flat = subtitles.flatten(cues)
        for one, following in pairwise(flat):
            assert one.start < one.end <= following.start
        written = [
            subtitles.to_ass(subtitles.draw(cues, each)[0], each) for each in (style, endless)
        ]
    for text in written:
        text.encode()
        head, _, events = text.partition("Format: Layer, Start, End, Style, Text\n")
        assert "Dialogue" not in head
        said = DIALOGUE.findall(events)
        assert DIALOGUE.sub("", events) == "", "there is something beside the cues"
        assert len(said) >= len(flat)
        said = [SMALLER.sub("", words) for words in said]
        for words in said:
            assert not set("{}") & set(words)
            # A backslash is either ours, between two lines, or cannot begin a command.
            assert re.fullmatch(r"[^\\]*(\\(N|\u2060)[^\\]*)*", words)
    # What a cue says breaks no line that it does not break itself.
    lines = sum(bool(line.strip()) for cue in flat for line in cue.text.split("\n"))
    assert sum(words.count(r"\N") + 1 for words in said) == lines
    return cues


def test_the_subtitles_that_are_mutated_are_valid() -> None:
    assert len(reads(SUBTITLES.encode())) == 3


@bounded(300)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=100).map(
            lambda text: SRT.replace("Hello", text).encode("utf-8", "ignore")
        ),
        st.tuples(st.binary(max_size=60), st.sampled_from(["utf-8", "gb18030", "utf-16"])).map(
            lambda pair: SRT.encode(pair[1]) + pair[0]
        ),
        st.binary(max_size=60).map(lambda data: SRT.encode() + data),
        st.binary(max_size=60).map(lambda data: b"\xff\xfe" + data),
        st.text("0123456789:,.-> \n\r\t<>{}\\", max_size=120).map(str.encode),
    )
)
def test_subtitles_of_any_bytes(data: bytes) -> None:
    reads(data)


@bounded(500)
@given(
    st.lists(
        st.builds(
            Edit,
            st.sampled_from(["delete", "duplicate", "swap", "cut", "insert", "insert"]),
            st.integers(0, 99),
            st.integers(0, 99),
            st.sampled_from(COMMANDS) | st.text(max_size=20),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["utf-8", "gb18030", "utf-16", "utf-8-sig"]),
)
def test_subtitles_with_mistakes_and_commands(changes: list[Edit], encoding: str) -> None:
    lines = SUBTITLES.splitlines(keepends=True)
    for change in changes:
        lines = change.apply(lines)
    reads("".join(lines).encode(encoding, "replace"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_in_a_cue_is_only_words(command: str) -> None:
    reads(SRT.replace("Hello", f"Hello {command} you").encode())


def cue(number: int, text: str = "x", start: float = 0.0) -> str:
    begin = f"00:{int(start) // 60:02}:{start % 60:06.3f}"
    return f"{number}\n{begin} --> 01:{number // 60 % 60:02}:{number % 60:02}.5\n{text}\n\n"


LONG = {
    "one word": SRT.replace("Hello", "x" * 500_000),
    "one Chinese line": SRT.replace("Hello", "画" * 300_000),
    "one word of a whole book": SRT.replace("Hello", "x" * 100_000),
    "one Chinese line of a whole book": SRT.replace("Hello", "画" * 100_000),
    "spaces": SRT.replace("Hello", "a" + " " * 500_000 + "b"),
    "many lines": SRT.replace("Hello", "x\n" * 200_000),
    "open tags": SRT.replace("Hello", "<a" * 200_000),
    "open braces": SRT.replace("Hello", "{\\" * 200_000),
    "many cues at once": "".join(cue(n, start=n / 1000) for n in range(20_000)),
    "many long cues at once": "".join(cue(n, "画" * 3000, n / 1000) for n in range(100)),
    "many cues": "".join(
        f"{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02},0 --> {n // 3600:02}:{n // 60 % 60:02}"
        f":{n % 60:02},9\nx\n"
        for n in range(25_000)
    ),
    "more than a megabyte": "".join(cue(n) for n in range(50_000)),
    "spaces before a time": " " * 500_000 + SRT,
    "digits": "1" * 1_000_000,
}


@pytest.mark.parametrize("name", LONG)
def test_endless_subtitles_are_read_or_refused_in_time(name: str) -> None:
    reads(LONG[name].encode())


# One cue in each format, with the words of SUBTITLES; each line may be damaged.
OTHER_FORMATS = {
    "vtt": "WEBVTT - x\n\nSTYLE\n::cue { color: red }\n\nNOTE remark\n\nintro\n"
    "00:00.200 --> 00:01.000 align:start\n<v Bob>Hello</v> &lt;b&gt;\n\n"
    "00:00:02.000 --> 00:00:03.000\nTwo\nlines\n",
    "ass": "[Script Info]\nTitle: x\n\n[Events]\n"
    "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    "Dialogue: 0,0:00:00.50,0:00:02.00,Default,,0,0,0,,{\\an8}Hello\\Nyou\n"
    "Dialogue: 0,0:00:03.50,0:00:04.00,Default,,0,0,0,,{\\p1}m 0 0{\\p0}there\n",
    "lrc": "[ti:Song]\n[offset:+500]\n[00:01.00][00:05.00]Hello\n[00:03.5]there <00:04.00>you\n"
    "[00:07]\n[00:08:50]end\n",
}
OTHER_COMMANDS = [
    *("[00:01.00]", "[offset:9999999999]", "[offset:-\u0661]", "[999:99.999]", "[Events]", "["),
    *("Format: Text", "Format: Text, Start, End", "Format:", "Dialogue:", "Dialogue: 0,x,y", ","),
    *("{\\p1}", "{\\p0}", "{", "}", "\\N", "\\h", "WEBVTT", "NOTE", "STYLE", "REGION", "&lt;c&gt;"),
    *("00:00.000 --> 00:09.000", "-->", "<v", "<c.a.b>", "&#x0;", "&#10;", "&amp;", "\n", "\n\n"),
]


@bounded(600)
@given(
    st.sampled_from(sorted(OTHER_FORMATS)),
    st.lists(
        st.builds(
            Edit,
            st.sampled_from(["delete", "duplicate", "swap", "cut", "insert", "insert"]),
            st.integers(0, 99),
            st.integers(0, 99),
            st.sampled_from(OTHER_COMMANDS) | st.text(max_size=20),
        ),
        max_size=5,
    ),
    st.sampled_from(["utf-8", "gb18030", "utf-16-le", "utf-8-sig"]),
)
def test_other_formats_with_mistakes(kind: str, changes: list[Edit], encoding: str) -> None:
    lines = OTHER_FORMATS[kind].splitlines(keepends=True)
    for change in changes:
        lines = change.apply(lines)
    cues = reads("".join(lines).encode(encoding, "replace"))
    assert cues or changes


# What is put in the place of a sign of a time line, or between two.
SIGNS = [
    *("", " ", ":", ";", ",", ".", "-", "--", ">", "=", "~", "0", "00", "O", "l", "\t", "&gt;"),
    *("：", "，", "．", "－", "——", "→", "》", "＞", "０", "１", "٠", "٫", "\u202a", "\u00a0"),
]
CLOCK = re.compile(r"\d\d?[:：;]\d\d?[:：;]\d\d?")


@bounded(800)
@given(
    st.lists(st.tuples(st.integers(0, 28), st.booleans(), st.sampled_from(SIGNS)), max_size=2),
    st.sampled_from(["1\n00:00:00,200 --> 00:00:00,900\nfirst\n\n2\n", "WEBVTT\n\n"]),
)
def test_a_damaged_time_is_read_or_refused_and_never_shown(
    damage: list[tuple[int, bool, str]], before: str
) -> None:
    line = "00:00:01,000 --> 00:00:02,000"
    for at, inserted, sign in damage:
        line = line[:at] + sign + line[at + (not inserted) :]
    for cue in reads(f"{before}{line}\nsecond\n".encode()):
        assert "-->" not in cue.text, line
        assert not CLOCK.search(unicodedata.normalize("NFKC", cue.text)), line
        assert cue.text in {"first", "second", "first\nsecond"}, line


OTHER_LONG = {
    "vtt, open tags": "WEBVTT\n\n00:00.000 --> 00:01.000\n" + "<v" * 200_000,
    "vtt, entities": "WEBVTT\n\n00:00.000 --> 00:01.000\n" + "&lt;" * 200_000,
    "vtt, one block": "WEBVTT\n\n" + "00:00.000 --> 00:01.000\nx\n" * 30_000,
    "ass, open overrides": "[Events]\nDialogue: 0,0:00:00.00,0:00:01.00,,,,,,," + "{\\p" * 200_000,
    "ass, commas": "[Events]\nFormat: " + "a," * 200_000 + "text\nDialogue: " + "," * 400_000,
    "lrc, stamps": "[00:01.00]" * 90_000 + "x\n",
    "lrc, open words": "[00:01.00]" + "<00:0" * 180_000,
    "a time of digits": SRT + "1:" * 400_000 + " --> 2\nx\n",
    "lines of arrows": SRT + "1: --> " * 100_000,
    "a time in each line": "1: -->\n" * 100_000,
}


@pytest.mark.parametrize("name", OTHER_LONG)
def test_endless_files_of_other_formats_are_read_or_refused_in_time(name: str) -> None:
    reads(OTHER_LONG[name].encode())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" " * subtitles.MAX_BYTES, "bytes; the limit is 1048576"),
        (
            "x" * (subtitles.MAX_TEXT + 1),
            "the cue at 0.1 s has 10001 characters; the limit is 10000",
        ),
    ],
    ids=["a megabyte", "a cue without an end"],
)
def test_what_nobody_could_read_is_refused(text: str, words: str) -> None:
    with pytest.raises(subtitles.SubtitleError, match=words):
        subtitles.parse(SRT.replace("Hello there", text).encode())


@bounded(60)
@given(st.sampled_from(COMMANDS), st.binary(max_size=20))
def test_a_job_names_the_subtitles_that_it_cannot_use(
    job_folder: Path, command: str, noise: bytes
) -> None:
    (job_folder / "fuzz.srt").write_bytes(SRT.replace("-->", command).encode() + noise)
    text = VALID.replace("s.srt", "fuzz.srt")
    found = loads(job_folder, text.encode())
    if not isinstance(found, Job):
        assert len(found) == 1
        assert ": scenes[0].subtitle: fuzz.srt: " in found[0]
        assert found[0].endswith("; expected subtitles (SRT, WebVTT, ASS or LRC)")


@bounded(200)
@given(
    st.lists(
        st.builds(
            lambda start, length, text: subtitles.Cue(start / 4, (start + length) / 4, text),
            st.integers(0, 20),
            st.integers(1, 9),
            st.sampled_from("abc"),
        ),
        max_size=12,
    )
)
def test_what_is_shown_at_a_moment_is_every_cue_of_that_moment(cues: list[subtitles.Cue]) -> None:
    flat = subtitles.flatten(cues)
    for moment in (quarter / 4 + 0.1 for quarter in range(32)):
        said = [one.text for one in cues if one.start <= moment < one.end]
        shown = [one.text for one in flat if one.start <= moment < one.end]
        # Files that were converted from layers have a cue several times; it is shown once.
        assert shown == (["\n".join(dict.fromkeys(said))] if said else [])


# -- answers of a worker ------------------------------------------------------------------------

LIMIT = 0.5


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all limits of the client be short."""
    monkeypatch.setattr(worker, "CONNECT_TIMEOUT", LIMIT)
    monkeypatch.setattr(worker, "GRACE", 0.0)
    monkeypatch.setattr(worker, "PATIENCE", LIMIT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("answers")


@pytest.fixture(scope="module")
def scene(folder: Path) -> Scene:
    return Scene("s", write_picture(folder / "p.png", (16, 16)), write_sound(folder / "a.wav"), 1.0)


def fits(text: str) -> bool:
    """Say if a worker's words can be shown and kept."""
    return is_one_line(text) and len(text) <= 1000


def ask_everything(server: Loopback, scene: Scene, folder: Path, limit: float = LIMIT) -> None:
    """Call every method of the client; none may raise what it does not document, or hang."""
    api = server.api
    with within(limit + 2):
        said = api.healthy(limit)
        assert said is None or fits(said)
    with within(limit + 2):
        wait = outcome(WorkerUnhealthy, lambda: api.wait_healthy(0.01, naps))
        assert wait is None or fits(str(wait))
    with within(limit + 2):
        rendered = outcome(SceneError, lambda: api.render(scene, limit))
    if isinstance(rendered, SceneError):
        assert fits(str(rendered))
    else:
        assert rendered.endpoint.startswith("/")
        assert type(rendered.size) is int
        assert rendered.size >= 0
        assert all(fits(text) for text in (rendered.endpoint, rendered.scenario))
        assert all(isinstance(text, str) and fits(text) for text in rendered.warnings)
        assert len(rendered.warnings) <= 100
    fetches(server, Rendered("/download/1", 5, "", ()), folder, limit)
    fetches(server, Rendered("/download/1", 0, "", ()), folder, limit)


def fetches(server: Loopback, rendered: Rendered, folder: Path, limit: float = LIMIT) -> bool:
    """Download; say if that many bytes came that were announced."""
    path = folder / "v.part"
    with within(limit + 2):
        error = outcome(SceneError, lambda: server.api.fetch(rendered, path))
    if error is None:
        return path.stat().st_size == rendered.size
    assert not isinstance(error, SceneRejected), "the scene has nothing to do with it"
    assert fits(str(error))
    return False


def naps(seconds: float) -> bool:
    time.sleep(seconds)
    return False


WORDS = ["0", "-1", "5", "9" * 30, "x", "", "true", "null", "chunked", "gzip", "identity", "\x7f"]
NAMES = [
    *("Content-Length", "Transfer-Encoding", "Content-Encoding", "Content-Type", "Connection"),
    *("Location", "Set-Cookie", "Retry-After", "Trailer", "Upgrade", " folded", "", ":", "\xff"),
]
URLS = [
    "/",
    "//127.0.0.1:1/x",
    "http://127.0.0.1:1/x",
    "http://[",
    "http://\x00",
    "ftp://x",
    "\xff",
]
TYPES = [
    "text/html; charset=x",
    "text/html; charset=undefined",
    'a; charset="a\\0"',
    "a;charset=idna",
]
headers = st.tuples(
    st.sampled_from(NAMES) | st.text(st.characters(max_codepoint=255), max_size=10),
    st.sampled_from(
        [*WORDS, *URLS, *TYPES, "a=b; expires=x", "a=b; domain=\xff; max-age=\xff", "5,6"]
    )
    | st.text(st.characters(max_codepoint=255), max_size=20),
)
odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers() | st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    st.sampled_from(
        [
            "/download/1",
            "download/1",
            "\ud800",
            "\x1b[2J",
            "/\r\nX: y",
            "x" * 5000,
            1e999,
            [[]],
            [{}],
        ]
    ),
)
answers = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ["download_endpoint", "size", "scenario", "warnings", "error", "status"], odd_values
    )
    | {"success": st.sampled_from([True, True, True, False, 1, "true", None])},
)
bodies = st.one_of(
    st.binary(max_size=60),
    answers.map(lambda value: json.dumps(value).encode()),
    answers.map(
        lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    ),
    st.recursive(odd_values, lambda inner: st.lists(inner, max_size=3), max_leaves=4).map(
        lambda value: json.dumps(value).encode()
    ),
    st.sampled_from(
        [
            *(b"[" * 5_000, b'{"success":' * 2_000, b"1" * 10_000, b'{"success": true}', b"{}"),
            *(b'\xef\xbb\xbf{"status": "healthy"}', '{"status": "healthy"}'.encode("utf-16")),
            b'{"success": true, "download_endpoint": "/d", "size": ' + b"9" * 5000 + b"}",
            b'{"success": true, "download_endpoint": "/d", "size": 1e400, "warnings": [1e400]}',
            b'{"success": true, "success": true, "download_endpoint": "/d", "size": NaN}',
            *(
                b"\x1f\x8b\x08" + b"\x00" * 20,
                b"5\r\nabcde\r\n0\r\n\r\n",
                b"fffffffff\r\nx",
                b"-5\r\nx",
            ),
        ]
    ),
)


class Raw(NamedTuple):
    """An answer, byte by byte."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes
    length: int | None
    end: int

    def data(self) -> bytes:
        lines = [self.status, *(f"{name}: {value}" for name, value in self.headers)]
        if self.length is not None:
            lines.append(f"Content-Length: {max(0, len(self.body) + self.length)}")
        whole = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body
        return whole[: len(whole) - self.end]


raws = st.builds(
    Raw,
    st.sampled_from([200] * 6 + [201, 204, 206, 301, 307, 400, 401, 404, 429, 500, 503, 599]).map(
        lambda status: f"HTTP/1.1 {status} Words"
    )
    | st.sampled_from(
        [
            "HTTP/1.1 99999 x",
            "HTTP/1.1 abc",
            "HTTP/9.9 200 OK",
            "HTTP/1.0 200",
            "ICY 200 OK",
            "200",
            "HTTP/1.1 -1 x",
            "HTTP/1.1 000 x",
            "HTTP/1.1 100 Continue",
            "HTTP/1.1 ÿÿ ÿ",
            "",
        ]
    ),
    st.lists(headers, max_size=3),
    bodies,
    st.sampled_from([None, 0, 0, 0, -3, 7]),
    st.sampled_from([0, 0, 0, 1, 10, 40]),
)


@bounded(400)
@given(raws.map(Raw.data) | st.binary(max_size=200))
def test_an_answer_of_any_bytes(
    answering: Loopback, scene: Scene, folder: Path, data: bytes
) -> None:
    answering.play = lambda call: call.send(data)
    ask_everything(answering, scene, folder)


@bounded(400)
@given(
    st.tuples(
        answers.map(lambda value: {"success": True, "download_endpoint": "/download/1"} | value),
        st.sampled_from([200, 200, 200, 400, 500]),
    )
)
def test_an_answer_of_any_json(
    answering: Loopback, scene: Scene, folder: Path, given_: tuple[object, int]
) -> None:
    value, status = given_
    answering.play = lambda call: call.answer(status, json.dumps(value).encode())
    ask_everything(answering, scene, folder)


@pytest.fixture
def answering() -> Iterator[Loopback]:
    with Loopback(lambda call: call.hang()) as server:
        yield server


ODD_HEADERS = {
    "two lengths": b"Content-Length: 5, 6",
    "a negative length": b"Content-Length: -1",
    "a length in words": b"Content-Length: five",
    "an endless length": b"Content-Length: " + b"9" * 5000,
    "an endless line": b"X: " + b"y" * 70_000,
    "too many lines": b"X: y\r\n" * 200 + b"X: y",
    "no such coding": b"Transfer-Encoding: x",
    "not zipped": b"Content-Encoding: gzip",
    "chunks without a size": b"Transfer-Encoding: chunked",
    "no name": b": x",
    "no colon": b"x",
    "NUL": b"X\0: y\0",
    "a cookie": b"Set-Cookie: a=b; expires=never; domain=\xff; path=\xff",
    "a charset": b"Content-Type: text/html; charset=undefined",
}


@pytest.mark.parametrize("name", ODD_HEADERS)
def test_odd_headers_leave_no_connection_open(
    answering: Loopback, scene: Scene, folder: Path, name: str
) -> None:
    data = b"HTTP/1.1 200 OK\r\n" + ODD_HEADERS[name] + b"\r\n\r\nx\r\nx"
    answering.play = lambda call: call.send(data)
    process = psutil.Process()
    before = process.num_fds()
    gc.disable()
    try:
        for _ in range(5):
            ask_everything(answering, scene, folder)
        deadline = time.monotonic() + 5
        while process.num_fds() > before and time.monotonic() < deadline:
            time.sleep(0.05)  # the server's side closes a moment later
        assert process.num_fds() <= before
    finally:
        gc.enable()
        gc.collect()


VIDEO = b"\0\0\0\x18ftyp" + b"x" * 1000
HEAD = f"HTTP/1.1 200 OK\r\nContent-Length: {len(VIDEO)}\r\n\r\n".encode()


def endlessly(data: bytes) -> Callable[[Call], None]:
    def play(call: Call) -> None:
        call.send(HEAD.replace(b"Content-Length", b"X-Nothing") if data == b"x" * 4096 else b"")
        while not call.ended.is_set():
            call.send(data)

    return play


UNFRIENDLY: dict[str, Callable[[Call], None]] = {
    "says nothing": lambda call: call.hang(),
    "hangs up": lambda _: None,
    "resets": lambda call: call.reset(),
    "hangs after its status": lambda call: (call.send(b"HTTP/1.1 200 OK\r\n"), call.hang())[0],
    "hangs after its headers": lambda call: (call.send(HEAD), call.hang())[0],
    "hangs in its body": lambda call: (call.send(HEAD + b"{"), call.hang())[0],
    "resets in its body": lambda call: (call.send(HEAD + b"{"), call.reset())[0],
    "drips its headers": lambda call: call.drip(HEAD * 10, 0.1),
    "drips its body": lambda call: (call.send(HEAD), call.drip(VIDEO, 0.1))[0],
    "drips without a length": lambda call: (
        call.send(b"HTTP/1.1 200 OK\r\n\r\n"),
        call.drip(VIDEO, 0.1),
    )[0],
    "drips chunks": lambda call: (
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        call.drip(b"1\r\nx\r\n" * 100, 0.05),
    )[0],
    "goes on for ever": endlessly(b"x" * 4096),
    "sends headers for ever": endlessly(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50),
    "says go on for ever": endlessly(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "sends one chunk for ever": endlessly(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
}


@pytest.mark.parametrize("name", UNFRIENDLY)
@pytest.mark.slow
def test_no_answer_holds_a_client_longer_than_its_limit(
    answering: Loopback, scene: Scene, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(messages, "LARGEST", 50_000_000)
    answering.play = UNFRIENDLY[name]
    ask_everything(answering, scene, folder)
    assert not fetches(answering, Rendered("/download/1", len(VIDEO), "", ()), folder)


def test_a_client_that_cannot_get_rid_of_its_request_gives_up(scene: Scene, folder: Path) -> None:
    (folder / "big.wav").write_bytes(b"x" * 30_000_000)
    big = replace(scene, audio=folder / "big.wav")
    with (
        Loopback(lambda call: call.ended.wait(4 * SOON) and None, reads=False) as server,
        within(LIMIT + 3),
        pytest.raises(SceneError, match="took longer than"),
    ):
        server.api.render(big, LIMIT)


def test_a_request_that_takes_longer_than_a_connection_is_sent_all_the_same(
    scene: Scene, folder: Path
) -> None:
    """A home's way up is slow: a narration of 10 MB takes it ten seconds, and is no failure."""
    (folder / "big.wav").write_bytes(b"x" * 12_000_000)
    big = replace(scene, audio=folder / "big.wav")

    def play(call: Call) -> None:
        while b"}" not in call.connection.recv(500_000)[-1:]:
            time.sleep(0.1)
        call.answer(200, b'{"success": true, "download_endpoint": "/d"}')

    with Loopback(play, reads=False) as server:
        began = time.monotonic()
        assert server.api.render(big, 15).endpoint == "/d"
        assert time.monotonic() - began > LIMIT


def test_a_download_that_is_slow_but_comes_is_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PATIENCE", 2.0)
    size = worker.STEP * 5

    def play(call: Call) -> None:
        call.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(20):
            call.send(b"x" * (size // 20))
            time.sleep(0.12)

    with Loopback(play) as server:
        began = time.monotonic()
        server.api.fetch(Rendered("/d", size, "", ()), folder / "v.part")
        assert time.monotonic() - began > worker.PATIENCE
    assert (folder / "v.part").stat().st_size == size


# -- where the key goes -------------------------------------------------------------------------


@pytest.fixture
def trap() -> Iterator[Loopback]:
    """Somebody else, to whom nobody is meant to come."""
    with Loopback(lambda call: call.answer(200, b'{"status": "healthy"}')) as server:
        yield server


ELSEWHERE = [
    *(
        "http://127.0.0.1:{trap}/x",
        "//127.0.0.1:{trap}/x",
        "@127.0.0.1:{trap}/x",
        "1/x",
        "0",
        ":1/x",
    ),
    *(
        "\\\\127.0.0.1:{trap}/x",
        "/\\127.0.0.1:{trap}/x",
        "?@127.0.0.1:{trap}",
        "#@127.0.0.1:{trap}/",
    ),
    *(
        "http:/127.0.0.1:{trap}/",
        ".127.0.0.1:{trap}/x",
        "\t//127.0.0.1:{trap}/x",
        "\r\n@127.0.0.1/x",
    ),
    *(
        "HTTP://127.0.0.1:{trap}/x",
        "file:///etc/passwd",
        "///127.0.0.1:{trap}/x",
        "a@127.0.0.1:{trap}",
    ),
    *(
        "/@127.0.0.1:{trap}/x",
        "/..//127.0.0.1:{trap}/x",
        "/%2f127.0.0.1:{trap}",
        "/x y",
        "/\r\nX: y",
        "",
    ),
]
endpoints = st.one_of(
    st.sampled_from(ELSEWHERE),
    st.tuples(st.sampled_from("/@:.\\?#1 \t\x00é"), st.sampled_from(ELSEWHERE)).map("".join),
    st.text("/@:.\\?#[]%01:a \t\r\n", max_size=12),
    st.text(max_size=12),
)


@bounded(300)
@given(endpoints)
def test_the_key_goes_to_the_worker_and_nowhere_else(
    answering: Loopback, trap: Loopback, scene: Scene, folder: Path, where: str
) -> None:
    endpoint = where.replace("{trap}", str(trap.port))
    said = {"success": True, "download_endpoint": endpoint, "size": len(VIDEO)}

    def play(call: Call) -> None:
        call.answer(200, json.dumps(said).encode() if call.method == "POST" else VIDEO)

    answering.play = play
    with connections() as heard:
        try:
            rendered = answering.api.render(scene, LIMIT)
            assert rendered.endpoint == endpoint
        except SceneError:
            rendered = Rendered(endpoint, len(VIDEO), "", ())
        fetches(answering, rendered, folder)
    assert trap.calls == []
    addresses = {text for event, text in heard if event == "socket.connect"}
    assert addresses == {repr((("127.0.0.1", answering.port),))}
    assert all("127.0.0.1" in text for _, text in heard)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize("form", ["http://127.0.0.1:{}/x", "//127.0.0.1:{}/x"])
def test_a_redirection_is_not_followed(
    answering: Loopback, trap: Loopback, scene: Scene, folder: Path, status: int, form: str
) -> None:
    place = form.format(trap.port)
    data = f"HTTP/1.1 {status} There\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()
    answering.play = lambda call: call.send(data)
    with connections() as heard:
        ask_everything(answering, scene, folder)
        assert answering.api.healthy(LIMIT) is not None
    assert trap.calls == []
    assert not any(str(trap.port) in text for _, text in heard)
    assert {call.headers.get("X-Authentication-Key") for call in answering.calls} <= {KEY, None}


def test_a_redirection_is_no_fault_of_the_scene(answering: Loopback, scene: Scene) -> None:
    answering.play = lambda call: call.answer(302, b"")
    with pytest.raises(SceneError, match="302") as caught:
        answering.api.render(scene, LIMIT)
    assert caught.value.retry


# -- requests to the video API ------------------------------------------------------------------

ANSWERS = {200, 400, 401, 404, 405, 413, 415, 422, 429}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Api:
    """The bundled video API without a socket; it reads everything and encodes nothing."""

    def __init__(self, work: Path, folder: Path) -> None:
        self.server = Server(Settings(work, key=KEY, max_body=200_000))
        self.picture = write_picture(folder / "api.png", (64, 36)).read_bytes()
        self.sound = write_sound(folder / "api.wav", 0.2, rate=8000).read_bytes()
        self.client: FlaskClient = self.server.app.test_client()
        self.good = {"input_image": b64(self.picture), "input_audio": b64(self.sound)}

    def asks(self, path: str, **how: Any) -> int:
        """Send a request; check that the answer is JSON, and says what is wrong if anything is."""
        how.setdefault("headers", {"X-Authentication-Key": KEY})
        kept = len(self.server.store)
        with within(10):
            answer = self.client.open(path, **how)
        said = answer.get_json(silent=True)
        assert answer.status_code in ANSWERS, (answer.status_code, said)
        if answer.status_code == 200 and answer.mimetype == "video/mp4":
            return 200
        assert isinstance(said, dict), answer.data[:200]
        if answer.status_code != 200:
            assert isinstance(said["error"], str)
            assert said["error"]
            assert "Traceback" not in said["error"]
            assert len(self.server.store) == kept
        folders = [path for path in self.server.settings.work.iterdir() if path.is_dir()]
        assert len(folders) == len(self.server.store), "a refused request left its files"
        answer.close()
        return answer.status_code


@pytest.fixture
def api(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Api:
    def encode_nothing(_scene: object, where: Path, _deadline: object) -> None:
        (where / "video.mp4").write_bytes(b"video")

    monkeypatch.setattr(encode, "still", encode_nothing)
    monkeypatch.setattr(encode, "moving", lambda scene, _, *rest: encode_nothing(scene, *rest))
    return Api(tmp_path / "work", folder)


def test_a_good_request_is_answered(api: Api) -> None:
    assert api.asks("/create_video_onestep", method="POST", json=api.good) == 200


FIELDS = [
    *("input_image", "input_audio", "subtitle", "effects", "language", "background_box"),
    *("background_opacity", "font_size", "outline_color", "is_portrait", "watermark"),
    *("output_filename", "quality", "effort"),
]
field_values = st.one_of(
    odd_values,
    st.sampled_from(
        [
            *ODD,
            "data:image/png;base64,",
            "data:,x",
            "zoom_in",
            ["zoom_in"] * 9,
            ["random", 1],
            "english",
            "&H00FF0000&",
            "&H00FF0000\n",
            0.0,
            10**400,
            -0.0,
            400,
            8,
            "../../etc/passwd",
            "a\r\nb: c",
        ]
    ),
    st.binary(max_size=40).map(b64),
)


@bounded(300)
@given(
    st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), field_values, max_size=4),
    st.booleans(),
)
def test_a_request_of_any_fields(api: Api, fields: dict[str, object], good: bool) -> None:
    body = (api.good if good else {}) | fields
    api.asks("/create_video_onestep", method="POST", json=body)


@bounded(200)
@given(
    bodies,
    st.sampled_from(
        [None, "application/json", "text/html", "multipart/form-data; boundary=", "\xff"]
    ),
    st.sampled_from([None, KEY, "", "\xff\xfe", "x" * 3000, KEY + "\0"]),
    st.sampled_from(["POST", "GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"]),
)
def test_a_request_of_any_bytes(
    api: Api, data: bytes, kind: str | None, key: str | None, method: str
) -> None:
    headers = {} if key is None else {"X-Authentication-Key": key}
    if method in {"OPTIONS", "HEAD"}:
        answer = api.client.open("/create_video_onestep", method=method, data=data)
        assert answer.status_code in {200, 405}
        return
    status = api.asks(
        "/create_video_onestep", method=method, data=data, content_type=kind, headers=headers
    )
    assert status != 200
    if method == "POST" and key != KEY:
        assert status in {401, 413}


@bounded(200)
@given(st.text(max_size=30), st.sampled_from(["/", "/download/", "/cleanup", "/health", "/x//"]))
def test_a_request_to_any_place(api: Api, place: str, before: str) -> None:
    api.asks(f"{before}{quote(place, errors='replace')}")


@bounded(100)
@given(st.text(max_size=20))
def test_a_request_writes_one_line_of_log(api: Api, text: str) -> None:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("cloudburst.videoapi")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        api.asks(f"/x{quote(text, errors='replace')}%0Alevel=error%1b[2J")
        api.asks("/create_video_onestep", method="POST", json={"language": text + "\n\x1b[2J"})
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
    assert len(lines) == 2
    assert all(is_one_line(line) for line in lines), lines


FORMATS = ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "TGA", "PPM", "ICO", "JPEG2000", "DDS"]
FORMATS += ["AVIF"] if features.check("avif") else []


def picture_of(kind: str) -> bytes:
    """Encode a small picture, with a rotation in its EXIF where one fits."""
    picture = Image.radial_gradient("L").resize((40, 30)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    rotated = {"exif": exif} if kind in {"PNG", "JPEG", "WEBP", "TIFF"} else {}
    picture.save(out, kind, **rotated)  # type: ignore[arg-type]
    return out.getvalue()


damages = st.lists(
    st.tuples(st.integers(0, 10_000), st.sampled_from(["set", "cut", "insert", "zero"]), st.binary(
        min_size=1, max_size=6)),
    min_size=1,
    max_size=4,
)  # fmt: skip


def damaged(data: bytes, changes: list[tuple[int, str, bytes]]) -> bytes:
    for place, kind, new in changes:
        # Headers are where the interesting fields are.
        at = place % (min(len(data), 200) if place % 3 else len(data) or 1) if data else 0
        match kind:
            case "set":
                data = data[:at] + new + data[at + len(new) :]
            case "cut":
                data = data[: at + 1]
            case "insert":
                data = data[:at] + new + data[at:]
            case _:
                data = data[:at] + bytes(len(new)) + data[at + len(new) :]
    return data


# Pillow warns of what it mends; here, warnings would be errors.
pillow_may_warn = pytest.mark.filterwarnings("ignore::Warning:PIL.*")


@pillow_may_warn
@bounded(400)
@given(st.sampled_from(FORMATS), damages, st.sampled_from(["input_image", "watermark"]))
def test_a_damaged_picture_is_used_or_refused(
    api: Api,
    kind: str,
    changes: list[tuple[int, str, bytes]],
    field: str,
) -> None:
    body = api.good | {field: b64(damaged(picture_of(kind), changes))}
    assert api.asks("/create_video_onestep", method="POST", json=body) in {200, 422, 400}


@bounded(200)
@given(damages)
def test_a_damaged_sound_is_used_or_refused(
    api: Api, changes: list[tuple[int, str, bytes]]
) -> None:
    body = api.good | {"input_audio": b64(damaged(api.sound, changes))}
    assert api.asks("/create_video_onestep", method="POST", json=body) in {200, 422, 400}


def test_a_reader_of_pictures_that_raises_what_it_likes(api: Api, job_folder: Path) -> None:
    """One of a format that has not been thought of, to Pillow's surprise."""
    unknown = picture_of("DDS")
    unknown = unknown[:80] + bytes(4) + unknown[84:]
    body = api.good | {"input_image": b64(unknown)}
    assert api.asks("/create_video_onestep", method="POST", json=body) == 422
    (job_folder / "unknown.dds").write_bytes(unknown)
    problems = loads(job_folder, VALID.replace("p.png", "unknown.dds").encode())
    assert isinstance(problems, list)
    assert len(problems) == 3
    assert "expected a picture" in problems[0]


@pillow_may_warn
@bounded(150)
@given(
    st.sampled_from(FORMATS), damages, st.sampled_from(["image", "watermark", "audio", "subtitle"])
)
def test_a_job_with_a_damaged_file_is_loaded_or_refused(
    job_folder: Path,
    api: Api,
    kind: str,
    changes: list[tuple[int, str, bytes]],
    field: str,
) -> None:
    original = {"audio": api.sound, "subtitle": SRT.encode()}.get(field, picture_of(kind))
    (job_folder / "damaged").write_bytes(damaged(original, changes))
    text = VALID.replace({"audio": "a.wav", "subtitle": "s.srt"}.get(field, "p.png"), "damaged")
    loads(job_folder, text.encode())


# -- videos -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    stub_video(path, title="the title of it")
    return path


@pytest.mark.video
@bounded(200)
@given(damages)
def test_a_damaged_video_is_whole_or_invalid(
    scene: Scene, folder: Path, video: Path, changes: list[tuple[int, str, bytes]]
) -> None:
    (folder / "v.mp4").write_bytes(damaged(video.read_bytes(), changes))
    with within(10):
        found = outcome(ArtifactInvalid, lambda: verify(folder / "v.mp4", scene))
    if isinstance(found, ArtifactInvalid):
        assert is_one_line(str(found))
    else:
        assert abs(found.sound_seconds - scene.seconds) <= 0.1


@pytest.mark.video
@pytest.mark.parametrize(
    "title", [b"\xff" * 15, b"\0" * 15, b"\x1b[31m" + b"x" * 10, "画".encode() * 5]
)
def test_whatever_a_video_is_called_it_is_whole_or_invalid(
    scene: Scene, folder: Path, video: Path, title: bytes
) -> None:
    """A narration's own tags get into the video, in any encoding."""
    data = video.read_bytes()
    assert data.count(b"the title of it") == 1
    (folder / "v.mp4").write_bytes(data.replace(b"the title of it", title))
    found = outcome(ArtifactInvalid, lambda: verify(folder / "v.mp4", scene))
    assert isinstance(found, ArtifactInvalid) or found.frames == 30
