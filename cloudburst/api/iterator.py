"""A run whose events are iterated over.

It begins with a ``with`` block: the end of an abandoned iterator is the garbage collector's affair,
and a run must not depend on that for its teardown.
"""

from __future__ import annotations

import queue
import signal
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from cloudburst.api.jobs import as_job, run
from cloudburst.errors import Interrupted, LeftRunning
from cloudburst.stop import Stop, on_signals

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from cloudburst.job.source import JobSource
    from cloudburst.models import Event, Job, RunReport

    Call = Callable[[Callable[[Event], None]], RunReport]


def events(
    job: Job | JobSource, *, resume: str | Path | None = None, stop: Stop | None = None
) -> Events:
    """Run a job and iterate over its events.

    Args:
        job: a job, or what `load_job` accepts.
        resume: see `run`.
        stop: see `run`.

    Returns:
        A context manager that starts the run and waits for its end, and an iterator over its
        events.

    Raises:
        BadInput: the job file cannot be used; nothing was started.
    """
    loaded, wanted = as_job(job), stop or Stop()
    return Events(lambda send: run(loaded, resume=resume, on_event=send, stop=wanted), wanted)


class Events:
    """A run in a thread of its own, and an iterator over its events; from `events`.

    The run starts with the ``with`` block. Leaving the block early, by ``break``, an exception or
    Ctrl-C, requests a stop and waits until everything is destroyed; Ctrl-C meanwhile hurries.
    Errors of the run are raised from the loop, or at the end of a block that was left early.

    In the main thread, SIGTERM and SIGHUP request a stop, too; the loop then ends with
    `Interrupted`.
    """

    def __init__(self, call: Call, stop: Stop) -> None:
        """Prepare a run; start nothing.

        Args:
            call: makes the run; its argument is called with each event.
            stop: stops that run.
        """
        self._call = call
        self._stop = stop
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._report: RunReport | None = None
        self._error: Exception | None = None
        self._ended = False
        # KeyboardInterrupt is raised only where `__exit__` is sure to follow.
        self._in_block = False
        self._interrupts = 0
        self._pending = False
        self._terminated = False
        self._held = ExitStack()
        # Not a daemon: an interpreter that exits waits for the teardown.
        self._thread = threading.Thread(target=self._run, name="run")

    @property
    def report(self) -> RunReport:
        """What became of the run, also of a stopped one.

        Raises:
            RuntimeError: the run has not ended, or its error carries no report.
        """
        if self._report is None:
            raise RuntimeError("there is no report: the run has not ended, or it failed")
        return self._report

    def __enter__(self) -> Self:
        """Start the run."""
        with ExitStack() as held:
            held.enter_context(on_signals(self._stop, self._on_signal))
            self._thread.start()
            self._held = held.pop_all()
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        """Return the next event, once it has happened.

        Raises:
            RuntimeError: the ``with`` block has not begun.
        """
        if self._thread.ident is None:
            raise RuntimeError("nothing runs yet: use `with events(job) as stream:`")
        self._in_block = True
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt
        event = None if self._ended else self._queue.get()
        if event is not None:
            return event
        first, self._ended = not self._ended, True
        if first and self._error is not None:
            raise self._error
        raise StopIteration

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Request a stop unless the run has ended, and wait until everything is destroyed."""
        self._in_block = False
        if not (self._ended or self._stop.requested):
            self._stop.request()
        self._thread.join()
        self._held.close()
        self._conclude(error)

    def _conclude(self, error: BaseException | None) -> None:
        """Raise what the program has to know and does not know yet.

        Args:
            error: why the block was left; it is raised again after this.
        """
        problem = None if self._ended else self._error
        if isinstance(problem, LeftRunning):
            # What may still cost money is more urgent than why the block was left.
            raise problem
        if error is not None:
            return
        if self._pending:
            raise KeyboardInterrupt
        if problem is not None and (self._terminated or not isinstance(problem, Interrupted)):
            raise problem

    def _on_signal(self, number: int) -> None:
        """Raise KeyboardInterrupt for the first SIGINT; later ones have hurried the run."""
        if number != signal.SIGINT:
            self._terminated = True
            return
        self._interrupts += 1
        if self._interrupts == 1:
            self._pending = not self._in_block
            if self._in_block:
                raise KeyboardInterrupt

    def _run(self) -> None:
        try:
            self._report = self._call(self._queue.put)
        except (Interrupted, LeftRunning) as error:
            self._report, self._error = error.report, error
        except Exception as error:  # noqa: BLE001 - raised in the thread that iterates
            self._error = error
        finally:
            self._queue.put(None)
