"""Moving pictures: frames that are never encoded are where the camera would have seen them."""

from __future__ import annotations

import itertools
import subprocess
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from cloudburst.videoapi import between, encode, ffmpeg, h264, ivf, motion, probe, quality, render
from cloudburst.videoapi.between import KEY_EVERY, Anchor, Pan, Tweens, anchors
from cloudburst.videoapi.ffmpeg import Deadline
from cloudburst.videoapi.h264 import UnknownStreamError
from tests.support.inputs import EXAMPLE, write_picture, write_sound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Luma = NDArray[np.uint8]

PICTURE = EXAMPLE.parent / "pictures" / "dandelions.jpg"
X264 = ["-c:v", "libx264", "-profile:v", "high", "-threads", "2"]
SIZE = (320, 176)


# -- anchors ------------------------------------------------------------------------------------


def test_anchors_are_evenly_spaced_and_end_with_the_last_frame() -> None:
    assert [anchor.place for anchor in anchors(49, {0: 16})] == [0, 16, 32, 48]
    assert [anchor.place for anchor in anchors(20, {0: 16})] == [0, 10, 19]
    assert anchors(1, {0: 16}) == [Anchor(0, key=True)]
    assert [anchor.place for anchor in anchors(4, {0: 1})] == [0, 1, 2, 3]


def test_what_changes_suddenly_has_an_anchor_before_it() -> None:
    assert [anchor.place for anchor in anchors(33, {0: 16, 5: 16, 20: 16})] == [0, 4, 5, 19, 20, 32]
    # A change beyond the end is none.
    assert [anchor.place for anchor in anchors(17, {0: 16, 17: 8, 40: 8})] == [0, 16]


def test_anchors_are_closer_where_they_have_to_be() -> None:
    places = [anchor.place for anchor in anchors(65, {0: 16, 20: 4, 30: 16})]
    assert places == [0, 10, 19, 20, 23, 26, 29, 30, 41, 53, 64]


def test_anchors_are_never_too_far_apart_and_have_keys_often_enough() -> None:
    generator = np.random.default_rng(5)
    for _ in range(200):
        count, spacing = int(generator.integers(1, 3000)), int(generator.integers(1, 17))
        changes = {0, *(int(x) for x in generator.integers(0, count + 9, 5))}
        parts = anchors(count, dict.fromkeys(changes, spacing))
        places = [part.place for part in parts]
        assert places[0] == 0
        assert places[-1] == count - 1
        assert all(0 < after - place <= spacing for place, after in itertools.pairwise(places))
        assert {change - 1 for change in changes if 0 < change < count} <= set(places)
        keys = [part.place for part in parts if part.key]
        assert keys == list(range(0, count, KEY_EVERY))
        assert {key - 1 for key in keys[1:]} <= set(places)


# -- streams ------------------------------------------------------------------------------------


def raw(size: tuple[int, int] = SIZE) -> list[str]:
    shape = f"{size[0]}x{size[1]}"
    return ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", shape, "-r", "30", "-i", "pipe:0"]


def encoded(
    folder: Path, frames: Sequence[bytes], options: Sequence[str], size: tuple[int, int] = SIZE
) -> bytes:
    arguments = [*raw(size), *X264, *options, "-f", "h264", "stream.h264"]
    ffmpeg.run(arguments, folder, Deadline(60), frames)
    return (folder / "stream.h264").read_bytes()


def shown(
    folder: Path,
    frames: Sequence[tuple[int, bytes]],
    size: tuple[int, int] = SIZE,
    decoder: str = "h264",
) -> list[Luma]:
    """Decode frames."""
    data = b"".join(ivf.written(size, 30, frames))
    (folder / "made.ivf").write_bytes(data)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "warning", "-c:v", decoder]
    command += ["-i", str(folder / "made.ivf"), "-fps_mode", "passthrough"]
    command += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"]
    result = subprocess.run(command, capture_output=True, check=True)
    assert result.stderr == b""
    planes = np.frombuffer(result.stdout, np.uint8).reshape(-1, size[1] * 3 // 2, size[0])
    return [plane[: size[1]] for plane in planes]


@pytest.fixture(scope="module")
def tweens(tmp_path_factory: pytest.TempPathFactory) -> Tweens:
    folder = tmp_path_factory.mktemp("sets")
    return Tweens(SIZE, encoded(folder, [bytes(SIZE[0] * SIZE[1] * 3 // 2)], quality.moving(20, 1)))


def moved(step: tuple[int, int], count: int) -> list[bytes]:
    """Return frames of a picture that moves by whole pixels: right, and down, with every frame."""
    generator = np.random.default_rng(8)
    width, height = SIZE[0] + abs(step[0]) * count, SIZE[1] + abs(step[1]) * count
    noise = generator.normal(128, 40, (height // 8, width // 8))
    picture = np.clip(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), 16, 235)
    picture = picture.astype(np.uint8)
    found = []
    for index in range(count):
        x, y = ((count - 1 - index) * size if size > 0 else -index * size for size in step)
        luma = picture[y : y + SIZE[1], x : x + SIZE[0]]
        found.append(luma.tobytes() + bytes([128]) * (SIZE[0] * SIZE[1] // 2))
    return found


def luma(frame: bytes) -> Luma:
    return np.frombuffer(frame, np.uint8, SIZE[0] * SIZE[1]).reshape(SIZE[1], SIZE[0])


def off(shown: Luma, meant: Luma) -> NDArray[np.float64]:
    """Return how much the columns of a frame differ from what was meant."""
    return np.asarray(np.sqrt(((shown.astype(float) - meant) ** 2).mean(axis=0)))


@pytest.mark.video
@pytest.mark.parametrize("decoder", ["h264", "libopenh264"])
@pytest.mark.parametrize(("step", "spacing"), [(1, 16), (-1, 16), (2, 6), (-3, 6), (5, 4), (0, 16)])
def test_the_decoder_moves_the_picture(
    tmp_path: Path, tweens: Tweens, step: int, spacing: int, decoder: str
) -> None:
    """With ffmpeg's own decoder, and with OpenH264, which is not related to it."""
    meant = moved((step, 0), 65)
    parts = anchors(65, {0: spacing, 40: spacing})
    pictures = [meant[part.place] for part in parts]
    stream = encoded(tmp_path, pictures, quality.moving(10, 16, "thorough"))
    frames = list(tweens.assemble(stream, parts, step))
    assert sorted(place for place, _ in frames) == list(range(65))
    found = shown(tmp_path, frames, decoder=decoder)
    assert len(found) == 65
    for place, frame in enumerate(found):
        # The edges, too: what comes into view, and what leaves it.
        assert off(frame, luma(meant[place])).max() < 3, place


def one_group(folder: Path, tweens: Tweens, meant: Sequence[bytes]) -> list[Luma]:
    """Return what is shown of 17 frames, of which the first and the last are encoded."""
    stream = encoded(folder, [meant[0], meant[16]], quality.moving(10, 16, "thorough"))
    return shown(folder, list(tweens.assemble(stream, anchors(17, {0: 16}))))


@pytest.mark.video
def test_without_a_pan_edges_are_a_mixture(tmp_path: Path, tweens: Tweens) -> None:
    """What the columns at the edges are for."""
    meant = moved((1, 0), 17)
    found = one_group(tmp_path, tweens, meant)
    differs = off(found[8], luma(meant[8]))
    assert differs[:8].max() > 20
    assert differs[40:-40].max() < 6


@pytest.mark.video
def test_pictures_move_down_as_well(tmp_path: Path, tweens: Tweens) -> None:
    meant = moved((0, 1), 17)
    found = one_group(tmp_path, tweens, meant)
    for place in (1, 8, 15):
        middle = slice(16, -16)
        assert off(found[place][middle], luma(meant[place])[middle])[16:-16].max() < 6


@pytest.mark.video
def test_more_frames_than_the_numbers_of_a_slice_can_count(tmp_path: Path, tweens: Tweens) -> None:
    meant = moved((1, 0), 300)
    parts = anchors(300, {0: 4})
    keys = [index for index, part in enumerate(parts) if part.key]
    assert [parts[key].place for key in keys] == [0, 240]
    forced = ["-force_key_frames", f"{(keys[1] - 0.4) / 30:.4f}"]
    pictures = [meant[part.place] for part in parts]
    stream = encoded(tmp_path, pictures, [*quality.moving(16, 16), *forced])
    found = shown(tmp_path, list(tweens.assemble(stream, parts, 1)))
    assert len(found) == 300
    assert max(off(frame, luma(meant[place])).max() for place, frame in enumerate(found)) < 12


@pytest.mark.video
def test_an_anchor_may_look_like_one_before_the_last(tmp_path: Path, tweens: Tweens) -> None:
    """Blocks between two anchors then follow an older one, which has to be there still."""
    meant = moved((1, 0), 49)
    gray = bytes([60]) * (SIZE[0] * SIZE[1]) + bytes([128]) * (SIZE[0] * SIZE[1] // 2)
    parts = anchors(49, {0: 8})
    pictures = [gray if number % 2 else meant[part.place] for number, part in enumerate(parts)]
    stream = encoded(tmp_path, pictures, quality.moving(16, 8, "thorough"))
    frames = list(tweens.assemble(stream, parts))
    for decoder in ("h264", "libopenh264"):
        found = shown(tmp_path, frames, decoder=decoder)
        assert len(found) == 49
        # Between a gray anchor and one that continues the anchor before that.
        for place in (10, 13, 15, 25, 29, 42):
            differs = off(found[place], luma(meant[place]))
            assert np.median(differs[32:-32]) < 4, (decoder, place)


def b_slices(stream: bytes) -> list[bytes]:
    return [
        nal
        for unit in h264.units(stream)
        for nal in h264.nals(unit)
        if nal[0] & 31 == h264.SLICE and not nal[0] >> 5
    ]


@pytest.mark.video
def test_the_slices_are_those_that_x264_writes_where_nothing_moves(tmp_path: Path) -> None:
    black = bytes([16]) * (SIZE[0] * SIZE[1]) + bytes([128]) * (SIZE[0] * SIZE[1] // 2)
    # B-frames with the quantiser of our slices, coarser than that of the others.
    more = "direct=temporal:no-deblock=1:qp=20:pbratio=2:scenecut=0:stitchable=1"
    options = ["-preset", "superfast", "-x264-params", f"{between.EVERY}:{more}:b-pyramid=none"]
    theirs = b_slices(encoded(tmp_path, [black] * 9, options))
    data = between.data((20, 11), None, one=True)
    assert len(theirs) == 7
    for nal in theirs:
        # But for the last byte, with a bit that x264 varies.
        assert nal.endswith(data[-8:-1] + nal[-1:])


def test_slices_of_a_pan_say_where_the_picture_is_only_once() -> None:
    still = between.data((120, 68), None, one=False)
    panned = between.data((120, 68), Pan(-13, 51, 2, to_right=True), one=False)
    assert len(still) < 60
    assert len(panned) < 250
    assert panned != between.data((120, 68), Pan(-13, 52, 2, to_right=True), one=False)
    assert panned != between.data((120, 68), Pan(-13, 51, 3, to_right=True), one=False)
    assert panned != between.data((120, 68), Pan(-13, 51, 2, to_right=True), one=True)


@pytest.mark.parametrize("pan", [0.05, -0.05])
def test_a_slow_pan_knows_its_direction(pan: float) -> None:
    last = between._pan(pan, 0, 15, 16)
    assert (last.after, last.to_right) == (0, pan > 0)
    edges = [between._block(last, 5, column, 120) for column in (0, 60, 119)]
    assert edges[1] is None
    assert [edge.after for edge in edges if edge] == ([True, False] if pan > 0 else [False, True])


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.video
def test_streams_that_are_not_as_asked_are_refused(tmp_path: Path, tweens: Tweens) -> None:
    meant = moved((1, 0), 33)
    parts = anchors(33, {0: 16})
    pictures = [meant[part.place] for part in parts]
    good = quality.moving(20, 16)
    baseline = ["-profile:v", "baseline", *good]
    coarse = [*good[:-1], good[-1].replace("chroma-qp-offset=5", "chroma-qp-offset=9")]
    refused = [
        (encoded(tmp_path, pictures[:2], good), "as asked"),
        (encoded(tmp_path, pictures, [*good, "-force_key_frames", "0.03"]), "as asked"),
        (encoded(tmp_path, pictures, baseline), "profile"),
        (
            encoded(tmp_path, pictures, ["-preset", "superfast", "-aud", "1", "-bf", "0"]),
            "weighted",
        ),
        (encoded(tmp_path, pictures, coarse), "differ"),
    ]
    for stream, words in refused:
        with pytest.raises(UnknownStreamError, match=words):
            list(tweens.assemble(stream, parts))


@pytest.mark.video
def test_parameter_sets_with_too_few_bits_are_refused(tmp_path: Path) -> None:
    options = quality.moving(20, 1)[-1].replace("bframes=7", "bframes=1")
    assert "bframes=1:" in options
    stream = encoded(tmp_path, [bytes(SIZE[0] * SIZE[1] * 3 // 2)], ["-x264-params", options])
    with pytest.raises(UnknownStreamError, match="order of display"):
        Tweens(SIZE, stream)


# -- videos -------------------------------------------------------------------------------------


def rendered(folder: Path, seconds: float, effect: str, **more: Any) -> Path:
    sound = write_sound(folder / "a.wav", seconds, rate=8000)
    picture = more.pop("picture", PICTURE)
    asked = render.Request(picture.read_bytes(), sound.read_bytes(), effects=(effect,), **more)
    (folder / "scene").mkdir()
    path, warnings = render.render(asked, folder / "scene", Deadline(120), threads=2)
    assert warnings == []
    return path


def decoded(path: Path) -> list[Luma]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        assert [frame.time for frame in frames] == pytest.approx(
            [i / 30 for i in range(len(frames))]
        )
        return [np.asarray(frame.to_ndarray(format="gray"), np.uint8) for frame in frames]


SRT = b"1\n00:00:00,500 --> 00:00:01,250\nINTERSTELLAR\n"


@pytest.mark.video
@pytest.mark.parametrize("effect", motion.MOTIONS)
def test_every_frame_is_what_the_camera_sees(
    tmp_path: Path, effect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = decoded(rendered(tmp_path, 2, effect, subtitle=SRT))
    lossless = ["-c:v", "libx264", "-qp", "0", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    monkeypatch.setattr(
        encode,
        "moving",
        lambda scene, moved, folder, deadline: encode.every_frame(
            scene, lossless, folder, deadline, moved
        ),
    )
    (tmp_path / "exact").mkdir()
    meant = decoded(rendered(tmp_path / "exact", 2, effect, subtitle=SRT))
    assert len(made) == len(meant) == 60
    for place, (frame, exact) in enumerate(zip(made, meant, strict=True)):
        difference = (frame.astype(float) - exact) ** 2
        assert 10 * np.log10(255**2 / difference.mean()) > 38, place
        # The subtitle is there from its first frame to its last, and not in the frames beside them.
        below = slice(int(frame.shape[0] * 0.8), None)
        assert 10 * np.log10(255**2 / difference[below].mean()) > 34, place


@pytest.mark.video
@pytest.mark.slow
def test_a_long_video_has_key_frames_and_a_clock(tmp_path: Path) -> None:
    path = rendered(tmp_path, 17, "zoom_in")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert [packet.is_keyframe for packet in packets].count(True) == 3
        shown_at = [packet.pts * packet.time_base for packet in packets if packet.pts is not None]
        decoded_at = [packet.dts * packet.time_base for packet in packets if packet.dts is not None]
        assert sorted(shown_at) == [Fraction(i, 30) for i in range(510)]
        assert decoded_at == sorted(decoded_at)
        assert all(a <= b for a, b in zip(decoded_at, shown_at, strict=True))
        keys = [time for time, packet in zip(shown_at, packets, strict=True) if packet.is_keyframe]
        assert keys == [0, 8, 16]
        # Seeking anywhere shows that frame.
        frames = [frame.to_ndarray(format="gray") for frame in _decode_all(path)]
        for second in (1, 7.9, 8, 8.1, 12, 16.5):
            container.seek(int(second / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                assert frame.time is not None
                assert np.array_equal(
                    frame.to_ndarray(format="gray"), frames[round(frame.time * 30)]
                )
                break


def _decode_all(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.mark.video
def test_letters_without_a_box_and_watermarks_have_anchors_close_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[list[int]] = []
    choose = between.anchors

    def anchors_taken(*given: Any) -> list[Anchor]:
        parts = choose(*given)
        taken.append([part.place for part in parts])
        return parts

    monkeypatch.setattr(between, "anchors", anchors_taken)
    monkeypatch.setattr(quality, "decide", lambda *given: quality.Choice(16, given[3]))
    mark = (tmp_path / "mark.png", (64, 64))
    for name, seconds, effect, more in (
        ("box", 4, "zoom_in", {"subtitle": SRT}),
        ("bare", 4, "zoom_in", {"subtitle": SRT, "background_box": False}),
        ("marked", 4, "zoom_in", {"watermark": write_picture(*mark).read_bytes()}),
        ("marked pan", 8, "pan_left", {"watermark": write_picture(*mark).read_bytes()}),
    ):
        (tmp_path / name).mkdir()
        rendered(tmp_path / name, seconds, effect, **more)
    box, bare, marked = taken  # a pan with a watermark has none: every frame is encoded
    during = [[place for place in places if 15 <= place < 38] for places in (box, bare)]
    assert len(during[1]) > 1.5 * len(during[0])
    assert len(marked) > 1.5 * len([place for place in box if place not in range(14, 39)])


@pytest.mark.video
def test_a_drawing_has_every_frame_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    samples = probe.Probe.samples

    def sampled(taken: probe.Probe, search: str, spacing: int) -> quality.Samples | None:
        tried.append(spacing)
        return samples(taken, search, spacing)

    monkeypatch.setattr(probe.Probe, "samples", sampled)
    luma = np.full((1080, 1920), 255, np.uint8)
    for line in range(12):
        cv2.putText(luma, f"{line} sixteen frames, one anchor", (150, 80 + 85 * line), 0, 1.6, 0, 2)
    cv2.imwrite(str(tmp_path / "page.png"), luma)
    page = rendered(tmp_path, 3, "zoom_in", picture=tmp_path / "page.png")
    assert tried == [1], "no time is spent on anchors"
    (tmp_path / "pan").mkdir()
    rendered(tmp_path / "pan", 3, "pan_left", picture=tmp_path / "page.png")
    assert tried[1] > 1, "in a pan, all of it moves alike: anchors may do"
    tried.clear()
    (tmp_path / "other").mkdir()
    photograph = rendered(tmp_path / "other", 3, "zoom_in")
    assert tried[0] > 1
    # A frame that the decoder makes has some 50 bytes, one of x264's has more.
    assert sum(packet.size < 80 for packet in _packets(page)) == 0
    assert sum(packet.size < 80 for packet in _packets(photograph)) > 60


def _packets(path: Path) -> list[av.Packet]:
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


@pytest.mark.video
def test_an_encoder_of_another_kind_encodes_every_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise UnknownStreamError("another encoder")

    monkeypatch.setattr(encode, "_tweens", refuse)
    made = decoded(rendered(tmp_path, 1, "zoom_in"))
    assert len(made) == 30
    assert np.abs(made[0].astype(float) - made[-1]).mean() > 1
