"""Render one scene to one MP4."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cloudburst import media
from cloudburst.language import tr
from cloudburst.videoapi import canvas, ffmpeg, motion, quality, still, subtitles
from cloudburst.videoapi.ffmpeg import Deadline, RenderError
from cloudburst.videoapi.typefaces import fonts, lettering, scripts

FPS = 30
# Frames by which x264 decodes moving pictures ahead of showing them, with B-frames as references.
# Stills have the same delay, so that decoding times stay in order where one follows the other.
_DELAY = 2
# Frames between `motion.frames` and ffmpeg: those queued, one being written, one blocked on the
# full queue, one being drawn.
_BUFFERS = ffmpeg.WAITING_FRAMES + 3


class UnrenderableRequest(ValueError):
    """The request cannot be rendered; a retry cannot help."""


@dataclass(frozen=True, slots=True)
class Request:
    """The decoded fields of the protocol.

    Args:
        image: bytes of a picture.
        audio: bytes of a sound file.
        subtitle: bytes of a subtitle file.
        subtitle_encoding: its encoding; None finds it out.
        subtitle_checked: the client knows what is odd about it; no warnings of that.
        subtitle_missing: characters of it for which the client has no font, and warned of that.
        font: a font file, or the name of a family, that draws them; None leaves it to the text.
        font_missing: the client has no font of this name, and warned of that.
        effects: camera motions, one of which is chosen.
        language: of the subtitles: ``chinese``, ``english`` or a BCP 47 tag; decides the shapes of
            Chinese characters and where lines are broken.
        background_box: box behind the subtitles.
        background_opacity: its transparency, 0 (solid) to 1 (clear).
        font_size: pixels, or None.
        outline_color: ASS colour.
        is_portrait: None takes the picture's orientation.
        watermark: bytes of a picture.
        background_color: ``#RRGGBB`` or a name, behind transparent parts and beside the picture.
        quality: one of `quality.QUALITIES`.
        effort: one of `quality.EFFORTS`: how much CPU for how few bytes.
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
    background_color: str = "black"
    quality: str = "normal"
    effort: str = "low"
    subtitle_encoding: str | None = None
    subtitle_checked: bool = False
    subtitle_missing: str = ""
    font: bytes | str | None = None
    font_missing: bool = False

    @property
    def scenario(self) -> str:
        """The protocol's name for this combination of options."""
        if self.subtitle is not None:
            return "full_featured" if self.effects else "subtitles_only"
        return "effects_only" if self.effects else "baseline"


@dataclass(frozen=True, slots=True)
class _Scene:
    """A request with its inputs decoded.

    Args:
        planes: Y, U and V of the canvas, or what motion draws from, see `motion.source`.
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
    size: tuple[int, int]
    count: int
    cues: list[subtitles.Drawn]
    style: subtitles.Style | None
    watermark: bool
    threads: int
    goal: quality.Goal
    effort: str


def render(
    request: Request, folder: Path, deadline: Deadline, *, threads: int
) -> tuple[Path, list[str]]:
    """Render a scene.

    Args:
        request: the scene.
        folder: empty folder for this scene; contains the video afterwards.
        deadline: time limit of the render.
        threads: encoder threads.

    Returns:
        The path of the video, and warnings about options that could not be applied.

    Raises:
        UnrenderableRequest: the picture, sound or subtitles cannot be used.
        RenderError: ffmpeg failed, exceeded its time, or the client disconnected.
    """
    moving = motion.choose(request.effects)
    try:
        scene, warnings = _read(request, folder, moving, threads)
    except (media.MediaError, subtitles.SubtitleError, lettering.FontError) as error:
        raise UnrenderableRequest(str(error)) from error
    deadline.check()
    if moving:
        _render_moving(scene, moving, folder, deadline)
    else:
        try:
            _render_still(scene, folder, deadline)
        except still.StillUnsupportedError:
            _render_every_frame(scene, folder, deadline)
    return folder / "video.mp4", warnings


def frame_count(seconds: float) -> int:
    """Return the number of frames for a narration of so many seconds.

    The picture does not end before the sound: `ffmpeg -f concat` lets a clip begin when the longer
    stream of the one before ends, and a frame has to end there.
    """
    return max(1, math.ceil(round(seconds * FPS, 6)))


def _read(
    request: Request, folder: Path, moving: str | None, threads: int
) -> tuple[_Scene, list[str]]:
    decoded = media.read_picture(request.image)
    picture = decoded.image
    size = canvas.size_for(picture, portrait=request.is_portrait)
    (folder / "sound").write_bytes(request.audio)
    sound = media.checked_sound(media.decode_sound(folder / "sound", folder / "sound.pcm"))
    (folder / "sound").unlink()
    if request.watermark is not None:
        mark = canvas.watermark(media.read_picture(request.watermark).image, size)
        (folder / "watermark.png").write_bytes(mark)
    cues, style, notes = _subtitles(request, size, folder, sound.seconds)
    canvas_size = motion.canvas_size(moving, size) if moving else size
    planes = canvas.planes(picture, canvas_size, request.background_color)
    scene = _Scene(
        planes=motion.source(planes, moving) if moving else planes,
        size=size,
        count=frame_count(sound.seconds),
        cues=cues,
        style=style,
        watermark=request.watermark is not None,
        threads=threads,
        goal=quality.GOALS[request.quality],
        effort=request.effort,
    )
    return scene, [*_about_picture(decoded, request), *sound.warnings, *notes]


def _about_picture(picture: media.Picture, request: Request) -> list[str]:
    lost = picture.ink is not None and picture.ink.is_lost_on(request.background_color)
    return [*picture.warnings, *([media.lost_ink()] if lost else [])]


def _subtitles(
    request: Request, size: tuple[int, int], folder: Path, seconds: float
) -> tuple[list[subtitles.Drawn], subtitles.Style | None, list[str]]:
    """Lay out the subtitles, and put their fonts into a folder; return warnings about them, too."""
    if request.subtitle is None:
        return [], None, []
    parsed, noticed = _parsed(request, request.subtitle, seconds)
    text = "".join(cue.text for cue in parsed)
    language = scripts.language_of(text, request.language)
    first = lettering.own(request.font, language)
    faces = lettering.faces(text, language, first)
    faces.install(folder)
    style = _style(request, size, faces, language)
    drawable, warnings = _drawable(parsed, faces.missing, request.subtitle_missing)
    if isinstance(request.font, str) and first is None and not request.font_missing:
        used = lettering.instead(text, request.language)
        warnings.insert(0, lettering.no_such_font(request.font, tr("this worker"), used))
    if style is None:
        return [], None, [*noticed, *warnings]
    cues, notes = subtitles.draw(drawable, style)
    return cues, style, [*noticed, *warnings, *notes]


def _parsed(request: Request, data: bytes, seconds: float) -> tuple[list[subtitles.Cue], list[str]]:
    """Return the cues, and what was repaired, guessed or left out, unless the client knows."""
    found = subtitles.read(
        data, encoding=request.subtitle_encoding, language=request.language, seconds=seconds
    )
    lines = [
        tr("subtitles, line {line}: {message}", line=notice.line, message=notice.message)
        for notice in found.notices
    ]
    return list(found.cues), [] if request.subtitle_checked else lines


def _style(
    request: Request, size: tuple[int, int], faces: fonts.Faces, language: str
) -> subtitles.Style | None:
    if faces.main is None:
        return None
    return subtitles.Style(
        width=size[0],
        height=size[1],
        font=faces.main.family,
        measure=faces.width,
        runs=faces.runs,
        font_size=request.font_size,
        box=request.background_box,
        transparency=request.background_opacity,
        outline_color=request.outline_color,
        language=language,
    )


def _drawable(
    cues: list[subtitles.Cue], missing: str, reported: str
) -> tuple[list[subtitles.Cue], list[str]]:
    """Return the cues without the characters that no font has, and a warning about those.

    Args:
        cues: as they are written.
        missing: characters that no font has.
        reported: those of which the client has warned.
    """
    without = {ord(char): None for char in missing}
    drawable = [
        subtitles.Cue(cue.start, cue.end, text)
        for cue in cues
        if (text := cue.text.translate(without).strip())
    ]
    new = "".join(char for char in missing if char not in reported)
    return drawable if missing else cues, [_left_out(new)] if new else []


def _left_out(chars: str) -> str:
    return tr(
        "characters left out of the subtitles, no font on this worker has them: {names}; "
        "CLOUDBURST_FONTS can name a folder with a font that does",
        names=lettering.named(chars),
    )


# -- moving pictures ----------------------------------------------------------------------------


def _render_moving(scene: _Scene, moving: str, folder: Path, deadline: Deadline) -> None:
    """Draw every frame while ffmpeg encodes; on the GPU where NVENC works."""

    def encode(encoder: list[str]) -> None:
        frames = motion.frames(scene.planes, moving, scene.size, scene.count, _BUFFERS)
        arguments = [
            *_inputs(scene),
            *_graph(scene, _write_cues(scene, folder, scene.cues)),
            *("-map", "1:a:0", *_SOUND, "-frames:v", str(scene.count), *encoder),
            *_VIDEO,
        ]
        ffmpeg.run(arguments, folder, deadline, frames)

    if ffmpeg.has_nvenc():
        try:
            encode(quality.nvenc(scene.goal))
        except RenderError:
            deadline.check()  # out of time or cancelled: another encoder cannot help
        else:
            return
    measure = functools.partial(_measure, scene, moving, folder, deadline)
    chosen = quality.decide(measure, scene.goal, scene.effort)
    encode([*_x264(scene.threads), *quality.moving(*chosen)])


def _measure(
    scene: _Scene, moving: str, folder: Path, deadline: Deadline, search: str
) -> tuple[quality.Sample, quality.Sample] | None:
    return quality.probe(
        scene.planes,
        moving,
        scene.size,
        scene.count,
        fps=FPS,
        search=search,
        folder=folder,
        deadline=deadline,
        encoder=_x264(scene.threads),
    )


# -- still pictures -----------------------------------------------------------------------------


def _render_still(scene: _Scene, folder: Path, deadline: Deadline) -> None:
    """Encode each picture once and repeat it; see `still`.

    Raises:
        StillUnsupportedError: this x264 does not write the stream that `still` expects.
    """
    changes, texts = _states(scene)
    parts = still.segments(changes, scene.count)
    encoded = still.encoded(parts)
    # Only the first frame of each segment is encoded: its cue spans just that frame's time.
    cues = [
        subtitles.Drawn((index - 0.5) / FPS, (index + 0.5) / FPS, text)
        for index, part in enumerate(encoded)
        if (text := texts[part.state])
    ]
    keys = ",".join(f"{(i - 0.4) / FPS:.4f}" for i, part in enumerate(encoded) if part.key and i)
    arguments = [
        *_inputs(scene),
        *_graph(scene, _write_cues(scene, folder, cues), loop=True),
        *("-frames:v", str(len(encoded)), *_x264(scene.threads)),
        *quality.still_picture("-crf", str(scene.goal.crf)),
        *(("-force_key_frames", keys) if keys else ()),
        *("-f", "h264", "pictures.h264"),
        *("-map", "1:a:0", *_SOUND, "-f", "mp4", "sound.m4a"),
    ]
    skips = _skips(scene.size, scene.threads)
    ffmpeg.run(arguments, folder, deadline, [_frame(scene)])
    stream = list(skips.assemble((folder / "pictures.h264").read_bytes(), parts))
    arguments = [
        *("-framerate", str(FPS), "-f", "h264", "-i", "pipe:0", "-i", "sound.m4a"),
        *("-map", "0:v", "-map", "1:a", "-c", "copy"),
        # A raw stream has no timestamps; those of ffmpeg's demuxer make the last frame too short.
        *("-bsf:v", f"setts=pts=N/{FPS}/TB:dts=(N-{_DELAY})/{FPS}/TB:duration=1/{FPS}/TB"),
        *_VIDEO,
    ]
    ffmpeg.run(arguments, folder, deadline, stream)


def _frame(scene: _Scene) -> bytes:
    return b"".join(plane.tobytes() for plane in scene.planes)


def _states(scene: _Scene) -> tuple[list[int], list[str]]:
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


@functools.lru_cache(maxsize=4)
def _skips(size: tuple[int, int], threads: int) -> still.Skips:
    """Return the slices that repeat a picture, from encodings of black, once per size.

    Raises:
        StillUnsupportedError: the slices are not as expected.
    """
    luma = bytes([16]) * (size[0] * size[1])
    black = luma + bytes([128]) * (size[0] * size[1] // 2)
    with TemporaryDirectory(prefix="cloudburst-") as name:
        folder = Path(name)
        arguments = [
            *_raw(size),
            *("-vf", f"loop=loop=-1:size=1,{_TAGS}", "-frames:v", str(still.PERIOD + 3)),
            *(*_x264(threads), *quality.still_picture("-qp", "20")),
            *("-f", "h264", "black.h264"),
        ]
        ffmpeg.run(arguments, folder, Deadline(60), [black])
        arguments = [
            *(*_raw(size), "-vf", _TAGS, *_x264(threads), *quality.moving(quality.HIGHEST)),
            *("-f", "h264", "moving.h264"),
        ]
        ffmpeg.run(arguments, folder, Deadline(60), [black])
        streams = [(folder / f"{name}.h264").read_bytes() for name in ("black", "moving")]
        return still.Skips(*streams)


def _render_every_frame(scene: _Scene, folder: Path, deadline: Deadline) -> None:
    """Encode a still frame by frame: slower, but with any encoder."""
    arguments = [
        *_inputs(scene),
        *_graph(scene, _write_cues(scene, folder, scene.cues), loop=True),
        *("-map", "1:a:0", *_SOUND, "-frames:v", str(scene.count)),
        *(*_x264(scene.threads), "-preset", "superfast", "-crf", str(scene.goal.crf + 1)),
        *("-g", str(still.KEY_EVERY)),
        *_VIDEO,
    ]
    ffmpeg.run(arguments, folder, deadline, [_frame(scene)])


# -- ffmpeg arguments ---------------------------------------------------------------------------

_TAGS = "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
# One time base for stills and moving pictures: clips with different ones cannot be joined.
_VIDEO = ["-map_metadata", "-1", "-movflags", "+faststart", "-video_track_timescale", "15360"]
_VIDEO += ["-f", "mp4", "video.mp4"]
_SOUND = ["-c:a", "aac", "-ar", "48000", "-ac", "2", "-b:a", "128k"]


def _raw(size: tuple[int, int]) -> list[str]:
    shape = f"{size[0]}x{size[1]}"
    return ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", shape, "-r", str(FPS), "-i", "pipe:0"]


def _inputs(scene: _Scene) -> list[str]:
    mark = ["-i", "watermark.png"] if scene.watermark else []
    return [*_raw(scene.size), *media.PCM, "-i", "sound.pcm", *mark]


def _x264(threads: int) -> list[str]:
    return ["-c:v", "libx264", "-profile:v", "high", "-threads", str(threads)]


def _write_cues(scene: _Scene, folder: Path, cues: list[subtitles.Drawn]) -> bool:
    """Write the subtitles for ffmpeg; return whether there are any."""
    if scene.style is None or not cues:
        return False
    (folder / "cues.ass").write_text(subtitles.to_ass(cues, scene.style), encoding="utf-8")
    return True


def _graph(scene: _Scene, has_cues: bool, *, loop: bool = False) -> list[str]:
    """Return the filter graph for watermark and subtitles; `loop` repeats the picture endlessly."""
    chain = [*(["loop=loop=-1:size=1"] if loop else []), _TAGS]
    graph = f"[0:v]{','.join(chain)}[picture]"
    last = "picture"
    if scene.watermark:
        graph += f";[{last}][2:v]overlay=x=10:y=10:eof_action=repeat:format=yuv420[marked]"
        last = "marked"
    if has_cues:
        graph += f";[{last}]ass=cues.ass:fontsdir=fonts[titled]"
        last = "titled"
    return ["-filter_complex", f"{graph};[{last}]format=yuv420p[out]", "-map", "[out]"]
