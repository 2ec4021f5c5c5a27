"""How long a machine takes until its video API answers: what is ours, measured; the rest, cited.

    .venv/bin/python -m benchmarks.boot [--runs 3]

The agent and the bundle are the real ones, on loopback; pip installs from the registry or mirror
that it finds, into an environment of its own, once to warm it up and then as often as asked;
the median is shown. Prints the tables of docs/performance.md. Some minutes.
"""

from __future__ import annotations

import argparse
import http.client
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.render import write
from cloudburst.targets import bundle
from cloudburst.videoapi import bundled
from tests.support.agents import AgentProcess
from tests.support.patience import SOON

if TYPE_CHECKING:
    from collections.abc import Iterator

# What no test without EC2 can measure, with its source.
CITED = (
    ("launch until Docker answers", "40", "cited: skyplane-project/skyplane, pull request 152"),
    ("pull of python:3.11-slim, 45 MB", "3", "an estimate: 100 MB/s, and as long to unpack"),
    ("pull and start of the public image, 1 GB", "120", "cited: the original tool's own boots"),
)
MB = 1e6
# Wall-clock and CPU seconds of each run, by what took them.
Times = dict[str, list[tuple[float, float]]]


@contextmanager
def folder() -> Iterator[Path]:
    """Yield a folder that is removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="cloudburst-boot-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def timed(times: Times, name: str) -> Iterator[None]:
    """Add what a block takes, in wall-clock and in CPU seconds, to a list of such."""
    before, began = cpu(), time.perf_counter()
    yield
    times.setdefault(name, []).append((time.perf_counter() - began, cpu() - before))


def cpu() -> float:
    """Return the CPU seconds of this process and of those that it has waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def made(times: Times) -> bundle.Bundle:
    """Make the bundle anew; every machine of a run gets the same one."""
    bundle.bundle.cache_clear()
    with timed(times, "bundle made, once a run"):
        return bundle.bundle(frozenset())


def uploaded(times: Times, sent: bundle.Bundle) -> None:
    """Start an agent, and send it the bundle over TLS."""
    with folder() as place:
        agent = AgentProcess(place, bundle=True, command=["python", "x"])
        try:
            with timed(times, "agent answers"):
                agent.start()
                while True:
                    with suppress(OSError):
                        agent.ask("GET", "/health")
                        break
                    time.sleep(0.01)
            with timed(times, "bundle uploaded, loopback"):
                for name, data in sent.files.items():
                    agent.ask("PUT", f"/bundle/{name}", data)
                agent.ask("POST", "/bundle", {"files": sent.digests})
        finally:
            agent.close()


def served(times: Times, sent: bundle.Bundle) -> None:
    """Do what the container does, until the video API answers."""
    with folder() as place:
        for name, data in sent.files.items():
            (place / name).write_bytes(data)
        venv.create(place / "venv", with_pip=True)
        python = place / "venv" / "bin" / "python"
        code = "from pathlib import Path; from cloudburst.videoapi.bundled import prepared; "
        code += f"prepared(Path({str(place / bundle.ARCHIVE)!r}), "
        code += f"Path({str(place / bundled.LOCK)!r}), Path({str(place)!r}))"
        own = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", str(place))}
        own |= {name: os.environ[name] for name in os.environ if name.startswith("PIP_")}
        own |= {"TMPDIR": str(place)}
        with timed(times, "pip installs the lock, from a near mirror"):
            found = {**own, "PYTHONPATH": str(place / bundle.ARCHIVE)}
            subprocess.run(
                [python, "-c", code], env=found, cwd=place, check=True, capture_output=True
            )
        with timed(times, "imports, until the first healthy answer"):
            process = subprocess.Popen(
                [python, place / bundle.ARCHIVE, "--host", "127.0.0.1", "--port", "0"],
                env=own, cwd=place, stderr=subprocess.PIPE, text=True, start_new_session=True,
            )  # fmt: skip
            healthy(process)
            process.kill()
            process.wait()


def healthy(process: subprocess.Popen[str]) -> None:
    """Wait until a server is healthy."""
    if process.stderr is None:
        raise RuntimeError("no standard error")
    line = process.stderr.readline()
    if not line.startswith("video API on "):
        sys.exit(line + process.stderr.read())
    port = int(line.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON)
    connection.request("GET", "/health")
    connection.getresponse().read()


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    write(f"{os.cpu_count()} cores, load {load:.1f} at the beginning; Python "
        f"{platform.python_version()}; {options.runs} runs\n")  # fmt: skip
    times: Times = {}
    sent = bundle.bundle(frozenset())
    served({}, sent)  # a mirror, and this disk, know the packages afterwards
    for _ in range(options.runs):
        sent = made(times)
        uploaded(times, sent)
        served(times, sent)
    write("| ours | s | fastest to slowest | CPU s |\n|---|--:|--:|--:|")
    for name, runs in times.items():
        walls, used = zip(*runs, strict=True)
        span = f"{min(walls):.1f} to {max(walls):.1f}"
        write(f"| {name} | {median(walls):.1f} | {span} | {median(used):.1f} |")
    each = [runs for name, runs in times.items() if "once" not in name]
    wall, busy = (sum(median(run[i] for run in runs) for runs in each) for i in (0, 1))
    write(f"| **after Docker answers, without the pull** | **{wall:.1f}** | | {busy:.1f} |")
    whole = bundle.bundle().size
    write(f"\n{sent.size / MB:.2f} MB are sent to a machine, {whole / MB:.1f} MB with all fonts\n")
    write("| not ours | s | source |\n|---|--:|---|")
    for what, seconds, source in CITED:
        write(f"| {what} | {seconds} | {source} |")


if __name__ == "__main__":
    main()
