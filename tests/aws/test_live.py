"""The tests for a live account, on the test cloud: mistakes of their own cost nothing here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from testcloud.cloud import Cloud

ROOT = Path(__file__).parents[2]


@pytest.mark.stack
@pytest.mark.slow
def test_the_live_tests_pass_on_the_test_cloud(tmp_path: Path) -> None:
    policy = ["--policy", "docs/aws-policy.json"]
    tests = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "0",
        "tests/live",
        "--live",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "testcloud",
            *policy,
            "--",
            *tests,
            f"--basetemp={tmp_path / 'live'}",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "6 passed" in done.stdout
    assert "nothing is left" in done.stdout


@pytest.mark.stack
@pytest.mark.video
@pytest.mark.slow
def test_the_demo_runs_against_the_endpoint_that_is_given(cloud: Cloud) -> None:
    done = subprocess.run(
        ["make", "demo-aws"],
        cwd=ROOT,
        env={**os.environ, **cloud.environment()},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "the test cloud launched" not in done.stdout, "no other cloud was started"
    assert len(cloud.machines) >= 1
    assert cloud.remaining() == []
