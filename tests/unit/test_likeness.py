"""Whether a video has its narration: the right one is never refused, another never accepted."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cloudburst import media
from cloudburst.media import likeness
from cloudburst.media.likeness import RATE, Stretch, _stretches, first_difference
from tests.support import likeness as sounds
from tests.support.marks import but_the_first_slow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORST = "32 kbit/s, mono, at 22 kHz"


def differs(expected: Path, found: Path) -> Stretch | None:
    return first_difference(media.compare(expected, found))


@pytest.mark.video
@pytest.mark.parametrize(
    "seconds",
    [4.5, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.1, 0.3, 1.0))],
)
def test_every_narration_is_itself_and_no_other(tmp_path: Path, seconds: float) -> None:
    corpus = sounds.corpus(seconds)
    some = corpus if seconds < 4 else dict(itertools.islice(corpus.items(), 0, None, 2))
    files = {name: sounds.write(tmp_path / f"{name}.wav", each) for name, each in some.items()}
    good = {name: sounds.encoded(path, "128 kbit/s") for name, path in files.items()}
    bad = {name: sounds.encoded(path, WORST) for name, path in files.items()}
    assert len(files) >= 8
    refused = [name for name in files if differs(files[name], good[name])]
    # An encoder is not asked to keep a tenth of a second at 32 kbit/s.
    refused += [name for name in files if seconds >= 0.3 and differs(files[name], bad[name])]
    assert refused == []
    pairs = itertools.permutations(files, 2)
    assert [pair for pair in pairs if not differs(files[pair[0]], good[pair[1]])] == []


@pytest.mark.video
def test_the_channels_of_a_narration_may_be_anything(tmp_path: Path) -> None:
    one = sounds.music(1, 2.0)
    for name, channels in {
        "left alone": [one, 0 * one],
        "opposite": [one, -one],
        "two voices": [one, sounds.music(2, 2.0)],
    }.items():
        path = sounds.write(tmp_path / f"{name}.wav", channels)
        assert differs(path, sounds.encoded(path, "128 kbit/s")) is None, name
        other = sounds.write(tmp_path / "other.wav", [sounds.music(3, 2.0)] * 2)
        assert differs(path, other) is not None, name
    mixed = sounds.encoded(tmp_path / "left alone.wav", WORST)
    assert differs(tmp_path / "left alone.wav", mixed) is None, "a server may mix channels"


@pytest.mark.video
@pytest.mark.parametrize("decibels", [-20, -40, -50, -58, -70, -90])
def test_a_quiet_narration_is_its_own(tmp_path: Path, decibels: int) -> None:
    (spoken,) = list(sounds.speech(4.5).values())[:1]
    quiet = spoken * 10 ** (decibels / 20) / np.sqrt(np.mean(spoken**2))
    path = sounds.write(tmp_path / "quiet.wav", quiet)
    assert differs(path, sounds.encoded(path, "128 kbit/s")) is None
    other = sounds.write(tmp_path / "other.wav", sounds.tone(400, 4.5))
    assert differs(path, other) is not None, "another scene's is heard"


@pytest.mark.video
def test_silence_is_not_another_sound(tmp_path: Path) -> None:
    silence = sounds.write(tmp_path / "silence.wav", np.zeros(sounds.RATE * 2))
    tone = sounds.write(tmp_path / "tone.wav", sounds.tone(400, 2.0))
    assert differs(silence, sounds.encoded(silence, "128 kbit/s")) is None
    assert differs(silence, tone) is not None
    assert differs(tone, silence) is not None


@pytest.mark.video
def test_a_video_with_half_of_another_narration_is_found_out(tmp_path: Path) -> None:
    """Two renders that share one file may both write to it."""
    mine, other = sounds.music(1, 12.0), sounds.music(2, 12.0)
    half = len(mine) // 2
    path = sounds.write(tmp_path / "mine.wav", mine)
    torn = sounds.write(tmp_path / "torn.wav", np.concatenate([mine[:half], other[half:]]))
    both = sounds.write(tmp_path / "both.wav", (mine + other) / 2)
    wrong = differs(path, torn)
    assert wrong is not None
    assert wrong.start == 4.0, "it is right for the first six seconds"
    assert differs(path, both) is not None


@pytest.mark.video
def test_a_delay_of_the_encoder_and_pauses_are_no_difference(tmp_path: Path) -> None:
    talk = sounds.music(1, 6.0)
    pause = 1e-3 * sounds.noise(1, 9.0)
    path = sounds.write(tmp_path / "a.wav", np.concatenate([talk, pause, talk]))
    # The pause's noise is another one; the whole begins 47.3 ms late, no whole sample at 8 kHz.
    late = np.zeros(round(0.0473 * sounds.RATE))
    made = np.concatenate([late, talk, 1e-3 * sounds.noise(2, 9.0), talk])
    video = sounds.write(tmp_path / "b.wav", made)
    assert differs(path, video) is None
    filled = np.concatenate([talk, sounds.music(3, 9.0), talk])
    assert differs(path, sounds.write(tmp_path / "c.wav", filled)) is not None


@pytest.mark.video
@pytest.mark.parametrize("decibels", but_the_first_slow([-40, -36, -44]))
def test_soft_speech_after_a_loud_intro_is_no_pause(tmp_path: Path, decibels: int) -> None:
    intro = sounds.music(1, 4.0)
    intro *= 10 ** (-7 / 20) / np.sqrt(np.mean(intro**2))
    mine, other = (one.mean(axis=0) for one in list(sounds.speech(4.5).values())[:2])
    paths = []
    for name, spoken in (("mine", mine), ("other", other)):
        soft = spoken * 10 ** (decibels / 20) / np.sqrt(np.mean(spoken**2))
        paths.append(sounds.write(tmp_path / f"{name}.wav", np.concatenate([intro, soft, soft])))
    for name in sounds.ENCODINGS:
        assert differs(paths[0], sounds.encoded(paths[0], name)) is None
    wrong = differs(paths[0], sounds.encoded(paths[1], "128 kbit/s"))
    assert wrong is not None
    assert wrong.start == 4.0


@pytest.mark.video
@pytest.mark.parametrize("kind", ["noise", "room"])
def test_the_noise_of_a_pause_that_is_heard_is_its_own(tmp_path: Path, kind: str) -> None:
    assert min(sounds.paused(-46, kind, tmp_path).values()) > likeness.LEAST_LIKENESS


def test_an_hour_is_compared_in_little_memory() -> None:
    def hour() -> Iterator[Any]:
        for _ in range(3600):
            yield np.zeros((2, RATE), np.float32)

    tracemalloc.start()
    lengths = [one.shape[1] for one, _ in _stretches(hour(), hour())]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(lengths) == 3600 * RATE
    assert peak < 8e6, "an hour at 8 kHz in stereo is 230 MB"


@pytest.mark.parametrize(
    ("stretches", "wrong"),
    [
        ([], None),
        ([Stretch(0, 0.9, 0.1, 0.1)], None),
        ([Stretch(0, 0.7, 0.1, 0.1)], 0),
        ([Stretch(0, 0.9, 0.1, 0.1), Stretch(4, 0.1, 0.1, 0.1)], 4),
        ([Stretch(0, 0.9, 0.1, 0.1), Stretch(4, 0.1, 0.001, 0.001)], None),  # a pause
        ([Stretch(0, 0.9, 0.1, 0.1), Stretch(4, 0.1, 0.001, 0.1)], 4),  # filled
        ([Stretch(0, 0.9, 0.1, 0.1), Stretch(4, 0.0, 0.1, 0.0)], 4),  # fell silent
        ([Stretch(0, 0.0, 0.0, 0.0), Stretch(4, 0.0, 0.0, 0.001)], None),  # silent altogether
        ([Stretch(0, 0.0, 0.0, 0.0), Stretch(4, 0.0, 0.0, 0.1)], 4),
    ],
)
def test_where_a_sound_is_another_one(stretches: list[Stretch], wrong: float | None) -> None:
    found = first_difference(stretches)
    assert (found.start if found else None) == wrong
