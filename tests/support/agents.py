"""The worker agent as a process of its own, as the user-data brings it to a machine."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import psutil

from cloudburst.targets import certificate
from cloudburst_stacks.payload import PROGRAM, files
from testcloud.standins import _containers
from tests.support.patience import SOON

KEY = "the machine's key"
COMMANDS = ("docker", "systemctl", "dnf")


def _python() -> str:
    """Return Python 3.9, the oldest that an agent may meet, or what runs the tests."""
    versions = sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9"))
    for path in filter(None, (*versions, shutil.which("python3.9"))):
        if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            return str(path)
    return sys.executable


PYTHON = _python()
CONTAINER = Path(__file__).with_name("container.py")
# What the test cloud's docker has to know of a machine; this one is in no cloud.
MACHINE = {
    "id": "alone",
    "mark": "ALONE",
    "control": "",
    "type": "g4dn.xlarge",
    "architecture": "amd64",
    "booted": 0.0,
    "faults": {},
    "slots": 1,
    "pip": {},
    "installs": False,
}
# Pauses are short, and no wait ends because the machine is busy.
QUICK = {
    "pauses": [0.05, 0.05],
    **dict.fromkeys(("docker_wait", "gpu_wait", "restart_wait"), SOON),
    "grace": 0.1,
}


# Each worker of pytest has ports of its own, below those that the system gives to others: what is
# free now and used a moment later must not be another test's by then.
_PORTS, _FIRST_PORT = 1200, 15000
_next_port = itertools.count(random.randrange(_PORTS))  # noqa: S311 - no secret


def free_port(count: int = 1) -> int:
    """Return the first of so many ports in a row that are free."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    while True:
        first, *_ = itertools.islice(_next_port, count)
        at = _FIRST_PORT + _PORTS * worker + first % (_PORTS - count)
        ports = range(at, at + count)
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for port in ports:
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            return ports[0]


class AgentProcess:
    """An agent on a machine of its own.

    Args:
        folder: the machine's files.
        orders: what its `docker` and its containers do, see `orders` and `container`.
        settings: of the agent.
    """

    def __init__(self, folder: Path, orders: dict[str, Any] | None = None, **settings: Any) -> None:
        self.folder = folder
        self.identity = certificate.make(time.time(), 3600)
        self.port = free_port()
        self.config = {
            "address": "127.0.0.1",
            "port": self.port,
            "first_port": free_port(6),
            "image": "me/mine:1",
            "key": KEY,
            "lease": 600,
            "cap": 3600,
            "room": 2,
            "tls": str(folder / "etc/cloudburst"),
            "state": str(folder / "var/lib/cloudburst"),
            "log": str(folder / "boot.log"),
            "boot_id": str(folder / "boot_id"),
            **QUICK,
            **settings,
        }
        contents = files(30, self.config, self.identity.certificate, self.identity.key)
        for path, text in contents.items():
            place = folder / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        (folder / "boot_id").write_text("first\n")
        (folder / "bin").mkdir()
        (folder / "tmp").mkdir()
        script = Path(__file__).with_name("orders.py")
        for name in COMMANDS:
            command = folder / "bin" / name
            command.write_text(
                f'#!/bin/sh\nexec "{sys.executable}" "{script}" "{folder}" {name} "$@"\n'
            )
            command.chmod(0o755)
        self.order(orders or {})
        self.process: subprocess.Popen[bytes] | None = None

    def order(self, orders: dict[str, Any]) -> None:
        """Give orders to what is called, and to containers that are started, from now on."""
        container = orders.get("container", {})
        words = json.dumps(container).replace("{", "{{").replace("}", "}}")
        command = [sys.executable, str(CONTAINER), "{port}", str(self.folder), words]
        if "exits" in container:
            command = ["sh", "-c", 'echo "$0" >&2; exit 1', container["exits"]]
        machine = MACHINE | {"images": {self.config["image"]: command}}
        for name, content in (("orders", orders), ("machine", machine)):
            fresh = self.folder / f"{name}.new"
            fresh.write_text(json.dumps(content))
            fresh.replace(self.folder / f"{name}.json")

    def start(self) -> None:
        path = f"{self.folder / 'bin'}:/usr/bin:/bin"
        with (self.folder / "console.log").open("ab") as console:
            self.process = subprocess.Popen(
                [PYTHON, self.folder / PROGRAM.lstrip("/") / "agent.py", self._settings],
                env={"PATH": path, "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )

    @property
    def _settings(self) -> Path:
        return self.folder / "etc/cloudburst/agent.json"

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(SOON)

    def close(self) -> None:
        if self.process is not None:
            self.kill()
        for state in _containers.every(self.folder):
            _containers.kill(self.folder, state)
        # A `docker run` that was going on when its agent was killed starts its container yet.
        while remaining := self._processes():
            for process in remaining:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(remaining, SOON)

    def _processes(self) -> list[psutil.Process]:
        """Return what runs of this machine: its command lines name its folder."""
        return [
            process
            for process in psutil.process_iter(["cmdline", "status"])
            if process.info["status"] != psutil.STATUS_ZOMBIE
            and any(str(self.folder) in word for word in process.info["cmdline"] or ())
        ]

    # -- what it did ----------------------------------------------------------------------------

    def calls(self, command: str = "docker") -> list[list[str]]:
        path = self.folder / "calls.jsonl"
        calls = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
        return [call[1:] for call in calls if call[0] == command]

    def container(self, number: int = 1) -> dict[str, Any]:
        """Return what docker knows of a container."""
        state = _containers.find(self.folder, f"video-api-{number}")
        assert state is not None
        return state

    def log_file(self, number: int = 1) -> Path:
        """Return the file with what a container has printed."""
        return _containers.log_file(self.folder, self.container(number))

    def notes(self) -> list[dict[str, Any]]:
        path = self.folder / "container.jsonl"
        return [*map(json.loads, path.read_text().splitlines())] if path.exists() else []

    @property
    def console(self) -> str:
        return (self.folder / "console.log").read_text()

    # -- asking it ------------------------------------------------------------------------------

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=self.identity.certificate)
        return context

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), SOON)
        return self.context().wrap_socket(plain)

    def ask(
        self, method: str, path: str, body: Any = None, key: str | None = KEY, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Return status, body (as JSON where it is some) and headers of an answer."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=SOON, context=self.context()
        )
        if key is not None:
            headers["X-Authentication-Key"] = key
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        with contextlib.closing(connection):
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            said = answer.read()
        fields = dict(answer.getheaders())
        if fields.get("Content-Type") == "application/json" and said:
            return answer.status, json.loads(said), fields
        return answer.status, said, fields

    def health(self) -> dict[str, Any]:
        said = self.ask("GET", "/health")[1]
        assert isinstance(said, dict)
        return said

    def until(self, *states: str) -> dict[str, Any]:
        """Wait until the agent answers and is in one of some states; return its health."""
        deadline = time.monotonic() + SOON
        while True:
            with contextlib.suppress(OSError):
                health = self.health()
                if health["state"] in states:
                    return health
            assert time.monotonic() < deadline, self.console
            time.sleep(0.05)

    def submit(self, **order: Any) -> str:
        """Submit a job, and return its id."""
        status, said, _ = self.ask("POST", f"/jobs?id={uuid.uuid4().hex}", order)
        assert status == 202, said
        return str(said["id"])

    def result(self, job: str) -> dict[str, Any]:
        """Wait for a job, as the runner does, and return what became of it."""
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline:
            said = self.ask("GET", f"/jobs/{job}?wait=5")[1]
            if said["state"] == "done":
                assert isinstance(said, dict)
                return said
        raise AssertionError(self.console)
