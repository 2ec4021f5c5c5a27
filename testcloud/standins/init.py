"""A machine's first process: runs the user data as cloud-init does, adopts and buries orphans.

Standard input is its lifeline: when that ends, the machine ends, with every process it has.
"""

# ruff: noqa: T201 - what a command says, it prints
import contextlib
import ctypes
import errno
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
MARK = "CLOUDBURST_TEST_MACHINE"


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    script = Path("user-data").absolute()
    user_data = run(script) if script.read_bytes()[:2] == b"#!" else None
    if user_data is None:
        say("no script in the user data: nothing is run")
    while not select.select([0], [], [], 0.1)[0]:
        bury(user_data)
    end()


def run(script: Path) -> int:
    """Execute the user data; its first line says by what."""
    script.chmod(0o755)
    while True:
        try:
            return subprocess.Popen([str(script)], stdin=subprocess.DEVNULL).pid
        except OSError as error:
            # Another thread's fork may hold the file open for writing for a moment.
            if error.errno != errno.ETXTBSY:
                say(f"the user data cannot be run: {error}")
                return 0
            time.sleep(0.01)


def bury(user_data: int | None) -> None:
    """Collect what has ended."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == user_data:
                say(f"user data ended with {os.waitstatus_to_exitcode(ended[1])}")


def end() -> None:
    """End every process of this machine, then this one."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    while left := [pid for pid in others() if marked(pid, mark)]:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    sys.exit(0)


def others() -> list[int]:
    numbers = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [pid for pid in numbers if pid != os.getpid()]


def marked(pid: int, mark: bytes) -> bool:
    with contextlib.suppress(OSError):
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def say(text: str) -> None:
    print(f"cloud-init: {text}", flush=True)


main()
