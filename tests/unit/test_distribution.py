"""The distribution's name: `cloudburst` on PyPI is somebody else's project."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import cloudburst

ROOT = Path(__file__).parents[2]
NAME = "cloudburst-run"
# An installer, what it is told to do, options – and the other project's name.
FORBIDDEN = re.compile(
    r"\b(?:pip[x3]?|uvx?|poetry|pdm|conda)\b(?:[ \t]+[\w=./-]+)*?[ \t]+"
    r"(?:install|add|run|inject|upgrade|--from|--spec|-U)(?:[ \t]+-[\w=-]+)*[ \t]+"
    r"[\"'`]?cloudburst(?:\[\w+\])?(?![\w/.-])"
)
FOLDERS = ("cloudburst", "docs", "examples", "stacks", "testcloud", "tools", "benchmarks")
SUFFIXES = {".md", ".py", ".toml", ".yaml", ".yml", ".in", ".sh", ".j2", ".po", ".txt", ".rst", ""}


def read_by_people() -> list[Path]:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    files += ROOT.glob("*")
    return [path for path in files if path.is_file() and path.suffix in SUFFIXES]


def test_the_metadata_has_the_name_of_pyproject_and_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    installed = metadata.metadata(NAME)
    assert project["name"] == installed["Name"] == NAME
    assert installed["Version"] == project["version"] == cloudburst.__version__


def test_the_commands_keep_their_names() -> None:
    scripts = metadata.distribution(NAME).entry_points.select(group="console_scripts")
    assert {"cloudburst", "cloudburst-run", "pulumi-resource-cloudburst"} <= scripts.names


@pytest.mark.parametrize(
    "text",
    [
        "pip install cloudburst",
        "pip3 install -U cloudburst",
        "python -m pip install --upgrade 'cloudburst'",
        "`pip install cloudburst`",
        "pip install cloudburst[aws]",
        "pipx install cloudburst",
        "uv tool install cloudburst",
        "uv pip install cloudburst, then",
        "uvx --from cloudburst cloudburst-run scenes.yaml",
        "pipx run cloudburst",
        "uv add cloudburst",
    ],
)
def test_the_other_projects_name_is_recognised(text: str) -> None:
    assert FORBIDDEN.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "pip install .",
        "pip install cloudburst-run",
        "pip install cloudburst_run-0.1.0-py3-none-any.whl",
        "pip install ./cloudburst",
        "pip install cloudburst/",
        "pip uninstall cloudburst-run",
        "uvx --from . cloudburst-run scenes.yaml",
        "`pip install .` installs it beside `cloudburst-run`",
    ],
)
def test_ours_is_not_taken_for_it(text: str) -> None:
    assert not FORBIDDEN.search(text)


def test_nothing_tells_people_to_install_the_other_project() -> None:
    read = {path: path.read_text("utf-8", "replace") for path in read_by_people()}
    assert {ROOT / "README.md", ROOT / "docs" / "aws.md", ROOT / "Dockerfile"} <= set(read)
    assert [path.name for path, text in read.items() if FORBIDDEN.search(text)] == []


@pytest.mark.parametrize("way", ["pip install .", "pipx install .", "uv tool install ."])
def test_the_readme_says_how_to_install_from_a_checkout(way: str) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert way in text.partition("## Install")[2].partition("\n## ")[0]
