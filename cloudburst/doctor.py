"""Checks what a run needs on this machine and on a target, with a fix for each problem."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import imageio_ffmpeg

from cloudburst import environment, targets
from cloudburst.engine.engine import Engine
from cloudburst.engine.toolchain import find_engine
from cloudburst.errors import EngineMissing, InfrastructureError
from cloudburst.job import variables
from cloudburst.language import later, tr
from cloudburst.models import Check, Finding
from cloudburst.paths import cache_folder, engine_environment, state_folder
from cloudburst.runner.planner import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloudburst.models import Job


def examine(
    target: str, job: Job | None, log: Callable[[str], None] = lambda _: None
) -> Iterator[Check]:
    """Check everything a run needs; make the engine, and fetch its provider, if there is none.

    Args:
        target: name of the target on which the workers are to run.
        job: its settings and its plan are checked; None for the environment's, and one worker.
        log: called with a line when something slow begins.

    Raises:
        TargetUnknown: there is no such target.
    """
    kind = targets.get(target)
    yield from _engine(log)
    yield Check(later("cache"), Finding.OK, str(cache_folder()))
    version, path = imageio_ffmpeg.get_ffmpeg_version(), imageio_ffmpeg.get_ffmpeg_exe()
    yield Check(later("ffmpeg"), Finding.OK, f"{version} ({path})")
    yield from _variables(target)
    if job is None:
        yield from kind.examine(targets.own_settings(kind.name), 1)
    else:
        yield from kind.examine(job.settings.get(target), max(1, len(plan(job).batches)))


def _variables(target: str) -> Iterator[Check]:
    """Check the original tool's variables: those that are wrong, and those that do nothing."""
    found = environment.environment()
    for problem in variables.problems(target, found):
        fix = tr("correct or unset {name}", name=problem.field)
        yield Check(later("variables"), Finding.ERROR, str(problem), fix)
    for name, why in variables.ignored(found):
        text = tr("{name} is ignored here because {why}", name=name, why=tr(why))
        in_file = environment.place(name)[1] > 0
        fix = tr("remove it from .env") if in_file else tr("remove it from the environment")
        yield Check(later("variables"), Finding.WARNING, text, fix)


def _engine(log: Callable[[str], None]) -> Iterator[Check]:
    try:
        cli = find_engine(log)
    except EngineMissing as error:
        yield Check(later("engine"), Finding.ERROR, tr("not found"), str(error))
        return
    yield Check(
        later("engine"),
        Finding.OK,
        tr("Pulumi {version} from {origin}", version=cli.version, origin=cli.origin),
    )
    state = state_folder()
    yield Check(later("state"), Finding.OK, str(state))
    backend = os.environ.get("PULUMI_BACKEND_URL", "")
    try:
        backend = engine_environment(state)["PULUMI_BACKEND_URL"]
        stacks = Engine(cli, state).stacks()
    except InfrastructureError as error:
        fix = tr("check PULUMI_BACKEND_URL and its credentials")
        yield Check(later("backend"), Finding.ERROR, f"{backend}: {error}", fix)
        return
    yield Check(later("backend"), Finding.OK, backend)
    if stacks:
        command = 'eval "$(cloudburst env)"; pulumi destroy --stack NAME'
        fix = tr("if its run has ended: {command}", command=command)
        yield Check(later("stacks"), Finding.WARNING, ", ".join(stacks), fix)
    else:
        yield Check(later("stacks"), Finding.OK, tr("none"))
