"""How far apart the same sound and two different ones are: `python -m tests.support.likeness`.

The figures are in docs/reliability.md and decide `media.LEAST_LIKENESS`.
"""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import tempfile
import wave
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

from cloudburst import media
from cloudburst.media import likeness
from cloudburst.media.sound import samples
from tests.support.inputs import EXAMPLE

RATE = 48_000
LENGTHS = (0.1, 0.3, 1.0, 2.0, 4.5)
# A major scale, in semitones.
SCALE = (0, 2, 4, 5, 7, 9, 11, 12)
# What a server may make of a narration: as ours and the public image do, and far worse.
ENCODINGS: dict[str, list[str]] = {
    "128 kbit/s": ["-ar", "48000", "-ac", "2", "-b:a", "128k"],
    "64 kbit/s at 44.1 kHz": ["-ar", "44100", "-ac", "2", "-b:a", "64k"],
    "32 kbit/s, mono, at 22 kHz": ["-ar", "22050", "-ac", "1", "-b:a", "32k"],
}


def ffmpeg(*arguments: object) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True)


def write(path: Path, sound: Any) -> Path:
    """Write a sound of one or two channels, -1 to 1, at `RATE`."""
    channels = np.atleast_2d(sound)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((channels.T * 32767).round().astype("<i2").tobytes())
    return path


def encoded(path: Path, name: str) -> Path:
    """Encode a sound as a server does; `name` is one of `ENCODINGS`."""
    video = path.with_name(f"{path.stem}, {name.replace('/', ' per ')}.mp4")
    ffmpeg("-i", path, "-c:a", "aac", *ENCODINGS[name], video)
    return video


def tone(hertz: float, seconds: float) -> Any:
    return 0.3 * np.sin(np.arange(round(seconds * RATE)) * hertz * math.tau / RATE)


def noise(seed: int, seconds: float) -> Any:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def music(seed: int, seconds: float) -> Any:
    """Return a tune, four notes a second: tunes are in step, and begin with different notes."""
    random, beat = np.random.default_rng(seed), RATE // 4
    sound = np.zeros(round(seconds * RATE) + 2 * beat)
    time = np.arange(2 * beat) / RATE
    for start in range(0, len(sound) - 2 * beat, beat):
        degree = random.integers(len(SCALE)) if start else 2 * seed
        hertz = 220 * 2 ** (SCALE[degree] / 12)
        note = sum(np.sin(math.tau * hertz * h * time) / h for h in range(1, 6))
        sound[start : start + 2 * beat] += 0.1 * note * np.exp(-4 * time)
    return sound[: round(seconds * RATE)]


def speech(seconds: float) -> dict[str, Any]:
    """Cut every narration of the example into sounds of one length."""
    found = {}
    for path in sorted((EXAMPLE.parent / "narration").iterdir()):
        whole = np.concatenate(list(samples(path, RATE)), axis=1)
        size = round(seconds * RATE)
        for number in range(min(4, whole.shape[1] // size)):
            part = whole[:, number * size : (number + 1) * size]
            if np.sqrt(np.mean(part**2)) > 10 ** (-40 / 20):
                found[f"{path.stem} {number}"] = part
    return found


def corpus(seconds: float) -> dict[str, Any]:
    """Return sounds of one length by name."""
    tones = {f"{hertz} Hz": tone(hertz, seconds) for hertz in (200, 400, 440, 800, 1600, 3200)}
    noises = {f"noise {seed}": noise(seed, seconds) for seed in range(2)}
    tunes = {f"music {seed}": music(seed, seconds) for seed in range(3)}
    return speech(seconds) | tones | noises | tunes


def lowest(expected: Path, found: Path) -> float:
    """Return the likeness of the least alike stretch."""
    return min(one.likeness for one in media.compare(expected, found))


def measure(seconds: float, folder: Path) -> tuple[dict[str, float], float, str]:
    """Return the lowest likeness of equal sounds by encoding, the highest of others, and whose."""
    files = {name: write(folder / f"{name}.wav", x) for name, x in corpus(seconds).items()}
    videos = {
        name: {kind: encoded(path, kind) for kind in ENCODINGS} for name, path in files.items()
    }
    same = {
        kind: min(lowest(files[name], videos[name][kind]) for name in files) for kind in ENCODINGS
    }
    decoded = {
        name: [_decoded(path), _decoded(videos[name]["128 kbit/s"])] for name, path in files.items()
    }
    others = []
    for one, other in itertools.permutations(files, 2):
        expected, found = decoded[one][0], decoded[other][1]
        length = min(expected.shape[1], found.shape[1])
        value = likeness.likeness(expected[:, :length], found[:, :length])
        others.append((value, f"{one} / {other}"))
    worst = max(others)
    return same, worst[0], f"{worst[1]}, of {len(others)} pairs"


def paused(decibels: float, kind: str, folder: Path) -> dict[str, float]:
    """Return the lowest likeness of a pause and its own encoding, after a loud intro.

    Args:
        decibels: of what is in the pause.
        kind: what that is: ``noise``, ``room`` (noise with a falling spectrum) or ``speech``.
        folder: for the files.
    """
    seconds = 8.0
    white = noise(1, seconds)
    kinds = {
        "noise": lambda: white,
        "room": lambda: np.convolve(white, np.exp(-np.arange(400) / 60), "same"),
        "speech": lambda: np.tile(next(iter(speech(4.5).values())).mean(axis=0), 2),
    }
    rest = kinds[kind]()
    rest *= 10 ** (decibels / 20) / np.sqrt(np.mean(rest**2))
    loud = music(1, 4.0)
    loud *= 10 ** (-10 / 20) / np.sqrt(np.mean(loud**2))
    path = write(folder / f"{kind} {decibels}.wav", np.concatenate([loud, rest]))
    return {name: lowest(path, encoded(path, name)) for name in ENCODINGS}


def _decoded(path: Path) -> Any:
    return np.concatenate(list(samples(path, likeness.RATE)), axis=1)


def main() -> None:
    """Print a line of the table for each length."""
    for seconds in LENGTHS:
        with tempfile.TemporaryDirectory() as folder:
            same, other, whose = measure(seconds, Path(folder))
        cells = " | ".join(f"{value:.2f}" for value in same.values())
        sys.stdout.write(f"| {seconds} s | {cells} | {other:.2f} | {whose}\n")
        sys.stdout.flush()
    for kind in ("noise", "room", "speech"):
        for decibels in (-40, -44, -48, -50):
            with tempfile.TemporaryDirectory() as folder:
                likenesses = paused(decibels, kind, Path(folder)).values()
            cells = " | ".join(f"{value:.2f}" for value in likenesses)
            sys.stdout.write(f"| {kind} at {decibels} dB in a pause | {cells} |\n")


if __name__ == "__main__":
    main()
