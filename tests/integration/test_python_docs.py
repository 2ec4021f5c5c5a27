"""The Python examples of the documentation run as they are written, in their order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst import Outcome
from tests.support.inputs import scenes_yaml, write_picture, write_sound
from tests.support.runs import assert_nothing_left

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = [pytest.mark.stack, pytest.mark.video]


def blocks(page: str) -> list[str]:
    """Return the Python examples of a page, each with as many lines before it as in the page."""
    text = (ROOT / page).read_text("utf-8")
    return ["\n" * text.count("\n", 0, one.start(1)) + one[1] for one in BLOCK.finditer(text)]


def examples(page: str) -> dict[str, Any]:
    """Run the examples of a page one after the other, as in a notebook; return their names."""
    names: dict[str, Any] = {}
    for block in blocks(page):
        exec(compile(block, page, "exec"), names)  # noqa: S102 - the project's own documentation
    return names


@pytest.fixture(autouse=True)
def here(job_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a job of three scenes, and one with mistakes."""
    folder = job_file(scenes_yaml(3)).parent
    for name in ("pictures_and_sounds/intro.png", "pictures_and_sounds/cover.png"):
        write_picture(folder / name)
    write_sound(folder / "pictures_and_sounds" / "intro.wav")
    (folder / "mistakes.yaml").write_text("version: 1\nscenes: [{name: a, image: no.png}]\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "out"))
    return folder


def test_the_readme(state: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    report = examples("README.md")["report"]
    assert report.outcome is Outcome.COMPLETE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[3]"
    assert lines[-1] == f"3 videos in {report.directory}"
    assert report.directory.parent == tmp_path / "out"
    assert_nothing_left(state)


@pytest.mark.slow
def test_the_guide(state: Path, capsys: pytest.CaptureFixture[str], here: Path) -> None:
    names = examples("docs/python.md")
    output = capsys.readouterr().out
    for line in (
        "b01 3 scenes, 3 s of narration",
        "mistakes.yaml 2 scenes[0].image",
        "intro = intro.png + intro.wav",
        "not used: cover.png picture without a sound",
        "1 intro",
        "complete: 3 videos for $0.00",
        "videos; everything is destroyed",
        "is done",
        "complete 3\n",
    ):
        assert line in output
    assert names["report"].outcome is Outcome.COMPLETE
    assert names["stream"].report.done >= 1
    assert names["report"].run_id == names["stream"].report.run_id
    assert names["left"].exit_code == 0
    assert len(list((here / "videos").iterdir())) == 4
    assert_nothing_left(state)


def test_the_guide_shows_every_function() -> None:
    import cloudburst

    shown = "\n".join(blocks("docs/python.md"))
    functions = [name for name in cloudburst.__all__ if name.islower() and name[0] != "_"]
    assert [name for name in functions if f"{name}(" not in shown] == []
