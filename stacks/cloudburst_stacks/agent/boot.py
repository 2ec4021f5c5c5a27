"""Brings the containers up, and knows how far the machine is."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .containers import Container
from .jobs import Jobs
from .machine import Failed, Lease, code_of, environment, last_line, now, run, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1
# What agent.json leaves out. Times in seconds. `room`: scenes at once in an image that does not
# report its capacity, 0 for one for every two vCPUs. `bundle`: files are uploaded before
# `command` is run with them in /bundle. `language`: of what containers say to people.
DEFAULTS: dict[str, Any] = {
    "address": "",
    "port": 443,
    "image": "",
    "name": "",
    "lease": 600,
    "cap": 3600,
    "room": 0,
    "gpu": False,
    "language": "en",
    "login": None,
    "bundle": False,
    "command": [],
    "first_port": 5001,
    "pauses": [2, 4, 8, 16],
    "docker_wait": 120,
    "pull_wait": 1200,
    "start_wait": 900,
    "gpu_wait": 90,
    "restart_wait": 120,
    "grace": 60,
    "tls": "/etc/cloudburst",
    "state": "/var/lib/cloudburst",
    "log": "/var/log/cloudburst.log",
    "boot_id": "/proc/sys/kernel/random/boot_id",
}
MAX_LOG = 64 * 1024
# Trying again does not help these.
_FINAL = ("disk_full", "wrong_architecture", "image_not_found", "pull_refused")


class Agent:
    """The machine as the runner sees it.

    Args:
        config: see `DEFAULTS`.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.key = str(config["key"]).encode()
        self.folder = Path(config["state"])
        self.lease = Lease(config)
        self.jobs = Jobs(self.say, self.folder / "jobs")
        if self.lease.restarted:
            self.jobs.restore()
        self.code = ""
        self._began = self._since = now()
        self.state, self._detail = "booting", "waiting for Docker"
        self._reason = ""
        self.refused_gpu = ""
        self._encoder: str | None = None
        self._api: str | None = None
        self._containers: list[Container] = []
        self._bundled = threading.Event()

    def say(self, text: str) -> None:
        """Write a line to the console and to the boot log."""
        line = f"cloudburst {time.strftime('%H:%M:%S', time.gmtime())} {text}"
        with contextlib.suppress(OSError):
            print(line, flush=True)  # noqa: T201 - the unit's output is the console
            with Path(self.config["log"]).open("a", encoding="utf-8") as log:
                log.write(line + "\n")

    def enter(self, state: str, detail: str) -> None:
        """Note how far the machine is."""
        self.say(f"{state}: {detail}")
        self.state, self._since, self._detail = state, now(), detail

    def fail(self, code: str, reason: str) -> None:
        """Note that the machine will render nothing, and why."""
        self.code, self._reason = code, reason
        self.enter("failed", f"{code}: {reason}")

    def health(self) -> dict[str, Any]:
        """Return the truth about the machine."""
        ready = self.state == "ready"
        health = {
            "status": "healthy" if ready else "unhealthy",
            "state": self.state,
            "since": round(now() - self._since, 1),
            "seconds": round(now() - self._began, 1),
            "detail": self._detail,
            "agent": VERSION,
            "image": self.config["name"] or self.config["image"],
            "video_api": self._api,
            "encoder": self._encoder,
            "gpu_error": self.refused_gpu,
            "capacity": self.jobs.lanes if ready else None,
            "lease": round(self.lease.left, 1),
            "cap": round(self.lease.cap, 1),
            "running": self.jobs.count("rendering"),
            "queued": self.jobs.count("queued"),
        }
        return {**health, "code": self.code, "reason": self._reason} if self.code else health

    def container(self, number: str) -> Container | None:
        """Return a container by its number; after a kill also one that is not yet known again."""
        found = next((one for one in self._containers if str(one.number) == number), None)
        if found is None and self.lease.restarted and re.fullmatch("[1-9][0-9]?", number):
            return Container(self, int(number))
        return found

    def logs(self) -> dict[str, str]:
        """Return the ends of the boot log and of the containers' logs."""
        boot = b""
        with contextlib.suppress(OSError):
            boot = Path(self.config["log"]).read_bytes()[-MAX_LOG:]
        containers = self._containers or [Container(self, 1)]
        text = "".join(container.log() for container in containers)
        return {"boot": boot.decode("utf-8", "replace"), "container": text[-MAX_LOG:]}

    # -- booting --------------------------------------------------------------------------------

    def boot(self) -> None:
        """Bring the containers up; what prevents it becomes the machine's state."""
        try:
            self._wait_for_docker()
            first = Container(self, 1)
            said = self._running(first)
            if said is None:
                self._get_image()
                self.enter("starting", "waiting for the video API")
                said = first.start()
            self._api = str(said.get("version") or "") if first.capacity else None
            self._encoder = "nvenc" if self.config["gpu"] and said.get("gpu_available") else "x264"
            self._open_lanes(first)
        except Failed as error:
            self.fail(error.code, str(error))
        except Exception as error:  # noqa: BLE001 - whatever it was, who waits has to be told
            self.fail("container_failed", f"the agent failed: {error!r}")

    def _running(self, container: Container) -> dict[str, Any] | None:
        """Return what a container says that has outlived its agent; None to start it anew."""
        said = container.health() if self.lease.restarted else None
        # One that does not stop what was given up renders on.
        busy = container.capacity is None and container.number in self.jobs.busy
        return None if busy else said

    def _wait_for_docker(self) -> None:
        if shutil.which("docker") is None:
            self.enter("booting", "installing Docker")
            code, text = run(["dnf", "install", "--assumeyes", "--quiet", "docker"], 300)
            if code:
                reason = f"Docker could not be installed: {last_line(text)}"
                raise Failed("docker_unavailable", reason)
        # Not waited for: the unit may be ordered after cloud-init.
        run(["systemctl", "start", "--no-block", "docker"], 60)
        deadline = now() + self.config["docker_wait"]
        while True:
            code, text = run(["docker", "ps"], 5)
            if code == 0:
                return
            if now() > deadline:
                raise Failed("docker_unavailable", last_line(text))
            time.sleep(0.5)

    def _get_image(self) -> None:
        image = self.config["image"]
        if not self.lease.restarted or run(["docker", "image", "inspect", image], 60)[0]:
            self.enter("pulling", image)
            self._pull(image)
        if self.config["bundle"]:
            self._resume_bundle()
            self.enter("waiting", "for the files of the video API")
            self._bundled.wait()

    def _pull(self, image: str) -> None:
        command = ["docker", "pull", "--quiet", image]
        for pause in (*self.config["pauses"], None):
            with self._login() as (refusal, variables):
                code, text = 1, refusal
                if not refusal:
                    code, text = run(command, self.config["pull_wait"], env=variables)
            if code == 0:
                return
            kind = code_of(text, "pull_failed")
            # An address that has pulled too much is let in again after hours.
            if pause is None or kind in _FINAL or "toomanyrequests" in text.lower():
                raise Failed(kind, last_line(text))
            self.say(f"the pull failed; again in {pause} s: {last_line(text)}")
            time.sleep(pause)

    @contextlib.contextmanager
    def _login(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Log in to the image's registry, for a block alone; yield its refusal and variables."""
        login = self.config["login"]
        if login is None:
            yield "", environment()
            return
        with tempfile.TemporaryDirectory() as folder:
            variables = environment(DOCKER_CONFIG=folder)
            command = ["docker", "login", "--username", login["user"], "--password-stdin"]
            token = login["token"].encode()
            code, text = run([*command, login["host"]], 60, env=variables, input=token)
            refusal = f"the login to {login['host']} failed: {last_line(text)}"
            yield refusal if code else "", variables

    def _open_lanes(self, first: Container) -> None:
        """Start as many containers as there are to be scenes at once, and a lane for each."""
        self._containers = [first]
        wanted = int(self.config["room"]) or max(1, (os.cpu_count() or 2) // 2)
        for number in range(2, 2 if first.capacity else wanted + 1):
            container = Container(self, number)
            try:
                if self._running(container) is None:
                    container.start()
            except Failed as error:
                self.say(f"no {container.name}: {error}")
                break
            self._containers.append(container)
        lanes = self._containers * (first.capacity or 1)
        self.jobs.lanes = len(lanes)
        for container in lanes:
            threading.Thread(target=self._lane, args=(container,), daemon=True).start()
        self.enter("ready", f"{len(lanes)} at once, {self._encoder}")

    def _lane(self, container: Container) -> None:
        try:
            self.jobs.work(container)
        except Failed as error:
            code, reason = error.code, str(error)
        except Exception as error:  # noqa: BLE001 - a lane that is gone must not go unnoticed
            code, reason = "container_failed", repr(error)
        self.jobs.lanes -= 1
        self.say(f"{container.name} is lost: {reason}")
        if not self.jobs.lanes:
            self.fail(code, reason)

    # -- the bundle -----------------------------------------------------------------------------

    def start_bundle(self, files: dict[str, str]) -> list[str]:
        """Run what was uploaded; return the names of files that are not what they should be."""
        wrong = [name for name in files if sha256(self.folder / "bundle" / name) != files[name]]
        if files and not wrong:
            (self.folder / "bundle.json").write_text(json.dumps(files), "utf-8")
            self._bundled.set()
        return wrong

    def _resume_bundle(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.start_bundle(json.loads((self.folder / "bundle.json").read_text("utf-8")))
