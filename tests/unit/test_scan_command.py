"""`cloudburst scan` writes a scenes.yaml, shows it, and never overwrites one unasked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner, Result

from cloudburst import cli
from cloudburst.cli.running import Shown
from cloudburst.errors import BadInput
from cloudburst.job import yamltree
from cloudburst.job.loader import load_job
from tests.support.inputs import write_picture, write_sound

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my pictures"
    for number in (1, 2):
        write_picture(folder / f"{number}.png")
        write_sound(folder / f"{number}.wav", 0.2, 8000)
    write_picture(folder / "lost.png")
    return folder


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(
        cli.group, ["scan", *map(str, arguments)], standalone_mode=False, catch_exceptions=True
    )
    if result.exception is not None:
        raise result.exception
    return result


def test_it_writes_the_file_and_says_what_is_next(folder: Path) -> None:
    result = call(folder)
    assert result.return_value == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["1", "1.png", "1.wav", "–", "–"] in lines
    assert "not used: lost.png: picture without a sound" in result.stdout
    assert f"2 scenes in {folder}; 1 file not used\n" in result.stdout
    assert result.stdout.endswith(f"next: cloudburst-run '{folder}/scenes.yaml'\n")
    assert [scene.name for scene in load_job(folder / "scenes.yaml").scenes] == ["1", "2"]


def test_options_go_into_the_file(folder: Path) -> None:
    options = ["--language", "english", "--effects", "zoom_in", "--effects", "pan_left"]
    call(folder, *options, "--target", "aws")
    document: Any = yamltree.parse((folder / "scenes.yaml").read_text()).value
    assert document["defaults"] == {"language": "english", "effects": ["zoom_in", "pan_left"]}
    assert (document["target"], document["name"]) == ("aws", "my-pictures")


def test_a_file_is_overwritten_only_with_force(folder: Path) -> None:
    path = folder / "scenes.yaml"
    path.write_text("mine")
    with pytest.raises(BadInput, match=r"exists already; pass --force .* cloudburst-run '"):
        call(folder)
    assert path.read_text() == "mine"
    assert call(folder, "--force").return_value == 0
    assert "lost.png" in path.read_text()


def test_standard_output_is_the_yaml_alone(folder: Path) -> None:
    result = call(folder, "-o", "-")
    document: Any = yamltree.parse(result.stdout).value
    assert [scene["image"] for scene in document["scenes"]] == ["1.png", "2.png"]
    assert "not used: lost.png" in result.stderr
    assert not (folder / "scenes.yaml").exists()


def test_another_file_has_paths_that_start_there(folder: Path, tmp_path: Path) -> None:
    call(folder, "-o", tmp_path / "all.yaml")
    assert "image: my pictures/1.png" in (tmp_path / "all.yaml").read_text()
    (tmp_path / "else").mkdir()
    call(folder, "-o", tmp_path / "else" / "all.yaml")
    assert len(load_job(tmp_path / "else" / "all.yaml").scenes) == 2
    with pytest.raises(BadInput, match="cannot be written: No such file or directory"):
        call(folder, "-o", tmp_path / "nowhere" / "all.yaml")


def test_json_for_programs(folder: Path) -> None:
    document = json.loads(call(folder, "--json").stdout)
    assert document["folder"] == str(folder)
    assert document["file"] == str(folder / "scenes.yaml")
    assert document["scenes"][0] == {
        "name": "1",
        "image": "1.png",
        "audio": "1.wav",
        "subtitle": None,
        "language": None,
    }
    assert [one["path"] for one in document["skipped"]] == ["lost.png"]
    assert (folder / "scenes.yaml").exists()
    assert json.loads(call(folder, "--json", "-o", "-").stdout)["file"] is None


def test_run_runs_the_file_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = []

    def run(job: Any, _: object, shown: Shown) -> int:
        jobs.append((job.source, job.target, shown))
        return 1

    monkeypatch.setattr(cli, "_run", run)
    result = call(folder, "--run", "--target", "local")
    assert result.return_value == 1, "the run's own code"
    assert jobs == [(folder / "scenes.yaml", "local", Shown())]
    assert "next:" not in result.stdout


@pytest.mark.parametrize("options", [("--json",), ("-o", "-")])
def test_what_does_not_go_with_run(folder: Path, options: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError, match="--run goes with neither"):
        call(folder, "--run", *options)
    assert not (folder / "scenes.yaml").exists()


def test_many_warnings_are_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{number}.png: [red]why[/]\x1b" for number in range(60)]
    cli.console.show_warnings(lines, lines)
    err = capsys.readouterr().err
    assert "not used: 49.png: [red]why[/]\\x1b" in err
    assert "50.png" not in err
    assert "… and 10 more" in err
