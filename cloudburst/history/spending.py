"""What runs have cost, in a span of time, by job, target, type, market or day. Pure.

Days and months are those of UTC, as on AWS's bill.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from cloudburst import targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cloudburst.history.values import Charge, PastRun

By = Literal["job", "target", "type", "market", "day"]


@dataclass(frozen=True, slots=True)
class Group:
    """What one job, target, type, market or day has cost.

    Args:
        key: which; empty for what no machine is billed for, such as downloads.
        usd: USD.
        runs: ids of the runs it is of.
        machines: the providers' names for the machines.
        hours: that these machines ran, within the time that was asked about.
    """

    key: str
    usd: float
    runs: frozenset[str]
    machines: frozenset[str]
    hours: float


def spent(runs: Iterable[PastRun], since: float = 0.0, until: float = float("inf")) -> list[Charge]:
    """Return what was charged in a span of time; a line that is longer is divided by time.

    Args:
        runs: whose bills are looked at.
        since: seconds since 1970.
        until: seconds since 1970, excluded.
    """
    return cut((charge for run in runs for charge in run.charges), since, until)


def cut(charges: Iterable[Charge], since: float, until: float = float("inf")) -> list[Charge]:
    """Return the parts of charges that are in a span of time; see `spent`."""
    parts = (_cut(charge, since, until) for charge in charges)
    return [charge for charge in parts if charge is not None]


def uncounted(runs: Iterable[PastRun]) -> list[PastRun]:
    """Return the runs whose machines have cost something that is not known."""
    return [run for run in runs if run.why and _rents(run.record.target)]


def _rents(target: str) -> bool:
    return target not in targets.names() or not targets.get(target).unbilled


def total(charges: Iterable[Charge]) -> float:
    """Return what charges come to, in USD."""
    return sum(charge.usd for charge in charges)


def month_began(at: float) -> float:
    """Return when the calendar month of a moment began, in UTC; both in seconds since 1970."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()


def grouped(charges: Iterable[Charge], by: By) -> list[Group]:
    """Return charges by what they are for: days in their order, else the dearest first."""
    groups: dict[str, list[Charge]] = {}
    pieces = (piece for charge in charges for piece in _days(charge)) if by == "day" else charges
    for charge in pieces:
        key = day(charge.began) if by == "day" else str(getattr(charge, by))
        groups.setdefault(key, []).append(charge)
    made = [_group(key, group) for key, group in groups.items()]
    return sorted(made, key=lambda one: one.key if by == "day" else (-one.usd, one.key))


def day(at: float) -> str:
    """Return the day of a moment, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def _group(key: str, charges: list[Charge]) -> Group:
    machines = [one for one in charges if one.kind == "machine"]
    return Group(
        key=key,
        usd=total(charges),
        runs=frozenset(one.run_id for one in charges),
        machines=frozenset(one.machine for one in machines),
        hours=sum(one.until - one.began for one in machines) / 3600,
    )


def _cut(charge: Charge, since: float, until: float) -> Charge | None:
    """Return the part of a charge that is in a span of time, None when nothing is."""
    if charge.until <= charge.began:
        return charge if since <= charge.began < until else None
    began, ended = max(charge.began, since), min(charge.until, until)
    if ended <= began:
        return None
    share = (ended - began) / (charge.until - charge.began)
    return replace(charge, began=began, until=ended, usd=charge.usd * share)


def _days(charge: Charge) -> Iterator[Charge]:
    """Yield a charge in pieces of which none goes beyond the end of a day."""
    rest: Charge | None = charge
    while rest is not None:
        moment = datetime.fromtimestamp(rest.began, UTC)
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        end = midnight.timestamp()
        piece = _cut(rest, rest.began, end)
        if piece is not None:
            yield piece
        rest = _cut(rest, end, float("inf")) if rest.until > end else None
