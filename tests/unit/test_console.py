"""What a person or a machine is shown."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from rich.console import Console

from cloudburst import console, report
from cloudburst.models import (
    Artifact,
    Attempt,
    BatchResult,
    Cost,
    Event,
    EventKind,
    Launch,
    Outcome,
    RunReport,
    SceneResult,
    SceneStatus,
    Span,
)
from cloudburst.targets.local import PROCESS

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def finished(directory: Path) -> RunReport:
    artifact = Artifact(directory / "a.mp4", 1_500_000, 5.0, 1920, 1080, 150)
    attempt = Attempt("b01", Span("render", 1, 3), Span("download", 3, 3.5))
    scenes = (
        SceneResult("a", SceneStatus.DONE, 5.0, (attempt,), artifact, "baseline", ("no [font]",)),
        SceneResult("b", SceneStatus.FAILED, 5.0, (attempt,), error="it broke [badly]"),
        SceneResult("c", SceneStatus.UNFINISHED, 5.0),
    )
    launch = Launch("b01", "1@2", PROCESS, None, 1, (Span("up", 0, 1.23456),), destroyed=True)
    batches = (BatchResult("b01", "run-b01", (launch,)),)
    return RunReport(
        run_id="run",
        job="job",
        target="local",
        outcome=Outcome.PARTIAL,
        started_at="2026-01-01T00:00:00+00:00",
        seconds=4.0,
        directory=directory,
        scenes=scenes,
        batches=batches,
        phases={"up": 1.0, "drive": 2.0},
        serial_seconds=6.0,
        cost=Cost(0.0, 4.0, "nothing is rented"),
    )


def test_a_report_is_written_whole_and_as_json(tmp_path: Path) -> None:
    path = report.write(finished(tmp_path))
    written = json.loads(path.read_text())
    assert (written["done"], written["total"], written["speedup"]) == (1, 3, 1.5)
    assert written["outcome"] == "partial"
    assert written["scenes"][0]["artifact"]["path"] == str(tmp_path / "a.mp4")
    assert written["scenes"][1]["error"] == "it broke [badly]"
    spans = written["batches"][0]["launches"][0]["spans"]
    assert spans == [{"phase": "up", "start": 0, "end": 1.23456}]
    assert written["left_running"] == []
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_the_summary_names_what_failed_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console.show_report(finished(tmp_path))
    said = capsys.readouterr().out
    assert "b: failed: it broke [badly]" in said
    assert "c: unfinished: the run ended before it was done" in said
    assert "warning: a: no [font]" in said
    assert f"1 of 3 videos in {tmp_path}" in said
    assert "1.5x as fast" in said
    assert "$0.00 for 4 worker-seconds: nothing is rented" in said
    assert "1 stack destroyed and checked" in said


EVENTS = [
    Event(EventKind.ENGINE, 0.0, text="engine"),
    Event(EventKind.RUN_STARTED, 0.1, text="2 scenes", data={"scenes": 2}),
    Event(EventKind.BATCH_STATE, 0.2, "b01", text="creating the stack", data={"state": "creating"}),
    Event(EventKind.BATCH_STATE, 0.3, "b01", text="rendering", data={"state": "working"}),
    Event(EventKind.SCENE_STARTED, 0.4, "b01", "a", "rendering a"),
    Event(EventKind.SCENE_RETRY, 0.5, "b01", "a", "hiccup"),
    Event(EventKind.SCENE_STARTED, 0.6, "b01", "a", "rendering a"),
    Event(EventKind.SCENE_DONE, 0.7, "b01", "a", "a.mp4, 5.0 s of video in 1.0 s"),
    Event(EventKind.SCENE_STARTED, 0.8, "b01", "b", "rendering b"),
    Event(EventKind.SCENE_FAILED, 0.9, "b01", "b", "it [broke]"),
    Event(EventKind.STOPPING, 1.0, text="stopping"),
    Event(EventKind.BATCH_STATE, 1.1, "b01", text="", data={"state": "gone"}),
]


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with console.Plain() as plain:
        for event in EVENTS:
            plain(event)
    lines = capsys.readouterr().out.splitlines()
    assert "    0.2 s  b01: creating the stack" in lines
    assert "    0.7 s  b01: a.mp4, 5.0 s of video in 1.0 s" in lines
    assert "    0.9 s  b01: b FAILED: it [broke]" in lines
    assert "    1.1 s  b01: gone" in lines
    assert len(lines) == 9


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with console.JsonLines() as lines:
        for event in EVENTS:
            lines(event)
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in said] == [str(event.kind) for event in EVENTS]
    assert said[2]["state"] == "creating"
    assert said[7]["scene"] == "a"


def test_live_lines_show_every_batch_and_keep_what_matters() -> None:
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=100, color_system=None)
    with console.LiveLines(terminal) as live:
        for event in EVENTS[:5]:
            live(event)
        terminal.print(live._draw())
        for event in EVENTS[5:]:
            live(event)
        terminal.print(live._draw())
    said = out.getvalue()
    assert "working" in said
    assert "0 of 2 scenes" in said
    assert "1 of 2 scenes, 1 failed" in said
    assert "✓ a.mp4, 5.0 s of video in 1.0 s on b01" in said
    assert "✗ b: it [broke]" in said
    assert "1 done" in said


def test_the_watcher_fits_where_the_output_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(console.watcher(json_lines=True, quiet=False)) is console.JsonLines
    assert type(console.watcher(json_lines=False, quiet=True)) is console.Silent
    assert type(console.watcher(json_lines=False, quiet=False)) is console.Plain
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert type(console.watcher(json_lines=False, quiet=False)) is console.LiveLines
