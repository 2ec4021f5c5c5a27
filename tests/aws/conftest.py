"""Fixtures of the aws target's tests: a test cloud of each test's own."""

from tests.testcloud.conftest import cloud, ec2, launch

__all__ = ["cloud", "ec2", "launch"]
