"""Supervises a container: starts its process, and restarts it by the container's restart policy."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from _containers import save
from _machine import FOLDER

# An image with Python alone, such as docker.io/library/python:3.11-slim.
BASE = re.compile(r"(^|/)python(:|@|$)")
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 60.0
# What the kernel says of a program for another processor.
EXEC_FORMAT = ["/bin/sh", "-c", "echo 'exec /usr/local/bin/python3: exec format error'; exit 1"]


def main() -> None:
    """Run the container whose settings come as JSON on standard input."""
    settings = json.loads(sys.stdin.read())
    command = video_api(settings)
    if settings["fault"]:
        command = EXEC_FORMAT if settings["fault"] == "exec_format" else unhealthy(settings)
    restarts, pause = 0, FIRST_PAUSE
    while True:
        began = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        state = {**settings, "pid": process.pid, "supervisor": os.getpid(), "restarts": restarts}
        save(FOLDER, state)
        code = process.wait()
        again = restarts_after(settings["restart"], code, restarts)
        restarts += again
        save(FOLDER, {**state, "pid": 0, "code": code, "restarts": restarts})
        if not again:
            sys.exit(code)
        # As docker: the pause doubles each time, and is reset after ten seconds of running.
        pause = FIRST_PAUSE if time.monotonic() - began > 10 else min(pause * 2, LONGEST_PAUSE)
        time.sleep(pause)


def video_api(settings: dict[str, Any]) -> list[str]:
    """Return the command of the image's server, by default of this environment's video API.

    In an image's own command, {address} and {port} are where it has to listen, and {container} is
    the file with all that docker knows of the container.
    """
    if not settings["command"] and BASE.search(settings["image"]) and settings["words"]:
        own = FOLDER / "containers" / str(settings["id"])
        script = Path(__file__).with_name("_slim.py")
        return [sys.executable, str(script), f"{own}.json", str(own)]
    if settings["command"]:
        place = {"address": settings["address"], "port": settings["port"]}
        place["container"] = FOLDER / "containers" / f"{settings['id']}.json"
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


main()
