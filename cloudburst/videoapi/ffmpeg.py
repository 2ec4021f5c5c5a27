"""Runs ffmpeg. The only module that starts it; whatever happens, it has ended afterwards."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import select
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import imageio_ffmpeg

if TYPE_CHECKING:
    from collections.abc import Buffer, Callable, Iterable  # type: ignore[attr-defined]
    from pathlib import Path

_POLL = 0.2
WAITING_FRAMES = 4


class RenderError(RuntimeError):
    """ffmpeg failed or took too long."""


class Cancelled(RenderError):
    """Nobody waits for this render any more."""


class Deadline:
    """When a render must have ended.

    Args:
        seconds: from now.
        cancelled: says if nobody waits for the render any more.
    """

    def __init__(self, seconds: float, cancelled: Callable[[], bool] = lambda: False) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds
        self._cancelled = cancelled

    def check(self) -> None:
        """Raise what is due.

        Raises:
            Cancelled: nobody waits any more.
            RenderError: the time is over.
        """
        if self._cancelled():
            raise Cancelled("the client has gone; the render was ended")
        if time.monotonic() > self._at:
            raise RenderError(f"the render took longer than {self.seconds:.0f} s and was ended")


def run(
    arguments: list[str], folder: Path, deadline: Deadline, frames: Iterable[Buffer] = ()
) -> None:
    """Run ffmpeg in a folder, feeding frames to its standard input while it works.

    Args:
        arguments: without the program's name.
        folder: where it works; its messages go to ``ffmpeg.log`` there.
        deadline: checked while it works.
        frames: what it reads from ``pipe:0``. A frame may be overwritten once the next one but
            `WAITING_FRAMES` has been asked for.

    Raises:
        RenderError: it failed, with its last words, or its time is over, or nobody waits.
    """
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *arguments]
    with (folder / "ffmpeg.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=log, stderr=log
        )
        # Asked before the feeder starts: it may be the one who collects the exit, and then the
        # process's number is nobody's, or another's.
        exit_sign = _exit_sign(process)
        feeder = threading.Thread(target=_feed, args=(process, frames), name="frames")
        feeder.start()
        try:
            while True:
                deadline.check()
                if _ended(process, exit_sign, _POLL):
                    break
        finally:
            process.kill()
            process.wait()
            feeder.join()
            if exit_sign is not None:
                os.close(exit_sign)
    if process.returncode != 0:
        lines = (folder / "ffmpeg.log").read_text(errors="replace").strip().splitlines()
        raise RenderError(f"ffmpeg ended with {process.returncode}: {' | '.join(lines[-3:])}")


def _exit_sign(process: subprocess.Popen[bytes]) -> int | None:
    """Give a descriptor that can be read once the process has ended: None where there is none."""
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):  # an older kernel, or a container that forbids the call
            return os.pidfd_open(process.pid)
    return None


def _ended(process: subprocess.Popen[bytes], exit_sign: int | None, seconds: float) -> bool:
    """Wait for a process, without the naps of `Popen.wait`, which add up to 50 ms to a render."""
    if exit_sign is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode is not None
    poller = select.poll()  # select() refuses descriptors from 1024 on
    poller.register(exit_sign, select.POLLIN)
    poller.poll(seconds * 1000)
    return process.poll() is not None


def _feed(process: subprocess.Popen[bytes], frames: Iterable[Buffer]) -> None:
    """Make the next frame while the last one is written: a pipe holds only a part of one."""
    pipe = process.stdin
    if pipe is None:
        return
    waiting: queue.Queue[Buffer | None] = queue.Queue(WAITING_FRAMES)

    def write() -> None:
        broken = False
        while (frame := waiting.get()) is not None:
            if not broken:
                try:
                    pipe.write(frame)
                except OSError:  # ffmpeg has gone; its exit code and log say why
                    broken = True
        with contextlib.suppress(OSError):
            pipe.close()

    writer = threading.Thread(target=write, name="write")
    writer.start()
    try:
        for frame in frames:
            waiting.put(frame)
            if process.poll() is not None:
                break
    finally:
        waiting.put(None)
        writer.join()


def version() -> str:
    """Give ffmpeg's version line, as the protocol's ``/health`` does."""
    return f"ffmpeg version {imageio_ffmpeg.get_ffmpeg_version()}"


@functools.cache
def has_nvenc() -> bool:
    """Say if a GPU encodes here: not if it is listed, but if it works."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error"]
    command += ["-f", "lavfi", "-i", "color=black:s=256x256:d=0.1"]
    command += ["-c:v", "h264_nvenc", "-f", "null", "-"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=15, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
