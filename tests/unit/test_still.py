"""Still pictures: the same frames for a fraction of the work."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from cloudburst import media
from cloudburst.videoapi import render, still
from cloudburst.videoapi.ffmpeg import Deadline
from cloudburst.videoapi.still import KEY_EVERY, Segment, Skips, StillUnsupportedError, segments
from tests.support.inputs import EXAMPLE, write_sound

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PICTURE = EXAMPLE.parent / "pictures" / "dandelions.jpg"
SRT = """1
00:00:00,500 --> 00:00:01,250
one

2
00:00:01,250 --> 00:00:02,000
two

3
00:00:01,700 --> 00:00:02,400
three
"""


@pytest.mark.parametrize(
    ("changes", "total", "expected"),
    [
        ([0], 100, [Segment(100, 0, key=True)]),
        ([0, 10], 20, [Segment(10, 0, key=True), Segment(10, 1, key=False)]),
        ([0], 301, [Segment(300, 0, key=True), Segment(1, 0, key=True)]),
        # A change that comes when a key frame is nearly due is made one.
        ([0, 200], 210, [Segment(200, 0, key=True), Segment(10, 1, key=True)]),
    ],
)
def test_segments(changes: list[int], total: int, expected: list[Segment]) -> None:
    assert segments(changes, total) == expected


def test_segments_cover_every_frame_and_have_keys_often_enough() -> None:
    generator = np.random.default_rng(3)
    for _ in range(200):
        total = int(generator.integers(1, 5000))
        count = int(generator.integers(0, 40))
        changes = sorted({0, *(int(x) for x in generator.integers(0, total, count))})
        parts = segments(changes, total)
        assert sum(part.frames for part in parts) == total
        assert all(part.frames > 0 for part in parts)
        shown = [part.state for part in parts for _ in range(part.frames)]
        assert [shown.index(state) for state in range(len(changes))] == changes
        since = KEY_EVERY
        for part in parts:
            since = part.frames if part.key else since + part.frames
            assert since <= KEY_EVERY
        assert parts[0].key


def request(seconds: float, tmp_path: Path, **more: Any) -> render.Request:
    sound = write_sound(tmp_path / "a.wav", seconds, rate=8000)
    return render.Request(PICTURE.read_bytes(), sound.read_bytes(), **more)


def rendered(asked: render.Request, tmp_path: Path, name: str = "scene") -> Path:
    folder = tmp_path / name
    folder.mkdir()
    path, warnings = render.render(asked, folder, Deadline(60), threads=2)
    assert warnings == []
    return path


def frames(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


@pytest.mark.video
def test_a_held_frame_is_exactly_the_frame_before_it(tmp_path: Path) -> None:
    path = rendered(request(2.6, tmp_path, subtitle=SRT.encode()), tmp_path)
    shown = frames(path)
    assert len(shown) == 78
    changed = [i for i in range(1, 78) if not np.array_equal(shown[i], shown[i - 1])]
    # 0.5 s; 1.25 s; 1.7 s (both stand together); 2.0 s; 2.4 s; the first frame that shows each.
    assert changed == [15, 38, 51, 60, 72]
    # After the last subtitle the picture is what it was before the first, but for its encoding.
    difference = shown[0].astype(int) - shown[-1]
    assert np.sqrt((difference**2).mean()) < 2


@pytest.mark.video
@pytest.mark.slow
def test_a_long_scene_has_key_frames_a_clock_and_nothing_but_the_picture(tmp_path: Path) -> None:
    path = rendered(request(25.0, tmp_path), tmp_path)
    video = media.inspect_video(path)
    assert (video.frames, video.fps, video.width) == (750, 30.0, 1920)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert [i for i, packet in enumerate(packets) if packet.is_keyframe] == [0, 300, 600]
        times = [packet.pts * packet.time_base for packet in packets if packet.pts is not None]
        assert times == [Fraction(i, 30) for i in range(750)]
        context = stream.codec_context
        assert (context.color_range, context.colorspace) == (1, 1)
        assert stream.profile == "High"
    shown = frames(path)
    assert all(np.array_equal(shown[0], frame) for frame in shown)
    # The index comes first, so that a browser begins to play before all has come.
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.video
@pytest.mark.slow
def test_seeking_anywhere_shows_the_picture(tmp_path: Path) -> None:
    path = rendered(request(25.0, tmp_path, subtitle=SRT.encode()), tmp_path)
    shown = frames(path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for second in (1, 9, 10, 11, 20, 24):
            container.seek(int(second / stream.time_base), stream=stream)
            frame = next(container.decode(stream))
            assert frame.time is not None
            place = round(frame.time * 30)
            assert np.array_equal(frame.to_ndarray(format="gray"), shown[place])


@pytest.mark.video
def test_an_encoder_of_another_kind_falls_back_to_encoding_every_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(2.6, tmp_path, subtitle=SRT.encode())
    held = frames(rendered(asked, tmp_path))

    def refuse(*_: object) -> None:
        raise StillUnsupportedError("another encoder")

    monkeypatch.setattr(render, "_skips", refuse)
    plain = frames(rendered(asked, tmp_path, "plain"))
    assert len(plain) == len(held)
    for a, b in zip(plain, held, strict=True):
        assert np.sqrt(((a.astype(int) - b) ** 2).mean()) < 4


# -- what the module refuses --------------------------------------------------------------------

START = b"\x00\x00\x00\x01"
AUD = START + b"\x09\xf0"


def slice_of(number: int, more: bytes = b"\x80\x07") -> bytes:
    first = 0b10011010 | number >> 3
    return AUD + START + b"\x41" + bytes([first, (number & 7) << 5 | 2]) + more


def key(parameters: bytes = b"\x67\x01") -> bytes:
    return AUD + START + parameters + START + b"\x68\x01" + START + b"\x65\x88\x84"


BLACK = key() + b"".join(slice_of(i % 16) for i in range(1, 19))


def test_frame_numbers_are_written_where_they_stand() -> None:
    for number in range(16):
        assert still.numbered(slice_of(5), number) == slice_of(number)


def test_pictures_are_held_for_their_frames() -> None:
    stream = key() + slice_of(1, b"\xaa") + key()
    parts = [Segment(3, 0, key=True), Segment(20, 1, key=False), Segment(2, 1, key=True)]
    # Shown once more, the same key frame is used once more.
    parts.append(Segment(1, 1, key=True))
    assert still.encoded(parts) == parts[:3]
    made = list(Skips(BLACK).assemble(stream, parts))
    expected = [key(), slice_of(1), slice_of(2), slice_of(3, b"\xaa")]
    expected += [slice_of(number % 16) for number in range(4, 23)]
    assert made == [*expected, key(), slice_of(1), key()]


@pytest.mark.parametrize(
    ("black", "words"),
    [
        (b"", "delimiters"),
        (key() + slice_of(1), "too few"),
        (key() + b"".join(slice_of(i % 32 % 16) for i in range(2, 20)), "not the expected"),
        (key() + b"".join(slice_of(i % 16, bytes([1, i])) for i in range(1, 19)), "not the exp"),
        (AUD + START + b"\x65\x88" + BLACK[len(key()) :], "parameter sets"),
        (BLACK.replace(b"\x41\x9a", b"\x41\x5a"), "not a P slice"),
    ],
)
def test_an_unknown_encoding_of_black_is_refused(black: bytes, words: str) -> None:
    with pytest.raises(StillUnsupportedError, match=words):
        Skips(black)


@pytest.mark.parametrize(
    "stream",
    [
        key(),
        key() + key(),
        key() + slice_of(1) + slice_of(2),
        key(b"\x67\x02") + slice_of(1),
    ],
    ids=["one missing", "a key too many", "one too many", "other parameters"],
)
def test_pictures_that_are_not_as_asked_are_refused(stream: bytes) -> None:
    parts = [Segment(3, 0, key=True), Segment(2, 1, key=False)]
    with pytest.raises(StillUnsupportedError):
        list(Skips(BLACK).assemble(stream, parts))
