"""`docker` and the commands of a system, as the worker agent calls them in its own tests.

Settings are in ``orders.json`` of the folder; every call is noted in ``calls.jsonl``. A container
is a process of `container.py`, started again when it ends, as its restart policy says.
"""

# ruff: noqa: T201 - a command prints its output
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

FOLDER, COMMAND, ARGUMENTS = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]


def main() -> None:
    orders: dict[str, Any] = json.loads((FOLDER / "orders.json").read_text())
    call = [COMMAND, *ARGUMENTS]
    if COMMAND == "docker" and ARGUMENTS[0] == "supervise":
        supervise(ARGUMENTS[1], json.loads(ARGUMENTS[2]))
    with (FOLDER / "calls.jsonl").open("a") as log:
        log.write(json.dumps(call) + "\n")
    if COMMAND != "docker":
        fail(orders, COMMAND)
        sys.exit(0)
    verb = ARGUMENTS[0]
    if verb == "login":
        token, config = sys.stdin.read(), os.environ["DOCKER_CONFIG"]
        (FOLDER / "login.json").write_text(json.dumps([token, config]))
    fail(orders, verb)
    {"run": lambda: run(orders), "rm": remove, "logs": logs, "inspect": inspect}.get(
        verb, lambda: None
    )()


def fail(orders: dict[str, Any], verb: str) -> None:
    """Do what is ordered for a verb: wait, or fail with a text so many times."""
    order = orders.get(verb, {})
    time.sleep(order.get("sleep", 0))
    path = FOLDER / f"failed-{verb}"
    count = int(path.read_text()) if path.exists() else 0
    if "fail" in order and count < order.get("times", 10**9):
        path.write_text(str(count + 1))
        print(order["fail"], file=sys.stderr)
        sys.exit(1)


def option(name: str) -> str:
    return ARGUMENTS[ARGUMENTS.index(name) + 1] if name in ARGUMENTS else ""


def state(name: str) -> Path:
    return FOLDER / f"{name}.json"


def run(orders: dict[str, Any]) -> None:
    name, port = option("--name"), int(option("--publish").split(":")[1])
    if state(name).exists():
        print(f'Conflict. The container name "/{name}" is already in use', file=sys.stderr)
        sys.exit(125)
    environment = dict(os.environ)
    for index, word in enumerate(ARGUMENTS):
        if word == "--env" and "=" in ARGUMENTS[index + 1]:
            variable, _, value = ARGUMENTS[index + 1].partition("=")
            environment[variable] = value
    state(name).write_text(json.dumps({"pid": 0, "restarts": 0}))
    arguments = json.dumps([port, orders.get("container", {})])
    with (FOLDER / f"{name}.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, __file__, str(FOLDER), "docker", "supervise", name, arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    print("0123456789abcdef")


def supervise(name: str, arguments: list[Any]) -> NoReturn:
    port, order = arguments
    server = Path(__file__).with_name("container.py")
    command = [sys.executable, str(server), str(port), str(FOLDER), json.dumps(order)]
    if "exits" in order:
        command = ["sh", "-c", 'echo "$0" >&2; exit 1', order["exits"]]
    restarts = 0
    while True:
        process = subprocess.Popen(command)
        said = {"pid": process.pid, "supervisor": os.getpid(), "restarts": restarts}
        state(name).write_text(json.dumps(said))
        process.wait()
        time.sleep(0.1)
        restarts += 1


def remove() -> None:
    path = state(ARGUMENTS[-1])
    if not path.exists():
        sys.exit(0)
    said: dict[str, int] = {}
    while not said.get("supervisor"):
        said = json.loads(path.read_text() or "{}")
    for pid in (said["supervisor"], said["pid"]):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    path.unlink()


def inspect() -> None:
    path = state(ARGUMENTS[-1])
    if not path.exists():
        print("No such object", file=sys.stderr)
        sys.exit(1)
    print(json.loads(path.read_text() or "{}").get("restarts", 0))


def logs() -> None:
    path = FOLDER / f"{ARGUMENTS[-1]}.log"
    if not path.exists():
        print("No such container", file=sys.stderr)
        sys.exit(1)
    print(path.read_text(), end="")


main()
