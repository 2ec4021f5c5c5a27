"""Marks of parametrized tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


def but_the_first_slow(values: Iterable[Any], quick: int = 1) -> list[Any]:
    """Return parameters of which only the first, `quick` of them, are tried by `make test`."""
    every = list(values)
    return [
        *every[:quick],
        *(pytest.param(value, marks=pytest.mark.slow) for value in every[quick:]),
    ]
