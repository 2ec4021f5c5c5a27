"""Fixtures for unit tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit import fakes

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def journals() -> Iterator[None]:
    """Let go of the journals that a test has held."""
    yield
    while fakes.HELD:
        fakes.HELD.pop().__exit__(None, None, None)
