"""Encode the frames of a scene, and put them into an MP4 with its sound.

Only a few of the frames are drawn and encoded: the pictures of a still (`still`), the anchors of a
moving picture (`between`). The others are made from their slices.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cloudburst import media
from cloudburst.videoapi import between, ffmpeg, ivf, motion, probe, quality, subtitles
from cloudburst.videoapi import still as stills
from cloudburst.videoapi.ffmpeg import Deadline, RenderError
from cloudburst.videoapi.h264 import UnknownStreamError

if TYPE_CHECKING:
    from collections.abc import Buffer, Iterable, Sequence  # type: ignore[attr-defined]

FPS = 30
# Frames between `motion.frames` and ffmpeg: those queued, one being written, one blocked on the
# full queue, one being drawn.
_BUFFERS = ffmpeg.WAITING_FRAMES + 3
# Where anchors have to be closer to each other, all frames are encoded.
_NARROWEST = 3


@dataclass(frozen=True, slots=True)
class Scene:
    """A request with its inputs decoded.

    Args:
        planes: Y, U and V of the canvas, or what motion draws from, see `motion.source`.
        drawn: whether it is a zoom over a drawing (`motion.is_drawing`); in a pan, anchors may do.
        size: width and height of the video, in pixels.
        count: number of frames.
        cues: subtitles as they are drawn, without overlaps.
        style: style of the subtitles; None draws none.
        watermark: whether ``watermark.png`` is in the folder.
        threads: encoder threads.
        goal: how good the video has to be.
        effort: how much CPU for how few bytes.
    """

    planes: tuple[motion.Plane, ...]
    drawn: bool
    size: tuple[int, int]
    count: int
    cues: list[subtitles.Drawn]
    style: subtitles.Style | None
    watermark: bool
    threads: int
    goal: quality.Goal
    effort: str


def frame_count(seconds: float) -> int:
    """Return the number of frames for a narration of so many seconds.

    The picture does not end before the sound: `ffmpeg -f concat` lets a clip begin when the longer
    stream of the one before ends, and a frame has to end there.
    """
    return max(1, math.ceil(round(seconds * FPS, 6)))


# -- moving pictures ----------------------------------------------------------------------------


def moving(scene: Scene, moved: str, folder: Path, deadline: Deadline) -> None:
    """Make the video of a moving picture; on the GPU where NVENC works.

    Args:
        scene: its ``planes`` are those of `motion.source`.
        moved: one of `motion.MOTIONS`.
        folder: with the scene's files; contains ``video.mp4`` afterwards.
        deadline: time limit of the render.

    Raises:
        RenderError: ffmpeg failed, exceeded its time, or the client disconnected.
    """
    if ffmpeg.has_nvenc():
        try:
            every_frame(scene, quality.nvenc(scene.goal), folder, deadline, moved)
        except RenderError:
            deadline.check()  # out of time or cancelled: another encoder cannot help
        else:
            return
    try:
        _chosen(scene, moved, folder, deadline)
    except UnknownStreamError:
        every_frame(scene, _plain(scene), folder, deadline, moved)


def _chosen(scene: Scene, moved: str, folder: Path, deadline: Deadline) -> None:
    """Draw and encode anchors, and have the decoder make the rest, unless that is not enough.

    Raises:
        UnknownStreamError: this x264 does not write the stream that `between` expects.
    """
    tweens = _tweens(scene.size, scene.threads)
    taken = probe.Probe(
        scene.planes,
        moved,
        scene.drawn,
        scene.size,
        scene.count,
        FPS,
        _x264(scene.threads),
        tweens,
        folder,
        deadline,
    )
    widest = _widest(scene, moved)
    seconds = scene.count / FPS
    chosen = quality.decide(taken.samples, scene.goal, scene.effort, widest, seconds, FPS)
    options = quality.moving(chosen.quantiser, chosen.spacing, chosen.search)
    if chosen.spacing == 1:
        every_frame(scene, [*_x264(scene.threads), *options], folder, deadline, moved)
        return
    changes, texts = _states(scene)
    is_bare = scene.style is not None and not scene.style.box
    parts = between.anchors(
        scene.count,
        {
            change: max(1, chosen.spacing // 2) if text and is_bare else chosen.spacing
            for change, text in zip(changes, texts, strict=True)
        },
    )
    places = [part.place for part in parts]
    shown = [texts[bisect.bisect(changes, place) - 1] for place in places]
    frames = motion.frames(scene.planes, moved, scene.size, scene.count, _BUFFERS, places)
    keys = [part.key for part in parts]
    stream = _pictures(scene, options, keys, shown, frames, folder, deadline)
    pan = motion.pan(moved, scene.size, scene.count)
    _join(scene, tweens.assemble(stream, parts, pan), folder, deadline)


def _widest(scene: Scene, moved: str) -> int:
    """Return how far anchors may be apart, in frames; 1 if every frame has to be encoded.

    A block with a part of something that stands still, before a picture that moves, can only follow
    one of them from anchor to anchor. A watermark does not have the motion that all edges of a pan
    are said to have.
    """
    if scene.drawn or (scene.watermark and motion.is_pan(moved)):
        return 1
    widest = min(between.WIDEST, int(motion.longest(moved, scene.size, scene.count)))
    widest = widest // 2 if scene.watermark else widest
    return widest if widest >= _NARROWEST else 1


# -- still pictures -----------------------------------------------------------------------------


def still(scene: Scene, folder: Path, deadline: Deadline) -> None:
    """Make the video of a still: each picture is encoded once and repeated; see `still`.

    Args:
        scene: its ``planes`` are those of the canvas.
        folder: with the scene's files; contains ``video.mp4`` afterwards.
        deadline: time limit of the render.

    Raises:
        RenderError: ffmpeg failed, exceeded its time, or the client disconnected.
    """
    try:
        _held(scene, folder, deadline)
    except UnknownStreamError:
        every_frame(scene, _plain(scene), folder, deadline)


def _held(scene: Scene, folder: Path, deadline: Deadline) -> None:
    changes, texts = _states(scene)
    parts = stills.segments(changes, scene.count)
    encoded = stills.encoded(parts)
    skips = _skips(scene.size, scene.threads)
    options = quality.still_picture("-crf", str(scene.goal.crf))
    keys, shown = [part.key for part in encoded], [texts[part.state] for part in encoded]
    stream = _pictures(scene, options, keys, shown, [_frame(scene)], folder, deadline, loop=True)
    _join(scene, enumerate(skips.assemble(stream, parts)), folder, deadline)


def _frame(scene: Scene) -> bytes:
    return b"".join(plane.tobytes() for plane in scene.planes)


# -- both ---------------------------------------------------------------------------------------


def _states(scene: Scene) -> tuple[list[int], list[str]]:
    """Return the frames at which the picture changes, and the subtitle text of each picture."""
    changes, texts = [0], [""]
    for cue in scene.cues:
        start, end = (math.ceil(round(second * FPS, 6)) for second in (cue.start, cue.end))
        for frame, text in ((start, cue.text), (end, "")):
            if frame >= scene.count or frame < changes[-1]:
                continue
            if frame == changes[-1]:
                texts[-1] = text
            elif text != texts[-1]:
                changes.append(frame)
                texts.append(text)
    return changes, texts


def _pictures(
    scene: Scene,
    options: Sequence[str],
    keys: Sequence[bool],
    texts: Sequence[str],
    frames: Iterable[Buffer],
    folder: Path,
    deadline: Deadline,
    *,
    loop: bool = False,
) -> bytes:
    """Encode some frames, and the sound; return the stream.

    Args:
        scene: to which they belong.
        options: of x264.
        keys: whether each is a key frame.
        texts: the subtitle on each.
        frames: as they are drawn.
        folder: for the files.
        deadline: time limit of the render.
        loop: there is only one, to be encoded for each.
    """
    cues, place = [], 0
    for text, group in itertools.groupby(texts):
        end = place + len(list(group))
        if text:
            cues.append(subtitles.Drawn((place - 0.5) / FPS, (end - 0.5) / FPS, text))
        place = end
    forced = ",".join(f"{(i - 0.4) / FPS:.4f}" for i, key in enumerate(keys) if key and i)
    arguments = [
        *_inputs(scene),
        *_graph(scene, _write_cues(scene, folder, cues), loop=loop),
        *("-frames:v", str(len(keys)), *_x264(scene.threads), *options),
        *(("-force_key_frames", forced) if forced else ()),
        *("-f", "h264", "pictures.h264"),
        *("-map", "1:a:0", *_SOUND, "-f", "mp4", "sound.m4a"),
    ]
    ffmpeg.run(arguments, folder, deadline, frames)
    return (folder / "pictures.h264").read_bytes()


def _join(
    scene: Scene, frames: Iterable[tuple[int, bytes]], folder: Path, deadline: Deadline
) -> None:
    """Put the frames and the sound into an MP4.

    Args:
        scene: to which they belong.
        frames: where each is shown, and its data, in the order of decoding.
        folder: with the sound.
        deadline: time limit of the render.
    """
    # All of it, so that an unexpected stream raises here and not in the thread that writes.
    stream = list(ivf.written(scene.size, FPS, frames))
    arguments = [
        *("-f", "ivf", "-i", "pipe:0", "-i", "sound.m4a"),
        *("-map", "0:v", "-map", "1:a", "-c", "copy"),
        *("-bsf:v", f"setts=pts=PTS:dts=(N-{between.DELAY})/{FPS}/TB:duration=1/{FPS}/TB"),
        *_VIDEO,
    ]
    ffmpeg.run(arguments, folder, deadline, stream)


@functools.lru_cache(maxsize=4)
def _skips(size: tuple[int, int], threads: int) -> stills.Skips:
    """Return the slices that repeat a picture, from encodings of black, once per size.

    Raises:
        UnknownStreamError: the slices are not as expected.
    """
    options = quality.still_picture("-qp", "20")
    return stills.Skips(_black(size, threads, stills.PERIOD + 3, options), _sets(size, threads))


@functools.lru_cache(maxsize=8)
def _tweens(size: tuple[int, int], threads: int) -> between.Tweens:
    """Return what makes the frames between anchors, once per size.

    Raises:
        UnknownStreamError: x264's parameter sets are not as expected.
    """
    return between.Tweens(size, _sets(size, threads))


@functools.lru_cache(maxsize=8)
def _sets(size: tuple[int, int], threads: int) -> bytes:
    """Return the start of a stream with the parameter sets of all videos of a size."""
    return _black(size, threads, 1, quality.moving(quality.HIGHEST, 1))


def _black(size: tuple[int, int], threads: int, count: int, options: Sequence[str]) -> bytes:
    """Encode black frames."""
    luma = bytes([16]) * (size[0] * size[1])
    black = luma + bytes([128]) * (size[0] * size[1] // 2)
    with TemporaryDirectory(prefix="cloudburst-") as name:
        folder = Path(name)
        arguments = [
            *ffmpeg.raw(size, FPS),
            *("-vf", f"loop=loop=-1:size=1,{ffmpeg.BT709}", "-frames:v", str(count)),
            *(*_x264(threads), *options, "-f", "h264", "black.h264"),
        ]
        ffmpeg.run(arguments, folder, Deadline(60), [black])
        return (folder / "black.h264").read_bytes()


def every_frame(
    scene: Scene, encoder: Sequence[str], folder: Path, deadline: Deadline, moved: str | None = None
) -> None:
    """Encode a scene frame by frame: slower, but with any encoder.

    Args:
        scene: the scene.
        encoder: options of ffmpeg.
        folder: with the scene's files; contains ``video.mp4`` afterwards.
        deadline: time limit of the render.
        moved: one of `motion.MOTIONS`; None for a still.

    Raises:
        RenderError: ffmpeg failed, exceeded its time, or the client disconnected.
    """
    frames: Iterable[Buffer] = [_frame(scene)]
    if moved:
        frames = motion.frames(scene.planes, moved, scene.size, scene.count, _BUFFERS)
    arguments = [
        *_inputs(scene),
        *_graph(scene, _write_cues(scene, folder, scene.cues), loop=not moved),
        *("-map", "1:a:0", *_SOUND, "-frames:v", str(scene.count), *encoder),
        *_VIDEO,
    ]
    ffmpeg.run(arguments, folder, deadline, frames)


# -- ffmpeg arguments ---------------------------------------------------------------------------

# One time base for stills and moving pictures: clips with different ones cannot be joined.
_VIDEO = ["-map_metadata", "-1", "-movflags", "+faststart", "-video_track_timescale", "15360"]
_VIDEO += ["-f", "mp4", "video.mp4"]
# At such a bit rate the fast coder is the better one, too ("Codec options" of ffmpeg's aac): speech
# differs from its source by 44 dB instead of 28.
_SOUND = ["-c:a", "aac", "-aac_coder", "fast", "-ar", "48000", "-ac", "2", "-b:a", "128k"]


def _inputs(scene: Scene) -> list[str]:
    mark = ["-i", "watermark.png"] if scene.watermark else []
    return [*ffmpeg.raw(scene.size, FPS), *media.PCM, "-i", "sound.pcm", *mark]


def _x264(threads: int) -> list[str]:
    return ["-c:v", "libx264", "-profile:v", "high", "-threads", str(threads)]


def _plain(scene: Scene) -> list[str]:
    """Return the options of x264 for an encoding of every frame."""
    options = ["-preset", "superfast", "-crf", str(scene.goal.crf + 1)]
    return [*_x264(scene.threads), *options, "-g", str(between.KEY_EVERY)]


def _write_cues(scene: Scene, folder: Path, cues: list[subtitles.Drawn]) -> bool:
    """Write the subtitles for ffmpeg; return whether there are any."""
    if scene.style is None or not cues:
        return False
    (folder / "cues.ass").write_text(subtitles.to_ass(cues, scene.style), encoding="utf-8")
    return True


def _graph(scene: Scene, has_cues: bool, *, loop: bool = False) -> list[str]:
    """Return the filter graph for watermark and subtitles; `loop` repeats the picture endlessly."""
    chain = [*(["loop=loop=-1:size=1"] if loop else []), ffmpeg.BT709]
    graph = f"[0:v]{','.join(chain)}[picture]"
    last = "picture"
    if scene.watermark:
        graph += f";[{last}][2:v]overlay=x=10:y=10:eof_action=repeat:format=yuv420[marked]"
        last = "marked"
    if has_cues:
        graph += f";[{last}]ass=cues.ass:fontsdir=fonts[titled]"
        last = "titled"
    return ["-filter_complex", f"{graph};[{last}]format=yuv420p[out]", "-map", "[out]"]
