"""What a video is made from, as one hash: scenes with equal fingerprints want equal videos."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from cloudburst.models import DEFAULT_BACKGROUND

if TYPE_CHECKING:
    from cloudburst.models import Scene

_FILES = ("subtitle", "watermark")
# Options that are younger than the first fingerprints, left out while they have these values: runs
# of earlier versions can be resumed.
_LATER = {
    "background_color": DEFAULT_BACKGROUND,
    "quality": "normal",
    "subtitle_encoding": None,
    "font": None,
}


def fingerprint(scene: Scene, renderer: str) -> str:
    """Return the fingerprint of a scene: its files' bytes, its options, and what renders it.

    Names and folders of the files do not matter: they may be moved.

    Args:
        scene: its files are read.
        renderer: the container image, or the bundled video API and its version.

    Raises:
        OSError: a file cannot be read.
    """
    options = {
        name: value
        for name, value in asdict(scene.options).items()
        if not isinstance(value, Path)
        and name not in _FILES
        and not (name in _LATER and value == _LATER[name])
    }
    files = {"image": scene.image, "audio": scene.audio}
    files |= {
        name: path
        for name, path in asdict(scene.options).items()
        if isinstance(path, Path)  # a font may also be a name, and is an option then
    }
    made_from = {
        "renderer": renderer,
        "options": options,
        "files": {name: file_digest(path) for name, path in files.items()},
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
