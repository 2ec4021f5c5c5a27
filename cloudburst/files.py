"""Write files atomically: readers, and a machine after a power cut, see all of a file or none.

And read files that grow, line by line.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, data: bytes | str, *, durable: bool) -> None:
    """Replace a file in one step: readers see the old content or the new, never a part.

    Args:
        path: the file; its folder must exist.
        data: the whole content; text is written as UTF-8 with its line ends unchanged.
        durable: return only when the file and its name are on disk.

    Raises:
        OSError: the content could not be written, and the old file is unchanged; or, with
            `durable`, only the final sync of the folder failed: then the file has the new content,
            but a power cut may restore the old one. No temporary file remains in either case.
    """
    content = data.encode() if isinstance(data, str) else data
    # In the same folder, as a rename cannot cross file systems; unique per process and thread.
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


class Tail:
    """A file of lines that grows; one that was made anew is read from its beginning.

    Args:
        path: the file, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def more(self) -> bytes:
        """Return the whole lines that have been added since the last time."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                self._offset = self._offset if self._offset <= size else 0
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return b""
        whole = data[: data.rfind(b"\n") + 1]  # the rest is being written
        self._offset += len(whole)
        return whole
