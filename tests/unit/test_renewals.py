"""When machines' leases were renewed: noted now and then, kept, drawn as ticks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cloudburst.journal import store
from cloudburst.models import Renewal
from cloudburst.report import json, trace
from cloudburst.report.page import timeline
from cloudburst.report.uses import uses
from cloudburst.runner.worker.renewals import Renewals
from tests.support import pages
from tests.support.pasts import begun, launched

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.models import RunReport

HOUR = 3600


def noted(*answers: tuple[float, float], before: tuple[Renewal, ...] = ()) -> list[Renewal]:
    """Return what is noted of a machine that answered at some seconds, with what its lease was."""
    written: list[Renewal] = []
    clock = iter([at for at, _ in answers])
    renewals = Renewals(lambda: next(clock), written.append, before)
    for _, lease in answers:
        renewals.renewed(lease)
    assert renewals.noted == (*before, *written)
    return written


def test_a_machine_that_is_asked_every_few_seconds_has_four_marks_a_lease() -> None:
    marks = noted(*((float(at), 600.0) for at in range(0, HOUR, 2)))
    assert [one.at for one in marks] == [float(at) for at in range(0, HOUR, 150)]
    assert all(one.until == one.at + 600 for one in marks)


def test_the_first_answer_after_a_gap_is_noted() -> None:
    gap = [(at, 600.0) for at in (0.0, 10.0, 480.0, 490.0)]
    assert [one.at for one in noted(*gap)] == [0.0, 480.0]


def test_towards_the_end_that_nothing_prolongs_there_are_no_more_marks_than_before() -> None:
    marks = noted(*((float(at), min(600.0, HOUR - at)) for at in range(0, HOUR, 2)))
    assert len(marks) == 24
    assert marks[-1] == Renewal(3450.0, 3600.0)


def test_a_worker_that_is_taken_over_goes_on_with_its_marks() -> None:
    assert noted((100.0, 600.0), (160.0, 600.0), before=(Renewal(0.0, 600.0),)) == [
        Renewal(160.0, 760.0)
    ]


def test_a_journal_keeps_each_workers_renewals(tmp_path: Path) -> None:
    with begun(tmp_path / "out") as held:
        first, second = launched(held, "b01"), launched(held, "b02")
        held.renewal(first, Renewal(10.0, 610.0))
        held.renewal(second, Renewal(20.0, 620.0))
        held.renewal(first, Renewal(160.0, 760.0))
    state = store.read(tmp_path / "out")
    assert state is not None
    launches = [launch for batch in state.batches for launch in batch.launches]
    assert [launch.renewals for launch in launches] == [
        (Renewal(10.0, 610.0), Renewal(160.0, 760.0)),
        (Renewal(20.0, 620.0),),
    ]
    assert [worker.renewals for worker in state.unfinished] == [one.renewals for one in launches]


def test_a_hundred_machines_add_little_to_a_journal_in_an_hour(tmp_path: Path) -> None:
    sizes = []
    # A tenth of those of a hundred machines.
    for count in (0, 240):
        folder = tmp_path / str(count)
        with begun(folder) as held:
            row = launched(held)
            for number in range(count):
                held.renewal(row, Renewal(number * 150.123, number * 150.123 + 600))
        sizes.append((folder / store.NAME).stat().st_size)
    assert 0 < sizes[1] - sizes[0] < 10_000


def renewed(report: RunReport, *marks: Renewal, all_of_them: bool = False) -> RunReport:
    """Return a run whose machines, or whose second launch alone, were reached at some moments."""
    batches = []
    for batch in report.batches:
        launches = tuple(
            replace(one, renewals=marks) if one.worker == "i-1" or all_of_them else one
            for one in batch.launches
        )
        batches.append(replace(batch, launches=launches))
    return replace(report, batches=tuple(batches))


def drawn(report: RunReport) -> timeline.Timeline:
    found = timeline.timeline(uses(report.batches, report.scenes, report.cost), {}, report.seconds)
    assert found is not None
    return found


def test_the_timeline_has_a_tick_for_each_and_says_when_the_lease_would_have_ended(
    tmp_path: Path,
) -> None:
    report, _ = pages.troubled(tmp_path)
    assert "renewal" not in dict(drawn(report).legend), "where there is no lease, nothing is said"
    shown = drawn(renewed(report, Renewal(67.0, 667.0)))
    assert "renewal" in dict(shown.legend)
    (tick,) = (tick for row in shown.rows for tick in row.renewals)
    assert shown.rows[1].renewals == (tick,)
    assert tick.x == pytest.approx(100 * 67 / 134, abs=1e-3)
    assert tick.tip == (
        "b01: lease renewed after 67.0 s; without a request, the machine would end itself "
        "after 11 min 07 s"
    )


def test_a_page_has_no_more_ticks_than_it_can_hold(tmp_path: Path) -> None:
    report, _ = pages.many(tmp_path, workers=100)
    marks = tuple(Renewal(at * 0.5, at * 0.5 + 600) for at in range(300))
    shown = drawn(renewed(report, *marks, all_of_them=True))
    count = sum(len(row.renewals) for row in shown.rows)
    assert 1500 < count <= 2100
    assert len({row.renewals[-1].x for row in shown.rows}) == 1, "each row is thinned alike"


def test_the_trace_and_report_json_have_them(tmp_path: Path) -> None:
    report, _ = pages.troubled(tmp_path)
    report = renewed(report, Renewal(67.0, 667.0))
    events = trace.document(report, uses(report.batches, report.scenes, report.cost))["traceEvents"]
    (event,) = (one for one in events if one.get("cat") == "lease")
    assert (event["ph"], event["s"], event["ts"]) == ("i", "t", 67_000_000)
    (phase,) = (
        one for one in events if one["name"] == "creating" and one["args"].get("machine") == "i-1"
    )
    assert (event["pid"], event["tid"]) == (phase["pid"], phase["tid"]), "in its worker's thread"
    (launch,) = (
        one for one in json.document(report)["batches"][0]["launches"] if one["worker"] == "i-1"
    )
    assert launch["renewals"] == [{"at": 67.0, "until": 667.0}]
