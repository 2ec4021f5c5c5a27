"""Choose how finely a video is encoded: by its picture, what was asked for, and what bytes cost.

The same quantiser gives a photograph of foliage six times the bytes of a drawing, and neither the
quality that was asked for. So a probe encodes a few frames of the actual motion with two quantisers
and measures both with VMAF; `choose` then finds the quantiser that meets the `Goal`.

Clips of one run must fit together whatever was chosen for each: nothing here may change what x264
writes into the parameter sets. ``stitchable`` keeps the quantiser out of them; a number of
B-frames, references or weights other than those of `_MOVING` would get into them. `still` takes
over those of a moving picture.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudburst.videoapi import ffmpeg, motion, still
from cloudburst.videoapi.ffmpeg import Deadline, RenderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cloudburst.videoapi.motion import Plane

QUALITIES = ("small", "normal", "high")
EFFORTS = ("low", "high")


@dataclass(frozen=True, slots=True)
class Goal:
    """What a quality means.

    Args:
        vmaf: the mean over all frames of a moving picture, 0 to 100.
        bits: most bits per second of video; noise reaches no VMAF worth its bytes.
        quantiser: of moving pictures if the probe fails.
        coarsest: quantiser of moving pictures of few bits; beyond it, plain drawings lose more of
            their whole than of the probe's window.
        crf: x264's rate factor of still pictures.
        cq: NVENC's quality, 0 to 51.
    """

    vmaf: float
    bits: float
    quantiser: float
    coarsest: float
    crf: int
    cq: int


GOALS = {
    "small": Goal(vmaf=92.0, bits=8e6, quantiser=20, coarsest=30, crf=23, cq=26),
    "normal": Goal(vmaf=95.0, bits=18e6, quantiser=15, coarsest=24, crf=18, cq=21),
    "high": Goal(vmaf=96.5, bits=40e6, quantiser=11, coarsest=22, crf=15, cq=17),
}
# P-frames carry the picture, and the B-frames between them need hardly any bits.
KEY_RATIO = 1.5
_B_FRAMES = 7
_B_OFFSET = 6
# Where a frame lies between the pixels of one reference, it may lie on those of another.
_REFERENCES = 3
# Bits per second of video below which a picture is a plain drawing; text and line art have more.
_PLAIN = 2e6
# Beyond these, a smaller quantiser only encodes noise, and a larger one shows blocks.
LOWEST, HIGHEST = 8.0, 30.0
# By how much colours are quantised more coarsely than brightness; the eye sees less of them, and
# VMAF nothing. It is in the parameter sets.
_COLOURS = 4
# Trellis quantisation that rather keeps grain and foliage than nothing of them. Psychovisual
# optimisation of less than 0.25 makes x264 quantise colours one step finer.
_GRAIN = f"psy-rd=0,0.24:chroma-qp-offset={_COLOURS + 1}"
# docs/performance.md has the measurements. Uniform motion suits a fixed number of B-frames and a
# fixed quantiser: x264 then needs no lookahead.
_MOVING = (
    f"bframes={_B_FRAMES}:b-adapt=0:weightp=0:aq-mode=0:scenecut=0:me=hex:ref={_REFERENCES}"
    f":{_GRAIN}:stitchable=1"
)
_STILL = f"no-psy=1:chroma-qp-offset={_COLOURS}"
# Below this quantiser there are no block edges for the deblocking filter to hide.
_BLOCKS = 18
# Thorough takes half as long again for up to a fifth fewer bytes of line art and foliage.
_SEARCHES = {
    "quick": "subme=2:trellis=1",
    "thorough": "subme=6:trellis=2",
}
# Bits per second of video whose egress ($0.09/GB) costs what thorough's 0.43 CPU seconds more cost
# on the eight CPUs of a c5.2xlarge ($0.34/h).
_CPU_BITS = 0.46e6
# Thorough saves at most a quarter.
_MOST_SAVED = 0.25


def moving(quantiser: float, search: str = "quick", key_ratio: float = KEY_RATIO) -> list[str]:
    """Return x264's options for a moving picture.

    Args:
        quantiser: H.264's, in steps of a half: with a half, only that of the B-frames is larger.
        search: how thoroughly x264 looks for similar blocks: ``quick`` or ``thorough``.
        key_ratio: how much finer key frames are quantised than P-frames.
    """
    p_frames, b_frames = math.floor(quantiser), math.floor(quantiser + 0.5) + _B_OFFSET
    ratio = 2 ** ((b_frames - p_frames) / 6)  # six steps double the quantisation
    options = f"{_MOVING}:{_SEARCHES[search]}:no-deblock={int(quantiser < _BLOCKS)}"
    options += f":qp={p_frames}:ipratio={key_ratio}:pbratio={ratio:.4f}"
    return ["-preset", "superfast", "-g", "250", "-x264-params", options]


def still_picture(*rate: str) -> list[str]:
    """Return x264's options for a picture that is encoded once and repeated; see `still`.

    Args:
        rate: option and value, such as ``-crf 20``.
    """
    # Encoded only once, so a slower preset costs little.
    options = ["-preset", "medium", *rate, "-bf", "0", "-forced-idr", "1"]
    return [*options, "-x264-params", f"{still.X264}:{_STILL}:stitchable=1"]


def nvenc(goal: Goal) -> list[str]:
    """Return the options of NVENC, for any picture."""
    return ["-c:v", "h264_nvenc", "-preset", "p4", "-cq", str(goal.cq), "-profile:v", "high"]


# -- the probe ----------------------------------------------------------------------------------

# Two groups of a P-frame and its B-frames after a key frame; the second is measured.
_FRAMES = 2 * (_B_FRAMES + 1) + 1
# From the frame before the second group, the first of VMAF's motion, every third one: numbers 1 and
# 4 are B-frames of the group, the last is its P-frame.
_FIRST, _EVERY = _FRAMES - _B_FRAMES - 3, 3
_TRIED = (15, 21)
# The window is a quarter of the picture.
_PART = 4
# Pixels of the blocks whose contrasts are compared, and the quantiles of these.
_BLOCK = 40
_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
# Per step of the quantiser beyond this one, by how much the whole video's VMAF is above that of the
# samples; below it, the other way round. What remains is 0.1 to 1.2 at the goal of normal, over
# the pictures of docs/performance.md but retina, which is 0.7 too low, and what meets a limit.
_LOW, _EXACT = 0.04, 19.5
# How VMAF bends down, per square of the quantiser: 0.01 to 0.03 over the same pictures.
_BEND = 0.022


@dataclass(frozen=True, slots=True)
class Sample:
    """A trial encoding.

    Args:
        quantiser: as in `moving`.
        vmaf: weighted mean of its frames.
        bits: per second of video, of the whole picture.
    """

    quantiser: float
    vmaf: float
    bits: float


def choose(first: Sample, second: Sample, goal: Goal) -> float:
    """Return the largest quantiser, in steps of a half, that meets a goal."""
    span = second.quantiser - first.quantiser
    slope = (second.vmaf - first.vmaf) / span + _BEND * span

    def vmaf(quantiser: float) -> float:
        over = quantiser - first.quantiser
        return first.vmaf + slope * over - _BEND * over**2

    steps = [half / 2 for half in range(round(2 * LOWEST), round(2 * HIGHEST) + 1)]
    good = [
        step
        for step in steps
        if vmaf(step) + _low(step) >= goal.vmaf
        and (step <= goal.coarsest or bits(first, second, step) >= _PLAIN)
    ]
    affordable = [step for step in steps if bits(first, second, step) <= goal.bits]
    best = good[-1] if good else LOWEST
    return max(best, affordable[0] if affordable else HIGHEST)


def _low(quantiser: float) -> float:
    """Return how much lower the samples are than the whole video, on average."""
    return _LOW * (quantiser - _EXACT)


def bits(first: Sample, second: Sample, quantiser: float) -> float:
    """Return the bits per second with a quantiser: they fall by the same share with every step."""
    growth = math.log(second.bits / first.bits) / (second.quantiser - first.quantiser)
    return first.bits * math.exp(growth * (quantiser - first.quantiser))


def decide(
    measure: Callable[[str], tuple[Sample, Sample] | None], goal: Goal, effort: str
) -> tuple[float, str]:
    """Choose the quantiser and the search for a moving picture.

    Args:
        measure: takes the samples with a search, see `probe`.
        goal: to be met.
        effort: with ``high``, a thorough search is used where it saves more than it costs.
    """
    quick = measure("quick")
    if quick is None:
        return goal.quantiser, "quick"
    quantiser = choose(*quick, goal)
    needed = bits(*quick, quantiser)
    if effort == "high" and needed * _MOST_SAVED > _CPU_BITS:
        thorough = measure("thorough")
        if thorough is not None:
            other = choose(*thorough, goal)
            if needed - bits(*thorough, other) > _CPU_BITS:
                return other, "thorough"
    return quantiser, "quick"


def probe(
    planes: Sequence[Plane],
    moved: str,
    size: tuple[int, int],
    count: int,
    *,
    fps: int,
    search: str,
    folder: Path,
    deadline: Deadline,
    encoder: Sequence[str],
) -> tuple[Sample, Sample] | None:
    """Encode frames from the middle of a moving picture twice.

    Args:
        planes: Y, U and V; see `motion.source`.
        moved: one of `motion.MOTIONS`.
        size: width and height of the video, in pixels.
        count: number of frames of the video.
        fps: frames per second.
        search: as in `moving`.
        folder: for its files.
        deadline: time limit of the render.
        encoder: the options that name x264.

    Returns:
        A sample for each quantiser of `_TRIED`; None if the video is too short, or ffmpeg has no
        VMAF.

    Raises:
        RenderError: out of time, or the client disconnected.
    """
    if count < _FRAMES:
        return None
    frames = _windows(planes, moved, size, count)
    width, height = size[0] // 2, size[1] // 2
    arguments = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}"]
    arguments += ["-r", str(fps), "-i", "pipe:0"]
    for number, quantiser in enumerate(_TRIED):
        arguments += ["-map", "0:v", *encoder, *moving(quantiser, search, key_ratio=1.0)]
        arguments += ["-stats_enc_post", f"probe{number}.sizes", "-stats_enc_post_fmt", "{size}"]
        arguments += ["-f", "null", "-", "-dec", f"{number}:0"]
    arguments += ["-filter_complex", _comparison(len(_TRIED))]
    for number in range(len(_TRIED)):
        arguments += ["-map", f"[result{number}]", "-f", "null", "-"]
    try:
        ffmpeg.run(arguments, folder, deadline, frames)
        samples = [
            _sample(folder, number, quantiser, fps) for number, quantiser in enumerate(_TRIED)
        ]
    except (RenderError, OSError, ValueError, LookupError):
        deadline.check()
        return None
    return samples[0], samples[1]


def _comparison(count: int) -> str:
    """Return the filter graph that compares each decoded encoding with the frames."""
    copies = "".join(f"[original{i}]" for i in range(count))
    graph = f"[0:v]select=gte(n\\,{_FIRST}),setpts=N,split={count}{copies}"
    for i in range(count):
        graph += (
            f";[dec:{i}]select=gte(n\\,{_FIRST}),setpts=N[encoded{i}]"
            f";[encoded{i}][original{i}]libvmaf=n_subsample={_EVERY}:log_fmt=json"
            f":log_path=probe{i}.json[result{i}]"
        )
    return graph


def _sample(folder: Path, number: int, quantiser: float, fps: int) -> Sample:
    log = json.loads((folder / f"probe{number}.json").read_text())
    _, *b_frames, p_frame = (frame["metrics"]["vmaf"] for frame in log["frames"])
    vmaf = (_B_FRAMES * sum(b_frames) / len(b_frames) + p_frame) / (_B_FRAMES + 1)
    sizes = [int(size) for size in (folder / f"probe{number}.sizes").read_text().split()]
    group = sizes[-_B_FRAMES - 1 :]
    return Sample(quantiser, vmaf, sum(group) * _PART * 8 * fps / len(group))


def _windows(
    planes: Sequence[Plane], moved: str, size: tuple[int, int], count: int
) -> Iterator[bytes]:
    """Yield frames from the middle of the video, cut to a window that is like the whole."""
    start = (count - _FRAMES) // 2
    window: tuple[int, int] | None = None
    for frame in motion.frames(planes, moved, size, count, 1, range(start, start + _FRAMES)):
        parts, offset = [], 0
        for width, height in (size, *[(size[0] // 2, size[1] // 2)] * 2):
            plane = np.frombuffer(frame, np.uint8, width * height, offset).reshape(height, width)
            offset += width * height
            window = window or typical(plane)
            x, y = window[0] * width // size[0], window[1] * width // size[0]
            parts.append(plane[y : y + height // 2, x : x + width // 2].tobytes())
        yield b"".join(parts)


def typical(luma: Plane) -> tuple[int, int]:
    """Return where a window of half the width and height has about the contrasts of the whole.

    A picture's centre may be a face before a blurred wall. Tiles from all over it are no way out:
    VMAF rewards the hard edges between them.

    Args:
        luma: a frame.

    Returns:
        The left and top edge of the window, in pixels, both even.
    """
    rows, columns = luma.shape[0] // _BLOCK, luma.shape[1] // _BLOCK
    blocks = luma[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    contrast = np.log1p(blocks[:, ::2, :, ::2].std(axis=(1, 3)))
    wanted = np.quantile(contrast, _QUANTILES)
    places = [
        (row, column)
        for row in range(0, rows // 2 + 1, 3)
        for column in range(0, columns // 2 + 1, 3)
    ]

    def unlike(place: tuple[int, int]) -> float:
        row, column = place
        part = contrast[row : row + rows // 2, column : column + columns // 2]
        return float(np.abs(np.quantile(part, _QUANTILES) - wanted).sum())

    row, column = min(places, key=unlike)
    return column * _BLOCK, row * _BLOCK
