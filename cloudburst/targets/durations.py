"""How long a scene is likely to take, and when an attempt at it is given up.

Speeds are measured, not promised: docs/performance.md has the measurements and the command.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudburst.models import Limits, Scene

# Seconds on two vCPUs for a second of narration, by scenario (subtitled?, moving?): the public
# image, measured on two cores with 8 s of narration at 1080p (docs/performance.md). The bundled
# server is more than ten times as fast.
_RATE = {
    (False, False): 12.5 / 8,
    (True, False): 21.2 / 8,
    (False, True): 66.5 / 8,
    (True, True): 66.8 / 8,
}
_PATIENCE = 3.0
LEAST_TIMEOUT = 600.0
# Of a home connection with 2 Mbit/s up, in bytes per second; base64 adds a third.
_UPLOAD_SPEED = 250_000
_BASE64 = 4 / 3


def render_seconds(scene: Scene) -> float:
    """Return the estimated seconds that two vCPUs take for a scene with the public image."""
    kind = (scene.options.subtitle is not None, bool(scene.options.effects))
    return scene.seconds * _RATE[kind]


def scene_timeout(scene: Scene, limits: Limits) -> float:
    """Return the seconds after which an attempt at a scene is given up.

    The user's own limit, or three times what the scene is likely to take and what sending its files
    takes over a slow connection, but at least ten minutes.
    """
    if limits.scene_timeout is not None:
        return limits.scene_timeout
    return max(LEAST_TIMEOUT, _PATIENCE * render_seconds(scene) + _upload_seconds(scene))


def longest_timeout(scenes: Iterable[Scene], limits: Limits) -> float:
    """Return the longest of the scenes' time-outs, in seconds."""
    return max((scene_timeout(scene, limits) for scene in scenes), default=LEAST_TIMEOUT)


def slower_than_limit(scenes: Iterable[Scene], limits: Limits) -> list[Scene]:
    """Return the scenes that are likely to take longer than the user's own limit allows."""
    limit = limits.scene_timeout
    return [] if limit is None else [one for one in scenes if render_seconds(one) > limit]


def _upload_seconds(scene: Scene) -> float:
    options, size = scene.options, 0
    for path in (scene.image, scene.audio, options.subtitle, options.watermark):
        if path is not None:
            with suppress(OSError):  # it is missed, with its name, when it is sent
                size += path.stat().st_size
    return size * _BASE64 / _UPLOAD_SPEED
