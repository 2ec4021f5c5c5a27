"""Paths as people write them: relative ones, ``~`` and ``$HOME`` where no shell has replaced it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cloudburst.language import tr

_HOME = re.compile(r"\$(HOME|\{HOME\})(?=/|$)")
_VARIABLE = re.compile(r"\$[A-Za-z_]\w*|\$\{\w+\}|%[A-Za-z_]\w*%")


class NoHomeError(ValueError):
    """A path begins with the home folder, and there is none."""

    def __init__(self) -> None:
        super().__init__(tr("this user has no home folder; set HOME, or write the whole path"))


def expanded(text: str) -> str:
    """Return a path with its beginning replaced: ``~``, ``~user``, ``$HOME``, ``${HOME}``.

    Other variables stay, and so does ``~x`` if there is no user x: files may be called that.

    Raises:
        NoHomeError: the home folder is not known.
    """
    text = _HOME.sub("~", text, count=1) if text.startswith("$") else text
    if not text.startswith("~"):
        return text
    whole = os.path.expanduser(text)  # noqa: PTH111 - `Path` refuses names of no user
    if text.split("/", maxsplit=1)[0] == "~" and not os.path.isabs(whole):  # noqa: PTH117 - text
        raise NoHomeError
    return whole


def absolute(text: str | os.PathLike[str], base: Path | None = None) -> Path:
    """Return a path as people write it as an absolute one; links in it stay.

    Args:
        text: the path.
        base: where a relative one starts; None for the current folder.

    Raises:
        NoHomeError: see `expanded`.
    """
    start = Path.cwd() if base is None else base.absolute()
    return start / expanded(os.fspath(text))


def unexpanded(text: str) -> str:
    """Return what of a path only a shell would replace: ``~nobody``, ``$DATA``; empty for nothing.

    Raises:
        NoHomeError: see `expanded`.
    """
    text = expanded(text)
    if text.startswith("~"):
        return text.split("/", maxsplit=1)[0]
    found = _VARIABLE.search(text)
    return found[0] if found else ""
