"""Run a command in a test cloud: ``python -m testcloud -- cloudburst-run scenes.yaml``.

The command's AWS calls go to the test cloud. It allows what the IAM policy in FILE allows; without
--policy, everything. When the command ends, the test cloud prints the instances it launched, their
cost and the remaining resources. The exit code is the command's, or 4 if resources remain.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from testcloud.apis.iam import Policy
from testcloud.cloud import Cloud

USAGE = "usage: python -m testcloud [--policy FILE] -- COMMAND [ARGUMENT …]"
BAD_USAGE, RESOURCES_REMAIN = 2, 4


def main(arguments: list[str]) -> int:
    """Run a command in a test cloud; return the exit code."""
    if arguments[:1] in (["-h"], ["--help"]):
        sys.stdout.write(f"{USAGE}\n\n{__doc__}")
        return 0
    try:
        policy, command = _parse(arguments)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n{USAGE}\n")
        return BAD_USAGE
    with (
        tempfile.TemporaryDirectory(prefix="test-cloud-") as folder,
        Cloud(Path(folder), policy=policy, installs=True) as cloud,
    ):
        try:
            process = subprocess.Popen(command, env={**os.environ, **cloud.environment()})
        except OSError as error:
            sys.stderr.write(f"cannot run {command[0]}: {error.strerror}\n")
            return BAD_USAGE
        # Ctrl-C reaches the command directly; the cloud stays up until the command has torn down.
        signal.signal(signal.SIGINT, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda received, _: process.send_signal(received))
        code = process.wait()
        remaining = cloud.remaining()
        sys.stdout.write("\n".join(summary(cloud, remaining)) + "\n")
    if remaining:
        return RESOURCES_REMAIN
    return code if code >= 0 else 128 - code


def _parse(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Return the policy and the command.

    Raises:
        ValueError: there is no command, or the policy cannot be used.
        OSError: the policy cannot be read.
    """
    policy = None
    if arguments[:1] == ["--policy"]:
        policy = Path("".join(arguments[1:2])).read_text(encoding="utf-8")
        Policy.parse(policy)
        arguments = arguments[2:]
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not command:
        raise ValueError("no command given")
    return policy, command


def summary(cloud: Cloud, remaining: list[str]) -> list[str]:
    """Return a summary in lines: instances launched, their cost, and remaining resources."""
    bills, calls = cloud.bills(), Counter(call.caller for call in cloud.calls)
    lines = ["", f"the test cloud launched {len(bills)} instance{'s'[: len(bills) != 1]}"]
    lines += [
        f"  {bill.machine}  {bill.type} {bill.market} in {bill.zone}"
        f"  {bill.seconds} s at ${bill.usd_per_hour:.4f}/h = ${bill.usd:.4f}"
        for bill in bills
    ]
    if bills:
        lines.append(
            f"  ${sum(bill.usd for bill in bills):.4f} in total; at least 60 s are billed each"
        )
    by_caller = f"{calls['runner']} by the run, {calls['provider']} by its engine"
    lines.append(f"{len(cloud.calls)} AWS API calls: {by_caller}")
    if not remaining:
        return [*lines, "nothing is left"]
    return [*lines, "left behind:", *(f"  {resource}" for resource in remaining)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
