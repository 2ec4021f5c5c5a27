"""How long a scene is likely to take, and when an attempt at it is given up.

Speeds are measured, not promised: docs/performance.md has the measurements and the command.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloudburst.language import ntr
from cloudburst.targets.rates import PUBLIC_RATES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cloudburst.models import Limits, Plan, Scene
    from cloudburst.targets.rates import RenderRates

# The bundled server is nine to 45 times as fast for the pictures of docs/performance.md; others may
# be harder, and a limit rather assumes less.
BUNDLED_SPEED = 5.7
_PATIENCE = 3.0
LEAST_TIMEOUT = 600.0
# Of a home connection with 2 Mbit/s up, in bytes per second; base64 adds a third.
_UPLOAD_SPEED = 250_000
_BASE64 = 4 / 3


@dataclass(frozen=True, slots=True)
class RenderTerms:
    """On what terms workers of one kind render.

    Args:
        speed: how many times as fast as the public image.
        longest: seconds that an attempt may take, whatever the scene, because the worker ends.
        rates: what people are told of how long a scene takes.
    """

    speed: float = 1.0
    longest: float = math.inf
    rates: RenderRates = PUBLIC_RATES


# Of a worker that does not end before it is told to, and may run the public image.
PUBLIC_TERMS = RenderTerms()


def render_seconds(scene: Scene, rates: RenderRates = PUBLIC_RATES) -> float:
    """Return the estimated seconds that two vCPUs take for a scene; with the public image, or so.

    Args:
        scene: the scene.
        rates: of what renders it.
    """
    return rates.of(scene)


def scene_timeout(scene: Scene, limits: Limits, terms: RenderTerms = PUBLIC_TERMS) -> float:
    """Return the seconds after which an attempt at a scene is given up.

    The user's own limit, or three times what the scene is likely to take and what sending its files
    takes over a slow connection, but at least ten minutes. Never more than the worker has: a render
    that hangs has to fail before its machine ends, which would count as no fault of the scene's.

    Args:
        scene: the scene.
        limits: the user's own.
        terms: of the worker that renders it.
    """
    return min(_wanted_timeout(scene, limits, terms.speed), terms.longest)


def _wanted_timeout(scene: Scene, limits: Limits, speed: float) -> float:
    if limits.scene_timeout is not None:
        return limits.scene_timeout
    likely = render_seconds(scene) / speed
    return max(LEAST_TIMEOUT, _PATIENCE * likely + _upload_seconds(scene))


def longest_timeout(
    scenes: Iterable[Scene], limits: Limits, terms: RenderTerms = PUBLIC_TERMS
) -> float:
    """Return the longest of the scenes' time-outs, in seconds."""
    timeouts = (scene_timeout(scene, limits, terms) for scene in scenes)
    return max(timeouts, default=LEAST_TIMEOUT)


def slower_than(
    scenes: Iterable[Scene], seconds: float, rates: RenderRates = PUBLIC_RATES
) -> list[Scene]:
    """Return the scenes for which a worker is likely to take longer than so many seconds."""
    return [one for one in scenes if render_seconds(one, rates) > seconds]


def beyond_limit(plan: Plan, rates: RenderRates, image: str) -> Iterator[str]:
    """Yield that the user's own limit is likely to end scenes before they are rendered.

    Args:
        plan: with the scenes and the limit.
        rates: of what renders them.
        image: its name for people.
    """
    limit = plan.job.limits.scene_timeout
    slow = [] if limit is None else slower_than(plan.job.scenes, limit, rates)
    if limit is None or not slow:
        return
    longest = max(slow, key=rates.of)
    yield ntr(
        "limits.scene_timeout is {limit:.0f} s; {count} scene is likely to take longer with "
        "{image}: {scene}, {seconds:.0f} s. Without that limit, the time-out follows the scene",
        "limits.scene_timeout is {limit:.0f} s; {count} scenes are likely to take longer with "
        "{image}, {scene} {seconds:.0f} s. Without that limit, the time-out follows the scene",
        len(slow),
        limit=limit,
        image=image,
        scene=longest.name,
        seconds=rates.of(longest),
    )


def _upload_seconds(scene: Scene) -> float:
    options, size = scene.options, 0
    font = options.font if options.subtitle is not None else None
    for path in (scene.image, scene.audio, options.subtitle, options.watermark, font):
        if isinstance(path, Path):  # a font may be the name of a family
            with suppress(OSError):  # it is missed, with its name, when it is sent
                size += path.stat().st_size
    return size * _BASE64 / _UPLOAD_SPEED
