"""One victim's world: its folder, its job, its cloud, and what is true of it.

What is true is found without the product: by looking at the backend's files, at the processes of
the machine, and into the test cloud's books.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst.job.fingerprint import file_digest
from cloudburst.journal import store as journal
from cloudburst.media import MediaError, inspect_video
from cloudburst.report import cost
from tests.support.inputs import scenes_yaml, write_picture, write_sound
from tests.support.runs import processes_of

if TYPE_CHECKING:
    from cloudburst.journal.state import RunState
    from testcloud.cloud import Bill, Cloud

SCENES = 4
NARRATION = 0.6
TWO_BATCHES = "distribution: {scenes_per_batch: 2, min_scenes_per_batch: 1}\n"
# One scene at a time fits on it, so both machines of the job have work.
ONE_ZONE = "aws: {zones: [us-east-1a], instance_types: [m5.large]}\n"
PROGRAMS = Path(sys.executable).parent
REPOSITORY = Path(__file__).parent.parent.parent
# Seconds. A step that takes longer hangs; the machine may have other things to do, too.
RUN_TIMEOUT, AUDIT_TIMEOUT, CLEANUP_TIMEOUT = 120.0, 60.0, 120.0
# Engines and workers of a dead run end by themselves: so long they may take.
ENDING = 20.0
KILLED = -signal.SIGKILL
LEFT = 4
_IDS = re.compile(r"\b(?:i|sg|vol|eni|sir)-[0-9a-f]+\b")
# AWS bills whole seconds, a minute at least. A run pays from the launch to the look that finds the
# machine gone, so a little more than the cloud says is right, less never is.
_LESS, _MORE, _CENT = 1.0, 12.0, 0.01

KINDS = ("leak", "loss", "untrue audit", "unfinished", "wrong books", "hang")


@dataclass(frozen=True)
class Step:
    """A command that was run.

    Args:
        code: its exit code, negative for a signal.
        out: what it said.
        err: what it said on standard error.
    """

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Truth:
    """What there is.

    Args:
        stacks: in the backend.
        machines: ids of what the cloud has, or process ids of local workers, with words.
        strays: other processes of the runs, engines above all.
    """

    stacks: tuple[str, ...]
    machines: dict[str, str]
    strays: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return not (self.stacks or self.machines or self.strays)

    def __str__(self) -> str:
        return "; ".join([*self.stacks, *self.machines.values(), *self.strays]) or "nothing"


@dataclass(frozen=True)
class Video:
    """A video that was home when something was killed."""

    path: Path
    digest: str
    modified: int


class Stuck(Exception):
    """A step hangs: what would come after it says nothing."""


@dataclass
class Bench:
    """The world of one victim.

    Args:
        folder: for everything it makes.
        target: where its workers live.
        cloud: AWS, for the aws target.

    Attributes:
        findings: what is wrong: one of `KINDS`, and words.
        homes: videos that were home when something was killed.
        took: what was done, with exit codes and seconds.
    """

    folder: Path
    target: str
    cloud: Cloud | None = None
    findings: list[tuple[str, str]] = field(default_factory=list)
    homes: dict[Path, Video] = field(default_factory=dict)
    took: list[str] = field(default_factory=list)
    _steps: int = 0
    _before: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state.mkdir(exist_ok=True)
        self._before = len(self.cloud.machines) if self.cloud else 0
        write_picture(self.job.parent / "p.png")
        write_sound(self.job.parent / "a.wav", NARRATION)
        where = f"target: {self.target}\n{ONE_ZONE if self.target == 'aws' else ''}"
        self.job.write_text(scenes_yaml(SCENES, where + TWO_BATCHES))

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def job(self) -> Path:
        return self.folder / "job" / "scenes.yaml"

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def run_arguments(self) -> list[str]:
        return ["cloudburst-run", str(self.job), "--output", str(self.output), "--json"]

    def environment(self) -> dict[str, str]:
        ours = ("AWS_", "PULUMI_", "CLOUDBURST_STATE", "RESULTS_DIR", "DOCKER_IMAGE")
        plain = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        more = self.cloud.environment() if self.cloud else {}
        return {**plain, **more, "CLOUDBURST_STATE": str(self.state)}

    def found(self, kind: str, words: str) -> None:
        self.findings.append((kind, words))

    # -- steps ----------------------------------------------------------------------------------

    def start(self, name: str, command: list[str]) -> tuple[subprocess.Popen[str], Path]:
        """Start a command; what it says goes to files in the folder."""
        self._steps += 1
        path = self.folder / f"{self._steps:02d}-{name}"
        with path.with_suffix(".out").open("w") as out, path.with_suffix(".err").open("w") as err:
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
            )
        return process, path

    def finish(
        self, process: subprocess.Popen[str], path: Path, timeout: float, began: float
    ) -> Step:
        """Wait for a command; one that hangs is ended.

        Raises:
            Stuck: it took too long.
        """
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.found("hang", f"{path.name} took longer than {timeout:.0f} s")
            raise Stuck from None
        self.took.append(f"{path.name}: {process.returncode}, {time.monotonic() - began:.1f} s")
        return Step(
            process.returncode,
            path.with_suffix(".out").read_text(),
            path.with_suffix(".err").read_text(),
        )

    def do(self, name: str, arguments: list[str], timeout: float) -> Step:
        """Run a command of the project to its end."""
        began = time.monotonic()
        process, path = self.start(name, [str(PROGRAMS / arguments[0]), *arguments[1:]])
        return self.finish(process, path, timeout, began)

    def victim(
        self, name: str, arguments: list[str], timeout: float, *, at: str = "", aim: str = "self"
    ) -> tuple[Step, list[tuple[str, float, str]]]:
        """Run a command that is killed at a point; give also the points it came to."""
        trace = self.folder / f"{self._steps + 1:02d}-{name}.trace"
        command = [sys.executable, "-m", "tests.chaos.victim", "--within", str(self.folder)]
        command += ["--trace", str(trace), "--at", at, "--aim", aim, "--", *arguments]
        began = time.monotonic()
        process, path = self.start(name, command)
        step = self.finish(process, path, timeout, began)
        lines = [line.split("\t") for line in trace.read_text().splitlines()]
        return step, [(number, float(moment), words) for number, moment, words in lines]

    # -- what is true ---------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The newest run that has left a note of itself, "" when none has."""
        return max((path.stem for path in (self.state / "runs").glob("*.json")), default="")

    def truth(self, *, patient: bool = True) -> Truth:
        """Look; what ends by itself is waited for."""
        deadline = time.monotonic() + ENDING
        began = time.monotonic()
        while (found := processes_of(self.state)) and patient and time.monotonic() < deadline:
            time.sleep(0.05)
        self.took.append(f"    processes ended after {time.monotonic() - began:.1f} s")
        workers = {
            line.partition(" ")[0]: f"process {line[:100]}"
            for line in found
            if "cloudburst.videoapi" in line
        }
        strays = tuple(
            f"process {line[:100]}" for line in found if "cloudburst.videoapi" not in line
        )
        machines = {(_IDS.search(line) or [line])[0]: line for line in self._in_the_cloud()}
        folder = self.state / "backend" / ".pulumi" / "stacks" / "cloudburst"
        stacks = tuple(sorted(path.stem for path in folder.glob("*.json")))
        return Truth(stacks, machines | workers, strays)

    def _in_the_cloud(self) -> list[str]:
        if self.cloud is None:
            return []
        left = self.cloud.remaining()
        # A machine's own card comes and goes with it, and nobody can end it alone.
        cards = {
            card.id for machine in self.cloud.running() for card in machine.instance.nics.values()
        }
        return [line for line in left if not any(card in line for card in cards)]

    def note_homes(self) -> None:
        """See which videos are home now, and that each that has its final name is whole."""
        for path in self.output.glob("*/*.mp4"):
            try:
                video = inspect_video(path)
            except MediaError as error:
                self.found("loss", f"{path.name} has its final name and is not whole: {error}")
                continue
            if abs(video.sound_seconds - NARRATION) > 0.1:
                self.found("loss", f"{path.name} has its final name and {video.sound_seconds} s")
            self.homes[path] = Video(path, file_digest(path), path.stat().st_mtime_ns)

    def open_launches(self) -> list[str]:
        """List the stacks of which no journal says that they are gone."""
        histories = [journal.read(path.parent) for path in self.output.glob("*/journal.db")]
        return [one.stack for history in histories if history for one in history.unfinished]

    # -- checks ---------------------------------------------------------------------------------

    def check_audit(self, truth: Truth) -> None:
        """See that an audit says what is so."""
        step = self.do("audit", ["cloudburst", "audit", "--json"], AUDIT_TIMEOUT)
        there = {*truth.stacks, *truth.machines}
        expected = LEFT if there else 0
        if step.code != expected:
            words = f"audit gave {step.code} instead of {expected}; there is {truth}"
            self.found("untrue audit", f"{words}; {step.err[-300:]}")
        try:
            document = json.loads(step.out)
        except ValueError:
            self.found("untrue audit", f"no JSON: {step.out[-200:]} {step.err[-300:]}")
            return
        stacks = [one for run in document["runs"] for one in run["stacks"] if one["left"]]
        named = {one["name"] for one in stacks} | {
            rest["id"] for one in stacks for rest in one["remains"]
        }
        if missing := sorted(there - named):
            self.found("untrue audit", f"it does not name {', '.join(missing)}; there is {truth}")
        # A stack that only a provider still shows has its name here, too.
        invented = {one["name"] for one in stacks if not one["remains"]} - set(truth.stacks)
        invented |= {rest["id"] for one in stacks for rest in one["remains"]} - set(truth.machines)
        if invented:
            self.found("untrue audit", f"it invents {', '.join(sorted(invented))}; {truth}")
        if document["clean"] != (step.code == 0):
            self.found("untrue audit", f"clean is {document['clean']}, the exit code {step.code}")

    def check_nothing_left(self, when: str) -> None:
        """See that nothing is left, and that an audit says so."""
        truth = self.truth()
        if not truth.empty:
            self.found("leak", f"{when}: {truth}")
        litter = [
            *(self.state / "workspaces").glob("*-b*"),
            *(self.state / "workers").glob("*"),
            *(self.state / "backend/.pulumi/locks/organization/cloudburst").glob("*"),
            *(self.state / "backend/.pulumi/history/cloudburst").glob("*"),
            *(self.state / "backend/.pulumi/backups/cloudburst").glob("*"),
        ]
        if litter:
            names = ", ".join(str(path.relative_to(self.state)) for path in litter)
            self.found("leak", f"{when}: files {names}")
        self.check_audit(truth)

    def check_kept(self) -> None:
        """See that no video that was home was lost or rendered again."""
        for video in self.homes.values():
            name = f"{video.path.parent.name}/{video.path.name}"
            if not video.path.exists():
                self.found("loss", f"{name} was home and is gone")
            elif file_digest(video.path) != video.digest:
                self.found("loss", f"{name} was home and has other bytes")
            elif video.path.stat().st_mtime_ns != video.modified:
                self.found("loss", f"{name} was home and was written again")

    def check_all_done(self) -> None:
        """See that the newest run has every video, whole, and books that agree."""
        reports = sorted(self.output.glob("*/report.json"), key=lambda path: path.stat().st_mtime)
        if not reports:
            self.found("unfinished", "there is no report.json")
            return
        folder = reports[-1].parent
        for number in range(1, SCENES + 1):
            path = folder / f"s{number:02d}.mp4"
            try:
                video = inspect_video(path)
            except (MediaError, OSError) as error:
                self.found("unfinished", f"{path.name}: {error}")
                continue
            if abs(video.sound_seconds - NARRATION) > 0.1:
                self.found("unfinished", f"{path.name} has {video.sound_seconds} s")
        if parts := [path.name for path in folder.glob("*.part")]:
            self.found("unfinished", f"files are left: {', '.join(parts)}")
        self.check_kept()
        self.check_books(folder)

    def check_books(self, folder: Path) -> None:
        """See that report, journal and the cloud's own books agree."""
        report = json.loads((folder / "report.json").read_text())
        history = journal.read(folder)
        if history is None:
            self.found("wrong books", "there is a report and no journal")
            return
        for scene in report["scenes"]:
            self._check_scene(scene, history)
        if report["left_running"]:
            self.found("wrong books", f"the report says it left {report['left_running']}")
        if history.unfinished:
            self.found("wrong books", f"in the journal are open: {history.unfinished}")
        if self.cloud is None:
            told, noted = (
                report["cost"]["worker_seconds"],
                cost.worker_seconds(
                    launch for batch in history.batches for launch in batch.launches
                ),
            )
            if abs(told - noted) > 0.01:
                words = f"the report has {told} worker-seconds, the journal {noted}"
                self.found("wrong books", words)
        else:
            self._check_bill(report, history)

    def _check_scene(self, scene: dict[str, Any], history: RunState) -> None:
        name, home = scene["name"], history.videos.get(scene["name"])
        if (scene["status"] == "done") != (home is not None):
            self.found("wrong books", f"{name} is {scene['status']}; in the journal: {home}")
        tries = history.attempts.get(name, ())
        told, noted = [one["error"] for one in scene["attempts"]], [one.error for one in tries]
        if told != noted:
            self.found("wrong books", f"{name}: tries {told}, in the journal {noted}")
        if noted.count(None) > 1:
            self.found("loss", f"{name} was rendered {noted.count(None)} times with success")
        if home is not None:
            if file_digest(home.artifact.path) != home.sha256:
                self.found("wrong books", f"{name} is not the file that the journal knows")
            if scene["artifact"]["size"] != home.artifact.size:
                self.found("wrong books", f"{name} has another size than in the journal")

    def _check_bill(self, report: dict[str, Any], history: RunState) -> None:
        lines = {
            line["what"].partition(" ")[0]: line
            for line in report["cost"]["lines"]
            if line["kind"] == "machine"
        }
        rentals = {one.machine: one for one in history.rentals}
        bills = {bill.machine: bill for bill in self.bills()}
        if set(lines) != set(bills) or set(rentals) != set(bills):
            words = f"the report bills {sorted(lines)}, the journal has {sorted(rentals)}"
            self.found("wrong books", f"{words}, the cloud {sorted(bills)}")
        for name in set(lines) & set(bills):
            line, bill = lines[name], bills[name]
            more = line["quantity"] * 3600 - bill.seconds
            dearer = line["usd"] - bill.usd
            if not -_LESS <= more <= _MORE or abs(dearer) > _CENT:
                words = f"{name}: the report bills {line['quantity'] * 3600:.1f} s, ${line['usd']}"
                self.found("wrong books", f"{words}; the cloud {bill.seconds} s, ${bill.usd:.6f}")
        for name in set(lines) & set(rentals):
            if rentals[name].until is None:
                self.found("wrong books", f"{name} has no end in the journal")

    def bills(self) -> list[Bill]:
        """Give the bills of this victim's machines."""
        return self.cloud.bills()[self._before :] if self.cloud else []

    # -- the end --------------------------------------------------------------------------------

    def close(self) -> None:
        """End whatever is still there, by its number: all of it was started here."""
        for line in processes_of(self.state):
            with suppress(ProcessLookupError):
                os.kill(int(line.partition(" ")[0]), signal.SIGKILL)
