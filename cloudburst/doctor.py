"""What this machine and the account have and lack for a run, each with its mend."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg

from cloudburst.engine.engine import Engine
from cloudburst.engine.toolchain import find_engine
from cloudburst.errors import EngineMissing, InfrastructureError
from cloudburst.models import Check, Finding
from cloudburst.paths import PROJECT, cache_folder, engine_environment, state_folder
from cloudburst.run.planner import plan
from cloudburst.videoapi import fonts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloudburst.models import AwsSettings, Job, TargetName


def examine(
    target: TargetName,
    aws: AwsSettings,
    job: Job | None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Check]:
    """Look at everything a run needs, making the engine if need be. Creates nothing else.

    Args:
        target: where the workers are to be.
        aws: what is asked of AWS, if that is the target.
        job: whose plan the quotas are held against; None for one machine.
        tell: is called with a line when something slow begins.

    Yields:
        A finding for each thing.
    """
    yield from _engine(tell)
    yield Check("cache", Finding.OK, str(cache_folder()))
    yield from _rendering(target)
    if target == "aws":
        from cloudburst.targets.aws import doctor as checkup  # noqa: PLC0415 - boto3 is for those who rent

        yield _plugin()
        batches = plan(job).batches if job is not None else ()
        yield from checkup.examine(aws, machines=max(1, len(batches)))


def _engine(tell: Callable[[str], None]) -> Iterator[Check]:
    try:
        binary = find_engine(tell)
    except EngineMissing as error:
        yield Check("engine", Finding.ERROR, "none", str(error))
        return
    yield Check("engine", Finding.OK, f"Pulumi {binary.version} from {binary.origin}")
    state = state_folder()
    yield Check("state", Finding.OK, str(state))
    backend = engine_environment(state).get("PULUMI_BACKEND_URL", "your own PULUMI_BACKEND_URL")
    try:
        stacks = Engine(binary, state).stacks()
    except InfrastructureError as error:
        fix = "check PULUMI_BACKEND_URL and its credentials"
        yield Check("backend", Finding.ERROR, f"{backend}: {error}", fix)
        return
    yield Check("backend", Finding.OK, backend)
    if stacks:
        fix = 'eval "$(cloudburst env)"; pulumi destroy --stack NAME, unless its run still goes on'
        yield Check("stacks", Finding.WARNING, ", ".join(stacks), fix)
    else:
        yield Check("stacks", Finding.OK, "none")


def _rendering(target: TargetName) -> Iterator[Check]:
    version, path = imageio_ffmpeg.get_ffmpeg_version(), imageio_ffmpeg.get_ffmpeg_exe()
    yield Check("ffmpeg", Finding.OK, f"{version} ({path})")
    if target != "local":
        return  # workers elsewhere have fonts of their own
    for script, sample, package in (
        ("Latin", "A", "fonts-dejavu-core"),
        ("Chinese", "中", "fonts-noto-cjk"),
    ):
        face = fonts.face_for(sample)
        if face:
            yield Check("font", Finding.OK, f"{script}: {face.family}")
        else:
            yield Check(
                "font",
                Finding.WARNING,
                f"{script}: NONE; such subtitles are left out",
                f"install one, such as Debian's {package}",
            )


def _plugin() -> Check:
    """Say where the engine has the AWS provider from."""
    from importlib.metadata import version  # noqa: PLC0415

    wanted = version("pulumi-aws")
    if "aws:" in os.environ.get("PULUMI_DEBUG_PROVIDERS", ""):
        return Check("provider", Finding.OK, "pulumi-aws, attached by PULUMI_DEBUG_PROVIDERS")
    own = engine_environment(state_folder()).get("PULUMI_HOME")
    home = Path(own or os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    if (home / "plugins" / f"resource-aws-v{wanted}").is_dir():
        return Check("provider", Finding.OK, f"pulumi-aws {wanted}")
    return Check(
        "provider",
        Finding.WARNING,
        f"pulumi-aws {wanted} is not here yet; the first run downloads it",
        f'eval "$({PROJECT} env)"; pulumi plugin install resource aws v{wanted}',
    )
