"""What a run's time and money went to: parts that add up to what was measured and billed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cloudburst.journal.state import InFlight, Session
from cloudburst.models import Cost, Owner
from cloudburst.report.uses import Use, broken_off, lanes, uses
from tests.support import pages

FOLDER = Path("out")


def test_parts_of_the_bill_add_up_to_it() -> None:
    report, _ = pages.troubled(FOLDER)
    went = uses(report.batches, report.scenes, report.cost)
    egress = next(line.usd for line in report.cost.lines if line.kind == "egress")
    assert sum(went.usd.values()) + went.minimum + egress == pytest.approx(report.cost.usd)
    assert sum(went.scenes.values()) + went.unshared == pytest.approx(report.cost.usd)
    workers = [one.usd for one in went.workers if one.usd is not None]
    assert sum(workers) + egress == pytest.approx(report.cost.usd)


def test_a_workers_time_goes_to_four_uses() -> None:
    report, _ = pages.troubled(FOLDER)
    refused, worked, lost, last = uses(report.batches, report.scenes, report.cost).workers
    assert refused.seconds == {Use.BOOT: 6, Use.RENDER: 0, Use.IDLE: 0, Use.END: 3}
    assert refused.attempts == (), "the attempts are those of the rung that gave a worker"
    # intro 51–58, brook 58–65, dogs 66–73, broken 80–82; at work from 51 to 91
    assert worked.seconds == {Use.BOOT: 42, Use.RENDER: 23, Use.IDLE: 17, Use.END: 9}
    # sunset 43–50 and dogs 50–54, when the machine was reclaimed; at work from 42 to 54
    assert lost.seconds == {Use.BOOT: 42, Use.RENDER: 11, Use.IDLE: 1, Use.END: 9}
    assert last.total == 42 + 20 + 9


def test_what_was_broken_off_was_rendered_until_then() -> None:
    report, state = pages.troubled(FOLDER)
    went = uses(report.batches, report.scenes, report.cost, broken_off(state))
    # It was at work from 105 to 125, with late from 110 on.
    last = went.workers[-1]
    assert last.seconds == {Use.BOOT: 42, Use.RENDER: 15, Use.IDLE: 5, Use.END: 9}
    assert [(name, one.span.end) for name, one in last.broken] == [("late", 125)]
    assert went.scenes["late"] == pytest.approx(last.usd)
    assert sum(went.scenes.values()) + went.unshared == pytest.approx(report.cost.usd)


def test_what_a_killed_session_was_rendering_ends_with_it_and_so_does_its_launch() -> None:
    report, state = pages.troubled(FOLDER)
    owner = Owner(1, 1.0, "here")
    first, second = Session(owner, 0.0, 120.0, None), Session(owner, 200.0, 134.0, "complete")
    flight = InFlight(9, "b02.2", 110.0, "f")
    ended = replace(state, sessions=(first, second), inflight={}, endless=(("late", flight),))
    (last,) = report.batches[1].launches[-1:]
    killed = replace(last, spans=last.spans[:2], destroyed=False)
    batch = replace(report.batches[1], launches=(killed,))
    went = uses((batch,), report.scenes, report.cost, broken_off(ended))
    assert went.workers[0].seconds == {Use.BOOT: 42, Use.RENDER: 10, Use.IDLE: 5, Use.END: 0}


def test_two_scenes_at_once_are_no_more_time_than_one() -> None:
    report, _ = pages.troubled(FOLDER)
    twice = tuple(
        replace(scene, name=f"{scene.name}-{number}")
        for scene in report.scenes
        for number in range(2)
    )
    worked = uses(report.batches, twice, report.cost).workers[1]
    assert worked.seconds[Use.RENDER] == 23
    assert len(worked.attempts) == 8


def test_the_least_that_is_billed_is_told_apart_from_what_a_worker_took() -> None:
    report, _ = pages.troubled(FOLDER)
    lines = (pages.line("machine", "i-3", 142 / 3600, 0.36, report.cost.lines[0].basis),)
    bill = Cost(lines[0].usd, 0.0, "", lines)
    went = uses(report.batches, report.scenes, bill)
    assert went.minimum == pytest.approx(bill.usd / 2), "142 s are billed, and it took 71"
    assert went.usd[Use.BOOT] == pytest.approx(bill.usd / 2 * 42 / 71)


def test_a_worker_that_was_taken_over_is_billed_once() -> None:
    report, _ = pages.troubled(FOLDER)
    first = report.batches[0]
    again = replace(first, launches=(first.launches[1], replace(first.launches[1])))
    went = uses((again,), report.scenes, report.cost)
    machine = sum(line.usd for line in report.cost.lines if line.machine == "i-1")
    assert sum(one.usd or 0.0 for one in went.workers) == pytest.approx(machine)


def test_what_rents_nothing_has_no_money() -> None:
    report, _ = pages.troubled(FOLDER)
    went = uses(report.batches, report.scenes, Cost(0.0, 1.0, "nothing"))
    assert went.usd == {}
    assert went.scenes == {}
    assert {one.usd for one in went.workers} == {None}


def test_batches_are_in_the_order_of_their_numbers() -> None:
    report, _ = pages.many(FOLDER, 120, 120)
    went = uses(tuple(reversed(report.batches)), report.scenes, report.cost)
    assert [one.batch for one in went.workers] == [f"b{n:02d}" for n in range(1, 121)]


def test_nothing_in_one_lane_overlaps() -> None:
    assert lanes([(0, 5), (1, 3), (3, 4), (5, 6), (0.5, 9)]) == [0, 2, 2, 0, 1]
    assert lanes([]) == []
