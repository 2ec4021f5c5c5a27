"""Every fault that the test cloud can inject, alone and in pairs: `python -m tests.chaos.faults`.

Each combination gets a cloud, a state folder and a run of its own. Whatever happens, `KINDS` must
not: after a cleanup something runs; an audit that is not true; report, journal and the cloud's own
ledger differ by a cent; a scene that does not end exactly once, as done or failed with a reason; a
run that, resumed without faults, does not finish, or renders again what was home.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from unittest.mock import patch

from testcloud.cloud import Cloud
from testcloud.faults import Fault, MachineFault
from tests.chaos import document
from tests.support.clouds import POLICY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cloudburst import Event, Job, RunReport

# The provider's own tries, and as many again.
FEW, MANY = 3, 6
CENT = 0.01
# What may be wrong afterwards; every finding begins with one of them.
LEAK, AUDIT, BILL, SCENE, END = KINDS = ("leak", "untrue audit", "bill", "scene", "end")
COMBINATION_SECONDS = 240.0
JOB = """version: 1
target: aws
aws: {zones: [us-east-1a, us-east-1b], instance_types: [c5.2xlarge], markets: [spot, on-demand]}
limits: {health_timeout: 8, scene_timeout: 20}
scenes:
  - {name: s01, image: p.png, audio: a.wav}
  - {name: s02, image: p.png, audio: a.wav}
  - {name: s03, image: p.png, audio: long.wav, effects: [zoom_in]}
"""


@dataclass(frozen=True)
class Order:
    """A fault to be ordered from a cloud.

    Attributes:
        name: its.
        order: orders it, before the run begins.
        when: kind of the event at which `happen` is called; nothing for never.
        happen: what befalls the cloud then.
    """

    name: str
    order: Callable[[Cloud], None] = lambda _: None
    when: str = ""
    happen: Callable[[Cloud], None] = lambda _: None


def _api(name: str, *faults: Fault) -> Order:
    return Order(name, lambda cloud: cloud.faults.add(*faults))


def _machine(kind: str, seconds: float = 0.0, lasts: float = 0.0) -> Order:
    def order(cloud: Cloud) -> None:
        cloud.machine_faults.append(MachineFault(kind, 1, {}, seconds, lasts))

    return Order(kind, order)


def _to_newest(what: Callable[[Cloud, Any], None]) -> Callable[[Cloud], None]:
    def happen(cloud: Cloud) -> None:
        running = cloud.running()
        if running:
            what(cloud, running[-1])

    return happen


def _network_gone(cloud: Cloud) -> None:
    cloud.faults.add(Fault("*", drop=True, times=40))


# Built anew for each cloud: a fault is used up as it fires.
def catalogue() -> dict[str, Order]:
    """Give every fault by name."""
    orders = [
        *(
            _api(f"RunInstances {code}", Fault("RunInstances", code, times=times))
            for code, times in (
                ("InsufficientInstanceCapacity", FEW),
                ("VcpuLimitExceeded", 2),
                ("RequestLimitExceeded", FEW),
                ("InternalError", FEW),
                ("UnauthorizedOperation", 1),
                ("MaxSpotInstanceCountExceeded", 2),
            )
        ),
        _api("RunInstances unanswered", Fault("RunInstances", drop=True, times=FEW)),
        _api("RunInstances done, unanswered", Fault("RunInstances", drop=True, after=True)),
        _api("RunInstances done, error", Fault("RunInstances", "InternalError", after=True)),
        _api("RunInstances slow", Fault("RunInstances", delay=3.0, times=2)),
        _api("TerminateInstances fails", Fault("TerminateInstances", "InternalError", times=MANY)),
        _api(
            "TerminateInstances refused",
            Fault("TerminateInstances", "UnauthorizedOperation", times=None),
        ),
        _api(
            "TerminateInstances unanswered",
            Fault("TerminateInstances", drop=True, after=True, times=FEW),
        ),
        _api("DescribeInstances fails", Fault("DescribeInstances", "InternalError", times=MANY)),
        _api("DescribeInstances unanswered", Fault("DescribeInstances", drop=True, times=MANY)),
        _api(
            "DeleteSecurityGroup fails",
            Fault("DeleteSecurityGroup", "DependencyViolation", times=FEW),
        ),
        _api("CreateSecurityGroup fails", Fault("CreateSecurityGroup", "InternalError", times=FEW)),
        Order("new machines hidden", lambda cloud: cloud.hide(2.0)),
        Order("slow end", lambda cloud: setattr(cloud, "shutdown_seconds", 4.0)),
        _machine("slow_boot", 3.0),
        _machine("never_healthy"),
        _machine("pull_fails"),
        _machine("dies", 0.5),
        _machine("silent", 0.5),
        _machine("reboot", 1.0),
        _machine("agent_killed", 1.0),
        _machine("logind_away"),
        _machine("late_docker"),
        _machine("image_not_found"),
        _machine("exec_format"),
        _machine("intercepted"),
        # Longer than a request is silent: no NAT forgets sooner (RFC 5382 asks for two hours).
        _machine("nat", 25.0),
        _machine("cut", 1.0, 3.0),
        Order(
            "spot notice",
            when="scene_started",
            happen=_to_newest(lambda cloud, one: cloud.spot_notice(one, 1.0)),
        ),
        Order(
            "hardware fails",
            when="scene_started",
            happen=_to_newest(lambda cloud, one: cloud.kill(one)),
        ),
        Order(
            "powered off",
            when="scene_done",
            happen=_to_newest(lambda cloud, one: cloud.power_off(one)),
        ),
        Order("network gone", when="scene_started", happen=_network_gone),
    ]
    return {order.name: order for order in orders}


class World:
    """A cloud, a job, and a run of it whose cloud suffers faults.

    Args:
        folder: for everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cloud = Cloud(folder / "cloud", policy=POLICY)
        self.reports: list[RunReport] = []
        self.home: dict[str, bytes] = {}

    def __enter__(self) -> Self:
        self.cloud.__enter__()
        self._before = dict(os.environ)
        os.environ.update(self.cloud.environment())
        os.environ["CLOUDBURST_STATE"] = str(self.folder / "state")
        os.environ.pop("PULUMI_BACKEND_URL", None)
        return self

    def __exit__(self, *error: object) -> None:
        os.environ.clear()
        os.environ.update(self._before)
        self.cloud.__exit__(*error)  # type: ignore[arg-type]

    def job(self) -> Job:
        """Write the job and load it."""
        from cloudburst import load_job
        from tests.support.inputs import write_picture, write_sound

        path = self.folder / "job" / "scenes.yaml"
        if not path.exists():
            write_picture(path.parent / "p.png")
            write_sound(path.parent / "a.wav", 0.5)
            write_sound(path.parent / "long.wav", 4.0, rate=8000)
            path.write_text(JOB)
        return load_job(path, output=self.folder / "out")

    def run(self, orders: Iterable[Order] = (), **limits: float) -> RunReport | None:
        """Run the job, or go on with its run; give the report, None where there is none.

        Args:
            orders: the faults that it suffers.
            limits: others than the job's, in seconds; with them nothing is hurried.
        """
        from cloudburst.errors import InfrastructureError, Interrupted, LeftRunning
        from cloudburst.runner import pipeline
        from cloudburst.runner.resume import newest

        waiting = list(orders)
        for order in waiting:
            order.order(self.cloud)

        def watch(event: Event) -> None:
            for order in [one for one in waiting if one.when == str(event.kind)]:
                waiting.remove(order)
                order.happen(self.cloud)

        job = self.job()
        job, folder = newest(job) or (job, None)
        job = replace(job, limits=replace(job.limits, **limits))
        try:
            with nullcontext() if limits else hurried():
                report = pipeline.run(job, resume=folder, on_event=watch)
        except (Interrupted, LeftRunning) as error:
            report = error.report
        except InfrastructureError:
            return None
        self.reports.append(report)
        return report

    def clean(self) -> list[str]:
        """Clean up without faults; give what is left then, and what does not agree."""
        from cloudburst.recovery.audit import audit
        from cloudburst.recovery.cleanup import choose, cleanup

        self.cloud.faults.clear()
        self.cloud.machine_faults.clear()
        self.cloud.hide(0.0)
        found = audit()
        wrong = [f"{AUDIT}: could not ask {line}" for line in found.unseen]
        truly = self.cloud.remaining() or self._stacks()
        if bool(found.orphaned) != bool(truly):
            wrong.append(f"{AUDIT}: it found {found.orphaned}, there is {truly}")
        with hurried():
            done = cleanup(choose(found, None, orphans=False).runs)
        wrong += [f"{LEAK}: cleanup failed: {one}" for one in done.failed]
        wrong += [f"{LEAK}: cleanup skipped: {one}" for one in done.skipped]
        wrong += [f"{LEAK}: {one}" for one in [*self.cloud.remaining(), *self._stacks()]]
        if audit().exit_code != 0:
            wrong.append(f"{AUDIT}: it does not say clean")
        return [*wrong, *self.disagreements()]

    def _stacks(self) -> list[str]:
        places = (self.folder / "state" / "backend" / ".pulumi" / "stacks").rglob("*.json")
        return [place.stem for place in places]

    def disagreements(self) -> list[str]:
        """Say where report, journal and the cloud's ledger differ, or a scene did not end once."""
        from cloudburst.journal import store as journal

        wrong = []
        for folder in (self.folder / "out").glob("batch_*"):
            history = journal.read(folder)
            if history is None or not (folder / "report.json").exists():
                wrong.append(f"{BILL}: {folder.name} has no journal or no report")
                continue
            report = json.loads((folder / "report.json").read_text())
            told = sum(one["usd"] for one in report["cost"]["lines"] if one["kind"] == "machine")
            bills = self.cloud.bills()
            truly = sum(bill.usd for bill in bills)
            if abs(told - truly) > CENT:
                wrong.append(f"{BILL}: the report says ${told:.4f}, the cloud ${truly:.4f}")
            noted = {one.machine for one in history.rentals}
            if noted != {bill.machine for bill in bills}:
                wrong.append(
                    f"{BILL}: the journal has {noted}, the cloud {[b.machine for b in bills]}"
                )
            for scene in report["scenes"]:
                tries = history.attempts.get(scene["name"], ())
                good = sum(one.error is None for one in tries)
                if (scene["status"] == "done") != (scene["name"] in history.videos):
                    wrong.append(
                        f"{SCENE}: {scene['name']} is {scene['status']}, not so in the journal"
                    )
                if good > 1 or (scene["status"] == "done") != (good == 1):
                    wrong.append(
                        f"{SCENE}: {scene['name']} {scene['status']} with {good} good tries"
                    )
                if scene["status"] == "failed" and not scene["error"]:
                    wrong.append(f"{SCENE}: {scene['name']} failed without a reason")
                if scene["status"] == "unfinished" and not (report["error"] or history.outcome):
                    wrong.append(f"{SCENE}: {scene['name']} is unfinished without a reason")
        return wrong

    def finish(self) -> list[str]:
        """Resume without faults; say what is not as it should be."""
        home = {path.name: path.read_bytes() for path in (self.folder / "out").rglob("s*.mp4")}
        # Nothing hinders it but the other programs of this computer.
        report = self.run(health_timeout=120.0, scene_timeout=120.0)
        if report is None:
            return [f"{END}: the resumed run could not begin"]
        if report.done != len(report.scenes):
            reasons = [f"{one.name}: {one.error}" for one in report.scenes if one.error]
            return [f"{END}: the resumed run did not finish: {report.error} {reasons}"]
        after = {path.name: path.read_bytes() for path in report.directory.glob("*.mp4")}
        again = [name for name in home if after.get(name) != home[name]]
        wrong = [f"{END}: {name} was home and was rendered again" for name in again]
        if report.left_running:
            wrong.append(f"{LEAK}: left running: {report.left_running}")
        wrong += [f"{LEAK}: {one}" for one in [*self.cloud.remaining(), *self._stacks()]]
        return [*wrong, *self.disagreements()]


@contextmanager
def hurried() -> Iterator[None]:
    """Let what takes minutes take seconds: patience is not what is tried here."""
    from cloudburst.runner import batch
    from cloudburst.runner.ending import teardown
    from cloudburst.runner.worker import render_loop, worker_run
    from cloudburst.targets.aws import ec2

    with (
        patch.multiple(render_loop, SILENCE=4.0, RESTART=2.0, ASK_EVERY=0.5, ASK_TIMEOUT=0.5),
        patch.multiple(teardown, PATIENCE=15.0, LONGEST_PAUSE=1.0),
        patch.object(batch, "FIRST_PAUSE", 0.1),
        patch.object(ec2, "END_TIMEOUT", 15.0),
        patch.object(worker_run, "JOIN_TIMEOUT", 3.0),
    ):
        yield


def try_together(names: Sequence[str], folder: Path) -> list[str]:
    """Let a run suffer some faults; say what is not as it should be afterwards."""
    orders = catalogue()
    with World(folder) as world:
        world.run([orders[name] for name in names])
        wrong = world.clean()
        wrong += world.finish()
    return wrong


# -- many at once -------------------------------------------------------------------------------


def chosen(seed: int, pairs: int | None) -> list[tuple[str, ...]]:
    """Give every fault alone, and pairs: all, or so many of them, in an order by chance."""
    names = list(catalogue())
    couples = list(combinations(names, 2))
    # Whatever --minutes cuts off, the rest has some of everything.
    random.Random(seed).shuffle(couples)  # noqa: S311 - it has to be the same again
    couples = couples[:pairs]
    return [*((name,) for name in names), *couples]


def apart(names: Sequence[str]) -> list[str]:
    """Try a combination in a process of its own: clouds share what moto keeps."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        try:
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "tests.chaos.faults",
                    "--one",
                    json.dumps(list(names)),
                    folder,
                ],
                capture_output=True,
                text=True,
                timeout=COMBINATION_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return [f"{END}: it did not end within {COMBINATION_SECONDS:.0f} s"]
    try:
        return list(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError):
        return [f"{END}: it broke: {done.stderr[-1500:]}"]


Tried = list[tuple[tuple[str, ...], list[str]]]


def run_all(seed: int, pairs: int | None, minutes: float, together: int = 2) -> Tried:
    """Try many combinations; print, and give, each with what is wrong afterwards."""
    deadline, tried = time.monotonic() + minutes * 60, []

    def one(names: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]] | None:
        return (names, apart(names)) if time.monotonic() < deadline else None

    with ThreadPoolExecutor(together) as pool:
        for answer in pool.map(one, chosen(seed, pairs)):
            if answer is None:
                continue
            names, wrong = answer
            tried.append(answer)
            sys.stdout.write(f"{'WRONG' if wrong else 'ok':<6}{' + '.join(names)}\n")
            sys.stdout.writelines(f"      {line}\n" for line in wrong)
            sys.stdout.flush()
    return tried


def table(tried: Tried) -> list[list[str]]:
    """Give the table: how many combinations were tried, and what was wrong afterwards."""
    rows = [["faults of the test cloud", "runs", *KINDS]]
    for size, what in ((1, "each one alone"), (2, "two at once")):
        mine = [wrong for names, wrong in tried if len(names) == size]
        counts = [sum(any(line.startswith(kind) for line in one) for one in mine) for kind in KINDS]
        rows.append([what, str(len(mine)), *map(str, counts)])
    return rows


def main() -> int:
    """Be the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("NAMES", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pairs", type=int, help="so many pairs by chance; all without it")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin nothing after that")
    parser.add_argument("--write", action="store_true", help="the table, into the documentation")
    options = parser.parse_args()
    if options.one:
        wrong = try_together(json.loads(options.one[0]), Path(options.one[1]))
        sys.stdout.write(f"{json.dumps(wrong)}\n")
        return 0
    began = time.monotonic()
    tried = run_all(options.seed, options.pairs, options.minutes)
    sys.stdout.write("\n".join(document.markdown(table(tried))) + "\n")
    if options.write:
        words = f"Seed {options.seed}, {(time.monotonic() - began) / 60:.0f} minutes on two cores."
        document.write("faults", table(tried), words)
    return 1 if any(wrong for _, wrong in tried) or not tried else 0


if __name__ == "__main__":
    sys.exit(main())
