"""Supervises a container: starts its process, and restarts it by the container's restart policy."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 60.0


def main() -> None:
    """Run the container whose settings come as JSON on standard input."""
    settings = json.loads(sys.stdin.read())
    command = unhealthy(settings) if settings["unhealthy"] else video_api(settings)
    restarts, pause = 0, FIRST_PAUSE
    while True:
        began = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        save({**settings, "pid": process.pid, "supervisor": os.getpid(), "restarts": restarts})
        code = process.wait()
        if not restarts_after(settings["restart"], code, restarts):
            sys.exit(code)
        # As docker: the pause doubles each time, and is reset after ten seconds of running.
        pause = FIRST_PAUSE if time.monotonic() - began > 10 else min(pause * 2, LONGEST_PAUSE)
        time.sleep(pause)
        restarts += 1


def video_api(settings: dict[str, Any]) -> list[str]:
    """Return the command of the image's server, by default of this environment's video API."""
    if settings["command"]:
        place = {"address": settings["address"], "port": settings["port"]}
        return [str(word).format(**place) for word in settings["command"]]
    arguments = [str(argument) for argument in settings["arguments"]]
    command = [sys.executable, "-m", "cloudburst.videoapi"]
    command += ["--host", str(settings["address"]), "--port", str(settings["port"])]
    if "--slots" not in arguments:
        command += ["--slots", str(settings["slots"])]
    if "--threads" not in arguments:
        command += ["--threads", "2"]
    return [*command, *arguments]


def unhealthy(settings: dict[str, Any]) -> list[str]:
    """Return the command of a server that never becomes healthy."""
    script = str(Path(__file__).with_name("unhealthy.py"))
    return [sys.executable, "-S", script, str(settings["address"]), str(settings["port"])]


def restarts_after(policy: str, code: int, restarts: int) -> bool:
    """Whether a restart policy restarts a container that ended with an exit code."""
    name, _, most = policy.partition(":")
    if name in ("always", "unless-stopped"):
        return True
    return name == "on-failure" and code != 0 and (not most or restarts < int(most))


def save(container: dict[str, Any]) -> None:
    """Write the container's state for the other stand-ins, atomically."""
    fresh = Path("container.json.new")
    fresh.write_text(json.dumps(container))
    fresh.replace("container.json")


main()
