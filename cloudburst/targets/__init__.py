"""Where workers live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.targets.local import LocalTarget

if TYPE_CHECKING:
    from cloudburst.models import TargetName
    from cloudburst.targets.base import Target

_TARGETS = {"local": LocalTarget}


def make_target(name: TargetName) -> Target:
    """Make the target of a name."""
    return _TARGETS[name]()
