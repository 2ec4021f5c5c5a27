"""How fast workers render: benchmarks, and what earlier runs have measured. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from cloudburst.language import later, ntr, tr

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudburst.models import RenderSample, Scene

# Fewer attempts may all have been odd ones.
ENOUGH = 5
STILL, SUBTITLED, MOVING, FULL = "baseline", "subtitles_only", "effects_only", "full_featured"
_NAMES: Mapping[str, str] = {
    STILL: later("stills"),
    SUBTITLED: later("stills with subtitles"),
    MOVING: later("motion"),
    FULL: later("motion with subtitles"),
}


@dataclass(frozen=True, slots=True)
class RenderRates:
    """How long workers of one kind take.

    Args:
        seconds: for a second of narration, by the protocol's name of the scenario.
        source: where those are from that no run has measured, for people.
        runs: by scenario, how many runs have measured it.
        in_turn: moving scenes are rendered one after the other, see docs/protocol.md.
    """

    seconds: Mapping[str, float]
    source: str
    runs: Mapping[str, int]
    in_turn: bool

    def of(self, scene: Scene) -> float:
        """Return the seconds that a scene is likely to take."""
        return scene.seconds * self.seconds[scenario(scene)]

    def measured(self, scenes: Iterable[Scene]) -> bool:
        """Whether runs have measured how long any of some scenes take."""
        return any(scenario(scene) in self.runs for scene in scenes)

    def origin(self, scenes: Iterable[Scene]) -> str:
        """Return where the rates that some scenes need are from, for people."""
        wanted = dict.fromkeys(sorted(map(scenario, scenes), key=list(_NAMES).index))
        measured = [name for name in wanted if name in self.runs]
        if not measured:
            return tr(self.source)
        count = max(self.runs[name] for name in measured)
        text = ntr(
            "measured in {count} run of this machine",
            "measured in {count} runs of this machine",
            count,
        )
        others = [name for name in wanted if name not in self.runs]
        if not others:
            return text
        return tr(
            "{measured}; {scenarios}: {source}",
            measured=text,
            scenarios=tr(", ").join(tr(_NAMES[name]) for name in others),
            source=tr(self.source),
        )


# Two cores with 8 s of narration at 1080p, docs/performance.md: the public image ...
PUBLIC_RATES = RenderRates(
    {STILL: 12.5 / 8, SUBTITLED: 21.2 / 8, MOVING: 66.5 / 8, FULL: 66.8 / 8},
    later("a benchmark of the public image on two cores"),
    {},
    in_turn=True,
)
# ... and the bundled video API, with motion at the effort of rented machines, up to 1.7 times that
# of this one, and a tenth of a second for each second of a still, of which a short one needs more.
BUNDLED_RATES = RenderRates(
    {STILL: 0.1, SUBTITLED: 0.12, MOVING: 0.4, FULL: 0.4},
    later("a benchmark of the bundled video API on two cores"),
    {},
    in_turn=False,
)


def scenario(scene: Scene) -> str:
    """Return the protocol's name for what a scene combines."""
    if scene.options.subtitle is not None:
        return FULL if scene.options.effects else SUBTITLED
    return MOVING if scene.options.effects else STILL


def learned(
    samples: Iterable[RenderSample], renderer: str, kind: str, otherwise: RenderRates
) -> RenderRates:
    """Return the rates of a kind of workers, by scenario the median of what was measured.

    Args:
        samples: of earlier runs.
        renderer: what renders on them, see `cloudburst.targets.base.TargetType.renderer`.
        kind: instance type.
        otherwise: for the scenarios of which there are not `ENOUGH`.
    """
    mine = [one for one in samples if (one.renderer, one.type) == (renderer, kind)]
    by_scenario = {name: [one for one in mine if one.scenario == name] for name in _NAMES}
    enough = {name: found for name, found in by_scenario.items() if len(found) >= ENOUGH}
    return replace(
        otherwise,
        seconds={
            **otherwise.seconds,
            **{name: median(one.rate for one in found) for name, found in enough.items()},
        },
        runs={name: len({one.run_id for one in found}) for name, found in enough.items()},
    )
