"""What all batches of a run share, what those of one target share, and how both are set up."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst.engine.engine import Engine
from cloudburst.engine.toolchain import find_engine
from cloudburst.errors import InfrastructureError
from cloudburst.job import yamltree
from cloudburst.job.folder.scan import JOB_FILE
from cloudburst.journal import registry, samples
from cloudburst.language import ntr, tr
from cloudburst.models import EventKind, Plan, PlannedBatch, PlannedRun, RunRecord
from cloudburst.pace import LaunchPace
from cloudburst.paths import state_folder
from cloudburst.runner.planner import spread
from cloudburst.targets.durations import longest_timeout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cloudburst.engine.toolchain import PulumiCli
    from cloudburst.journal.store import Journal
    from cloudburst.models import Batch, Effort, Job, Limits, Scene
    from cloudburst.runner.ending.results import SceneResults
    from cloudburst.runner.events import Timeline
    from cloudburst.runner.queue import SceneQueue
    from cloudburst.stop import Stop
    from cloudburst.targets.base import Billing, Resources, Target, WorkerSource

# In a run's folder: what its workers and its engine have said.
LOGS = "logs"
_JOB_COMMENT = "# The job of this run as a program passed it; `cloudburst resume` reads it.\n"


@dataclass(frozen=True, slots=True)
class OpenTarget:
    """A target that is open for a run, and the engine that works on its stacks.

    Args:
        target: the target.
        engine: with the environment and the memory that the target asks for.
        renderer: what renders there: the container image, or the bundled video API's version.
        source: makes workers; None when the run needs none.
    """

    target: Target
    engine: Engine
    renderer: str = ""
    source: WorkerSource | None = None

    @property
    def name(self) -> str:
        """Name of the target."""
        return self.target.name

    @property
    def resources(self) -> Resources:
        """What the target shows and ends."""
        return self.target.resources

    @property
    def billing(self) -> Billing | None:
        """What the run's machines cost there, None where nothing is rented."""
        return self.target.billing

    @property
    def effort(self) -> Effort:
        """How much CPU its workers spend for few bytes.

        Where machines are rented, so is the way home: at the prices of docs/performance.md a
        megabyte costs what a second of a c5.2xlarge does, and takes longer to download than to
        avoid. On this machine bytes cost nothing.
        """
        return "low" if self.billing is None else "high"

    @property
    def workers(self) -> WorkerSource:
        """What makes its workers.

        Raises:
            LookupError: the run needs none there.
        """
        if self.source is None:
            raise LookupError(tr("no workers were planned on {target}", target=self.name))
        return self.source


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run's record, queue, results, clock and request to stop.

    Args:
        record: which run it is.
        limits: when to stop waiting.
        timeline: measures and reports.
        stop: the request to stop.
        journal: what is written ahead.
        queue: scenes that wait for a worker.
        results: what became of scenes.
        targets: by name, those that the run has or had workers on.
        keep: workers outlive the run, for a person who downloads by hand.
        shrink: rented workers get pictures no larger than they need.
        pace: when launches may begin.
        scenes: all of the job's, those that are rendered already included.
    """

    record: RunRecord
    limits: Limits
    timeline: Timeline
    stop: Stop
    journal: Journal
    queue: SceneQueue
    results: SceneResults
    targets: Mapping[str, OpenTarget] = field(default_factory=dict)
    keep: bool = False
    shrink: bool = True
    pace: LaunchPace = field(default_factory=LaunchPace)
    scenes: tuple[Scene, ...] = ()

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.record.run_id

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.record.path

    def longest_timeout(self, on: OpenTarget) -> float:
        """Return the seconds after which an attempt at any scene is given up on a target."""
        return longest_timeout(self.scenes, self.limits, on.workers.terms)

    def stop_launching(self, reason: str) -> None:
        """Let no target create another worker."""
        for opened in self.targets.values():
            if opened.source is not None:
                opened.source.ladder.stop(reason)


# -- setting up ---------------------------------------------------------------------------------


def new_run_id(began: datetime) -> str:
    """Return an id that no other run has, such as ``20261124-101500-a1b2c3``."""
    return f"{began:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def new_record(job: Job, *, run_id: str, folder: str, began: str) -> RunRecord:
    """Return the record of a run of a job; that of a job of values has its copy as its source."""
    source = job.source if job.document is None else Path(folder).absolute() / JOB_FILE
    return RunRecord(
        run_id=run_id,
        job=job.name,
        source=str(source),
        folder=folder,
        target=job.target,
        began=began,
        max_cost_usd=job.limits.max_cost_usd,
        scenes=tuple((scene.name, scene.seconds) for scene in job.scenes),
    )


def write_job(job: Job, folder: Path) -> None:
    """Write a job of values into its run's folder, where a resume finds it.

    Raises:
        InfrastructureError: it cannot be written.
    """
    if job.document is None:
        return
    registry.write_ahead(folder / JOB_FILE, job_text(job.document))


def job_text(document: Mapping[str, Any]) -> str:
    """Return a job of values as its run keeps it."""
    return f"{_JOB_COMMENT}{yamltree.dump(document)}"


def found_engine(timeline: Timeline) -> PulumiCli:
    """Find the engine, or build it, and report which it is."""
    cli = find_engine(lambda text: timeline.emit(EventKind.ENGINE, text))
    text = tr("Pulumi engine {version} from {origin}", version=cli.version, origin=cli.origin)
    timeline.emit(EventKind.ENGINE, text)
    return cli


def engine_for(cli: PulumiCli, target: Target) -> Engine:
    """Return an engine that can work on a target's stacks."""
    return Engine(
        cli, state_folder(), lambda: target.environment, target.operation_bytes, target.diagnose
    )


def with_workers(
    opened: Mapping[str, OpenTarget], planned: Plan, run_id: str
) -> tuple[Plan, dict[str, OpenTarget]]:
    """Make open targets ready to create the workers that a plan wants on each.

    Returns:
        The plan, with fewer batches if a target cannot have as many workers at once, and the
        targets.

    Raises:
        InfrastructureError: something that is needed is missing.
    """
    if any(one.billing is not None for one in opened.values()):
        planned = replace(planned, samples=samples.read())
    ready = _prepared(opened, planned, run_id)
    fewer = _fitting(planned, ready)
    return (planned, ready) if fewer is planned else (fewer, _prepared(opened, fewer, run_id))


def _prepared(
    opened: Mapping[str, OpenTarget], planned: Plan, run_id: str
) -> dict[str, OpenTarget]:
    ready = {}
    for name, one in opened.items():
        batches = planned.batches_on(name)
        if batches:
            scenes = tuple(scene for batch in batches for scene in batch.scenes)
            part = Plan(replace(planned.job, scenes=scenes), batches, planned.samples)
            ready[name] = replace(one, source=one.target.prepare(part, run_id))
        else:
            ready[name] = one
    return ready


def _fitting(planned: Plan, ready: Mapping[str, OpenTarget]) -> Plan:
    """Return a plan with no more batches than there can be workers at once."""
    batches: list[Batch] = []
    for name, opened in ready.items():
        mine = planned.batches_on(name)
        most = opened.workers.ladder.fitting(len(mine)) if mine else 0
        if most < len(mine):
            scenes = [scene for batch in mine for scene in batch.scenes]
            fewer = replace(planned.job.distribution, max_parallel_instances=most)
            mine = spread(scenes, fewer, name)
        batches += mine
    if len(batches) == len(planned.batches):
        return planned
    numbered = (replace(batch, number=number) for number, batch in enumerate(batches, start=1))
    return replace(planned, batches=tuple(numbered))


def notes(wanted: Plan, planned: Plan, ready: Mapping[str, OpenTarget]) -> tuple[str, ...]:
    """Return how a plan differs from what was asked for, and why, a line each."""
    sources = [opened.source for opened in ready.values() if opened.source is not None]
    lines = [note for source in sources for note in source.notes]
    if len(planned.batches) < len(wanted.batches):
        lines.append(
            ntr(
                "{count} batch instead of {wanted}: the account's quotas allow no more machines at "
                "once",
                "{count} batches instead of {wanted}: the account's quotas allow no more machines "
                "at once",
                len(planned.batches),
                wanted=len(wanted.batches),
            )
        )
    return tuple(lines)


def planned_run(planned: Plan, ready: Mapping[str, OpenTarget]) -> PlannedRun:
    """Return what a run sets out to do, as its journal keeps it."""
    sources = {name: opened.source for name, opened in ready.items() if opened.source is not None}
    estimates = {name: source.estimate() for name, source in sources.items()}
    return PlannedRun(
        batches=tuple(
            PlannedBatch(batch.label, batch.target, len(batch.scenes), batch.seconds)
            for batch in planned.batches
        ),
        estimates={name: one for name, one in estimates.items() if one is not None},
        renderers={name: ready[name].renderer for name in sources},
        notes=tuple(note for source in sources.values() for note in source.notes),
        warnings=planned.job.warnings,
    )


def results_folder(output: Path, began: datetime) -> Path:
    """Create a folder for one run, named by local time as users of the original expect."""
    name = f"batch_{began.astimezone():%Y%m%d_%H%M%S}"
    for number in range(1, 100):
        folder = output / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise InfrastructureError(
                tr(
                    "the results folder {folder} cannot be created: {reason}",
                    folder=folder,
                    reason=error.strerror,
                )
            ) from error
        return folder
    raise InfrastructureError(tr("{folder} and 99 more are taken", folder=output / name))
