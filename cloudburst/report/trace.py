"""RunReport → trace.json, which ui.perfetto.dev and chrome://tracing open. Pure.

The format is that of "Trace Event Format" (docs.google.com/document/d/
1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU): a process is a batch, its threads are what its
workers did and what they rendered at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudburst.report.phases import NAMES
from cloudburst.report.uses import end_of, lanes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cloudburst.models import Attempt, RunReport, Span
    from cloudburst.report.uses import Uses, WorkerUse

NAME = "trace.json"
_MICROSECONDS = 1_000_000
# Threads of one worker: its phases, and so many scenes at once.
_THREADS = 1000

Event = dict[str, Any]


def document(report: RunReport, went: Uses) -> dict[str, Any]:
    """Return a run's trace.

    Args:
        report: of the run.
        went: what its time went to.
    """
    return {
        "displayTimeUnit": "ms",
        "otherData": {
            "run_id": report.run_id,
            "job": report.job,
            "target": report.target,
            "outcome": str(report.outcome),
            "started_at": report.started_at,
        },
        "traceEvents": list(_events(went)),
    }


def _events(went: Uses) -> Iterator[Event]:
    numbers: dict[str, int] = {}
    for number, worker in enumerate(went.workers):
        new = worker.batch not in numbers
        pid = numbers.setdefault(worker.batch, len(numbers) + 1)
        if new:
            yield _meta("process_name", pid, 0, name=worker.batch)
            yield _meta("process_sort_index", pid, 0, sort_index=pid)
        # No thread has the number of its process: that would be the main one.
        yield from _worker(pid, (number + 1) * _THREADS, worker)


def _worker(pid: int, first: int, worker: WorkerUse) -> Iterator[Event]:
    launch = worker.launch
    yield _meta("thread_name", pid, first, name=f"{launch.label} {launch.rung}")
    yield _meta("thread_sort_index", pid, first, sort_index=first)
    common = {"machine": launch.worker, "type": launch.rung.type, "target": launch.target}
    for span in launch.spans:
        yield _phase(pid, first, span, "phase", common)
    if launch.error and launch.spans:
        at = launch.spans[-1].start
        yield _instant(pid, first, launch.code or "error", at, {"error": launch.error})
    for renewal in launch.renewals:
        ends = {"until_seconds": renewal.until}
        yield _instant(pid, first, "lease renewed", renewal.at, ends, category="lease", scope="t")
    intervals = [(one.span.start, end_of(one)) for _, one in worker.attempts]
    used: set[int] = set()
    for (scene, attempt), lane in zip(worker.attempts, lanes(intervals), strict=True):
        thread = first + 1 + lane
        if lane not in used:
            used.add(lane)
            yield _meta("thread_name", pid, thread, name=f"{launch.label} scene {lane + 1}")
            yield _meta("thread_sort_index", pid, thread, sort_index=thread)
        yield from _attempt(pid, thread, scene, attempt)


def _attempt(pid: int, thread: int, scene: str, attempt: Attempt) -> Iterator[Event]:
    sent = attempt.bytes_sent or None  # 0 is not known
    values = {"worker": attempt.worker, "error": attempt.error, "bytes_sent": sent}
    yield _complete(pid, thread, scene, "scene", attempt.span.start, end_of(attempt), values)
    # Within the scene: Perfetto draws them below it.
    for span in _parts(attempt):
        yield _phase(pid, thread, span, "part", {"scene": scene})


def _parts(attempt: Attempt) -> Iterable[Span]:
    return (attempt.span, attempt.download) if attempt.download else (attempt.span,)


def _phase(pid: int, tid: int, span: Span, category: str, values: Event) -> Event:
    # A trace is in English, in whatever language its run was.
    name = NAMES.get(span.phase, span.phase)
    return _complete(pid, tid, name, category, span.start, span.end, values)


def _complete(
    pid: int, tid: int, name: str, category: str, start: float, end: float, values: Event
) -> Event:
    # Both ends are rounded, not the length: parts must not stick out of what they are parts of.
    began, ended = round(start * _MICROSECONDS), round(end * _MICROSECONDS)
    shown = {key: value for key, value in values.items() if value is not None}
    return {
        "ph": "X",
        "pid": pid,
        "tid": tid,
        "ts": began,
        "dur": max(0, ended - began),
        "name": name,
        "cat": category,
        "args": shown,
    }


def _instant(
    pid: int,
    tid: int,
    name: str,
    at: float,
    values: Event,
    *,
    category: str = "failure",
    scope: str = "p",
) -> Event:
    return {
        "ph": "i",
        "s": scope,
        "pid": pid,
        "tid": tid,
        "ts": round(at * _MICROSECONDS),
        "name": name,
        "cat": category,
        "args": values,
    }


def _meta(kind: str, pid: int, tid: int, **values: object) -> Event:
    return {"ph": "M", "pid": pid, "tid": tid, "name": kind, "args": values}
