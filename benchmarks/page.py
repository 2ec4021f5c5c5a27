"""Write the page of a run of many scenes and open it in Chromium: seconds, bytes, memory.

.venv/bin/python -m benchmarks.page [--scenes 1000] [--workers 100] [--rounds 5] [--patience 60]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from cloudburst.report import beside
from tests.support import pages
from tests.support.browser import chromium, shown, video

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession

# Milliseconds since the navigation began: when everything is there, handled and drawn.
_READY = """() => new Promise((done) => requestAnimationFrame(() => setTimeout(() =>
  done(performance.now()))))"""
# Milliseconds from a click on a column's head to the sorted table being drawn.
_SORT = """() => new Promise((done) => {
  const began = performance.now();
  document.querySelector('th[data-sort=name] button').click();
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
})"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patience", type=float, default=beside.AT_THE_END)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report, state = pages.many(folder, options.scenes, options.workers)
        video(folder / "one.mp4", 5.0, "1920x1080")
        for scene in report.scenes:
            if scene.artifact is not None:
                os.link(folder / "one.mp4", scene.artifact.path)
        began = time.perf_counter()
        problems = beside.write(report, lambda: state, patience=options.patience)
        seconds = time.perf_counter() - began
        page = folder / beside.PAGE
        pictures = page.read_text("utf-8").count("data:image/jpeg")
        write = sys.stdout.write
        write(f"{len(report.scenes)} scenes, {len(report.batches)} workers {problems or ''}\n")
        write(f"written in {seconds:.1f} s, {page.stat().st_size / 1e6:.2f} MB, ")
        write(f"{pictures} pictures\n")
        ready, sort, cpu = opened(page, options.rounds)
        write(f"median of {options.rounds}: ready in {ready:.2f} s ")
        write(f"({cpu:.2f} CPU seconds of the page's thread), sorted in {sort:.2f} s\n")


def opened(page: Path, rounds: int) -> tuple[float, float, float]:
    """Return medians: seconds until a page is ready, until it is sorted, and CPU until it is ready.

    On a busy machine, CPU says more than time.
    """
    ready, sort, cpu = [], [], []
    with chromium() as browser:
        for _ in range(rounds):
            with shown(browser, page) as there:
                session = there.page.context.new_cdp_session(there.page)
                session.send("Performance.enable", {"timeDomain": "threadTicks"})
                before = _task_seconds(session)
                there.page.reload()
                ready.append(there.page.evaluate(_READY) / 1000)
                cpu.append(_task_seconds(session) - before)
                sort.append(there.page.evaluate(_SORT) / 1000)
    return median(ready), median(sort), median(cpu)


def _task_seconds(session: CDPSession) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


if __name__ == "__main__":
    main()
