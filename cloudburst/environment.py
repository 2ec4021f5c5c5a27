"""The environment, with `.env` of the current folder under it, as users of the original expect.

What stands in the environment wins. Credentials are taken from one place as a whole: an id from
one and a secret from the other would be nobody's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import dotenv

from cloudburst.errors import BadInput
from cloudburst.models import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# What both the engine and this process can be told: they must never ask different accounts.
_KNOWN = (*_CREDENTIALS, "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION")
_SOURCES = (*_CREDENTIALS, "AWS_PROFILE")


def environment() -> dict[str, str]:
    """Give all variables that are not empty; the environment's own win over `.env`'s."""
    return {**_file(), **{name: value for name, value in os.environ.items() if value}}


def additions() -> dict[str, str]:
    """Give what `.env` adds for AWS and its tools, and the environment lacks."""
    return {
        name: value
        for name, value in _file().items()
        if name in _KNOWN and not os.environ.get(name)
    }


def _file() -> Mapping[str, str]:
    path = Path.cwd() / ".env"
    if not path.is_file():
        return {}
    try:
        values = {name: value for name, value in dotenv.dotenv_values(path).items() if value}
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput([Problem(".env", 0, "", f"cannot be read: {error}")]) from error
    if ("AWS_ACCESS_KEY_ID" in values) != ("AWS_SECRET_ACCESS_KEY" in values):
        words = "got one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; expected both or none"
        raise BadInput([Problem(".env", 0, "", words)])
    if any(os.environ.get(name) for name in _SOURCES):
        for name in _SOURCES:
            values.pop(name, None)
    return values
