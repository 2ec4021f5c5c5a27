"""One scene → one MP4, in one pass of ffmpeg. The only module that starts ffmpeg."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import imageio_ffmpeg

from cloudburst import media
from cloudburst.videoapi import canvas, fonts, motion, subtitles

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FPS = 30
# superfast at crf 23: VMAF 95 on a photograph in a third of medium's time (docs/architecture.md).
PRESET, CRF = "superfast", "23"


class SceneRefused(ValueError):
    """The request cannot become a video; trying again cannot help."""


class RenderError(RuntimeError):
    """ffmpeg failed or took too long."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to render; the decoded fields of the protocol.

    Args:
        image: bytes of a picture.
        audio: bytes of a sound file.
        subtitle: bytes of an SRT file.
        effects: camera motions, one of which is chosen.
        language: of the subtitles; decides the font where the text does not.
        background_box: box behind the subtitles.
        background_opacity: its transparency, 0 (solid) to 1 (clear).
        font_size: pixels, or None.
        outline_color: ASS colour.
        is_portrait: None takes the picture's orientation.
        watermark: bytes of a picture.
    """

    image: bytes
    audio: bytes
    subtitle: bytes | None = None
    effects: tuple[str, ...] = ()
    language: str = "chinese"
    background_box: bool = True
    background_opacity: float = 0.2
    font_size: int | None = None
    outline_color: str = "&H00000000"
    is_portrait: bool | None = None
    watermark: bytes | None = None

    @property
    def scenario(self) -> str:
        """The protocol's word for what is asked."""
        if self.subtitle is not None:
            return "full_featured" if self.effects else "subtitles_only"
        return "effects_only" if self.effects else "baseline"


def render(
    request: Request, folder: Path, *, threads: int, timeout: float
) -> tuple[Path, list[str]]:
    """Render a scene.

    Args:
        request: what to render.
        folder: empty folder for this scene; holds the video afterwards.
        threads: encoder threads.
        timeout: seconds after which ffmpeg is killed.

    Returns:
        The video and warnings about what could not be done as asked.

    Raises:
        SceneRefused: the picture, sound or subtitles cannot be used.
        RenderError: ffmpeg failed or exceeded its time.
    """
    started = time.monotonic()
    try:
        picture = canvas.read(request.image)
        size = canvas.size_for(picture, portrait=request.is_portrait)
        planes = canvas.planes(picture, size)
        (folder / "sound").write_bytes(request.audio)
        seconds = media.audio_seconds(folder / "sound")
        filters, inputs, warnings = _overlays(request, folder, size)
    except (canvas.PictureError, media.MediaError, subtitles.SubtitleError) as error:
        raise SceneRefused(str(error)) from error
    count = max(1, round(seconds * FPS))
    moving = motion.choose(request.effects)
    if moving:
        frames: Iterable[bytes] = motion.frames(planes, moving, count)
    else:
        # The encoder's own loop repeats the one frame: nothing is decoded or copied again.
        frames = [b"".join(plane.tobytes() for plane in planes)]
        filters = ["loop=loop=-1:size=1", *filters]
    command = _command(size, filters, inputs, count, threads)
    try:
        _run(command, frames, folder, timeout - (time.monotonic() - started))
    except TimeoutError:
        raise RenderError(f"the render took longer than {timeout:.0f} s and was ended") from None
    return folder / "video.mp4", warnings


def _overlays(
    request: Request, folder: Path, size: tuple[int, int]
) -> tuple[list[str], list[str], list[str]]:
    """Prepare what is drawn over the picture: ffmpeg filters, further inputs, warnings."""
    filters, inputs, warnings = [], [], []
    if request.watermark is not None:
        mark = canvas.watermark(canvas.read(request.watermark), size)
        (folder / "watermark.png").write_bytes(mark)
        inputs = ["-i", "watermark.png"]
        margin = round(min(size) * 0.03)
        filters.append(f"[2:v]overlay=x=W-w-{margin}:y={margin}:eof_action=repeat:format=yuv420")
    if request.subtitle is not None:
        cues, missing = _drawable(subtitles.parse(request.subtitle), request.language)
        warnings += missing
        if cues.face is not None:
            style = subtitles.Style(
                width=size[0],
                height=size[1],
                font=cues.face.family,
                measure=cues.face.width,
                font_size=request.font_size,
                box=request.background_box,
                transparency=request.background_opacity,
                outline_color=request.outline_color,
            )
            text = subtitles.to_ass(cues.cues, style)
            (folder / "cues.ass").write_text(text, encoding="utf-8")
            filters.append("ass=cues.ass")
    return filters, inputs, warnings


@dataclass(frozen=True, slots=True)
class _Drawable:
    cues: list[subtitles.Cue]
    face: fonts.Face | None


def _drawable(cues: list[subtitles.Cue], language: str) -> tuple[_Drawable, list[str]]:
    """Keep the cues that a font of this machine can draw: a warning beats a row of boxes."""
    text = "".join(cue.text for cue in cues)
    needs_cjk = any(subtitles.is_cjk(char) for char in text)
    latin = fonts.face_for("A")
    cjk = fonts.face_for("中") if needs_cjk or language == "chinese" else None
    if needs_cjk and cjk is None:
        kept = [cue for cue in cues if not any(subtitles.is_cjk(char) for char in cue.text)]
        warning = (
            f"{len(cues) - len(kept)} of {len(cues)} subtitles left out: no font on this worker "
            "has Chinese characters (install one, such as Debian's fonts-noto-cjk)"
        )
        return _Drawable(kept, latin if kept else None), [warning]
    font = cjk if needs_cjk else latin or cjk
    if font is None:
        return _Drawable([], None), ["subtitles left out: this worker has no fonts"]
    return _Drawable(cues, font), []


def _command(
    size: tuple[int, int], filters: list[str], inputs: list[str], count: int, threads: int
) -> list[str]:
    tags = "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
    graph = f"[0:v]{tags}"
    for piece in filters:
        # A filter with a second input needs its first one named.
        graph += f"[v];[v]{piece}" if piece.startswith("[") else f",{piece}"
    return [
        imageio_ffmpeg.get_ffmpeg_exe(),
        *("-nostdin", "-v", "error", "-y", "-threads", str(threads)),
        *("-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{size[0]}x{size[1]}"),
        *("-r", str(FPS), "-i", "pipe:0"),
        *("-i", "sound", *inputs),
        *("-filter_complex", f"{graph},format=yuv420p[out]", "-map", "[out]", "-map", "1:a:0"),
        *("-frames:v", str(count), "-c:v", "libx264", "-preset", PRESET, "-crf", CRF),
        *("-profile:v", "high", "-threads", str(threads), "-g", str(FPS * 2)),
        *("-c:a", "aac", "-ar", "48000", "-ac", "2", "-b:a", "128k"),
        *("-map_metadata", "-1", "-movflags", "+faststart", "-f", "mp4", "video.mp4"),
    ]


def _run(command: list[str], frames: Iterable[bytes], folder: Path, timeout: float) -> None:
    """Feed frames to ffmpeg while it encodes, and end it when its time is over."""
    with (folder / "ffmpeg.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=log, stderr=log
        )
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        killer = threading.Timer(max(0.1, timeout), expire)
        killer.start()
        try:
            _feed(process, frames)
            process.wait()
        finally:
            killer.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()
    if expired.is_set():
        raise TimeoutError
    if process.returncode != 0:
        lines = (folder / "ffmpeg.log").read_text(errors="replace").strip().splitlines()
        raise RenderError(f"ffmpeg ended with {process.returncode}: {' | '.join(lines[-3:])}")


def _feed(process: subprocess.Popen[bytes], frames: Iterable[bytes]) -> None:
    """Write frames from a thread of their own, so that the next is made while one is written."""
    if process.stdin is None:
        raise RenderError("ffmpeg has no input")
    waiting: queue.Queue[bytes | None] = queue.Queue(maxsize=6)
    pipe = process.stdin

    def write() -> None:
        broken = False
        while (frame := waiting.get()) is not None:
            if not broken:
                try:
                    pipe.write(frame)
                except OSError:  # ffmpeg has gone; its exit code and log say why
                    broken = True
        with contextlib.suppress(OSError):
            pipe.close()

    writer = threading.Thread(target=write, name="frames")
    writer.start()
    try:
        for frame in frames:
            if process.poll() is not None:
                break
            waiting.put(frame)
    finally:
        waiting.put(None)
        writer.join()
