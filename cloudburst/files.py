"""Write files so that readers, and a machine after a power cut, see all of them or none."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, data: bytes | str, *, durable: bool) -> None:
    """Replace a file in one step: readers see the old content or the new, never a part of it.

    Args:
        path: the file; its folder must exist.
        data: the whole content; text is written as UTF-8, its line ends unchanged.
        durable: return only when the file and its name are on disk.

    Raises:
        OSError: it could not be written; the old file is unchanged and no temporary file remains.
    """
    content = data.encode() if isinstance(data, str) else data
    # In the same folder, as a rename cannot cross file systems; unique among all who may write it.
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in a folder survive a power cut.

    POSIX: `fsync` of a file does not cover its name, which is data of the folder.

    Raises:
        OSError: the folder cannot be opened or synced.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
