"""Render one scene to one MP4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudburst import media
from cloudburst.language import tr
from cloudburst.videoapi import canvas, encode, motion, quality, subtitles
from cloudburst.videoapi.typefaces import fonts, lettering, scripts

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.videoapi.ffmpeg import Deadline


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
        encode.moving(scene, moving, folder, deadline)
    else:
        encode.still(scene, folder, deadline)
    return folder / "video.mp4", warnings


def _read(
    request: Request, folder: Path, moving: str | None, threads: int
) -> tuple[encode.Scene, list[str]]:
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
    is_zoom = moving is not None and not motion.is_pan(moving)
    scene = encode.Scene(
        planes=motion.source(planes, moving) if moving else planes,
        drawn=is_zoom and motion.is_drawing(planes[0]),
        size=size,
        count=encode.frame_count(sound.seconds),
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
