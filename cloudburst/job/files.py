"""The files that scenes.yaml names: each is opened once, and every narration measured."""

from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from cloudburst import media, userpath
from cloudburst.job import located
from cloudburst.language import later, tr
from cloudburst.videoapi import subtitles
from cloudburst.videoapi.typefaces import lettering

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cloudburst.job import tree

MAX_PICTURE_BYTES = 64 * 1024**2
MAX_AUDIO_BYTES = 256 * 1024**2
MAX_SUBTITLE_BYTES = subtitles.MAX_BYTES

MAX_FONT_BYTES = lettering.MAX_FONT_BYTES

_OPTIONS = ("watermark", "font")
_FIELDS = ("image", "audio", "subtitle", *_OPTIONS)


class Probe(NamedTuple):
    """What one referenced file turned out to be."""

    error: str | None = None
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    ink: media.Ink | None = None


def _references(raw: dict[str, object]) -> Iterator[tuple[tree.Path, str, str]]:
    """Return every file the document names, as (path of the value, field, text)."""
    defaults = raw.get("defaults")
    yield from _named(defaults, ("defaults",), _OPTIONS)
    scenes = raw.get("scenes")
    for index, scene in enumerate(scenes if isinstance(scenes, list) else []):
        yield from _named(scene, ("scenes", index), _FIELDS)


def _named(
    section: object, at: tree.Path, fields: tuple[str, ...]
) -> Iterator[tuple[tree.Path, str, str]]:
    for field in fields:
        text = section.get(field) if isinstance(section, dict) else None
        # The name of a font is no file.
        if isinstance(text, str) and (field != "font" or located.is_font_file(text)):
            yield (*at, field), field, text


def probe(raw: dict[str, object], base: Path, base_name: str) -> dict[tuple[str, str], Probe]:
    """Open every file that a document names.

    Files are opened whether or not the document's shape is right, so that all problems are
    reported together.

    Args:
        raw: the document.
        base: the folder where relative paths start.
        base_name: what they are relative to, for people.

    Returns:
        What each file is, by its field and its text.
    """
    # Once, however many scenes share it; in threads, as decoders release the interpreter's lock.
    wanted = sorted({(field, text) for _, field, text in _references(raw)})
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda item: _probe(item[0], base, item[1], base_name), wanted)
        return dict(zip(wanted, results, strict=True))


def _probe(field: str, base: Path, text: str, base_name: str) -> Probe:
    if not text or any(unicodedata.category(char) == "Cc" for char in text):
        return Probe()  # reported with the shape
    try:
        path = located.locate(base, text)
        problem = _no_file(path, base, text, base_name)
        return Probe(problem) if problem else _CHECKS[field](path)
    except (media.MediaError, lettering.FontError) as error:
        kind = tr(_KINDS[field])
        return Probe(tr("{file}: {error}; expected {kind}", file=text, error=error, kind=kind))
    except userpath.NoHomeError as error:
        return Probe(tr("{file}: {reason}", file=text, reason=error))
    except OSError as error:
        return Probe(tr("{file} cannot be read: {reason}", file=text, reason=reason(error)))
    except Exception as error:  # noqa: BLE001 - what decoders raise at damaged files is theirs
        kind = tr(_KINDS[field])
        return Probe(
            tr("{file}: damaged ({error}); expected {kind}", file=text, error=error, kind=kind)
        )


def _no_file(path: Path, base: Path, text: str, base_name: str) -> str | None:
    """Return why there is no file to be opened, None if there is one."""
    if path.is_dir():
        return tr("{file} is a folder; expected a file", file=text)
    if not path.exists():
        return _not_found(path, base, text, base_name)
    if not path.is_file():
        return tr("{file} is not a regular file", file=text)
    if path.stat().st_size == 0:
        raise media.MediaError(tr("the file is empty"))
    return None


def _not_found(path: Path, base: Path, text: str, base_name: str) -> str:
    """Return that a file does not exist, and which one may have been meant."""
    if path.is_symlink():
        there = path.readlink()
        return tr("{file} is a link to {target}, which does not exist", file=text, target=there)
    message = tr(
        "file not found: {file} (paths are relative to {source})", file=text, source=base_name
    )
    hint = located.hint(base, text)
    return tr("{problem}; {hint}", problem=message, hint=hint) if hint else message


def _check_picture(path: Path) -> Probe:
    _check_size(path, MAX_PICTURE_BYTES)
    picture = media.inspect_picture(path)
    return Probe(warnings=picture.warnings, ink=picture.ink)


def _check_audio(path: Path) -> Probe:
    _check_size(path, MAX_AUDIO_BYTES)
    sound = media.checked_sound(media.measure(path))
    return Probe(seconds=sound.seconds, warnings=sound.warnings)


def _check_subtitle(path: Path) -> Probe:
    _check_size(path, MAX_SUBTITLE_BYTES)
    return Probe()  # cloudburst.job.subtitles reads it, once the narrations are measured


def _check_font(path: Path) -> Probe:
    _check_size(path, MAX_FONT_BYTES)
    lettering.check_font(path.read_bytes())
    return Probe()


def _check_size(path: Path, most: int) -> None:
    size = path.stat().st_size
    if size > most:
        raise media.MediaError(
            tr(
                "{size:.0f} MiB; the limit is {most} MiB",
                size=size / 1024**2,
                most=most // 1024**2,
            )
        )


_CHECKS = {
    "image": _check_picture,
    "audio": _check_audio,
    "subtitle": _check_subtitle,
    "watermark": _check_picture,
    "font": _check_font,
}
SUBTITLES = later("subtitles (SRT, WebVTT, ASS or LRC)")
_KINDS = {
    "image": later("a picture (PNG, JPEG, WebP …)"),
    "audio": later("an audio file (WAV, MP3, M4A …)"),
    "subtitle": SUBTITLES,
    "watermark": later("a picture (PNG with alpha is best)"),
    "font": later("a font (TTF, OTF or TTC)"),
}


def problems(
    raw: dict[str, object], probes: dict[tuple[str, str], Probe]
) -> Iterator[tuple[tree.Path, str]]:
    """Return what is wrong with the files that a document names, as (path, message)."""
    for path, field, text in _references(raw):
        error = probes[field, text].error
        if error:
            yield path, error


def warnings(
    raw: dict[str, object], probes: dict[tuple[str, str], Probe]
) -> Iterator[tuple[tree.Path, str]]:
    """Return what is unusual about the files that a document names, as (path, message)."""
    for path, field, text in _references(raw):
        for warning in probes[field, text].warnings:
            yield path, tr("{file}: {warning}", file=text, warning=warning)


def reason(error: Exception) -> str:
    """Return why a file cannot be used, without its name."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
