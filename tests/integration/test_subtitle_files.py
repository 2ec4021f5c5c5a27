"""Subtitle files of every format and encoding, as pixels; client and worker read them alike."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import requests
from PIL import Image

from cloudburst.job import files, subtitles
from cloudburst.videoapi.app import Server, Settings
from cloudburst.videoapi.typefaces import fonts
from tests.integration import test_corpus
from tests.support.inputs import scenes_yaml, write_sound
from tests.support.letters import SIZE, cropped, expected, likeness, pictures
from tests.support.marks import but_the_first_slow
from tests.support.patience import SOON
from tests.support.runs import assert_nothing_left, cli_run
from tests.support.servers import serve
from tests.unit import test_subtitle_encodings as encodings
from tests.unit import test_subtitle_formats as formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Frames = list[NDArray[np.uint8]]

# Its server is started once.
pytestmark = [pytest.mark.video, pytest.mark.xdist_group("subtitle files")]

SECONDS = 1.0
FIRST, SECOND = "Hello there", "Here is another"
# The same two cues, from 0.2 s to 0.5 s and from there to 0.9 s.
SRT = """1
00:00:00,200 --> 00:00:00,500
{0}

2
00:00:00,500 --> 00:00:00,900
{1}
"""
VTT = """WEBVTT

NOTE nobody sees this

intro
00:00.200 --> 00:00.500 align:start
{0}

00:00.500 --> 00:00.900
<v Bob>{1}</v>
"""
ASS = """[Script Info]
Title: nobody sees this

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,nobody sees this
Dialogue: 0,0:00:00.20,0:00:00.50,Default,,0,0,0,,{{\\an8\\b1}}{0}
Dialogue: 0,0:00:00.50,0:00:00.90,Default,,0,0,0,,{1}
"""
LRC = "[ti:nobody sees this]\n[00:00.20]{0}\n[00:00.50]{1}\n[00:00.90]\n"
# Two texts in each encoding, which UTF-8 cannot be taken for.
ENCODED = {
    "utf-16-le": ("山顶的雪", "雪化了"),
    "cp1252": ("Très intéressant, merci", "Où êtes-vous allés ?"),
    "cp1251": ("Привет, мир", "Вчера мы ходили в кино"),
    "shift_jis": ("こんにちは世界", "ありがとう"),
    "big5": ("繁體中文字幕測試", "你好，世界"),
    "gb18030": ("山顶的雪", "简体中文字幕测试"),
}


def encoded(form: str, *texts: str) -> bytes:
    return form.format(*texts).encode()


@dataclass
class Api:
    """A server, and what is sent to it: a black picture, a short sound."""

    url: str
    good: dict[str, Any]
    shown: dict[bytes, Frames] = field(default_factory=dict)
    warnings: dict[bytes, list[str]] = field(default_factory=dict)
    folder: Path | None = None

    def post(self, data: bytes, **more: Any) -> requests.Response:
        body = self.good | {"subtitle": base64.b64encode(data).decode()} | more
        return requests.post(f"{self.url}/create_video_onestep", json=body, timeout=60)

    def video(self, data: bytes, **more: Any) -> Frames:
        """Return all frames of a video with these subtitles, in shades of grey."""
        assert self.folder is not None
        answer = self.post(data, **more)
        assert answer.status_code == 200, answer.text
        got = requests.get(self.url + answer.json()["download_endpoint"], timeout=30)
        (self.folder / "v.mp4").write_bytes(got.content)
        said = answer.json().get("warnings", [])
        # Not that so short cues are gone before anybody has read them.
        self.warnings[data] = [one for one in said if "too briefly" not in one]
        return pictures(self.folder / "v.mp4")

    def reference(self, *texts: str) -> Frames:
        """Return the frames of two cues in the plainest file: SRT in UTF-8."""
        data = encoded(SRT, *texts)
        if data not in self.shown:
            self.shown[data] = self.video(data)
            assert self.warnings[data] == []
            # It has both texts, each at its time, and nothing before and after.
            nothing, first, second, after = (self.shown[data][at] for at in (0, 10, 20, 29))
            assert nothing.max() < 30
            assert after.max() < 30
            assert min((first > 200).sum(), (second > 200).sum()) > 1000
            assert not np.array_equal(first, second)
        return self.shown[data]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("subtitles")
    process, url = serve(folder / "work")
    log = process.stderr
    assert log is not None
    threading.Thread(target=log.read, daemon=True).start()
    Image.new("RGB", (1920, 1080)).save(folder / "black.png")
    good = {
        "input_image": (folder / "black.png").read_bytes(),
        "input_audio": write_sound(folder / "a.wav", SECONDS, rate=8000).read_bytes(),
    }
    body = {name: base64.b64encode(data).decode() for name, data in good.items()}
    options = {"language": "english", "background_box": False, "font_size": SIZE}
    yield Api(url, body | options, folder=folder)
    process.terminate()
    process.wait(SOON)
    log.close()


def same(frames: Frames, others: Frames) -> bool:
    return len(frames) == len(others) and all(map(np.array_equal, frames, others))


@pytest.mark.parametrize("form", but_the_first_slow([VTT, ASS, LRC]), ids=["vtt", "ass", "lrc"])
def test_every_format_is_drawn_as_srt_is(api: Api, form: str) -> None:
    data = encoded(form, FIRST, SECOND)
    assert same(api.video(data), api.reference(FIRST, SECOND))
    assert api.warnings[data] == []


@pytest.mark.parametrize("encoding", but_the_first_slow(ENCODED, 2))
def test_every_encoding_is_drawn_as_utf_8_is(api: Api, encoding: str) -> None:
    data = SRT.format(*ENCODED[encoding]).encode(encoding)
    assert same(api.video(data), api.reference(*ENCODED[encoding]))
    # What the bytes prove is not a guess.
    assert ["is a guess" in warning for warning in api.warnings[data]] == (
        [] if encoding == "utf-16-le" else [True]
    )


def test_the_frames_that_are_compared_say_what_the_files_say(api: Api) -> None:
    """And a frame of one text is not that of another."""
    face = fonts.face_for("A")
    assert face is not None
    frames = api.reference(FIRST, SECOND)
    first, second = (cropped(frames[at]) for at in (10, 20))
    assert likeness(first, expected(face, FIRST)) > 0.75
    assert likeness(second, expected(face, SECOND)) > 0.75
    assert likeness(first, expected(face, SECOND)) < 0.5


@pytest.mark.parametrize(
    "line",
    [
        "00:00:00:500 -> 00:00:00:900",
        "００：００：００，５００ ——》 ００：００：００，９００",
        "0.5 --> 0.9",
    ],
)
def test_a_time_that_was_repaired_is_not_drawn(api: Api, line: str) -> None:
    data = encoded(SRT.replace("00:00:00,500 --> 00:00:00,900", line), FIRST, SECOND)
    assert same(api.video(data), api.reference(FIRST, SECOND))
    (warning,) = api.warnings[data]
    assert warning.startswith("subtitles, line 6: 1 time was repaired")


def test_angle_brackets_of_a_program_are_drawn(api: Api) -> None:
    face = fonts.face_for("A")
    assert face is not None
    drawn = cropped(api.reference("List<String>", "<b>List</b>")[10])
    assert likeness(drawn, expected(face, "List<String>")) > 0.75
    assert likeness(drawn, expected(face, "List")) < 0.5
    tagged = cropped(api.reference("List<String>", "<b>List</b>")[20])
    assert likeness(tagged, expected(face, "List")) > 0.75


# -- the client and the worker ------------------------------------------------------------------

CORPUS: dict[str, bytes] = {
    **{f"repaired {line}": f"{formats.FIRST}{line}\nx\n".encode() for line in formats.REPAIRED},
    **{f"unreadable {line}": f"{formats.FIRST}{line}\nx\n".encode() for line in formats.UNREADABLE},
    **{f"format {name}": data for data, name in formats.OTHERS},
    **{
        f"encoding {name}": (encodings.HEAD + text).encode(encoding)
        for name, encoding, text, _ in encodings.TEXTS
    },
    **{f"corpus {name}": make() for name, (make, _) in test_corpus.SUBTITLES.items()},
    "format vtt": formats.VTT.encode(),
    "format ass": formats.ASS.encode(),
}


@pytest.mark.slow
def test_client_and_worker_accept_and_refuse_the_same_files(api: Api, tmp_path: Path) -> None:
    """For the same reason: this server gives up after it has read a scene, before it draws it."""
    server = Server(Settings(tmp_path / "work", timeout=0))
    worker = server.app.test_client()
    scenes = []
    for number, data in enumerate(CORPUS.values()):
        (tmp_path / f"{number}.srt").write_bytes(data)
        scenes.append({"subtitle": f"{number}.srt", "audio": "a.wav", "language": "english"})
    probes = {("subtitle", scene["subtitle"]): files.Probe() for scene in scenes}
    probes[("audio", "a.wav")] = files.Probe(seconds=SECONDS)
    readings = subtitles.read({"scenes": scenes}, tmp_path, probes)
    assert len(readings) == len(CORPUS) > 80
    refused = 0
    for index, (name, data) in enumerate(CORPUS.items()):
        body = api.good | {"subtitle": base64.b64encode(data).decode()}
        answer = worker.post("/create_video_onestep", json=body)
        said, error = answer.get_json()["error"], readings[index].error
        assert answer.status_code == (500 if error is None else 422), (name, said, error)
        assert said in (error or "the render took longer than 0 s and was ended"), name
        refused += error is not None
    assert refused == len(formats.UNREADABLE) + len(formats.OTHERS) + 2  # no cue, noise


@pytest.mark.stack
@pytest.mark.slow
def test_a_warning_about_a_file_is_in_the_report_once(
    api: Api, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    """Song texts in a code page, with the name of another format."""
    texts = ENCODED["cp1252"]
    scene = ", subtitle: song.srt, language: english"
    job = job_file(scenes_yaml(1, scene=scene))
    (job.parent / "song.srt").write_bytes(LRC.format(*texts).encode("cp1252"))
    with cli_run(job, tmp_path / "out") as running:
        code, err = running.finish()
    assert code == 0, err
    (folder,) = (tmp_path / "out").iterdir()
    written = (folder / "report.json").read_text()
    assert written.count("is a guess") == 1
    (result,) = json.loads(written)["scenes"]
    (warning,) = [one for one in result["warnings"] if "guess" in one]
    assert warning.startswith("song.srt:2: the encoding is not UTF-8; windows-1252 is a guess")
    inputs = {"input_image": job.parent / "p.png", "input_audio": job.parent / "a.wav"}
    body = {name: base64.b64encode(path.read_bytes()).decode() for name, path in inputs.items()}
    body |= {"language": "english"}
    plain = replace(api, good=body).video(encoded(SRT, *texts))
    (video,) = folder.glob("*.mp4")
    assert same(pictures(video), plain)
    assert_nothing_left(state)
