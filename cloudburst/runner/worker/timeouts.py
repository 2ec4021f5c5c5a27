"""Why an attempt at a scene was given up: which limit it was, and what to do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.language import tr
from cloudburst.targets.durations import LEAST_TIMEOUT, render_seconds, scene_timeout

if TYPE_CHECKING:
    from cloudburst.models import Limits, Scene
    from cloudburst.targets.durations import RenderTerms


def explained(scene: Scene, limits: Limits, terms: RenderTerms) -> str:
    """Return which limit an attempt that took too long has reached, and what to do about it.

    Args:
        scene: the scene.
        limits: the user's own.
        terms: of the worker that rendered it.
    """
    most = scene_timeout(scene, limits, terms)
    likely = terms.rates.of(scene)  # as a dry run has it
    values = {"most": f"{most:.0f}", "likely": f"{max(likely, 1):.0f}"}
    if limits.scene_timeout is not None and most == limits.scene_timeout:
        if likely > most:
            return tr(
                "limits.scene_timeout is {most} s, and the scene is likely to take {likely} s: "
                "raise it, or leave it out, and the limit follows the scene",
                **values,
            )
        return tr(
            "limits.scene_timeout is {most} s, and the scene was estimated at {likely} s: if the "
            "worker is only slow, raise it; `cloudburst logs` has what it said",
            **values,
        )
    if most == terms.longest:
        return tr(
            "the machine ends itself, which leaves {most} s for a scene, and this one was "
            "estimated at {likely} s: raise aws.lease_minutes, or leave it out",
            **values,
        )
    return tr(
        "limits.scene_timeout is not set, so the limit was {most} s: three times a cautious "
        "estimate of {cautious} s and the time to send the files, at least {least} s; if the "
        "worker is only slow, set it higher",
        most=values["most"],
        cautious=f"{max(render_seconds(scene) / terms.speed, 1):.0f}",
        least=f"{LEAST_TIMEOUT:.0f}",
    )
