"""Choose how a video is encoded: by its picture, what was asked for, and what bytes cost.

The same quantiser gives a photograph of foliage six times the bytes of a drawing, and neither the
quality that was asked for. So `probe` encodes a few frames of the actual motion with two quantisers
and measures both with VMAF; `decide` then finds the quantiser that meets the `Goal`.

Clips of one run must fit together whatever was chosen for each: nothing here may change what x264
writes into the parameter sets. ``stitchable`` keeps the quantiser out of them, and `between` gives
all videos those of one encoding of black.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cloudburst.videoapi import between, still

if TYPE_CHECKING:
    from collections.abc import Callable

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
    quantiser: int
    coarsest: int
    crf: int
    cq: int


GOALS = {
    "small": Goal(vmaf=92.0, bits=8e6, quantiser=20, coarsest=30, crf=23, cq=26),
    "normal": Goal(vmaf=95.0, bits=18e6, quantiser=15, coarsest=24, crf=18, cq=21),
    "high": Goal(vmaf=96.5, bits=40e6, quantiser=11, coarsest=22, crf=15, cq=17),
}
# How much finer key frames are quantised than other anchors, or than other frames that are not B-.
_ANCHOR_RATIO, _FRAME_RATIO = 1.26, 1.5
# By how much coarser B-frames are quantised: they need hardly any bits.
_B_RATIO = 2.0
# Bits per second of video below which a picture is a plain drawing; text and line art have more.
_PLAIN = 2e6
# Beyond these, a smaller quantiser only encodes noise, and a larger one shows blocks.
LOWEST, HIGHEST = 8, 30
# By how much colours are quantised more coarsely than brightness; the eye sees less of them, and
# VMAF nothing. It is in the parameter sets.
_COLOURS = 4
# Trellis quantisation that rather keeps grain and foliage than nothing of them. Psychovisual
# optimisation of less than 0.25 makes x264 quantise colours one step finer.
_GRAIN = f"psy-rd=0,0.24:chroma-qp-offset={_COLOURS + 1}"
# docs/performance.md has the measurements. Uniform motion suits a fixed quantiser: x264 then needs
# no lookahead.
_MOVING = f"aq-mode=0:{_GRAIN}:stitchable=1"
_STILL = f"no-psy=1:chroma-qp-offset={_COLOURS}"
# Below this quantiser there are no block edges for the deblocking filter to hide.
_BLOCKS = 18
# Thorough takes twice as long for up to an eighth fewer bytes of foliage and line art.
_SEARCHES = {
    "quick": "subme=2:trellis=1",
    "thorough": "subme=6:trellis=2",
}


def tried(spacing: int, *, drawn: bool) -> tuple[int, int]:
    """Return the quantisers of the trials, for frames from one anchor to the next.

    Args:
        spacing: 1 encodes every frame.
        drawn: whether it is a drawing that zooms, see `motion.is_drawing`.
    """
    if drawn:
        return _TRIED_OF_DRAWINGS
    return _TRIED_OF_EVERY if spacing == 1 else _TRIED


def moving(quantiser: int, spacing: int, search: str = "quick") -> list[str]:
    """Return x264's options for a moving picture.

    Args:
        quantiser: H.264's.
        spacing: frames from one anchor to the next, see `between`; 1 encodes every frame.
        search: how thoroughly x264 looks for similar blocks: ``quick`` or ``thorough``.
    """
    options = f"{_MOVING}:{_SEARCHES[search]}:no-deblock={int(quantiser < _BLOCKS)}:qp={quantiser}"
    if spacing == 1:
        options += f":me=hex:{between.EVERY}:keyint={between.KEY_EVERY}"
        options += f":ipratio={_FRAME_RATIO}:pbratio={_B_RATIO}"
    else:
        # Anchors may be many pixels apart; motion that is not found is missing between them, too.
        options += f":me=umh:{between.ANCHORS}:ipratio={_ANCHOR_RATIO}"
    return ["-preset", "superfast", "-forced-idr", "1", "-x264-params", options]


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


# -- choosing ----------------------------------------------------------------------------------

# Quantisers of the trials: of anchors, where every frame is encoded, and of drawings.
_TRIED, _TRIED_OF_EVERY, _TRIED_OF_DRAWINGS = (13, 20), (17, 25), (21, 28)
# By how much the loss of VMAF grows with a step of the quantiser: with anchors, by two to three
# times for four steps.
_GROWTH, _GROWTH_OF_EVERY = 1.28, 1.1
# For every step beyond the coarser trial, how much less may be left.
_BEYOND = 0.12
# Where VMAF falls by less per step of the quantiser, the frames between anchors limit it. If
# anchors are closer to each other by this share, it is so much higher, and the bits grow so much.
_LIMITED = 0.25
_CLOSER, _HIGHER, _MORE = 3 / 4, 0.12, 1.22
# Which share of the bits an encoding of every frame saves at most, and a thorough search.
_SAVED_BY_EVERY, _SAVED_BY_SEARCH = 0.5, 0.13
# A goal that is missed by no more than this is met. By how much one has to come closer to a goal
# that is not met, so that it is worth anything.
_TOLERANCE, _WORTHWHILE = 0.1, 0.5
# How much more than the goal is asked for: the whole of a video may have less than a part.
_SURPLUS = 0.15


@dataclass(frozen=True, slots=True)
class Sample:
    """A trial encoding.

    Args:
        quantiser: H.264's, of the anchors, or of all frames but B-frames.
        vmaf: mean of a whole video's frames, as far as a part tells.
        bits: per second of video.
    """

    quantiser: int
    vmaf: float
    bits: float


# CPU seconds of a probe, of an anchor, of a frame if all are encoded, and of a thorough search for
# one of either in addition.
_PROBE, _ANCHOR, _FRAME, _THOROUGH, _THOROUGH_FRAME = 0.5, 0.02, 0.011, 0.02, 0.006
# CPU seconds that a bit is worth. With high effort, what its egress ($0.09/GB) costs, on the eight
# CPUs of a c5.2xlarge ($0.34/h): 7.6 for a megabyte. On this machine encoding a megabyte takes
# 0.25, and it is not worth much more.
_WORTH = {"low": 0.4 / 8e6, "high": 7.6 / 8e6}


# With each quantiser of `tried`.
Samples = tuple[Sample, Sample]


@dataclass(frozen=True, slots=True)
class Choice:
    """How a moving picture is encoded, and what is expected of it.

    Args:
        quantiser: H.264's, of the anchors.
        spacing: frames from one anchor to the next.
        search: as in `moving`.
        vmaf: mean of its frames.
        bits: per second of video.
        is_limited: whether the frames between anchors limit the VMAF: with anchors closer to each
            other a coarser quantiser may do.
    """

    quantiser: int
    spacing: int
    search: str = "quick"
    vmaf: float = math.nan
    bits: float = math.nan
    is_limited: bool = False


def choose(samples: Samples, goal: Goal, spacing: int, search: str = "quick") -> Choice:
    """Return the largest quantiser that meets a goal, or the one that comes closest to it.

    Args:
        samples: see `probe`.
        goal: to be met.
        spacing: that of the samples.
        search: that of the samples.
    """
    steps = range(LOWEST, HIGHEST + 1)
    good = [
        step
        for step in steps
        if vmaf(samples, step, spacing) >= goal.vmaf + _SURPLUS
        and (step <= goal.coarsest or bits(samples, step) >= _PLAIN)
    ]
    affordable = [step for step in steps if bits(samples, step) <= goal.bits]
    chosen = max(good[-1] if good else LOWEST, affordable[0] if affordable else HIGHEST)
    expected = vmaf(samples, chosen, spacing)
    is_limited = spacing > 1 and expected - vmaf(samples, chosen + 1, spacing) < _LIMITED
    return Choice(chosen, spacing, search, expected, bits(samples, chosen), is_limited)


def vmaf(samples: Samples, quantiser: int, spacing: int) -> float:
    """Return the VMAF with a quantiser and a spacing: it falls by more with every step."""
    fine, coarse = samples
    growth = _GROWTH_OF_EVERY if spacing == 1 else _GROWTH
    lost = (fine.vmaf - coarse.vmaf) / (growth**coarse.quantiser - growth**fine.quantiser)
    beyond = max(0, quantiser - coarse.quantiser)
    return fine.vmaf - lost * (growth**quantiser - growth**fine.quantiser) - _BEYOND * beyond


def bits(samples: Samples, quantiser: int) -> float:
    """Return the bits per second with a quantiser: they fall by the same share with every step."""
    fine, coarse = samples
    growth = math.log(coarse.bits / fine.bits) / (coarse.quantiser - fine.quantiser)
    return fine.bits * math.exp(growth * (quantiser - fine.quantiser))


def decide(
    measure: Callable[[str, int], Samples | None],
    goal: Goal,
    effort: str,
    widest: int,
    seconds: float,
    fps: int,
) -> Choice:
    """Choose how to encode a moving picture.

    Args:
        measure: takes the samples with a search and a spacing, see `probe`.
        goal: to be met.
        effort: one of `EFFORTS`.
        widest: frames from one anchor to the next, at most; 1 if there can be none.
        seconds: length of the video.
        fps: frames per second.
    """

    def cost(option: Choice, *probes: str) -> float:
        return _cost(option, effort, fps) + len(probes) * _PROBE / seconds

    samples = measure("quick", widest)
    if samples is None:
        return Choice(goal.quantiser, widest)
    best = choose(samples, goal, widest)
    if _is_hopeless(samples, best, goal):
        return best
    if best.is_limited:
        best = _better(best, choose(_closer(samples), goal, round(widest * _CLOSER)), goal, cost)
    if widest > 1:
        every = replace(best, spacing=1, bits=best.bits * (1 - _SAVED_BY_EVERY))
        pays = best.is_limited and cost(every, "probe") < cost(best)
        if not _is_met(best, goal) or pays:
            best = _measured(best, measure, goal, cost, 1, "quick")
    thorough = replace(best, search="thorough", bits=best.bits * (1 - _SAVED_BY_SEARCH))
    if cost(thorough, "probe") < cost(best):
        best = _measured(best, measure, goal, cost, best.spacing, "thorough")
    return best


def _is_hopeless(samples: Samples, best: Choice, goal: Goal) -> bool:
    """Whether a picture, such as noise, would not meet the goal with twice the bits it may have."""
    finer = [step for step in range(1, HIGHEST + 1) if bits(samples, step) <= 2 * goal.bits]
    is_dear = bits(samples, best.quantiser - 1) > goal.bits
    return is_dear and vmaf(samples, finer[0] if finer else HIGHEST, best.spacing) < goal.vmaf


def _closer(samples: Samples) -> Samples:
    """Return the samples that anchors closer to each other would give."""
    fine, coarse = (
        Sample(sample.quantiser, sample.vmaf + _HIGHER, sample.bits * _MORE) for sample in samples
    )
    return fine, coarse


def _measured(
    best: Choice,
    measure: Callable[[str, int], Samples | None],
    goal: Goal,
    cost: Callable[[Choice], float],
    spacing: int,
    search: str,
) -> Choice:
    """Return the better one of a choice and of what another trial finds."""
    samples = measure(search, spacing)
    if samples is None:
        return best
    return _better(best, choose(samples, goal, spacing, search), goal, cost)


def _cost(option: Choice, effort: str, fps: int) -> float:
    """Return what a second of video costs, in CPU seconds."""
    frame, thorough = (_FRAME, _THOROUGH_FRAME) if option.spacing == 1 else (_ANCHOR, _THOROUGH)
    each = frame + (thorough if option.search == "thorough" else 0)
    return fps / option.spacing * each + option.bits * _WORTH[effort]


def _better(best: Choice, other: Choice, goal: Goal, cost: Callable[[Choice], float]) -> Choice:
    """Return which of two meets a goal at less cost, or comes closer to it."""
    if _is_met(best, goal):
        is_better = _is_met(other, goal) and cost(other) < cost(best)
    else:
        is_better = other.vmaf > best.vmaf + _WORTHWHILE
    return other if is_better else best


def _is_met(option: Choice, goal: Goal) -> bool:
    return option.vmaf >= goal.vmaf - _TOLERANCE
