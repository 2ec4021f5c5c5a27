"""Machines run the video API that comes with CloudBurst: uploaded, not pulled."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from cloudburst import Outcome
from cloudburst.targets.aws.settings import BASE_IMAGE
from cloudburst.version import __version__
from testcloud.cloud import Cloud
from tests.support.aws import ONE_ZONE, aws_job, launches, run_watched
from tests.support.clouds import POLICY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from testcloud.machines.machine import Machine

pytestmark = [pytest.mark.stack, pytest.mark.video]
SUBTITLED = ", subtitle: s.srt, language: english"


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Start a test cloud in whose containers pip installs packages."""
    monkeypatch.delenv("DOCKER_IMAGE")  # see conftest.py
    with Cloud(tmp_path / "real", policy=POLICY, installs=True) as real:
        for name, value in real.environment().items():
            monkeypatch.setenv(name, value)
        yield real
        assert real.remaining() == []


def container(machine: Machine) -> Path:
    """Return the folder of a machine's only container."""
    (folder,) = (path for path in (machine.folder / "containers").iterdir() if path.is_dir())
    return folder


def assert_bundled(cloud: Cloud, job_file: Callable[..., Path]) -> Machine:
    report, watch = run_watched(aws_job(job_file, 2, ONE_ZONE, scene=SUBTITLED))
    assert (report.outcome, report.error) == (Outcome.COMPLETE, None)
    assert [launch.renderer for launch in launches(report)] == [f"cloudburst {__version__}"]
    assert {scene.scenario for scene in report.scenes} == {"subtitles_only"}
    (files,) = (launch.bytes_sent for launch in launches(report))
    assert files > 100_000, "the video API was sent, too"
    assert report.bytes_sent == files + sum(scene.bytes_sent for scene in report.scenes)
    states = [event.data.get("boot") for event in watch.events]
    assert list(dict.fromkeys(filter(None, states)))[-2:] == ["starting", "ready"]
    (machine,) = cloud.machines
    (command,) = (line for line in machine.commands() if line.startswith("docker run"))
    assert f"{BASE_IMAGE} python /bundle/video-api.zip" in command
    # It ran what was sent, and nothing of this checkout.
    (made,) = (container(machine) / "tmp").glob("cloudburst-????????????????")
    assert (made / "modules" / "cloudburst" / "videoapi" / "render.py").exists()
    assert not list((made / "packages").glob("*cloudburst*"))
    return machine


def test_a_machine_renders_with_what_it_was_sent(
    cloud: Cloud, job_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_IMAGE")  # see conftest.py
    assert_bundled(cloud, job_file)


@pytest.mark.slow
@pytest.mark.usefixtures("chinese")
def test_what_a_machine_warns_of_is_in_the_runners_language(
    cloud: Cloud, job_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_IMAGE")  # see conftest.py
    job = aws_job(job_file, 1, ONE_ZONE, scene=SUBTITLED)
    # What does not fit into the picture is found only where it is laid out: on the machine.
    cue = "1\n00:00:00,000 --> 00:00:00,500\n" + "more words than fit " * 200
    job.scenes[0].options.subtitle.write_text(cue)  # type: ignore[union-attr]
    report, watch = run_watched(job)
    assert report.outcome is Outcome.COMPLETE, report.error
    [warning] = report.scenes[0].warnings
    assert re.search("[\u4e00-\u9fff]{4}", warning), warning
    assert cloud.machines
    texts = [event.text for event in watch.events if event.data.get("boot") == "ready"]
    assert texts == ["就绪：同时渲染 4 个场景，编码器 x264"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pip_installs_the_lock_in_a_fresh_environment(
    real: Cloud, job_file: Callable[..., Path]
) -> None:
    machine = assert_bundled(real, job_file)
    (made,) = (container(machine) / "tmp").glob("cloudburst-????????????????")
    assert not (made / "packages" / "flask").is_symlink()
    assert (made / "packages" / "noto_cjk_sans_otc").is_dir()
