"""Equal fingerprints, equal videos wanted: what counts, and what does not."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudburst.job.fingerprint import file_digest, fingerprint
from cloudburst.models import Scene, VideoOptions

FILES = ("image", "audio", "subtitle", "watermark")


def make(folder: Path) -> Scene:
    """Give a scene with a file of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / name for name in FILES}
    for name, path in paths.items():
        path.write_bytes(f"the {name}".encode())
    options = VideoOptions(watermark=paths["watermark"], subtitle=paths["subtitle"])
    return Scene("s", paths["image"], paths["audio"], 1.0, options)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return make(tmp_path / "job")


def test_a_fingerprint_is_one_line(scene: Scene) -> None:
    mark = fingerprint(scene, "a renderer")
    assert len(mark) == 64
    assert set(mark) <= set("0123456789abcdef")
    assert mark == fingerprint(scene, "a renderer")


def test_names_and_places_do_not_matter(scene: Scene, tmp_path: Path) -> None:
    moved = replace(make(tmp_path / "elsewhere"), name="another name")
    renamed = tmp_path / "elsewhere" / "renamed.png"
    shutil.move(moved.image, renamed)
    assert fingerprint(replace(moved, image=renamed), "r") == fingerprint(scene, "r")


@pytest.mark.parametrize("name", FILES)
def test_every_byte_of_every_file_matters(scene: Scene, name: str) -> None:
    before = fingerprint(scene, "r")
    path = scene.image.with_name(name)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert fingerprint(scene, "r") != before


def test_who_renders_matters(scene: Scene) -> None:
    assert fingerprint(scene, "me/mine:1") != fingerprint(scene, "me/mine:2")


CHANGES: dict[str, Any] = {
    "language": "english",
    "effects": ("zoom_in",),
    "background_box": False,
    "background_opacity": 0.25,
    "font_size": 40,
    "outline_color": "&H00FFFFFF",
    "is_portrait": False,
    "watermark": None,
    "subtitle": None,
    "background_color": "white",
    "quality": "small",
    "subtitle_encoding": "big5",
    "font": "Noto Serif",
}


def test_options_that_came_later_change_no_earlier_fingerprint(scene: Scene) -> None:
    """Runs of earlier versions can be resumed: this is how they were hashed."""
    options = {
        "language": scene.options.language,
        "effects": scene.options.effects,
        "background_box": scene.options.background_box,
        "background_opacity": scene.options.background_opacity,
        "font_size": scene.options.font_size,
        "outline_color": scene.options.outline_color,
        "is_portrait": scene.options.is_portrait,
    }
    files = {"image": scene.image, "audio": scene.audio}
    files |= {
        name: path
        for name in ("subtitle", "watermark")
        if (path := getattr(scene.options, name)) is not None
    }
    digests = {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in files.items()}
    made_from = {"renderer": "r", "options": options, "files": digests}
    text = json.dumps(made_from, sort_keys=True)
    assert fingerprint(scene, "r") == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("option", [field.name for field in fields(VideoOptions)])
def test_every_option_matters(scene: Scene, option: str) -> None:
    changed = replace(scene, options=replace(scene.options, **{option: CHANGES[option]}))
    assert fingerprint(changed, "r") != fingerprint(scene, "r")


def test_an_option_that_came_later_counts_once_it_is_set(scene: Scene) -> None:
    # Runs from before it are resumed: calculated without quality, by the version before.
    scene.image.write_bytes(b"i")
    scene.audio.write_bytes(b"a")
    plain = Scene("s", scene.image, scene.audio, 1.0)
    before = "af9bbb715f2172c2a27ce366496c77285080dc5093a57d51196bfa37de8a9d52"
    assert fingerprint(plain, "r") == before


def test_a_file_counts_for_what_it_is_used_as(scene: Scene) -> None:
    marks = {
        fingerprint(replace(scene, image=scene.audio, audio=scene.image), "r"),
        fingerprint(replace(scene, options=VideoOptions(watermark=scene.image)), "r"),
        fingerprint(replace(scene, options=VideoOptions(subtitle=scene.image)), "r"),
        fingerprint(replace(scene, options=VideoOptions()), "r"),
        fingerprint(scene, "r"),
    }
    assert len(marks) == 5


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_there_is_told(scene: Scene, name: str) -> None:
    path = scene.image.with_name(name)
    path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        fingerprint(scene, "r")
    assert caught.value.filename == str(path)


contents = st.fixed_dictionaries({name: st.binary(max_size=8) for name in FILES})
options = st.builds(
    VideoOptions,
    language=st.sampled_from(["chinese", "english"]),
    effects=st.lists(st.sampled_from(["zoom_in", "pan_left", "random"]), max_size=3).map(tuple),
    background_box=st.booleans(),
    background_opacity=st.sampled_from([0.0, 0.2, 0.25, 1.0]),
    font_size=st.none() | st.integers(8, 12),
    outline_color=st.sampled_from(["&H00000000", "&H00FFFFFF"]),
    is_portrait=st.none() | st.booleans(),
)
wanted = st.tuples(contents, options, st.booleans(), st.booleans(), st.sampled_from(["", "r"]))


@settings(max_examples=40)
@given(one=wanted, other=wanted)
def test_fingerprints_are_equal_exactly_when_what_is_wanted_is(one: Any, other: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        marks = [
            fingerprint(_scene(each, Path(name) / place), each[4])
            for place, each in (("one", one), ("other", other), ("one again", one))
        ]
    assert marks[0] == marks[2]
    assert (marks[0] == marks[1]) == (_used(one) == _used(other))


def _scene(drawn: Any, folder: Path) -> Scene:
    files, chosen, marked, told, _ = drawn
    made = make(folder)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    watermark = made.options.watermark if marked else None
    subtitle = made.options.subtitle if told else None
    return replace(made, options=replace(chosen, watermark=watermark, subtitle=subtitle))


def _used(drawn: Any) -> Any:
    """Leave out what a video is not made from."""
    files, chosen, marked, told, renderer = drawn
    used = {"image", "audio", *(["watermark"] * marked), *(["subtitle"] * told)}
    return {name: data for name, data in files.items() if name in used}, chosen, renderer


def test_a_digest_is_of_all_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    (tmp_path / "file").write_bytes(data)
    assert file_digest(tmp_path / "file") == hashlib.sha256(data).hexdigest()
    (tmp_path / "file").write_bytes(b"")
    assert file_digest(tmp_path / "file") == hashlib.sha256().hexdigest()
