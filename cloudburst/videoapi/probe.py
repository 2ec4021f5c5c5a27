"""Encode a few frames of a moving picture, to find how finely it has to be encoded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudburst.videoapi import ffmpeg, h264, ivf, motion, quality
from cloudburst.videoapi.between import KEY_EVERY, Anchor
from cloudburst.videoapi.ffmpeg import RenderError
from cloudburst.videoapi.quality import Sample

if TYPE_CHECKING:
    from collections.abc import Buffer, Sequence  # type: ignore[attr-defined]
    from pathlib import Path

    from cloudburst.videoapi.between import Tweens
    from cloudburst.videoapi.ffmpeg import Deadline
    from cloudburst.videoapi.motion import Plane
    from cloudburst.videoapi.quality import Samples

# Frames of a group, if every frame is encoded: those with B-frames up to the next P-frame.
_EVERY = 8
# Of a group's frames, where two lie with one between them that are together about as good as all
# frames of a video on average. In a zoom they are still worse in the second group than later; in a
# pan they get worse. With a thorough search and every frame encoded, these are better than most.
_TYPICAL = 11 / 16
_LATER_ZOOM, _LATER_PAN, _THOROUGH = 0.2, -0.4, -0.3


@dataclass(frozen=True, slots=True)
class Probe:
    """Takes samples of a moving picture: a key frame and two groups from its middle.

    The second group is measured. The first has only one reference, and up to 0.7 less VMAF.

    Args:
        planes: Y, U and V; see `motion.source`.
        moved: one of `motion.MOTIONS`.
        drawn: whether it is a drawing that zooms, see `motion.is_drawing`.
        size: width and height of the video, in pixels.
        count: number of frames of the video.
        fps: frames per second.
        encoder: the options that name x264.
        tweens: of this size.
        folder: for its files.
        deadline: time limit of the render.
    """

    planes: Sequence[Plane]
    moved: str
    drawn: bool
    size: tuple[int, int]
    count: int
    fps: int
    encoder: Sequence[str]
    tweens: Tweens
    folder: Path
    deadline: Deadline

    def samples(self, search: str, spacing: int) -> Samples | None:
        """Encode finely and coarsely.

        Args:
            search: as in `quality.moving`.
            spacing: frames from one anchor to the next; 1 encodes every frame.

        Returns:
            A sample for each quantiser of `quality.tried`; None if the video is too short, or
            ffmpeg has no VMAF.

        Raises:
            RenderError: out of time, or the client disconnected.
        """
        group = _EVERY if spacing == 1 else spacing
        if self.count <= 2 * group:
            return None
        start = (self.count - 2 * group - 1) // 2
        encoded = list(range(0, 2 * group + 1, spacing))
        compared = [group + place for place in _compared(group, spacing)]
        drawn = sorted({*encoded, *compared})
        frames = self._frames(start, drawn)
        try:
            streams = self._encode([frames[place] for place in encoded], search, spacing)
            shown = encoded if spacing == 1 else drawn
            if spacing > 1:
                self._add(streams, encoded, {*drawn})
            places = [shown.index(place) for place in compared]
            values = self._compare([frames[place] for place in compared], places, spacing)
            more = self._more(search, spacing)
            fine, coarse = (
                Sample(quantiser, value + more, self._bits(stream, group))
                for value, (quantiser, stream) in zip(values, streams.items(), strict=True)
            )
        except (RenderError, OSError, ValueError, LookupError):
            self.deadline.check()
            return None
        return fine, coarse

    def _frames(self, start: int, numbers: Sequence[int]) -> dict[int, Buffer]:
        places = [start + number for number in numbers]
        # Each in a buffer of its own.
        buffers = len(numbers)
        drawn = motion.frames(self.planes, self.moved, self.size, self.count, buffers, places)
        return dict(zip(numbers, drawn, strict=True))

    def _encode(self, frames: Sequence[Buffer], search: str, spacing: int) -> dict[int, bytes]:
        """Return a stream for each quantiser."""
        tried = quality.tried(spacing, drawn=self.drawn)
        arguments = ffmpeg.raw(self.size, self.fps)
        for number, quantiser in enumerate(tried):
            options = quality.moving(quantiser, spacing, search)
            arguments += [
                "-map",
                "0:v",
                *self.encoder,
                *options,
                "-f",
                "h264",
                _name(number, "h264"),
            ]
        ffmpeg.run(arguments, self.folder, self.deadline, frames)
        return {
            quantiser: (self.folder / _name(number, "h264")).read_bytes()
            for number, quantiser in enumerate(tried)
        }

    def _add(self, streams: dict[int, bytes], encoded: Sequence[int], needed: set[int]) -> None:
        """Write videos of the anchors, and of the frames between them that are needed."""
        parts = [Anchor(place, key=not place) for place in encoded]
        pan = motion.pan(self.moved, self.size, self.count)
        for number, stream in enumerate(streams.values()):
            made = self.tweens.assemble(stream, parts, pan)
            kept = ((place, unit) for place, unit in made if place in needed)
            video = b"".join(ivf.written(self.size, self.fps, kept))
            (self.folder / _name(number, "ivf")).write_bytes(video)

    def _compare(
        self, frames: Sequence[Buffer], places: Sequence[int], spacing: int
    ) -> tuple[float, float]:
        """Return the mean VMAF of the decoded frames, in each video.

        Both videos are measured as one: what VMAF needs before it begins takes as long as a frame.

        Args:
            frames: as they were drawn, see `_compared`.
            places: their numbers among those of a video.
            spacing: of the videos.
        """
        graph = f"[0:v]{ffmpeg.BT709},settb=1,setpts=N[originals]"
        for number, needed in enumerate((places, places[1:])):
            chosen = "+".join(f"eq(n\\,{place})" for place in needed)
            graph += f";[{number + 1}:v]select={chosen},{ffmpeg.BT709}[encoded{number}]"
        graph += ";[encoded0][encoded1]concat,settb=1,setpts=N[encoded]"
        graph += ";[encoded][originals]libvmaf=n_subsample=2:n_threads=2"
        graph += ":log_fmt=json:log_path=probe.json"
        arguments = ffmpeg.raw(self.size, self.fps)
        kind = "h264" if spacing == 1 else "ivf"
        arguments += ["-i", _name(0, kind), "-i", _name(1, kind)]
        arguments += ["-filter_complex", graph, "-f", "null", "-"]
        ffmpeg.run(arguments, self.folder, self.deadline, [*frames, *frames[1:]])
        log = json.loads((self.folder / "probe.json").read_text())
        _, *values = (float(frame["metrics"]["vmaf"]) for frame in log["frames"])
        half = len(values) // 2
        return sum(values[:half]) / half, sum(values[half:]) / half

    def _more(self, search: str, spacing: int) -> float:
        """Return how much more VMAF a whole video has."""
        if spacing == 1:
            return _THOROUGH if search == "thorough" else 0.0
        return _LATER_PAN if motion.is_pan(self.moved) else _LATER_ZOOM

    def _bits(self, stream: bytes, group: int) -> float:
        """Return the bits per second, of a whole video with the same settings."""
        key, *others = (len(unit) for unit in h264.units(stream))
        second = sum(others[len(others) // 2 :])
        return 8 * self.fps * (key / min(self.count, KEY_EVERY) + second / group)


def _compared(group: int, spacing: int) -> list[int]:
    """Return which frames of a group are compared: every second of these, from the third one on.

    VMAF needs the frame before each as well, to see how much moves; the first one of all has none.
    """
    first = group // 2 if spacing == 1 else min(int(group * _TYPICAL), group - 3)
    return list(range(first - 2, first + 3))


def _name(number: int, kind: str) -> str:
    """Return the name of a trial's file: a raw stream, or with frames that are not encoded."""
    return f"probe{number}.{kind}"
