"""Still pictures: the same frames for a fraction of the work."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from cloudburst import media
from cloudburst.videoapi import encode, ffmpeg, h264, quality, render, still
from cloudburst.videoapi.ffmpeg import Deadline
from cloudburst.videoapi.h264 import UnknownStreamError
from cloudburst.videoapi.still import KEY_EVERY, PERIOD, Segment, Skips, segments
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
        raise UnknownStreamError("another encoder")

    monkeypatch.setattr(encode, "_skips", refuse)
    plain = frames(rendered(asked, tmp_path, "plain"))
    assert len(plain) == len(held)
    for a, b in zip(plain, held, strict=True):
        assert np.sqrt(((a.astype(int) - b) ** 2).mean()) < 4


# -- what the module refuses --------------------------------------------------------------------

X264 = ["-c:v", "libx264", "-profile:v", "high", "-threads", "1"]
STILL = [*X264, *quality.still_picture("-qp", "20")]


def encoding(folder: Path, source: str, frames: int, options: list[str]) -> bytes:
    """Encode frames of the size of videos: in others, x264 varies the end of a slice."""
    arguments = ["-f", "lavfi", "-i", f"{source}s=1920x1080:r=30", "-frames:v", str(frames)]
    arguments += ["-pix_fmt", "yuv420p", *options, "-f", "h264", "stream.h264"]
    ffmpeg.run(arguments, folder, Deadline(60))
    return (folder / "stream.h264").read_bytes()


@pytest.fixture(scope="module")
def black(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return encoding(tmp_path_factory.mktemp("black"), "color=c=black:", PERIOD + 3, STILL)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return encoding(
        tmp_path_factory.mktemp("moving"), "testsrc2=", 1, [*X264, *quality.moving(20, 1)]
    )


@pytest.mark.video
def test_pictures_are_held_for_their_frames(tmp_path: Path, black: bytes, moving: bytes) -> None:
    pictures = encoding(tmp_path, "testsrc2=", 3, [*STILL, "-force_key_frames", "0.06"])
    # More frames than either number in a slice's header can count.
    parts = [Segment(3, 0, key=True), Segment(150, 1, key=False), Segment(2, 2, key=True)]
    parts.append(Segment(1, 2, key=True))  # shown once more, the same key frame is used once more
    assert still.encoded(parts) == parts[:3]
    made = list(Skips(black, moving).assemble(pictures, parts))
    (tmp_path / "made.h264").write_bytes(b"".join(made))
    shown, alone = frames(tmp_path / "made.h264"), frames(tmp_path / "stream.h264")
    assert len(shown) == len(made) == 156
    for place, frame in enumerate(shown):
        assert np.array_equal(frame, alone[0 if place < 3 else 1 if place < 153 else 2]), place


def without(stream: bytes, kind: int) -> bytes:
    """Return a stream without the NAL units of a type."""
    parts = stream.split(b"\0\0\1")
    return b"\0\0\1".join(part for part in parts if not part or part[0] & 31 != kind)


@pytest.mark.video
def test_an_unknown_encoding_of_black_is_refused(
    tmp_path: Path, black: bytes, moving: bytes
) -> None:
    gray = encoding(tmp_path, "testsrc2=", PERIOD + 3, STILL)
    sliced = encoding(tmp_path, "color=c=black:", PERIOD + 3, [*STILL, "-slices", "2"])
    skipped = b"".join(unit for place, unit in enumerate(h264.units(gray)) if place != 5)
    main = [option if option != "high" else "main" for option in STILL]
    refused = [
        (b"", "delimiters"),
        (b"".join(h264.units(black)[:4]), "too few"),
        (gray, "not the expected"),
        (skipped + h264.units(gray)[1], "not the expected"),
        (sliced, "is"),
        (without(black, h264.SPS), "parameter sets"),
        (encoding(tmp_path, "color=c=black:", PERIOD + 3, main), "not High"),
        (encoding(tmp_path, "color=c=black:", PERIOD + 3, [*X264, "-aud", "1"]), "differ|weighted"),
    ]
    for stream, words in refused:
        with pytest.raises(UnknownStreamError, match=words):
            Skips(stream, moving)


@pytest.mark.video
def test_motion_with_other_settings_is_refused(tmp_path: Path, black: bytes) -> None:
    for more in (["-x264-params", "cabac=0"], ["-x264-params", "8x8dct=0:weightp=0"]):
        moving = encoding(tmp_path, "testsrc2=", 3, [*X264, "-preset", "superfast", *more])
        with pytest.raises(UnknownStreamError):
            Skips(black, moving)


@pytest.mark.video
def test_pictures_that_are_not_as_asked_are_refused(
    tmp_path: Path, black: bytes, moving: bytes
) -> None:
    skips = Skips(black, moving)
    parts = [Segment(3, 0, key=True), Segment(2, 1, key=False)]
    two_keys = encoding(tmp_path, "testsrc2=", 2, [*STILL, "-force_key_frames", "0.03"])
    one, three = (encoding(tmp_path, "testsrc2=", count, STILL) for count in (1, 3))
    weighted = encoding(tmp_path, "testsrc2=", 2, [*X264, "-aud", "1", "-bf", "0"])
    for stream in (one, two_keys, three, weighted):
        with pytest.raises(UnknownStreamError):
            list(skips.assemble(stream, parts))
