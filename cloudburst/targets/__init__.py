"""The targets: the places where workers run, by name.

A target is a package here, a program in ``stacks/`` and a line in `REGISTRY`; `base` is what it
has to be. Importing this loads no foreign library: a target loads what it needs when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.errors import TargetUnknown
from cloudburst.targets.aws import AWS
from cloudburst.targets.local import LOCAL

if TYPE_CHECKING:
    from cloudburst.targets.base import TargetType

REGISTRY: dict[str, TargetType] = {"local": LOCAL, "aws": AWS}


def get(name: str) -> TargetType:
    """Return a target by its name.

    Raises:
        TargetUnknown: there is none; the message lists those there are.
    """
    try:
        return REGISTRY[name]
    except KeyError:
        raise TargetUnknown(name, names()) from None


def names() -> tuple[str, ...]:
    """Return the names of all targets, the default first."""
    return tuple(REGISTRY)
