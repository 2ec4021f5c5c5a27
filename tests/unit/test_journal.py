"""The journal: what was begun is on disk before it begins, whatever becomes of the run."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudburst.errors import JournalFailed, RunBusy
from cloudburst.job.fingerprint import fingerprint
from cloudburst.journal import lock, store
from cloudburst.journal.lock import holder
from cloudburst.journal.state import InFlight, RunState, Session
from cloudburst.journal.store import Journal, read
from cloudburst.models import (
    Artifact,
    Attempt,
    Basis,
    BatchResult,
    DownloadedVideo,
    Launch,
    Owner,
    Price,
    Rental,
    Rung,
    RunRecord,
    Span,
    UnfinishedWorker,
)
from cloudburst.runner.worker import render_loop, worker_run
from tests.support.fakes import (
    SCENE,
    FakeApi,
    FakeEngine,
    FakeTarget,
    a_record,
    fake_download,
    make_context,
    run_batch,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cloudburst.journal.store import Statement
    from cloudburst.runner.context import RunContext

RUNG = Rung("c5.2xlarge", "spot", "us-east-1", "us-east-1a")
PRICE = Price(0.34, "a test")
FAILED = Attempt("b01", Span("render", 1.0, 2.0), error="it broke")
DONE = Attempt("b01", Span("render", 1.0, 2.0), Span("download", 2.0, 3.0), bytes_sent=1234)
VIDEO = DownloadedVideo(
    Artifact(Path("s.mp4"), 9, 1.0, 64, 36, 30), "digest", "mark", "baseline", ()
)


def me() -> Owner:
    process = psutil.Process()
    return Owner(process.pid, process.create_time(), socket.gethostname())


def begun(folder: Path) -> Journal:
    """Hold a journal in which a session has begun."""
    held = Journal(folder)
    held.begin(a_record(held.folder))
    return held


def launched(held: Journal, stack: str = "run-b01", **more: Any) -> int:
    given: dict[str, Any] = {
        "batch": "b01",
        "label": "b01",
        "stack": stack,
        "target": "local",
        "rung": RUNG,
        "price": PRICE,
        "room": 2,
        "expires": None,
    }
    return held.launch(**{**given, **more})


def was(number: int) -> Launch:
    """Return what became of a launch from which one video was downloaded."""
    spans = (Span("up", 0.0, 1.0), Span("destroy", 5.0, 6.0))
    return Launch("b01", f"i-{number}", RUNG, PRICE, 1, spans, destroyed=True)


# -- write-ahead --------------------------------------------------------------------------------


def fake_apis(monkeypatch: pytest.MonkeyPatch, api: FakeApi) -> None:
    monkeypatch.setattr(worker_run, "VideoApi", lambda *_: api)
    monkeypatch.setattr(render_loop, "download", fake_download)


def test_what_is_written_is_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    with begun(tmp_path) as held:
        assert held._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert held._db.execute("PRAGMA synchronous").fetchone() == (2,), "FULL: synced at commit"


def test_a_stack_is_in_the_journal_before_the_engine_is_asked_for_it(tmp_path: Path) -> None:
    seen: list[tuple[str, str, Rung, str | None]] = []

    class Looking(FakeEngine):
        def up(self, stack: str, program: Any, begin: Any = lambda: None) -> dict[str, Any]:
            history = read(tmp_path)
            assert history is not None
            seen.extend((one.stack, one.state, one.rung, one.worker) for one in history.unfinished)
            return super().up(stack, program, begin)

    engine = Looking()
    target = FakeTarget(engine, rungs=(RUNG,))
    run_batch(make_context(engine, target, tmp_path))
    assert seen == [("run-b01", "creating", RUNG, None)]


def test_a_worker_is_in_the_journal_before_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str | None, str | None, str]] = []

    class Looking(FakeApi):
        def wait_healthy(self, timeout: float, stopped: Callable[[float], bool]) -> None:
            history = read(tmp_path)
            assert history is not None
            seen.extend((one.worker, one.endpoint, one.state) for one in history.unfinished)

    fake_apis(monkeypatch, Looking())
    engine = FakeEngine()
    run_batch(make_context(engine, FakeTarget(engine), tmp_path))
    assert seen == [("1", "http://127.0.0.1:9", "starting")]


def test_a_try_is_in_the_journal_before_the_worker_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str, str]] = []

    class Looking(FakeApi):
        def render(self, scene: Any, timeout: float) -> Any:
            history = read(tmp_path)
            assert history is not None
            seen.extend(
                (name, flight.worker, flight.fingerprint)
                for name, flight in history.inflight.items()
            )
            return super().render(scene, timeout)

    fake_apis(monkeypatch, Looking())
    engine = FakeEngine()
    context = make_context(engine, FakeTarget(engine), tmp_path)
    run_batch(context)
    assert seen == [("s", "b01", fingerprint(SCENE, "test"))]
    history = read(tmp_path)
    assert history is not None
    assert (history.inflight, history.unfinished) == ({}, ()), "and afterwards it is all noted"
    assert history.videos["s"].sha256 == "the digest"


def fail_from(monkeypatch: pytest.MonkeyPatch, words: str) -> list[str]:
    """Make every note fail from the first one of a kind on; return the notes that failed."""
    failed: list[str] = []
    write = Journal._write

    def full(held: Journal, rows: Sequence[Statement]) -> int:
        if failed or any(words in statement for statement, _ in rows):
            failed.append(rows[-1][0])
            raise sqlite3.OperationalError("database or disk is full")
        return write(held, rows)

    monkeypatch.setattr(Journal, "_write", full)
    return failed


def ends_the_run(context: RunContext) -> list[str]:
    """Let a journal that fails end the run, as a run does; return how often it has."""
    told: list[str] = []

    def end() -> None:
        told.append("once")
        context.queue.stop()
        context.stop.end()

    context.journal.on_failure = end
    return told


def test_a_stack_that_cannot_be_noted_does_not_come_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_from(monkeypatch, "INTO launch")
    engine = FakeEngine()
    runner = run_batch(make_context(engine, FakeTarget(engine, rungs=(RUNG,)), tmp_path))
    assert engine.calls == []
    assert runner.destroyed
    assert "disk is full" in str(runner.error)
    assert len(runner.launches) == 1, "another try would go the same way"


def test_a_try_that_cannot_be_noted_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_from(monkeypatch, "INTO attempt")
    api = FakeApi()
    fake_apis(monkeypatch, api)
    engine = FakeEngine()
    context = make_context(engine, FakeTarget(engine), tmp_path)
    ends_the_run(context)
    runner = run_batch(context)
    assert api.asked == []
    assert engine.calls == ["up", "destroy"], "the worker is ended all the same"
    assert runner.destroyed
    assert context.results.all()[0].attempts == ()


def test_a_note_of_what_has_happened_does_not_hold_up_a_teardown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = fail_from(monkeypatch, "UPDATE launch SET worker")
    fake_apis(monkeypatch, FakeApi())
    engine = FakeEngine()
    context = make_context(engine, FakeTarget(engine), tmp_path)
    told = ends_the_run(context)
    runner = run_batch(context)
    assert engine.calls == ["up", "destroy"]
    assert runner.destroyed
    assert told == ["once"]
    assert any("destroyed = :destroyed" in note for note in failed), "it was tried to the end"


# -- a full disk --------------------------------------------------------------------------------


def test_on_a_full_disk_nothing_begins_and_what_ends_is_noted_when_there_is_room(
    tmp_path: Path,
) -> None:
    told: list[str] = []
    with begun(tmp_path) as held:
        held.on_failure = lambda: told.append(str(held.failure))
        number = launched(held)
        (pages,) = held._db.execute("PRAGMA page_count").fetchone()
        held._db.execute(f"PRAGMA max_page_count = {pages}")
        words = r"journal\.db cannot be written: database or disk is full$"
        with pytest.raises(JournalFailed, match=words):
            held.attempt("s", "b01", "x" * 10_000, 1.0)
        held.gone("run-b01", "y" * 10_000)  # raises nothing
        with pytest.raises(JournalFailed, match=words):
            held.attempt("s", "b01", "short", 1.0)
        assert told == [str(held.failure)], "it is told once"
        history = held.state()
        assert (history.inflight, history.attempts) == ({}, {})
        assert [one.number for one in history.unfinished] == [number]

        held._db.execute("PRAGMA max_page_count = 1000000")
        held.gone("run-b01", "its run was killed")
        assert held.state().unfinished == ()
        with pytest.raises(JournalFailed, match=words):
            launched(held, "run-b02")
        assert len(held.state().batches) == 1, "a run that has failed begins nothing more"


# A real limit of the system, in a process of its own: so many bytes more, then no more.
LIMITED = """
import json, resource, sys
from pathlib import Path
from cloudburst.errors import JournalFailed
from cloudburst.journal.store import Journal
from cloudburst.models import Rung, RunRecord
folder, told, count = Path(sys.argv[1]), [], 0
with Journal(folder) as held:
    held.begin(RunRecord("run", "job", "/scenes.yaml", str(folder), "local", "2026-11-24"))
    held.on_failure = lambda: told.append(1)
    more = {"rung": Rung("t", "spot", "r", "z"), "price": None, "room": 1, "expires": None}
    held.launch(batch="b01", label="b01", stack="run-b01", target="local", **more)
    most = max(path.stat().st_size for path in folder.iterdir()) + 40_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    try:
        while True:
            held.attempt(f"s{count}", "b01", "x" * 1000, 1.0)
            count += 1
    except JournalFailed as error:
        why = str(error)
    held.gone("run-b01", "while it is full")
    still_open = len(held.state().unfinished)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    held.gone("run-b01", "with room again")
    print(json.dumps([why, len(told), count, still_open]))
"""


def test_a_file_that_may_not_grow_is_told_and_what_was_written_stays(tmp_path: Path) -> None:
    output = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], check=True, capture_output=True, text=True
    ).stdout
    why, told, count, still_open = json.loads(output)
    assert why.startswith(f"{tmp_path / store.NAME} cannot be written: ")
    assert (told, still_open) == (1, 1)
    assert count > 5
    history = read(tmp_path)
    assert history is not None
    assert sorted(history.inflight) == sorted(f"s{number}" for number in range(count))
    assert history.unfinished == ()
    assert history.batches[0].launches[0].error == "with room again"


# -- the round trip -----------------------------------------------------------------------------

words = st.text(max_size=20)
number = st.floats(allow_nan=False, allow_infinity=False)
count = st.integers(0, 2**62)
rung = st.builds(Rung, words, st.sampled_from(["spot", "on-demand"]), words, words)
price = st.builds(Price, number, words)
span = st.builds(Span, words, number, number)
spans = st.lists(span, max_size=3).map(tuple)
maybe = st.none()


@st.composite
def launches(draw: st.DrawFn) -> tuple[str, dict[str, Any], Launch, UnfinishedWorker]:
    """Draw how a launch began, and what a journal should say of it in the end."""
    has_worker, has_ended = draw(st.booleans()), draw(st.booleans())
    given: dict[str, Any] = {
        "label": draw(words),
        "rung": draw(rung),
        "price": draw(maybe | price),
        "target": draw(st.sampled_from(["local", "aws"])),
        "room": draw(st.integers(1, 64)),
        "expires": draw(maybe | number),
    }
    result = Launch(
        label=given["label"],
        worker=draw(words) if has_worker else None,
        rung=given["rung"],
        price=given["price"],
        scenes_done=draw(count) if has_ended else 0,
        spans=draw(spans),
        destroyed=has_ended and draw(st.booleans()),
        expires=draw(maybe | number) if has_worker else given["expires"],
        code=draw(maybe | words) if has_ended else None,
        error=draw(maybe | words) if has_ended else None,
        target=given["target"],
        bytes_sent=draw(st.integers(0, 2**40)),
    )
    left = UnfinishedWorker(
        number=0,
        batch="",
        label=given["label"],
        stack="",
        rung=given["rung"],
        price=given["price"],
        began=0.0,
        expires=result.expires,
        worker=result.worker,
        endpoint=draw(words) if has_worker else None,
        room=given["room"],
        state=draw(words),
        spans=result.spans,
        target=given["target"],
    )
    return "ended" if has_ended else "going on", given, result, left


@st.composite
def attempts(draw: st.DrawFn) -> Attempt:
    began, end = draw(number), draw(number)
    # Not a launch's label: whose videos a journal counts has a test of its own.
    worker = f"worker {draw(words)}"
    if draw(st.booleans()):
        return Attempt(worker, Span("render", began, end), error=draw(words))
    return Attempt(worker, Span("render", began, end), Span("download", end, draw(number)))


artifacts = st.builds(Artifact, words.map(Path), count, number, count, count, count)
downloaded = st.builds(
    DownloadedVideo, artifacts, words, words, words, st.lists(words, max_size=3).map(tuple)
)
bases = st.sampled_from(Basis)
# The journal keeps no regions: those are in its launches, and in this machine's registry.
records = st.builds(
    RunRecord,
    run_id=words,
    job=words,
    source=words,
    folder=words,
    target=words,
    began=words,
    regions=st.just(()),
    max_cost_usd=maybe | number,
    scenes=st.lists(st.tuples(words, number), max_size=3).map(tuple),
)
rentals = st.builds(
    Rental,
    stack=words,
    machine=st.text(min_size=1, max_size=20),
    rung=rung,
    price=price,
    basis=bases,
    since=number,
    until=maybe | number,
    expires=number,
    disk_gb=count,
    disk_rate=number,
    disk_basis=bases,
    surplus=number,
)


def write_launch(
    held: Journal, batch: str, stack: str, drawn: Any
) -> tuple[Launch, UnfinishedWorker]:
    how, given, result, left = drawn
    number = held.launch(batch=batch, stack=stack, **given)
    if result.worker is not None:
        held.worker(number, result.worker, left.endpoint, result.expires)
    held.progress(number, left.state, result.spans, result.bytes_sent)
    # A session that takes it over sends nothing.
    held.progress(number, left.state, result.spans, 0)
    if how == "ended":
        held.ended(number, result, left.state)
    return result, replace(left, number=number, batch=batch, stack=stack)


@settings(max_examples=30)
@given(
    record=records,
    batches=st.lists(st.lists(launches(), min_size=1, max_size=2), max_size=3),
    tries=st.dictionaries(words, st.lists(attempts(), min_size=1, max_size=3), max_size=3),
    marks=st.dictionaries(words, words, max_size=2),
    videos=st.dictionaries(words, downloaded, max_size=2),
    rented=st.lists(rentals, max_size=3, unique_by=lambda one: (one.stack, one.machine)),
    outcome=maybe | words,
    seconds=st.floats(0, 1e9),
)
def test_every_value_comes_back(
    record: RunRecord,
    batches: list[list[Any]],
    tries: dict[str, list[Attempt]],
    marks: dict[str, str],
    videos: dict[str, DownloadedVideo],
    rented: list[Rental],
    outcome: str | None,
    seconds: float,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inflight: dict[str, InFlight] = {}
        results: list[BatchResult] = []
        left: list[UnfinishedWorker] = []
        with Journal(folder, lambda: seconds) as held:
            held.begin(record)
            for index, drawn in enumerate(batches, 1):
                label, stack = f"b{index:02d}", f"run-b{index:02d}"
                done = [write_launch(held, label, stack, one) for one in drawn]
                of_batch = tuple(result for result, _ in done)
                results.append(BatchResult(label, stack, of_batch, of_batch[-1].error))
                left += [one for result, one in done if not result.destroyed]
            for scene, made in tries.items():
                for one in made:
                    noted = held.attempt(scene, one.worker, "mark", one.span.start)
                    held.tried(noted, one)
            for scene, video in videos.items():
                noted = held.attempt(f"downloaded {scene}", "worker", "mark", 1.0)
                held.video(f"downloaded {scene}", noted, replace(DONE, worker="worker"), video)
            for scene, mark in marks.items():
                noted = held.attempt(f"in flight {scene}", "worker", mark, 2.5)
                inflight[f"in flight {scene}"] = InFlight(noted, "worker", 2.5, mark)
            for rental in rented:
                held.rental(rental)
            if outcome is not None:
                held.end(outcome)
            expected = RunState(
                record=record,
                owner=me(),
                outcome=outcome,
                seconds=seconds,
                batches=tuple(results),
                unfinished=tuple(left),
                attempts={scene: tuple(made) for scene, made in tries.items()}
                | {f"downloaded {scene}": (replace(DONE, worker="worker"),) for scene in videos},
                inflight=inflight,
                endless=tuple(inflight.items()),
                videos={f"downloaded {scene}": video for scene, video in videos.items()},
                rentals=tuple(rented),
                sessions=(Session(me(), 0.0, seconds, outcome),),
            )
            assert timeless(held.state()) == expected
            assert timeless(read(folder)) == expected, "also while it is held"
        assert timeless(read(folder)) == expected, "also afterwards"
        with Journal(folder) as again:
            assert timeless(again.state()) == expected


def timeless(history: RunState | None) -> RunState | None:
    """Leave out when sessions and launches began, by this machine's clock."""
    assert history is not None
    return replace(
        history,
        unfinished=tuple(replace(one, began=0.0) for one in history.unfinished),
        sessions=tuple(replace(one, began=0.0) for one in history.sessions),
    )


def test_text_that_no_file_can_hold_is_written_all_the_same(tmp_path: Path) -> None:
    # JSON may say "\ud800"; a worker's answer with it must not end the run.
    with begun(tmp_path) as held:
        number = held.attempt("s", "b01", "mark", 1.0)
        held.tried(number, replace(FAILED, error="it \ud800 broke"))
        assert held.failure is None
        assert [one.error for one in held.state().attempts["s"]] == ["it \\ud800 broke"]


def test_when_a_launch_began_is_told_by_the_clock(tmp_path: Path) -> None:
    with begun(tmp_path) as held:
        launched(held)
        (one,) = held.state().unfinished
        assert abs(one.began - time.time()) < 5


def test_sessions_follow_each_other(tmp_path: Path) -> None:
    clock = [3.0]
    with Journal(tmp_path, lambda: clock[0]) as held:
        held.begin(a_record(Path("/here")))
        held.attempt("s", "b01", "mark", 1.0)
        clock[0] = 5.0
        held.end("interrupted")
    clock[0] = 6.0
    with Journal(tmp_path, lambda: clock[0]) as held:
        before = held.state()
        assert (before.outcome, before.seconds) == ("interrupted", 5.0)
        held.begin(a_record(Path("/there")))
        now = held.state()
        assert now.record == a_record(Path("/there"))
        assert (now.outcome, now.seconds) == (None, 6.0), "this one has not come to its end"
        clock[0] = 8.5
        number = held.attempt("s", "b02", "mark", 7.0)
        assert held.state().seconds == 8.5
        assert held.state().inflight["s"].number == number, "the last try is what counts"
        held.tried(number, replace(FAILED, worker="b02"))
        assert held.state().inflight == {}


def test_an_end_may_be_noted_for_a_session_that_could_not(tmp_path: Path) -> None:
    begun(tmp_path).__exit__(None, None, None)
    with Journal(tmp_path) as held:
        held.end("interrupted")
    history = read(tmp_path)
    assert history is not None
    assert history.outcome == "interrupted"


def test_what_is_gone_is_no_longer_open_and_keeps_its_own_reason(tmp_path: Path) -> None:
    with begun(tmp_path) as held:
        launched(held)
        number = launched(held, "run-b02", batch="b02", label="b02")
        failed = replace(was(2), destroyed=False, error="it fell", scenes_done=0)
        held.ended(number, failed, "left running")
        launched(held, "run-b03", batch="b03", label="b03")
        held.gone("run-b01", "its run was killed")
        held.gone("run-b02", "its run was killed")
        history = held.state()
        assert [one.stack for one in history.unfinished] == ["run-b03"]
        told = [(batch.error, batch.destroyed) for batch in history.batches]
        assert told == [("its run was killed", True), ("it fell", True), (None, False)]
        assert history.highest_batch == 3


def test_a_session_that_was_killed_is_given_the_videos_it_downloaded(tmp_path: Path) -> None:
    with begun(tmp_path) as held:
        held.ended(launched(held), replace(was(1), scenes_done=0), "gone")
        launched(held)
        for scene in "abc":
            number = held.attempt(scene, "b01", "mark", 1.0)
            if scene == "c":
                held.tried(number, FAILED)
            else:
                held.video(scene, number, DONE, VIDEO)
        (batch,) = held.state().batches
        # Of two launches with one label only the last can have been a worker.
        assert [one.scenes_done for one in batch.launches] == [0, 2]


def test_a_machine_that_was_asked_for_makes_room_for_the_one_that_came(tmp_path: Path) -> None:
    asked = Rental("s", "", RUNG, PRICE, Basis.SPOT, 1.0, None, 9.0, 30, 0.1, Basis.LIST, 0.0)
    with begun(tmp_path) as held:
        held.rental(asked)
        held.rental(replace(asked, stack="other"))
        assert held.state().rentals == (asked, replace(asked, stack="other"))
        held.rental(replace(asked, machine="i-1"))
        held.rental(replace(asked, machine="i-1", until=5.0))
        rentals = {(one.stack, one.machine): one.until for one in held.state().rentals}
        assert rentals == {("s", "i-1"): 5.0, ("other", ""): None}
        held.rental(replace(asked, stack="other", until=1.0))
        assert [one.machine for one in held.state().rentals] == ["i-1"], "it never came to be"
        held.rental(asked)
        held.rental(replace(asked, machine="i-1", until=6.0))
        assert [one.machine for one in held.state().rentals] == ["", "i-1"], "it may still come"


def test_several_threads_may_write_at_once(tmp_path: Path) -> None:
    with begun(tmp_path) as held, ThreadPoolExecutor(8) as pool:
        numbers = list(
            pool.map(lambda name: held.attempt(f"s{name}", "b01", "mark", 1.0), range(100))
        )
        assert len(set(numbers)) == 100
        inflight = held.state().inflight
        assert {inflight[f"s{name}"].number: name for name in range(100)} == {
            number: name for name, number in enumerate(numbers)
        }


# -- one writer ---------------------------------------------------------------------------------


def test_a_second_writer_is_refused_and_told_who_is_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_PASSING_SECONDS", 0.01)
    with begun(tmp_path):
        words = f"is in use by process {os.getpid()} on {socket.gethostname()}; nothing was started"
        with pytest.raises(RunBusy, match=words):
            Journal(tmp_path)
        with pytest.raises(RunBusy, match=words), lock.holding(tmp_path):
            pytest.fail("it was held twice")
        assert holder(tmp_path) == me()
        assert read(tmp_path) is not None, "anybody may read"
    assert holder(tmp_path) is None
    with Journal(tmp_path):
        pass


def test_who_only_looks_for_a_moment_keeps_nobody_out(tmp_path: Path) -> None:
    with (tmp_path / lock.NAME).open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_EX)
        threading.Timer(0.05, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        with Journal(tmp_path):
            pass


def test_what_is_not_there_is_held_by_nobody(tmp_path: Path) -> None:
    assert holder(tmp_path / "none") is None
    assert holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing behind"
    (tmp_path / lock.NAME).mkdir()
    assert holder(tmp_path) is None, "nobody can hold that"
    with pytest.raises(JournalFailed, match="cannot be written: No such file"):
        Journal(tmp_path / "none")


def test_a_lock_without_its_owner_in_it_still_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_PASSING_SECONDS", 0.01)
    with begun(tmp_path):
        for damaged in ("", "{", "[1]", '{"pid": 1}'):
            (tmp_path / lock.NAME).write_text(damaged)
            owner = holder(tmp_path)
            assert owner is not None
            assert owner.host == "an unknown host", "somebody holds it, and nobody can say who"
            with pytest.raises(RunBusy, match="in use by another process"):
                Journal(tmp_path)


@contextlib.contextmanager
def child(program: str, *given: str) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program in a process of its own, which does not outlive the test."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *given], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


# Notes one try after the other, each told when it is noted; its own child must not hold its lock.
WRITING = """
import subprocess, sys
from pathlib import Path
from cloudburst.journal.store import Journal
from cloudburst.models import RunRecord
held = Journal(Path(sys.argv[1]))
held.begin(RunRecord("run", "job", "/scenes.yaml", sys.argv[1], "local", "2026-11-24"))
own = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
print(own.pid, flush=True)
number = 0
while True:
    number += 1
    held.attempt(f"s{number}", "b01", "x" * 200, 1.0)
    print(number, flush=True)
"""


@pytest.mark.parametrize("tries", [1, 40, 300])
def test_a_writer_that_is_killed_leaves_what_it_has_told_and_no_lock(
    tmp_path: Path, tries: int
) -> None:
    with child(WRITING, str(tmp_path)) as process:
        assert process.stdout is not None
        beside = int(process.stdout.readline())
        try:
            told = 0
            while told < tries:
                told = int(process.stdout.readline())
            with pytest.raises(RunBusy, match=f"in use by process {process.pid} on "):
                Journal(tmp_path)
            owner = holder(tmp_path)
            assert owner is not None
            assert owner.pid == process.pid
            process.send_signal(signal.SIGKILL)
            process.wait()
            told = max([told, *(int(line) for line in process.stdout if line.endswith("\n"))])
            assert psutil.pid_exists(beside), "what it had started lives on, without its lock"
            assert holder(tmp_path) is None
            history = read(tmp_path)
            assert history is not None
            assert history.owner == owner
            # The last note may have been written and not told.
            assert [f"s{number}" for number in range(1, told + 1)] == list(history.inflight)[:told]
            assert len(history.inflight) <= told + 1
            with Journal(tmp_path) as again:
                again.begin(a_record(again.folder))
                assert again._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                assert again.attempt("next", "b01", "mark", 1.0) == len(history.inflight) + 1
        finally:
            os.kill(beside, signal.SIGKILL)


def test_another_process_is_refused_too(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from cloudburst.errors import RunBusy
from cloudburst.journal.store import Journal
try:
    Journal(Path(sys.argv[1]))
except RunBusy as error:
    print(error)
"""
    with begun(tmp_path), child(program, str(tmp_path)) as process:
        said, _ = process.communicate(timeout=30)
    assert f"{tmp_path} is in use by process {os.getpid()} on " in said


def test_an_owner_is_named_by_its_number_and_its_machine() -> None:
    assert str(Owner(7, 1.0, "elsewhere")) == "process 7 on elsewhere"


# -- reading ------------------------------------------------------------------------------------


def test_without_a_journal_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    assert read(tmp_path / "none") is None
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing behind"


def test_a_journal_that_was_only_just_begun_says_nothing(tmp_path: Path) -> None:
    (tmp_path / store.NAME).touch()
    assert read(tmp_path) is None
    with contextlib.closing(sqlite3.connect(tmp_path / store.NAME)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    assert read(tmp_path) is None
    with Journal(tmp_path) as held:
        assert held.state() == RunState(None, None, None, 0.0)
    assert read(tmp_path) == RunState(None, None, None, 0.0)


@pytest.mark.parametrize("garbage", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_garbage_is_told_and_holds_nobody_up(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / store.NAME).write_bytes(garbage)
    with pytest.raises(JournalFailed, match=r"journal\.db cannot be read: "):
        read(tmp_path)
    for _ in range(2):
        with pytest.raises(JournalFailed, match=r"journal\.db cannot be written: "):
            Journal(tmp_path)
    assert holder(tmp_path) is None


def whole_journal() -> bytes:
    """Return the file of a journal with something of everything in it."""
    with tempfile.TemporaryDirectory() as name:
        with begun(Path(name)) as held:
            held.ended(launched(held), was(1), "gone")
            held.rental(
                Rental("s", "i", RUNG, PRICE, Basis.SPOT, 1.0, None, 9.0, 3, 0.1, Basis.LIST, 0.0)
            )
            held.video("s", held.attempt("s", "b01", "mark", 1.0), DONE, VIDEO)
        return (Path(name) / store.NAME).read_bytes()


WHOLE = whole_journal()
# Where something is written; the rest of its pages is empty.
WRITTEN = [place for place, byte in enumerate(WHOLE) if byte]


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(WRITTEN), st.integers(0, 255), min_size=1, max_size=20))
def test_a_damaged_journal_is_read_or_told(damage: dict[int, int]) -> None:
    damaged = bytearray(WHOLE)
    for place, byte in damage.items():
        damaged[place] = byte
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / store.NAME).write_bytes(bytes(damaged))
        with contextlib.suppress(JournalFailed):
            read(Path(name))


def test_a_reader_sees_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A video is downloaded between a reader's look at the tries and its look at the videos.
    with begun(tmp_path) as held:
        number = held.attempt("s", "b01", "mark", 1.0)
        read_state = store._read_state

        def meanwhile(statement: str) -> None:
            if "FROM artifact" in statement:
                held.video("s", number, DONE, VIDEO)

        def slowly(db: sqlite3.Connection) -> RunState:
            db.set_trace_callback(meanwhile)
            return read_state(db)

        monkeypatch.setattr(store, "_read_state", slowly)
        seen = read(tmp_path)
        assert seen is not None
        assert (list(seen.inflight), list(seen.videos)) == (["s"], []), "on its way, not downloaded"
        monkeypatch.undo()
        now = held.state()
        assert (list(now.inflight), list(now.videos)) == ([], ["s"])
