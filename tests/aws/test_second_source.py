"""Faults that others have written: microburst, a proxy that fails AWS calls in AWS's wire formats.

The test cloud's own faults were written by those who wrote what they test. This proxy stands in
front of its API, for the run and for the engine's provider alike (github.com and PyPI: microburst).
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
import requests

from cloudburst import cleanup, media
from cloudburst.errors import InfrastructureError
from cloudburst.models import Outcome, SceneStatus
from tests.support.aws import ONE_ZONE, aws_job, run_watched, stacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from testcloud.cloud import Cloud

pytestmark = [pytest.mark.stack, pytest.mark.video, pytest.mark.slow]

EC2 = {"service": "ec2"}
ONE_OF_FOUR = {"sequence": {"fail": 1, "pass": 3}}
ONE_OF_NINE = {"sequence": {"fail": 1, "pass": 8}}
# What befalls calls, and whether the SDKs' own retries must be enough to complete the run.
FAULTS: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "throttled": (
        [EC2 | ONE_OF_FOUR | {"error": {"code": "RequestLimitExceeded", "status": 503}}],
        True,
    ),
    "internal": ([EC2 | ONE_OF_FOUR | {"error": {"code": "InternalError", "status": 500}}], True),
    "slow": ([EC2 | {"latency": {"dist": "uniform", "min_ms": 200, "max_ms": 900}}], True),
    "reset": ([EC2 | ONE_OF_FOUR | {"reset": True}], False),
    # The call takes effect, and most of its answer is lost on the way.
    "cut": ([EC2 | ONE_OF_NINE | {"response": {"abort_frac": 0.3}}], False),
    "launch-cut": (
        [EC2 | {"operation": "RunInstances", "times": 1, "response": {"abort_frac": 0.3}}],
        False,
    ),
    "end-cut": (
        [EC2 | {"operation": "TerminateInstances", "times": 2, "response": {"abort_frac": 0.3}}],
        False,
    ),
    # An envelope that ends early, with the length that was announced.
    "truncated": ([EC2 | ONE_OF_NINE | {"response": {"truncate_frac": 0.5}}], False),
}


class Proxy:
    """A running microburst."""

    def __init__(self, url: str) -> None:
        self.url = url

    def fail(self, rules: list[dict[str, Any]]) -> None:
        """Replace the faults."""
        requests.post(f"{self.url}/_microburst/rules", json=rules, timeout=10).raise_for_status()

    def fired(self) -> int:
        """Return how many faults have befallen a call."""
        answer = requests.get(f"{self.url}/_microburst/fired", timeout=10)
        answer.raise_for_status()
        return len(answer.json())


@pytest.fixture
def proxy(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Proxy]:
    """Start the proxy in front of the test cloud's API."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    arguments = ["--upstream", cloud.url, "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "proxy.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "microburst", *arguments], stdout=log, stderr=log
        )
    try:
        found = Proxy(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 30
        while True:
            try:
                found.fail([])
                break
            except requests.ConnectionError:
                assert time.monotonic() < deadline, (tmp_path / "proxy.log").read_text()
                time.sleep(0.1)
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        cloud.through(found.url)
        yield found
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_befalls_calls_nothing_is_left_and_nothing_is_lost(
    name: str, cloud: Cloud, proxy: Proxy, job_file: Callable[..., Path], state: Path
) -> None:
    rules, must_complete = FAULTS[name]
    job = aws_job(job_file, 2, ONE_ZONE)
    proxy.fail(rules)
    report = None
    if must_complete:
        report, _ = run_watched(job)
    else:
        # Where nothing could be launched, a run says so and is over.
        with suppress(InfrastructureError):
            report, _ = run_watched(job)
    assert proxy.fired() > 0
    proxy.fail([])
    if report is None:
        assert cloud.remaining() == []
        return
    for scene in report.scenes:
        if scene.status is SceneStatus.DONE:
            assert scene.artifact is not None
            video = media.inspect_video(report.directory / scene.artifact.path)
            assert abs(video.seconds - 1.0) <= 0.1
        else:
            assert scene.error
    if must_complete:
        assert report.outcome is Outcome.COMPLETE
    # What a run says is left is left, and nothing else is.
    running = {machine.id for machine in cloud.running()}
    assert bool(report.left_running) == bool(cloud.remaining()), report.left_running
    if report.left_running:
        shown = json.dumps([str(each) for each in report.left_running])
        assert all(machine in shown for machine in running)
        cleanup(report.run_id)
    assert cloud.remaining() == []
    assert stacks(state) == []
