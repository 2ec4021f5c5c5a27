"""A small picture for each video, within a budget of bytes and of time."""

from __future__ import annotations

import base64
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudburst.media import MediaError
from cloudburst.media.poster import poster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Budget:
    """What all pictures of a page may take.

    Args:
        seconds: to make them.
        bytes: of all of them, as the page holds them.
        side: pixels of the longer side of each.
        quality: of each as a JPEG.
    """

    seconds: float
    bytes: int = 2_500_000
    side: int = 256
    quality: int = 70


_FEW_SCENES = 200
_WORKERS = 2


def budget(scenes: int, seconds: float) -> Budget:
    """Return the budget of a page: with many scenes, each picture is small.

    Args:
        scenes: number of scenes.
        seconds: to make the pictures.
    """
    return Budget(seconds) if scenes <= _FEW_SCENES else Budget(seconds, side=128, quality=60)


def posters(
    videos: Iterable[tuple[str, Path]], allowed: Budget, hurried: Callable[[], bool]
) -> dict[str, str]:
    """Return a data URL for each video, as far as the budget goes, in order.

    Args:
        videos: (scene, file) of each.
        allowed: the budget.
        hurried: whether somebody waits who does not want to.
    """
    deadline = time.monotonic() + allowed.seconds

    def make(video: tuple[str, Path]) -> tuple[str, str] | None:
        if hurried() or time.monotonic() > deadline:
            return None
        # A file may have been moved or damaged since; its scene is shown without.
        with contextlib.suppress(MediaError, OSError, ValueError, ArithmeticError):
            data = poster(video[1], allowed.side, allowed.quality)
            return video[0], f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
        return None

    made: dict[str, str] = {}
    used = 0
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="poster") as pool:
        for found in pool.map(make, videos):
            if found is not None and used + len(found[1]) <= allowed.bytes:
                made[found[0]] = found[1]
                used += len(found[1])
    return made
