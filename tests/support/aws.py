"""Shared by the tests of the aws target: jobs, runs, and a check that no resources remain."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudburst import EventKind, load_job, run
from cloudburst.engine.engine import Engine
from cloudburst.engine.toolchain import find_engine
from tests.support.inputs import scenes_yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst import Event, Job, RunReport
    from cloudburst.models import Launch
    from testcloud.cloud import Cloud
    from testcloud.machines.machine import Machine

ONE_ZONE = "aws: {zones: [us-east-1a], instance_types: [c5.2xlarge]}\n"


def aws_job(
    job_file: Callable[..., Path],
    scenes: int = 2,
    more: str = "",
    *,
    scene: str = "",
    **options: Any,
) -> Job:
    """Load a job of so many small scenes for the aws target, by default in one batch."""
    path = job_file(scenes_yaml(scenes, f"target: aws\n{more}", scene))
    return load_job(path, output=path.parent / "out", **options)


class Watch:
    """Records the events of a run, and runs a test's reactions to them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._reactions: list[tuple[Callable[[Event], bool], Callable[[], None]]] = []

    def when(self, wanted: Callable[[Event], bool], react: Callable[[], None]) -> None:
        """Call `react` once, at the first event that matches."""
        self._reactions.append((wanted, react))

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        for reaction in list(self._reactions):
            if reaction[0](event):
                self._reactions.remove(reaction)
                reaction[1]()

    def texts(self, kind: EventKind) -> list[str]:
        """Return the texts of one kind of event."""
        return [event.text for event in self.events if event.kind is kind]


def run_watched(job: Job, watch: Watch | None = None) -> tuple[RunReport, Watch]:
    """Run a job to its end."""
    watch = watch or Watch()
    return run(job, on_event=watch), watch


def launches(report: RunReport) -> list[Launch]:
    """Return all launches of a run."""
    return [launch for batch in report.batches for launch in batch.launches]


def codes(report: RunReport) -> list[str | None]:
    """Return the codes of all launches."""
    return [launch.code for launch in launches(report)]


def stacks(state: Path) -> list[str]:
    """Return the stacks in the backend."""
    return Engine(find_engine(), state).stacks()


def assert_cloud_empty(cloud: Cloud, state: Path) -> None:
    """Assert that AWS has no resource, no machine has a process, and the backend has no stack."""
    assert cloud.remaining() == []
    assert stacks(state) == []


def machine_cost(report: RunReport) -> float:
    """Return the cost of the machines alone, in USD."""
    return sum(line.usd for line in report.cost.lines if line.kind == "machine")


def renders(machine: Machine) -> bool:
    """Whether a container of a machine has been given a scene, by its agent's records."""
    records = (machine.root / "var/lib/cloudburst/jobs").glob("*.json")
    return any(json.loads(path.read_text())[0] for path in records)


def newest(cloud: Cloud) -> Machine:
    """Return the machine that was launched last."""
    return cloud.machines[-1]
