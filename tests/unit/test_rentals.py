"""The rented machines: which were asked for, which ran, what they cost."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloudburst.journal.store import Journal
from cloudburst.models import Basis, Cost, Price, Rental, RunRecord
from cloudburst.targets.aws.described import STACK_TAG, Instance
from cloudburst.targets.aws.fleet import Fleet
from cloudburst.targets.aws.prices.pricing import EGRESS_PER_GB, IPV4_PER_HOUR
from cloudburst.targets.aws.rentals import Rentals
from cloudburst.targets.base import Earlier
from tests.support.rentals import ASKED

HOUR = 3600.0
ONE = replace(ASKED, machine="i-1")
OTHER = replace(ASKED, machine="i-2", since=1100.0)
# The machine, its disk, its address.
HOURLY = 0.4 + 30 * 0.0001 + IPV4_PER_HOUR


class Kept:
    """Rentals with a clock that a test sets, and what they have recorded."""

    def __init__(self, *earlier: Rental, now: float = 1000.0) -> None:
        self.now = now
        self.recorded: list[Rental] = []
        self.rentals = Rentals(lambda: self.now, earlier, self.recorded.append)

    def usd(self) -> float:
        return self.rentals.cost(0).usd

    def ends(self) -> dict[str, float | None]:
        return {one.machine: one.until for one in self.rentals.of("run-b01")}


@pytest.fixture
def kept() -> Kept:
    return Kept()


# -- this session's machines --------------------------------------------------------------------


def test_a_machine_is_asked_for_seen_and_gone(kept: Kept) -> None:
    kept.rentals.ask(ASKED)
    assert kept.rentals.asked("run-b01") == ASKED
    assert not kept.rentals.knows("i-1")
    kept.rentals.enter(ONE)
    assert kept.rentals.asked("run-b01") is None
    assert kept.rentals.knows("i-1")
    assert kept.rentals.of("run-b01") == [ONE]
    kept.now = 1000.0 + HOUR
    assert kept.usd() == pytest.approx(HOURLY)
    kept.rentals.close("run-b01", set())
    kept.now += HOUR
    assert kept.usd() == pytest.approx(HOURLY)
    gone = replace(ONE, until=1000.0 + HOUR, at_most=True)
    assert kept.recorded == [ASKED, ONE, gone], "each is written down"


def test_a_machine_that_is_left_goes_on_costing(kept: Kept) -> None:
    kept.rentals.enter(ONE)
    kept.now += HOUR
    kept.rentals.close("run-b01", {"i-1"})
    kept.now += HOUR
    assert kept.usd() == pytest.approx(2 * HOURLY)
    assert kept.ends() == {"i-1": None}


@pytest.mark.parametrize(
    ("ended", "until", "known"),
    [
        # AWS bills a machine while it is running: not while it shuts down, until it is gone.
        (2000.0, 2001.0, True),  # told without the fraction of a second
        (8999.5, 9000.0, True),
        (ONE.since - 0.5, ONE.since + 0.5, True),
        # Nobody says when it ended, or another clock than ours does, which cannot be right.
        (None, 9000.0, False),
        (9000.5, 9000.0, False),
        (ONE.since - 2, 9000.0, False),
    ],
)
def test_a_machine_is_billed_until_it_ended_else_until_it_was_seen_to_be_gone(
    kept: Kept, ended: float | None, until: float, known: bool
) -> None:
    kept.rentals.enter(ONE)
    kept.now = 9000.0  # beyond its lease, but it was watched all the time
    kept.rentals.close("run-b01", set(), {} if ended is None else {"i-1": ended})
    assert kept.ends() == {"i-1": until}
    cost = kept.rentals.cost(0)
    assert cost.at_most is not known
    assert ("has not said" in cost.basis) is not known
    assert cost.shown.startswith("$" if known else "at most $")
    assert kept.usd() == pytest.approx(HOURLY * max(60, until - ONE.since) / HOUR)


def test_an_end_is_an_end(kept: Kept) -> None:
    kept.rentals.enter(ONE)
    kept.now = 2000.0
    kept.rentals.close("run-b01", set())
    kept.now = 3000.0
    kept.rentals.close("run-b01", set())
    kept.rentals.enter(ONE)
    assert kept.ends() == {"i-1": 2000.0}
    assert len(kept.recorded) == 2


def test_a_stack_is_closed_alone(kept: Kept) -> None:
    kept.rentals.enter(ONE)
    kept.rentals.enter(replace(OTHER, stack="run-b02"))
    kept.rentals.ask(replace(ASKED, stack="run-b03"))
    kept.rentals.close("run-b02", set())
    assert kept.ends() == {"i-1": None}
    assert kept.rentals.asked("run-b03") is not None


def test_two_machines_for_one_stack_are_both_billed(kept: Kept) -> None:
    kept.rentals.ask(ASKED)
    kept.rentals.enter(OTHER)
    kept.rentals.enter(ONE)
    assert kept.rentals.of("run-b01") == [ONE, OTHER], "the oldest first"
    kept.now = 1100.0 + HOUR
    kept.rentals.close("run-b01", {"i-2"})
    kept.now += HOUR
    kept.rentals.close("run-b01", set())
    assert kept.ends() == {"i-1": 1100.0 + HOUR, "i-2": 1100.0 + 2 * HOUR}
    cost = kept.rentals.cost(0)
    assert cost.worker_seconds == 100.0 + HOUR + 2 * HOUR
    machines = {line.what: line.quantity for line in cost.lines if line.kind == "machine"}
    assert machines == {
        "i-1 c5.2xlarge spot in us-east-1a": pytest.approx(1 + 100 / HOUR),
        "i-2 c5.2xlarge spot in us-east-1a": pytest.approx(2.0),
    }


def test_the_newest_machine_says_what_a_stack_costs(kept: Kept) -> None:
    assert kept.rentals.hourly("run-b01") == 0.0
    kept.rentals.enter(ONE)
    kept.rentals.enter(replace(OTHER, price=Price(0.7, "")))
    assert kept.rentals.hourly("run-b01") == 0.7


# -- asked for and never seen -------------------------------------------------------------------


def test_what_never_came_to_be_costs_nothing(kept: Kept) -> None:
    kept.rentals.ask(ASKED)
    kept.now += HOUR
    kept.rentals.close("run-b01", set())
    assert kept.rentals.cost(0).lines == ()
    assert kept.rentals.accrued() == (0.0, 0.0)
    assert kept.recorded[-1] == replace(ASKED, until=ASKED.since), "its note goes, too"


def test_while_another_one_is_left_it_may_still_come(kept: Kept) -> None:
    kept.rentals.ask(ASKED)
    kept.rentals.close("run-b01", {"i-9"})
    assert kept.rentals.asked("run-b01") == ASKED


def test_what_may_run_is_on_the_bill_as_an_estimate(kept: Kept) -> None:
    kept.rentals.ask(ASKED)
    kept.now += HOUR
    cost = kept.rentals.cost(0)
    assert {line.basis for line in cost.lines} == {Basis.ESTIMATE}
    assert {line.what.split()[0] for line in cost.lines} == {"unseen"}
    assert cost.usd == pytest.approx(HOURLY)
    assert cost.worker_seconds == 0.0, "nobody has seen it work"


def test_what_may_run_counts_for_the_limit_with_the_shortest_bill(kept: Kept) -> None:
    kept.rentals.ask(ASKED)
    kept.now += HOUR
    spent, _ = kept.rentals.accrued()
    assert spent == pytest.approx(HOURLY / 60), "it may wait for its turn"


# -- machines of earlier sessions ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "ended", "until"),
    [
        (2000.0, None, 2000.0),  # nobody says when it ended: until it was seen to be gone
        (2000.0, 1500.0, 1501.0),  # until it ended
        (99000.0, None, ONE.expires),  # no longer than its lease
        (99000.0, 1500.0, 1501.0),
        (99000.0, 98000.0, 98001.0),  # unless AWS says so
        (2000.0, 2500.0, 2000.0),  # another clock than ours: not in the future
        (2000.0, 10.0, 2000.0),  # nor before it began
    ],
)
def test_an_earlier_machine_is_billed_until_its_end_or_its_lease(
    now: float, ended: float | None, until: float
) -> None:
    kept = Kept(ONE, now=now)
    kept.rentals.close("run-b01", set(), {} if ended is None else {"i-1": ended})
    assert kept.ends() == {"i-1": until}
    known = ended is not None and until == ended + 1
    assert kept.recorded == [replace(ONE, until=until, at_most=not known)]


def test_an_end_that_becomes_known_is_no_upper_bound() -> None:
    """As a journal of an earlier release has every machine, also one that was left running."""
    kept = Kept(replace(ONE, at_most=True), now=9000.0)
    kept.rentals.close("run-b01", set(), {"i-1": 1500.0})
    assert kept.recorded == [replace(ONE, until=1501.0, at_most=False)]


def test_an_earlier_machine_that_has_ended_keeps_its_end() -> None:
    kept = Kept(replace(ONE, until=1500.0), now=9000.0)
    kept.rentals.close("run-b01", set(), {"i-1": 1400.0})
    assert kept.ends() == {"i-1": 1500.0}
    assert kept.recorded == []
    assert kept.usd() == pytest.approx(HOURLY * 500 / HOUR)
    assert kept.rentals.accrued() == pytest.approx((HOURLY * 500 / HOUR, 0.0))


def test_an_earlier_machine_that_nobody_has_asked_after_has_ended_with_its_lease() -> None:
    kept = Kept(ONE, now=1000.0 + 24 * HOUR)
    assert kept.usd() == pytest.approx(2 * HOURLY), "its lease was two hours"
    assert kept.rentals.accrued() == pytest.approx((2 * HOURLY, 0.0))
    assert kept.ends() == {"i-1": None}, "it has still to be verified"


def test_an_earlier_machine_that_was_taken_over_costs_from_its_launch_to_now() -> None:
    kept = Kept(ONE, now=1000.0 + HOUR)
    assert kept.usd() == pytest.approx(HOURLY)
    assert kept.rentals.accrued() == pytest.approx((HOURLY, HOURLY))
    assert kept.recorded == [], "what is known is not told again"


def test_what_an_earlier_session_had_asked_for_may_show_up() -> None:
    kept = Kept(ASKED, now=2000.0)
    assert kept.rentals.asked("run-b01") == ASKED
    kept.rentals.enter(ONE)
    assert kept.rentals.asked("run-b01") is None
    assert kept.recorded == [ONE]


def test_what_an_earlier_session_had_made_is_billed_until_its_end_even_when_first_seen_now() -> (
    None
):
    kept = Kept(ASKED, now=9000.0)
    kept.rentals.enter(ONE)
    kept.rentals.close("run-b01", set(), {"i-1": 1500.0})
    assert kept.ends() == {"i-1": 1501.0}


def test_what_an_earlier_session_had_asked_for_may_never_have_come() -> None:
    kept = Kept(ASKED, now=2000.0)
    kept.rentals.close("run-b01", set())
    assert kept.usd() == 0.0
    assert kept.recorded == [replace(ASKED, until=ASKED.since)]


def test_a_machine_that_nobody_knew_is_not_as_dead_as_the_one_that_was_known() -> None:
    recorded: list[Rental] = []
    earlier = Earlier("run", rentals=(replace(ONE, until=1500.0),))
    aws: Any = None
    Fleet(aws, earlier, recorded.append, lambda: 3000.0).note(
        Instance(
            id="i-3",
            type="c5.2xlarge",
            region="us-east-1",
            zone="us-east-1a",
            state="running",
            launched=2000.0,
            spot_request="sir-1",
            code="",
            reason="",
            ended=None,
            tags={STACK_TAG: "run-b01"},
        )
    )
    assert recorded == [replace(ONE, machine="i-3", since=2000.0, until=None)]


# -- the bill -----------------------------------------------------------------------------------


def test_a_bill_names_its_parts(kept: Kept) -> None:
    kept.rentals.enter(replace(ONE, surplus=0.05))
    kept.now += HOUR
    cost = kept.rentals.cost(3_000_000_000)
    assert [(line.kind, line.unit, line.basis) for line in cost.lines] == [
        ("machine", "h", Basis.SPOT),
        ("disk", "GB-h", Basis.LIST),
        ("address", "h", Basis.ESTIMATE),
        ("credits", "h", Basis.ESTIMATE),
        ("egress", "GB", Basis.ESTIMATE),
    ]
    assert cost.usd == pytest.approx(HOURLY + 0.05 + 3 * EGRESS_PER_GB)
    assert cost.usd == pytest.approx(sum(line.usd for line in cost.lines))
    assert [line.machine for line in cost.lines] == ["i-1"] * 4 + [""]


@pytest.mark.parametrize(
    ("seconds", "billed"), [(0.0, 60), (59.5, 60), (60.0, 60), (60.1, 61), (3600.0, 3600)]
)
def test_whole_seconds_are_billed_sixty_at_least(kept: Kept, seconds: float, billed: int) -> None:
    kept.rentals.enter(ONE)
    kept.now += seconds
    kept.rentals.close("run-b01", set())
    assert kept.rentals.cost(0).worker_seconds == billed


# -- together with the journal ------------------------------------------------------------------

RECORD = RunRecord("run", "job", "/scenes.yaml", "/out", "aws", "2026-11-24T10:15:00+00:00")
STACKS = ("run-b01", "run-b02")
steps = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from(STACKS)),
    st.tuples(st.just("enter"), st.sampled_from(STACKS), st.integers(1, 2)),
    st.tuples(st.just("close"), st.sampled_from(STACKS), st.sets(st.integers(1, 2))),
    st.tuples(st.just("wait"), st.integers(1, 5000)),
    st.tuples(st.just("again")),
)


def machine(stack: str, number: int) -> str:
    return f"i-{stack[-1]}{number}"


def take(kept: Kept, step: tuple[Any, ...]) -> None:
    match step:
        case "ask", stack:
            kept.rentals.ask(replace(ASKED, stack=stack, since=kept.now, expires=kept.now + 7200))
        case "enter", stack, number:
            seen = replace(ASKED, stack=stack, since=kept.now, expires=kept.now + 7200)
            kept.rentals.enter(replace(seen, machine=machine(stack, number)))
        case "close", stack, left:
            kept.rentals.close(stack, {machine(stack, number) for number in left})
        case "wait", seconds:
            kept.now += seconds


def parts(cost: Cost) -> list[tuple[str, float]]:
    return sorted((f"{line.kind} {line.what}", line.usd) for line in cost.lines)


@settings(max_examples=60)
@given(st.lists(steps, max_size=15))
@example([("enter", "run-b01", 2), ("ask", "run-b01"), ("close", "run-b01", {1})])
def test_a_killed_session_loses_nothing_from_its_books(taken: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder)) as held:
        held.begin(RECORD)
        kept = Kept()
        kept.rentals = Rentals(lambda: kept.now, record=held.rental)
        for step in taken:
            take(kept, step)
            if step == ("again",):
                kept.rentals = Rentals(lambda: kept.now, held.state().rentals, held.rental)
            restored = Kept(*held.state().rentals, now=kept.now)
            if kept.now <= ASKED.expires:
                assert parts(restored.rentals.cost(0)) == parts(kept.rentals.cost(0))
            else:  # by then, machines that nobody has looked after have ended themselves
                assert restored.usd() <= kept.usd() + 1e-9
                continue
            assert restored.rentals.accrued() == pytest.approx(kept.rentals.accrued())


@settings(max_examples=60)
@given(st.lists(steps, max_size=15))
def test_a_bill_never_shrinks_but_for_what_never_came_to_be(taken: list[tuple[Any, ...]]) -> None:
    kept, paid = Kept(), 0.0
    for step in taken:
        take(kept, step)
        seen = sum(line.usd for line in kept.rentals.cost(0).lines if "unseen" not in line.what)
        assert seen >= paid
        paid = seen
        spent, hourly = kept.rentals.accrued()
        assert spent >= paid - 1e-9
        assert hourly >= 0.0
