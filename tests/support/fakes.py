"""An engine and a target that do as a test says, and remember what was asked of them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cloudburst.engine.toolchain import VERSION
from cloudburst.engine.toolchain import Engine as Binary
from cloudburst.job.fingerprint import file_digest
from cloudburst.journal.store import Journal
from cloudburst.models import (
    Artifact,
    Batch,
    Condition,
    Cost,
    Limits,
    Lock,
    Price,
    Resource,
    Rung,
    Scene,
    Worker,
    WorkerSpec,
)
from cloudburst.run import pipeline
from cloudburst.run import render_loop as drive
from cloudburst.run import worker_run as launch
from cloudburst.run.batch import BatchRunner
from cloudburst.run.context import RunContext
from cloudburst.run.events import Timeline
from cloudburst.run.queue import SceneQueue
from cloudburst.run.results import SceneResults
from cloudburst.stop import Stop
from cloudburst.targets.failover import Ladder
from cloudburst.targets.local.target import PROCESS
from cloudburst.workers.client import Rendered
from cloudburst.workers.download import as_artifact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pytest

    from cloudburst.errors import InfrastructureError
    from cloudburst.models import Job, TargetName

# Any file will do: what renders here looks into none.
FILE = Path(__file__)
SCENE = Scene("s", FILE, FILE, 1.0)
# Journals that tests hold; `conftest.py` closes them.
HELD: list[Journal] = []


@dataclass
class FakeEngine:
    """An engine whose operations go as a test says, and that remembers them."""

    up_errors: list[Exception] = field(default_factory=list)
    destroy_errors: list[Exception] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def up(
        self, stack: str, program: Callable[[], None], begin: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        begin()
        self.calls.append("up")
        if self.up_errors:
            raise self.up_errors.pop(0)
        return {}

    def destroy(self, stack: str, *, remove: bool = True) -> None:
        self.calls.append("destroy")
        if self.destroy_errors:
            raise self.destroy_errors.pop(0)

    def remove(self, stack: str) -> None:
        self.calls.append("remove")

    def pending(self, stack: str) -> bool:
        return False

    def locks(self, stack: str) -> tuple[Lock, ...]:
        return ()

    def end_owners(self, stack: str) -> None:
        self.calls.append("end owners")

    def outputs(self, stack: str) -> dict[str, Any]:
        return {"key": "the key"}

    def refresh(self, stack: str) -> None:
        self.calls.append("refresh")

    def cancel(self, stack: str) -> None:
        self.calls.append("cancel")

    def interrupt(self, stack: str, *, kill: bool = False) -> None:
        self.calls.append("kill" if kill else "interrupt")


@dataclass
class FakeTarget:
    """A target with things that run until they are swept, or for ever."""

    engine: FakeEngine
    running: list[str] = field(default_factory=list)
    stubborn: bool = False
    blind: bool = False
    rungs: tuple[Rung, ...] = (PROCESS,)
    launched: list[Rung] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    price_error: Exception | None = None
    spent: tuple[float, float] = (0.0, 0.0)
    name: TargetName = "local"
    operation_bytes: int = 1
    settle: float = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def environment(self) -> dict[str, str]:
        return {}

    def prepare(self, plan: object, run_id: str) -> Ladder:
        return Ladder(self.rungs, time.monotonic)

    def estimate(self) -> None:
        pass

    def room(self, workers: int, rung: Rung) -> int:
        return 1

    def price(self, rung: Rung) -> Price | None:
        if self.price_error:
            raise self.price_error
        return None

    def program(self, spec: WorkerSpec) -> Callable[[], None]:
        self.launched.append(spec.rung)
        return lambda: None

    def worker(self, spec: WorkerSpec, outputs: Mapping[str, Any]) -> Worker:
        return Worker(spec.stack, "1", "http://127.0.0.1:9", spec.key, 1)

    regions: tuple[str, ...] = ()

    def expires(self, stack: str) -> float | None:
        return None

    def keep(self, worker: Worker) -> float:
        return 0.0

    def know(self, run_id: str, places: object, rentals: object, record: object) -> None:
        pass

    def adopt(self, spec: WorkerSpec, launch: object) -> Worker | None:
        return None

    def all_regions(self) -> tuple[str, ...]:
        return ()

    def survey(self, regions: object) -> list[tuple[str, list[Resource] | InfrastructureError]]:
        return []

    def condition(self, worker: Worker) -> Condition:
        return self.conditions.pop(0) if self.conditions else Condition()

    def last_log_lines(self, spec: WorkerSpec) -> str:
        return "the last line"

    def inventory(self, stack: str) -> list[str]:
        if self.blind:
            raise OSError("the network is gone")
        return list(self.running)

    def sweep(self, stack: str) -> None:
        self.engine.calls.append("sweep")
        if not self.stubborn:
            self.running.clear()

    def final_sweep(self) -> list[str]:
        return []

    def removal(self, stack: str) -> str:
        return f"remove {stack}"

    def accrued(self) -> tuple[float, float]:
        return self.spent

    def cost(self, batches: object, downloaded: int) -> Cost:
        return Cost(0.0, 0.0, "")


class FakeApi:
    """A video API without HTTP, whose renders go as a test says.

    Args:
        errors: what renders raise, one after the other; None and what comes after succeed.
        sick: what /health answers; None when healthy.
        holds: renders wait until `go_on` is set.

    Attributes:
        asked: names of the scenes that were to be rendered.
        began: is set when a render has begun.
    """

    def __init__(
        self,
        errors: Iterable[Exception | None] = (),
        sick: str | None = None,
        *,
        holds: bool = False,
    ) -> None:
        self.errors = list(errors)
        self.sick = sick
        self.asked: list[str] = []
        self.began = threading.Event()
        self.go_on = threading.Event()
        if not holds:
            self.go_on.set()

    def healthy(self, timeout: float = 5.0) -> str | None:
        return self.sick

    def wait_healthy(self, timeout: float, stopped: Callable[[float], bool]) -> None:
        pass

    def render(self, scene: Scene, timeout: float) -> Rendered:
        self.asked.append(scene.name)
        self.began.set()
        assert self.go_on.wait(10), "a test let a render go on for ever"
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return Rendered(f"/download/{scene.name}", 1000, "baseline", ())


def fake_download(
    _: object,
    rendered: Rendered,
    scene: Scene,
    folder: Path,
    *,
    worker: str,  # noqa: ARG001 - a double takes what the real one takes
    wanted: Callable[[], bool],
) -> tuple[Artifact, str] | None:
    if not wanted():
        return None
    path = folder / f"{scene.name}.mp4"
    return Artifact(path, rendered.size, scene.seconds, 1920, 1080, 30), "the digest"


def make_context(engine: FakeEngine, target: FakeTarget, folder: Path, **limits: Any) -> RunContext:
    journal = Journal(folder)
    HELD.append(journal)
    journal.begin({"run": "run", "job": "job", "target": "local"})
    return RunContext(
        engine=engine,  # type: ignore[arg-type]
        target=target,
        ladder=target.prepare(None, "run"),
        queue=SceneQueue(3),
        ledger=SceneResults([SCENE], journal),
        timeline=Timeline(lambda _: None, lambda: None),
        stop=Stop(),
        limits=Limits(**{"health_timeout": 0.1} | limits),
        folder=folder,
        journal=journal,
        renderer="test",
    )


def live(site: RunContext) -> BatchRunner:
    """Live one batch of one scene."""
    batch = Batch(1, (SCENE,))
    site.queue.add([batch])
    life = BatchRunner(batch, "run", "job", 1, site)
    life.run()
    return life


def doubles(monkeypatch: pytest.MonkeyPatch, engine: FakeEngine, target: FakeTarget) -> None:
    """Let whole runs work with an engine and a target of a test's own, and wait for nothing."""
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    monkeypatch.setattr(
        pipeline, "find_engine", lambda _: Binary(Path("/nowhere"), VERSION, "a test")
    )
    monkeypatch.setattr(pipeline, "make_target", lambda *_: target)
    monkeypatch.setattr(pipeline, "Engine", lambda *_: engine)


class Info:
    """What a look into a video of one second says."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.seconds, self.width, self.height, self.frames = 1.0, 64, 36, 30


class Whole:
    """Runs with doubles in the place of the engine, the target and the video APIs."""

    def __init__(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        self.job = job
        self.engine = FakeEngine()
        self.target = FakeTarget(self.engine)
        self.asked: list[str] = []
        self.broken: set[str] = set()
        doubles(monkeypatch, self.engine, self.target)
        monkeypatch.setattr(launch, "VideoApi", lambda _: FakeApi())
        monkeypatch.setattr(drive, "download", self._download)

    def _download(
        self, _: object, rendered: Rendered, scene: Scene, folder: Path, **how: Any
    ) -> tuple[Any, str] | None:
        if not how["wanted"]():
            return None
        self.asked.append(scene.name)
        if scene.name in self.broken:
            raise ZeroDivisionError("a bug")
        path = folder / f"{scene.name}.mp4"
        path.write_bytes(f"video {scene.name}".encode())
        return as_artifact(path, Info(rendered.size)), file_digest(path)  # type: ignore[arg-type]
