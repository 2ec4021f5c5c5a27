"""Fixtures of the test cloud's own tests."""

from tests.support.clouds import cloud, ec2, launch

__all__ = ["cloud", "ec2", "launch"]
