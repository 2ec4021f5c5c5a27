"""The client of a video API, against a server that misbehaves."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from cloudburst.errors import (
    ArtifactInvalid,
    RenderFailed,
    RenderTimedOut,
    SceneError,
    SceneRejected,
    WorkerUnhealthy,
    WorkerUnreachable,
)
from cloudburst.models import Artifact, Scene, VideoOptions, Worker
from cloudburst.videoapi import protocol
from cloudburst.workers.client import VideoApi
from cloudburst.workers.download import download, verify
from cloudburst.workers.messages import Rendered
from tests.support.inputs import stub_video, write_picture, write_sound

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.models import Language

Answer = Callable[[BaseHTTPRequestHandler], None]


class Double:
    """A server whose answers a test decides."""

    def __init__(self) -> None:
        self.answer: Answer = lambda handler: handler.send_error(500)
        self.bodies: list[dict[str, object]] = []
        self.headers: list[dict[str, str]] = []
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                double.headers.append(dict(self.headers))
                double.answer(self)

            def do_POST(self) -> None:
                double.headers.append(dict(self.headers))
                body = self.rfile.read(int(self.headers["Content-Length"]))
                double.bodies.append(json.loads(body))
                double.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def api(self) -> VideoApi:
        return VideoApi(self.worker)

    @property
    def worker(self) -> Worker:
        port = self.server.server_address[1]
        return Worker("s", "1", f"http://127.0.0.1:{port}/", "the key", 1)


@pytest.fixture
def double() -> Iterator[Double]:
    made = Double()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene("s", write_picture(tmp_path / "p.png"), write_sound(tmp_path / "a.wav"), 1.0)


def bring(
    api: VideoApi, rendered: Rendered, scene: Scene, folder: Path, *, wanted: bool = True
) -> tuple[Artifact, str] | None:
    return download(api, rendered, scene, folder, worker="b01", wanted=lambda: wanted)


def says(status: int, body: object) -> Answer:
    data = json.dumps(body).encode() if not isinstance(body, bytes) else body

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def sleeps(_: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


DONE = {"success": True, "download_endpoint": "/download/1", "size": 4, "scenario": "baseline"}


def test_the_request_has_the_key_and_every_option(
    double: Double, scene: Scene, tmp_path: Path
) -> None:
    (tmp_path / "s.srt").write_bytes(b"srt")
    options = VideoOptions(
        language="english",
        effects=("zoom_in", "random"),
        background_box=False,
        background_opacity=0.7,
        font_size=40,
        outline_color="&H00FF0000",
        is_portrait=True,
        watermark=scene.image,
        subtitle=tmp_path / "s.srt",
        quality="high",
        subtitle_encoding="big5",
    )
    double.answer = says(200, DONE | {"warnings": ["w"]})
    full = Scene(scene.name, scene.image, scene.audio, 1.0, options, missing="\U0010f123")
    rendered = double.api.render(full, 5)
    assert replace(rendered, sent=0) == Rendered("/download/1", 4, "baseline", ("w",))
    assert double.headers[0]["X-Authentication-Key"] == "the key"
    picture = base64.b64encode(scene.image.read_bytes()).decode()
    assert double.bodies[0] == {
        "input_image": picture,
        "input_audio": base64.b64encode(scene.audio.read_bytes()).decode(),
        "subtitle": base64.b64encode(b"srt").decode(),
        "subtitle_encoding": "big5",
        "subtitle_checked": True,
        "subtitle_missing": "\U0010f123",
        "effects": ["zoom_in", "random"],
        "language": "english",
        "background_box": False,
        "background_opacity": 0.7,
        "font_size": 40,
        "outline_color": "&H00FF0000",
        "is_portrait": True,
        "watermark": picture,
        "quality": "high",
        "output_filename": "s.mp4",
    }


@pytest.mark.parametrize(
    ("language", "known", "tag"),
    [("chinese", "chinese", None), ("ja", "chinese", "ja"), ("th", "english", "th")],
)
def test_the_public_image_gets_a_language_that_it_knows(
    double: Double, scene: Scene, language: Language, known: str, tag: str | None
) -> None:
    double.answer = says(200, DONE)
    options = VideoOptions(language=language)
    double.api.render(Scene(scene.name, scene.image, scene.audio, 1.0, options), 5)
    assert (double.bodies[0]["language"], double.bodies[0].get("subtitle_language")) == (known, tag)
    request, _ = protocol.parse(double.bodies[0])
    assert request.language == (tag or language)
    with pytest.raises(protocol.FieldError, match="subtitle_language"):
        protocol.parse(double.bodies[0] | {"subtitle_language": "no such language"})


def test_what_is_not_set_is_not_sent(double: Double, scene: Scene) -> None:
    double.answer = says(200, DONE)
    double.api.render(scene, 5)
    optional = {"subtitle", "watermark", "font_size", "is_portrait", "quality", "effort"}
    optional |= {"subtitle_encoding", "subtitle_checked", "subtitle_missing"}
    optional |= {"font", "font_family", "font_missing"}
    assert not optional & set(double.bodies[0])


def render_with_both(double: Double, scene: Scene) -> None:
    """Render with the public image, which reports no capacity, then with the bundled video API."""
    for health in ({"status": "healthy"}, {"status": "healthy", "capacity": 2}):
        api = double.api
        double.answer = says(200, health)
        assert api.healthy() is None
        double.answer = says(200, DONE)
        api.render(scene, 5)


def test_a_font_is_sent_only_where_it_is_used(double: Double, scene: Scene) -> None:
    """The public image ignores it."""
    options = replace(scene.options, subtitle=scene.image, font=scene.audio)
    bold = replace(scene, options=options)
    render_with_both(double, bold)
    assert ["font" in body for body in double.bodies] == [False, True]
    named = replace(scene, options=replace(options, font="Noto Sans"))
    double.api.render(named, 5)
    assert "font_family" not in double.bodies[-1]


def test_the_public_image_gets_subtitles_as_it_reads_them(
    double: Double, scene: Scene, tmp_path: Path
) -> None:
    """It shows no word of what is not UTF-8, and knows nothing of what the client has repaired."""
    file = tmp_path / "s.srt"
    file.write_bytes("1\n01:00:00:500 --> 01:00:00:900\n谢谢大家\n".encode("gb18030"))
    told = replace(scene, options=replace(scene.options, subtitle=file))
    render_with_both(double, told)
    public, bundled = (base64.b64decode(body["subtitle"]) for body in double.bodies)
    assert public.decode() == "1\n00:00:00,500 --> 00:00:00,900\n谢谢大家\n"
    assert bundled == file.read_bytes()


def test_pictures_are_shrunk_where_that_is_wanted_and_changes_nothing(
    double: Double, scene: Scene, tmp_path: Path
) -> None:
    """What the public image, which reports no capacity, makes of a picture has its size."""
    noise = Image.effect_noise((2200, 1300), 90).convert("RGB")
    noise.save(tmp_path / "large.png", compress_level=1)
    large = replace(scene, image=tmp_path / "large.png")
    whole = base64.b64encode(large.image.read_bytes()).decode()
    for health in ({"status": "healthy"}, {"status": "healthy", "capacity": 2}):
        for shrink in (False, True):
            api = VideoApi(double.worker, shrink=shrink)
            double.answer = says(200, health)
            assert api.healthy() is None
            double.answer = says(200, DONE)
            api.render(large, 30)
    sent = [body["input_image"] for body in double.bodies]
    assert [picture == whole for picture in sent] == [True, True, True, False]
    assert protocol.parse(double.bodies[3])[0].image[:4] == b"RIFF"


def test_the_bytes_of_a_request_are_known_however_it_ends(double: Double, scene: Scene) -> None:
    double.answer = says(200, DONE)
    sent = double.api.render(scene, 5).sent
    assert sent == int(double.headers[0]["Content-Length"])
    assert sent > scene.image.stat().st_size + scene.audio.stat().st_size
    double.answer = says(500, {"error": "ffmpeg"})
    with pytest.raises(RenderFailed) as caught:
        double.api.render(scene, 5)
    assert caught.value.sent == sent


def test_effort_is_sent_where_it_is_not_the_renderers_default(double: Double, scene: Scene) -> None:
    double.answer = says(200, DONE)
    VideoApi(double.worker, "high").render(scene, 5)
    assert double.bodies[0]["effort"] == "high"


@pytest.mark.parametrize(
    ("answer", "error", "retry", "words"),
    [
        (says(400, {"error": "bad picture"}), SceneRejected, False, "400: bad picture"),
        (says(401, {"error": "Unauthorized"}), RenderFailed, True, "401: Unauthorized"),
        (says(422, {"error": "no"}), SceneRejected, False, "422: no"),
        (says(429, {"error": "busy"}), RenderFailed, True, "429: busy"),
        (says(500, {"error": "ffmpeg"}), RenderFailed, True, "500: ffmpeg"),
        (says(502, b"<html>bad gateway"), RenderFailed, True, "502: <html>bad gateway"),
        (says(200, {"success": False, "error": "odd"}), RenderFailed, True, "odd"),
        (hangs_up, WorkerUnreachable, True, "closed the connection"),
        (sleeps, RenderTimedOut, True, "took longer than 1 s"),
    ],
)
def test_an_answer_becomes_the_right_error(
    double: Double,
    scene: Scene,
    answer: Answer,
    error: type[SceneError],
    retry: bool,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cloudburst.workers.client.GRACE", 0.0)
    double.answer = answer
    with pytest.raises(error, match=words) as caught:
        double.api.render(scene, 1)
    assert caught.value.retry is retry


def test_nobody_there(double: Double, scene: Scene) -> None:
    double.server.shutdown()
    double.server.server_close()
    with pytest.raises(WorkerUnreachable, match="connection refused"):
        double.api.render(scene, 1)


def test_a_file_that_has_gone_since_is_named(double: Double, scene: Scene) -> None:
    scene.audio.unlink()
    with pytest.raises(SceneRejected, match=r"a\.wav cannot be read"):
        double.api.render(scene, 1)


def test_health_is_waited_for(double: Double) -> None:
    answers = [hangs_up, says(500, {}), says(200, {"status": "starting"}), says(200, b"no json")]
    remaining = iter([*answers, says(200, {"status": "healthy"})])

    def one_after_the_other(handler: BaseHTTPRequestHandler) -> None:
        next(remaining)(handler)

    double.answer = one_after_the_other
    naps: list[float] = []
    double.api.wait_healthy(20, lambda seconds: bool(naps.append(seconds)))
    assert len(naps) == 4
    assert naps == sorted(naps)


def test_health_that_does_not_come_is_told_with_its_last_answer(double: Double) -> None:
    double.answer = says(503, {"status": "loading"})
    with pytest.raises(
        WorkerUnhealthy, match=r"not healthy within 0 s; last check: .*503.*loading"
    ):
        double.api.wait_healthy(0.2, lambda seconds: bool(time.sleep(seconds)))
    with pytest.raises(WorkerUnhealthy, match="stopped waiting"):
        double.api.wait_healthy(60, lambda _: True)


@pytest.mark.parametrize(
    ("said", "capacity"),
    [({}, None), ({"capacity": 4}, 4), ({"capacity": 0}, None), ({"capacity": "4"}, None)],
)
def test_a_server_says_how_many_scenes_it_renders_at_once(
    double: Double, said: dict[str, object], capacity: int | None
) -> None:
    api = double.api
    assert api.capacity is None
    double.answer = says(200, {"status": "healthy", **said})
    assert api.healthy() is None
    assert api.capacity == capacity


# -- downloads ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return stub_video(tmp_path_factory.mktemp("video") / "v.mp4")


@pytest.mark.video
def test_a_good_video_comes_home_under_its_name(
    double: Double, scene: Scene, tmp_path: Path, video: bytes
) -> None:
    double.answer = says(200, video)
    rendered = Rendered("/download/1", len(video), "baseline", ())
    brought = bring(double.api, rendered, scene, tmp_path)
    assert brought is not None
    artifact, digest = brought
    assert artifact.path == tmp_path / "s.mp4"
    assert artifact.path.read_bytes() == video
    assert digest == hashlib.sha256(video).hexdigest()
    assert (artifact.width, artifact.height, artifact.frames) == (64, 64, 30)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.video
def test_a_video_that_is_no_longer_wanted_leaves_no_file(
    double: Double, scene: Scene, tmp_path: Path, video: bytes
) -> None:
    double.answer = says(200, video)
    rendered = Rendered("/download/1", len(video), "baseline", ())
    assert bring(double.api, rendered, scene, tmp_path, wanted=False) is None
    assert not list(tmp_path.glob("s.mp4*"))


@pytest.mark.video
@pytest.mark.parametrize(
    ("change", "seconds", "words"),
    [
        (lambda data: data[:-100], 1.0, r"received \d+ of \d+ bytes"),
        (lambda data: b"x" * len(data), 1.0, "cannot decode it"),
        (lambda data: data, 1.3, r"audio 1\.0. s, narration 1\.30 s"),
    ],
    ids=["short", "noise", "wrong length"],
)
def test_a_bad_video_does_not_come_home(
    double: Double,
    scene: Scene,
    tmp_path: Path,
    video: bytes,
    change: Callable[[bytes], bytes],
    seconds: float,
    words: str,
) -> None:
    double.answer = says(200, change(video))
    rendered = Rendered("/download/1", len(video), "baseline", ())
    asked = Scene(scene.name, scene.image, scene.audio, seconds)
    with pytest.raises(ArtifactInvalid, match=words):
        bring(double.api, rendered, asked, tmp_path)
    assert not list(tmp_path.glob("s.mp4*"))


@pytest.mark.video
def test_a_video_cut_off_behind_its_index_is_found_out(
    scene: Scene, tmp_path: Path, video: bytes
) -> None:
    # faststart puts the index first: a cut file opens well and only fails to decode.
    import subprocess

    import imageio_ffmpeg

    (tmp_path / "v.mp4").write_bytes(video)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "v.mp4")]
    command += ["-c", "copy", "-movflags", "+faststart", str(tmp_path / "f.mp4")]
    subprocess.run(command, check=True)
    verify(tmp_path / "f.mp4", scene)
    data = (tmp_path / "f.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(ArtifactInvalid, match="damaged"):
        verify(tmp_path / "cut.mp4", scene)


@pytest.mark.video
def test_a_video_without_sound_is_found_out(scene: Scene, tmp_path: Path, video: bytes) -> None:
    import subprocess

    import imageio_ffmpeg

    (tmp_path / "v.mp4").write_bytes(video)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "v.mp4")]
    subprocess.run([*command, "-an", "-c", "copy", str(tmp_path / "mute.mp4")], check=True)
    with pytest.raises(ArtifactInvalid, match="no audio stream"):
        verify(tmp_path / "mute.mp4", scene)


@pytest.mark.video
@pytest.mark.parametrize(
    ("picture", "sound", "good"),
    [(1.0, 1.0, True), (3.0, 1.0, True), (4.0, 1.0, False), (0.5, 1.0, False), (1.0, 0.5, False)],
)
def test_a_picture_may_stay_two_seconds_after_its_sound_and_never_end_before_it(
    scene: Scene, tmp_path: Path, picture: float, sound: float, *, good: bool
) -> None:
    import subprocess

    import imageio_ffmpeg

    path = tmp_path / "v.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"]
    command += ["-f", "lavfi", "-i", f"color=size=64x64:rate=30:duration={picture}"]
    command += ["-f", "lavfi", "-i", f"sine=sample_rate=48000:duration={sound}"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", str(path)], check=True)
    if good:
        verify(path, scene)
    else:
        with pytest.raises(ArtifactInvalid, match=r"narration 1\.00 s"):
            verify(path, scene)


def test_a_download_that_is_refused(double: Double, scene: Scene, tmp_path: Path) -> None:
    double.answer = says(404, {"error": "expired"})
    with pytest.raises(ArtifactInvalid, match=r"404.*expired"):
        bring(double.api, Rendered("/download/1", 4, "baseline", ()), scene, tmp_path)


@pytest.mark.video
def test_a_folder_that_has_gone_is_told(
    double: Double, scene: Scene, tmp_path: Path, video: bytes
) -> None:
    double.answer = says(200, video)
    with pytest.raises(ArtifactInvalid, match="cannot be written"):
        bring(double.api, Rendered("/d", len(video), "b", ()), scene, tmp_path / "no" / "folder")
