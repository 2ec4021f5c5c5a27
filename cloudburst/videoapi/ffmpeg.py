"""Run ffmpeg. Only this module starts it, and no call returns while ffmpeg still runs."""

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
# libass reports this as an error, but the renderer gives it the fonts in a folder (`fonts`).
_HARMLESS = "Failed to load fontconfig fonts!"
WAITING_FRAMES = 4
# Marks raw frames as what `canvas` makes. Filters convert one of two frames that differ in this.
BT709 = "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"


class RenderError(RuntimeError):
    """ffmpeg failed or took too long."""


class Cancelled(RenderError):
    """The client has disconnected."""


class Deadline:
    """The time limit of a render.

    Args:
        seconds: from now.
        cancelled: whether the client has disconnected.
    """

    def __init__(self, seconds: float, cancelled: Callable[[], bool] = lambda: False) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds
        self._cancelled = cancelled

    def check(self) -> None:
        """Raise if the render must end.

        Raises:
            Cancelled: the client has disconnected.
            RenderError: the time limit has passed.
        """
        if self._cancelled():
            raise Cancelled("the client has gone; the render was ended")
        if time.monotonic() > self._at:
            raise RenderError(f"the render took longer than {self.seconds:.0f} s and was ended")


def raw(size: tuple[int, int], fps: int) -> list[str]:
    """Return the options of frames that are fed as planar YUV 4:2:0 bytes.

    Args:
        size: width and height, in pixels.
        fps: frames per second.
    """
    shape = f"{size[0]}x{size[1]}"
    return ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", shape, "-r", str(fps), "-i", "pipe:0"]


def run(
    arguments: list[str], folder: Path, deadline: Deadline, frames: Iterable[Buffer] = ()
) -> None:
    """Run ffmpeg in a folder, feeding frames to its standard input while it works.

    Args:
        arguments: the command line without the program's name.
        folder: working directory; ffmpeg's messages go to ``ffmpeg.log`` there, and fontconfig
            reads ``fonts.conf`` there instead of the system's configuration.
        deadline: checked while ffmpeg runs.
        frames: read by ffmpeg from ``pipe:0``. A frame's buffer may be reused once
            `WAITING_FRAMES` + 2 more frames have been requested.

    Raises:
        RenderError: ffmpeg failed (with the last lines of its log), exceeded its time, or was
            cancelled.
    """
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *arguments]
    environment = os.environ | {"FONTCONFIG_FILE": str(folder.absolute() / "fonts.conf")}
    with (folder / "ffmpeg.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log
        )
        # Opened before the feeder starts: its `poll` may reap the process, and after that the
        # pid is free or belongs to another process.
        exit_descriptor = _exit_descriptor(process)
        feeder = threading.Thread(target=_feed, args=(process, frames), name="frames")
        feeder.start()
        try:
            while True:
                deadline.check()
                if _ended(process, exit_descriptor, _POLL):
                    break
        finally:
            process.kill()
            process.wait()
            feeder.join()
            if exit_descriptor is not None:
                os.close(exit_descriptor)
    if process.returncode != 0:
        log_text = (folder / "ffmpeg.log").read_text(errors="replace")
        lines = [line for line in log_text.strip().splitlines() if _HARMLESS not in line]
        raise RenderError(f"ffmpeg ended with {process.returncode}: {' | '.join(lines[-3:])}")


def _exit_descriptor(process: subprocess.Popen[bytes]) -> int | None:
    """Return a descriptor that is readable once the process has ended; None if unsupported."""
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):  # an older kernel, or a container that forbids the call
            return os.pidfd_open(process.pid)
    return None


def _ended(process: subprocess.Popen[bytes], exit_descriptor: int | None, seconds: float) -> bool:
    """Wait for a process without the sleeps of `Popen.wait`, which add up to 50 ms to a render."""
    if exit_descriptor is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode is not None
    poller = select.poll()  # select() rejects descriptors from 1024 on
    poller.register(exit_descriptor, select.POLLIN)
    poller.poll(seconds * 1000)
    return process.poll() is not None


def _feed(process: subprocess.Popen[bytes], frames: Iterable[Buffer]) -> None:
    """Draw the next frame while the last one is written: a pipe holds only part of a frame."""
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
                except OSError:  # ffmpeg has exited; its exit code and log say why
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
    """Return ffmpeg's version line, as in the protocol's ``/health``."""
    return f"ffmpeg version {imageio_ffmpeg.get_ffmpeg_version()}"


@functools.cache
def has_nvenc() -> bool:
    """Whether NVENC works here, found by a trial encoding: a listed encoder may not work."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error"]
    command += ["-f", "lavfi", "-i", "color=black:s=256x256:d=0.1"]
    command += ["-c:v", "h264_nvenc", "-f", "null", "-"]
    try:
        trial = subprocess.run(command, capture_output=True, timeout=15, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return trial.returncode == 0
