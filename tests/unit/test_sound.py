"""A narration's length is what decoding it yields, in every format; and so is its sound."""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING, Any

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from cloudburst import media
from cloudburst.media import sound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.video

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
SECONDS = 2.524
# A rising tone: its pitch says where in the sound a sample is.
CHIRP = f"aevalsrc=0.4*sin(2*PI*(200+150*t)*t):d={SECONDS}:s=48000"


def ffmpeg(*arguments: object) -> None:
    subprocess.run([FFMPEG, "-v", "error", "-y", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    folder = tmp_path_factory.mktemp("sounds")

    def make(name: str, *options: object) -> Path:
        path = folder / name
        ffmpeg("-f", "lavfi", "-i", CHIRP, *options, path)
        return path

    return make


def chirp(seconds: float = SECONDS) -> Any:
    time = np.arange(round(seconds * sound.RATE)) / sound.RATE
    return np.sin(2 * np.pi * (200 + 150 * time) * time)


def decoded(path: Path, tmp_path: Path) -> Any:
    """Return the left channel that the renderer would encode; its length is the measured one."""
    pcm = tmp_path / "pcm"
    length = media.decode_sound(path, pcm)
    samples = np.frombuffer(pcm.read_bytes(), np.int16).reshape(-1, 2)[:, 0].astype(float)
    assert media.measure(path) == length, "measured and rendered in one way"
    assert len(samples) / sound.RATE == pytest.approx(length.seconds, abs=0.002)
    return samples


def likeness(samples: Any, expected: Any) -> tuple[float, float]:
    """Return the best correlation with the expected sound, and its shift in seconds."""
    size = 2 ** (len(samples) + len(expected)).bit_length()
    spectrum = np.fft.rfft(samples, size) * np.conj(np.fft.rfft(expected, size))
    correlation = np.fft.irfft(spectrum, size)
    at = int(np.argmax(correlation))
    best = correlation[at] / np.linalg.norm(samples) / np.linalg.norm(expected)
    return best, (at if at < size // 2 else at - size) / sound.RATE


# The suffix, ffmpeg's options, and the samples' worth of seconds that the format itself adds:
# what says nothing of its encoder's delay is decoded with it.
FORMATS: dict[str, tuple[str, list[object], float]] = {
    **{
        f"mp3 at {rate} Hz": ("mp3", ["-ar", rate, "-ac", 1], 0.003)
        for rate in (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
    },
    "mp3, variable rate": ("mp3", ["-q:a", 6], 0.003),
    "mp3, variable rate, no header": ("mp3", ["-q:a", 6, "-write_xing", 0], 0.06),
    "mp2": ("mp2", [], 0.03),
    "wav": ("wav", [], 0.001),
    "wav 8 bit 8 kHz": ("wav", ["-c:a", "pcm_u8", "-ar", 8000], 0.001),
    "wav 24 bit 5.1": ("wav", ["-c:a", "pcm_s24le", "-ac", 6], 0.001),
    "aiff": ("aiff", [], 0.001),
    "caf": ("caf", [], 0.001),
    "flac": ("flac", [], 0.001),
    "vorbis": ("ogg", ["-c:a", "libvorbis"], 0.001),
    "opus": ("opus", ["-c:a", "libopus"], 0.001),
    "opus in webm": ("webm", ["-c:a", "libopus"], 0.001),
    "aac in m4a": ("m4a", ["-c:a", "aac", "-b:a", "64k"], 0.001),
    "aac in m4a at 22050 Hz": ("m4a", ["-c:a", "aac", "-ar", 22050], 0.001),
    "aac in matroska": ("mka", ["-c:a", "aac"], 0.03),
    "aac, raw": ("aac", ["-c:a", "aac"], 0.05),
    "aac in ts": ("ts", ["-c:a", "aac"], 0.05),
    "alac": ("m4a", ["-c:a", "alac"], 0.001),
    "pcm in mov": ("mov", ["-c:a", "pcm_s16le"], 0.001),
    "wma": ("wma", [], 0.06),
    "ac3": ("ac3", [], 0.03),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_measured_by_decoding(
    make: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    suffix, options, extra = FORMATS[name]
    path = make(f"{name.replace(' ', '-')}.{suffix}", *options)
    samples = decoded(path, tmp_path)
    assert abs(len(samples) / sound.RATE - SECONDS) <= extra + 0.001
    best, shift = likeness(samples, chirp())
    assert best > 0.95
    assert abs(shift) <= max(extra, 0.003)
    assert media.measure(path).warnings == ()
    # What ffmpeg itself decodes, for all but the padding at the end of Matroska's AAC.
    raw = subprocess.run(
        [FFMPEG, "-v", "error", "-i", path, "-f", "s16le", "-ar", "48000", "-ac", "2", "-"],
        capture_output=True,
        check=True,
    ).stdout
    assert len(samples) == pytest.approx(len(raw) / 4, abs=96)


FRAGMENTS = ["-movflags", "frag_keyframe+empty_moov", "-frag_duration", 500000]
JOINED = {
    "opus": (("opus", ["-c:a", "libopus"]), ("opus", ["-c:a", "libopus"])),
    "opus, mono and stereo": (("opus", ["-ac", 1]), ("opus", ["-ac", 2]), ("opus", ["-ac", 1])),
    "vorbis at two rates": (("ogg", ["-ar", 44100]), ("ogg", ["-ar", 48000, "-ac", 2])),
    "wav": (("wav", ["-ar", 24000]), ("wav", ["-ac", 1]), ("wav", ["-c:a", "pcm_u8", "-ac", 1])),
    "aiff": (("aiff", []), ("aiff", ["-ac", 1])),
    "m4a": (("m4a", []), ("m4a", ["-movflags", "+faststart", "-ar", 48000])),
    "m4a in fragments": (("m4a", FRAGMENTS), ("m4a", FRAGMENTS)),
    "flac in ogg": (("ogg", ["-c:a", "flac"]), ("ogg", ["-c:a", "flac"])),
    "wma": (("wma", []), ("wma", ["-ar", 22050, "-ac", 1]), ("wma", [])),
    "flac at two rates": (("flac", ["-ar", 44100]), ("flac", []), ("flac", ["-ac", 2])),
    "caf": (("caf", []), ("caf", ["-ac", 2, "-ar", 44100])),
    "rf64": (("wav", ["-rf64", "always"]), ("wav", []), ("wav", ["-rf64", "always"])),
    "w64": (("w64", []), ("w64", ["-ac", 2])),
    "au": (("au", ["-ar", 44100]), ("au", ["-ac", 2])),
    "matroska": (("mka", ["-c:a", "flac"]), ("webm", ["-c:a", "libopus"]), ("mka", [])),
    "flv": (("flv", ["-ar", 44100]), ("flv", ["-ar", 22050])),
    "aac, raw": (("aac", ["-ar", 44100]), ("aac", ["-ac", 2])),
    "many kinds": (
        *(("wav", []), ("flac", []), ("ogg", ["-c:a", "libvorbis"]), ("m4a", []), ("wma", [])),
        *(("caf", []), ("aiff", []), ("opus", []), ("mka", ["-c:a", "flac"])),
    ),
    "mp3": (("mp3", []), ("mp3", [])),
    "mp3 at two rates": (("mp3", ["-ar", 44100, "-ac", 1]), ("mp3", ["-ar", 16000, "-ac", 2])),
}


@pytest.mark.parametrize("name", JOINED)
def test_joined_files_have_all_their_parts(
    make: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    parts = [make(f"part.{suffix}", *options).read_bytes() for suffix, options in JOINED[name]]
    path = tmp_path / "joined"
    path.write_bytes(b"".join(parts))
    samples = decoded(path, tmp_path)
    # A joined MP3 has the delay and the padding of its later parts in it.
    late = 0.15 if any(kind in name for kind in ("mp3", "fragments", "flv", "raw")) else 0.003
    early = 0.06 * len(parts) if name in {"wma", "many kinds"} else 0.001
    assert -early <= len(samples) / sound.RATE - len(parts) * SECONDS <= late
    half = round(SECONDS / 2 * sound.RATE)
    for number in range(len(parts)):
        at = round(number * SECONDS * sound.RATE)
        best, shift = likeness(samples[at : at + half], chirp()[:half])
        assert best > 0.9, number
        assert abs(shift) <= 0.15
    assert media.measure(path).warnings == ()


@pytest.mark.parametrize("first", ["wav", "flac", "wma", "m4a", "opus", "aac"])
def test_what_cannot_be_told_from_a_sound_s_end_is_a_warning(
    make: Callable[..., Path], tmp_path: Path, first: str
) -> None:
    """An MP3 without a tag begins with nothing that may not be in any other file."""
    path = tmp_path / "joined"
    later = make("bare.mp3", "-id3v2_version", 0, "-write_id3v1", 0).read_bytes()
    path.write_bytes(make(f"first.{first}").read_bytes() + later)
    length = media.measure(path)
    assert length.seconds == pytest.approx(SECONDS, abs=0.06)
    assert any("kB after the end of the sound" in text for text in length.warnings)


@pytest.mark.parametrize("first", ["wav", "wma", "m4a", "opus"])
def test_an_mp3_with_a_tag_is_found_after_another_sound(
    make: Callable[..., Path], tmp_path: Path, first: str
) -> None:
    path = tmp_path / "joined"
    tagged = make("tagged.mp3").read_bytes()
    path.write_bytes(make(f"first.{first}").read_bytes() + tagged)
    length = media.measure(path)
    assert length.seconds == pytest.approx(2 * SECONDS, abs=0.1)
    assert length.warnings == ()


def with_wav_size(path: Path, size: int) -> bytes:
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.find(b"data") + 4, size)
    return bytes(data)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_from_a_pipe_has_no_length_in_its_header(
    make: Callable[..., Path], tmp_path: Path, size: int
) -> None:
    path = tmp_path / "piped.wav"
    path.write_bytes(with_wav_size(make("whole.wav"), size))
    assert len(decoded(path, tmp_path)) / sound.RATE == pytest.approx(SECONDS, abs=0.001)
    assert media.measure(path).warnings == ()


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        *(("mp3", ["-ar", 16000]), ("mp3", []), ("wav", []), ("flac", []), ("mka", [])),
        *(("wav", ["-c:a", "pcm_s24le"]), ("aiff", [])),
        ("m4a", ["-movflags", "+faststart"]),
    ],
)
def test_what_decodes_of_a_truncated_sound_is_used_with_a_warning(
    make: Callable[..., Path], tmp_path: Path, suffix: str, options: list[object]
) -> None:
    whole = make(f"cut.{suffix}", *options).read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole[: len(whole) // 2])
    samples = decoded(path, tmp_path)
    assert 0.4 <= len(samples) / sound.RATE <= 1.7  # Matroska's last cluster is lost
    assert likeness(samples, chirp(len(samples) / sound.RATE))[0] > 0.9
    (warning,) = media.measure(path).warnings
    assert "damaged or truncated" in warning
    assert "announces 2.5" in warning or "announces 2.6" in warning


@pytest.mark.parametrize("coder", ["adpcm_ima_wav", "adpcm_ms", "pcm_alaw", "libmp3lame"])
@pytest.mark.parametrize("rate", [22050, 48000])
def test_a_compressed_wav_is_as_long_as_its_samples(
    make: Callable[..., Path], tmp_path: Path, coder: str, rate: int
) -> None:
    whole = make("whole.wav", "-c:a", coder, "-ar", rate)
    assert media.measure(whole).warnings == ()
    path = tmp_path / "half.wav"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (warning,) = media.measure(path).warnings
    assert "announces 2.5" in warning or "announces 2.6" in warning


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("ogg", ["-c:a", "libvorbis"]), ("opus", []), ("oga", ["-c:a", "flac"]), ("caf", [])],
)
def test_a_truncated_sound_whose_length_nothing_announces_is_told(
    make: Callable[..., Path], tmp_path: Path, suffix: str, options: list[object]
) -> None:
    whole = make(f"ends.{suffix}", *options).read_bytes()
    path = tmp_path / f"ends.{suffix}"
    path.write_bytes(whole)
    assert media.measure(path).warnings == ()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    (warning,) = media.measure(path).warnings
    assert "damaged" in warning


def test_a_wav_that_misstates_its_bytes_per_second_is_not_truncated(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    for options in ([], ["-c:a", "pcm_s24le"]):
        data = bytearray(make("rate.wav", *options).read_bytes())
        struct.pack_into("<I", data, data.find(b"fmt ") + 16, 8000)
        path = tmp_path / "rate.wav"
        path.write_bytes(data)
        sound_ = media.measure(path)
        assert sound_.seconds == pytest.approx(SECONDS, abs=0.001)
        assert sound_.warnings == ()


def test_a_header_that_points_beyond_every_file_is_no_error_of_the_system(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    data = bytearray(make("beyond.caf").read_bytes())
    struct.pack_into(">q", data, data.find(b"data") + 4, 2**62)
    path = tmp_path / "beyond.caf"
    path.write_bytes(data)
    assert media.measure(path).seconds == pytest.approx(SECONDS, abs=0.001)
    assert "damaged" in media.measure(path).warnings[0]


@pytest.mark.parametrize("suffix", ["wav", "w64", "aiff", "caf", "m4a", "opus", "wma", "mka"])
def test_a_file_that_ends_in_its_header_is_refused(
    make: Callable[..., Path], tmp_path: Path, suffix: str
) -> None:
    whole = make(f"header.{suffix}").read_bytes()
    for size in (16, 20, 25, 33):
        path = tmp_path / "header"
        path.write_bytes(whole[:size])
        with pytest.raises(media.MediaError):
            media.measure(path)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


# The suffix, ffmpeg's options, and how the length of the sound is found in the file.
UNDERSTATED: dict[str, tuple[str, list[object], bytes, str, int, int]] = {
    "wav": ("wav", ["-ar", 48000], b"data", "<I", 4, 0),
    "wav of mulaw": ("wav", ["-c:a", "pcm_mulaw"], b"data", "<I", 4, 0),
    "rf64": ("wav", ["-rf64", "always"], b"ds64", "<Q", 16, 0),
    "w64": ("w64", [], b"data", "<Q", 16, 24),
    "aiff": ("aiff", [], b"SSND", ">I", 4, 8),
    "caf": ("caf", [], b"data", ">q", 4, 4),
}


@pytest.mark.parametrize("name", UNDERSTATED)
def test_a_header_that_announces_less_than_the_file_holds_is_told(
    make: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """As after a crash of the recorder, or from a program that writes to a pipe."""
    suffix, options, chunk_name, form, at, more = UNDERSTATED[name]
    data = bytearray(make(f"less-{name.replace(' ', '-')}.{suffix}", *options).read_bytes())
    of_second = 48000 if "mulaw" in name else 96000
    struct.pack_into(form, data, data.find(chunk_name) + at, of_second + more)
    path = tmp_path / f"less.{suffix}"
    path.write_bytes(data)
    assert len(decoded(path, tmp_path)) / sound.RATE == pytest.approx(1.0, abs=0.001)
    (warning,) = media.measure(path).warnings
    assert "announces 1.00 s of sound, the file holds 2.52 s" in warning
    if name == "wav":  # what the warning advises
        ffmpeg("-ignore_length", 1, "-i", path, tmp_path / "new.wav")
        assert media.audio_seconds(tmp_path / "new.wav") == pytest.approx(SECONDS, abs=0.001)
        struct.pack_into(form, data, data.find(chunk_name) + at, 4096)
        path.write_bytes(data)
        with pytest.raises(media.MediaError, match=r"0\.04 s of audio.*the file holds 2\.52 s"):
            sound.checked_sound(media.measure(path))


def test_what_follows_the_sound_of_a_wav_is_no_sound(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    whole = make("followed.wav").read_bytes()
    odd = make("odd.wav", "-c:a", "pcm_u8", "-bitexact").read_bytes()
    at = odd.find(b"data")
    odd = odd[:at] + b"data" + struct.pack("<I", 100001) + odd[at + 8 : at + 8 + 100001]
    lists = chunk(b"LIST", b"INFO" + b"IART" * 30_000)
    for data in (
        whole + lists,
        whole + chunk(b"id3 ", b"ID3\x04" + b"\xff\xfb\x90\x64" * 30_000),
        whole + chunk(b"bext", bytes(602)) + chunk(b"cue ", bytes(28)) + lists,
        whole + b"ID3\x04\0\0\0\0\x7f\x7f" + bytes(range(255)) * 64,
        whole + bytes(200_000),
        *(odd + padding + lists for padding in (b"", b"\0", b"\xff", b"x")),
    ):
        path = tmp_path / "followed.wav"
        path.write_bytes(data)
        length = media.measure(path)
        seconds = SECONDS if data.startswith(whole) else 100001 / 48000
        assert length.seconds == pytest.approx(seconds, abs=0.001)
        assert length.warnings == ()


def test_a_sound_that_is_damaged_in_the_middle_is_used_with_a_warning(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    data = bytearray(make("damaged.mp3").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 1500] = bytes(range(250)) * 6
    path = tmp_path / "damaged.mp3"
    path.write_bytes(data)
    assert 2.0 < len(decoded(path, tmp_path)) / sound.RATE < SECONDS
    assert "damaged" in media.measure(path).warnings[0]


def test_an_mp4_without_its_index_is_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    whole = make("index-last.m4a").read_bytes()
    path = tmp_path / "cut.m4a"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(media.MediaError, match=r"no sound can be read .*MP4"):
        media.measure(path)


@pytest.mark.parametrize("suffix", ["webm", "mka"])
def test_a_gap_in_a_recording_is_silence(
    make: Callable[..., Path], tmp_path: Path, suffix: str
) -> None:
    """Recordings of calls have no packets for what was lost; the rest keeps its place."""
    path = make(f"gap.{suffix}", "-af", "aselect=not(between(t\\,1\\,1.8))", "-c:a", "libopus")
    samples = decoded(path, tmp_path)
    assert len(samples) / sound.RATE == pytest.approx(SECONDS, abs=0.02)
    quiet, rest = samples[round(1.1 * 48000) : round(1.7 * 48000)], samples[round(1.9 * 48000) :]
    assert np.abs(quiet).max() < 200
    best, shift = likeness(rest, chirp()[round(1.9 * 48000) :])
    assert best > 0.9
    assert abs(shift) < 0.02


def test_sound_that_starts_after_the_picture_of_a_video_keeps_its_place(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "late.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc=d=3:s=64x64"]
    ffmpeg(*picture, "-itsoffset", 0.6, "-i", make("late.wav"), "-c:a", "aac", path)
    samples = decoded(path, tmp_path)
    assert len(samples) / sound.RATE == pytest.approx(0.6 + SECONDS, abs=0.03)
    assert likeness(samples, chirp())[1] == pytest.approx(0.6, abs=0.03)


def test_an_edit_list_is_obeyed(make: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "edited.m4a"
    ffmpeg("-ss", 0.55, "-i", make("whole.m4a"), "-c", "copy", path)
    samples = decoded(path, tmp_path)
    assert len(samples) / sound.RATE == pytest.approx(SECONDS - 0.55, abs=0.03)


def test_the_first_of_several_sounds_is_used_with_a_warning(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "two.mp4"
    other = ["-f", "lavfi", "-i", "sine=d=1"]
    ffmpeg("-i", make("first.wav"), *other, "-map", 0, "-map", 1, "-c:a", "aac", path)
    assert len(decoded(path, tmp_path)) / sound.RATE == pytest.approx(SECONDS, abs=0.001)
    assert media.measure(path).warnings == ("the file has 2 audio streams; the first one is used",)


@pytest.mark.parametrize("suffix", ["mp3", "m4a"])
def test_a_large_cover_is_no_part_of_the_sound(
    make: Callable[..., Path], tmp_path: Path, suffix: str
) -> None:
    cover, path = tmp_path / "cover.png", tmp_path / f"covered.{suffix}"
    Image.effect_noise((1800, 1800), 90).save(cover)  # larger than what libavformat probes
    attached = ["-map", 0, "-map", 1, "-c", "copy", "-disposition:v", "attached_pic"]
    ffmpeg("-i", make(f"bare.{suffix}"), "-i", cover, *attached, path)
    assert path.stat().st_size > 2_000_000
    assert len(decoded(path, tmp_path)) / sound.RATE == pytest.approx(SECONDS, abs=0.003)


def test_the_name_of_a_file_does_not_matter(make: Callable[..., Path], tmp_path: Path) -> None:
    for number, (suffix, name) in enumerate([("mp3", "a.wav"), ("flac", "a.mp3"), ("m4a", "x")]):
        path = tmp_path / str(number) / name
        path.parent.mkdir()
        shutil.copy(make(f"named.{suffix}"), path)
        assert media.measure(path).seconds == pytest.approx(SECONDS, abs=0.003)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{path}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{path}'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    ],
)
def test_a_playlist_opens_no_other_file(
    make: Callable[..., Path], tmp_path: Path, text: str
) -> None:
    path = tmp_path / "list"
    path.write_text(text.format(path=make("secret.ts", "-c:a", "aac")))
    with pytest.raises(media.MediaError):
        media.measure(path)


def test_a_changed_file_is_measured_again(make: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    shutil.copy(make("again.wav"), path)
    assert media.measure(path).seconds == pytest.approx(SECONDS)
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", path)
    assert media.measure(path).seconds == pytest.approx(1)


def test_decoding_ends_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound, "MAX_AUDIO_SECONDS", 1.0)
    path = tmp_path / "long.wav"
    ffmpeg("-f", "lavfi", "-i", "sine=d=20", path)
    pcm = tmp_path / "pcm"
    assert 1 < media.decode_sound(path, pcm).seconds < 1.5
    assert pcm.stat().st_size < 2 * 192_000
    with pytest.raises(media.MediaError, match="more than 1 s"):
        media.checked_sound(media.measure(path))


def test_a_sound_that_starts_loud_is_not_shifted_by_the_encoder(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    """The video's own sound, AAC in MP4, measured as `verify` does."""
    path = make("own.mp4", "-c:a", "aac", "-ar", 48000, "-ac", 2, "-b:a", "128k")
    samples = decoded(path, tmp_path)
    assert likeness(samples, chirp())[1] == pytest.approx(0, abs=0.001)
    assert len(samples) / sound.RATE == pytest.approx(SECONDS, abs=0.001)
