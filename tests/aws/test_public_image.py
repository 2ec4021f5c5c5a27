"""Whole runs with the public image's own server: threads, no queue, shared sound files."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cloudburst import load_job
from cloudburst.media import sound
from cloudburst.models import Outcome
from cloudburst.workers.client import VideoApi
from tests.support import peer
from tests.support.aws import ONE_ZONE, assert_cloud_empty, launches, run_watched
from tests.support.inputs import write_picture
from tests.support.likeness import tone, write

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst import Job, RunReport
    from testcloud.cloud import Cloud

pytestmark = [
    pytest.mark.stack,
    pytest.mark.video,
    pytest.mark.skipif(peer.missing() is not None, reason=str(peer.missing())),
]

IMAGE = "betashow/video-generation-api:latest"
TONES = {"s400": 400, "s800": 800, "s1600": 1600, "s3200": 3200}
SECONDS = 1.0


def four_tones(folder: Path, output: str = "out") -> Job:
    """Return a job of four moving scenes of one length, for one machine with room for four."""
    write_picture(folder / "p.png", (64, 36))
    for name, hertz in TONES.items():
        write(folder / f"{name}.wav", tone(hertz, SECONDS))
    scenes = "".join(
        f"  - {{name: {name}, image: p.png, audio: {name}.wav, effects: [zoom_in]}}\n"
        for name in TONES
    )
    path = folder / "scenes.yaml"
    path.write_text(f"version: 1\ntarget: aws\n{ONE_ZONE}scenes:\n{scenes}")
    return load_job(path, output=folder / output)


def frequency(path: Path) -> float:
    """Return the strongest frequency in a file's sound, in hertz."""
    left = np.concatenate(list(sound.samples(path, 16_000)), axis=1)[0]
    spectrum: Any = np.abs(np.fft.rfft(left * np.hanning(len(left))))
    return float(spectrum.argmax() * 16_000 / len(left))


def assert_right_sounds(report: RunReport) -> None:
    assert report.outcome is Outcome.COMPLETE, [scene.error for scene in report.scenes]
    found = {name: frequency(report.directory / f"{name}.mp4") for name in TONES}
    assert found == {name: pytest.approx(hertz, abs=3) for name, hertz in TONES.items()}


@pytest.fixture
def public(cloud: Cloud, tmp_path: Path) -> Cloud:
    """Return a cloud whose default image is the public one's own server."""
    cloud.images[IMAGE] = peer.container(tmp_path / "peer")
    return cloud


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.timeout(1200))])
def test_four_moving_scenes_at_once_come_home_with_their_own_narrations(
    public: Cloud, tmp_path: Path, state: Path, rounds: int
) -> None:
    for number in range(rounds):
        report, _ = run_watched(four_tones(tmp_path, f"out{number}"))
        assert_right_sounds(report)
        assert len(launches(report)) == 1
        attempts = [len(scene.attempts) for scene in report.scenes]
        assert attempts == [1] * 4, "none fails, as none is rendered beside another"
    assert_cloud_empty(public, state)


@pytest.mark.slow
def test_a_server_that_mixes_up_narrations_is_found_out_and_asked_again(
    public: Cloud, tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the public image does to scenes that it gets at once, without waiting for the chance."""
    exchange = threading.Lock()
    renders, sounds = itertools.count(), [tmp_path / f"{name}.wav" for name in TONES]
    render = VideoApi.render

    def collides(api: VideoApi, scene: Any, timeout: float) -> Any:
        from dataclasses import replace

        with exchange:
            first = next(renders) < 2
        other = next(one for one in sounds if one != scene.audio)
        return render(api, replace(scene, audio=other) if first else scene, timeout)

    monkeypatch.setattr(VideoApi, "render", collides)
    report, watch = run_watched(four_tones(tmp_path))
    assert_right_sounds(report)
    failed = [one for scene in report.scenes for one in scene.attempts if one.error]
    assert len(failed) == 2
    assert all("has another sound than s" in str(one.error) for one in failed), failed
    events = [event.text for event in watch.events if "another sound" in event.text]
    assert len(events) == 2
    assert "another sound" in (report.directory / "report.json").read_text()
    assert_cloud_empty(public, state)
