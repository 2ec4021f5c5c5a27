"""Checks what a run needs on this machine and on a target, with a fix for each problem."""

from __future__ import annotations

from typing import TYPE_CHECKING

import imageio_ffmpeg

from cloudburst import targets
from cloudburst.engine.engine import Engine
from cloudburst.engine.toolchain import find_engine
from cloudburst.errors import EngineMissing, InfrastructureError
from cloudburst.models import Check, Finding
from cloudburst.paths import cache_folder, engine_environment, state_folder
from cloudburst.runner.planner import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloudburst.models import Job


def examine(
    target: str, job: Job | None, log: Callable[[str], None] = lambda _: None
) -> Iterator[Check]:
    """Check everything a run needs; make the engine if there is none, and nothing else.

    Args:
        target: name of the target on which the workers are to run.
        job: its settings and its plan are checked; None for the environment's, and one worker.
        log: called with a line when something slow begins.

    Raises:
        TargetUnknown: there is no such target.
    """
    kind = targets.get(target)
    yield from _engine(log)
    yield Check("cache", Finding.OK, str(cache_folder()))
    version, path = imageio_ffmpeg.get_ffmpeg_version(), imageio_ffmpeg.get_ffmpeg_exe()
    yield Check("ffmpeg", Finding.OK, f"{version} ({path})")
    if job is None:
        yield from kind.examine(targets.own_settings(kind.name), 1)
    else:
        yield from kind.examine(job.settings.get(target), max(1, len(plan(job).batches)))


def _engine(log: Callable[[str], None]) -> Iterator[Check]:
    try:
        cli = find_engine(log)
    except EngineMissing as error:
        yield Check("engine", Finding.ERROR, "not found", str(error))
        return
    yield Check("engine", Finding.OK, f"Pulumi {cli.version} from {cli.origin}")
    state = state_folder()
    yield Check("state", Finding.OK, str(state))
    backend = engine_environment(state).get("PULUMI_BACKEND_URL", "your own PULUMI_BACKEND_URL")
    try:
        stacks = Engine(cli, state).stacks()
    except InfrastructureError as error:
        fix = "check PULUMI_BACKEND_URL and its credentials"
        yield Check("backend", Finding.ERROR, f"{backend}: {error}", fix)
        return
    yield Check("backend", Finding.OK, backend)
    if stacks:
        fix = 'if its run has ended: eval "$(cloudburst env)"; pulumi destroy --stack NAME'
        yield Check("stacks", Finding.WARNING, ", ".join(stacks), fix)
    else:
        yield Check("stacks", Finding.OK, "none")
