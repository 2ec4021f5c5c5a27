"""Kills at chosen points, and what must be so afterwards.

A task says all of it in one line, by which it can be repeated: what is killed, what comes then,
and at which point; ``run|resume at once|rename out/BATCH/s01.mp4#1``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from testcloud.cloud import Cloud
from tests.chaos.bench import (
    CLEANUP_TIMEOUT,
    KILLED,
    LEFT,
    PROGRAMS,
    RUN_TIMEOUT,
    Bench,
    Step,
    Stuck,
)
from tests.support.clouds import POLICY

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

    Trace = list[tuple[str, float, str]]

CLEANUP = ["cloudburst", "cleanup", "--all", "--yes"]
# A run that is to be cleaned or resumed by a victim has died here: both its workers are there, and
# one video is home.
SETUP = "journal video after#1"
# After a kill: settle, look, clean up, look, resume; or without the cleanup; or without waiting for
# anything, so that what the dead run has started is still at it; or all of that died with the run.
POWER_CUT = "power cut, "
WAYS = (
    *("cleanup", "resume", "cleanup at once", "resume at once"),
    *(f"{POWER_CUT}cleanup at once", f"{POWER_CUT}resume at once"),
)
# As on AWS, a new machine is described a little later. A power cut leaves nobody who knows of it.
HIDDEN = 2.0
ROWS = ("run", "cleanup", "resume", "engine", "worker", "agent")
WHAT = {
    "run": "`cloudburst-run`",
    "cleanup": "`cloudburst cleanup`",
    "resume": "`cloudburst resume`",
    "engine": "the engine (`pulumi`)",
    "worker": "a worker",
    "agent": "the agent on a rented machine",
}
AGENT = "cloudburst-agent.service"
_STAGES = (
    ("report", ("open out/BATCH/report", "rename out/BATCH/report")),
    ("end", ("journal end ", "journal ended")),
    ("note after the rename", ("journal video", "remove out/BATCH/s")),
    ("rename", ("rename out/BATCH/s",)),
    ("download", ("open out/BATCH/s", "send GET /download")),
    ("render", ("journal attempt", "send POST", "send body")),
    ("health", ("send GET /health",)),
    ("stack rm", ("pulumi stack rm", "rmtree", "rmdir", "remove state")),
    ("destroy", ("pulumi destroy", "signal")),
    ("up", ("pulumi", "start worker", "open out/BATCH/logs", "journal worker", "journal rental")),
    ("write-ahead", ("journal launch", "journal begin", "journal progress")),
    ("before", ("mkdir", "open", "rename", "database", "flock", "connect", "ask AWS", "remove")),
)
# Nearer to an act than this, a moment between two acts is one of them.
_SOON = 0.02
# When a worker dies: at the first event of this kind, so many seconds later.
_WORKER_MOMENTS = (
    ("starting", 0.0),
    ("working", 0.0),
    ("scene_started", 0.05),
    ("scene_started", 0.4),
    ("scene_done", 0.0),
    ("scene_done", 0.3),
    ("destroying", 0.0),
    ("destroying", 0.2),
)


@dataclass(frozen=True)
class Task:
    """One kill.

    Args:
        target: local or aws.
        row: what is killed, of `ROWS`.
        way: what comes then, of `WAYS`; of a worker: which of its processes.
        point: where, as `tests.chaos.victim` reads it; of a worker: at which event.
    """

    target: str
    row: str
    way: str
    point: str

    def __str__(self) -> str:
        return f"{self.row}|{self.way}|{self.point}"

    @classmethod
    def of(cls, target: str, text: str) -> Task:
        return cls(target, *text.split("|", 2))


@dataclass(frozen=True)
class Result:
    """What came of a task.

    Args:
        task: which.
        findings: what is wrong.
        met: the victim came to its point.
        seconds: it took.
        folder: where everything is, when anything is wrong.
    """

    task: Task
    findings: tuple[tuple[str, str], ...]
    met: bool
    seconds: float
    folder: str


# -- choosing -------------------------------------------------------------------------------------


def stage_of(name: str) -> str:
    """Say in which stage of a run an act is."""
    return next(
        (stage for stage, starts in _STAGES if name.startswith(starts)),
        "before",
    )


def choose(trace: Trace, count: int, chance: random.Random) -> list[str]:
    """Choose different points: one of every stage, the rest spread over acts and over time.

    Acts come in bursts, and much happens between them, in other processes: half of the rest is
    spread over the acts, half over the seconds.
    """
    acts = [one for one in trace if one[0].isdigit()]
    chosen: dict[str, None] = {}
    stages: dict[str, list[str]] = {}
    for _, _, name in acts:
        stages.setdefault(stage_of(name), []).append(name)
    for names in stages.values():
        chosen[chance.choice(names)] = None
    rest = max(0, count - len(chosen))
    acting = rest // 2
    for slot in range(acting):
        low, high = (
            slot * len(acts) // acting,
            max(slot * len(acts) // acting + 1, (slot + 1) * len(acts) // acting),
        )
        chosen[acts[chance.randrange(low, high)][2]] = None
    last = acts[-1][1]
    slot = 0
    while len(chosen) < count:
        moment = (slot % max(1, rest - acting) + chance.random()) / max(1, rest - acting) * last
        _, began, name = [one for one in acts if one[1] <= max(moment, acts[0][1])][-1]
        delay = moment - began
        chosen[name if delay < _SOON else f"{name}+{delay:.2f}"] = None
        slot += 1
    return list(chosen)[:count]


def choose_engine(trace: Trace, count: int, chance: random.Random) -> list[str]:
    """Choose moments in the life of the engine's processes, different operations first."""
    names = [name for number, _, name in trace if number.isdigit() and name.startswith("pulumi ")]
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(name.partition("#")[0], []).append(name)
    delays = {"pulumi up": (0.1, 0.4, 0.7, 1.0, 1.5), "pulumi destroy": (0.05, 0.2, 0.4, 0.6)}
    # Twice as many of those that change something.
    order = ["pulumi up", "pulumi destroy", *kinds, "pulumi up", "pulumi destroy"]
    chosen: dict[str, None] = {}
    turn = 0
    while len(chosen) < count:
        kind = order[turn % len(order)]
        delay = chance.choice(delays.get(kind, (0.0, 0.05, 0.2)))
        chosen[chance.choice(kinds.get(kind, names)) + (f"+{delay}" if delay else "")] = None
        turn += 1
    return list(chosen)


def plan(target: str, traces: dict[str, Trace], points: int, chance: random.Random) -> list[Task]:
    """Give all tasks of a target.

    Args:
        target: local or aws.
        traces: of counting runs: ``run``, ``cleanup``, ``resume``.
        points: kills of the run; of everything else there are fewer.
        chance: what decides.
    """
    fewer = max(2, points // 7)
    tasks = []
    ways = [WAYS[number % len(WAYS)] for number in range(points)]
    chance.shuffle(ways)
    chosen = choose(traces["run"], points, chance)
    tasks += [Task(target, "run", way, point) for way, point in zip(ways, chosen, strict=True)]
    for row in ("cleanup", "resume"):
        for number, point in enumerate(choose(traces[row], fewer, chance)):
            tasks.append(Task(target, row, ("settled", "at once")[number % 2], point))
    tasks += [
        Task(target, "engine", "alone", point)
        for point in choose_engine(traces["run"], fewer, chance)
    ]
    kinds = ("process", "group") if target == "local" else ("container", "machine")
    for number in range(fewer):
        event, delay = _WORKER_MOMENTS[number % len(_WORKER_MOMENTS)]
        tasks.append(Task(target, "worker", chance.choice(kinds), f"{event}+{delay}"))
    if target == "aws":
        for _ in range(fewer):
            # At random, not only around the events: what is after an act may be long.
            event = chance.choice(_WORKER_MOMENTS)[0]
            tasks.append(Task(target, "agent", "agent", f"{event}+{chance.random() * 2:.2f}"))
    return list(dict.fromkeys(tasks))


def count(bench: Bench, what: str) -> Trace:
    """Run something undisturbed and give its points.

    Raises:
        RuntimeError: it went wrong: then nothing else makes sense.
    """
    if what == "run":
        step, trace = bench.victim("run", bench.run_arguments, RUN_TIMEOUT)
    else:
        bench.victim("setup", bench.run_arguments, RUN_TIMEOUT, at=SETUP)
        command = CLEANUP if what == "cleanup" else _resume(bench)
        step, trace = bench.victim(what, command, RUN_TIMEOUT)
    if step.code != 0 or not trace:
        raise RuntimeError(f"an undisturbed {what} gave {step.code}: {step.err[-500:]}")
    return trace


# -- playing --------------------------------------------------------------------------------------


def play(task: Task, folder: Path, cloud: Cloud | None) -> Result:
    """Do one task in a folder of its own; the folder stays when anything is wrong."""
    began = time.monotonic()
    bench = Bench(folder, task.target, cloud)
    met = True
    try:
        met = _PLAYS[task.row](bench, task)
    except Stuck:
        truth = bench.truth(patient=False)
        bench.found("leak", f"when it hung: {truth}") if not truth.empty else None
    except Exception as error:  # noqa: BLE001 - a fault in here must be seen, and ends one task alone
        bench.found("unfinished", f"the harness: {type(error).__name__}: {error}")
    finally:
        bench.close()
    if bench.findings:
        told = [f"{task.target} {task}", *bench.took, *map(": ".join, bench.findings)]
        (folder / "README").write_text("\n".join(told) + "\n")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - began
    return Result(task, tuple(bench.findings), met, seconds, str(folder))


def _resume(bench: Bench) -> list[str]:
    return ["cloudburst", "resume", bench.run_id, "--json"]


def _kill_run(bench: Bench, task: Task) -> bool:
    cut = task.way.startswith(POWER_CUT)
    if bench.cloud is not None and cut:
        bench.cloud.hide(HIDDEN)
    aim = "all" if cut else "self"
    step, _ = bench.victim("run", bench.run_arguments, RUN_TIMEOUT, at=task.point, aim=aim)
    bench.note_homes()
    if not task.way.endswith("at once"):
        bench.check_audit(bench.truth())
    if task.way.removeprefix(POWER_CUT).startswith("cleanup"):
        _clean_up(bench)
    _go_on(bench)
    return step.code == KILLED


def _kill_cleanup(bench: Bench, task: Task) -> bool:
    bench.victim("run", bench.run_arguments, RUN_TIMEOUT, at=SETUP)
    bench.note_homes()
    if task.way == "settled":
        bench.truth()
    step, _ = bench.victim("cleanup-killed", CLEANUP, CLEANUP_TIMEOUT, at=task.point)
    if task.way == "settled":
        bench.check_audit(bench.truth())
    _clean_up(bench)
    _go_on(bench)
    return step.code == KILLED


def _kill_resume(bench: Bench, task: Task) -> bool:
    bench.victim("run", bench.run_arguments, RUN_TIMEOUT, at=SETUP)
    if task.way == "settled":
        bench.truth()
    bench.note_homes()
    step, _ = bench.victim("resume-killed", _resume(bench), RUN_TIMEOUT, at=task.point)
    bench.note_homes()
    if task.way == "settled":
        bench.check_audit(bench.truth())
    _go_on(bench)
    return step.code == KILLED


def _kill_engine(bench: Bench, task: Task) -> bool:
    arguments = bench.run_arguments
    step, trace = bench.victim("run", arguments, RUN_TIMEOUT, at=task.point, aim="engine")
    _check_end(bench, step)
    return trace[-1][0] != "it had ended" and any(one[0] == "killed" for one in trace)


def _kill_worker(bench: Bench, task: Task) -> bool:
    event, _, delay = task.point.partition("+")
    began = time.monotonic()
    process, path = bench.start("run", _program(bench.run_arguments))
    told = _told(path.with_suffix(".out"), event, lambda: process.poll() is None)
    if told is not None:
        time.sleep(float(delay))
        killed = _kill_worker_of(bench, told["batch"], task.way)
    step = bench.finish(process, path, RUN_TIMEOUT, began)
    _check_end(bench, step)
    return told is not None and killed


def _program(arguments: list[str]) -> list[str]:
    return [str(PROGRAMS / arguments[0]), *arguments[1:]]


def _told(path: Path, event: str, going_on: Callable[[], bool]) -> dict[str, Any] | None:
    """Wait until a run tells of an event; None when it ends without it."""
    with path.open() as lines:
        line = ""
        while True:
            # A run that writes a line has not always written all of it.
            line += lines.readline()
            if not line.endswith("\n"):
                if not going_on() and not line:
                    return None
                time.sleep(0.01)
                continue
            said: dict[str, Any] = json.loads(line)
            if event in (said["event"], said.get("state")):
                return said
            line = ""


def _kill_worker_of(bench: Bench, batch: str, kind: str) -> bool:
    """End a batch's worker with SIGKILL: a process of it, all of them, or its machine."""
    stack = f"{bench.run_id}-{batch}"
    if bench.cloud is not None:
        machines = [one for one in bench.cloud.running() if one.tags["cloudburst:stack"] == stack]
        if machines and kind == "machine":
            bench.cloud.kill(machines[-1])
        pid = machines[-1].container_pid if machines and kind == "container" else None
        if machines and kind == "agent":
            pid = machines[-1].services.get(AGENT, {}).get("pid")
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(pid) or (bool(machines) and kind == "machine")
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "cloudburst.videoapi" in words and stack in words:
            with suppress(ProcessLookupError):
                (os.killpg if kind == "group" else os.kill)(process.pid, signal.SIGKILL)
                return True
    return False


def _check_end(bench: Bench, step: Step) -> None:
    """A run whose engine or worker was killed ends by itself: all done or told why not."""
    finished = [json.loads(line) for line in step.out.splitlines() if '"run_finished"' in line]
    if not finished or step.code not in (0, 1):
        bench.found("unfinished", f"the run gave {step.code}: {step.err[-500:]}")
    for scene in finished[-1]["report"]["scenes"] if finished else ():
        if scene["status"] != "done" and not scene["error"]:
            bench.found("unfinished", f"{scene['name']} is {scene['status']} without a reason")
    bench.check_nothing_left("after the run")
    reports = list(bench.output.glob("*/report.json"))
    if reports and step.code == 0:
        bench.check_all_done()
    elif reports:
        bench.check_books(reports[0].parent)


def _clean_up(bench: Bench) -> None:
    open_before = bench.open_launches()
    step = bench.do("cleanup", CLEANUP, CLEANUP_TIMEOUT)
    if step.code != 0:
        bench.found("unfinished", f"cleanup gave {step.code}: {step.out[-300:]} {step.err[-300:]}")
    bench.check_nothing_left("after the cleanup")
    bench.check_kept()
    reports = list(bench.output.glob("*/report.json"))
    for report in reports:
        bench.check_books(report.parent)
    if open_before and not reports:
        bench.found("wrong books", f"cleaned up and not reported: {', '.join(open_before)}")


def _go_on(bench: Bench) -> None:
    """Resume the run, or begin anew when it was killed before there was anything to resume."""
    if bench.run_id and _has_begun(bench):
        step = bench.do("resume", _resume(bench), RUN_TIMEOUT)
    else:
        step = bench.do("anew", [*bench.run_arguments, "--resume"], RUN_TIMEOUT)
    if step.code != 0:
        kind = "leak" if step.code == LEFT else "unfinished"
        bench.found(kind, f"the resumed run gave {step.code}: {step.err[-800:]}")
    bench.check_nothing_left("after the resumed run")
    bench.check_all_done()


def _has_begun(bench: Bench) -> bool:
    """Say if the newest run's journal says of which run it is, by a look of our own."""
    folder = json.loads((bench.state / "runs" / f"{bench.run_id}.json").read_text())["folder"]
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{folder}/journal.db")) as db:
        return bool(db.execute("SELECT count(*) FROM run").fetchone()[0])
    return False


_PLAYS: dict[str, Callable[[Bench, Task], bool]] = {
    "run": _kill_run,
    "cleanup": _kill_cleanup,
    "resume": _kill_resume,
    "engine": _kill_engine,
    "worker": _kill_worker,
    "agent": _kill_worker,
}


# -- each in a process and a cloud of its own ------------------------------------------------------


@contextmanager
def _cloud_for(target: str) -> Iterator[Cloud | None]:
    """Give a cloud to a target that needs one; what one task leaves does not touch the next."""
    if target != "aws":
        yield None
        return
    with (
        tempfile.TemporaryDirectory(prefix="cloud-") as place,
        Cloud(Path(place), policy=POLICY) as cloud,
    ):
        yield cloud


def count_alone(target: str, what: str, folder: Path) -> Trace:
    """Count the points of something; see `count`."""
    with _cloud_for(target) as cloud:
        bench = Bench(folder, target, cloud)
        try:
            trace = count(bench, what)
        finally:
            bench.close()
    shutil.rmtree(folder)
    return trace


def play_alone(task: Task, folder: Path) -> Result:
    """Do one task; see `play`."""
    with _cloud_for(task.target) as cloud:
        return play(task, folder, cloud)


# -- telling --------------------------------------------------------------------------------------


def table(results: Sequence[Result], kinds: Sequence[str]) -> list[list[str]]:
    """Give the table: what was killed, how often, and what went wrong."""
    lines = [["target", "killed", "runs", *kinds]]
    for target in dict.fromkeys(one.task.target for one in results):
        for row in ROWS:
            mine = [one for one in results if (one.task.target, one.task.row) == (target, row)]
            if mine:
                wrong = [
                    sum(any(k == kind for k, _ in one.findings) for one in mine) for kind in kinds
                ]
                lines.append([target, WHAT[row], str(len(mine)), *map(str, wrong)])
    return lines
