"""Folders become scenes: the original's conventions, the general one, and what does not pair."""

from __future__ import annotations

import os
import time
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudburst.errors import BadInput
from cloudburst.job import yamltree
from cloudburst.job.folder import scan as folders
from cloudburst.job.folder.pairing import media_file, pair
from cloudburst.job.folder.scan import Scan, scan
from cloudburst.job.folder.suffixes import KINDS, SUFFIXES, UNSUPPORTED
from cloudburst.job.loader import load_job
from tests.support.inputs import SRT, write_picture, write_sound


def touch(folder: Path, *paths: str) -> Path:
    for path in paths:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


def rows(scanned: Scan) -> list[tuple[str, str, str, str | None, str | None]]:
    return [(one.name, one.image, one.audio, one.subtitle, one.language) for one in scanned.scenes]


def reasons(scanned: Scan) -> dict[str, str]:
    return {one.path: one.reason for one in scanned.skipped}


# -- conventions --------------------------------------------------------------------------------


def test_the_convention_of_the_originals_readme(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"images/scene_00{number}_chinese.png" for number in (1, 2)),
        *(f"audio/scene_00{number}_chinese.mp3" for number in (1, 2)),
        "audio/scene_001_chinese.srt",
        "images/scene_003_english.jpg",
        "audio/scene_003_english.wav",
        "subtitle/scene_003_english.srt",
    )
    scanned = scan(tmp_path)
    assert rows(scanned) == [
        (
            f"scene_00{number}_{language}",
            f"images/scene_00{number}_{language}.{picture}",
            f"audio/scene_00{number}_{language}.{sound}",
            subtitle,
            language,
        )
        for number, language, picture, sound, subtitle in (
            (1, "chinese", "png", "mp3", "audio/scene_001_chinese.srt"),
            (2, "chinese", "png", "mp3", None),
            (3, "english", "jpg", "wav", "subtitle/scene_003_english.srt"),
        )
    ]
    assert scanned.skipped == ()


def test_the_convention_of_the_originals_code(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"images/scene_{number}.png" for number in (1, 2, 10)),
        *(f"audio/scene_{number}.mp3" for number in (1, 2, 10)),
        "audio/scene_10.srt",
    )
    assert rows(scan(tmp_path)) == [
        ("scene_1", "images/scene_1.png", "audio/scene_1.mp3", None, None),
        ("scene_2", "images/scene_2.png", "audio/scene_2.mp3", None, None),
        ("scene_10", "images/scene_10.png", "audio/scene_10.mp3", "audio/scene_10.srt", None),
    ]


def test_files_side_by_side_pair_whatever_their_case_and_unicode_form(tmp_path: Path) -> None:
    touch(tmp_path, "Cafe\u0301.JPG", "café.MP3", "CAFÉ.srt", "场景一.webp", "场景一.m4a")
    assert rows(scan(tmp_path)) == [
        ("café", "Cafe\u0301.JPG", "café.MP3", "CAFÉ.srt", None),
        ("场景一", "场景一.webp", "场景一.m4a", None, None),
    ]


def test_the_nearest_of_several_folders_pair_and_give_the_scenes_their_names(
    tmp_path: Path,
) -> None:
    touch(
        tmp_path,
        *(f"chapter{chapter}/images/001.png" for chapter in (1, 2, 10)),
        *(f"chapter{chapter}/audio/001.mp3" for chapter in (1, 2, 10)),
        "chapter2/audio/001.srt",
    )
    assert rows(scan(tmp_path)) == [
        ("chapter1_001", "chapter1/images/001.png", "chapter1/audio/001.mp3", None, None),
        (
            "chapter2_001",
            "chapter2/images/001.png",
            "chapter2/audio/001.mp3",
            "chapter2/audio/001.srt",
            None,
        ),
        ("chapter10_001", "chapter10/images/001.png", "chapter10/audio/001.mp3", None, None),
    ]


def test_chapters_below_the_kinds_pair_too(tmp_path: Path) -> None:
    touch(tmp_path, "pics/c1/001.png", "pics/c2/001.png", "voice/c1/001.mp3", "voice/c2/001.mp3")
    assert [(one.name, one.image) for one in scan(tmp_path).scenes] == [
        ("c1_001", "pics/c1/001.png"),
        ("c2_001", "pics/c2/001.png"),
    ]


def test_a_chapter_does_not_take_the_picture_or_subtitle_of_another(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "chapter1/images/001.png",
        "chapter1/audio/001.mp3",
        "chapter2/audio/001.mp3",
        "chapter2/audio/001.srt",
        "chapter2/images/002.png",
        "chapter2/audio/002.mp3",
        "chapter3/images/001.png",
    )
    scanned = scan(tmp_path)
    assert [one.audio for one in scanned.scenes] == [
        "chapter1/audio/001.mp3",
        "chapter2/audio/002.mp3",
    ]
    assert reasons(scanned) == {
        "chapter2/audio/001.mp3": "sound without a picture; chapter1/images/001.png is of another "
        "folder; expected 001.png, .jpg …",
        "chapter2/audio/001.srt": "subtitle without a scene; chapter1/audio/001.mp3 is of another "
        "folder; expected a picture and a sound of its name",
        "chapter3/images/001.png": "picture without a sound of its own; its name is also that of "
        "chapter1/audio/001.mp3",
    }


def test_chapters_without_folders_for_kinds_are_kept_apart_too(tmp_path: Path) -> None:
    touch(tmp_path, "c1/1.png", "c1/1.mp3", "c1/2.png", "c2/2.mp3", "c2/3.png", "c2/3.mp3")
    scanned = scan(tmp_path)
    assert [one.image for one in scanned.scenes] == ["c1/1.png", "c2/3.png"]
    assert "c1/2.png is of another folder" in reasons(scanned)["c2/2.mp3"]


def test_a_farther_narration_does_not_share_the_picture(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "1.mp3", "old/1.mp3")
    assert reasons(scan(tmp_path)) == {
        "old/1.mp3": "sound without a picture of its own: 1.png goes with 1.mp3"
    }


def test_many_chapters_take_no_longer_than_many_files() -> None:
    files = [
        media_file(f"{folder}/{scene}{suffix}", kind)
        for chapter in range(500)
        for folder, suffix, kind in (
            (f"c{chapter}/images", ".png", "picture"),
            (f"c{chapter}/audio", ".mp3", "sound"),
            (f"c{chapter}/audio", ".srt", "subtitle"),
        )
        for scene in ("1", "2", "3", "4")
    ]
    began = time.process_time()
    scenes, skipped = pair(files)
    assert time.process_time() - began < 10, "each file with each takes minutes"
    assert len(scenes) == 2000
    assert all(scene.audio.split("/")[0] == scene.image.split("/")[0] for scene in scenes)
    assert all(scene.subtitle for scene in scenes)
    assert skipped == []


# -- languages ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "language"),
    [
        ("_chinese", "chinese"),
        ("_english", "english"),
        (".zh", "chinese"),
        ("-en", "english"),
        ("_zh-CN", "chinese"),
        ("_ZH_Hant", "chinese"),
        (" en-US", "english"),
        ("_中文", "chinese"),
        ("_french", None),
        ("garden", None),
    ],
)
def test_a_language_from_a_suffix(tmp_path: Path, suffix: str, language: str | None) -> None:
    touch(tmp_path, f"s{suffix}.png", f"s{suffix}.mp3")
    (scene,) = scan(tmp_path).scenes
    assert scene.language == language


def test_a_picture_without_a_language_serves_every_narration(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "scene_001.png",
        "scene_001_chinese.mp3",
        "scene_001_english.mp3",
        "scene_001_english.srt",
        "scene_001.srt",
    )
    scanned = scan(tmp_path)
    assert rows(scanned) == [
        ("scene_001_chinese", "scene_001.png", "scene_001_chinese.mp3", None, "chinese"),
        (
            "scene_001_english",
            "scene_001.png",
            "scene_001_english.mp3",
            "scene_001_english.srt",
            "english",
        ),
    ]
    assert "ambiguous" in reasons(scanned)["scene_001.srt"]


def test_a_picture_in_the_language_wins_and_one_in_another_is_not_taken(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a_en.png", "a_en.mp3", "b_zh.png", "b_en.mp3")
    scanned = scan(tmp_path)
    assert [(one.name, one.image) for one in scanned.scenes] == [("a_en", "a_en.png")]
    assert list(reasons(scanned)) == ["a.png", "b_en.mp3", "b_zh.png"]
    assert "b_zh.png is for another language" in reasons(scanned)["b_en.mp3"]
    assert "in its language" in reasons(scanned)["b_zh.png"]


def test_a_language_from_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.png", "audio/zh/1.mp3", "audio/en/1.mp3", "subtitles/en/1.srt")
    assert rows(scan(tmp_path)) == [
        ("en_1", "images/1.png", "audio/en/1.mp3", "subtitles/en/1.srt", "english"),
        ("zh_1", "images/1.png", "audio/zh/1.mp3", None, "chinese"),
    ]


def test_a_subtitle_says_the_language_and_two_are_not_chosen_from(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a.mp3", "a.zh.srt", "b.png", "b.mp3", "b.zh.srt", "b.en.srt")
    scanned = scan(tmp_path)
    assert [(one.subtitle, one.language) for one in scanned.scenes] == [
        ("a.zh.srt", "chinese"),
        (None, None),
    ]
    assert all("ambiguous" in reasons(scanned)[name] for name in ("b.zh.srt", "b.en.srt"))


# -- what does not pair -------------------------------------------------------------------------


def test_everything_unused_is_listed_with_its_reason(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "ok.png",
        "ok.mp3",
        "ok.wav",
        "ok.jpg",
        "ok.ttml",
        "ok.mp4",
        "ok.pcm",
        "ok.svg",
        "picture.png",
        "sound.mp3",
        "subtitle.srt",
        "a/tie.png",
        "b/tie.png",
        "tie.mp3",
        "notes.txt",
    )
    found = reasons(scan(tmp_path))
    words = {
        "ok.wav": "second narration of its name; ok.mp3 is used",
        "ok.jpg": "second picture of its name; ok.png is used",
        "ok.ttml": "expected SRT",
        "ok.mp4": "videos are not paired",
        "ok.pcm": "expected MP3",
        "ok.svg": "expected PNG",
        "picture.png": "picture without a sound; expected picture.mp3, .wav",
        "sound.mp3": "sound without a picture; expected sound.png, .jpg",
        "subtitle.srt": "subtitle without a scene",
        "tie.mp3": "ambiguous: its picture may be a/tie.png or b/tie.png",
        "a/tie.png": "without a sound of its own",
        "b/tie.png": "without a sound of its own",
    }
    assert sorted(found) == sorted(words)
    assert {path: words[path] for path in words if words[path] not in found[path]} == {}


@pytest.mark.parametrize("suffix", SUFFIXES["sound"])
def test_a_scan_pairs_every_kind_of_sound_that_a_scene_may_have(
    tmp_path: Path, suffix: str
) -> None:
    write_picture(tmp_path / "1.png")
    write_sound(tmp_path / "1.wav").rename(tmp_path / f"1{suffix.upper()}")
    (scene,) = load_job(tmp_path).scenes
    assert scene.audio.name == f"1{suffix.upper()}"


@pytest.mark.parametrize(
    "suffix",
    [".mp3", ".aiff", ".oga", ".m4b", ".caf", ".amr", ".weba", ".mka", ".ac3", ".spx", ".wv"],
)
def test_a_scan_passes_over_no_sound_that_is_common(suffix: str) -> None:
    assert KINDS[suffix] == "sound"


@pytest.mark.parametrize("suffix", SUFFIXES["subtitle"])
def test_a_scan_pairs_every_kind_of_subtitles(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, "1.png", "1.mp3", f"1{suffix}")
    (scene,) = scan(tmp_path).scenes
    assert scene.subtitle == f"1{suffix}"


def test_every_sound_that_a_scan_pairs_can_be_decoded() -> None:
    decoders = "mp3 pcm_s16le aac flac vorbis opus wmav2 amrnb amrwb speex mp2 ac3 eac3 dca "
    decoders += "wavpack tta ape gsm alac pcm_u8 adpcm_ima_wav"
    assert [name for name in decoders.split() if name not in av.codecs_available] == []
    assert not set(UNSUPPORTED) & set(KINDS)


def test_hidden_files_and_results_of_runs_are_passed_over(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "1.png",
        "1.mp3",
        ".2.png",
        ".cache/3.png",
        "__MACOSX/._1.png",
        "Thumbs.db",
        "cloudburst_results/batch_1/journal.db",
        "cloudburst_results/batch_1/1.mp4",
        "cloudburst_results/batch_1/1.png",
    )
    scanned = scan(tmp_path)
    assert len(scanned.scenes) == 1
    assert scanned.skipped == ()


def test_links_that_lead_round_and_deep_folders_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "in/1.png", "in/1.mp3", f"{'d/' * 20}2.png")
    (tmp_path / "in" / "up").symlink_to(tmp_path)
    (tmp_path / "in" / "self").symlink_to("self")
    (tmp_path / "again").symlink_to(tmp_path / "in")
    scanned = scan(tmp_path)
    assert [one.image for one in scanned.scenes] == ["in/1.png"]
    assert "deeper than 16 folders" in reasons(scanned)["d/" * 16 + "d"]
    monkeypatch.setattr(folders, "MAX_FILES", 5)
    with pytest.raises(BadInput, match="more than 5 files"):
        scan(tmp_path)


def test_a_linked_folder_outside_is_scanned(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.mp3", "job/1.png")
    (tmp_path / "job" / "audio").symlink_to(tmp_path / "elsewhere")
    assert [one.audio for one in scan(tmp_path / "job").scenes] == ["audio/1.mp3"]


def test_names_that_cannot_be_written_are_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "1.mp3", "a\tb.png")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))).touch()
    scanned = scan(tmp_path)
    assert len(scanned.scenes) == 1
    assert all("expected another name" in reason for reason in reasons(scanned).values())
    assert len(scanned.skipped) == 2
    assert "a\\tb.png" in scanned.to_yaml(scanned.document())


def test_nothing_paired_says_what_was_seen_and_what_is_expected(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.png", "3.mp3", "notes.txt")
    with pytest.raises(BadInput) as caught:
        scan(tmp_path)
    first, *others = caught.value.problems
    assert "got 2 pictures, 1 sound, 1 other file; expected" in first.message
    assert "images/scene_001_chinese.png" in first.message
    assert [problem.message.split(":")[0] for problem in others] == ["1.png", "2.png", "3.mp3"]


@pytest.mark.parametrize(("name", "words"), [("no", "not found"), ("file", "is a file")])
def test_what_is_no_folder_is_refused(tmp_path: Path, name: str, words: str) -> None:
    touch(tmp_path, "file")
    with pytest.raises(BadInput, match=words):
        scan(tmp_path / name)


# -- names --------------------------------------------------------------------------------------


def test_names_are_made_safe_and_stay_different(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"{stem}{suffix}" for stem in ("a:b", "a*b", "-x") for suffix in (".png", ".mp3")),
    )
    assert sorted(one.name for one in scan(tmp_path).scenes) == ["-x", "a_b", "a_b-2"]


STEMS = st.text(
    st.sampled_from("aA12十中 _-.:'\"#é") | st.characters(codec="utf-8", exclude_characters="/\\"),
    min_size=1,
    max_size=8,
).filter(lambda stem: not stem.startswith("."))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(["", "a/", "b/c/"]), STEMS), min_size=1, max_size=8))
def test_every_file_is_in_a_scene_or_listed(files: list[tuple[str, str]]) -> None:
    pictures = {f"{folder}{stem}.png" for folder, stem in files}
    sounds = {f"{folder}{stem}.mp3" for folder, stem in files}
    scenes, skipped = pair(
        [
            *(media_file(path, "picture") for path in sorted(pictures)),
            *(media_file(path, "sound") for path in sorted(sounds)),
        ]
    )
    assert scenes
    accounted = [one.audio for one in scenes] + [one.path for one in skipped]
    assert sounds <= set(accounted)
    assert len(accounted) == len(set(accounted))
    assert pictures <= {one.image for one in scenes} | {one.path for one in skipped}
    assert len({one.name.casefold() for one in scenes}) == len(scenes)


# -- as a job -----------------------------------------------------------------------------------

ODD = ["no", "-1", "1e3", "0o17", "a: b", "it's", 'q"q', "# x", "~", "画 面", "&a", "true", "2"]


def odd_folder(folder: Path) -> Path:
    for stem in ODD:
        write_picture(folder / "in: 'x'" / f"{stem}.png", (16, 16))
        write_sound(folder / "in: 'x'" / f"{stem}.wav", 0.2, 8000)
    (folder / "lost.srt").write_text(SRT)
    return folder


def test_what_is_written_is_read_back_as_it_is(tmp_path: Path) -> None:
    scanned = scan(odd_folder(tmp_path / "odd"))
    document = scanned.document(language="english", effects=("zoom_in", "pan_left"), target="local")
    text = scanned.to_yaml(document)
    assert yamltree.parse(text).value == document
    assert "effects: [zoom_in, pan_left]" in text
    assert "#   lost.srt: subtitle without a scene" in text
    path = tmp_path / "odd" / "scenes.yaml"
    by_folder = load_job(tmp_path / "odd")
    path.write_text(scanned.to_yaml(scanned.document()))
    by_file = load_job(path)
    assert by_file.scenes == by_folder.scenes
    assert len(by_file.scenes) == len(ODD)
    assert by_folder.source == tmp_path / "odd"
    assert by_folder.name == by_file.name == "odd"
    assert [line.split(":")[0] for line in by_folder.warnings] == ["lost.srt"]
    assert by_folder.document is None
    # Now that there is a scenes.yaml, it is what the folder means.
    assert load_job(tmp_path / "odd").source == path


@pytest.mark.parametrize(
    ("base", "image"),
    [(None, "1.png"), ("in", "1.png"), (".", "in/1.png"), ("other", "{}/in/1.png")],
)
def test_paths_of_a_document_start_where_it_will_be(
    tmp_path: Path, base: str | None, image: str
) -> None:
    scanned = scan(touch(tmp_path, "in/1.png", "in/1.mp3") / "in")
    document = scanned.document(base=tmp_path / base if base else None)
    assert document["scenes"][0]["image"] == image.format(tmp_path)


def test_a_broken_file_of_a_folder_is_an_error_of_its_scene(tmp_path: Path) -> None:
    touch(tmp_path, "1.png")
    write_sound(tmp_path / "1.wav")
    with pytest.raises(BadInput) as caught:
        load_job(tmp_path)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{tmp_path}: scenes[0].image: 1.png: the file is empty")
