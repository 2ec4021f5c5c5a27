"""Hundreds of scenes, and screens of every size: what is listed, counted, dropped or folded."""

from __future__ import annotations

import io
import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len
from rich.console import Console

from cloudburst import console
from cloudburst.console import layout
from cloudburst.console.layout import Column
from cloudburst.console.progress import Pace, Progress
from cloudburst.models import (
    Artifact,
    Attempt,
    Batch,
    BatchResult,
    Cost,
    Event,
    EventKind,
    Job,
    Launch,
    Outcome,
    Plan,
    PlannedResource,
    Preview,
    RunReport,
    Scene,
    SceneResult,
    SceneStatus,
    Span,
    StackPreview,
    batch_label,
)
from cloudburst.targets.local.target import PROCESS
from tests.support.patience import SOON

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_line_comes_later() -> Iterator[None]:
    """Let no thread print into the output of the tests that follow."""
    yield
    for thread in threading.enumerate():
        if thread.name == "progress":
            thread.join(SOON)
            assert not thread.is_alive(), "a run's view was not closed"


STATES = {"creating": "creating the stack", "starting": "waiting for it", "working": "rendering"}
NAMES = ("scene_{:04d}_a_rather_long_name_of_a_scene", "第{:04d}章：山里的一天与很长的名字")


def name(number: int) -> str:
    return NAMES[number % 2].format(number)


def run_of(scenes: int, workers: int, seconds: float = 600.0) -> Iterator[Event]:
    """Yield the events of a run; a tenth of the workers fails, every hundredth scene, too."""
    begun: dict[str, object] = {"run": "r", "scenes": scenes, "done": 0, "batches": workers}
    yield Event(EventKind.RUN_STARTED, 0.0, text=f"{scenes} scenes", data=begun)
    labels = [f"b{number:02d}" for number in range(1, workers + 1)]
    for at, (state, text) in enumerate(STATES.items()):
        for label in labels:
            yield Event(EventKind.BATCH_STATE, 1.0 + at, label, None, text, {"state": state})
    for label in labels[::10]:
        yield Event(EventKind.FAILOVER, 5.0, label, None, f"{label} found no machine")
    for number in range(scenes):
        at, label = 5.0 + seconds * number / scenes, labels[number % workers]
        yield Event(EventKind.SCENE_STARTED, at, label, name(number), "rendering")
        if number % 100 == 7:
            yield Event(EventKind.SCENE_RETRY, at, label, name(number), "a hiccup")
            yield Event(EventKind.SCENE_FAILED, at, label, name(number), "not a [picture]")
        else:
            text = f"{name(number)}.mp4, 5.0 s of video in 1.0 s"
            yield Event(EventKind.SCENE_DONE, at, label, name(number), text, {"worker": label})
    for label in labels[1::10]:
        failed: dict[str, object] = {"state": "failed"}
        yield Event(EventKind.BATCH_STATE, seconds + 6, label, None, "it broke", failed)
    yield Event(EventKind.RUN_FINISHED, seconds + 10)


def plain_lines(
    capsys: pytest.CaptureFixture[str], events: Iterator[Event], *, verbose: bool = False
) -> list[str]:
    with console.Plain(verbose=verbose) as plain:
        for event in events:
            plain(event)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("scenes", "workers"), [(300, 10), (1000, 30), (30, 30)])
def test_in_a_pipe_progress_is_summed_and_trouble_is_not(
    capsys: pytest.CaptureFixture[str], scenes: int, workers: int
) -> None:
    lines = plain_lines(capsys, run_of(scenes, workers))
    failed = [name(number) for number in range(scenes) if number % 100 == 7]
    for scene in failed:
        assert sum(f"{scene} FAILED: not a [picture]" in line for line in lines) == 1
        assert sum(f"{scene} failed and is tried again" in line for line in lines) == 1
    assert sum("failover: " in line for line in lines) == len(range(0, workers, 10))
    assert sum("failed: it broke" in line for line in lines) == len(range(1, workers, 10))
    summed = [line for line in lines if f"of {scenes} scenes, {len(failed)} failed" in line]
    assert summed[-1].endswith(
        f"{scenes - len(failed)} of {scenes} scenes, {len(failed)} failed; {workers} workers: "
        f"{workers - len(range(1, workers, 10))} working, {len(range(1, workers, 10))} failed"
    )
    trouble = 2 * len(failed) + len(range(0, workers, 10)) + len(range(1, workers, 10))
    assert 15 <= len(lines) - trouble <= 30
    assert not any(".mp4" in line for line in lines)


@pytest.mark.parametrize(("scenes", "workers", "verbose"), [(30, 12, False), (300, 30, True)])
def test_small_and_verbose_runs_have_a_line_for_everything(
    capsys: pytest.CaptureFixture[str], scenes: int, workers: int, verbose: bool
) -> None:
    lines = plain_lines(capsys, run_of(scenes, workers), verbose=verbose)
    done = [line for line in lines if ".mp4, 5.0 s of video" in line]
    assert len(done) == scenes - len(range(7, scenes, 100))
    assert sum(": creating the stack" in line for line in lines) == workers
    assert not any("workers: " in line for line in lines)


def test_the_number_of_lines_grows_slower_than_a_run() -> None:
    progress, pace = Progress(total=100_000, many=True), Pace()
    pace.begin(0.0, progress)
    lines = []
    for second in range(36_000):
        progress.done += 1
        lines.append(pace.due(float(second), progress))
    assert 60 <= len([line for line in lines if line]) <= 180


def test_a_line_comes_while_nothing_happens_but_rarely() -> None:
    progress, pace = Progress(total=100, many=True), Pace()
    pace.begin(0.0, progress)
    shown = [second for second in range(1000) if pace.due(float(second), progress)]
    assert shown == [300, 600, 900]


def test_what_changed_is_printed_while_no_event_comes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudburst.console.progress._SECONDS_UNTIL", 0.5)
    with console.Plain() as plain:
        for event in list(run_of(300, 10))[:20]:
            plain(replace(event, seconds=0.0))
        time.sleep(2.5)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith("0 of 300 scenes; 10 workers: 1 creating, 9 starting")


def test_no_line_comes_after_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that was due, and waited only for an event to be printed."""
    monkeypatch.setattr("cloudburst.console.progress._SECONDS_UNTIL", 0.5)
    plain = console.Plain()
    for event in list(run_of(300, 10))[:20]:
        plain(replace(event, seconds=0.0))
    before = capsys.readouterr().out
    with plain._lock:
        time.sleep(2.5)
        plain._ended.set()
    (ticker,) = [thread for thread in threading.enumerate() if thread.name == "progress"]
    ticker.join(SOON)
    assert (bool(before), capsys.readouterr().out) == (True, "")


def screen(live: console.LiveLines, terminal: Console) -> list[str]:
    rendered = terminal.render_lines(live._draw(), pad=False)
    return ["".join(segment.text for segment in line).rstrip() for line in rendered]


def drawn(width: int, height: int, workers: int, until: int = 120) -> list[str]:
    terminal = Console(
        file=io.TextIOWrapper(io.BytesIO(), "utf-8"),
        force_terminal=True,
        width=width,
        height=height,
        legacy_windows=False,
    )
    live = console.LiveLines(terminal)
    for event in list(run_of(300, workers))[:until]:
        live(event)
    failed: dict[str, object] = {"state": "failed"}
    live(Event(EventKind.BATCH_STATE, 50.0, "b07", None, "it broke", failed))
    return screen(live, terminal)


@pytest.mark.parametrize("width", [20, 40, 80, 160, 300])
@pytest.mark.parametrize("workers", [8, 30, 100])
def test_the_live_view_is_one_screen_and_never_wraps(width: int, workers: int) -> None:
    lines = drawn(width, 24, workers, until=4 * workers + 60)
    assert len(lines) <= 23
    assert max(cell_len(line) for line in lines) <= width
    # A line per worker, one for the others, one for the whole: wrapped ones would be more.
    assert len(lines) == min(workers + 1, 22)
    assert "300 scenes" in lines[-1] or width == 20
    if workers > 20:
        assert "b07" in lines[0]
        assert f"{workers - 20} more worker" in lines[-2]
    (trouble,) = [line for line in lines if "b07" in line]
    assert "failed" in trouble


def test_lines_of_workers_are_in_the_order_of_their_numbers() -> None:
    labels = re.findall(r"\bb\d{2,3}\b", "\n".join(drawn(80, 200, 100, until=460)))
    assert labels == [batch_label(number) for number in range(1, 101)]


@pytest.mark.parametrize("width", [20, 40, 80, 160, 300])
def test_the_end_and_the_cost_are_in_the_view_where_they_fit(width: int) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=width, height=24)
    live = console.LiveLines(terminal)
    for event in list(run_of(300, 100))[:460]:
        begins = event.kind is EventKind.RUN_STARTED
        live(replace(event, data={**event.data, "narration": 1000.0 if begins else 0.0}))
    narration: dict[str, object] = {"narration": 5.0, "worker": "b01"}
    live(Event(EventKind.SCENE_STARTED, 61.0, "b01", "x", "", narration))
    live(Event(EventKind.SCENE_DONE, 71.0, "b01", "x", "x.mp4", narration))
    live(Event(EventKind.SCENE_STARTED, 71.0, "b01", "y", "", narration))
    live(Event(EventKind.COST, 71.0, data={"usd": 1.25, "usd_per_hour": 36.0}))
    lines = screen(live, terminal)
    assert len(lines) <= 23
    assert max(cell_len(line) for line in lines) <= width
    assert "left" in lines[-1] or width == 20
    assert "$1.25 so far" in lines[-1] or width < 40
    assert ("in all" in lines[-1]) == (width >= 80)
    assert ("scenes" in lines[-1]) == (width >= 160), "a line of its own where it is narrow"


def test_columns_of_the_live_view_go_in_a_defined_order() -> None:
    def has(width: int) -> list[bool]:
        line = next(line for line in drawn(width, 24, 8, until=70) if "b02" in line)
        return [word in line for word in (" done", " s", "working", "b02")]

    seen = [has(width) for width in range(20, 161)]
    assert seen[0] == [False, False, False, True]
    assert seen[-1] == [True, True, True, True]
    assert [sum(some) for some in seen] == sorted(sum(some) for some in seen)
    # The state comes before the time, the time before the number of videos.
    assert [True, False, False, True] not in seen
    assert [False, True, False, True] not in seen


def test_a_big_run_leaves_lines_only_of_trouble_on_a_terminal() -> None:
    for verbose, lasting in ((False, 0), (True, 297)):
        terminal = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)
        live = console.LiveLines(terminal, verbose=verbose)
        for event in run_of(300, 10):
            live(event)
        assert isinstance(terminal.file, io.StringIO)
        said = terminal.file.getvalue()
        assert said.count("s of video") == lasting
        assert said.count(": not a [picture]") == 3


def test_what_happens_to_a_run_is_shown_of_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside what the rows and the bar show: a new kind must not be forgotten on a terminal."""
    begun: dict[str, object] = {"scenes": 300, "done": 0, "state": "failed", "worker": "b01"}
    inside = {EventKind.ENGINE, EventKind.SCENE_STARTED, EventKind.SCENE_DONE, EventKind.COST}
    for kind in set(EventKind) - inside - {EventKind.RUN_FINISHED}:
        terminal = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)
        event = Event(kind, 1.0, "b01", "scene", "the [text]", begun)
        console.LiveLines(terminal)(event)
        with console.Plain() as plain:
            plain(event)
        assert isinstance(terminal.file, io.StringIO)
        assert "the [text]" in terminal.file.getvalue(), kind
        assert "the [text]" in capsys.readouterr().out, kind


def test_a_terminal_without_symbols_gets_letters() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, "latin-1", errors="replace")
    terminal = Console(file=file, force_terminal=True, width=200, color_system=None)
    live = console.LiveLines(terminal)
    for event in run_of(10, 2):
        live(event)
    file.flush()
    lines = raw.getvalue().decode("latin-1").splitlines()
    assert any(line.startswith("+ scene_0000") for line in lines)
    assert any(line.startswith("x ") and "not a [picture]" in line for line in lines)
    assert "?" not in "".join(line for line in lines if "scene_" in line)


@pytest.mark.parametrize(("term", "kind"), [("dumb", "Plain"), ("xterm", "LiveLines")])
def test_only_a_terminal_that_can_move_its_cursor_has_a_live_view(
    monkeypatch: pytest.MonkeyPatch, term: str, kind: str
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stdout", Terminal())
    assert type(console.watcher(json_lines=False, quiet=False)).__name__ == kind


COLUMNS = (
    Column("scene", folds=True),
    Column("video", right=True, rank=1),
    Column("size", right=True, rank=2),
)
ROWS = [[name(number), "5.0 s 1920x1080", "1.5 MB"] for number in range(4)]


@pytest.mark.parametrize(
    ("width", "titles"),
    [(20, ["scene"]), (30, ["scene"]), (40, ["scene", "video"]), (80, ["scene", "video", "size"])],
)
def test_names_stay_whole_and_columns_go_by_rank(width: int, titles: list[str]) -> None:
    terminal = Console(file=io.StringIO(), width=width, color_system=None)
    terminal.print(layout.table(COLUMNS, ROWS, width))
    assert isinstance(terminal.file, io.StringIO)
    lines = terminal.file.getvalue().splitlines()
    assert lines[0].split() == titles
    assert max(cell_len(line) for line in lines) <= width
    letters = "".join(line.split("  ")[0].strip() for line in lines[1:])
    assert letters == "".join(row[0] for row in ROWS)


def test_a_table_in_a_pipe_has_every_column_and_folds_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "a" * 200
    console.show_report(report_of(2, tmp_path, renamed=long))
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(long))
    assert line.split()[1:] == ["5.0", "s", "1920x1080", "1.5", "MB", "1.0", "s", "b01", "baseline"]


def report_of(count: int, directory: Path, workers: int = 2, renamed: str = "") -> RunReport:
    """Return the report of a run of which the last tenth is unfinished and two are slow."""

    def result(number: int) -> SceneResult:
        scene = renamed or name(number)
        slow = 9.0 if number in (5, 7) else 1.0
        tries = (Attempt("b01", Span("render", 1, 1 + slow), Span("download", 3, 3.5)),)
        if count > 20 and number >= count * 0.9:
            return SceneResult(scene, SceneStatus.UNFINISHED, 5.0)
        if number == 3:
            return SceneResult(scene, SceneStatus.FAILED, 5.0, tries, error="it broke [badly]")
        video = Artifact(directory / f"{number}.mp4", 1_500_000, 5.0, 1920, 1080, 150)
        tries = tries * 2 if number == 8 else tries
        warnings = ("no glyph for [x]",) if number % 2 else ()
        return SceneResult(scene, SceneStatus.DONE, 5.0, tries, video, "baseline", warnings)

    launch = Launch("b01", "1@2", PROCESS, None, 1, (Span("up", 0, 1.2),), destroyed=True)
    return RunReport(
        run_id="run",
        job="job",
        target="local",
        outcome=Outcome.PARTIAL,
        started_at="2026-01-01T00:00:00+00:00",
        seconds=4.0,
        directory=directory,
        scenes=tuple(result(number) for number in range(count)),
        batches=tuple(BatchResult(f"b{n:02d}", f"run-b{n:02d}", (launch,)) for n in range(workers)),
        phases={"up": 1.0},
        serial_seconds=6.0,
        cost=Cost(0.0, 4.0, "nothing is rented"),
    )


def test_the_summary_of_300_scenes_is_of_what_failed_or_was_slow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console.show_report(report_of(300, tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 20
    rows = [line.split()[0] for line in lines if line.endswith("baseline")]
    assert rows == [name(5), name(7), name(8)]
    assert "266 more videos, each rendered in 1.0 s (median); --verbose lists all" in lines
    assert f"{name(3)}: failed: it broke [badly]" in lines
    first = ", ".join(name(number) for number in (270, 271, 272))
    assert f"{first} and 27 more: unfinished: the run ended before it was done" in lines
    (warning,) = [line for line in lines if line.startswith("warning:")]
    assert warning.endswith(" more: no glyph for [x]")
    console.show_report(report_of(300, tmp_path), verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.endswith("baseline") for line in lines) == 269
    assert sum("unfinished: the run ended" in line for line in lines) == 30


def test_quiet_lists_every_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console.show_failures(report_of(300, tmp_path))
    assert len(capsys.readouterr().err.splitlines()) == 31


def test_a_dry_run_of_300_scenes_is_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    scenes = tuple(Scene(name(n), Path("p.png"), Path("a.wav"), 1.0) for n in range(300))
    batches = tuple(Batch(n + 1, scenes[n * 10 : n * 10 + 10]) for n in range(30))
    resources = (PlannedResource("create", "cloudburst:local:Worker", "worker"),)
    stacks = tuple(StackPreview(batch, f"s-{batch.label}", resources) for batch in batches)
    found = Preview(Plan(Job("job", "local", scenes, Path()), batches), stacks)
    console.show_preview(found)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert lines[0] == "b01  10 scenes, 10.0 s of narration"
    assert "… and 20 more batches  200 scenes, 200.0 s of narration" in lines
    assert "   + create cloudburst:local:Worker (30)" in lines
    assert lines[-1] == "30 stacks, 30 resources to create on local; nothing was created"
    console.show_preview(found, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert sum("1.0 s" in line and "章" in line for line in lines) == 150
    assert sum("+ create cloudburst:local:Worker worker" in line for line in lines) == 30
