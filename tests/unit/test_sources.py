"""Scenes from CSV, JSON Lines and values of a program: the same job, the same errors by line."""

from __future__ import annotations

import json
import re
from collections import UserDict
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.errors import BadInput
from cloudburst.job import csvfile, jsonlines, yamltree
from cloudburst.job.loader import load_job
from cloudburst.job.schema import validate
from cloudburst.job.tree import MAX_BYTES, SourceError
from tests.support.inputs import scenes_yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = "name,image,audio,subtitle"


def problems(source: Any) -> list[str]:
    with pytest.raises(BadInput) as caught:
        load_job(source)
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def here(job_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with a picture, a sound and an SRT file."""
    folder = job_file(scenes_yaml(1), "other.yaml").parent
    monkeypatch.chdir(folder)
    return folder


# -- CSV ----------------------------------------------------------------------------------------


def test_a_table_is_the_job_that_its_scenes_yaml_is(here: Path) -> None:
    (here / "scenes.yaml").write_text("""version: 1
scenes:
  - {name: one, image: p.png, audio: a.wav, subtitle: s.srt, language: english,
     effects: [zoom_in, pan_left], background_box: false, background_opacity: 0.5, font_size: 40,
     is_portrait: true, watermark: p.png, quality: small}
  - {name: "two, again", image: p.png, audio: a.wav, effects: [zoom_in]}
""")
    (here / "scenes.csv").write_text(
        "name,image,audio,subtitle,language,effects,background_box,background_opacity,font_size,"
        "is_portrait,watermark,quality\n"
        "one,p.png,a.wav,s.srt,english,zoom_in;pan_left,FALSE,0.5,40,true,p.png,small\n"
        '"two, again",p.png,a.wav,,,zoom_in,,,,,,\n'
    )
    table, document = load_job("scenes.csv"), load_job("scenes.yaml")
    assert table.scenes == document.scenes
    assert (table.name, table.source) == ("scenes", here / "scenes.csv")
    assert table.document is None


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_line_ends_and_a_byte_order_mark(here: Path, delimiter: str, end: str) -> None:
    rows = [
        ["Scene_Name", "input_image", "audio_path", "effects"],
        ["", "", "", ""],
        ["a", "p.png", "a.wav", "zoom_in|zoom_out"],
        [],
        ["b", "p.png", "a.wav"],
    ]
    text = end.join(delimiter.join(row) for row in rows)
    (here / "scenes.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    first, second = load_job("scenes.csv").scenes
    assert (first.name, second.name) == ("a", "b")
    assert first.options.effects == ("zoom_in", "zoom_out")
    assert second.options.effects == ()


def test_excel_may_be_told_the_delimiter_in_the_first_line(here: Path) -> None:
    (here / "scenes.csv").write_bytes(b"sep=;\r\nname;image;audio\r\na;p.png;a.wav\r\nb;;a.wav\r\n")
    assert problems("scenes.csv") == ["scenes.csv:4: scenes[1].image: missing; expected a value"]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PK\x03\x04" + bytes(60), "it is a ZIP archive; .* in Excel, save it as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0" + bytes(60), "it is an office document; .* in Excel, save it as CSV"),
        (b"\0\0\0\x18ftypisom" + bytes(60), "it is an MP4 file; expected a scenes.yaml, a table"),
        ("name".encode("utf-16"), "not UTF-8; save the file as UTF-8"),
    ],
)
def test_a_source_that_is_no_text_is_named(here: Path, data: bytes, what: str) -> None:
    for name in ("scenes.xlsx", "scenes.csv", "scenes.yaml"):
        (here / name).write_bytes(data)
        (problem,) = problems(name)
        assert re.match(f"{name}.*: {what}", problem)


def test_every_error_of_a_table_has_its_true_line(here: Path) -> None:
    (here / "scenes.csv").write_text(
        f"{HEADER},effects,background_box,font_size\n"
        "a,p.png,a.wav,s.srt,,,\n"
        "\n"
        ",,,,,,\n"
        '"b\nc",p.png,no.wav,,,,\n'
        "d,p.png,a.wav,,spin,yes,big\n"
        "A,p.png,,,,,\n"
        "e,p.png,a.wav,,,,,x\n"
    )
    assert problems("scenes.csv") == [
        "scenes.csv:6: scenes[1].audio: file not found: no.wav (paths are relative to scenes.csv)",
        (
            "scenes.csv:7: scenes[2].effects[0]: got 'spin'; expected one of: 'zoom_in', "
            "'zoom_out', 'pan_left', 'pan_right', 'random'"
        ),
        "scenes.csv:7: scenes[2].background_box: got 'yes'; expected true or false",
        "scenes.csv:7: scenes[2].font_size: got 'big'; expected a whole number",
        "scenes.csv:8: scenes[3].audio: missing; expected a value",
        (
            "scenes.csv:8: scenes[3].name: got 'A'; "
            "expected a unique name (ignoring case, line 2 has it too)"
        ),
        (
            "scenes.csv:9: scenes[4]: got 8 cells; expected 7, as in the header (a cell with the "
            "delimiter in it has to be quoted)"
        ),
    ]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("name,imgae,audio,image", [":1: imgae: unknown column; did you mean image?"]),
        ("name,image,audio,narration", [":1: narration: unknown column; did you mean audio?"]),
        ("name,image,audio,colour", [":1: colour: unknown column; expected one of: "]),
        ("name,image,audio,input_audio", [":1: input_audio: this column and audio are the same"]),
        ("name,image,audio,name", [":1: name: this column and name are the same"]),
        ("effects,name,image,audio,enable_zoom", [":1: enable_zoom: this column and effects"]),
        ("name,image,imge", [":1: imge: unknown", ":1: audio: missing column; expected name"]),
        ("a,p.png,a.wav", [":1: the first line names no known column; expected a header such as"]),
    ],
)
def test_a_header_that_is_wrong_is_all_that_is_reported(
    here: Path, header: str, words: list[str]
) -> None:
    (here / "s.csv").write_text(f"{header}\na,no.png,no.wav,x\n")
    found = problems("s.csv")
    assert len(found) == len(words), found
    assert all(said.startswith(f"s.csv{word}") for said, word in zip(found, words, strict=True)), (
        found
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty; expected a header"),
        (b"name,image,audio\n", ":1: scenes: got an empty list"),
        (b"name,image,audio\n\xff,p.png,a.wav\n", ":2: not UTF-8; save the file as UTF-8 (Excel"),
        ("name,image,audio\n".encode("utf-16"), ":1: not UTF-8"),
        (b'name,image,audio\na,p.png,a.wav\n"b,p.png\n', ":3: invalid CSV: unexpected end of data"),
        (b"name,image,audio\n" + b"x" * 140_000, ":2: invalid CSV: field larger than field limit"),
        (b"name,image,audio\n" + b",\n" * 200_001, ": more than 400000 cells"),
        (b"name,image,audio,\na,p.png,a.wav,x\n", ":2: scenes[0]: got 'x' in a column without a"),
        (b"name,image,audio\n" + b"\n" * MAX_BYTES, f"expected at most {MAX_BYTES}"),
    ],
)
def test_a_table_that_cannot_be_read(here: Path, content: bytes, words: str) -> None:
    (here / "s.csv").write_bytes(content)
    (found,) = problems("s.csv")
    assert words in found


def test_zoom_as_the_original_has_it(here: Path) -> None:
    (here / "s.csv").write_text(
        "name,image,audio,enable_zoom\na,p.png,a.wav,true\nb,p.png,a.wav,False\nc,p.png,a.wav,\n"
    )
    assert [scene.options.effects for scene in load_job("s.csv").scenes] == [
        ("zoom_in", "zoom_out"),
        (),
        (),
    ]
    (here / "s.csv").write_text("name,image,audio,enable_zoom\na,p.png,a.wav,often\n")
    assert problems("s.csv") == [
        "s.csv:2: scenes[0].enable_zoom: got 'often'; expected true or false"
    ]


# -- JSON Lines ---------------------------------------------------------------------------------


def test_lines_of_json_are_scenes(here: Path) -> None:
    lines = [
        {"name": "a\u2028".strip(), "image": "p.png", "audio": "a.wav", "effects": ["zoom_in"]},
        {"scene_name": "b", "input_image": "p.png", "input_audio": "a.wav", "subtitle": None},
    ]
    (here / "s.jsonl").write_text("\n\n".join(map(json.dumps, lines)) + "\r\n")
    first, second = load_job("s.jsonl").scenes
    assert (first.name, first.options.effects) == ("a", ("zoom_in",))
    assert (second.name, second.options.subtitle) == ("b", None)


def test_every_error_of_json_lines_has_its_line(here: Path) -> None:
    (here / "s.jsonl").write_text(
        '{"name": "a", "image": "p.png", "audio": "a.wav", "name": "b"}\n'
        "\n"
        '["a"]\n'
        '{"name": "c"\n'
        '{"name": "d", "image": "p.png", "audio": "no.wav", "efects": []}\n'
        '{"name": "e", "image": "p.png", "image_path": "p.png", "audio": "a.wav"}\n'
        '{"name": "f", "image": "p.png", "audio": "a.wav", "font_size": NaN}\n'
        '{"name": "\\ud800", "image": "p.png", "audio": "a.wav"}\n'
        f'{{"name": {"[" * 50_000}\n'
    )
    found = problems("s.jsonl")
    starts = [
        ":1: scenes[0].name: duplicate key; expected each key once",
        ":3: scenes[1]: got a list of 1; expected a scene a line",
        ":4: scenes[2]: invalid JSON: Expecting ',' delimiter at character 13",
        ":5: scenes[3].efects: unknown key; did you mean effects?",
        ":5: scenes[3].audio: file not found: no.wav (paths are relative to s.jsonl)",
        ":6: scenes[4].image_path: got both image and image_path; expected one of them",
        ":7: scenes[5]: invalid JSON: NaN is no number of JSON",
        ":8: scenes[6].name: got '\\ud800'; expected text in Unicode",
        ":9: scenes[7]: invalid JSON: ",
    ]
    assert len(found) == len(starts), found
    for said, start in zip(found, starts, strict=True):
        assert said.startswith(f"s.jsonl{start}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b" \n", 'the file is empty; expected a scene a line, such as {"name": "s1", "image": '),
        (b"{}\n\xff", ":2: not UTF-8; save the file as UTF-8"),
        (b"[" + b"1," * 400_000 + b"1]", ":1: more than 400000 values"),
    ],
)
def test_json_lines_that_cannot_be_read(here: Path, content: bytes, words: str) -> None:
    (here / "s.jsonl").write_bytes(content)
    (found,) = problems("s.jsonl")
    assert words in found


TABLES = st.lists(
    st.lists(
        st.sampled_from(
            ["name", "image", "audio", "effects", "", '"', "a;b", "\n", "\r", "\0", "1"]
        )
        | st.text(max_size=5),
        max_size=6,
    ).map(",".join),
    max_size=6,
).map("\n".join)
LINES = st.lists(
    st.sampled_from(['{"name": "a"}', "{}", "[]", "1", "", "{", '{"a": {"b": [1]}}', "NaN"])
    | st.text(max_size=9),
    max_size=6,
).map("\n".join)


@given(TABLES | LINES)
def test_whatever_the_text_its_lines_are_in_it(text: str) -> None:
    last = text.count("\n") + text.count("\r") + 1
    for parse in (csvfile.parse, jsonlines.parse):
        lines = [1]
        try:
            tree = parse(text)
        except SourceError as error:
            lines = [error.line or 1]
        else:
            lines = [*tree.lines.values(), *(fault.line for fault in tree.faults)]
            validate(tree.value)
        assert all(1 <= line <= last for line in lines)


def test_parsers_give_the_tree_that_yaml_gives() -> None:
    by_yaml = yamltree.parse("version: 1\nscenes:\n- {name: a, image: b, audio: c}\n").value
    assert csvfile.parse("name,image,audio\na,b,c\n").value == by_yaml
    assert jsonlines.parse('{"name": "a", "image": "b", "audio": "c"}').value == by_yaml


# -- values of a program ------------------------------------------------------------------------


def test_the_originals_scenes_are_a_job(here: Path) -> None:
    scenes: list[dict[str, Any]] = [
        {"scene_name": "a", "input_image": "p.png", "input_audio": here / "a.wav"},
        {
            "scene_name": "b",
            "image_path": str(here / "p.png"),
            "audio_path": "a.wav",
            "subtitle_path": "s.srt",
            "enable_zoom": True,
        },
        {"name": "c", "image": "p.png", "audio": "a.wav", "subtitle": None},
    ]
    job = load_job(scenes)
    assert [scene.name for scene in job.scenes] == ["a", "b", "c"]
    assert {scene.image for scene in job.scenes} == {here / "p.png"}
    assert job.scenes[1].options.effects == ("zoom_in", "zoom_out")
    assert job.scenes[1].options.subtitle == here / "s.srt"
    assert load_job(tuple(scenes)) == job
    assert scenes[1]["enable_zoom"] is True, "what was passed is not changed"


def test_the_document_of_a_job_of_values_means_the_same_anywhere(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = load_job(
        UserDict(
            name="mine",
            defaults={"language": "english", "watermark": "p.png", "effects": ("pan_left",)},
            scenes=({"name": "no", "image": "p.png", "audio": "a.wav", "subtitle": "s.srt"},),
            output={"directory": "out"},
            distribution={"scenes_per_batch": 3},
        )
    )
    assert job.document is not None
    assert (job.name, job.output) == ("mine", here / "out")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "copy.yaml").write_text(yamltree.dump(dict(job.document)))
    again = load_job(tmp_path / "copy.yaml")
    assert (again.name, again.scenes, again.output) == (job.name, job.scenes, job.output)
    assert (again.distribution, again.document) == (job.distribution, None)


class Text(str):
    """Text of a type of its own, as `StrEnum` has it."""

    __slots__ = ()


class Size(IntEnum):
    LARGE = 80


@pytest.mark.usefixtures("here")
def test_text_and_numbers_of_other_types_are_plain() -> None:
    scene = {
        "name": Text("a"),
        "image": "p.png",
        "audio": "a.wav",
        "font_size": Size.LARGE,
        "background_opacity": np.float64(0.5),
    }
    job = load_job([scene])
    assert job.document is not None
    text = yamltree.dump(dict(job.document))
    assert "name: a\n" in text
    assert "font_size: 80\n" in text
    assert "background_opacity: 0.5\n" in text


@pytest.mark.usefixtures("here")
def test_errors_of_values_name_the_scene() -> None:
    scenes = [
        {"scene_name": "a", "input_image": "no.png", "input_audio": b"a.wav"},
        {"scene_name": "a", "input_image": "p.png", "efects": object()},
        "p.png",
        {"scene_name": "\udcff", "image": "p.png", "input_image": "p.png", "audio": "a.wav"},
    ]
    expected = [
        (
            "scenes: scenes[0].image: file not found: no.png (paths are relative to the current "
            "folder)"
        ),
        (
            "scenes: scenes[0].audio: got a value of type bytes; expected text, a path, a "
            "number, a list or a dict"
        ),
        "scenes: scenes[1].audio: missing; expected a value",
        (
            "scenes: scenes[1].name: got 'a'; "
            "expected a unique name (ignoring case, scenes[0] has it too)"
        ),
        (
            "scenes: scenes[1].efects: got a value of type object; expected text, a path, a "
            "number, a list or a dict"
        ),
        "scenes: scenes[2]: got 'p.png'; expected a mapping (key: value)",
        "scenes: scenes[3].name: got '\\udcff'; expected text in Unicode",
        "scenes: scenes[3].input_image: got both image and input_image; expected one of them",
    ]
    assert problems(scenes) == expected


def test_values_are_bounded() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert "nested deeper than 20 levels" in problems(endless)[0]
    assert "more than 400000 values" in problems([{"effects": [1] * 400_000}])[0]
    assert problems([]) == ["scenes: scenes: got an empty list; expected at least 1"]


@pytest.mark.parametrize("source", [None, 7, b"scenes.yaml", object()])
def test_what_is_no_source_is_a_type_error(source: Any) -> None:
    with pytest.raises(TypeError, match="expected a path, a mapping or a sequence"):
        load_job(source)


def test_yaml_keeps_its_strict_keys(here: Path) -> None:
    (here / "s.yaml").write_text(
        "version: 1\nscenes:\n  - {scene_name: a, image_path: p.png, audio: a.wav}\n"
    )
    found = problems("s.yaml")
    assert "s.yaml:3: scenes[0].image_path: unknown key; did you mean image?" in found
    assert "s.yaml:3: scenes[0].scene_name: unknown key; did you mean name?" in found
