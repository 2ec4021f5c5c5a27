"""Marks of parametrized tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


def but_the_first_slow(values: Iterable[Any]) -> list[Any]:
    """Return parameters of which only the first is tried by `make test`."""
    first, *rest = values
    return [first, *(pytest.param(value, marks=pytest.mark.slow) for value in rest)]
