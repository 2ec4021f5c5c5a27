"""shutdown, poweroff, halt: the machine's power is the cloud's to switch."""

# ruff: noqa: T201 - what a command says, it prints
import sys

from _machine import ARGUMENTS, COMMAND, fail, record, tell


def main() -> None:
    record(ARGUMENTS)
    # `halt` stops the processor and leaves the power on: EC2 bills on.
    if COMMAND == "halt":
        tell("halt")
        return
    if COMMAND == "poweroff":
        tell("shutdown?minutes=0")
        return
    options = [word for word in ARGUMENTS if word.startswith("-")]
    words = [word for word in ARGUMENTS if not word.startswith("-")]
    if unknown := [word for word in options if word not in ("-h", "-P", "-c", "-r", "--no-wall")]:
        fail(f"shutdown: unrecognized option '{unknown[0]}'", 1)
    if "-c" in options:
        tell("cancel")
        return
    minutes = delay(words[0] if words else "+1")
    tell(f"shutdown?minutes={minutes}")
    print(f"Shutdown scheduled in {minutes} min, use 'shutdown -c' to cancel.", file=sys.stderr)


def delay(text: str) -> int:
    """Give the minutes of a time: now, +N, or N."""
    if text == "now":
        return 0
    if not text.removeprefix("+").isdigit():
        fail(f"Failed to parse time specification: {text}", 1)
    return int(text)


main()
