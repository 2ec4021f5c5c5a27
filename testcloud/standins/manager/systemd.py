"""A machine's systemd: jobs in their order, services, timers, and the end of the machine.

systemd.unit(5) for dependencies, systemd.timer(5) for timers, systemctl(1) for the requests.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from manager import vendor
from manager.service import Place, Service
from manager.unitfiles import UnitFiles
from manager.units import Unit, moment, seconds

Reply = Callable[[dict[str, Any]], None]
_DEPENDENCIES = ("Requires", "Wants", "BindsTo")
_ENDS = {"poweroff": "poweroff", "reboot": "reboot", "exit": "poweroff", "halt": "halt"}


@dataclass
class Job:
    """A unit that is to start, as soon as what it is ordered after has started.

    Attributes:
        begun: it runs; a oneshot's job runs until its command has ended.
        waiting: who hears of its end.
    """

    unit: Unit
    begun: bool = False
    waiting: list[Reply] = field(default_factory=list)


class Systemd:
    """The manager of a machine's units.

    Args:
        place: where services run.
        files: the unit files.
        launched: epoch seconds of the machine's first boot.
        builtin: what starts the units of the image; it calls `started` or `failed`.
        end: ends the machine: poweroff, reboot or halt.
    """

    def __init__(
        self,
        place: Place,
        files: UnitFiles,
        launched: float,
        builtin: dict[str, Callable[[], None]],
        end: Callable[[str], None],
    ) -> None:
        self.place, self.files = place, files
        self._launched, self._builtin, self._end = launched, builtin, end
        self.services: dict[str, Service] = {}
        self.states: dict[str, str] = {}
        self.jobs: dict[str, Job] = {}
        self.timers: dict[str, float] = {}
        self.ending = ""
        self._loaded: dict[str, Unit | None] = {}
        self._shown = ""

    # -- units --------------------------------------------------------------------------------

    def load(self, name: str) -> Unit | None:
        """Return a unit as it was when it was loaded; a change counts after a daemon-reload."""
        if self._loaded.get(name) is None:
            try:
                self._loaded[name] = self.files.find(name)
            except ValueError as error:
                self.place.log(f"{name}: {error}")
                return None
        unit = self._loaded[name]
        # A mask is found in the file system each time, as systemctl reloads after it.
        found = self.files.find(name)
        return found if found is not None and found.masked else unit

    def reload(self) -> None:
        """Forget the unit files."""
        self._loaded.clear()
        for name, service in self.services.items():
            unit = self.load(name)
            if unit is not None and not unit.masked:
                service.unit = unit

    def state(self, name: str) -> str:
        """Return the active state of a unit."""
        if name in self.services:
            return str(self.services[name].state)
        if name in self.jobs:
            return "activating" if self.jobs[name].begun else "inactive"
        return self.states.get(name, "inactive")

    # -- jobs ---------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start what the machine starts when it boots."""
        early = ("sysinit", "basic", "network", "network-online", "time-sync")
        for target in early:
            self.states[f"{target}.target"] = "active"
        for target in ("default", "multi-user", "timers", "sockets", "cloud-init", *early):
            for name in self.files.wanted_by(f"{target}.target"):
                self.start(name)
        for target in ("sockets", "timers", "cloud-init", "multi-user", "default"):
            self.start(f"{target}.target")

    def start(self, name: str, reply: Reply | None = None) -> str:
        """Queue a unit with what it needs; return why it cannot be started, "" if it can."""
        unit = self.load(name)
        if unit is None:
            return f"Failed to start {name}: Unit {name} not found."
        if unit.masked:
            return f"Failed to start {name}: Unit {name} is masked."
        if self.ending:
            return f"Failed to start {name}: Transaction is destructive."
        if self.state(name) == "active" and name not in self.jobs:
            if reply:
                reply({})
            return ""
        job = self.jobs.setdefault(name, Job(unit))
        if reply:
            job.waiting.append(reply)
        return self._start_needed(unit)

    def _start_needed(self, unit: Unit) -> str:
        """Queue what a unit needs; return why it cannot be started, "" if it can."""
        for key in _DEPENDENCIES:
            for other in unit.names("Unit", key):
                if other in self.jobs or self.state(other) == "active":
                    continue
                problem = self.start(other)
                if problem and key != "Wants":
                    self._finish(unit.name, f"A dependency job for {unit.name} failed: {problem}")
                    return problem
        return ""

    def run_jobs(self) -> None:
        """Start every queued unit whose turn has come."""
        progress = True
        while progress:
            progress = False
            for name, job in list(self.jobs.items()):
                if not job.begun and self.jobs.get(name) is job and self._may_start(job.unit):
                    job.begun = progress = True
                    self._begin(name, job.unit)

    def _may_start(self, unit: Unit) -> bool:
        if self.state(unit.name) == "deactivating":
            return False
        return not any(other in self.jobs for other in self._after(unit) if other != unit.name)

    def _after(self, unit: Unit) -> set[str]:
        """Return the units that a unit is ordered after."""
        after = set(unit.names("Unit", "After"))
        after |= {
            n for n, job in self.jobs.items() if unit.name in job.unit.names("Unit", "Before")
        }
        if unit.name.endswith(".target"):
            # systemd.target(5): a target is ordered after what it wants.
            after |= set(self.files.wanted_by(unit.name))
        if unit.name == "default.target":
            after.add("multi-user.target")
        return after

    def _begin(self, name: str, unit: Unit) -> None:
        if name in self._builtin:
            self._builtin[name]()
        elif name.endswith(".timer"):
            self._begin_timer(name, unit)
        elif name.endswith(".service") and name not in vendor.units(late_docker=False):
            service = self.services.setdefault(name, Service(unit, self.place))
            service.unit, service.starts = unit, service.starts
            service.start()
            if service.kind != "oneshot" or not service.pid:
                self._settled(service)
        else:
            self.started(name)

    def started(self, name: str) -> None:
        """Take note that a unit without processes of its own here has started."""
        self.states[name] = "active"
        self._finish(name)

    def failed(self, name: str) -> None:
        """Take note that a unit of the image did not start."""
        self.states[name] = "failed"
        self._finish(name, _failed(name))

    def _settled(self, service: Service) -> None:
        """End a service's job: it has started, or it has failed."""
        if service.name not in self.jobs:
            return
        if service.result == "success":
            self._finish(service.name)
            return
        self._finish(service.name, _failed(service.name))

    def _finish(self, name: str, problem: str = "") -> None:
        job = self.jobs.pop(name, None)
        for reply in job.waiting if job else []:
            reply({"error": problem, "code": 1} if problem else {})

    def cancel(self, name: str) -> None:
        """Take a start that waits back."""
        if name in self.jobs and not self.jobs[name].begun:
            self._finish(name, f"Job for {name} canceled.")

    def stop(self, name: str) -> None:
        """Stop a unit."""
        self.cancel(name)
        self.timers.pop(name, None)
        self.states.pop(name, None)
        if name in self.services:
            self.services[name].stop()

    # -- timers -------------------------------------------------------------------------------

    def _begin_timer(self, name: str, unit: Unit) -> None:
        """Wait for a timer; one whose moment has passed waits for ever, unless it is persistent."""
        now, dues = time.monotonic(), []
        for key in ("OnActiveSec", "OnBootSec", "OnStartupSec"):
            values = unit.all("Timer", key)
            dues += [now + seconds(value) * self.place.scale for value in values]
        for value in unit.all("Timer", "OnCalendar"):
            try:
                due = self.at(moment(value))
            except ValueError as error:
                self._finish(name, f"Failed to start {name}: {error}")
                return
            stamp = self._stamp(unit)
            if due > min(time.time(), stamp):
                dues.append(now + max(0.0, due - time.time()))
        self.started(name)
        if dues:
            self.timers[name] = min(dues)

    def _stamp(self, unit: Unit) -> float:
        """Return when a persistent timer ran last, or was first started; systemd.timer(5)."""
        if unit.last("Timer", "Persistent", "no") not in ("yes", "true", "1", "on"):
            return float("inf")
        stamp = self.place.folder / "root/var/lib/systemd/timers" / f"stamp-{unit.name}"
        if not stamp.exists():
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.touch()
        return float(stamp.stat().st_mtime)

    def at(self, instant: float) -> float:
        """Return when a moment of the machine's calendar is, in epoch seconds."""
        return self._launched + (instant - self._launched) * float(self.place.scale)

    def _elapse(self, name: str) -> None:
        del self.timers[name]
        unit = self.load(name)
        if unit is None:
            return
        if unit.last("Timer", "Persistent", "no") in ("yes", "true", "1", "on"):
            os.utime(self.place.folder / "root/var/lib/systemd/timers" / f"stamp-{name}")
        wanted = unit.last("Timer", "Unit", name.removesuffix(".timer") + ".service")
        self.place.log(f"{name}: Triggering {wanted}")
        if problem := self.start(wanted):
            self.place.log(problem)

    # -- time passes --------------------------------------------------------------------------

    def ended(self, pid: int, code: int) -> None:
        """Take note of a process that has ended."""
        for service in self.services.values():
            if service.pid == pid:
                service.ended(code)
                if not service.pid:
                    self._settled(service)
                    self._follow(service)

    def _follow(self, service: Service) -> None:
        """Do what a unit says about its end."""
        if service.state == "failed":
            for name in service.unit.names("Unit", "OnFailure"):
                self.start(name)
        key = {"failed": "FailureAction", "inactive": "SuccessAction"}.get(service.state, "")
        if service.result == "start-limit-hit":
            key = "StartLimitAction"
        action = service.unit.last("Unit", key, "none")
        if key and action != "none" and not self.ending:
            kind, _, force = action.partition("-")
            self.end(_ENDS[kind], force=bool(force))

    def tick(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        for name in [name for name, due in self.timers.items() if due <= now]:
            self._elapse(name)
        for service in list(self.services.values()):
            if service.restart_at is not None and service.restart_at <= now and not self.ending:
                service.start()
                if service.result == "start-limit-hit":
                    self._follow(service)
            if service.kill_at is not None and service.kill_at <= now:
                service.kill()
            if service.state == "deactivating" and not service.pid and not service.group():
                service.stop()
        self.run_jobs()
        if self.ending and not any(s.state == "deactivating" for s in self.services.values()):
            kind, self.ending = self.ending, "over"
            if kind != "over":
                self._end(kind)
        self._show()

    def end(self, kind: str, *, force: bool) -> None:
        """Power off, reboot or halt; unless forced, after every service has stopped."""
        if force:
            self.ending = "over"
            self._end(kind)
        elif not self.ending:
            self.place.log(f"Shutting down: {kind}")
            self.timers.clear()
            for name in list(self.jobs):
                self.cancel(name)
            self.ending = kind
            for service in self.services.values():
                service.stop()

    def _show(self) -> None:
        """Write the services' states for the cloud."""
        shown = {
            name: {
                "state": service.state,
                "result": service.result,
                "pid": service.pid,
                "restarts": service.restarts,
            }
            for name, service in self.services.items()
        }
        text = json.dumps({"services": shown, "timers": sorted(self.timers)})
        if text != self._shown:
            self._shown = text
            fresh = self.place.folder / "units.json.new"
            fresh.write_text(text)
            fresh.replace(self.place.folder / "units.json")


def _failed(name: str) -> str:
    return (
        f"Job for {name} failed because the control process exited with error code.\n"
        f'See "systemctl status {name}" and "journalctl -xeu {name}" for details.'
    )
