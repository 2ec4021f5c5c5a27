"""What an earlier session has left: taken over if it still works, ended if not."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.errors import EngineError, WorkerUnreachable
from cloudburst.journal.state import KILLED
from cloudburst.models import (
    Batch,
    BatchResult,
    Condition,
    Event,
    EventKind,
    Health,
    Launch,
    Price,
    Rung,
    Span,
    Worker,
    WorkerSpec,
)
from cloudburst.runner.batch import BatchRunner
from cloudburst.runner.events import Timeline
from cloudburst.runner.worker import render_loop, takeover, worker_run
from cloudburst.runner.worker.takeover import EarlierWorkers
from cloudburst.runner.worker.worker_run import AdoptedWorker, clock_time
from tests.support.fakes import (
    SCENE,
    FakeApi,
    FakeEngine,
    FakeTarget,
    cloud_refused,
    fake_download,
    make_context,
    on_local,
)
from tests.support.patience import SOON

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.models import UnfinishedWorker

RUNG = Rung("c5.2xlarge", "spot", "us-east-1", "us-east-1a")
UP = Span("up", 1.0, 2.0)


@dataclass
class Adopting(FakeTarget):
    """A target that gives workers of earlier sessions back, but for those of some stacks."""

    refuses: dict[str, Exception | None] = field(default_factory=dict)
    asked: list[tuple[WorkerSpec, UnfinishedWorker]] = field(default_factory=list)

    def adopt(self, spec: WorkerSpec, launch: Any) -> Worker | None:
        self.asked.append((spec, launch))
        if spec.stack in self.refuses:
            error = self.refuses[spec.stack]
            if error is not None:
                raise error
            return None
        return Worker(spec.stack, launch.worker, launch.endpoint, spec.key, launch.room)


class Later:
    """A session that finds what an earlier one has left."""

    def __init__(self, folder: Path) -> None:
        self.engine = FakeEngine()
        self.target = Adopting(self.engine, rungs=(RUNG,))
        self.events: list[Event] = []
        timeline = Timeline(self.events.append, lambda: None)
        self.context = replace(make_context(self.engine, self.target, folder), timeline=timeline)
        self.journal = self.context.journal

    def was_left(self, batch: str, worker: str | None = "i-1", label: str = "") -> int:
        more: dict[str, Any] = {
            "rung": RUNG,
            "price": Price(0.4, ""),
            "room": 3,
            "expires": 9e9,
            "target": "local",
        }
        number = self.journal.launch(
            batch=batch, label=label or batch, stack=f"run-{batch}", **more
        )
        if worker is not None:
            self.journal.worker(number, worker, f"http://{batch}", 9e9)
        self.journal.progress(number, "working", [UP])
        return number

    def found(self, wanted: int = 0) -> EarlierWorkers:
        return EarlierWorkers(self.journal.state(), self.context, {"local": wanted})

    def told(self) -> list[tuple[str, object]]:
        self.context.timeline.close()
        assert {event.kind for event in self.events} <= {EventKind.RECOVERY}
        return [(event.text, event.data["stack"]) for event in self.events]


@pytest.fixture
def later(tmp_path: Path) -> Later:
    return Later(tmp_path)


@pytest.fixture(autouse=True)
def apis(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeApi]:
    """Return the video API of each endpoint; without one that a test puts here, a healthy one."""
    made: dict[str, FakeApi] = {}

    def make(worker: Worker, *_: object) -> FakeApi:
        return made.setdefault(worker.endpoint, FakeApi())

    monkeypatch.setattr(takeover, "VideoApi", make)
    monkeypatch.setattr(worker_run, "VideoApi", make)
    monkeypatch.setattr(render_loop, "download", fake_download)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    return made


# -- taking over --------------------------------------------------------------------------------


def test_a_worker_that_still_works_is_taken_over(later: Later, tmp_path: Path) -> None:
    later.was_left("b02", "i-2")
    (mine,) = later.found(1).adopted
    (one,) = later.journal.state().unfinished
    assert mine == AdoptedWorker(one, Worker("run-b02", "i-2", "http://b02", "the key", 3))
    ((spec, asked),) = later.target.asked
    assert asked == one
    assert (spec.run_id, spec.batch, spec.rung, spec.room) == ("run", "b02", RUNG, 3)
    assert (spec.key, spec.log) == ("the key", tmp_path / "logs" / "b02.log")
    assert later.told() == [("going on with i-2, which still works", "run-b02")]
    assert later.engine.calls == [], "nothing is touched"


@pytest.mark.parametrize("answers", [True, False])
def test_what_the_killed_session_has_sent_is_ended_before_a_machine_is_taken_over(
    later: Later, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    asked: list[str] = []

    class Agent(FakeApi):
        def healthy(self, *_: float) -> str | None:
            asked.append("health")
            return None

        def forget(self) -> None:
            asked.append("forget")
            if not answers:
                raise WorkerUnreachable("DELETE /jobs: connection reset")

    def adopt(spec: WorkerSpec, launch: Any) -> Worker:
        return Worker(spec.stack, launch.worker, launch.endpoint, spec.key, 1, certificate="PEM")

    monkeypatch.setattr(takeover, "AgentApi", lambda _: Agent())
    later.target.adopt = adopt  # type: ignore[method-assign]
    later.was_left("b01", "i-1")
    found = later.found(1)
    assert asked == ["health", "forget"]
    assert [mine.worker.id for mine in found.adopted] == (["i-1"] if answers else [])


def test_no_more_workers_are_taken_over_than_are_wanted(later: Later) -> None:
    for number in range(1, 5):
        later.was_left(f"b0{number}", f"i-{number}")
    later.target.refuses["run-b02"] = None
    found = later.found(2)
    assert [mine.worker.id for mine in found.adopted] == ["i-1", "i-3"]
    assert [thread.name for thread in found.threads()] == ["run-b02", "run-b04"]


def test_where_none_is_wanted_none_is_taken_over(later: Later) -> None:
    later.was_left("b01")
    found = later.found(0)
    assert found.adopted == []
    assert [thread.name for thread in found.threads()] == ["run-b01"]


@pytest.mark.parametrize(
    "why",
    ["no worker", "no outputs", "no key", "not the run's", "cannot be asked", "not healthy"],
)
def test_what_does_not_work_any_more_is_not_taken_over(
    later: Later, apis: dict[str, FakeApi], monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    later.was_left("b01", None if why == "no worker" else "i-1")

    def outputs(stack: str) -> dict[str, Any]:
        if why == "no outputs":
            raise EngineError(f"no stack {stack}")
        return {} if why == "no key" else {"key": "the key"}

    monkeypatch.setattr(later.engine, "outputs", outputs)
    if why == "not the run's":
        later.target.refuses["run-b01"] = None
    if why == "cannot be asked":
        later.target.refuses["run-b01"] = cloud_refused("DescribeInstances: no answer")
    if why == "not healthy":
        apis["http://b01"] = FakeApi(sick="connection refused")
    found = later.found(5)
    assert found.adopted == []
    assert [thread.name for thread in found.threads()] == ["run-b01"], "so it is ended"


def runner_of(later: Later, found: EarlierWorkers) -> BatchRunner:
    """Run the batch that goes on with what was adopted."""
    (mine,) = found.adopted
    batch = Batch(int(mine.launch.batch[1:]), (SCENE,))
    later.context.queue.add([batch])
    before = found.launches_before(mine)
    runner = BatchRunner(batch, 1, later.context, on_local(later.context), mine, before)
    runner.run()
    return runner


def test_a_batch_goes_on_with_the_worker_that_was_taken_over(later: Later) -> None:
    number = later.was_left("b01", "i-7")
    runner = runner_of(later, later.found(1))
    assert later.engine.calls == ["destroy"], "nothing new is made"
    assert runner.error is None
    (one,) = runner.result().launches
    assert (one.label, one.worker, one.rung, one.price) == ("b01", "i-7", RUNG, Price(0.4, ""))
    assert (one.scenes_done, one.destroyed) == (1, True)
    assert one.spans[0] == UP, "what it was through before is in its tale"
    assert [span.phase for span in one.spans] == ["up", "health", "drive", "destroy"]
    history = later.journal.state()
    assert history.unfinished == ()
    assert [len(batch.launches) for batch in history.batches] == [1], "one worker, one note"
    assert history.batches[0].launches[0].destroyed
    assert number == 1


def test_a_worker_that_was_taken_over_and_is_lost_is_replaced(
    later: Later, apis: dict[str, FakeApi], monkeypatch: pytest.MonkeyPatch
) -> None:
    later.was_left("b01", "i-7", "b01.2")
    api = apis["http://b01"] = FakeApi([WorkerUnreachable("POST: reset")])
    monkeypatch.setattr(api, "healthy", lambda *_: "refused" if api.asked else None)
    gone = Condition(Health.GONE, "Server.SpotInstanceTermination: wanted back", blameless=True)
    later.target.conditions.append(gone)
    runner = runner_of(later, later.found(1))
    assert [one.label for one in runner.result().launches] == ["b01.2", "b01.3"]
    assert later.engine.calls == ["destroy", "up", "destroy"]
    assert runner.error is None
    assert later.journal.state().unfinished == ()


def test_launches_before_the_one_that_was_taken_over_are_kept(later: Later) -> None:
    gone = later.was_left("b01", "i-1")
    result = Launch("b01", "i-1", RUNG, None, 2, (UP,), destroyed=True, error="it fell")
    later.journal.ended(gone, result, "gone")
    later.was_left("b01", "i-2", "b01.2")
    runner = runner_of(later, later.found(1))
    first, second = runner.result().launches
    assert (first.label, first.scenes_done, first.error) == ("b01", 2, "it fell")
    assert (second.label, second.worker) == ("b01.2", "i-2")


# -- ending -------------------------------------------------------------------------------------


def end_all(found: EarlierWorkers) -> None:
    for thread in found.threads():
        thread.start()
        thread.join(SOON)
        assert not thread.is_alive()


def test_what_was_not_taken_over_is_ended_and_noted(later: Later) -> None:
    later.was_left("b01")
    later.target.running.append("i-1")
    found = later.found()
    end_all(found)
    assert later.engine.calls == ["end owners", "sweep", "refresh", "destroy", "remove"]
    assert later.target.running == []
    assert found.remaining == []
    assert later.journal.state().unfinished == ()
    assert later.told() == [
        ("ending what b01 of an earlier session has left", "run-b01"),
        ("nothing is left of run-b01", "run-b01"),
    ]


def test_each_stack_is_ended_once(later: Later) -> None:
    later.was_left("b01", None)
    later.was_left("b01", "i-2")
    later.was_left("b02", "i-3")
    threads = later.found().threads()
    assert [(thread.name, thread.daemon) for thread in threads] == [
        ("run-b01", True),
        ("run-b02", True),
    ]


def test_what_cannot_be_verified_as_gone_is_told_with_its_removal(later: Later) -> None:
    later.was_left("b01")
    later.target.running.append("i-1")
    later.target.stubborn = True
    found = later.found()
    end_all(found)
    (launch,) = later.journal.state().unfinished
    assert launch.expires is not None
    (line,) = found.remaining
    removal, _, end = line.partition("; if nobody removes it, it ends itself at ")
    assert removal == "run-b01: i-1; remove it with: cloudburst cleanup run, or: remove run-b01"
    assert end == clock_time(launch.expires)
    assert [one.stack for one in later.journal.state().unfinished] == ["run-b01"]
    (batch,) = found.batches(())
    assert not batch.destroyed


def test_what_was_not_waited_for_is_not_called_gone(
    later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slowly(*_: object, **__: object) -> str:
        go_on.wait(SOON)
        return ""

    monkeypatch.setattr(takeover, "recover", slowly)
    later.was_left("b01")
    found = later.found()
    (thread,) = found.threads()
    thread.start()
    (line,) = found.remaining
    assert line.startswith("run-b01: its end was not waited for; remove it with: cloudburst ")
    (batch,) = found.batches(())
    assert not batch.destroyed
    go_on.set()
    thread.join(SOON)
    assert found.remaining == []
    (batch,) = found.batches(())
    assert batch.destroyed


def test_in_a_hurry_nobody_waits_for_a_provider_that_cannot_be_reached(later: Later) -> None:
    away = EngineError("request send failed: dial tcp: lookup ec2: no such host")
    later.engine.destroy_errors = [away] * 100
    later.was_left("b01")
    later.context.stop.request()
    later.context.stop.request()
    found = later.found()
    began = time.monotonic()
    end_all(found)
    assert time.monotonic() - began < SOON
    assert "no such host" in found.remaining[0]
    assert any("destroying the stack, again" in text for text, _ in later.told())


# -- for the report -----------------------------------------------------------------------------


def test_batches_of_earlier_sessions_are_told_as_they_are_now(later: Later) -> None:
    done = later.was_left("b01")
    later.journal.ended(done, Launch("b01", "i-1", RUNG, None, 2, (UP,), destroyed=True), "gone")
    later.was_left("b02")
    later.was_left("b03", "i-3")
    later.was_left("b04")
    later.target.refuses = {"run-b02": None, "run-b04": None}
    found = later.found(1)
    (mine,) = found.adopted
    assert mine.launch.stack == "run-b03"
    threads = {thread.name: thread for thread in found.threads()}
    threads["run-b02"].run()
    told = {batch.label: batch for batch in found.batches({mine.launch.stack})}
    assert list(told) == ["b01", "b02", "b04"], "what goes on is told by itself"
    assert (told["b01"].error, told["b01"].destroyed) == (None, True)
    assert (told["b02"].error, told["b02"].destroyed) == (KILLED, True)
    assert told["b02"].launches[0].error == KILLED
    assert (told["b04"].error, told["b04"].destroyed) == (None, False)


def test_an_end_of_its_own_is_not_told_as_a_kill(later: Later) -> None:
    number = later.was_left("b01")
    fell = Launch("b01", "i-1", RUNG, None, 0, (UP,), destroyed=False, error="it fell")
    later.journal.ended(number, fell, "left running")
    found = later.found()
    end_all(found)
    assert found.batches(()) == (
        BatchResult(
            "b01",
            "run-b01",
            (replace(fell, destroyed=True, price=Price(0.4, ""), expires=9e9),),
            "it fell",
        ),
    )
