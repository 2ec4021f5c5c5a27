"""systemd-run: a transient service, at once or by a transient timer. systemd-run(1)."""

# ruff: noqa: T201 - a command prints its output
import shlex
import sys
import uuid

import _bus
from _machine import ARGUMENTS, FOLDER, MACHINE, fail, record
from manager.unitfiles import UnitFiles
from manager.units import moment, seconds

TIMERS = {"--on-active": "OnActiveSec", "--on-boot": "OnBootSec", "--on-calendar": "OnCalendar"}
SWITCHES = ("--no-block", "--quiet", "-q", "--collect", "-G", "--remain-after-exit", "-r")
VALUES = (*TIMERS, "--unit", "-u", "--description", "--property", "-p", "--timer-property")
VALUES += ("--setenv", "-E", "--slice", "--working-directory")


def main() -> None:
    """Run the command."""
    record(ARGUMENTS)
    values, words = parse(ARGUMENTS)
    timers = [(key, value) for option, key in TIMERS.items() for value in values.get(option, [])]
    for key, value in timers:
        try:
            moment(value) if key == "OnCalendar" else seconds(value)
        except ValueError as error:
            fail(str(error), 1)
    kind = "run-r" if timers else "run-u"
    base = (values.get("--unit", []) + values.get("-u", []) or [kind + uuid.uuid4().hex])[0]
    base = base.removesuffix(".service").removesuffix(".timer")
    files = UnitFiles(FOLDER / "root", late_docker=False)
    properties = values.get("--property", []) + values.get("-p", [])
    settings = [*properties, *(f"Environment={e}" for e in values.get("--setenv", []))]
    if "--remain-after-exit" in values or "-r" in values:
        settings.append("RemainAfterExit=yes")
    text = f"[Service]\nExecStart={shlex.join(words)}\n" + "".join(f"{s}\n" for s in settings)
    files.write(f"{base}.service", text)
    wanted = f"{base}.service"
    if timers:
        lines = [f"{key}={value}" for key, value in timers]
        lines += values.get("--timer-property", [])
        wanted = f"{base}.timer"
        files.write(wanted, "[Timer]\n" + "\n".join(lines) + "\n")
    try:
        response = _bus.ask(MACHINE["id"], verb="start", units=[wanted], block=True)
    except OSError:
        fail("Failed to connect to bus: Connection refused", 1)
    if response.get("error"):
        fail(str(response["error"]), 1)
    if not {"--quiet", "-q"} & set(values):
        said = [f"Running timer as unit: {wanted}", f"Will run service as unit: {base}.service"]
        print("\n".join(said if timers else [f"Running as unit: {wanted}"]), file=sys.stderr)


def parse(arguments: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the options and the command."""
    values: dict[str, list[str]] = {}
    remaining = list(arguments)
    while remaining and remaining[0].startswith("-"):
        option, equals, value = remaining.pop(0).partition("=")
        if option == "--":
            break
        if option in SWITCHES:
            values.setdefault(option, [])
        elif option in VALUES:
            if not equals and not remaining:
                fail(f"systemd-run: option '{option}' requires an argument", 1)
            values.setdefault(option, []).append(value if equals else remaining.pop(0))
        else:
            fail(f"systemd-run: unrecognized option '{option}'", 1)
    if not remaining:
        fail("Command line to execute required.", 1)
    return values, remaining


main()
