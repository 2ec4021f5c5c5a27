"""trace.json: what Perfetto and chrome://tracing need to open it, and what they then show."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloudburst.report import trace
from cloudburst.report.uses import uses
from tests.support import pages


def traced(*, at_once: int = 1) -> dict[str, Any]:
    """Return a trace; each scene is rendered so many times at once."""
    report, _ = pages.troubled(Path("out"))
    report = replace(report, scenes=report.scenes * at_once)
    return trace.document(report, uses(report.batches, report.scenes, report.cost))


def test_every_event_has_the_fields_of_its_kind() -> None:
    document = traced()
    assert document["displayTimeUnit"] in {"ms", "ns"}
    assert document["otherData"]["run_id"] == pages.RUN
    needed = {
        "X": {"name", "cat", "pid", "tid", "ts", "dur", "args"},
        "M": {"name", "pid", "tid", "args"},
        "i": {"name", "pid", "tid", "ts", "s", "args"},
    }
    for event in document["traceEvents"]:
        assert needed[event["ph"]] <= set(event), event
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] == "X":
            assert isinstance(event["ts"], int)
            assert event["dur"] >= 0
    kinds = {event["name"] for event in document["traceEvents"] if event["ph"] == "M"}
    assert kinds == {"process_name", "process_sort_index", "thread_name", "thread_sort_index"}


def test_what_is_in_one_thread_is_nested() -> None:
    events = traced(at_once=3)["traceEvents"]
    threads: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            threads[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert len(threads) == 4 + 3 + 3, "phases of four launches; lanes of two workers"
    for spans in threads.values():
        open_: list[int] = []
        for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            while open_ and open_[-1] <= start:
                open_.pop()
            assert not open_ or end <= open_[-1], "a part sticks out of its whole"
            open_.append(end)


def test_a_process_is_a_batch_and_failures_are_moments() -> None:
    events = traced()["traceEvents"]
    names = {e["args"]["name"]: e["pid"] for e in events if e["name"] == "process_name"}
    assert set(names) == {"b01", "b02"}
    scenes = [(e["name"], e["pid"]) for e in events if e.get("cat") == "scene"]
    assert sorted(scenes) == [
        ("broken", names["b01"]),
        ("brook", names["b01"]),
        ("dogs", names["b01"]),
        ("dogs", names["b02"]),
        ("intro", names["b01"]),
        ("sunset", names["b02"]),
    ]
    (intro,) = (e for e in events if e["name"] == "intro")
    assert (intro["ts"], intro["dur"]) == (51_000_000, 7_000_000)
    assert intro["args"] == {"worker": "b01", "bytes_sent": 2_000_000}
    assert {e["name"] for e in events if e["ph"] == "i"} == {pages.FULL, pages.RECLAIMED}
