"""shutdown, poweroff, halt: pass the request to the cloud, which controls the machine's power."""

# ruff: noqa: T201 - a command prints its output
import sys

from _machine import ARGUMENTS, COMMAND, fail, notify, record


def main() -> None:
    """Run the command."""
    record(ARGUMENTS)
    # `halt` stops the processor but leaves the power on, so EC2 keeps billing.
    if COMMAND == "halt":
        notify("halt")
        return
    if COMMAND == "poweroff":
        notify("shutdown?minutes=0")
        return
    options = [argument for argument in ARGUMENTS if argument.startswith("-")]
    positional = [argument for argument in ARGUMENTS if not argument.startswith("-")]
    known = ("-h", "-P", "-c", "-r", "--no-wall")
    if unknown := [option for option in options if option not in known]:
        fail(f"shutdown: unrecognized option '{unknown[0]}'", 1)
    if "-c" in options:
        notify("cancel")
        return
    minutes = delay(positional[0] if positional else "+1")
    notify(f"shutdown?minutes={minutes}")
    print(f"Shutdown scheduled in {minutes} min, use 'shutdown -c' to cancel.", file=sys.stderr)


def delay(text: str) -> int:
    """Return the minutes of a time specification: now, +N, or N."""
    if text == "now":
        return 0
    if not text.removeprefix("+").isdigit():
        fail(f"Failed to parse time specification: {text}", 1)
    return int(text)


main()
