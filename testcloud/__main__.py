"""Run a command in a test cloud: ``python -m testcloud -- cloudburst-run scenes.yaml``.

The command sees what looks like AWS. When it ends, what it rented, what that cost and what still
exists is printed. The exit code is the command's, or 4 when something is left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from testcloud.cloud import Cloud

USAGE = "usage: python -m testcloud -- COMMAND [ARGUMENT …]"
BAD_USAGE, LEFT = 2, 4


def main(arguments: list[str]) -> int:
    """Run a command in a test cloud; return the exit code."""
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    if arguments[:1] in (["-h"], ["--help"]):
        sys.stdout.write(f"{USAGE}\n\n{__doc__}")
        return 0
    if not command:
        sys.stderr.write(f"{USAGE}\n")
        return BAD_USAGE
    with tempfile.TemporaryDirectory(prefix="test-cloud-") as folder, Cloud(Path(folder)) as cloud:
        try:
            process = subprocess.Popen(command, env={**os.environ, **cloud.environment()})
        except OSError as error:
            sys.stderr.write(f"{command[0]} cannot be run: {error.strerror}\n")
            return BAD_USAGE
        # Ctrl-C reaches the command by itself; the cloud stays until the command has torn down.
        signal.signal(signal.SIGINT, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda which, _: process.send_signal(which))
        code = process.wait()
        left = cloud.remaining()
        sys.stdout.write("\n".join(account(cloud, left)) + "\n")
    if left:
        return LEFT
    return code if code >= 0 else 128 - code


def account(cloud: Cloud, left: list[str]) -> list[str]:
    """Return the lines that say what was rented, what it cost, and what is left."""
    bills, calls = cloud.bills(), Counter(call.caller for call in cloud.calls)
    lines = ["", f"the test cloud rented out {len(bills)} machine{'s'[: len(bills) != 1]}"]
    lines += [
        f"  {bill.machine}  {bill.type} {bill.market} in {bill.zone}"
        f"  {bill.seconds} s at ${bill.usd_per_hour:.4f}/h = ${bill.usd:.4f}"
        for bill in bills
    ]
    if bills:
        lines.append(
            f"  ${sum(bill.usd for bill in bills):.4f} in all; a machine costs a minute at least"
        )
    told = f"{calls['runner']} by the run, {calls['provider']} by its engine"
    lines.append(f"{len(cloud.calls)} AWS API calls: {told}")
    return lines + (
        ["left behind:", *(f"  {each}" for each in left)] if left else ["nothing is left"]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
