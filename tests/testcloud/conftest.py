"""Fixtures of the test cloud's own tests: callers may do everything."""

import pytest

from tests.support.clouds import cloud, ec2, launch

__all__ = ["cloud", "ec2", "launch"]


@pytest.fixture
def iam_policy() -> None:
    """Return no policy: these tests call what they like."""
