"""The user's own configuration: a TOML file whose keys stand for environment variables.

``~/.config/cloudburst/config.toml``, or what ``CLOUDBURST_CONFIG`` names. The values of a table
``[profiles.x]`` win over those above it when the profile is chosen. Whatever is set in the
environment, in ``.env``, in scenes.yaml or as an option wins over the file.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from cloudburst import userpath
from cloudburst.errors import BadInput
from cloudburst.language import VARIABLE as LANGUAGE
from cloudburst.language import tr
from cloudburst.models import Problem

FILE, PROFILE = "CLOUDBURST_CONFIG", "CLOUDBURST_PROFILE"
# Key → the variable that it stands for.
KEYS = {
    "target": "CLOUDBURST_TARGET",
    "output": "RESULTS_DIR",
    "max_cost_usd": "CLOUDBURST_MAX_COST_USD",
    "max_cost_usd_month": "CLOUDBURST_MAX_COST_USD_MONTH",
    "language": LANGUAGE,
    "fonts": "CLOUDBURST_FONTS",
    "state": "CLOUDBURST_STATE",
    "cache": "CLOUDBURST_CACHE",
    "aws_profile": "AWS_PROFILE",
    "region": "AWS_REGION",
}
_NUMBERS = {"max_cost_usd", "max_cost_usd_month"}
_FOLDERS = {"output", "state", "cache"}
# Read from the process's own environment, by modules that know of no file.
_DIRECT = ("language", "fonts", "state", "cache")


class Setting(NamedTuple):
    """A value of the file.

    Args:
        value: as its variable would have it.
        file: which file.
        line: 1-based.
    """

    value: str
    file: str
    line: int


def settings() -> dict[str, Setting]:
    """Return what the file sets, with the chosen profile's values on top, by variable.

    Raises:
        BadInput: the file, or the name of the profile, cannot be used; with every reason.
    """
    path = _path()
    if path is None:
        return {}
    return _settings(path, _stamp(path), os.environ.get(PROFILE, ""))


def variables() -> dict[str, str]:
    """Return what the file sets, by variable; see `settings`."""
    return {name: setting.value for name, setting in settings().items()}


def profiles() -> list[str]:
    """Return the names of the file's profiles; none where it cannot be read."""
    path = _path()
    try:
        found = tomllib.loads(path.read_text("utf-8")).get("profiles") if path else None
    except (OSError, ValueError):
        return []
    return sorted(found) if isinstance(found, dict) else []


def apply() -> None:
    """Set the variables that are read from the environment itself, unless they are set.

    Raises:
        BadInput: see `settings`.
    """
    known = settings()
    for key in _DIRECT:
        name = KEYS[key]
        if name in known and not os.environ.get(name):
            os.environ[name] = known[name].value


def _path() -> Path | None:
    named = os.environ.get(FILE)
    if named:
        return userpath.absolute(named)
    home = os.environ.get("XDG_CONFIG_HOME", "")
    try:
        folder = Path(home) if Path(home).is_absolute() else userpath.absolute("~/.config")
    except userpath.NoHomeError:
        return None
    path = folder / "cloudburst" / "config.toml"
    return path if path.is_file() else None


def _stamp(path: Path) -> tuple[int, int]:
    """Return what changes with a file; nothing for one that cannot be seen."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


@cache
def _settings(path: Path, _stamp: tuple[int, int], wanted: str) -> dict[str, Setting]:
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(
            [Problem(str(path), 0, "", tr("cannot be read: {reason}", reason=reason))]
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput([_syntax(path, text, str(error))]) from error
    return _File(path, text, document).settings(wanted)


def _syntax(path: Path, text: str, message: str) -> Problem:
    place = re.search(r" \(at line (\d+), column \d+\)$| \(at end of document\)$", message)
    line = int(place[1]) if place and place[1] else len(text.splitlines())
    why = message[: place.start()] if place else message
    return Problem(str(path), line, "", tr("not TOML: {reason}", reason=why))


class _File:
    """A configuration that has been read, while it is checked."""

    def __init__(self, path: Path, text: str, document: dict[str, Any]) -> None:
        self._path = path
        self._lines = _lines(text)
        self._document = document
        self._wrong: list[Problem] = []

    def settings(self, wanted: str) -> dict[str, Setting]:
        document = dict(self._document)
        profiles = document.pop("profiles", {})
        if not isinstance(profiles, dict):
            self._problem(("profiles",), tr("got {value!r}; expected tables", value=profiles))
            profiles = {}
        chosen = document.pop("profile", "")
        found = self._table((), document, extra=("profile", "profiles"))
        named = {name: self._table(("profiles", name), table) for name, table in profiles.items()}
        name = wanted or chosen
        if name and name not in named:
            self._unknown_profile(name, sorted(named), given=bool(wanted))
        if self._wrong:
            raise BadInput(sorted(self._wrong, key=lambda problem: problem.line))
        return {**found, **named.get(name, {})}

    def _unknown_profile(self, name: Any, known: list[str], *, given: bool) -> None:
        message = tr(
            "got {value!r}; expected one of the profiles: {known}",
            value=name,
            known=", ".join(known) or tr("none yet"),
        )
        if given:
            self._wrong.append(Problem(str(self._path), 0, PROFILE, message))
        else:
            self._problem(("profile",), message)

    def _table(
        self, place: tuple[str, ...], table: Any, extra: tuple[str, ...] = ()
    ) -> dict[str, Setting]:
        if not isinstance(table, dict):
            self._problem(place, tr("got {value!r}; expected a table", value=table))
            return {}
        found = {}
        for key, value in table.items():
            at = (*place, key)
            if key not in KEYS:
                self._problem(at, _unknown(key, (*KEYS, *extra)))
            elif (text := _text(key, value)) is None:
                expected = tr("a number above 0") if key in _NUMBERS else tr("text")
                message = tr("got {value!r}; expected {expected}", value=value, expected=expected)
                self._problem(at, message)
            else:
                found[KEYS[key]] = Setting(text, str(self._path), self._line(at))
        return found

    def _line(self, place: tuple[str, ...]) -> int:
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)

    def _problem(self, place: tuple[str, ...], message: str) -> None:
        problem = Problem(str(self._path), self._line(place), ".".join(place), message)
        self._wrong.append(problem)


def _text(key: str, value: Any) -> str | None:
    """Return a value as its variable would have it, None for one that cannot be used."""
    if key in _NUMBERS:
        usable = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        return str(value) if usable else None
    if not isinstance(value, str) or not value:
        return None
    return userpath.expanded(value) if key in _FOLDERS else value


def _unknown(key: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return tr("unknown key; did you mean {key}?", key=close[0])
    return tr("unknown key; expected one of: {keys}", keys=", ".join(known))


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """Return where each key and table of a TOML file is written: tomllib does not say."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line)
        assigned = re.match(r"\s*([\w\"'.\- ]+?)\s*=", line)
        if header:
            table = _parts(header[1])
            found.setdefault(table, number)
        elif assigned:
            found.setdefault((*table, *_parts(assigned[1])), number)
    return found


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
