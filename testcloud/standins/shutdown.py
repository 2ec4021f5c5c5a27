"""shutdown, poweroff, reboot, halt: the ends of a machine, which the cloud carries out.

shutdown(8); logind keeps the schedule in /run/systemd/shutdown/scheduled (systemd, src/login/
logind-dbus.c, update_schedule_file).
"""

# ruff: noqa: T201 - a command prints its output
import sys
import time

import _bus
from _machine import ARGUMENTS, COMMAND, FOLDER, MACHINE, fail, notify, record

SCHEDULED = FOLDER / "root/run/systemd/shutdown/scheduled"
KNOWN = ("-h", "-P", "-H", "-c", "-r", "--no-wall", "--poweroff", "--reboot")


def main() -> None:
    """Run the command."""
    record(ARGUMENTS)
    if COMMAND == "shutdown":
        shutdown()
    else:
        # halt(8): these are systemctl's verbs.
        _bus.ask(
            MACHINE["id"], verb="end", kind=COMMAND, force=bool({"-f", "--force"} & {*ARGUMENTS})
        )


def shutdown() -> None:
    """Run `shutdown`."""
    options = [argument for argument in ARGUMENTS if argument.startswith("-")]
    positional = [argument for argument in ARGUMENTS if not argument.startswith("-")]
    if unknown := [option for option in options if option not in KNOWN]:
        fail(f"shutdown: unrecognized option '{unknown[0]}'", 1)
    reboot = bool({"-r", "--reboot"} & set(options))
    if "-c" in options:
        notify("cancel")
        SCHEDULED.unlink(missing_ok=True)
        return
    minutes = delay(positional[0] if positional else "+1")
    if minutes == 0:
        _bus.ask(MACHINE["id"], verb="end", kind="reboot" if reboot else "poweroff", force=False)
        return
    if "logind_away" in MACHINE["faults"]:
        # systemd 253, src/systemctl/systemctl-logind.c: a warning, and nothing is scheduled.
        print("Failed to schedule shutdown: Connection timed out", file=sys.stderr)
        return
    mode = "reboot" if reboot else "poweroff"
    due = time.time() + minutes * 60
    notify(f"shutdown?minutes={minutes}" + ("&mode=reboot" if reboot else ""))
    SCHEDULED.parent.mkdir(parents=True, exist_ok=True)
    wall = "".join(f"WALL_MESSAGE={text}\n" for text in positional[1:2])
    SCHEDULED.write_text(f"USEC={due * 1e6:.0f}\nWARN_WALL=1\nMODE={mode}\n{wall}")
    moment = time.strftime("%a %Y-%m-%d %H:%M:%S UTC", time.gmtime(due))
    print(f"Shutdown scheduled for {moment}, use 'shutdown -c' to cancel.", file=sys.stderr)


def delay(text: str) -> int:
    """Return the minutes of a time specification: now, +N, or N."""
    if text == "now":
        return 0
    if not text.removeprefix("+").isdigit():
        fail(f"Failed to parse time specification: {text}", 1)
    return int(text)


main()
