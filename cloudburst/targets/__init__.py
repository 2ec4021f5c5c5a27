"""Where workers live."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudburst.models import AwsSettings, TargetName
    from cloudburst.targets.base import Target


def make_target(name: TargetName, settings: AwsSettings) -> Target:
    """Make a target by its name. What the other one needs is not loaded.

    Args:
        name: which one.
        settings: what the user asked of AWS.
    """
    if name == "aws":
        from cloudburst.targets.aws.target import AwsTarget  # noqa: PLC0415

        return AwsTarget(settings)
    from cloudburst.targets.local.target import LocalTarget  # noqa: PLC0415

    return LocalTarget()
