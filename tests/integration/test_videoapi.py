"""The bundled video API as a real process: every scenario rendered by the real ffmpeg."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import imageio_ffmpeg
import numpy as np
import pytest
import requests

from cloudburst import media
from cloudburst.job.loader import load_job
from cloudburst.models import Worker
from cloudburst.workers.client import VideoApi
from tests.support.inputs import EXAMPLE, SRT, write_picture, write_sound
from tests.support.marks import but_the_first_slow
from tests.support.patience import SOON
from tests.support.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "secret"
HEADERS = {"X-Authentication-Key": KEY}
# Its server is started once.
pytestmark = pytest.mark.xdist_group("video API")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, url = serve(tmp_path_factory.mktemp("server") / "work", AUTHENTICATION_KEY=KEY)
    yield url
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    process.stderr.close()
    process.wait(SOON)


def b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


@pytest.fixture
def body(tmp_path: Path) -> dict[str, Any]:
    return {
        "input_image": b64(write_picture(tmp_path / "p.png", (640, 360))),
        "input_audio": b64(write_sound(tmp_path / "a.wav", 1.5, rate=22050)),
    }


def post(url: str, body: object, headers: dict[str, str] = HEADERS) -> requests.Response:
    return requests.post(f"{url}/create_video_onestep", json=body, headers=headers, timeout=60)


def fetch(url: str, answer: requests.Response, path: Path) -> Path:
    assert answer.status_code == 200, answer.text
    got = requests.get(url + answer.json()["download_endpoint"], headers=HEADERS, timeout=30)
    assert got.status_code == 200
    assert got.headers["Content-Type"] == "video/mp4"
    assert "attachment" in got.headers["Content-Disposition"]
    assert len(got.content) == answer.json()["size"]
    path.write_bytes(got.content)
    return path


def pictures(path: Path) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Decode every frame, as RGB."""
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_health(server: str) -> None:
    said = requests.get(f"{server}/health", timeout=10).json()
    assert said["status"] == "healthy"
    assert said["authentication"]["mode"] == "secure"
    assert said["gpu_available"] is False
    assert said["authentication"]["required_header"] == "X-Authentication-Key"
    assert said["available_endpoints"] == [
        "/create_video_onestep",
        "/download/<file_id>",
        "/cleanup",
    ]
    assert (said["capacity"], said["in_flight"], said["queued"]) == (1, 0, 0)
    assert said["ffmpeg_version"]


@pytest.mark.video
@pytest.mark.parametrize(
    ("more", "scenario"),
    [
        ({}, "baseline"),
        ({"subtitle": "srt"}, "subtitles_only"),
        ({"effects": ["zoom_in"]}, "effects_only"),
        ({"effects": ["random"], "subtitle": "srt", "watermark": "mark"}, "full_featured"),
    ],
)
def test_a_scenario_is_the_video_that_was_asked_for(
    server: str, body: dict[str, Any], tmp_path: Path, more: dict[str, Any], scenario: str
) -> None:
    files = {
        "srt": base64.b64encode(SRT.encode()).decode(),
        "mark": b64(write_picture(tmp_path / "w.png", (50, 50), "RGBA")),
    }
    more = {key: files.get(value, value) if isinstance(value, str) else value
            for key, value in more.items()}  # fmt: skip
    answer = post(server, body | more | {"output_filename": "my scene.mp4"})
    said = answer.json()
    assert said["success"] is True
    assert said["scenario"] == scenario
    assert said["filename"] == "my scene.mp4"
    assert said["download_endpoint"] == f"/download/{said['file_id']}"
    video = media.inspect_video(fetch(server, answer, tmp_path / "v.mp4"))
    assert (video.width, video.height, video.fps) == (1920, 1080, 30)
    assert (video.video_codec, video.audio_codec, video.sample_rate) == ("h264", "aac", 48000)
    assert video.frames == 45
    assert video.seconds == pytest.approx(1.5, abs=0.05)


@pytest.mark.video
def test_speech_is_kept(server: str, body: dict[str, Any], tmp_path: Path) -> None:
    narration = EXAMPLE.parent / "narration" / "brook.mp3"
    answer = post(server, body | {"input_audio": b64(narration)})
    made, meant = samples(fetch(server, answer, tmp_path / "v.mp4")), samples(narration)
    assert 0 <= len(made) - len(meant) < 2048  # up to the end of a packet
    difference = made[: len(meant)] - meant
    assert 10 * np.log10((meant**2).mean() / (difference**2).mean()) > 36


def samples(path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Decode a sound to both its channels, 48,000 samples of each for a second."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path)]
    command += ["-f", "f32le", "-ar", "48000", "-ac", "2", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(data, np.float32).reshape(-1, 2)


@pytest.mark.video
@pytest.mark.parametrize("effects", but_the_first_slow([[], ["zoom_in"]]))
def test_quality_costs_bytes(
    server: str, body: dict[str, Any], tmp_path: Path, effects: list[str]
) -> None:
    body["input_image"] = b64(EXAMPLE.parent / "pictures" / "two-dogs.jpg")
    sizes, videos = [], []
    for quality in ("small", "normal", "high"):
        answer = post(server, body | {"effects": effects, "quality": quality})
        path = fetch(server, answer, tmp_path / f"{quality}.mp4")
        sizes.append(answer.json()["size"])
        videos.append(pictures(path)[20].astype(np.int16))
    default = post(server, body | {"effects": effects}).json()["size"]
    assert sizes[0] * 1.1 < sizes[1] < sizes[2] / 1.1
    assert default == sizes[1]
    # What more bytes buy: less of a difference from the best.
    coarse, normal = (float(np.abs(video - videos[2]).mean()) for video in videos[:2])
    assert normal < coarse


@pytest.mark.video
@pytest.mark.slow
def test_effort_saves_bytes_of_line_art(server: str, body: dict[str, Any], tmp_path: Path) -> None:
    from PIL import Image, ImageDraw

    random = np.random.default_rng(5)
    picture = Image.new("L", (1920, 1080), 250)
    draw = ImageDraw.Draw(picture)
    # More of them would meet the limit on bits, whatever the effort.
    for x, y, radius in random.integers((0, 0, 20), (1920, 1080, 200), (100, 3)):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=20, width=3)
    picture.save(tmp_path / "lines.png")
    body |= {"input_image": b64(tmp_path / "lines.png"), "effects": ["zoom_in"]}
    low, high = (
        post(server, body | {"effort": effort}).json()["size"] for effort in ("low", "high")
    )
    assert 0.5 * low < high < 0.97 * low


@pytest.mark.video
def test_a_portrait_picture_is_not_stretched(server: str, tmp_path: Path) -> None:
    # A white square on black: in any orientation it must stay a square.
    from PIL import Image

    picture = Image.new("RGB", (360, 640))
    picture.paste((255, 255, 255), (130, 270, 230, 370))
    picture.save(tmp_path / "p.png")
    body = {
        "input_image": b64(tmp_path / "p.png"),
        "input_audio": b64(write_sound(tmp_path / "a.wav", 0.5)),
    }
    for more, size in (({}, (1080, 1920)), ({"is_portrait": False}, (1920, 1080))):
        path = fetch(server, post(server, body | more), tmp_path / "v.mp4")
        frame = pictures(path)[0]
        assert frame.shape[1::-1] == size
        rows, columns = np.nonzero(frame[:, :, 0] > 128)
        assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=2)
        assert rows.mean() == pytest.approx(size[1] / 2, abs=2)
        assert columns.mean() == pytest.approx(size[0] / 2, abs=2)


SPOTS = [(x, y) for x in (480, 960, 1440) for y in (270, 540, 810)]


def spots(frame: np.ndarray[Any, np.dtype[np.uint8]], expected: np.ndarray[Any, Any]) -> Any:
    """Find the centres of bright spots near where they are expected, to a hundredth of a pixel."""
    found = []
    for x, y in expected:
        left, top = round(x) - 40, round(y) - 40
        patch = frame[top : top + 80, left : left + 80, 1].astype(float)
        patch = np.clip(patch - 30, 0, None)
        rows, columns = np.mgrid[top : top + 80, left : left + 80]
        found.append(((columns * patch).sum() / patch.sum(), (rows * patch).sum() / patch.sum()))
    return np.array(found)


@pytest.mark.video
@pytest.mark.parametrize(
    "effect", but_the_first_slow(["zoom_in", "zoom_out", "pan_left", "pan_right"])
)
def test_motion_follows_the_ideal_curve(server: str, tmp_path: Path, effect: str) -> None:
    """Displacement of features, frame by frame: within 0.1 px RMS of what it should be."""
    from PIL import Image

    ys, xs = np.mgrid[0:1080, 0:1920]
    glow = sum(np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 8.0**2)) for x, y in SPOTS)
    Image.fromarray((20 + 220 * glow).clip(0, 255).astype(np.uint8)).save(tmp_path / "p.png")
    body = {
        "input_image": b64(tmp_path / "p.png"),
        "input_audio": b64(write_sound(tmp_path / "a.wav", 2.0)),
        "effects": [effect],
    }
    frames = pictures(fetch(server, post(server, body), tmp_path / "v.mp4"))
    assert len(frames) == 60
    centre = np.array([959.5, 539.5])
    ideal, found = [], []
    for index, frame in enumerate(frames):
        progress = index / 59
        # Zooms go from 1 to 1.1 about the centre; pans show a canvas that is 1.1 times as large.
        zoom = {"zoom_in": 1 + 0.1 * progress, "zoom_out": 1.1 - 0.1 * progress}.get(effect, 1.1)
        shift = {"pan_left": 2 * progress - 1, "pan_right": 1 - 2 * progress}.get(effect, 0)
        ideal.append(centre + (np.array(SPOTS) - centre) * zoom + (shift * 96, 0))
        found.append(spots(frame, ideal[-1]))
    steps, ideal_steps = np.diff(found, axis=0), np.diff(ideal, axis=0)
    assert np.sqrt(((steps - ideal_steps) ** 2).mean()) < 0.1
    assert np.sqrt(((np.array(found) - ideal) ** 2).mean()) < 0.1


@pytest.mark.video
def test_subtitles_have_a_box_of_the_transparency_asked_for(
    server: str, tmp_path: Path, body: dict[str, Any]
) -> None:
    from PIL import Image

    Image.new("RGB", (1920, 1080), (200, 200, 200)).save(tmp_path / "grey.png")
    body["input_image"] = b64(tmp_path / "grey.png")
    body["subtitle"] = base64.b64encode(SRT.encode()).decode()
    behind = {}
    corner = (0, 0)
    for name, more in (
        ("solid", {"background_opacity": 0.0}),
        ("half", {"background_opacity": 0.5}),
        ("clear", {"background_opacity": 1.0}),
        ("none", {"background_box": False}),
    ):
        frames = pictures(fetch(server, post(server, body | more), tmp_path / "v.mp4"))
        frame = frames[15][:, :, 0]
        assert frame.max() > 230, "the words are white"
        assert (frame[:540] > 190).all(), "the upper half is the picture's"
        assert (frames[40][:, :, 0] > 190).all(), "after its time it is gone"
        if name == "solid":
            rows, columns = np.nonzero(frame < 15)
            corner = (rows.min() + 6, columns.min() + 6)
        behind[name] = int(frame[corner])
    assert behind["solid"] < 15
    assert 90 < behind["half"] < 110
    assert behind["clear"] > 190
    assert behind["none"] > 190


@pytest.mark.video
@pytest.mark.slow
def test_characters_that_no_font_has_are_left_out_and_named(server: str, tmp_path: Path) -> None:
    scene = load_job(EXAMPLE).scenes[1]
    subtitle = tmp_path / "s.srt"
    subtitle.write_text(SRT.replace("Hello", "山\U0010f123"), encoding="utf-8")
    options = dataclasses.replace(scene.options, subtitle=subtitle)
    scene = dataclasses.replace(scene, options=options)
    api = VideoApi(Worker("s", "1@1", server, KEY, 1))
    (warning,) = api.render(scene, 60).warnings
    assert "characters left out of the subtitles" in warning
    assert "\U0010f123 (U+10F123)" in warning
    assert "山" not in warning
    # What the client knows is not told again.
    assert api.render(dataclasses.replace(scene, missing="\U0010f123"), 60).warnings == ()


@pytest.mark.video
def test_a_watermark_stands_still_in_the_corner(
    server: str, tmp_path: Path, body: dict[str, Any]
) -> None:
    from PIL import Image

    Image.new("RGB", (1920, 1080), (60, 60, 60)).save(tmp_path / "dark.png")
    Image.new("RGBA", (100, 50), (255, 0, 0, 255)).save(tmp_path / "w.png")
    body |= {
        "input_image": b64(tmp_path / "dark.png"),
        "watermark": b64(tmp_path / "w.png"),
        "effects": ["zoom_in"],
    }
    frames = pictures(fetch(server, post(server, body), tmp_path / "v.mp4"))
    for frame in (frames[0], frames[-1]):
        rows, columns = np.nonzero(frame[:, :, 0].astype(int) - frame[:, :, 1] > 100)
        assert (rows.min(), columns.min()) == pytest.approx((10, 10), abs=2)
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == pytest.approx((120, 240), abs=4)


@pytest.mark.parametrize("header", [{}, {"X-Authentication-Key": "wrong"}])
def test_without_the_key_nothing_is_rendered_or_given(server: str, header: dict[str, str]) -> None:
    for answer in (
        post(server, {}, header),
        requests.get(f"{server}/download/x", headers=header, timeout=10),
        requests.get(f"{server}/cleanup", headers=header, timeout=10),
    ):
        assert answer.status_code == 401
        assert set(answer.json()) == {"error", "message", "required_header"}
        assert answer.json()["required_header"] == "X-Authentication-Key"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input_image": None}, "input_image"),
        ({"input_audio": ""}, "input_audio"),
        ({"input_image": "not base64!"}, "input_image: not base64"),
        ({"input_image": "/etc/hostname"}, "paths are not accepted"),
        ({"font": base64.b64encode(b"text").decode()}, "font: not a font (it is text: 'text')"),
        ({"font_family": 1}, "font_family: expected str"),
        ({"effects": "zoom_in"}, "effects: expected a list"),
        ({"effects": ["spin"]}, "got 'spin'"),
        ({"language": "latin"}, "language: expected chinese or english"),
        ({"background_opacity": 2}, "background_opacity: expected a number from 0 to 1"),
        ({"font_size": True}, "font_size: expected a number"),
        ({"is_portrait": "yes"}, "is_portrait: expected bool"),
        ({"quality": "best"}, "quality: expected small, normal, high, got 'best'"),
        ({"effort": "none"}, "effort: expected low, high, got 'none'"),
        ({"outline_color": "red,1\nDialogue: x"}, "outline_color: expected &HAABBGGRR"),
    ],
)
def test_a_bad_request_is_refused_with_the_reason(
    server: str, body: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    answer = post(server, body | change)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("input_image", "not a picture"),
        ("input_audio", "no sound can be read from it"),
        ("subtitle", "no cues found"),
        ("watermark", "not a picture"),
    ],
)
def test_what_cannot_be_rendered_is_refused_with_the_reason(
    server: str, body: dict[str, Any], field: str, words: str
) -> None:
    answer = post(server, body | {field: base64.b64encode(b"text").decode()})
    assert answer.status_code == 422
    assert words in answer.json()["error"]


def test_a_body_that_is_no_object_is_refused(server: str) -> None:
    assert post(server, [1]).status_code == 400
    for data in (b"{", b"[" * 5000):
        url = f"{server}/create_video_onestep"
        answer = requests.post(url, data=data, headers=HEADERS, timeout=10)
        assert answer.status_code == 400
        assert answer.json()["error"] == "No JSON data provided"


def test_an_unknown_file_is_not_found(server: str) -> None:
    answer = requests.get(f"{server}/download/nothing", headers=HEADERS, timeout=10)
    assert answer.status_code == 404
    assert "error" in answer.json()


def test_cleanup_counts(server: str) -> None:
    said = requests.get(f"{server}/cleanup", headers=HEADERS, timeout=10).json()
    assert set(said) == {"cleaned", "active_files"}
    assert said["cleaned"] == 0


@pytest.mark.video
def test_a_render_that_takes_too_long_is_ended_and_leaves_no_ffmpeg(tmp_path: Path) -> None:
    from cloudburst.videoapi import render
    from cloudburst.videoapi.ffmpeg import Deadline, RenderError

    request = render.Request(
        write_picture(tmp_path / "p.png", (1920, 1080)).read_bytes(),
        write_sound(tmp_path / "a.wav", 60, rate=8000).read_bytes(),
        effects=("zoom_in",),
    )
    folder = tmp_path / "scene"
    folder.mkdir()
    with pytest.raises(RenderError, match="took longer than 1 s and was ended"):
        render.render(request, folder, Deadline(1.0), threads=1)
    import psutil

    children = psutil.Process().children(recursive=True)
    assert [child for child in children if "ffmpeg" in child.name()] == []


@pytest.mark.video
def test_a_worker_ends_with_its_lifeline_and_takes_its_ffmpeg_along(tmp_path: Path) -> None:
    import psutil

    theirs, ours = os.pipe()
    work = tmp_path / "work"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "cloudburst.videoapi", "--port", "0"),
            *("--work", str(work), "--lifeline", str(theirs)),
        ],
        pass_fds=(theirs,),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    os.close(theirs)
    assert process.stderr is not None
    url = process.stderr.readline().split()[-1]
    body = {
        "input_image": b64(write_picture(tmp_path / "p.png", (1920, 1080))),
        "input_audio": b64(write_sound(tmp_path / "a.wav", 60, rate=8000)),
        "effects": ["zoom_in"],
    }
    import threading

    def send() -> None:
        # Its files are removed first: an answer that the render failed may come before the end.
        with contextlib.suppress(requests.ConnectionError):
            assert post(url, body).status_code >= 500

    request = threading.Thread(target=send)
    request.start()
    worker = psutil.Process(process.pid)
    deadline = time.monotonic() + SOON
    while not (children := worker.children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children, "ffmpeg has started"
    os.close(ours)
    assert process.wait(SOON) is not None
    process.stderr.close()
    gone, alive = psutil.wait_procs(children, timeout=SOON)
    assert alive == []
    assert gone
    assert not work.exists()
    request.join(SOON)
