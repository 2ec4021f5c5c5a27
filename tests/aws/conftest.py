"""Fixtures of the aws target's tests: a test cloud of each test's own."""

from tests.support.clouds import cloud, ec2, iam_policy, launch

__all__ = ["cloud", "ec2", "iam_policy", "launch"]
