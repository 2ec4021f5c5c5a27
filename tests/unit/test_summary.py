"""What a run's report says of all its sessions."""

from __future__ import annotations

import pytest

from cloudburst.journal.state import KILLED
from cloudburst.models import BatchResult, Cost, RunRecord
from cloudburst.report import summary

RECORD = RunRecord("run", "job", "/scenes.yaml", "/out", "local", "2026-11-24T10:15:00+00:00")
NO_ROOM, REFUSED = "no rung is left; tried c5.2xlarge", "the credentials have expired"


@pytest.mark.parametrize(
    ("errors", "given", "expected"),
    [
        ([KILLED, NO_ROOM], "", NO_ROOM),
        ([NO_ROOM, KILLED], "", NO_ROOM),
        ([None, KILLED], "", KILLED),
        ([NO_ROOM, REFUSED], "", NO_ROOM),
        ([NO_ROOM, REFUSED], REFUSED, REFUSED),
        ([None, None], "", None),
    ],
)
def test_why_it_ended_early_is_more_than_that_it_was_killed(
    errors: list[str | None], given: str, expected: str | None
) -> None:
    batches = [
        BatchResult(f"b{number:02d}", f"run-b{number:02d}", (), error)
        for number, error in enumerate(errors, 1)
    ]
    report = summary.summarize(
        RECORD,
        scenes=[],
        batches=batches,
        bill=Cost(0.0, 0.0, "nothing was rented"),
        seconds=1.0,
        stopped=False,
        error=given,
    )
    assert report.error == expected
