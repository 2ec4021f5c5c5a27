"""Standard output and standard error that may be closed, full or read no further.

What a command does never depends on who reads its output: a run goes on to its end when the reader
of a pipe leaves, the disk behind `>` is full, or the terminal closes.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_ESCAPED = "cloudburst.json"
_STANDARD = {"stdin": 0, "stdout": 1, "stderr": 2}
# The reader of a pipe has what it wanted; a terminal that closed shows nothing to anybody.
_READER_LEFT = {errno.EPIPE, errno.EIO}


class Output(io.FileIO):
    """Writes to a file descriptor until that fails, then nowhere.

    Attributes:
        failure: why what was written did not arrive; None if it did.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.failure: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some bytes, or drop all of them; return how many need not be written again."""
        while self.failure is None:
            try:
                written = super().write(data)
            except OSError as error:
                self.failure = error
                break
            if written is not None:
                return written
            # Another program has made the terminal non-blocking: wait for it as usual.
            select.select([], [self], [])
        return memoryview(data).nbytes


def guard() -> None:
    """Open the standard streams that are closed, and let no write to them raise."""
    _open_closed()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # What a test or a notebook has put in the place is not ours to replace.
        if isinstance(stream, io.TextIOWrapper) and _descriptor(stream) == _STANDARD[name]:
            stream.flush()
            guarded = io.TextIOWrapper(
                io.BufferedWriter(Output(_STANDARD[name])),
                encoding=stream.encoding,
                errors=stream.errors,
                line_buffering=stream.line_buffering,
            )
            setattr(sys, name, guarded)


def replace_unencodable(*, as_json: bool) -> None:
    r"""Let a terminal that lacks a character show ``?``: a run must not end for that.

    Args:
        as_json: standard output is JSON: it has ``\uXXXX`` instead, which is the same text.
    """
    codecs.register_error(_ESCAPED, _escape)
    for stream, errors in (
        (sys.stdout, _ESCAPED if as_json else "replace"),
        (sys.stderr, "replace"),
    ):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Return what cannot be encoded as JSON writes it in ASCII: beyond U+FFFF as two."""
    assert isinstance(error, UnicodeEncodeError)  # noqa: S101 - nothing is decoded with it
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def write_line(text: str) -> None:
    """Write a line to standard output in its own encoding; click takes UTF-8 instead of ASCII."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_bytes(data: bytes) -> None:
    """Write bytes to standard output, after the text that was written to it."""
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:  # a program has put something of its own in the place
        sys.stdout.write(data.decode(errors="replace"))
    else:
        buffer.write(data)
        buffer.flush()


def _descriptor(stream: io.TextIOWrapper) -> int:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return -1


def _open_closed() -> None:
    """Open `/dev/null` in the place of closed streams.

    Otherwise the first file that is opened gets the number, such as the journal: a child process
    that writes to its standard output would write into it.
    """
    for name, number in _STANDARD.items():
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def finish() -> OSError | None:
    """Write what is buffered; return why standard output did not get everything it should have.

    A reader that has left is no reason: it has what it wanted.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    failure = raw.failure if isinstance(raw, Output) else None
    return None if failure is None or failure.errno in _READER_LEFT else failure
