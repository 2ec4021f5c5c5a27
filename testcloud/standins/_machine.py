"""What the stand-ins share: the machine's folder, its log of commands, its way to the cloud."""

# ruff: noqa: T201 - what a command says, it prints
import http.client
import json
import shlex
import sys
from pathlib import Path
from urllib.parse import urlsplit

FOLDER, COMMAND, ARGUMENTS = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
MACHINE = json.loads((FOLDER / "machine.json").read_text())


def record(arguments: list[str]) -> None:
    """Write down that the command was given; the caller has taken secret values out."""
    with (FOLDER / "commands.log").open("a") as log:
        log.write(shlex.join([COMMAND, *arguments]) + "\n")


def tell(what: str) -> dict[str, object]:
    """Tell the cloud something; give its answer."""
    control = urlsplit(MACHINE["control"])
    connection = http.client.HTTPConnection(control.hostname, control.port, timeout=30)
    connection.request("POST", f"{control.path}/{what}")
    answer = json.loads(connection.getresponse().read() or b"{}")
    connection.close()
    return dict(answer)


def container() -> dict[str, object]:
    """Give what is known of the machine's container; nothing when there is none."""
    path = FOLDER / "container.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def fail(text: str, code: int) -> None:
    """Say it on standard error and end."""
    print(text, file=sys.stderr, flush=True)
    sys.exit(code)
