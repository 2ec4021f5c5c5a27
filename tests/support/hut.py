"""A third target, written against the documented interfaces only: video APIs in a hut."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi

from cloudburst import clock
from cloudburst.models import (
    Check,
    Condition,
    Finding,
    Health,
    Refusal,
    Resource,
    Rung,
    StackName,
    Worker,
)
from cloudburst.targets.durations import PUBLIC_TERMS
from cloudburst.targets.failover import Ladder
from tests.support.patience import SOON
from tests.support.servers import serve

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cloudburst.models import Plan, WorkerSpec

# The provider's inventory by stack, independent of any run.
TABLE: dict[str, tuple[subprocess.Popen[str], str]] = {}
RUNG = Rung("laptop", "on-demand", "hut", "hut")


def start(stack: str, key: str) -> str:
    """Start a worker; return its endpoint."""
    work = Path(tempfile.mkdtemp(prefix="hut-"))
    TABLE[stack] = serve(work, AUTHENTICATION_KEY=key)
    return TABLE[stack][1]


class Hut:
    """The registered target."""

    name, title = "hut", "the hut"
    has_regions = always_asked = False
    health_timeout = 60.0
    offline_note = "nobody was asked whether the hut is open"
    unbilled = "the laptops in the hut are ours"
    section = None

    def log_in(self) -> None:
        """Ask for nothing."""

    def settings(self, section: Any, environment: Mapping[str, str]) -> None:
        """Return nothing: there are no settings."""

    def section_problems(self, section: Any) -> tuple[()]:
        return ()

    def variable_problems(self, environment: Mapping[str, str]) -> tuple[()]:
        return ()

    def renderer(self, settings: Any) -> str:
        return "the hut's"

    def owns(self, resource_type: str) -> bool:
        return resource_type.startswith("hut:")

    @contextmanager
    def open(self, *_: object) -> Iterator[HutTarget]:
        yield HutTarget()

    def bill(self, settings: Any, rentals: object, downloaded: int) -> None:
        """Return nothing: nothing is rented."""

    def examine(self, settings: Any, workers: int) -> Iterator[Check]:
        yield Check("hut", Finding.OK, f"room for {workers}")


class HutTarget:
    """The open target."""

    name, operation_bytes, billing = "hut", 160 << 20, None

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}
        self.resources = HutResources()

    def prepare(self, plan: Plan, run_id: str) -> HutWorkers:
        return HutWorkers()

    def diagnose(self, message: str) -> Refusal:
        return Refusal()


class HutWorkers:
    """Declares and adopts the target's workers."""

    def __init__(self) -> None:
        self.ladder = Ladder([RUNG], time.monotonic)

    notes = ()
    terms = PUBLIC_TERMS

    def room(self, workers: int, rung: Rung) -> int:
        return 1

    def estimate(self) -> None:
        """Return nothing: nothing is rented."""

    def quote(self, rung: Rung) -> None:
        """Return nothing: nothing is rented."""

    def program(self, spec: WorkerSpec, quote: object) -> Callable[[], None]:
        def declare() -> None:
            pulumi.export("endpoint", start(spec.stack, spec.key))
            pulumi.export("key", pulumi.Output.secret(spec.key))

        return declare

    def worker(self, spec: WorkerSpec, outputs: Mapping[str, Any]) -> Worker:
        pid = TABLE[spec.stack][0].pid
        return Worker(spec.stack, str(pid), str(outputs["endpoint"]), spec.key, spec.room)

    def adopt(self, spec: WorkerSpec, launch: object) -> None:
        """Return nothing: workers do not outlive their run."""

    def expires(self, stack: str) -> None:
        """Return nothing: workers do not outlive their run."""

    def keep(self, worker: Worker) -> float:
        return clock.now()

    def condition(self, worker: Worker) -> Condition:
        running = worker.stack in TABLE and TABLE[worker.stack][0].poll() is None
        return Condition() if running else Condition(Health.GONE, "somebody took it home")

    def last_log_lines(self, spec: WorkerSpec) -> str:
        return ""


class HutResources:
    """The provider's inventory as resources."""

    settle = 0.0
    regions: tuple[str, ...] = ()

    def all_regions(self) -> tuple[str, ...]:
        return ()

    def survey(self, regions: Sequence[str]) -> list[tuple[str, list[Resource]]]:
        return [("the table", [self._resource(stack) for stack in TABLE])]

    def _resource(self, stack: str) -> Resource:
        name = StackName.parse(stack)
        return Resource(
            kind="machine",
            id=str(TABLE[stack][0].pid),
            place="the hut",
            stack=stack,
            run_id=name.run_id if name else "",
            state="running",
            usd_per_hour=0.0,
            removal=self.removal(stack),
            target="hut",
        )

    def inventory(self, stack: str) -> list[str]:
        return [f"laptop {TABLE[stack][0].pid}"] if stack in TABLE else []

    def terminate(self, stack: str) -> None:
        """Do nothing: nothing is rented."""

    def sweep(self, stack: str) -> None:
        if stack in TABLE:
            process, _ = TABLE.pop(stack)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(SOON)
            assert process.stderr is not None
            process.stderr.close()

    def final_sweep(self) -> list[str]:
        return []

    def removal(self, stack: str) -> str:
        return f"close the laptop of {stack}"
