"""Whether two files have the same sound. What decides is pure: `first_difference`.

Sounds are compared in stretches of a few seconds, by the highest correlation of their samples
within a small shift. The samples are differenced first: hum and a constant offset, which two
recordings of one microphone share, then hardly count, and what remains is spread over the
spectrum. A spectrogram would take two tones, or two noises, for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudburst.media.sound import samples

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    _Samples = NDArray[np.float32]

# All that tells voices apart is below 4 kHz, where an encoder keeps the wave itself.
RATE = 8000
# The last stretch is up to twice as long, so that no short rest has to be judged.
STRETCH_SECONDS = 4.0
# The delay of an AAC encoder that a file does not mention: at most 2112 samples, at 44.1 kHz 48 ms.
_SHIFT_SECONDS = 0.06
# Measured by tests/support/likeness.py, see docs/reliability.md: the same sound has 0.99 when it is
# encoded at 128 kbit/s, 0.86 and more at 32 kbit/s; two others have at most 0.53.
# Of two sounds of one loudness that are heard at once, each has 0.71.
LEAST_LIKENESS = 0.75
# Amplitudes, root mean square. Below the first no narration can be understood, and encoders leave
# parts of it out; what is added to that silence is heard from the second on.
_SILENT, _HEARD = 10 ** (-60 / 20), 10 ** (-50 / 20)
# Pauses, where only noise is left: so far below the loudest stretch, and too soft to be heard by
# themselves, they are not compared, but the video's must be pauses, too. After a loud intro, speech
# may be as far below it: what can be heard is compared. That refuses no pause of the right sound:
# noise of -48 dB and more after an intro at -10 dB has a likeness to its own encoding of 0.96 at
# 128 kbit/s, as both servers encode, 0.83 at 64 and 32; speech 0.95 (tests/support/likeness.py).
_PAUSE, _LOUDEST_PAUSE = 10 ** (-30 / 20), 10 ** (-20 / 20)
_SINC_SAMPLES = 16


@dataclass(frozen=True, slots=True)
class Stretch:
    """A few seconds of two sounds.

    Args:
        start: seconds from the beginning.
        likeness: 0 to 1, of the second sound to the first.
        expected: loudness of the first sound, root mean square; full scale is 1.
        found: loudness of the second.
    """

    start: float
    likeness: float
    expected: float
    found: float


def compare(expected: Path, found: Path) -> Iterator[Stretch]:
    """Compare the sounds of two files, stretch by stretch.

    Memory does not grow with their length. Where one is shorter, the rest of the other is left
    out: lengths are for others to compare.

    Raises:
        MediaError: a file has no usable sound.
        OSError: a file cannot be read.
    """
    start = 0.0
    for one, other in _stretches(samples(expected, RATE), samples(found, RATE)):
        yield Stretch(start, likeness(one, other), _loudness(one), _loudness(other))
        start += one.shape[1] / RATE


def first_difference(stretches: Iterable[Stretch]) -> Stretch | None:
    """Return the first stretch in which the second sound is not the first; None if it always is."""
    every = list(stretches)
    expected = max((one.expected for one in every), default=0.0)
    found = max((one.found for one in every), default=0.0)
    if expected < _SILENT:
        return next((one for one in every if one.found > _HEARD), None)
    for one in every:
        is_pause = one.expected < max(_SILENT, min(_HEARD, expected * _PAUSE))
        still = one.found <= max(_HEARD, found * _LOUDEST_PAUSE)
        if one.likeness < LEAST_LIKENESS and not (is_pause and still):
            return one
    return None


def likeness(one: _Samples, other: _Samples) -> float:
    """Return how much two sounds are alike, 0 to 1.

    Args:
        one: two channels, at `RATE`.
        other: as many samples.
    """
    one, other = np.diff(one, prepend=one[:, :1]), np.diff(other, prepend=other[:, :1])
    # By channels, as opposite ones cancel each other out; and mixed, as a server may mix them.
    mixed = one.sum(axis=0, keepdims=True), other.sum(axis=0, keepdims=True)
    return max(_correlation(one, other), _correlation(*mixed))


def _correlation(one: _Samples, other: _Samples) -> float:
    """Return the highest normalised correlation of all channels within the permitted shift."""
    energy = float(np.sqrt((one * one).sum(dtype=float) * (other * other).sum(dtype=float)))
    if energy == 0:
        return 0.0
    most = min(round(_SHIFT_SECONDS * RATE), one.shape[1] - 1)
    size = 1 << (one.shape[1] + most).bit_length()
    spectrum = np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size))
    by_shift = np.fft.irfft(spectrum.sum(axis=0), size)
    near = np.concatenate([by_shift[-most - _SINC_SAMPLES :], by_shift[: most + _SINC_SAMPLES + 1]])
    return min(1.0, _peak(near) / energy)


def _peak(values: NDArray[np.float64]) -> float:
    """Return the highest magnitude, also between samples: a delay is no whole number of them."""
    inner = np.abs(values[_SINC_SAMPLES:-_SINC_SAMPLES])
    at = int(inner.argmax()) + _SINC_SAMPLES
    around = np.arange(at - _SINC_SAMPLES, at + _SINC_SAMPLES + 1)
    shifts = at + np.linspace(-0.5, 0.5, 9)
    between = np.sinc(shifts[:, None] - around) @ values[around]
    return float(np.abs(between).max(initial=inner.max()))


def _loudness(sound: _Samples) -> float:
    return float(np.sqrt(np.mean(np.square(sound - sound.mean(axis=1, keepdims=True)))))


def _stretches(
    one: Iterator[_Samples], other: Iterator[_Samples]
) -> Iterator[tuple[_Samples, _Samples]]:
    """Yield both sounds in stretches of equal length."""
    size = round(STRETCH_SECONDS * RATE)
    first, second = _Reader(one), _Reader(other)
    while True:
        length = min(first.fill(2 * size), second.fill(2 * size))
        if not length:
            return
        take = size if length == 2 * size else length
        yield first.take(take), second.take(take)


class _Reader:
    """Reads a sound in portions of any size.

    Args:
        source: yields it in portions of its own.
    """

    def __init__(self, source: Iterator[_Samples]) -> None:
        self._source = source
        self._held = np.zeros((2, 0), np.float32)

    def fill(self, count: int) -> int:
        """Read ahead so many samples; return how many of them there are."""
        portions, length = [self._held], self._held.shape[1]
        while length < count and (portion := next(self._source, None)) is not None:
            portions.append(portion)
            length += portion.shape[1]
        self._held = np.concatenate(portions, axis=1)
        return min(length, count)

    def take(self, count: int) -> _Samples:
        """Return the next samples."""
        taken, self._held = self._held[:, :count], self._held[:, count:]
        return taken
