"""The original tool's variables: those that set limits, those that are ignored, and their problems.

Those of a target's own settings are in its package, see `TargetType.variable_problems`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cloudburst import environment as dotenv
from cloudburst import targets
from cloudburst.errors import BadInput
from cloudburst.job.schema import MAX_HEALTH_TIMEOUT, MAX_SCENE_TIMEOUT
from cloudburst.language import later, tr
from cloudburst.models import Problem
from cloudburst.section import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudburst.job.schema import LimitsSection
    from cloudburst.models import Limits


@dataclass(frozen=True, slots=True)
class _Timeout:
    """A variable that sets a limit.

    Args:
        field: of `Limits`.
        unit: in which it counts, for people.
        seconds: that one unit has.
        most: seconds, as in scenes.yaml.
    """

    field: str
    unit: str
    seconds: float
    most: float


_TIMEOUTS = {
    "API_REQUEST_TIMEOUT_SECONDS": _Timeout("scene_timeout", "seconds", 1, MAX_SCENE_TIMEOUT),
    "INSTANCE_STARTUP_TIMEOUT_SECONDS": _Timeout(
        "health_timeout", "seconds", 1, MAX_HEALTH_TIMEOUT
    ),
    "DOCKER_PULL_TIMEOUT_MINUTES": _Timeout("health_timeout", "minutes", 60, MAX_HEALTH_TIMEOUT),
    "API_TIMEOUT_MINUTES": _Timeout("health_timeout", "minutes", 60, MAX_HEALTH_TIMEOUT),
}
_EXPECTED = {
    "seconds": later("a number of seconds from {least:.2g} to {most:g}"),
    "minutes": later("a number of minutes from {least:.2g} to {most:g}"),
}
_AMOUNTS = {
    "CLOUDBURST_MAX_COST_USD": "max_cost_usd",
    "CLOUDBURST_MAX_COST_USD_MONTH": "max_cost_usd_month",
}
_IGNORED = {"VIDEO_API_AUTH_KEY": later("every worker gets a random key of its own")}


def limits(base: Limits, section: LimitsSection, environment: Mapping[str, str]) -> Limits:
    """Return limits with those that variables set and the file leaves open.

    Several variables may set one limit: the start of a worker is one wait here, in which its
    instance boots, its image is pulled and its API answers. The longest of them counts, not their
    sum: a worker that will never answer is billed for as long as it is waited for.

    Args:
        base: from the file, with defaults.
        section: as the file has it.
        environment: variables, checked; see `check`.
    """
    longest: dict[str, float] = {}
    for name, timeout in _TIMEOUTS.items():
        seconds = _seconds(timeout, environment.get(name, ""))
        if seconds is not None and timeout.field not in section.model_fields_set:
            longest[timeout.field] = max(seconds, longest.get(timeout.field, 0.0))
    amounts = {
        field: amount
        for name, field in _AMOUNTS.items()
        if field not in section.model_fields_set
        and (amount := _amount(environment.get(name, ""))) is not None
    }
    return replace(base, **longest, **amounts)  # type: ignore[arg-type]  # its numbers alone


def places(section: LimitsSection, environment: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """Return where the variables are set that set limits of money, by the limit's field."""
    return {
        f"limits.{field}": dotenv.place(name)
        for name, field in _AMOUNTS.items()
        if environment.get(name) and field not in section.model_fields_set
    }


def ignored(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Return the variables that are set and have no effect, as (name, why)."""
    for name, why in _IGNORED.items():
        if environment.get(name):
            yield name, why


def problems(target: str, environment: Mapping[str, str]) -> list[Problem]:
    """Return what is wrong with the variables that a job on a target uses."""
    wrong = [*_timeout_problems(environment), *targets.get(target).variable_problems(environment)]
    return [Problem(*dotenv.place(name), name, message) for name, message in wrong]


def check(target: str, environment: Mapping[str, str]) -> None:
    """Refuse variables that a job on a target cannot use.

    Raises:
        BadInput: with all of them, each with its line of ``.env`` if it is from there.
    """
    wrong = problems(target, environment)
    if wrong:
        raise BadInput(wrong)


def _timeout_problems(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, timeout in _TIMEOUTS.items():
        text = environment.get(name)
        if text and _seconds(timeout, text) is None:
            least, most = 1 / timeout.seconds, timeout.most / timeout.seconds
            expected = tr(_EXPECTED[timeout.unit], least=least, most=most)
            yield name, tr("got {value}; expected {expected}", value=show(text), expected=expected)
    for name in _AMOUNTS:
        text = environment.get(name)
        if text and _amount(text) is None:
            expected = tr("a number above 0")
            yield name, tr("got {value}; expected {expected}", value=show(text), expected=expected)


def _amount(text: str) -> float | None:
    """Return a variable's value in USD; None for one that is empty or not valid."""
    try:
        amount = float(text)
    except ValueError:
        return None
    return amount if math.isfinite(amount) and amount > 0 else None


def _seconds(timeout: _Timeout, text: str) -> float | None:
    """Return a variable's value in seconds; None for one that is empty or not valid."""
    try:
        seconds = float(text) * timeout.seconds
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 1 <= seconds <= timeout.most else None
