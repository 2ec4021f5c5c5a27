"""A file that does not exist under the name that was written: which one was meant."""

from __future__ import annotations

import os
import unicodedata
from typing import TYPE_CHECKING

import pytest

from cloudburst.errors import BadInput
from cloudburst.job.loader import load_job
from cloudburst.job.located import hint, locate
from tests.support.inputs import scenes_yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
FILES = (
    "Photo.JPG",
    "pics/ok.jpg",
    "pics/intro scene.png",
    "deep/down/far.mp3",
    "scene 1.png",
    "scene 2.png",
    "one.jpeg",
    "one.mp3",
    "100% sure.png",
    f"{NFD}.jpg",
    f"Dossier {NFD}/a.jpg",
)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        path = tmp_path / "job" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "x.jpg").touch()
    return tmp_path / "job"


@pytest.mark.parametrize(
    ("written", "meant", "words"),
    [
        ("photo.jpg", "Photo.JPG", "Upper and lower case differ"),
        ("PICS/OK.jpg", "pics/ok.jpg", "Upper and lower case differ"),
        ("pics\\ok.jpg", "pics/ok.jpg", "Write / instead of \\"),
        ("Pics\\Ok.JPG", "pics/ok.jpg", "Write / instead of \\"),
        (".\\pics\\ok.jpg", "pics/ok.jpg", "Write / instead of \\"),
        (" pics/ok.jpg ", "pics/ok.jpg", "Without the spaces"),
        ("'pics/ok.jpg'", "pics/ok.jpg", "Without the spaces or quotes"),
        ("“pics/ok.jpg”", "pics/ok.jpg", "Without the spaces or quotes"),
        ("pics/intro%20scene.png", "pics/intro scene.png", "Write the characters themselves"),
        ("pics\\intro%20scene.png", "pics/intro scene.png", "did you mean"),
        ("one.jpg", "one.jpeg", "did you mean"),
        ("one.png", "one.jpeg", "did you mean"),
        ("one.wav", "one.mp3", "did you mean"),
        ("photo.png", "Photo.JPG", "did you mean"),
        ("Phto.JPG", "Photo.JPG", "did you mean"),
        ("pcis/ok.jpg", "", ""),
        ("pic/ok.jpg", "pics/ok.jpg", "did you mean"),
        ("pics/intro_scene.png", "pics/intro scene.png", "did you mean"),
        ("ok.jpg", "pics/ok.jpg", "did you mean"),
        ("wrong/far.mp3", "deep/down/far.mp3", "did you mean"),
        ("C:\\Users\\me\\job\\pics\\ok.jpg", "pics/ok.jpg", "did you mean"),
    ],
)
def test_what_was_meant(base: Path, written: str, meant: str, words: str) -> None:
    answer = hint(base, written)
    assert meant in answer
    assert words in answer
    if meant:
        assert f"did you mean {meant}?" in answer or words not in answer.split(meant)[0]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("https://example.org/ok.jpg", "a URL; download the file first"),
        ("S3://bucket/ok.jpg", "a URL; download the file first"),
        ("file:///home/me/a%20b.jpg", "a URL; expected a path: /home/me/a b.jpg"),
        ("D:\\films\\nothing-like-it.jpg", "a path of Windows"),
        ("$PICTURES/ok.jpg", "$PICTURES is not replaced here"),
        ("~nobody-by-this-name/ok.jpg", "~nobody-by-this-name is not replaced here"),
    ],
)
def test_what_is_no_path_here(base: Path, written: str, words: str) -> None:
    assert words in hint(base, written)


@pytest.mark.parametrize("written", ["nothing.jpg", "scene 3.png", "no/such/thing", "é.jpg"])
def test_what_nothing_comes_close_to(base: Path, written: str) -> None:
    assert hint(base, written) == ""


def test_the_same_letters_in_another_unicode_form_are_the_file(base: Path) -> None:
    assert locate(base, f"{NFC}.jpg") == base / f"{NFD}.jpg"
    assert locate(base, f"Dossier {NFC}/a.jpg") == base / f"Dossier {NFD}" / "a.jpg"
    (base / f"{NFC}.jpg").touch()
    assert locate(base, f"{NFC}.jpg") == base / f"{NFC}.jpg"


def test_the_home_folder_and_a_file_that_is_called_so(base: Path) -> None:
    assert locate(base, "~/x.jpg").samefile(base.parent / "home" / "x.jpg")
    assert locate(base, "$HOME/x.jpg").samefile(base.parent / "home" / "x.jpg")
    (base / "~").mkdir()
    (base / "~" / "x.jpg").touch()
    assert locate(base, "~/x.jpg") == base / "~" / "x.jpg"


def test_a_job_says_which_file_was_meant(job_file: Callable[..., Path]) -> None:
    path = job_file(scenes_yaml(1).replace("p.png", "P.png"))
    with pytest.raises(BadInput) as caught:
        load_job(path)
    assert "did you mean p.png? Upper and lower case differ" in str(caught.value.problems[0])
    (path.parent / "l.png").symlink_to("gone.png")
    path.write_text(scenes_yaml(1).replace("p.png", "l.png"))
    with pytest.raises(BadInput) as caught:
        load_job(path)
    assert "is a link to gone.png, which does not exist" in str(caught.value.problems[0])


def test_a_job_file_that_was_meant(
    job_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(job_file(scenes_yaml(1)).parent)
    with pytest.raises(BadInput, match=r"did you mean scenes\.yaml\?"):
        load_job("scenes.yml")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_folder_that_may_not_be_looked_into(job_file: Callable[..., Path]) -> None:
    path = job_file(scenes_yaml(1).replace("p.png", "closed/p.png"))
    (path.parent / "closed").mkdir(mode=0)
    with pytest.raises(BadInput, match="Permission denied"):
        load_job(path)
