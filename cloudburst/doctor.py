"""What this machine has and lacks for a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import imageio_ffmpeg

from cloudburst.engine import Engine
from cloudburst.places import cache_folder, engine_environment, state_folder
from cloudburst.toolchain import find_engine
from cloudburst.videoapi import fonts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def examine(tell: Callable[[str], None]) -> Iterator[str]:
    """Look at everything a run needs, making the engine if need be.

    Args:
        tell: is called with a line when something slow begins.

    Yields:
        A line for each thing.

    Raises:
        InfrastructureError: there is no engine, or its backend cannot be read.
    """
    binary = find_engine(tell)
    yield f"engine   Pulumi {binary.version} from {binary.origin}"
    state = state_folder()
    yield f"state    {state}"
    backend = engine_environment(state).get("PULUMI_BACKEND_URL", "your own PULUMI_BACKEND_URL")
    yield f"backend  {backend}"
    stacks = Engine(binary, state).stacks()
    yield f"stacks   {', '.join(stacks) if stacks else 'none'}"
    yield f"cache    {cache_folder()}"
    yield f"ffmpeg   {imageio_ffmpeg.get_ffmpeg_version()} ({imageio_ffmpeg.get_ffmpeg_exe()})"
    for script, sample in (("Latin", "A"), ("Chinese", "中")):
        face = fonts.face_for(sample)
        yield f"font     {script}: {face.family if face else 'NONE; such subtitles are left out'}"
