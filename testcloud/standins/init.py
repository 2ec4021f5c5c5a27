"""A machine's first process: its systemd, which runs the user data as cloud-init does.

When standard input closes, it ends the machine with all of its processes.
"""

# ruff: noqa: T201 - a command prints its output
import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import _bus
import _namespace
from _machine import MACHINE, notify
from manager import vendor
from manager.service import Place, spawn
from manager.systemd import Reply, Systemd
from manager.unitfiles import UnitFiles

PR_SET_CHILD_SUBREAPER = 36
MARK = "CLOUDBURST_TEST_MACHINE"
FOLDER = Path.cwd()
_POLL = 0.05


class Init:
    """The first process.

    Args:
        bare: the system folders are this computer's.
    """

    def __init__(self, *, bare: bool) -> None:
        root = FOLDER / "root"
        for name in _namespace.FOLDERS:
            (root / name).mkdir(parents=True, exist_ok=True)
        environment = {MARK: os.environ[MARK], "TMPDIR": str(FOLDER / "tmp")}
        if bare:
            environment["CLOUDBURST_ROOT"] = str(root)
        os.environ.update(environment)
        self._user_data: int | None = None
        faults = MACHINE["faults"]
        builtin = {
            vendor.USER_DATA: self._cloud_init,
            vendor.DOCKER: self._docker,
        }
        self.systemd = Systemd(
            Place(FOLDER, bare, environment, MACHINE["minute"] / 60, journal),
            UnitFiles(root, late_docker="late_docker" in faults),
            MACHINE["launched"],
            builtin,
            end_machine,
        )
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(_bus.address(MACHINE["id"]))
        self._server.listen(64)
        self._clients: dict[int, socket.socket] = {}

    def run(self) -> None:
        """Boot, and serve until standard input closes."""
        self.systemd.boot()
        while True:
            self.systemd.tick()
            readable: list[Any] = [0, self._server, *self._clients.values()]
            for ready in select.select(readable, [], [], _POLL)[0]:
                if ready == 0:
                    return
                self._read(ready)
            self._reap()

    # -- requests -------------------------------------------------------------------------------

    def _read(self, ready: socket.socket) -> None:
        if ready is self._server:
            client, _ = self._server.accept()
            self._clients[client.fileno()] = client
            return
        # A request is one short line, which the client sends at once.
        line = ready.recv(1 << 16)
        del self._clients[ready.fileno()]
        if not line:
            ready.close()
            return

        def reply(content: dict[str, Any]) -> None:
            with contextlib.suppress(OSError), ready:
                ready.sendall(json.dumps(content).encode() + b"\n")

        self._request(json.loads(line), reply)

    def _request(self, request: dict[str, Any], reply: Reply) -> None:
        verb, names = request["verb"], request.get("units", [])
        systemd = self.systemd
        if verb in ("restart", "stop"):
            for name in names:
                systemd.stop(name)
        if verb in ("start", "restart"):
            self._start(names[0], reply, block=request["block"])
        elif verb == "show":
            reply(self._show(names[0]))
        elif verb == "end":
            reply({})
            systemd.end(request["kind"], force=request["force"])
        else:
            if verb == "daemon-reload":
                systemd.reload()
            reply({})

    def _start(self, name: str, reply: Reply, *, block: bool) -> None:
        problem = self.systemd.start(name, reply if block else None)
        if problem:
            reply({"error": problem, "code": 5 if problem.endswith("not found.") else 1})
        elif not block:
            reply({})

    def _show(self, name: str) -> dict[str, Any]:
        shown: dict[str, Any] = {"state": self.systemd.state(name)}
        if service := self.systemd.services.get(name):
            shown |= {"pid": service.pid, "restarts": service.restarts, "result": service.result}
        return shown

    # -- the image's units ----------------------------------------------------------------------

    def _cloud_init(self) -> None:
        """Run the user data, at the machine's first boot alone."""
        script = FOLDER / "user-data"
        if MACHINE["boots"] == 1 and script.read_bytes()[:2] == b"#!":
            self._user_data = run(script)
        elif MACHINE["boots"] == 1:
            log("the user data is not a script: nothing is run")
        if not self._user_data:
            self.systemd.started(vendor.USER_DATA)

    def _docker(self) -> None:
        """Start docker, which starts the containers of the last boot by their restart policies."""
        if "no_docker" in MACHINE["faults"]:
            self.systemd.failed(vendor.DOCKER)
            return
        if MACHINE["boots"] > 1:
            spawn([str(FOLDER / "bin/docker"), "-restore"], start_new_session=True)
        self.systemd.started(vendor.DOCKER)

    def _reap(self) -> None:
        """Collect the processes that have ended."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                code = os.waitstatus_to_exitcode(ended[1])
                if ended[0] == self._user_data:
                    log(f"user data ended with {code}")
                    self.systemd.started(vendor.USER_DATA)
                self.systemd.ended(ended[0], code)


def main() -> None:
    """Be the machine's first process."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    bare = not MACHINE["namespace"] or not _namespace.enter(FOLDER)
    Init(bare=bare).run()
    end()


def run(script: Path) -> int:
    """Execute the user data with the interpreter of its first line; return the process id."""
    script.chmod(0o755)
    while True:
        try:
            return int(spawn([str(script)], stdin=subprocess.DEVNULL))
        except OSError as error:
            # A fork of another thread may briefly hold the file open for writing.
            if error.errno != errno.ETXTBSY:
                log(f"cannot run the user data: {error}")
                return 0
            time.sleep(0.01)


def end_machine(kind: str) -> None:
    """Ask the cloud for the end of the machine."""
    notify({"poweroff": "shutdown?minutes=0"}.get(kind, kind))


def end() -> None:
    """End every process of this machine, then this one."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    while pids := [pid for pid in others() if marked(pid, mark)]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    sys.exit(0)


def others() -> list[int]:
    """List the ids of all other processes."""
    numbers = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [pid for pid in numbers if pid != os.getpid()]


def marked(pid: int, mark: bytes) -> bool:
    """Whether a process belongs to this machine."""
    with contextlib.suppress(OSError):
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def log(text: str) -> None:
    """Write a line to the console."""
    print(f"cloud-init: {text}", flush=True)


def journal(text: str) -> None:
    """Write a line to the journal."""
    with (FOLDER / "journal.log").open("a") as lines:
        lines.write(f"systemd[1]: {text}\n")


main()
