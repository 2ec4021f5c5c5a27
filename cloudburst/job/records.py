"""Scenes as plain values from elsewhere: dicts of a program, rows of a table, lines of JSON.

They may have the keys of the original tool and of its successor; what comes out has only ours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from cloudburst import userpath
from cloudburst.job import located
from cloudburst.job.schema import SCENE_ALIASES
from cloudburst.job.tree import (
    MAX_DEPTH,
    MAX_NODES,
    Fault,
    Path,
    Shape,
    SourceError,
    Tree,
    Written,
    resolved,
)
from cloudburst.language import tr
from cloudburst.section import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    Records = Mapping[str, Any] | Sequence[Mapping[str, Any]]

# What the original did when `enable_zoom` was set.
ZOOM = ["zoom_in", "zoom_out"]
_FILES = ("image", "audio", "subtitle", "watermark", "font")


def effective_key(key: str) -> str:
    """Return the key of scenes.yaml that a record's key sets; an unknown one as it is."""
    return "effects" if key == "enable_zoom" else SCENE_ALIASES.get(key, key)


def scene(record: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return a record as a scene of scenes.yaml.

    Args:
        record: with our keys, the original's or its successor's.

    Returns:
        The scene, and what is wrong with its keys, as (key, message).
    """
    values: dict[str, Any] = {}
    wrong: list[tuple[str, str]] = []
    written: dict[str, str] = {}
    for key, value in record.items():
        ours = effective_key(key)
        if ours in written:
            first = written[ours]
            text = tr("got both {first} and {key}; expected one of them", first=first, key=key)
            wrong.append((key, text))
            continue
        written[ours] = key
        if key == "enable_zoom" and not isinstance(value, bool):
            wrong.append((key, tr("got {value}; expected true or false", value=show(value))))
        elif key == "enable_zoom":
            values[ours] = list(ZOOM) if value else []
        else:
            values[ours] = value
    return values, wrong


def tree(source: Records, shape: Shape = None) -> Tree:
    """Return a program's job or list of scenes as a document without lines.

    Args:
        source: a mapping as in scenes.yaml, or a sequence of scenes.
        shape: where it has text: a number there is written as one.

    Raises:
        SourceError: it is too large, or nested too deep.
    """
    faults: list[Fault] = []
    whole = source if isinstance(source, Mapping) else {"scenes": source}
    document: dict[str, Any] = {"version": 1} | _Plain(faults).mapping(whole, ())
    faults = [fault._replace(path=_with_our_key(fault.path)) for fault in faults]
    scenes = document.get("scenes")
    if isinstance(scenes, list):
        for index, item in enumerate(scenes):
            if isinstance(item, dict):
                scenes[index], wrong = scene(item)
                faults += [Fault(("scenes", index, key), 0, text) for key, text in wrong]
    return Tree(resolved(document, shape), {(): 0}, faults)


def _with_our_key(path: Path) -> Path:
    """Return the path that a value of a scene has once its keys are ours."""
    if len(path) > len(("scenes", 0)) and path[0] == "scenes":
        scenes, index, key, *rest = path
        return (scenes, index, SCENE_ALIASES.get(str(key), key), *rest)
    return path


class _Plain:
    """Makes values plain: what scenes.yaml could hold."""

    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults
        self._nodes = 0

    def value(self, value: object, path: Path) -> object:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise SourceError(0, tr("more than {most} values", most=MAX_NODES))
        if len(path) > MAX_DEPTH:
            raise SourceError(0, tr("nested deeper than {most} levels", most=MAX_DEPTH))
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            # Plain ones: numbers of NumPy and `IntEnum`s are no numbers for YAML.
            plain = int(value) if isinstance(value, int) else float(value)
            return Written(str(plain), plain)
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, Mapping):
            return self.mapping(value, path)
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
            return [self.value(item, (*path, index)) for index, item in enumerate(value)]
        message = tr(
            "got a value of type {kind}; expected text, a path, a number, a list or a dict",
            kind=type(value).__name__,
        )
        self._faults.append(Fault(path, 0, message))
        return None

    def mapping(self, value: Mapping[Any, Any], path: Path) -> dict[str, object]:
        return {str(key): self.value(item, (*path, str(key))) for key, item in value.items()}

    def _text(self, text: str, path: Path) -> str:
        if not is_unicode(text):
            message = tr("got {value}; expected text in Unicode", value=show(text))
            self._faults.append(Fault(path, 0, message))
        # A plain one: `StrEnum`s and the like are text for what reads them, not for YAML.
        return str.__str__(text)


def is_unicode(text: str) -> bool:
    """Whether a text can be written to a file: a lone surrogate, as of odd file names, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def absolute(document: Mapping[str, Any], base: os.PathLike[str]) -> dict[str, Any]:
    """Return a checked document with absolute paths: it means the same in any folder.

    Args:
        document: as in scenes.yaml.
        base: where its relative paths start.
    """
    whole = dict(document)
    if "defaults" in whole:
        whole["defaults"] = _absolute(whole["defaults"], base)
    whole["scenes"] = [_absolute(item, base) for item in whole["scenes"]]
    directory = whole.get("output", {}).get("directory")
    if directory is not None:
        path = userpath.absolute(directory, FilePath(base))
        whole["output"] = {**whole["output"], "directory": str(path)}
    return whole


def _absolute(section: Mapping[str, Any], base: os.PathLike[str]) -> dict[str, Any]:
    return dict(_absolute_items(section, base))


def _absolute_items(
    section: Mapping[str, Any], base: os.PathLike[str]
) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        is_file = key in _FILES and isinstance(value, str)
        is_file = is_file and (key != "font" or located.is_font_file(value))
        yield key, str(located.locate(FilePath(base), value)) if is_file else value
