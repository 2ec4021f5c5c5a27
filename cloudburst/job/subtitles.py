"""The subtitle files of a job, read as a worker will: what is wrong with them, and what is odd."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from cloudburst.job import files, located
from cloudburst.job.problems import dotted, one_line
from cloudburst.language import tr
from cloudburst.models import Problem
from cloudburst.videoapi import subtitles
from cloudburst.videoapi.typefaces import lettering

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cloudburst.job.tree import Path as TreePath
    from cloudburst.job.tree import Tree
    from cloudburst.videoapi.typefaces.fonts import Face

_ENCODING = "subtitle_encoding"
_UTF_8 = "utf-8"


class _Wanted(NamedTuple):
    """What decides how a subtitle file is read, and which characters of it can be drawn."""

    file: str
    encoding: str | None
    language: str | None
    seconds: float | None
    font: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading the subtitles of one scene gave.

    Args:
        error: why they cannot be used; None if they can.
        warnings: what was repaired, guessed or left out, each with the file and its line.
        missing: characters that no font of this machine has.
        encoding: of the file; None if it has nothing but ASCII.
        rival: an encoding that fits as well.
        decided: whether the other files of the job decided between the two.
        font: that this machine has no font of the name which the scene asks for, if so.
    """

    error: str | None = None
    warnings: tuple[str, ...] = ()
    missing: str = ""
    encoding: str | None = None
    rival: str | None = None
    decided: bool = False
    font: tuple[str, ...] = ()


def read(
    raw: Mapping[str, object], base: Path, probes: Mapping[tuple[str, str], files.Probe]
) -> dict[int, Reading]:
    """Read the subtitles of every scene whose file could be opened.

    Args:
        raw: the document.
        base: the folder where relative paths start.
        probes: what its files are, with the lengths of the narrations.

    Returns:
        By the scene's index.
    """
    known: dict[_Wanted, Reading] = {}
    readings: dict[int, Reading] = {}
    chosen = functools.cache(functools.partial(_font, base, probes))
    for index, wanted in _wanted(raw, probes):
        if wanted not in known:
            known[wanted] = _read(wanted, base, chosen(wanted.font))
        readings[index] = known[wanted]
    usual = _usual_encoding(known.values())
    for index, wanted in _wanted(raw, probes):
        rival = readings[index].rival
        if rival is not None and usual in {rival, _UTF_8}:
            again = _read(wanted._replace(encoding=usual), base, chosen(wanted.font))
            readings[index] = _decided(wanted.file, again) if usual == rival else again
    return readings


def _decided(file: str, reading: Reading) -> Reading:
    """Return what was read in the encoding of the other files, with a warning if it is a guess."""
    if reading.encoding == _UTF_8:
        return replace(reading, decided=True)
    message = tr(
        "the text may be utf-8 or {encoding}; {encoding} is a guess, by the other files, so look "
        "at the text, and set subtitle_encoding if it is wrong",
        encoding=reading.encoding,
    )
    told = _placed(file, subtitles.Notice(0, message))
    return replace(reading, decided=True, warnings=(told, *reading.warnings))


def _usual_encoding(readings: Iterable[Reading]) -> str | None:
    """Return the one encoding of the files that leave no doubt; None if they differ."""
    clear = {reading.encoding for reading in readings if reading.rival is None} - {None}
    return clear.pop() if len(clear) == 1 else None


def _font(
    base: Path, probes: Mapping[tuple[str, str], files.Probe], text: str | None
) -> Face | None:
    """Return the font that a scene asks for; None if this machine does not have it."""
    if not text or not located.is_font_file(text):
        return lettering.own(text)
    if probes["font", text].error is not None:
        return None  # reported with the files
    try:
        return lettering.own(located.locate(base, text).read_bytes())
    except (OSError, ValueError):
        return None  # it has been removed since


def _wanted(
    raw: Mapping[str, object], probes: Mapping[tuple[str, str], files.Probe]
) -> Iterator[tuple[int, _Wanted]]:
    defaults = raw.get("defaults")
    scenes = raw.get("scenes")
    for index, scene in enumerate(scenes if isinstance(scenes, list) else []):
        if not isinstance(scene, dict) or not isinstance(file := scene.get("subtitle"), str):
            continue
        probe = probes.get(("subtitle", file))
        if probe is None or probe.error or not file:
            continue  # reported with the files
        options = {**(defaults if isinstance(defaults, dict) else {}), **scene}
        encoding, language = options.get(_ENCODING), options.get("language", "chinese")
        sound = probes.get(("audio", str(options.get("audio"))))
        yield (
            index,
            _Wanted(
                file,
                encoding if isinstance(encoding, str) else None,
                language if isinstance(language, str) else None,
                (sound.seconds if sound is not None else 0) or None,
                font if isinstance(font := options.get("font"), str) else None,
            ),
        )


def _read(wanted: _Wanted, base: Path, font: Face | None) -> Reading:
    if wanted.encoding is not None and not subtitles.known_encoding(wanted.encoding):
        return Reading()  # reported with the option
    try:
        found = subtitles.read(
            located.locate(base, wanted.file).read_bytes(),
            encoding=wanted.encoding,
            language=wanted.language,
            seconds=wanted.seconds,
        )
    except subtitles.SubtitleError as error:
        return Reading(
            tr(
                "{file}: {error}; expected {kind}",
                file=wanted.file,
                error=error,
                kind=tr(files.SUBTITLES),
            )
        )
    except (OSError, ValueError) as error:
        why = files.reason(error)
        return Reading(tr("{file} cannot be read: {reason}", file=wanted.file, reason=why))
    missing = lettering.missing(found.cues, font)
    notices = (*found.notices, *([_left_out(missing)] if missing else []))
    warnings = tuple(_placed(wanted.file, notice) for notice in notices)
    return Reading(
        None,
        warnings,
        missing,
        found.encoding,
        found.rival,
        font=_no_font(wanted, found.cues, font),
    )


def _no_font(wanted: _Wanted, cues: Sequence[subtitles.Cue], font: Face | None) -> tuple[str, ...]:
    """Return the warning that there is no font of the name which a scene asks for, if so."""
    if font is not None or not wanted.font or located.is_font_file(wanted.font):
        return ()
    used = lettering.instead("".join(cue.text for cue in cues), wanted.language or "chinese")
    return (lettering.no_such_font(one_line(wanted.font), tr("this machine"), used),)


def _left_out(missing: str) -> subtitles.Notice:
    message = tr(
        "no font on this machine has these characters, and a worker with the same fonts leaves "
        "them out: {names}; CLOUDBURST_FONTS can name a folder with a font that has them",
        names=lettering.named(missing),
    )
    return subtitles.Notice(0, message)


def _placed(file: str, notice: subtitles.Notice) -> str:
    place = f"{file}:{notice.line}" if notice.line else file
    return one_line(f"{place}: {notice.message}")


def problems(
    raw: Mapping[str, object], readings: Mapping[int, Reading]
) -> Iterator[tuple[TreePath, str]]:
    """Return what is wrong with the subtitles of a document, as (path, message)."""
    for path, encoding in _encodings(raw):
        if not subtitles.known_encoding(encoding):
            yield (
                path,
                tr(
                    "unknown encoding {encoding}; expected a name such as utf-8, windows-1252, "
                    "gb18030, big5 or shift_jis",
                    encoding=one_line(encoding),
                ),
            )
    for index, reading in readings.items():
        if reading.error is not None:
            yield ("scenes", index, "subtitle"), reading.error


def _encodings(raw: Mapping[str, object]) -> Iterator[tuple[TreePath, str]]:
    """Return every encoding that a document names."""
    scenes = raw.get("scenes")
    sections: list[tuple[TreePath, object]] = [(("defaults",), raw.get("defaults"))]
    for index, scene in enumerate(scenes if isinstance(scenes, list) else []):
        sections.append((("scenes", index), scene))
    for path, section in sections:
        if isinstance(section, dict) and isinstance(section.get(_ENCODING), str):
            yield (*path, _ENCODING), section[_ENCODING]


def warnings(readings: Mapping[int, Reading], tree: Tree, shown: str) -> tuple[str, ...]:
    """Return what was noticed in the subtitles of a job, a line for each kind and file.

    Args:
        readings: see `read`.
        tree: the document, for the lines.
        shown: the source as the user named it.
    """
    lines: dict[str, str] = {}
    for index, reading in readings.items():
        subtitle: TreePath = ("scenes", index, "subtitle")
        placed = [(subtitle, warning) for warning in reading.warnings]
        placed += [(_font_path(tree, index), warning) for warning in reading.font]
        for path, warning in placed:
            # Scenes that share a file share what is odd about it.
            if warning not in lines:
                lines[warning] = str(Problem(shown, tree.line(path), dotted(path), warning))
    return tuple(lines.values())


def _font_path(tree: Tree, index: int) -> TreePath:
    """Return where a scene's font is written: in the scene, or in the defaults."""
    scenes = tree.value["scenes"] if isinstance(tree.value, dict) else []
    return ("scenes", index, "font") if "font" in scenes[index] else ("defaults", "font")
