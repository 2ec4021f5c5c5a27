"""The books on rented machines: what was asked for, what came of it, what it costs."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloudburst.journal.store import Journal
from cloudburst.models import AwsSettings, Basis, Cost, Price, Rental, Rung
from cloudburst.targets.aws.ec2 import STACK_TAG, Instance
from cloudburst.targets.aws.pricing import EGRESS_PER_GB, IPV4_PER_HOUR
from cloudburst.targets.aws.rentals import Rentals
from cloudburst.targets.aws.target import AwsTarget

HOUR = 3600.0
RUNG = Rung("c5.2xlarge", "spot", "us-east-1", "us-east-1a")
ASKED = Rental(
    stack="run-b01",
    machine="",
    rung=RUNG,
    price=Price(0.4, "a test"),
    basis=Basis.SPOT,
    since=1000.0,
    until=None,
    expires=1000.0 + 2 * HOUR,
    disk_gb=30,
    disk_rate=0.0001,
    disk_basis=Basis.LIST,
    surplus=0.0,
)
ONE = replace(ASKED, machine="i-1")
OTHER = replace(ASKED, machine="i-2", since=1100.0)
# The machine, its disk, its address.
HOURLY = 0.4 + 30 * 0.0001 + IPV4_PER_HOUR


class Kept:
    """Books with a clock that a test sets, and what they have told of themselves."""

    def __init__(self, *earlier: Rental, now: float = 1000.0) -> None:
        self.now = now
        self.told: list[Rental] = []
        self.books = Rentals(lambda: self.now)
        self.books.restore(earlier, self.told.append)

    def usd(self) -> float:
        return self.books.cost(0).usd

    def ends(self) -> dict[str, float | None]:
        return {one.machine: one.until for one in self.books.of("run-b01")}


@pytest.fixture
def kept() -> Kept:
    return Kept()


# -- this session's machines --------------------------------------------------------------------


def test_a_machine_is_asked_for_seen_and_gone(kept: Kept) -> None:
    kept.books.ask(ASKED)
    assert kept.books.asked("run-b01") == ASKED
    assert not kept.books.knows("i-1")
    kept.books.enter(ONE)
    assert kept.books.asked("run-b01") is None
    assert kept.books.knows("i-1")
    assert kept.books.of("run-b01") == [ONE]
    kept.now = 1000.0 + HOUR
    assert kept.usd() == pytest.approx(HOURLY)
    kept.books.close("run-b01", set())
    kept.now += HOUR
    assert kept.usd() == pytest.approx(HOURLY)
    assert kept.told == [ASKED, ONE, replace(ONE, until=1000.0 + HOUR)], "each is written down"


def test_a_machine_that_is_left_goes_on_costing(kept: Kept) -> None:
    kept.books.enter(ONE)
    kept.now += HOUR
    kept.books.close("run-b01", {"i-1"})
    kept.now += HOUR
    assert kept.usd() == pytest.approx(2 * HOURLY)
    assert kept.ends() == {"i-1": None}


def test_this_sessions_machine_is_billed_until_it_was_seen_to_be_gone(kept: Kept) -> None:
    kept.books.enter(ONE)
    kept.now = ONE.expires + HOUR
    # Whatever the provider says of its end, and beyond its lease: it was watched all the time.
    kept.books.close("run-b01", set(), {"i-1": 2000.0})
    assert kept.ends() == {"i-1": ONE.expires + HOUR}


def test_an_end_is_an_end(kept: Kept) -> None:
    kept.books.enter(ONE)
    kept.now = 2000.0
    kept.books.close("run-b01", set())
    kept.now = 3000.0
    kept.books.close("run-b01", set())
    kept.books.enter(ONE)
    assert kept.ends() == {"i-1": 2000.0}
    assert len(kept.told) == 2


def test_a_stack_is_closed_alone(kept: Kept) -> None:
    kept.books.enter(ONE)
    kept.books.enter(replace(OTHER, stack="run-b02"))
    kept.books.ask(replace(ASKED, stack="run-b03"))
    kept.books.close("run-b02", set())
    assert kept.ends() == {"i-1": None}
    assert kept.books.asked("run-b03") is not None


def test_two_machines_for_one_stack_are_both_billed(kept: Kept) -> None:
    kept.books.ask(ASKED)
    kept.books.enter(OTHER)
    kept.books.enter(ONE)
    assert kept.books.of("run-b01") == [ONE, OTHER], "the oldest first"
    kept.now = 1100.0 + HOUR
    kept.books.close("run-b01", {"i-2"})
    kept.now += HOUR
    kept.books.close("run-b01", set())
    assert kept.ends() == {"i-1": 1100.0 + HOUR, "i-2": 1100.0 + 2 * HOUR}
    cost = kept.books.cost(0)
    assert cost.worker_seconds == 100.0 + HOUR + 2 * HOUR
    machines = {line.what: line.quantity for line in cost.lines if line.kind == "machine"}
    assert machines == {
        "i-1 c5.2xlarge spot in us-east-1a": pytest.approx(1 + 100 / HOUR),
        "i-2 c5.2xlarge spot in us-east-1a": pytest.approx(2.0),
    }


def test_the_newest_machine_says_what_a_stack_costs(kept: Kept) -> None:
    assert kept.books.hourly("run-b01") == 0.0
    kept.books.enter(ONE)
    kept.books.enter(replace(OTHER, price=Price(0.7, "")))
    assert kept.books.hourly("run-b01") == 0.7


# -- asked for and never seen -------------------------------------------------------------------


def test_what_never_came_to_be_costs_nothing(kept: Kept) -> None:
    kept.books.ask(ASKED)
    kept.now += HOUR
    kept.books.close("run-b01", set())
    assert kept.books.cost(0).lines == ()
    assert kept.books.accrued() == (0.0, 0.0)
    assert kept.told[-1] == replace(ASKED, until=ASKED.since), "its note goes, too"


def test_while_another_one_is_left_it_may_still_come(kept: Kept) -> None:
    kept.books.ask(ASKED)
    kept.books.close("run-b01", {"i-9"})
    assert kept.books.asked("run-b01") == ASKED


def test_what_may_run_is_on_the_bill_as_an_estimate(kept: Kept) -> None:
    kept.books.ask(ASKED)
    kept.now += HOUR
    cost = kept.books.cost(0)
    assert {line.basis for line in cost.lines} == {Basis.ESTIMATE}
    assert {line.what.split()[0] for line in cost.lines} == {"unseen"}
    assert cost.usd == pytest.approx(HOURLY)
    assert cost.worker_seconds == 0.0, "nobody has seen it work"


def test_what_may_run_counts_for_the_limit_with_the_shortest_bill(kept: Kept) -> None:
    kept.books.ask(ASKED)
    kept.now += HOUR
    spent, _ = kept.books.accrued()
    assert spent == pytest.approx(HOURLY / 60), "it may wait for its turn"


# -- machines of earlier sessions ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "ended", "until"),
    [
        (2000.0, None, 2000.0),  # nobody says when it ended: until it was seen to be gone
        (2000.0, 1500.0, 1500.0),  # until it ended
        (99000.0, None, ONE.expires),  # never longer than its lease
        (99000.0, 1500.0, 1500.0),
        (99000.0, 98000.0, ONE.expires),
        (2000.0, 2500.0, 2000.0),  # another clock than ours: not in the future
        (2000.0, 10.0, 1000.0),  # nor before it began
    ],
)
def test_an_earlier_machine_is_billed_until_its_end_or_its_lease(
    now: float, ended: float | None, until: float
) -> None:
    kept = Kept(ONE, now=now)
    kept.books.close("run-b01", set(), {} if ended is None else {"i-1": ended})
    assert kept.ends() == {"i-1": until}
    assert kept.told == [replace(ONE, until=until)]


def test_an_earlier_machine_that_has_ended_keeps_its_end() -> None:
    kept = Kept(replace(ONE, until=1500.0), now=9000.0)
    kept.books.close("run-b01", set(), {"i-1": 1400.0})
    assert kept.ends() == {"i-1": 1500.0}
    assert kept.told == []
    assert kept.usd() == pytest.approx(HOURLY * 500 / HOUR)
    assert kept.books.accrued() == pytest.approx((HOURLY * 500 / HOUR, 0.0))


def test_an_earlier_machine_that_nobody_has_asked_after_has_ended_with_its_lease() -> None:
    kept = Kept(ONE, now=1000.0 + 24 * HOUR)
    assert kept.usd() == pytest.approx(2 * HOURLY), "its lease was two hours"
    assert kept.books.accrued() == pytest.approx((2 * HOURLY, 0.0))
    assert kept.ends() == {"i-1": None}, "it has still to be verified"


def test_an_earlier_machine_that_was_taken_over_costs_from_its_launch_to_now() -> None:
    kept = Kept(ONE, now=1000.0 + HOUR)
    assert kept.usd() == pytest.approx(HOURLY)
    assert kept.books.accrued() == pytest.approx((HOURLY, HOURLY))
    assert kept.told == [], "what is known is not told again"


def test_what_an_earlier_session_had_asked_for_may_show_up() -> None:
    kept = Kept(ASKED, now=2000.0)
    assert kept.books.asked("run-b01") == ASKED
    kept.books.enter(ONE)
    assert kept.books.asked("run-b01") is None
    assert kept.told == [ONE]


def test_what_an_earlier_session_had_made_is_billed_until_its_end_even_when_first_seen_now() -> (
    None
):
    kept = Kept(ASKED, now=9000.0)
    kept.books.enter(ONE)
    kept.books.close("run-b01", set(), {"i-1": 1500.0})
    assert kept.ends() == {"i-1": 1500.0}


def test_what_an_earlier_session_had_asked_for_may_never_have_come() -> None:
    kept = Kept(ASKED, now=2000.0)
    kept.books.close("run-b01", set())
    assert kept.usd() == 0.0
    assert kept.told == [replace(ASKED, until=ASKED.since)]


def test_a_machine_that_nobody_knew_is_not_as_dead_as_the_one_that_was_known() -> None:
    told: list[Rental] = []
    target = AwsTarget(AwsSettings(), clock=lambda: 3000.0)
    target.know("run", {}, [replace(ONE, until=1500.0)], told.append)
    target._note(
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
    assert told == [replace(ONE, machine="i-3", since=2000.0, until=None)]


# -- the bill -----------------------------------------------------------------------------------


def test_a_bill_names_its_parts(kept: Kept) -> None:
    kept.books.enter(replace(ONE, surplus=0.05))
    kept.now += HOUR
    cost = kept.books.cost(3_000_000_000)
    assert [(line.kind, line.unit, line.basis) for line in cost.lines] == [
        ("machine", "h", Basis.SPOT),
        ("disk", "GB-h", Basis.LIST),
        ("address", "h", Basis.ESTIMATE),
        ("credits", "h", Basis.ESTIMATE),
        ("egress", "GB", Basis.ESTIMATE),
    ]
    assert cost.usd == pytest.approx(HOURLY + 0.05 + 3 * EGRESS_PER_GB)
    assert cost.usd == pytest.approx(sum(line.usd for line in cost.lines))


@pytest.mark.parametrize(
    ("seconds", "billed"), [(0.0, 60), (59.5, 60), (60.0, 60), (60.1, 61), (3600.0, 3600)]
)
def test_whole_seconds_are_billed_sixty_at_least(kept: Kept, seconds: float, billed: int) -> None:
    kept.books.enter(ONE)
    kept.now += seconds
    kept.books.close("run-b01", set())
    assert kept.books.cost(0).worker_seconds == billed


# -- together with the journal ------------------------------------------------------------------

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
            kept.books.ask(replace(ASKED, stack=stack, since=kept.now, expires=kept.now + 7200))
        case "enter", stack, number:
            seen = replace(ASKED, stack=stack, since=kept.now, expires=kept.now + 7200)
            kept.books.enter(replace(seen, machine=machine(stack, number)))
        case "close", stack, left:
            kept.books.close(stack, {machine(stack, number) for number in left})
        case "wait", seconds:
            kept.now += seconds


def parts(cost: Cost) -> list[tuple[str, float]]:
    return sorted((f"{line.kind} {line.what}", line.usd) for line in cost.lines)


@settings(deadline=None, max_examples=60)
@given(st.lists(steps, max_size=15))
@example([("enter", "run-b01", 2), ("ask", "run-b01"), ("close", "run-b01", {1})])
def test_a_killed_session_loses_nothing_from_its_books(taken: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder)) as held:
        held.begin({})
        kept = Kept()
        kept.books.restore((), held.rental)
        for step in taken:
            take(kept, step)
            if step == ("again",):
                kept.books = Rentals(lambda: kept.now)
                kept.books.restore(held.history().rentals, held.rental)
            restored = Kept(*held.history().rentals, now=kept.now)
            if kept.now <= ASKED.expires:
                assert parts(restored.books.cost(0)) == parts(kept.books.cost(0))
            else:  # by then, machines that nobody has looked after have ended themselves
                assert restored.usd() <= kept.usd() + 1e-9
                continue
            assert restored.books.accrued() == pytest.approx(kept.books.accrued())


@settings(deadline=None, max_examples=60)
@given(st.lists(steps, max_size=15))
def test_a_bill_never_shrinks_but_for_what_never_came_to_be(taken: list[tuple[Any, ...]]) -> None:
    kept, paid = Kept(), 0.0
    for step in taken:
        take(kept, step)
        seen = sum(line.usd for line in kept.books.cost(0).lines if "unseen" not in line.what)
        assert seen >= paid
        paid = seen
        spent, hourly = kept.books.accrued()
        assert spent >= paid - 1e-9
        assert hourly >= 0.0
