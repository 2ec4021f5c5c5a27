"""Fake engine, target and video API: they behave as a test configures, and record their calls."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cloudburst import targets
from cloudburst.engine.toolchain import VERSION, PulumiCli
from cloudburst.errors import CloudRefused, InfrastructureError
from cloudburst.job.fingerprint import file_digest
from cloudburst.journal.store import Journal
from cloudburst.models import (
    Artifact,
    Batch,
    Condition,
    Cost,
    Health,
    Limits,
    Lock,
    Quote,
    Refusal,
    Resource,
    Rung,
    RunRecord,
    Scene,
    SceneStatus,
    Worker,
    WorkerSpec,
)
from cloudburst.runner import context
from cloudburst.runner.batch import BatchRunner
from cloudburst.runner.context import OpenTarget, RunContext
from cloudburst.runner.ending.results import SceneResults
from cloudburst.runner.events import Timeline
from cloudburst.runner.queue import SceneQueue
from cloudburst.runner.worker import render_loop, worker_run
from cloudburst.stop import Stop
from cloudburst.targets.aws import refusals
from cloudburst.targets.durations import PUBLIC_TERMS, RenderTerms
from cloudburst.targets.failover import Ladder
from cloudburst.targets.local.target import PROCESS
from cloudburst.workers.download import as_artifact
from cloudburst.workers.messages import Rendered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pytest

    from cloudburst.models import Job

# Any file will do: the fakes never read it.
FILE = Path(__file__)
SCENE = Scene("s", FILE, FILE, 1.0)
# Journals that tests opened; `conftest.py` closes them.
HELD: list[Journal] = []


def diagnosed(error: Exception) -> Exception:
    """Return an error as the engine raises it, with the refusal diagnosed from its message."""
    if isinstance(error, InfrastructureError) and error.refusal == Refusal():
        error.refusal = refusals.diagnose(str(error))
    return error


def cloud_refused(message: str, code: str | None = None) -> CloudRefused:
    """Return an error as AWS's API raises it."""
    return CloudRefused(message, refusals.of_code(code, message))


def ended(reason: str, *, blameless: bool = False, health: Health = Health.GONE) -> Condition:
    """Return the condition of a machine that has ended or is ending, as AWS reports it."""
    return Condition(health, reason, blameless, refusals.of_end(refusals.code_of(reason)))


def done_count(context: RunContext) -> int:
    """Return the number of scenes that are done."""
    return sum(scene.status is SceneStatus.DONE for scene in context.results.all())


@dataclass
class FakeEngine:
    """An engine that raises the configured errors and records its calls."""

    up_errors: list[Exception] = field(default_factory=list)
    destroy_errors: list[Exception] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def up(
        self, stack: str, program: Callable[[], None], begin: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        begin()
        self.calls.append("up")
        if self.up_errors:
            raise diagnosed(self.up_errors.pop(0))
        return {}

    def destroy(self, stack: str, *, remove: bool = True) -> None:
        self.calls.append("destroy")
        if self.destroy_errors:
            raise diagnosed(self.destroy_errors.pop(0))

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
    """All parts of a target in one; `stubborn` resources survive a sweep."""

    engine: FakeEngine
    running: list[str] = field(default_factory=list)
    stubborn: bool = False
    blind: bool = False
    rungs: tuple[Rung, ...] = (PROCESS,)
    launched: list[Rung] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    price_error: Exception | None = None
    notes: tuple[str, ...] = ()
    spent: tuple[float, float] = (0.0, 0.0)
    terminated: list[tuple[str, list[str]]] = field(default_factory=list)
    name: str = "local"
    operation_bytes: int = 1
    settle: float = 0.0
    regions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.environment: dict[str, str] = {}
        self.resources = self.billing = self
        self.ladder = self.make_ladder()

    def make_ladder(self) -> Ladder:
        return Ladder(self.rungs, time.monotonic, refusals.family)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def diagnose(self, message: str) -> Refusal:
        return refusals.diagnose(message)

    def prepare(self, plan: object, run_id: str) -> Self:
        return self

    def estimate(self) -> None:
        pass

    @property
    def terms(self) -> RenderTerms:
        return PUBLIC_TERMS

    def room(self, workers: int, rung: Rung) -> int:
        return 1

    def quote(self, rung: Rung) -> Quote | None:
        if self.price_error:
            raise self.price_error
        return None

    def program(self, spec: WorkerSpec, quote: Quote | None) -> Callable[[], None]:
        self.launched.append(spec.rung)
        return lambda: None

    def worker(self, spec: WorkerSpec, outputs: Mapping[str, Any]) -> Worker:
        return Worker(spec.stack, "1", "http://127.0.0.1:9", spec.key, 1)

    def expires(self, stack: str) -> float | None:
        return None

    def keep(self, worker: Worker) -> float:
        return 0.0

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

    def terminate(self, stack: str) -> None:
        # Beside the engine's calls: it comes before them, and needs no engine.
        self.terminated.append((stack, list(self.engine.calls)))

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

    def cost(self, downloaded: int) -> Cost:
        return Cost(0.0, 0.0, "")


class FakeType:
    """A registered target that opens as a fake.

    Args:
        target: the fake to open.
        kind: the registered target that provides everything else.
    """

    def __init__(self, target: FakeTarget, kind: str = "local") -> None:
        self._target = target
        self._kind = targets.REGISTRY[kind]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kind, name)

    def open(self, *_: object) -> FakeTarget:
        return self._target


class FakeApi:
    """A video API without HTTP, whose renders succeed or fail as configured.

    Args:
        errors: raised by one render each; None, and further renders, succeed.
        sick: the answer of /health; None if healthy.
        holds: renders wait until `go_on` is set.

    Attributes:
        asked: names of the scenes of all render calls.
        began: set when a render has begun.
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
        self.capacity: int | None = 1
        self.failed: Exception | None = None
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
        assert self.go_on.wait(60), "the test never set go_on"
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return Rendered(f"/download/{scene.name}", 1000, "baseline", (), sent=500)


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


def a_record(folder: Path, **more: Any) -> RunRecord:
    """Return the record of a run."""
    began = "2026-11-24T10:15:00+00:00"
    values = {"run_id": "run", "job": "job", "source": "/scenes.yaml", "target": "local"} | more
    return RunRecord(folder=str(folder), began=began, **values)


def make_context(engine: FakeEngine, target: FakeTarget, folder: Path, **limits: Any) -> RunContext:
    journal = Journal(folder)
    HELD.append(journal)
    record = a_record(folder)
    journal.begin(record)
    on = OpenTarget(target, engine, "test", target)  # type: ignore[arg-type]
    target.ladder = target.make_ladder()
    return RunContext(
        record=record,
        limits=Limits(**{"health_timeout": 0.1} | limits),
        timeline=Timeline(lambda _: None, lambda: None),
        stop=Stop(),
        journal=journal,
        queue=SceneQueue(3),
        results=SceneResults([SCENE], journal),
        targets={target.name: on},
    )


def on_local(context: RunContext) -> OpenTarget:
    """Return the only target of a context."""
    (on,) = context.targets.values()
    return on


def run_batch(context: RunContext) -> BatchRunner:
    """Run one batch of one scene."""
    batch = Batch(1, (SCENE,))
    context.queue.add([batch])
    runner = BatchRunner(batch, 1, context, on_local(context))
    runner.run()
    return runner


def doubles(monkeypatch: pytest.MonkeyPatch, engine: FakeEngine, target: FakeTarget) -> None:
    """Replace the engine and the targets of whole runs by fakes, and skip waits."""
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    cli = PulumiCli(Path("/nowhere"), VERSION, "a test")
    monkeypatch.setattr(context, "find_engine", lambda _: cli)
    monkeypatch.setattr(context, "Engine", lambda *_: engine)
    for name in ("local", "aws"):
        monkeypatch.setitem(targets.REGISTRY, name, FakeType(target, name))


class Info:
    """The media information of a video of one second."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.seconds, self.width, self.height, self.frames = 1.0, 64, 36, 30


class Whole:
    """Whole runs with fakes for the engine, the target and the video APIs.

    Attributes:
        asked: names of the scenes whose videos were fetched.
        broken: names of the scenes whose videos cannot be fetched.
        while_fetched: called with the name of the scene whose video is being fetched.
    """

    def __init__(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        self.job = job
        self.engine = FakeEngine()
        self.target = FakeTarget(self.engine)
        self.asked: list[str] = []
        self.broken: set[str] = set()
        self.while_fetched: Callable[[str], object] = lambda _: None
        doubles(monkeypatch, self.engine, self.target)
        monkeypatch.setattr(worker_run, "VideoApi", lambda *_: FakeApi())
        monkeypatch.setattr(render_loop, "download", self._download)

    def _download(
        self, _: object, rendered: Rendered, scene: Scene, folder: Path, **how: Any
    ) -> tuple[Any, str] | None:
        self.while_fetched(scene.name)
        if not how["wanted"]():
            return None
        self.asked.append(scene.name)
        if scene.name in self.broken:
            raise ZeroDivisionError("a bug")
        path = folder / f"{scene.name}.mp4"
        path.write_bytes(f"video {scene.name}".encode())
        return as_artifact(path, Info(rendered.size)), file_digest(path)  # type: ignore[arg-type]
