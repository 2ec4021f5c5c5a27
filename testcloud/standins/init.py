"""A machine's init process: runs the user data as cloud-init does, and reaps orphaned processes.

When standard input closes, it ends the machine with all of its processes.
"""

# ruff: noqa: T201 - a command prints its output
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
    """Run the user data, and reap processes until standard input closes."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    script = Path("user-data").absolute()
    user_data = run(script) if script.read_bytes()[:2] == b"#!" else None
    if user_data is None:
        log("the user data is not a script: nothing is run")
    while not select.select([0], [], [], 0.1)[0]:
        reap(user_data)
    end()


def run(script: Path) -> int:
    """Execute the user data with the interpreter of its first line; return the process id."""
    script.chmod(0o755)
    while True:
        try:
            return subprocess.Popen([str(script)], stdin=subprocess.DEVNULL).pid
        except OSError as error:
            # A fork of another thread may briefly hold the file open for writing.
            if error.errno != errno.ETXTBSY:
                log(f"cannot run the user data: {error}")
                return 0
            time.sleep(0.01)


def reap(user_data: int | None) -> None:
    """Collect the processes that have ended."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == user_data:
                log(f"user data ended with {os.waitstatus_to_exitcode(ended[1])}")


def end() -> None:
    """End every process of this machine, then this one."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    while pids := [pid for pid in others() if marked(pid, mark)]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    sys.exit(0)


def others() -> list[int]:
    """List the ids of all other processes."""
    numbers = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [pid for pid in numbers if pid != os.getpid()]


def marked(pid: int, mark: bytes) -> bool:
    """Whether a process belongs to this machine."""
    with contextlib.suppress(OSError):
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def log(text: str) -> None:
    """Write a line to the console."""
    print(f"cloud-init: {text}", flush=True)


main()
