"""What somebody sees who looks on from elsewhere: the event log, other logs, the outlook."""

from __future__ import annotations

import json
import os
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import click.testing
import pytest

from cloudburst import cli, history
from cloudburst.console.eta import Outlook
from cloudburst.console.live import outlook_parts
from cloudburst.errors import InfrastructureError, RunUnknown
from cloudburst.history import logs
from cloudburst.journal import eventlog, lock
from cloudburst.models import Event, EventKind
from cloudburst.runner import meter
from cloudburst.runner.meter import Meter
from tests.support.fakes import FakeEngine, FakeTarget, make_context
from tests.support.pasts import RUN, begun, whole_run

if TYPE_CHECKING:
    from pathlib import Path

STARTED = Event(EventKind.RUN_STARTED, 0.1, text="2 scenes", data={"run": RUN, "scenes": 2})
DONE = Event(EventKind.SCENE_DONE, 5.0, "b01", "a", "a.mp4", {"worker": "b01"})


def write(folder: Path, *events: Event) -> None:
    log = eventlog.EventLog()
    log.open(folder)
    for event in events:
        log(event)
    log.close()


# -- the event log ------------------------------------------------------------------------------


def test_events_come_back_as_they_were(tmp_path: Path) -> None:
    surrogate = replace(DONE, text="it \ud800 broke [and] 坏了")
    write(tmp_path, STARTED, surrogate)
    assert [logged.event for logged in eventlog.read(tmp_path)] == [STARTED, surrogate]


def test_events_before_the_folder_is_known_are_written_once_it_is(tmp_path: Path) -> None:
    log = eventlog.EventLog()
    log(STARTED)
    assert list(tmp_path.iterdir()) == []
    log.open(tmp_path)
    log(DONE)
    log.close()
    assert [logged.event for logged in eventlog.read(tmp_path)] == [STARTED, DONE]


def test_the_report_is_not_written_twice(tmp_path: Path) -> None:
    write(tmp_path, Event(EventKind.RUN_FINISHED, 9.0, data={"report": {"much": 1}}))
    assert "report" not in (tmp_path / eventlog.NAME).read_text()


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    log = eventlog.EventLog()
    log.open(tmp_path / "nowhere")
    log(STARTED)
    log.close()
    log.open(tmp_path)
    log.close()
    log(DONE)


def test_what_is_half_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    write(tmp_path, STARTED, DONE)
    path = tmp_path / eventlog.NAME
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    reader = eventlog.Reader(tmp_path)
    assert [logged.event for logged in reader.more()] == [STARTED]
    path.write_bytes(whole)
    assert [logged.event for logged in reader.more()] == [DONE]
    assert reader.more() == []


def test_lines_of_a_later_release_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, STARTED)
    with (tmp_path / eventlog.NAME).open("a") as file:
        file.write('{"at": "2026-11-27", "event": "levitated"}\nno json\n')
    write(tmp_path, DONE)
    assert [logged.event for logged in eventlog.read(tmp_path)] == [STARTED, DONE]


def test_only_the_last_session_is_watched(tmp_path: Path) -> None:
    resumed = Event(EventKind.RUN_RESUMED, 20.0, text="going on", data={"scenes": 2, "done": 1})
    write(tmp_path, STARTED, DONE, resumed, DONE)
    assert [one.event.kind for one in logs.events(tmp_path)] == [
        EventKind.RUN_RESUMED,
        EventKind.SCENE_DONE,
    ]


def test_watching_goes_on_until_nobody_holds_the_run(tmp_path: Path) -> None:
    held = lock.acquire(tmp_path)
    write(tmp_path, STARTED)
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            write(tmp_path, DONE)
            os.close(held)

    assert [one.event for one in logs.events(tmp_path, sleep)] == [STARTED, DONE]
    assert len(slept) == 2


# -- other logs ---------------------------------------------------------------------------------


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """Return the folder of a run with logs of every kind."""
    folder = whole_run(tmp_path / "out")
    write(
        folder,
        STARTED,
        Event(EventKind.SCENE_STARTED, 1.0, "b01", "a", "rendering a", {"worker": "b01"}),
        Event(EventKind.BATCH_STATE, 2.0, "b01", None, "", {"state": "working", "worker": "b01.2"}),
        Event(EventKind.SCENE_FAILED, 3.0, "b01", "b", "too loud", {"worker": "b01.2"}),
    )
    (folder / "logs").mkdir()
    for name in ("b01", "b01.2", "b01.boot", "b02", f"{RUN}-b01.engine", "run"):
        (folder / "logs" / f"{name}.log").write_text(f"of {name}\n")
    return folder


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ["2 scenes", "rendering a", "", "too loud"]),
        (("a",), ["rendering a"]),
        (("b",), ["too loud"]),
        (
            ("b01",),
            [
                *("rendering a", "", "too loud"),
                *(f"of {RUN}-b01.engine", "of b01.2", "of b01.boot", "of b01"),
            ],
        ),
        (("b01.2",), ["", "too loud", f"of {RUN}-b01.engine", "of b01.2"]),
        (("--kind", "boot"), ["of b01.boot"]),
        (("b01", "--kind", "engine"), [f"of {RUN}-b01.engine"]),
    ],
)
def test_logs_are_those_of_the_run_the_scene_or_the_worker(
    ended: Path, arguments: tuple[str, ...], expected: list[str]
) -> None:
    done = click.testing.CliRunner().invoke(cli.group, ["logs", str(ended), *arguments, "--json"])
    assert done.exit_code == 0, done.output
    said = [json.loads(line)["text"] for line in done.output.splitlines()]
    assert sorted(said) == sorted(expected)


def test_a_name_that_a_run_has_not_is_told_with_those_it_has(ended: Path) -> None:
    with pytest.raises(RunUnknown, match=r"no scene and no worker 'c'; it has b01, b01.2, a, b"):
        logs.Logs(history.load(ended), "c")


def test_lines_for_people_have_their_time_and_whose_they_are(ended: Path) -> None:
    done = click.testing.CliRunner().invoke(cli.group, ["logs", str(ended), "b01"])
    assert "b01.2: of b01.2\n" in done.output
    assert "+00:00  b01: b FAILED: too loud" in done.output


def test_where_nothing_was_logged_that_is_said(ended: Path) -> None:
    (ended / "logs" / "b01.boot.log").unlink()
    done = click.testing.CliRunner().invoke(
        cli.group, ["logs", str(ended), "b01", "--kind", "boot"]
    )
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"{RUN} b01: nothing was logged of boot\n"


def test_following_sees_lines_as_they_are_added(ended: Path) -> None:
    held = lock.acquire(ended)
    path = ended / "logs" / "b01.boot.log"

    def sleep(_: float) -> None:
        with path.open("a") as file:
            file.write("docker is up\nhalf")
        os.close(held)

    followed = logs.Logs(history.load(ended), "b01", ("boot",)).follow(sleep)
    assert [line.text for line in followed] == ["of b01.boot", "docker is up"]


# -- stopping -----------------------------------------------------------------------------------


def test_stop_signals_the_process_that_holds_the_run_and_no_other(tmp_path: Path) -> None:
    asked = threading.Event()
    with begun(tmp_path):
        import signal

        before = signal.signal(signal.SIGINT, lambda *_: asked.set())
        try:
            assert lock.interrupt(tmp_path) == lock.this_process()
            assert asked.wait(60)
            asked.clear()
            mark = json.loads((tmp_path / lock.NAME).read_text())
            (tmp_path / lock.NAME).write_text(json.dumps({**mark, "started": 1.0}))
            assert lock.interrupt(tmp_path) is None, "another process with the same number"
            (tmp_path / lock.NAME).write_text(json.dumps({**mark, "host": "elsewhere"}))
            with pytest.raises(InfrastructureError, match="on elsewhere holds the run"):
                lock.interrupt(tmp_path)
            assert not asked.is_set()
        finally:
            signal.signal(signal.SIGINT, before)
    assert lock.interrupt(tmp_path) is None
    assert socket.gethostname() == mark["host"]


# -- the outlook --------------------------------------------------------------------------------


def scene(kind: EventKind, seconds: float, name: str, narration: float = 10.0) -> Event:
    return Event(kind, seconds, "b01", name, data={"narration": narration})


def test_nothing_is_said_before_a_scene_is_done() -> None:
    outlook = Outlook()
    outlook.take(Event(EventKind.RUN_STARTED, 0.0, data={"narration": 40.0}))
    outlook.take(scene(EventKind.SCENE_STARTED, 60.0, "a"))
    assert outlook.seconds(100.0) is None
    assert outlook_parts(outlook, 100.0) == []


def test_it_learns_how_long_narration_takes() -> None:
    outlook = Outlook()
    outlook.take(Event(EventKind.RUN_STARTED, 0.0, data={"narration": 40.0}))
    outlook.take(scene(EventKind.SCENE_STARTED, 60.0, "a"))
    outlook.take(scene(EventKind.SCENE_DONE, 80.0, "a"))  # 2 s for a second
    assert outlook.seconds(80.0) is None, "nobody renders"
    outlook.take(scene(EventKind.SCENE_STARTED, 80.0, "b"))
    assert outlook.seconds(80.0) == 60.0
    assert outlook.seconds(90.0) == 50.0
    outlook.take(scene(EventKind.SCENE_STARTED, 90.0, "c"))  # two at once
    assert outlook.seconds(90.0) == pytest.approx((10 + 20 + 20) / 2)
    outlook.take(scene(EventKind.SCENE_DONE, 120.0, "b"))  # slower: 60 s for 20 s in all
    assert outlook.seconds(120.0) == pytest.approx(30.0)


def test_the_longest_scene_ends_last_and_one_that_is_overdue_says_nothing() -> None:
    outlook = Outlook()
    outlook.take(Event(EventKind.RUN_STARTED, 0.0, data={"narration": 120.0}))
    outlook.take(scene(EventKind.SCENE_STARTED, 0.0, "a"))
    outlook.take(scene(EventKind.SCENE_DONE, 10.0, "a"))
    outlook.take(scene(EventKind.SCENE_STARTED, 10.0, "b", 100.0))
    outlook.take(scene(EventKind.SCENE_STARTED, 10.0, "c"))
    assert outlook.seconds(10.0) == 100.0
    assert outlook.seconds(500.0) is None


def test_a_retry_is_still_to_be_done_and_a_failure_is_not() -> None:
    for kind, left in ((EventKind.SCENE_RETRY, 20.0), (EventKind.SCENE_FAILED, 10.0)):
        outlook = Outlook()
        outlook.take(Event(EventKind.RUN_STARTED, 0.0, data={"narration": 30.0}))
        outlook.take(scene(EventKind.SCENE_STARTED, 0.0, "a"))
        outlook.take(scene(EventKind.SCENE_DONE, 10.0, "a"))
        outlook.take(scene(EventKind.SCENE_STARTED, 10.0, "b"))
        outlook.take(scene(kind, 12.0, "b"))
        outlook.take(scene(EventKind.SCENE_STARTED, 12.0, "c"))
        assert outlook.seconds(12.0) == left, kind


def test_what_it_will_cost_follows_from_what_it_costs_now() -> None:
    outlook = Outlook()
    outlook.take(Event(EventKind.RUN_STARTED, 0.0, data={"narration": 3610.0}))
    outlook.take(Event(EventKind.COST, 5.0, data={"usd": 0.5, "usd_per_hour": 2.0}))
    assert outlook_parts(outlook, 5.0) == ["$0.5000 so far"]
    outlook.take(scene(EventKind.SCENE_STARTED, 0.0, "a"))
    outlook.take(scene(EventKind.SCENE_DONE, 10.0, "a"))
    outlook.take(scene(EventKind.SCENE_STARTED, 10.0, "b", 3600.0))
    assert outlook_parts(outlook, 10.0) == [
        "about 60 min left",
        "$0.5000 so far, likely $2.50 in all",
    ]


# -- the meter ----------------------------------------------------------------------------------


def test_the_meter_reports_costs_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "REPORT_EVERY", 0.005)
    target = FakeTarget(FakeEngine(), spent=(0.25, 3.6))
    context = make_context(target.engine, target, tmp_path)
    events: list[Event] = []
    context.timeline._on_event = events.append
    with Meter(context):
        for _ in range(2000):
            if events:
                break
            threading.Event().wait(0.005)
        target.spent = (0.5, 0.0)
    context.timeline.close()
    costs = [event.data for event in events if event.kind is EventKind.COST]
    assert costs[0] == {"usd": 0.25, "usd_per_hour": 3.6}
    assert costs[-1] == {"usd": 0.5, "usd_per_hour": 0.0}
    assert len(costs) == 2
