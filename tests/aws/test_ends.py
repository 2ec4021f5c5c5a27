"""How soon machines are terminated: they are billed while they wait for an engine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from cloudburst import run
from cloudburst.models import WorkerState
from tests.support.aws import aws_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst import Event
    from testcloud.cloud import Cloud

pytestmark = [pytest.mark.stack, pytest.mark.video]


@pytest.mark.slow
@pytest.mark.parametrize("batches", [4, 20])
def test_a_machine_is_terminated_as_soon_as_its_last_video_is_here(
    cloud: Cloud, job_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    """Two stacks are destroyed at a time, each in a tenth of the time that AWS takes."""
    monkeypatch.setattr("cloudburst.engine.engine.slots_for", lambda *_: 4)
    cloud.real_time(1 / 10)
    more = (
        f"distribution: {{scenes_per_batch: 1, min_scenes_per_batch: 1, max_parallel_instances: "
        f"{batches}}}\naws: {{instance_types: [t3.large], zones: [us-east-1a]}}\n"
    )
    begun: dict[str | None, float] = {}

    def note(event: Event) -> None:
        if event.data.get("state") == WorkerState.DESTROYING:
            begun[event.batch] = time.time()

    report = run(aws_job(job_file, batches, more), on_event=note)
    assert report.done == batches
    ends = [call for call in cloud.calls if call.action == "TerminateInstances"]
    ours = sorted(call.time for call in ends if call.caller == "runner")
    # A batch whose scene another worker has taken by its turn creates no machine.
    asked = sorted(begun[machine.tags["cloudburst:batch"]] for machine in cloud.machines)
    assert len(ours) == len(asked) >= min(batches, 4)
    waited = [end - begin for begin, end in zip(asked, ours, strict=True)]
    assert max(waited) <= 2.0, waited
    # The engine alone would have begun with the last ones much later.
    theirs = sorted(call.time for call in ends if call.caller == "provider")
    assert theirs[-1] - asked[-1] > max(waited)
