"""Where workers live."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudburst.models import Job
    from cloudburst.targets.base import Target


def make_target(job: Job) -> Target:
    """Make the target of a job. What the other one needs is not loaded."""
    if job.target == "aws":
        from cloudburst.targets.aws import AwsTarget  # noqa: PLC0415

        return AwsTarget(job)
    from cloudburst.targets.local import LocalTarget  # noqa: PLC0415

    return LocalTarget()
