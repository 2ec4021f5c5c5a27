"""The crash harness: kills at many points, and a count of what went wrong.

``python -m tests.chaos --seed 7 --points 40 --target all --minutes 30``

A kill is repeated exactly with ``--target TARGET --only 'ROW|WAY|POINT'``, as a failure prints it.
The exit code is 1 when anything was lost, left, untrue, unfinished, wrong or hung.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from tests.chaos import document, kills
from tests.chaos.bench import KINDS
from tests.chaos.kills import Result, Task

VICTIMS = 2


def main(arguments: list[str]) -> int:
    """Kill, count, tell; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--points", type=int, default=40, help="kills of the run, for each target")
    parser.add_argument("--target", choices=["local", "aws", "all"], default="all")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin nothing after that")
    parser.add_argument("--rows", default=",".join(kills.ROWS), help="what is killed")
    parser.add_argument("--only", action="append", metavar="TASK", help="these, and nothing else")
    parser.add_argument("--write", action="store_true", help="the table, into the documentation")
    options = parser.parse_args(arguments)
    targets = ["local", "aws"] if options.target == "all" else [options.target]
    root = Path(tempfile.mkdtemp(prefix="chaos-"))
    deadline = time.monotonic() + options.minutes * 60
    began = time.monotonic()
    # Each has a cloud of its own: moto keeps its books in the process.
    with ProcessPoolExecutor(VICTIMS, mp_context=get_context("spawn")) as pool:
        if options.only:
            tasks = [Task.of(target, text) for target in targets for text in options.only]
        else:
            tasks = _planned(pool, targets, options.points, options.seed, root)
            tasks = [task for task in tasks if task.row in options.rows.split(",")]
        results = _played(pool, tasks, root, deadline)
    _tell_all(results, len(tasks), time.monotonic() - began)
    if options.write:
        minutes = (time.monotonic() - began) / 60
        words = f"{len(results)} kills, seed {options.seed}, {minutes:.0f} minutes on two cores."
        document.write("kills", kills.table(results, KINDS), words)
    wrong = [one for one in results if one.findings]
    for one in wrong:
        _tell_again(one, options.seed)
    if not wrong:
        root.rmdir()
    return 1 if wrong or not results else 0


def _planned(
    pool: ProcessPoolExecutor, targets: list[str], points: int, seed: int, root: Path
) -> list[Task]:
    counts = {
        (target, what): pool.submit(
            kills.count_alone, target, what, root / f"count-{target}-{what}"
        )
        for target in targets
        for what in ("run", "cleanup", "resume")
    }
    chance = random.Random(seed)  # noqa: S311 - it has to be the same again
    tasks: list[Task] = []
    for target in targets:
        traces = {what: counts[target, what].result() for what in ("run", "cleanup", "resume")}
        told = ", ".join(f"{len(trace)} in a {what}" for what, trace in traces.items())
        _say(f"{target}: points: {told}")
        tasks += kills.plan(target, traces, points, chance)
    # Whatever --minutes cuts off, the rest has some of everything.
    chance.shuffle(tasks)
    return tasks


def _played(
    pool: ProcessPoolExecutor, tasks: list[Task], root: Path, deadline: float
) -> list[Result]:
    results: list[Result] = []
    waiting = list(enumerate(tasks, 1))
    flying: set[Future[Result]] = set()
    while waiting or flying:
        while waiting and len(flying) < VICTIMS and time.monotonic() < deadline:
            number, task = waiting.pop(0)
            flying.add(pool.submit(kills.play_alone, task, root / f"{number:03d}"))
        if not flying:
            break
        done, flying = wait(flying, return_when=FIRST_COMPLETED)
        for one in done:
            results.append(one.result())
            _tell(results[-1], len(results), len(tasks))
    return results


# -- telling --------------------------------------------------------------------------------------


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _tell(result: Result, number: int, count: int) -> None:
    task, met = result.task, "" if result.met else " (never came to it)"
    words = ", ".join(dict.fromkeys(kind.upper() for kind, _ in result.findings)) or "ok"
    _say(f"[{number:3d}/{count}] {result.seconds:5.1f} s  {task.target:5}  {task}{met}: {words}")


def _tell_all(results: list[Result], planned: int, seconds: float) -> None:
    _say("")
    for line in document.markdown(kills.table(results, KINDS)):
        _say(line)
    _say(f"{len(results)} of {planned} kills in {seconds / 60:.1f} minutes")
    if unmet := sum(not one.met for one in results):
        _say(
            f"{unmet} victims ended before they came to their point; they were checked all the same"
        )


def _tell_again(result: Result, seed: int) -> None:
    _say(f"\n{result.folder}")
    for kind, words in result.findings:
        _say(f"  {kind}: {words}")
    task = result.task
    _say(f"  again: python -m tests.chaos --seed {seed} --target {task.target} --only '{task}'")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
