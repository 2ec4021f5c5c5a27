"""Fixtures of the aws target's tests: a test cloud of each test's own."""

import pytest

from tests.support.clouds import cloud, ec2, iam_policy, launch

__all__ = ["cloud", "ec2", "iam_policy", "launch"]


@pytest.fixture(autouse=True)
def another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name an image whose container is a process of this environment.

    Most tests are not about what renders; those that are, in test_bundled.py, leave it out.
    """
    monkeypatch.setenv("DOCKER_IMAGE", "betashow/video-generation-api:latest")
