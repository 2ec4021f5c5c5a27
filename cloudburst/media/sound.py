"""Measure and decode narrations.

The length of a sound is the number of samples that decoding it yields, never what a header or a
packet says: encoders pad the sound (LAME's delay and padding, AAC's priming, Opus's pre-skip),
joined Ogg files announce their first part alone, and an MP3 without a Xing header only has an
estimate. `measure` and `decode_sound` read a file in one way, so what is announced for a narration,
rendered and verified is one number.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, cast

import av
import numpy as np

from cloudburst.language import tr
from cloudburst.media.content import Content
from cloudburst.media.kinds import MediaError, describe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from cloudburst.media.parts import Part

    _Packet = av.Packet[av.audio.stream.AudioStream]

MAX_AUDIO_SECONDS = 1800.0
MIN_AUDIO_SECONDS = 0.1
RATE = 48_000
# What `decode_sound` writes, as ffmpeg's options for reading it.
PCM = ("-f", "s16le", "-ar", str(RATE), "-ch_layout", "stereo")
_PCM_BYTES = 4  # two channels of 16 bits
_FULL_SCALE = np.float32(32768)

# Seconds without packets that are silence in the file's own time line: recordings of calls and
# meetings omit what was lost or silent. Shorter gaps are the rounding of time stamps, longer ones
# broken time stamps.
_LEAST_GAP, _LONGEST_GAP = 0.1, 60.0
# Containers whose time stamps are those of a time line; in an Ogg, a TS or a raw stream they may
# start again with every part of a joined file.
_TIME_LINES = ("mp4", "matroska")
# Containers whose header says how long the sound is; `Content` knows MP3's and WAV's.
_ANNOUNCING = (*_TIME_LINES, "flac", "aiff", "caf")
# The shortest part that may be missing without a warning, in seconds.
_MISSING = 0.5
# Formats without a structure that would say where the sound ends; MP3 has too many kinds of tags.
_BARE = frozenset({"aac", "flac"})
# What need not be told, in bytes and as a part of the file: indices, tags of unknown kinds.
_LEAST_UNREAD, _UNREAD_SHARE = 1024, 20
# ID3 and APE tags between the parts of a joined MP3 are no damage.
_TAGS = (b"ID3", b"TAG", b"APETAGEX")


@dataclass(frozen=True, slots=True)
class Sound:
    """What decoding a narration yields.

    Args:
        seconds: length.
        warnings: what is unusual about the file, for people.
    """

    seconds: float
    warnings: tuple[str, ...] = ()


def measure(path: Path) -> Sound:
    """Return the length of a file's first audio stream, by decoding it.

    A narration of half an hour takes about a second.

    Raises:
        MediaError: the file has no usable sound.
        OSError: the file cannot be read.
    """
    status = path.stat()
    return _measure(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=4096)
def _measure(path: Path, modified_ns: int, size: int) -> Sound:  # noqa: ARG001 - part of the key
    return _decode(path, None)


def decode_sound(path: Path, pcm: Path) -> Sound:
    """Decode a file's first audio stream, in the format that `PCM` names.

    Args:
        path: any file with sound; its format is recognised by its content.
        pcm: is written.

    Raises:
        MediaError: the file has no usable sound.
        OSError: a file cannot be read or written.
    """
    with pcm.open("wb") as out:
        return _decode(path, out)


def samples(path: Path, rate: int) -> Iterator[NDArray[np.float32]]:
    """Decode a file's first audio stream in stereo, a little at a time, whatever its length.

    Args:
        path: any file with sound.
        rate: samples per second.

    Yields:
        Two rows of samples, left and right, -1 to 1.

    Raises:
        MediaError: the file has no usable sound.
        OSError: the file cannot be read.
    """
    with _errors_named(path), Content(path) as content:
        for _, container, stream in _streams(content):
            converter = _Converter(rate)
            for block in _Decoder(container, stream).blocks():
                for data in converter.convert(block):
                    yield _as_floats(data)
            for data in converter.end():
                yield _as_floats(data)


def _as_floats(data: bytes | memoryview) -> NDArray[np.float32]:
    return np.frombuffer(data, "<i2").reshape(-1, 2).T.astype(np.float32) / _FULL_SCALE


def audio_seconds(path: Path) -> float:
    """Return the length of a file's first audio stream, in seconds; see `measure`."""
    return measure(path).seconds


def checked_sound(sound: Sound) -> Sound:
    """Return a narration's measure if it is within the limits.

    Raises:
        MediaError: its length is outside `MIN_AUDIO_SECONDS` to `MAX_AUDIO_SECONDS`.
    """
    if sound.seconds > MAX_AUDIO_SECONDS:
        raise MediaError(
            tr(
                "more than {most:.0f} s of audio; the limits are {least} and {most:.0f} s",
                least=MIN_AUDIO_SECONDS,
                most=MAX_AUDIO_SECONDS,
            )
        )
    if sound.seconds < MIN_AUDIO_SECONDS:
        reason = tr(
            "{seconds:.2f} s of audio; the limits are {least} and {most:.0f} s",
            seconds=sound.seconds,
            least=MIN_AUDIO_SECONDS,
            most=MAX_AUDIO_SECONDS,
        )
        raise MediaError("; ".join((reason, *sound.warnings)))
    return sound


# -- decoding -----------------------------------------------------------------------------------


def _decode(path: Path, pcm: IO[bytes] | None) -> Sound:
    """Decode a file, and write its samples unless `pcm` is None."""
    with _errors_named(path), Content(path) as content:
        return _decode_parts(content, pcm)


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    """Translate the decoder's errors."""
    try:
        yield
    except av.error.InvalidDataError:
        raise MediaError(tr("no sound can be read from it ({what})", what=describe(path))) from None
    except av.error.FFmpegError as error:
        reason = error.strerror
        raise MediaError(tr("cannot read the audio stream: {reason}", reason=reason)) from error


def _decode_parts(content: Content, pcm: IO[bytes] | None) -> Sound:
    seconds, missing, streams, unread = 0.0, 0.0, 0, _Unread()
    damaged = any(part.truncated for part in content.parts)
    for part, container, stream in _streams(content, unread):
        # An MP3 that was joined is one part, of which the header announces the first.
        announced = content.announced_seconds() or _announced(container, stream)
        decoder = _Decoder(container, stream)
        decoded = _decode_stream(decoder, pcm)
        seconds += decoded
        if seconds > MAX_AUDIO_SECONDS:
            break
        damaged |= decoder.damaged
        streams = max(streams, len(container.streams.audio))
        if not unread.after(part, decoded, decoder.end):
            missing += max(0.0, announced - decoded)
    if not streams and not seconds:
        raise MediaError(tr("no audio stream ({what})", what=describe(content.path)))
    if seconds <= 0:
        raise MediaError(tr("the audio stream has no duration"))
    notes = [*_warnings(seconds, missing, streams, damaged=damaged), *unread.warnings()]
    return Sound(seconds, tuple(notes))


class _Unread:
    """What of a file is not decoded, though nothing is wrong with what is."""

    def __init__(self) -> None:
        self._announced = self._held = 0.0
        self._bytes = 0

    def after(self, part: Part, seconds: float, end: int) -> bool:
        """Note what follows the sound of a part; return whether it is more of its sound.

        Args:
            part: was decoded.
            seconds: its length.
            end: of the last frame, in bytes from its beginning; 0 if it is not known.
        """
        if part.announced and seconds * part.spare / part.announced > _MISSING:
            self._announced += seconds
            self._held += seconds * (part.announced + part.spare) / part.announced
            return True
        rest = part.spare or (part.end - part.start - end if end else 0)
        if rest > max(_LEAST_UNREAD, (part.end - part.start) / _UNREAD_SHARE):
            self._bytes += rest
        return False

    def whole(self, part: Part) -> None:
        """Note a part without sound that can be read."""
        self._bytes += part.end - part.start

    def warnings(self) -> Iterator[str]:
        """Yield what people should know."""
        if self._held:
            yield tr(
                "the header announces {announced:.2f} s of sound, the file holds {held:.2f} s, as "
                "after a crash of the recorder; the video has what is announced, as in players. If "
                "the rest is sound, too, repair the header; for a WAV: ffmpeg -ignore_length 1 -i "
                "OLD.wav NEW.wav",
                announced=self._announced,
                held=self._held,
            )
        if self._bytes:
            yield tr(
                "{size} kB after the end of the sound cannot be read, so the video is without "
                "them; if another recording was joined to this one, convert both to WAV first",
                size=-(-self._bytes // 1000),
            )


def _streams(
    content: Content, unread: _Unread | None = None
) -> Iterator[tuple[Part, av.container.InputContainer, av.audio.stream.AudioStream]]:
    """Yield the first audio stream of every part of a joined file, open as long as it is used.

    Args:
        content: is read.
        unread: is told of later parts that cannot be read.
    """
    for number, part in enumerate(content.parts):
        content.use(part)
        try:
            container = _open(content)
        except av.error.FFmpegError:
            if not number:
                raise
            if unread:
                unread.whole(part)
            continue
        with container:
            stream = next(iter(container.streams.audio), None)
            if stream is not None:
                yield part, container, stream


def _open(content: Content) -> av.container.InputContainer:
    # A playlist must not make the decoder open other files or addresses.
    options = {"protocol_whitelist": "none"}
    return av.open(content, mode="r", metadata_errors="ignore", options=options)


def _decode_stream(decoder: _Decoder, pcm: IO[bytes] | None) -> float:
    """Return the length of a stream in seconds; decode no more than the limit allows."""
    converter = _Converter(RATE)
    seconds = 0.0
    for block in decoder.blocks():
        seconds += block.samples / block.rate
        if pcm:
            pcm.writelines(converter.convert(block))
        if seconds > MAX_AUDIO_SECONDS:
            break
    if pcm:
        pcm.writelines(converter.end())
    return seconds


@dataclass(frozen=True, slots=True)
class _Block:
    """A span of sound.

    Args:
        samples: length of the span.
        rate: samples per second.
        frame: starts with these samples; None for silence.
    """

    samples: int
    rate: int
    frame: av.AudioFrame | None = None


class _Decoder:
    """Decodes one stream, past damage.

    Args:
        container: is read to its end.
        stream: an audio stream of it.
    """

    def __init__(
        self, container: av.container.InputContainer, stream: av.audio.stream.AudioStream
    ) -> None:
        self._container = container
        self._stream = stream
        self._has_time_line = any(name in container.format.name for name in _TIME_LINES)
        # Where the next frame is expected, in seconds; the picture of a video may start earlier.
        self._expected = (container.start_time or 0) / av.time_base
        self.damaged = False
        # Where the last frame ends, in bytes; what follows a FLAC is read as part of it.
        self.end = 0
        self._bare = container.format.name in _BARE and len(container.streams) == 1
        self._largest = 0

    def blocks(self) -> Iterator[_Block]:
        """Yield the sound, with silence where its time line has gaps."""
        held: tuple[_Block, float] | None = None
        for packet in self._packets():
            lasts = float((packet.duration or 0) * (packet.time_base or 0))
            for frame in self._frames(packet):
                self._note_end(packet)
                if frame.samples and frame.sample_rate:
                    if held:
                        yield held[0]
                    yield from self._silence_before(frame)
                    held = _Block(frame.samples, frame.sample_rate, frame), lasts
        if held:
            yield self._without_padding(*held)

    def _packets(self) -> Iterator[_Packet]:
        """Yield packets up to the end, or up to where the container is damaged."""
        try:
            yield from self._container.demux(self._stream)
        except av.error.FFmpegError:
            self.damaged = True
            yield cast("_Packet", av.Packet())  # makes the decoder return what it still has

    def _frames(self, packet: _Packet) -> list[av.AudioFrame]:
        try:
            return self._stream.decode(packet if packet.size else None)
        except av.error.EOFError:  # it has been flushed before
            return []
        except (av.error.FFmpegError, ValueError):
            self.damaged |= not bytes(packet).startswith(_TAGS)
            return []

    def _note_end(self, packet: _Packet) -> None:
        if self._bare and packet.pos is not None and packet.size:
            size = min(packet.size, 4 * self._largest) if self._largest else packet.size
            self._largest = max(self._largest, size)
            self.end = max(self.end, packet.pos + size)

    def _silence_before(self, frame: av.AudioFrame) -> Iterator[_Block]:
        if not self._has_time_line or frame.pts is None or frame.time_base is None:
            return
        start = float(frame.pts * frame.time_base)
        gap = start - self._expected
        self._expected = start + frame.samples / frame.sample_rate
        if _LEAST_GAP < gap <= _LONGEST_GAP:
            yield _Block(round(gap * frame.sample_rate), frame.sample_rate)

    def _without_padding(self, block: _Block, lasts: float) -> _Block:
        """Return the last block as long as an MP4 says; a whole AAC frame is decoded even so."""
        samples = round(lasts * block.rate)
        if "mp4" not in self._container.format.name or not 0 < samples < block.samples:
            return block
        return replace(block, samples=samples)


class _Converter:
    """Converts blocks to PCM in stereo.

    Args:
        rate: samples per second of the PCM.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._format: tuple[str, str, int] | None = None
        self._resampler: av.AudioResampler | None = None

    def convert(self, block: _Block) -> Iterator[bytes | memoryview]:
        """Yield what can be converted by now."""
        if block.frame is None:
            yield from self.end()
            yield bytes(round(block.samples * self._rate / block.rate) * _PCM_BYTES)
            return
        frame = _first_samples(block.frame, block.samples)
        described = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or described != self._format:
            yield from self.end()  # the parts of a joined file may differ
            self._format = described
            self._resampler = av.AudioResampler("s16", "stereo", self._rate)
        frame.pts = None  # samples follow each other, whatever their time stamps say
        yield from _pcm(self._resampler.resample(frame))

    def end(self) -> Iterator[bytes | memoryview]:
        """Yield what the resampler still has."""
        resampler, self._resampler = self._resampler, None
        if resampler is not None:
            yield from _pcm(resampler.resample(None))


def _pcm(frames: list[av.AudioFrame]) -> Iterator[memoryview]:
    for frame in frames:
        yield memoryview(frame.planes[0])[: frame.samples * _PCM_BYTES]


def _first_samples(frame: av.AudioFrame, samples: int) -> av.AudioFrame:
    if samples == frame.samples:
        return frame
    planar = frame.format.is_planar
    width = samples if planar else samples * frame.layout.nb_channels
    array = np.ascontiguousarray(frame.to_ndarray()[:, :width])
    shorter = av.AudioFrame.from_ndarray(
        cast("NDArray[np.float32]", array), frame.format.name, frame.layout.name
    )
    shorter.sample_rate = frame.sample_rate
    return shorter


# -- warnings -----------------------------------------------------------------------------------


def _announced(
    container: av.container.InputContainer, stream: av.audio.stream.AudioStream
) -> float:
    """Return the seconds that a container's header announces; 0 if there is none to believe."""
    if not any(name in container.format.name for name in _ANNOUNCING):
        return 0.0
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _warnings(seconds: float, missing: float, streams: int, *, damaged: bool) -> Iterator[str]:
    if missing > _MISSING:
        yield tr(
            "the sound is damaged or truncated: the file announces {announced:.2f} s, "
            "{seconds:.2f} s can be decoded; the video is that long",
            announced=seconds + missing,
            seconds=seconds,
        )
    elif damaged:
        yield tr(
            "the sound is damaged: what can be decoded, {seconds:.2f} s, is used", seconds=seconds
        )
    if streams > 1:
        yield tr("the file has {count} audio streams; the first one is used", count=streams)
