"""The targets: the places where workers run, by name.

A target is a package here, a program in ``stacks/`` and a line in `REGISTRY`; `base` is what it
has to be. Importing this loads no foreign library: a target loads what it needs when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def own_settings(name: str) -> Any:
    """Return a target's settings where there is no job file: from variables and `.env` alone.

    Raises:
        TargetUnknown: there is no such target.
    """
    from cloudburst import environment  # noqa: PLC0415 - loads dotenv

    return get(name).settings(None, environment.environment())


def names() -> tuple[str, ...]:
    """Return the names of all targets, the default first."""
    return tuple(REGISTRY)
