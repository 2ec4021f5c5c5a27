"""Environment variables, with defaults from `.env` in the current folder and the user's own file.

The environment wins over `.env`, and that over the file, see `cloudburst.configuration`.
Credentials are taken as a whole from one of them: an access key from one and a secret from another
would not match.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import dotenv
from dotenv.parser import parse_stream

from cloudburst import configuration
from cloudburst.errors import BadInput
from cloudburst.language import tr
from cloudburst.models import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# Passed to Pulumi and used in this process: both must always use the same account.
_KNOWN = (*_CREDENTIALS, "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION")
_SOURCES = (*_CREDENTIALS, "AWS_PROFILE")


def environment() -> dict[str, str]:
    """Return all variables that are not empty; the environment wins over the files.

    Raises:
        BadInput: `.env` cannot be read, or has half of a credential pair; or the user's own file
            cannot be used.
    """
    return {**_files(), **{name: value for name, value in os.environ.items() if value}}


def additions() -> dict[str, str]:
    """Return the AWS variables that are set in the files but not in the environment.

    Raises:
        BadInput: see `environment`.
    """
    return {
        name: value
        for name, value in _files().items()
        if name in _KNOWN and not os.environ.get(name)
    }


def place(name: str) -> tuple[str, int]:
    """Return where a variable's value is from, for people.

    Returns:
        The file and its line; ``environment`` and 0 for one that is set there, or nowhere.
    """
    if os.environ.get(name):
        return "environment", 0
    if name not in _file():
        setting = configuration.settings().get(name)
        return (setting.file, setting.line) if setting else ("environment", 0)
    with (Path.cwd() / ".env").open(encoding="utf-8") as stream:
        lines = [
            # Blank lines before an assignment belong to it.
            binding.original.line + _leading_lines(binding.original.string)
            for binding in parse_stream(stream)
            if binding.key == name
        ]
    return ".env", lines[-1]


def _leading_lines(text: str) -> int:
    return text[: len(text) - len(text.lstrip())].count("\n")


def _files() -> Mapping[str, str]:
    """Return what the files set; credentials, or the profile that has them, are from one source."""
    own, dotenv_file = configuration.variables(), _file()
    if any(os.environ.get(name) or name in dotenv_file for name in _SOURCES):
        own = {name: value for name, value in own.items() if name not in _SOURCES}
    return {**own, **dotenv_file}


def _file() -> Mapping[str, str]:
    path = Path.cwd() / ".env"
    if not path.is_file():
        return {}
    try:
        values = {name: value for name, value in dotenv.dotenv_values(path).items() if value}
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            [Problem(".env", 0, "", tr("cannot be read: {reason}", reason=error))]
        ) from error
    if ("AWS_ACCESS_KEY_ID" in values) != ("AWS_SECRET_ACCESS_KEY" in values):
        message = tr(
            "got one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; expected both or none"
        )
        raise BadInput([Problem(".env", 0, "", message)])
    if any(os.environ.get(name) for name in _SOURCES):
        for name in _SOURCES:
            values.pop(name, None)
    return values
