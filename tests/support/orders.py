"""A test's orders, in front of docker and of the commands of a system: what fails, and how long.

Orders are in ``orders.json`` of the folder, by the command or, of docker, by its verb:
``{"pull": {"fail": "no such host", "times": 2, "sleep": 1}}``. Every call is noted in
``calls.jsonl``. What is not ordered to fail is done by the test cloud's docker; other commands do
nothing.
"""

# ruff: noqa: T201 - a command prints its output
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER, COMMAND, ARGUMENTS = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
DOCKER = Path(__file__).parents[2] / "testcloud" / "standins" / "docker.py"


def main() -> None:
    orders: dict[str, Any] = json.loads((FOLDER / "orders.json").read_text())
    with (FOLDER / "calls.jsonl").open("a") as log:
        log.write(json.dumps([COMMAND, *ARGUMENTS]) + "\n")
    verb = ARGUMENTS[0] if COMMAND == "docker" else COMMAND
    password = ""
    if verb == "login":
        password = sys.stdin.read()
        login = json.dumps([password, os.environ["DOCKER_CONFIG"]])
        (FOLDER / "login.json").write_text(login)
    obey(orders.get(verb, {}), FOLDER / f"failed-{verb}")
    if COMMAND == "docker":
        program = [sys.executable, "-S", "-s", "-E", str(DOCKER), str(FOLDER), COMMAND, *ARGUMENTS]
        sys.exit(subprocess.run(program, input=password.encode(), check=False).returncode)


def obey(order: dict[str, Any], path: Path) -> None:
    """Wait, or fail with a text so many times."""
    time.sleep(order.get("sleep", 0))
    count = int(path.read_text()) if path.exists() else 0
    if "fail" in order and count < order.get("times", 10**9):
        path.write_text(str(count + 1))
        print(order["fail"], file=sys.stderr)
        sys.exit(1)


main()
