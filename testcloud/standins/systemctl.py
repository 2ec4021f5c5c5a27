"""systemctl: units are started, stopped, enabled and masked as by systemctl(1) of systemd 252."""

# ruff: noqa: T201 - a command prints its output
import sys
from collections.abc import Callable
from typing import Any

import _bus
from _machine import ARGUMENTS, COMMAND, FOLDER, MACHINE, fail, record
from manager.unitfiles import UnitFiles
from manager.units import Unit

OPTIONS: tuple[str, ...]
OPTIONS = ("--now", "--no-block", "--quiet", "--force", "--no-pager", "--no-ask-password", "--full")
OPTIONS += ("--system", "--no-wall", "--no-legend", "--all")
SHORT = {"-q": "--quiet", "-f": "--force", "-l": "--full", "-a": "--all"}
PROPERTIES = {"ActiveState": "state", "MainPID": "pid", "NRestarts": "restarts", "Result": "result"}
SUFFIXES = (".service", ".timer", ".target", ".socket", ".mount", ".path", ".slice", ".scope")
FILES = UnitFiles(FOLDER / "root", late_docker="late_docker" in MACHINE["faults"])


def main() -> None:
    """Run the command."""
    record(ARGUMENTS)
    words = [SHORT.get(word, word) for word in ARGUMENTS]
    options, properties = set(), []
    positional = []
    while words:
        word = words.pop(0)
        if word in ("-p", "--property"):
            properties += words.pop(0).split(",")
        elif word.startswith("--property="):
            properties += word.partition("=")[2].split(",")
        elif word in OPTIONS or word == "--value":
            options.add(word)
        elif word.startswith("-"):
            fail(f"systemctl: unrecognized option '{word}'", 1)
        else:
            positional.append(word)
    verb, names = (positional or ["list-units"])[0], [full(name) for name in positional[1:]]
    if verb == "show":
        show(names, properties, options)
    elif verb in VERBS:
        VERBS[verb](verb, names, options)
    else:
        fail(f"Unknown command verb '{verb}', did you mean 'start'?", 1)


def full(name: str) -> str:
    """Return a unit's name with its suffix."""
    return name if name.endswith(SUFFIXES) else f"{name}.service"


def ask(**request: Any) -> dict[str, Any]:
    """Ask systemd, or fail as systemctl does where it cannot be reached."""
    try:
        response: dict[str, Any] = _bus.ask(MACHINE["id"], **request)
    except OSError:
        fail("Failed to connect to bus: Connection refused", 1)
    return response


def start(verb: str, names: list[str], options: set[str]) -> None:
    """Start or restart units, one after the other."""
    for name in names:
        response = ask(verb=verb, units=[name], block="--no-block" not in options)
        if response.get("error"):
            quiet = "--quiet" in options
            fail("" if quiet else str(response["error"]), int(response["code"]))


def stop(verb: str, names: list[str], options: set[str]) -> None:
    """Stop units."""
    for name in names:
        if FILES.find(name) is None:
            fail(f"Failed to stop {name}: Unit {name} not loaded.", 5)
    ask(verb="stop", units=names)


def reload(verb: str, names: list[str], options: set[str]) -> None:
    """Read the unit files again."""
    ask(verb="daemon-reload")


def found(name: str, what: str) -> Unit:
    """Return a unit; fail if there is none."""
    unit = FILES.find(name)
    if unit is None:
        fail(f"Failed to {what} unit: Unit file {name} does not exist.", 1)
    return unit


def enable(verb: str, names: list[str], options: set[str]) -> None:
    """Enable or disable units; with --now, start or stop them too."""
    for name in names:
        unit = found(name, verb)
        try:
            lines = FILES.enable(unit) if verb == "enable" else FILES.disable(unit)
        except OSError as error:
            fail(str(error), 1)
        say(lines, options)
    ask(verb="daemon-reload")
    if "--now" in options:
        if verb == "enable":
            start("start", names, options)
        else:
            stop("stop", names, options)


def mask(verb: str, names: list[str], options: set[str]) -> None:
    """Mask or unmask units; with --now, stop them too."""
    for name in names:
        try:
            say(FILES.mask(name) if verb == "mask" else FILES.unmask(name), options)
        except OSError as error:
            fail(str(error), 1)
    ask(verb="daemon-reload")
    if "--now" in options and verb == "mask":
        ask(verb="stop", units=names)


def say(lines: list[str], options: set[str]) -> None:
    """Print what systemctl says about links, which it does on standard error."""
    if lines and "--quiet" not in options:
        print("\n".join(lines), file=sys.stderr)


def is_active(verb: str, names: list[str], options: set[str]) -> None:
    """Print the state of each unit; 0 if one is active, 3 otherwise."""
    states = [str(ask(verb="show", units=[name])["state"]) for name in names]
    if "--quiet" not in options:
        print("\n".join(states))
    wanted = "failed" if verb == "is-failed" else "active"
    sys.exit(0 if wanted in states else 1 if verb == "is-failed" else 3)


def is_enabled(verb: str, names: list[str], options: set[str]) -> None:
    """Print whether each unit's file is enabled; 0 if one is, 1 otherwise."""
    states = []
    for name in names:
        unit = FILES.find(name)
        if unit is None:
            text = f"Failed to get unit file state for {name}: No such file or directory"
            fail(text, 1)
        states.append(FILES.enabled(unit))
    if "--quiet" not in options:
        print("\n".join(states))
    sys.exit(0 if {"enabled", "static"} & set(states) else 1)


def cat(verb: str, names: list[str], options: set[str]) -> None:
    """Print the files of units."""
    for name in names:
        unit = FILES.find(name)
        if unit is None or not unit.path:
            fail(f"No files found for {name}.", 1)
        print(f"# {unit.path}\n{unit.text}")


def status(verb: str, names: list[str], options: set[str]) -> None:
    """Print what is known of each unit; 3 if one is not active, 4 if there is none of its name."""
    code = 0
    for name in names:
        unit = FILES.find(name)
        if unit is None:
            fail(f"Unit {name} could not be found.", 4)
        response = ask(verb="show", units=[name])
        loaded = f"loaded ({unit.path}; {FILES.enabled(unit)})"
        print(f"{name}\n     Loaded: {loaded}\n     Active: {response['state']}")
        code = code if response["state"] == "active" else 3
    sys.exit(code)


def show(names: list[str], properties: list[str], options: set[str]) -> None:
    """Print properties of units."""
    if unknown := [name for name in properties or ["all"] if name not in PROPERTIES]:
        fail(f"systemctl show: the test cloud knows no property {unknown[0]}", 1)
    for name in names:
        response = ask(verb="show", units=[name])
        for key in properties:
            value = str(response.get(PROPERTIES[key], 0 if key != "Result" else "success"))
            print(value if "--value" in options else f"{key}={value}")


def end(verb: str, names: list[str], options: set[str]) -> None:
    """End the machine; with --force, without waiting for its services."""
    ask(verb="end", kind=verb, force="--force" in options)


VERBS: dict[str, Callable[[str, list[str], set[str]], None]] = {
    "start": start,
    "restart": start,
    "stop": stop,
    "daemon-reload": reload,
    "enable": enable,
    "disable": enable,
    "mask": mask,
    "unmask": mask,
    "is-active": is_active,
    "is-failed": is_active,
    "is-enabled": is_enabled,
    "cat": cat,
    "status": status,
    "poweroff": end,
    "reboot": end,
    "halt": end,
}
# The names that are links to /usr/bin/systemctl.
if COMMAND in ("shutdown", "poweroff", "reboot", "halt"):
    import shutdown  # noqa: F401 - that it is imported runs it
else:
    main()
