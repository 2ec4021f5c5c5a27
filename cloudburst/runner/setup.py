"""What a run, a preview and a cleanup set up alike: ids, records, engines, workers to come."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from cloudburst.engine.engine import Engine
from cloudburst.engine.toolchain import find_engine
from cloudburst.errors import InfrastructureError
from cloudburst.models import EventKind, Plan, RunRecord
from cloudburst.paths import state_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from cloudburst.engine.toolchain import PulumiCli
    from cloudburst.models import Job
    from cloudburst.runner.context import OpenTarget
    from cloudburst.runner.events import Timeline
    from cloudburst.targets.base import Target


def new_run_id(began: datetime) -> str:
    """Return an id that no other run has, such as ``20261124-101500-a1b2c3``."""
    return f"{began:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def new_record(job: Job, *, run_id: str, folder: str, began: str) -> RunRecord:
    """Return the record of a run of a job."""
    return RunRecord(
        run_id=run_id,
        job=job.name,
        source=str(job.source),
        folder=folder,
        target=job.target,
        began=began,
        max_cost_usd=job.limits.max_cost_usd,
        scenes=tuple((scene.name, scene.seconds) for scene in job.scenes),
    )


def found_engine(timeline: Timeline) -> PulumiCli:
    """Find the engine, or build it, and report which it is."""
    cli = find_engine(lambda text: timeline.emit(EventKind.ENGINE, text))
    timeline.emit(EventKind.ENGINE, f"Pulumi engine {cli.version} from {cli.origin}")
    return cli


def engine_for(cli: PulumiCli, target: Target) -> Engine:
    """Return an engine that can work on a target's stacks."""
    return Engine(cli, state_folder(), target.environment, target.operation_bytes, target.diagnose)


def with_workers(
    opened: Mapping[str, OpenTarget], planned: Plan, run_id: str
) -> dict[str, OpenTarget]:
    """Return open targets ready to create the workers that a plan wants on each.

    Raises:
        InfrastructureError: something that is needed is missing.
    """
    ready = {}
    for name, one in opened.items():
        batches = tuple(batch for batch in planned.batches if batch.target == name)
        if batches:
            scenes = tuple(scene for batch in batches for scene in batch.scenes)
            part = Plan(replace(planned.job, scenes=scenes), batches)
            ready[name] = replace(one, source=one.target.prepare(part, run_id))
        else:
            ready[name] = one
    return ready


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
                f"the results folder {folder} cannot be created: {error.strerror}"
            ) from error
        return folder
    raise InfrastructureError(f"{output / name} and 99 more are taken")
