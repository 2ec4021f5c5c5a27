"""What people read, in their language: English, or Chinese by the catalogue below `locale/`.

English is in the code and loads nothing. Only texts for people pass through here: never keys,
codes, states or any other value that a program reads.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ENGLISH, CHINESE = "en", "zh"
VARIABLE = "CLOUDBURST_LANG"
# The first that is set wins, as in POSIX.
_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")


def tr(message: str, /, **values: object) -> str:
    """Return a message in the user's language.

    Args:
        message: in English, with `str.format` placeholders.
        values: for the placeholders.
    """
    text = _catalogue(language()).get(message, message)
    return text.format(**values) if values else text


def ntr(one: str, many: str, count: int, /, **values: object) -> str:
    """Return a message that depends on a number, in the user's language.

    Args:
        one: in English, for a single thing.
        many: in English, for any other number.
        count: the number; also the placeholder ``count``.
        values: for the other placeholders.
    """
    english = one if count == 1 else many
    return _catalogue(language()).get(one, english).format(count=count, **values)


def later(message: str, /) -> str:
    """Return a message unchanged: it enters the catalogue here, and `tr` translates it later."""
    return message


@cache
def language() -> str:
    """Return the user's language, decided once: `CLOUDBURST_LANG`, else the locale's."""
    return chosen(os.environ)


def chosen(environment: Mapping[str, str]) -> str:
    """Return the language that an environment asks for; English for any without a catalogue."""
    names = (VARIABLE, *_LOCALE)
    wanted = next((environment[name] for name in names if environment.get(name)), "")
    return CHINESE if wanted.lower().startswith(CHINESE) else ENGLISH


def catalogue_path(name: str) -> Path:
    """Return the file of a language's catalogue."""
    return Path(__file__).parent / "locale" / name / "LC_MESSAGES" / "cloudburst.po"


@cache
def _catalogue(name: str) -> Mapping[str, str]:
    """Return the translations of a language by their English messages; none for English."""
    if name == ENGLISH:
        return {}
    import polib  # noqa: PLC0415 - English loads nothing

    entries = polib.pofile(str(catalogue_path(name)), encoding="utf-8").translated_entries()
    return {entry.msgid: entry.msgstr or entry.msgstr_plural[0] for entry in entries}
