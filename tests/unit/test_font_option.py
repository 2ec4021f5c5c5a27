"""`font` of scenes.yaml: checked before anything starts, sent to the worker, part of the scene."""

from __future__ import annotations

import base64
import json
import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.errors import BadInput
from cloudburst.job import yamltree
from cloudburst.job.fingerprint import fingerprint
from cloudburst.job.loader import load_job
from cloudburst.models import Scene, VideoOptions
from cloudburst.videoapi import protocol
from cloudburst.videoapi.typefaces import fonts
from cloudburst.workers import messages
from tests.support.inputs import write_picture, write_sound
from tests.support.letters import CJK, HEBREW, ITALIC, LATIN

if TYPE_CHECKING:
    from pathlib import Path

SRT = "1\n00:00:00,100 --> 00:00:02,000\n{}\n"
FILES = "image: p.png, audio: a.wav, subtitle: s.srt"


pytestmark = pytest.mark.usefixtures("packages_only")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    (folder / "fonts").mkdir(parents=True)
    write_picture(folder / "p.png", (64, 48))
    write_sound(folder / "a.wav", 3.0, rate=8000)
    (folder / "s.srt").write_text(SRT.format("Hello"), encoding="utf-8")
    shutil.copy(ITALIC, folder / "fonts" / "Mine.ttf")
    monkeypatch.chdir(folder)
    return folder


def written(here: Path, font: str, more: str = "") -> Path:
    """Write a job of two scenes, the second with a font."""
    path = here / "scenes.yaml"
    path.write_text(
        f"version: 1\n{more}scenes:\n  - {{name: a, {FILES}}}\n"
        f"  - {{name: b, {FILES}, font: {font}}}\n"
    )
    return path


def test_a_path_is_a_file_and_anything_else_a_family(here: Path) -> None:
    for text in ("fonts/Mine.ttf", "./fonts/Mine.ttf", str(here / "fonts" / "Mine.ttf")):
        job = load_job(written(here, text))
        assert [scene.options.font for scene in job.scenes] == [None, here / "fonts" / "Mine.ttf"]
        assert job.warnings == ()
    shutil.copy(LATIN, here / "Beside.TTF")
    assert load_job(written(here, "Beside.TTF")).scenes[1].options.font == here / "Beside.TTF"
    assert load_job(written(here, "Noto Sans")).scenes[1].options.font == "Noto Sans"


def test_a_scene_overrides_the_defaults_even_with_null(here: Path) -> None:
    job = load_job(written(here, "null", "defaults: {font: fonts/Mine.ttf}\n"))
    assert [scene.options.font for scene in job.scenes] == [here / "fonts" / "Mine.ttf", None]


def bad(here: Path, font: str, more: str = "") -> str:
    with pytest.raises(BadInput) as caught:
        load_job(written(here, font, more))
    (problem,) = caught.value.problems
    return str(problem)


def test_a_file_that_is_not_there_is_named_with_the_one_that_was_meant(here: Path) -> None:
    place = "scenes.yaml:4: scenes[1].font: file not found: "
    assert bad(here, "fonts/mine.ttf").endswith(
        f"{place}fonts/mine.ttf (paths are relative to scenes.yaml); "
        "did you mean fonts/Mine.ttf? Upper and lower case differ"
    )
    assert "did you mean fonts/Mine.ttf?" in bad(here, "Mine.ttf")
    assert "did you mean fonts/Mine.ttf?" in bad(here, "fonts/Mine.otf")
    assert "write / instead of \\" in bad(here, "'fonts\\Mine.ttf'").lower()
    assert "did you mean fonts/Mine.ttf?" in bad(here, "fonts/Mine.tff")
    assert "p.png: not a font (it is a PNG file" in bad(here, "p.png")
    assert "a URL; download the file first" in bad(here, "'https://example.com/a.ttf'")
    assert "scenes.yaml:2: defaults.font: file not found: x.ttf" in bad(
        here, "null", "defaults: {font: x.ttf}\n"
    )


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("bad.ttf", b"words and words", r"bad.ttf: not a font \(it is text.*expected a font \(TTF"),
        ("web.woff2", b"wOF2" + bytes(99), "web.woff2: WOFF2 is a font compressed for web pages"),
        ("large.otf", bytes(21 * 1024**2), "large.otf: 21 MiB; the limit is 20 MiB"),
        ("empty.ttf", b"", "empty.ttf: the file is empty"),
        ("cut.ttf", LATIN.read_bytes()[:90_000], "cut.ttf: the font is truncated"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(
    here: Path, name: str, data: bytes, words: str
) -> None:
    (here / name).write_bytes(data)
    message = bad(here, name)
    assert "scenes.yaml:4: scenes[1].font: " in message
    assert re.search(words, message), message


def test_a_family_that_is_not_there_is_a_warning_that_names_another(here: Path) -> None:
    (here / "s.srt").write_text(SRT.format("字幕"), encoding="utf-8")
    job = load_job(written(here, "Noto Sanz"))
    (warning,) = job.warnings
    message = "no font on this machine is called Noto Sanz; Noto Sans CJK SC is used instead"
    assert warning.endswith(f"scenes.yaml:4: scenes[1].font: {message}; did you mean Noto Sans?")
    assert [scene.font_missing for scene in job.scenes] == [False, True]
    assert job.scenes[0].warnings == ()
    assert job.scenes[1].warnings[0].startswith(message)
    (warning,) = load_job(written(here, "Zapfino", "defaults: {font: Zapfino}\n")).warnings
    assert "scenes.yaml:2: defaults.font: no font on this machine is called Zapfino" in warning
    assert "did you mean" not in warning


def test_a_character_that_the_font_of_a_scene_has_is_not_missing(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "s.srt").write_text(SRT.format("שלום"), encoding="utf-8")
    shutil.copy(HEBREW, here / "he.ttf")
    monkeypatch.setattr(fonts, "_packaged", tuple)
    fonts._search.cache_clear()
    job = load_job(written(here, "he.ttf"))
    assert [scene.missing for scene in job.scenes] == ["".join(sorted("שלום")), ""]
    fonts._search.cache_clear()


def test_every_source_takes_a_font(here: Path) -> None:
    expected = [here / "fonts" / "Mine.ttf", "Noto Serif Tibetan"]
    (here / "scenes.csv").write_text(
        "name,image,audio,subtitle,font\n"
        "a,p.png,a.wav,s.srt,fonts/Mine.ttf\nb,p.png,a.wav,s.srt,Noto Serif Tibetan\n"
    )
    rows: list[dict[str, Any]] = [
        {"name": "a", "image": "p.png", "audio": "a.wav", "font": "fonts/Mine.ttf"},
        {"name": "b", "image": "p.png", "audio": "a.wav", "font": "Noto Serif Tibetan"},
    ]
    (here / "scenes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for source in ("scenes.csv", "scenes.jsonl", rows):
        assert [scene.options.font for scene in load_job(source).scenes] == expected
    job = load_job([{**rows[0], "font": here / "fonts" / "Mine.ttf"}, rows[1]])
    assert [scene.options.font for scene in job.scenes] == expected


def test_the_document_of_a_job_of_values_keeps_its_font(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"name": "a", "image": "p.png", "audio": "a.wav"}
    job = load_job([{**row, "font": "fonts/Mine.ttf"}, {**row, "name": "b", "font": "Noto Sans"}])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "copy.yaml").write_text(yamltree.dump(dict(job.document or {})))
    fonts_again = [scene.options.font for scene in load_job("copy.yaml").scenes]
    assert fonts_again == [here / "fonts" / "Mine.ttf", "Noto Sans"]


@pytest.mark.parametrize("key", ["font_family", "font_name", "fontname", "fonts"])
def test_other_names_of_the_key_are_unknown_and_it_is_suggested(here: Path, key: str) -> None:
    path = written(here, "x")
    path.write_text(path.read_text().replace("font: x", f"{key}: Noto Sans"))
    with pytest.raises(BadInput) as caught:
        load_job(path)
    assert f"{key}: unknown key; did you mean font?" in str(caught.value.problems[0])


# -- the scene and its request ------------------------------------------------------------------


def scene_with(here: Path, font: Path | str | None, **more: Any) -> Scene:
    options = VideoOptions(subtitle=here / "s.srt", font=font)
    return Scene("s", here / "p.png", here / "a.wav", 3.0, options, **more)


def test_a_font_counts_by_its_bytes_and_only_when_it_is_set(here: Path) -> None:
    file = here / "fonts" / "Mine.ttf"
    plain, filed = (
        fingerprint(scene_with(here, None), "r"),
        fingerprint(scene_with(here, file), "r"),
    )
    named = [fingerprint(scene_with(here, name), "r") for name in ("Noto Sans", "Noto Serif")]
    assert len({plain, filed, *named}) == 4
    moved = here / "moved.ttf"
    shutil.copy(file, moved)
    assert fingerprint(scene_with(here, moved), "r") == filed
    moved.write_bytes(LATIN.read_bytes())
    assert fingerprint(scene_with(here, moved), "r") != filed


def test_the_request_has_the_file_or_the_family(here: Path) -> None:
    file = here / "fonts" / "Mine.ttf"
    sent = messages.body(scene_with(here, file), "low")
    assert sent["font"] == base64.b64encode(file.read_bytes()).decode()
    assert not {"font_family", "font_missing"} & set(sent)
    assert protocol.parse(sent)[0].font == file.read_bytes()
    sent = messages.body(scene_with(here, "Noto Sans", font_missing=True), "low")
    assert (sent["font_family"], sent["font_missing"]) == ("Noto Sans", True)
    request, _ = protocol.parse(sent)
    assert (request.font, request.font_missing) == ("Noto Sans", True)
    for scene in (scene_with(here, None), scene_with(here, "Noto Sans")):
        bare = replace(scene, options=replace(scene.options, subtitle=None))
        assert not {"font", "font_family", "font_missing"} & set(messages.body(bare, "low"))
    assert "font_missing" not in messages.body(scene_with(here, "Noto Sans"), "low")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"font": "/etc/passwd"}, "font: not base64"),
        ({"font": 3}, "font: expected str, got int"),
        ({"font": base64.b64encode(b"text").decode()}, "font: not a font"),
        ({"font": base64.b64encode(b"wOF2" + bytes(99)).decode()}, "font: WOFF2"),
        ({"font": base64.b64encode(bytes(21 * 1024**2)).decode()}, "font: 21 MiB; the limit is 20"),
        ({"font": base64.b64encode(HEBREW.read_bytes()[:9000]).decode()}, "font: the font is trun"),
        ({"font_family": ["a"]}, "font_family: expected str, got list"),
        ({"font_family": "x" * 201}, "font_family: expected the name of a font"),
        ({"font_family": "a\n{\\b1}"}, "font_family: expected the name of a font"),
        ({"font_missing": "yes"}, "font_missing: expected bool"),
    ],
)
def test_the_worker_refuses_what_is_no_font_and_names_the_field(
    change: dict[str, Any], words: str
) -> None:
    good = {"input_image": "aW1hZ2U=", "input_audio": "YXVkaW8="}
    with pytest.raises(protocol.FieldError) as caught:
        protocol.parse(good | change)
    assert str(caught.value).startswith(words)


def test_a_collection_is_a_font(here: Path) -> None:
    shutil.copy(CJK, here / "all.ttc")
    job = load_job(written(here, "all.ttc"))
    assert job.scenes[1].options.font == here / "all.ttc"
