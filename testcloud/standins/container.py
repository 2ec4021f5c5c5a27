"""What keeps a container: starts its process, and starts it again when its policy says so."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 60.0


def main() -> None:
    settings = json.loads(sys.stdin.read())
    command = unwell(settings) if settings["unwell"] else video_api(settings)
    restarts, pause = 0, FIRST_PAUSE
    while True:
        began = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        note({**settings, "pid": process.pid, "keeper": os.getpid(), "restarts": restarts})
        code = process.wait()
        if not again(settings["restart"], code, restarts):
            sys.exit(code)
        # As docker: twice the pause each time, from the start again after ten good seconds.
        pause = FIRST_PAUSE if time.monotonic() - began > 10 else min(pause * 2, LONGEST_PAUSE)
        time.sleep(pause)
        restarts += 1


def video_api(settings: dict[str, object]) -> list[str]:
    given = [str(word) for word in settings["arguments"]]
    command = [sys.executable, "-m", "cloudburst.videoapi"]
    command += ["--host", str(settings["address"]), "--port", str(settings["port"])]
    if "--slots" not in given:
        command += ["--slots", str(settings["slots"])]
    if "--threads" not in given:
        command += ["--threads", "2"]
    return [*command, *given]


def unwell(settings: dict[str, object]) -> list[str]:
    script = str(Path(__file__).with_name("unwell.py"))
    return [sys.executable, "-S", script, str(settings["address"]), str(settings["port"])]


def again(policy: str, code: int, restarts: int) -> bool:
    name, _, most = policy.partition(":")
    if name in ("always", "unless-stopped"):
        return True
    return name == "on-failure" and code != 0 and (not most or restarts < int(most))


def note(known: dict[str, object]) -> None:
    fresh = Path("container.json.new")
    fresh.write_text(json.dumps(known))
    fresh.replace("container.json")


main()
