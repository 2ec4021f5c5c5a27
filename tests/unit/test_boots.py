"""A machine that cannot boot: what that means for its batch, and for the others."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.errors import WorkerUnhealthy
from cloudburst.models import Condition, EventKind, Rung, Worker, WorkerState
from cloudburst.runner.batch import BOOTS
from cloudburst.runner.events import Timeline
from cloudburst.runner.worker import render_loop, worker_run
from cloudburst.targets import boots
from cloudburst.workers.agent import Boot
from tests.support.clouds import until
from tests.support.fakes import (
    FakeApi,
    FakeEngine,
    FakeTarget,
    fake_download,
    make_context,
    run_batch,
)
from tests.support.patience import SOON

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cloudburst.models import Event, WorkerSpec

A, B = (Rung("c5.2xlarge", "on-demand", "us-east-1", zone) for zone in ("us-east-1a", "us-east-1b"))


class FakeAgent(FakeApi):
    """An agent whose boots end as configured: with a code, or well.

    Args:
        code: None for one that boots.
    """

    def __init__(self, code: str | None = None) -> None:
        super().__init__()
        self.code = code
        self.boot: Boot | None = None
        self.on_boot: Callable[[Boot], None] = lambda _: None
        self.written: list[str] = []
        self.sent = 0

    def wait_healthy(self, timeout: float, stopped: Callable[[float], bool]) -> None:
        for state in ("booting", "pulling"):
            self.boot = Boot(state, "me/mine:1")
            self.on_boot(self.boot)
        if self.code is not None:
            self.boot = Boot("failed", self.code)
            self.on_boot(self.boot)
            raise WorkerUnhealthy(f"docker's words ({self.code})", boots.refusal(self.code))

    def write_logs(self, folder: Path, label: str, seconds: float) -> None:
        self.written.append(label)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{label}.boot.log").write_text("the boot log")


class Machines(FakeTarget):
    """A target whose workers have agents."""

    def worker(self, spec: WorkerSpec, outputs: Mapping[str, Any]) -> Worker:
        return replace(super().worker(spec, outputs), certificate="a certificate")


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> list[FakeAgent]:
    """Give machines the agents that a test puts here, then ones that boot; return all made."""
    waiting: list[FakeAgent] = []

    def make(*_: object) -> FakeAgent:
        return waiting.pop(0) if waiting else FakeAgent()

    monkeypatch.setattr(worker_run, "AgentApi", make)
    monkeypatch.setattr(render_loop, "download", fake_download)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    return waiting


def machines() -> Machines:
    return Machines(FakeEngine(), rungs=(A, B))


@pytest.mark.parametrize("code", ["pull_failed", "docker_unavailable"])
def test_what_is_one_machines_alone_is_tried_on_another(
    tmp_path: Path, agents: list[FakeAgent], code: str
) -> None:
    agents.append(FakeAgent(code))
    target = machines()
    runner = run_batch(make_context(target.engine, target, tmp_path))
    assert target.launched == [A, A], "the rung is not closed by it"
    assert runner.error is None
    assert [launch.refusal.code for launch in runner.launches] == [code, None]


def test_but_not_for_ever(tmp_path: Path, agents: list[FakeAgent]) -> None:
    agents += [FakeAgent("pull_failed") for _ in range(BOOTS + 1)]
    target = machines()
    context = make_context(target.engine, target, tmp_path)
    runner = run_batch(context)
    assert target.launched == [A] * BOOTS
    assert runner.error is not None
    assert runner.error.startswith("docker's words (pull_failed) (check that machines in")
    assert not target.ladder.stopped, "others may fare better"


@pytest.mark.parametrize("code", ["image_not_found", "pull_refused", "wrong_architecture"])
def test_what_all_would_meet_stops_all(tmp_path: Path, agents: list[FakeAgent], code: str) -> None:
    agents += [FakeAgent(code), FakeAgent(code)]
    target = machines()
    context = make_context(target.engine, target, tmp_path)
    first, second = run_batch(context), run_batch(context)
    assert target.launched == [A]
    assert second.launches == []
    assert first.error == second.error
    assert first.error == f"docker's words ({code}) ({boots.refusal(code).advice})"


def test_no_other_is_launched_while_the_first_one_ends(
    tmp_path: Path, agents: list[FakeAgent]
) -> None:
    agents.append(FakeAgent("image_not_found"))
    target = machines()
    stopped: list[str] = []
    destroy = target.engine.destroy

    def note(*arguments: Any, **more: Any) -> Any:
        stopped.append(target.ladder.stopped)
        return destroy(*arguments, **more)

    target.engine.destroy = note  # type: ignore[method-assign]
    run_batch(make_context(target.engine, target, tmp_path))
    advice = boots.refusal("image_not_found").advice
    assert stopped == [f"docker's words (image_not_found) ({advice})"], "its end takes a minute"


def test_a_provider_that_does_not_answer_delays_no_news_of_a_machine(
    tmp_path: Path, agents: list[FakeAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_run, "WATCH_EVERY", 0.0)
    failing, told = FakeAgent("container_failed"), threading.Event()
    asked, answered = list[bool](), list[bool]()
    fail = failing.wait_healthy

    def wait_healthy(timeout: float, stopped: Callable[[float], bool]) -> None:
        until(lambda: not stopped(0.01) and asked)
        stopped(0.01)
        told.set()
        fail(timeout, stopped)

    def condition(_: Worker) -> Condition:
        asked.append(True)
        answered.append(told.wait(SOON))
        return Condition()

    failing.wait_healthy = wait_healthy  # type: ignore[method-assign]
    agents.append(failing)
    target = machines()
    target.condition = condition  # type: ignore[method-assign]
    run_batch(make_context(target.engine, target, tmp_path))
    until(lambda: answered)
    assert answered[0], "the machine was heard while AWS was silent"


@pytest.mark.parametrize("code", ["container_failed", "bundle_failed", "disk_full"])
def test_what_is_not_known_ends_the_batch_alone(
    tmp_path: Path, agents: list[FakeAgent], code: str
) -> None:
    agents.append(FakeAgent(code))
    target = machines()
    context = make_context(target.engine, target, tmp_path)
    first, second = run_batch(context), run_batch(context)
    assert first.error == f"docker's words ({code}) ({boots.refusal(code).advice})"
    assert second.error is None
    assert target.launched == [A, A]


def test_the_logs_of_a_machine_that_failed_are_kept_before_it_goes(
    tmp_path: Path, agents: list[FakeAgent]
) -> None:
    failing, fine = FakeAgent("container_failed"), FakeAgent()
    agents += [failing, fine]
    target = machines()
    context = make_context(target.engine, target, tmp_path)
    write = failing.write_logs

    def note(folder: Path, label: str, seconds: float) -> None:
        target.engine.calls.append("logs")
        write(folder, label, seconds)

    failing.write_logs = note  # type: ignore[method-assign]
    run_batch(context)
    assert target.engine.calls == ["up", "logs", "destroy"]
    assert (context.record.path / "logs/b01.boot.log").read_text() == "the boot log"
    run_batch(context)
    assert fine.written == [], "what went well needs no log"


def test_logs_that_cannot_be_had_keep_nobody_from_ending(
    tmp_path: Path, agents: list[FakeAgent]
) -> None:
    failing = FakeAgent("container_failed")
    agents.append(failing)
    target = machines()

    def broken(*_: object) -> None:
        raise OSError("no space left on device")

    failing.write_logs = broken  # type: ignore[method-assign]
    runner = run_batch(make_context(target.engine, target, tmp_path))
    assert runner.destroyed


def test_each_state_of_a_boot_is_an_event(tmp_path: Path, agents: list[FakeAgent]) -> None:
    events: list[Event] = []
    target = machines()
    context = make_context(target.engine, target, tmp_path)
    context = replace(context, timeline=Timeline(events.append, lambda: None))
    run_batch(context)
    context.timeline.close()
    said = [
        (event.data["state"], event.data.get("boot"), event.text)
        for event in events
        if event.kind is EventKind.BATCH_STATE and event.data["state"] == WorkerState.STARTING
    ]
    assert said == [
        ("starting", None, "waiting for the machine to boot"),
        ("starting", "booting", "booting: me/mine:1"),
        ("starting", "pulling", "pulling me/mine:1"),
    ]
    assert agents == []


def test_a_machine_that_fails_while_it_works_is_given_up_at_once(
    tmp_path: Path, agents: list[FakeAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_loop, "ASK_EVERY", 0.01)
    sick = FakeAgent()
    sick.go_on.clear()  # its render never ends

    def fail(*_: float) -> str:
        sick.failed = WorkerUnhealthy("the container is gone", boots.refusal("container_failed"))
        return "failed"

    sick.healthy = fail  # type: ignore[method-assign,assignment]
    agents.append(sick)
    target = machines()
    runner = run_batch(make_context(target.engine, target, tmp_path))
    sick.go_on.set()
    assert runner.error is None
    assert len(runner.launches) == 2
    assert runner.launches[0].lost is not None
    assert runner.launches[0].lost.reason == "the container is gone"
    assert sick.written == ["b01"]
