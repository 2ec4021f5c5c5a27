"""One machine on a real AWS account, when asked for by name: ``--live``, and never above a price.

Not run yet. What only a real account can show: the real provider's wording of errors, the time
from launch to health, console output on Nitro machines, and whether the policy of docs/aws.md is
enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloudburst import doctor, load_job, preview, run
from cloudburst.models import Finding, Outcome
from tests.support.inputs import scenes_yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst import Job

pytestmark = pytest.mark.live


@pytest.fixture
def job(job_file: Callable[..., Path], pytestconfig: pytest.Config) -> Job:
    path = job_file(scenes_yaml(1, "target: aws\naws: {lease_minutes: 20}\n"))
    most = float(pytestconfig.getoption("max_usd"))
    return load_job(path, output=path.parent / "out", max_cost_usd=most)


def test_the_doctor_finds_nothing_missing(job: Job) -> None:
    checks = list(doctor.examine("aws", job.aws, job))
    assert [check for check in checks if check.finding is Finding.ERROR] == []


def test_a_dry_run_previews_and_costs_nothing(job: Job) -> None:
    found = preview(job)
    assert found.estimate is not None
    assert found.estimate.worst > found.estimate.likely


def test_one_scene_on_one_machine(job: Job, pytestconfig: pytest.Config) -> None:
    report = run(job)
    assert report.outcome is Outcome.COMPLETE
    assert report.left_running == ()
    assert 0 < report.cost.usd <= float(pytestconfig.getoption("max_usd"))
