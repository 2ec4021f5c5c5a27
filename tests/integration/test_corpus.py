"""Odd inputs: each renders right or gets its documented 4xx. Never 500, never a hang, no litter."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio_ffmpeg
import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from cloudburst import media
from cloudburst.models import Scene
from cloudburst.workers.download import verify
from tests.support.inputs import EXAMPLE, SRT, write_sound
from tests.support.marks import but_the_first_slow
from tests.support.patience import SOON
from tests.support.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

# Its server is started once.
pytestmark = [pytest.mark.video, pytest.mark.xdist_group("corpus")]

PHOTO = Image.open(EXAMPLE.parent / "pictures" / "dandelions.jpg").resize((640, 360))
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def with_alpha(mode: str) -> Image.Image:
    picture = PHOTO.convert(mode)
    picture.putalpha(Image.radial_gradient("L").resize(PHOTO.size))
    return picture


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(PHOTO, "JPEG", exif=exif)


def grey16(most: int = 65535) -> Image.Image:
    return Image.fromarray(np.linspace(0, most, 640 * 360).reshape(360, 640).astype(np.uint16))


def sound(*options: str, source: str = "sine=d=0.4:f=440", suffix: str = "wav") -> bytes:
    path = Path(os.environ["PYTEST_CORPUS"]) / f"sound.{suffix}"
    command = [FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", source, *options, str(path)]
    subprocess.run(command, check=True)
    return path.read_bytes()


def plain_wav(seconds: float) -> bytes:
    return write_sound(Path(os.environ["PYTEST_CORPUS"]) / "plain.wav", seconds).read_bytes()


def riff_with(rate: int, channels: int, frames: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * channels * frames))
    return out.getvalue()


def srt(text: str) -> bytes:
    return f"1\n00:00:00,000 --> 00:00:00,300\n{text}\n".encode()


# What is sent, and the answer: 200, or the documented refusal.
PICTURES: dict[str, tuple[Any, int]] = {
    "png": (lambda: saved(PHOTO, "PNG"), 200),
    "png with alpha": (lambda: saved(with_alpha("RGB"), "PNG"), 200),
    "png grey with alpha": (lambda: saved(with_alpha("L"), "PNG"), 200),
    "png palette": (lambda: saved(PHOTO.convert("P"), "PNG"), 200),
    "png palette, transparent": (lambda: saved(PHOTO.convert("P"), "PNG", transparency=0), 200),
    "png one bit": (lambda: saved(PHOTO.convert("1"), "PNG"), 200),
    "png 16 bit grey": (lambda: saved(grey16(), "PNG"), 200),
    "tiff float": (lambda: saved(PHOTO.convert("F"), "TIFF"), 200),
    "jpeg": (lambda: saved(PHOTO, "JPEG"), 200),
    "jpeg progressive": (lambda: saved(PHOTO, "JPEG", progressive=True), 200),
    "jpeg grey": (lambda: saved(PHOTO.convert("L"), "JPEG"), 200),
    "jpeg cmyk": (lambda: saved(PHOTO.convert("CMYK"), "JPEG"), 200),
    "jpeg turned by exif": (rotated, 200),
    "webp": (lambda: saved(PHOTO, "WEBP"), 200),
    "webp lossless with alpha": (lambda: saved(with_alpha("RGB"), "WEBP", lossless=True), 200),
    "gif": (lambda: saved(PHOTO, "GIF"), 200),
    "bmp": (lambda: saved(PHOTO, "BMP"), 200),
    "odd size": (lambda: saved(PHOTO.resize((641, 359)), "PNG"), 200),
    "square": (lambda: saved(PHOTO.resize((500, 500)), "PNG"), 200),
    "very wide": (lambda: saved(PHOTO.resize((3000, 20)), "PNG"), 200),
    "very high": (lambda: saved(PHOTO.resize((20, 3000)), "PNG"), 200),
    "one pixel": (lambda: saved(PHOTO.resize((1, 1)), "PNG"), 422),
    "very large": (lambda: saved(PHOTO.resize((9000, 6000)), "JPEG"), 200),
    "absurdly large": (lambda: saved(Image.new("1", (19000, 19000)), "PNG"), 422),
    "cut png": (lambda: saved(PHOTO, "PNG")[:5000], 422),
    "cut jpeg": (lambda: saved(PHOTO, "JPEG")[:5000], 422),
    "noise": (lambda: os.urandom(5000), 422),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422),
    "a sound": (lambda: plain_wav(0.4), 422),
}
SOUNDS: dict[str, tuple[Any, int]] = {
    "wav 8 kHz": (lambda: sound("-ar", "8000"), 200),
    "wav 96 kHz stereo": (lambda: sound("-ar", "96000", "-ac", "2"), 200),
    "wav 24 bit": (lambda: sound("-c:a", "pcm_s24le"), 200),
    "wav float": (lambda: sound("-c:a", "pcm_f32le"), 200),
    "wav 8 bit": (lambda: sound("-c:a", "pcm_u8"), 200),
    "wav a-law": (lambda: sound("-c:a", "pcm_alaw"), 200),
    "wav 5.1": (lambda: sound("-ac", "6"), 200),
    "mp3": (lambda: sound("-b:a", "64k", suffix="mp3"), 200),
    "mp3 8 kHz": (lambda: sound("-ar", "8000", suffix="mp3"), 200),
    "mp3 16 kHz": (lambda: sound("-ar", "16000", suffix="mp3"), 200),
    "mp3 without header": (lambda: sound("-q:a", "5", "-write_xing", "0", suffix="mp3"), 200),
    "joined opus": (lambda: 2 * sound("-c:a", "libopus", suffix="opus"), 200),
    "joined ogg": (lambda: 2 * sound("-c:a", "libvorbis", suffix="ogg"), 200),
    "joined mp3": (lambda: 2 * sound(suffix="mp3"), 200),
    "joined, of two kinds": (
        lambda: sound("-ac", "1", suffix="ogg") + sound("-ar", "44100", "-ac", "2", suffix="ogg"),
        200,
    ),
    "webm": (lambda: sound("-c:a", "libopus", suffix="webm"), 200),
    "aac raw": (lambda: sound("-c:a", "aac", suffix="aac"), 200),
    "mp3 variable rate": (lambda: sound("-q:a", "5", suffix="mp3"), 200),
    "ogg": (lambda: sound("-c:a", "libvorbis", suffix="ogg"), 200),
    "opus": (lambda: sound("-c:a", "libopus", suffix="opus"), 200),
    "flac": (lambda: sound(suffix="flac"), 200),
    "m4a": (lambda: sound("-c:a", "aac", suffix="m4a"), 200),
    "a video": (
        lambda: sound("-f", "lavfi", "-i", "testsrc=d=0.4:s=64x64", "-shortest", suffix="mp4"),
        200,
    ),
    "silence": (lambda: riff_with(16000, 1, 8000), 200),
    "cut mp3": (lambda: sound("-b:a", "64k", suffix="mp3", source="sine=d=3")[:9000], 200),
    "cut wav": (lambda: sound(source="sine=d=3")[:90000], 200),
    "too short": (lambda: plain_wav(0.05), 422),
    "no samples": (lambda: riff_with(16000, 1, 0), 422),
    "too long": (lambda: riff_with(8, 1, 8 * 2000), 422),
    "only a picture": (lambda: sound(source="testsrc=d=0.4:s=64x64", suffix="avi"), 422),
    "noise": (lambda: os.urandom(5000), 422),
    "text": (lambda: b"la la la", 422),
}
SUBTITLES: dict[str, tuple[Any, int]] = {
    "plain": (SRT.encode, 200),
    "byte order mark": (lambda: b"\xef\xbb\xbf" + SRT.encode(), 200),
    "crlf": (lambda: SRT.replace("\n", "\r\n").encode(), 200),
    "utf-16": (lambda: SRT.encode("utf-16"), 200),
    "gbk": (lambda: srt("山顶的雪").decode().encode("gbk"), 200),
    "windows-1252": (lambda: srt("Größe, déjà vu").decode().encode("cp1252"), 200),
    "no numbers": (lambda: SRT.removeprefix("1\n").encode(), 200),
    "tags": (lambda: srt("<b>bold</b> <font color=red>red</font> {\\an8}up"), 200),
    "commands": (lambda: srt("{\\fscx900\\t(0,9,\\fs900)} \\N \\h %s $(id) `id` '; :"), 200),
    "very long line": (lambda: srt("word " * 2000), 200),
    "very long word": (lambda: srt("字" * 3000), 200),
    "right to left and emoji": (lambda: srt("שלום مرحبا 👋🏽 ก็"), 200),
    "overlapping": (lambda: SRT.encode() + SRT.replace("Hello", "Second").encode(), 200),
    "thousands of cues": (
        lambda: "".join(
            f"{n}\n00:00:00,{n % 300:03d} --> 00:00:00,{n % 300 + 5:03d}\n{n}\n\n"
            for n in range(3000)
        ).encode(),
        200,
    ),
    "after the end": (lambda: SRT.replace("00:00:0", "09:00:0").encode(), 200),
    "backwards": (lambda: b"1\n00:00:02,000 --> 00:00:01,000\nx\n", 200),
    "no cue": (lambda: b"just words", 422),
    "noise": (lambda: os.urandom(3000), 422),
}
BODIES: dict[str, tuple[Any, int]] = {
    "empty object": ({}, 400),
    "a list": ([1, 2], 400),
    "a word": ("hello", 400),
    "null": (None, 400),
    "numbers for pictures": ({"input_image": 7, "input_audio": 8}, 400),
    "objects for pictures": ({"input_image": {"a": 1}, "input_audio": []}, 400),
    "a path": ({"input_image": "/etc/passwd", "input_audio": "/etc/passwd"}, 400),
    "a url": ({"input_image": "http://127.0.0.1/x", "input_audio": "file:///etc"}, 400),
}
OPTIONS: dict[str, tuple[dict[str, Any], int]] = {
    "every default by name": (
        {"language": None, "effects": None, "subtitle": None, "font_size": None}, 200
    ),
    "unknown fields": ({"colour": "red", "__class__": "x"}, 200),
    "all effects": ({"effects": ["zoom_in", "zoom_out", "pan_left", "pan_right", "random"]}, 200),
    "upper case language": ({"language": "English"}, 200),
    "opacity as integer": ({"background_opacity": 1}, 200),
    "negative opacity": ({"background_opacity": -0.5}, 400),
    "file name that climbs": ({"output_filename": "../../../etc/passwd"}, 200),
    "file name with a line break": ({"output_filename": "a\r\nX-Evil: 1"}, 200),
    "deep effects": ({"effects": [["zoom_in"]]}, 400),
    "huge font": ({"font_size": 10**9}, 400),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, int]]:
    folder = tmp_path_factory.mktemp("corpus")
    os.environ["PYTEST_CORPUS"] = str(folder)
    work = folder / "work"
    process, url = serve(work)
    drain = process.stderr
    assert drain is not None
    import threading

    threading.Thread(target=drain.read, daemon=True).start()
    yield url, work, process.pid
    children = psutil.Process(process.pid).children(recursive=True)
    assert [child for child in children if child.status() != psutil.STATUS_ZOMBIE] == []
    process.terminate()
    process.wait(SOON)
    drain.close()
    assert not work.exists()


def send(
    server: tuple[str, Path, int], body: Any, expected: int, tmp_path: Path
) -> tuple[Path, dict[str, Any]] | None:
    """Send a request; return the verified video and the answer, None if it was refused."""
    url, work, _ = server
    before = set(work.iterdir())
    answer = requests.post(f"{url}/create_video_onestep", json=body, timeout=60)
    said = answer.json()
    assert answer.status_code == expected, said
    new = set(work.iterdir()) - before
    if expected != 200:
        assert said["error"]
        assert new == set(), "a refused scene leaves no file"
        return None
    got = requests.get(url + said["download_endpoint"], timeout=30)
    assert "X-Evil" not in got.headers
    (tmp_path / "v.mp4").write_bytes(got.content)
    (tmp_path / "a").write_bytes(base64.b64decode(body["input_audio"]))
    # As the client does: the narration's length beforehand, and the video's afterwards.
    seconds = media.measure(tmp_path / "a").seconds
    scene = Scene("v", image=tmp_path / "p", audio=tmp_path / "a", seconds=seconds)
    video = verify(tmp_path / "v.mp4", scene)
    assert (max(video.width, video.height), video.fps) == (1920, 30)
    assert video.sound_seconds == pytest.approx(seconds, abs=0.002)
    assert -0.002 <= video.picture_seconds - seconds <= 1 / 30 + 0.002, "not before the sound"
    (folder,) = new
    assert [path.name for path in folder.iterdir()] == ["video.mp4"], "nothing but the video stays"
    return tmp_path / "v.mp4", said


def heard(path: Path, tmp_path: Path) -> Any:
    """Return the left channel of a file at 48 kHz."""
    media.decode_sound(path, tmp_path / "pcm")
    return np.frombuffer((tmp_path / "pcm").read_bytes(), np.int16)[::2].astype(float)


def body(**more: bytes) -> dict[str, Any]:
    good = {"input_image": saved(PHOTO, "JPEG"), "input_audio": plain_wav(0.4)} | more
    return {name: base64.b64encode(data).decode() for name, data in good.items()}


@pytest.mark.parametrize("name", but_the_first_slow(PICTURES, 3))
def test_picture(server: tuple[str, Path, int], name: str, tmp_path: Path) -> None:
    data, expected = PICTURES[name]
    send(server, body(input_image=data()), expected, tmp_path)


@pytest.mark.parametrize("name", but_the_first_slow(SOUNDS, 3))
def test_sound(server: tuple[str, Path, int], name: str, tmp_path: Path) -> None:
    data, expected = SOUNDS[name]
    done = send(server, body(input_audio=data()), expected, tmp_path)
    if done is None or name == "silence":
        return
    # The video's sound is the narration's, in its place: not merely as long.
    source, made = heard(tmp_path / "a", tmp_path), heard(done[0], tmp_path)
    length = min(len(source), len(made))
    likeness = np.corrcoef(source[:length], made[:length])[0, 1]
    assert likeness > 0.98
    assert bool(done[1].get("warnings")) == name.startswith("cut"), done[1]


@pytest.mark.parametrize("name", but_the_first_slow(SUBTITLES, 3))
def test_subtitle(server: tuple[str, Path, int], name: str, tmp_path: Path) -> None:
    data, expected = SUBTITLES[name]
    send(server, body(subtitle=data()), expected, tmp_path)


@pytest.mark.parametrize("name", BODIES)
def test_body(server: tuple[str, Path, int], name: str, tmp_path: Path) -> None:
    data, expected = BODIES[name]
    send(server, data, expected, tmp_path)


@pytest.mark.parametrize("name", but_the_first_slow(OPTIONS, 3))
def test_option(server: tuple[str, Path, int], name: str, tmp_path: Path) -> None:
    more, expected = OPTIONS[name]
    send(server, body(subtitle=SRT.encode()) | more, expected, tmp_path)


def test_there_are_at_least_sixty() -> None:
    assert sum(map(len, (PICTURES, SOUNDS, SUBTITLES, BODIES, OPTIONS))) >= 60


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "P", "L"])
def test_colours_are_right(server: tuple[str, Path, int], tmp_path: Path, mode: str) -> None:
    import av

    url, _, _ = server
    flat = Image.new("RGB", (640, 360), (200, 40, 90))
    flat = flat.quantize(2) if mode == "P" else flat.convert(mode)
    expected = flat.convert("RGB").getpixel((0, 0))
    kind = "TIFF" if mode == "CMYK" else "PNG"
    answer = requests.post(
        f"{url}/create_video_onestep", json=body(input_image=saved(flat, kind)), timeout=60
    )
    got = requests.get(url + answer.json()["download_endpoint"], timeout=30)
    (tmp_path / "v.mp4").write_bytes(got.content)
    with av.open(str(tmp_path / "v.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range) == (1, 1), "BT.709, limited"
        shown = frame.to_ndarray(format="rgb24")[540, 960].astype(int)
    assert np.abs(shown - expected).max() <= 4
