"""A run that an asyncio program awaits."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cloudburst.api.jobs import ignore, run
from cloudburst.errors import LeftRunning
from cloudburst.stop import Stop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from cloudburst.job.source import JobSource
    from cloudburst.models import Event, Job, RunReport

    Watcher = Callable[[Event], Awaitable[None] | None]

# Seconds between two looks whether the event loop still exists.
_LOOK = 0.5


async def arun(
    job: Job | JobSource,
    *,
    resume: str | Path | None = None,
    on_event: Callable[[Event], Awaitable[None] | None] | None = None,
    stop: Stop | None = None,
) -> RunReport:
    """Run a job in a thread, without blocking the event loop.

    Cancelling it requests a stop; CancelledError is raised once everything is destroyed. Cancelling
    it again hurries. Signals that the program does not handle itself (SIGTERM, SIGHUP, and SIGINT
    outside of `asyncio.run`) request a stop, too.

    Args:
        job: a job, or what `load_job` accepts.
        resume: see `run`.
        on_event: called in the event loop with one event at a time, and awaited if it is a
            coroutine function. If it raises, the run is stopped and torn down, and the exception
            is raised from here.
        stop: see `run`.

    Returns:
        See `run`.

    Raises:
        asyncio.CancelledError: it was cancelled; everything is destroyed.
        LeftRunning: something could not be verified as gone, whether it was cancelled or not.
        CloudBurstError: see `run`.
    """
    wanted, loop = stop or Stop(), asyncio.get_running_loop()
    ended: concurrent.futures.Future[RunReport] = concurrent.futures.Future()

    def work() -> None:
        try:
            send = _in_loop(loop, on_event or ignore, wanted)
            ended.set_result(run(job, resume=resume, on_event=send, stop=wanted))
        except Exception as error:  # noqa: BLE001 - raised from the coroutine
            ended.set_exception(error)

    with _on_signals(loop, wanted):
        # Not a daemon: an interpreter that exits waits for the teardown.
        threading.Thread(target=work, name="run").start()
        return await _outcome(asyncio.wrap_future(ended), wanted)


async def _outcome(ended: asyncio.Future[RunReport], stop: Stop) -> RunReport:
    """Wait for a run's end, however often this is cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while not ended.done():
        try:
            await asyncio.wait([ended])
        except asyncio.CancelledError as error:
            cancelled = error
            stop.request()
    if cancelled is not None and not isinstance(ended.exception(), LeftRunning):
        raise cancelled
    return ended.result()


def _in_loop(
    loop: asyncio.AbstractEventLoop, on_event: Watcher, stop: Stop
) -> Callable[[Event], None]:
    """Return a function that calls a watcher in the event loop, and raises what it raises."""

    async def call(event: Event) -> None:
        answer = on_event(event)
        if inspect.isawaitable(answer):
            await answer

    def send(event: Event) -> None:
        calling = call(event)
        try:
            called = asyncio.run_coroutine_threadsafe(calling, loop)
        except RuntimeError:
            calling.close()
            raise
        while True:
            try:
                return called.result(_LOOK)
            except TimeoutError:
                if called.done():
                    raise  # the watcher's own
                if loop.is_closed():
                    calling.close()  # it will never be called
                    raise
                if stop.abandoned:
                    raise

    return send


@contextmanager
def _on_signals(loop: asyncio.AbstractEventLoop, stop: Stop) -> Iterator[None]:
    """Turn signals that nobody handles into requests to stop, in the main thread.

    `asyncio.run` handles SIGINT itself: it cancels.
    """
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if threading.current_thread() is threading.main_thread()
        and signal.getsignal(number) in defaults
    ]
    for number in numbers:
        loop.add_signal_handler(number, stop.request)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
