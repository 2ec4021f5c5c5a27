"""Shared by the stand-ins: the machine's folder, its command log, and its calls to the cloud."""

from __future__ import annotations

# ruff: noqa: T201 - a command prints its output
import json
import shlex
import sys
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

FOLDER, COMMAND, ARGUMENTS = Path(sys.argv[1]), sys.argv[2].rpartition("/")[2], sys.argv[3:]
MACHINE: dict[str, Any] = json.loads((FOLDER / "machine.json").read_text())


def record(arguments: list[str]) -> None:
    """Append the command to the log; the caller has removed secret values."""
    with (FOLDER / "commands.log").open("a") as log:
        log.write(shlex.join([COMMAND, *arguments]) + "\n")


def notify(call: str, content: dict[str, str] | None = None) -> dict[str, Any]:
    """Call the cloud's control endpoint, with content as JSON; return the response.

    A machine that is in no cloud has none, and is refused nothing.
    """
    if not MACHINE["control"]:
        return {"error": ""}
    # Only here: it takes longer to import than most commands take.
    import http.client

    control = urlsplit(MACHINE["control"])
    connection = http.client.HTTPConnection(str(control.hostname), control.port, timeout=30)
    body = None if content is None else json.dumps(content)
    connection.request("POST", f"{control.path}/{call}", body)
    response = json.loads(connection.getresponse().read() or b"{}")
    connection.close()
    return dict(response)


def fail(text: str, code: int) -> NoReturn:
    """Print an error, if there is one, and exit."""
    if text:
        print(text, file=sys.stderr, flush=True)
    sys.exit(code)
