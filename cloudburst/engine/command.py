"""The `pulumi` command as the SDK calls it, and its errors as ours.

Every engine process has a session of its own: the terminal's Ctrl-C reaches the run alone, which
tears down in order. Only an `up` is interrupted, by the run; a `destroy` never is.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pulumi.automation as auto
from pulumi.automation.errors import create_command_error
from semver import VersionInfo

from cloudburst.errors import (
    EngineError,
    InfrastructureError,
    StackGone,
    StackLocked,
    WrongPassphrase,
)
from cloudburst.language import tr
from cloudburst.models import Refusal
from cloudburst.surroundings import PASSPHRASE, PASSPHRASE_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cloudburst.engine.toolchain import PulumiCli

OPERATION_TIMEOUT = 1800.0
# The operations that ask a provider; the others read and write the backend alone.
_OF_PROVIDERS = {"up", "preview", "destroy", "refresh"}
_WRONG_PASSPHRASE = "incorrect passphrase"  # noqa: S105 - the engine's words


class Command(auto.PulumiCommand):
    """Starts the CLI in a session of its own, and knows which process works in which folder.

    Args:
        cli: which one.
        passphrase: file of CloudBurst's own passphrase, tried where the user's is wrong; None
            where that is used anyway.
        environment: returns further variables, before each process; an empty one is unset.
    """

    def __init__(
        self,
        cli: PulumiCli,
        passphrase: Path | None = None,
        environment: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        # Not the parent's __init__: it would start the CLI once more to ask for its version.
        self.command = str(cli.binary.absolute())
        self.version = VersionInfo.parse(cli.version)
        self._passphrase = passphrase
        self._environment = environment
        self._running: dict[Path, subprocess.Popen[str]] = {}
        self._interrupted: dict[Path, signal.Signals] = {}
        self._lock = threading.Lock()

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> auto.CommandResult:
        """Run the CLI to its end; called by the SDK, see `auto.PulumiCommand`."""
        code, out, err = self._ended(args, cwd, additional_env)
        if code and _WRONG_PASSPHRASE in err and self._passphrase is not None:
            # The stack may have been made when the user's variables were not set. Without its
            # passphrase the engine has changed nothing.
            own = {**additional_env, PASSPHRASE_FILE: str(self._passphrase)}
            code, out, err = self._ended(args, cwd, own, without=PASSPHRASE)
        for callback, text in ((on_output, out), (on_error, err)):
            if callback is not None:
                for line in text.splitlines():
                    callback(line)
        result = auto.CommandResult(stdout=out.rstrip(), stderr=err.rstrip(), code=code)
        if code != 0:
            raise create_command_error(result)
        return result

    def _ended(
        self, args: list[str], cwd: str, more: Mapping[str, str], without: str = ""
    ) -> tuple[int, str, str]:
        """Run the CLI; return its exit code and what it printed."""
        with self._started(args, cwd, more, without) as process:
            out, err = self._output(process, args[0], Path(cwd))
        return process.returncode, out, err

    def _started(
        self, args: list[str], cwd: str, additional_env: Mapping[str, str], without: str
    ) -> subprocess.Popen[str]:
        # Plugins are looked for beside the CLI and beside this interpreter.
        beside = [str(Path(self.command).parent), str(Path(sys.executable).parent)]
        others = os.environ.get("PATH", os.defpath).split(os.pathsep)
        # A relative folder on PATH starts where this process works, not where the engine does.
        path = os.pathsep.join([*beside, *(os.path.abspath(one) for one in others)])  # noqa: PTH100
        environment = {**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"}
        environment |= (more := self._more(args[0]))
        for name in (without, *(name for name, value in more.items() if not value)):
            environment.pop(name, None)
        process = subprocess.Popen(
            [self.command, "--non-interactive", *args],
            cwd=cwd,
            env={**environment, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        with self._lock:
            self._running[Path(cwd)] = process
            # An interrupt may have come between two of an operation's processes.
            if "up" in args and Path(cwd) in self._interrupted:
                process.send_signal(self._interrupted[Path(cwd)])
        return process

    def _more(self, operation: str) -> Mapping[str, str]:
        """Return the further variables; what needs no provider does without them.

        Raises:
            InfrastructureError: there are none, such as of a session that has expired.
        """
        try:
            return self._environment()
        except InfrastructureError:
            if operation in _OF_PROVIDERS:
                raise
            return {}

    def _output(
        self, process: subprocess.Popen[str], operation: str, folder: Path
    ) -> tuple[str, str]:
        try:
            return process.communicate(timeout=OPERATION_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise EngineError(
                tr(
                    "pulumi {operation} took longer than {seconds:.0f} s and was ended",
                    operation=operation,
                    seconds=OPERATION_TIMEOUT,
                )
            ) from None
        finally:
            with self._lock:
                self._running.pop(folder, None)

    def interrupt(self, folder: Path, number: signal.Signals) -> None:
        """Signal what works in a folder, and every `up` that begins there from now on."""
        with self._lock:
            self._interrupted[folder] = number
            process = self._running.get(folder)
            if process is None:
                return
            if number is signal.SIGKILL:
                # Its plugins too, which are in process groups of their own.
                with contextlib.suppress(psutil.Error):
                    for child in psutil.Process(process.pid).children(recursive=True):
                        child.kill()
            process.send_signal(number)

    def interrupted(self, folder: Path) -> bool:
        """Whether `interrupt` was called for a folder."""
        with self._lock:
            return folder in self._interrupted


@contextmanager
def translated(
    operation: str, stack: str, diagnose: Callable[[str], Refusal] = lambda _: Refusal()
) -> Iterator[None]:
    """Translate the engine's errors, once, into ours.

    Args:
        operation: what is done, for messages.
        stack: to which stack.
        diagnose: see `Target.diagnose`.
    """
    try:
        yield
    except auto.ConcurrentUpdateError as error:
        raise StackLocked(
            tr(
                "pulumi {operation} of {stack}: another operation holds its lock",
                operation=operation,
                stack=stack,
            )
        ) from error
    except auto.StackNotFoundError as error:
        raise StackGone(
            tr(
                "pulumi {operation} of {stack}: there is no such stack",
                operation=operation,
                stack=stack,
            )
        ) from error
    except (auto.CommandError, OSError) as error:
        if _WRONG_PASSPHRASE in str(error):
            raise WrongPassphrase(_wrong_passphrase(operation, stack)) from error
        message = tr(
            "pulumi {operation} of {stack} failed: {reason}",
            operation=operation,
            stack=stack,
            reason=_gist(str(error)),
        )
        raise EngineError(message, diagnose(message)) from error


def _wrong_passphrase(operation: str, stack: str) -> str:
    """Return that a stack was made with another passphrase, and where the one tried is from."""
    source = PASSPHRASE if PASSPHRASE in os.environ else PASSPHRASE_FILE
    if source in os.environ:
        return tr(
            "pulumi {operation} of {stack}: its passphrase is not the one in {variable}; set "
            "{variable} to what it was when the stack was made (or unset it, if it was not set)",
            operation=operation,
            stack=stack,
            variable=source,
        )
    return tr(
        "pulumi {operation} of {stack}: it was made with a passphrase of yours; set {variable} to "
        "what it was then",
        operation=operation,
        stack=stack,
        variable=PASSPHRASE,
    )


_SECTION = re.compile(r"^Diagnostics:\n(?P<body>.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
# Headlines and summaries, of which the engine writes more than of reasons.
_HEADLINE = re.compile(
    r"(error: )?(\d+ errors? occurred:|update failed|preview failed)|[\w:/]+ \(.*\):"
)


def _gist(text: str) -> str:
    """Return the lines of the engine's output that say what went wrong."""
    section = _SECTION.search(text)
    lines = [line.strip() for line in (section["body"] if section else text).splitlines()]
    reasons = [
        line.removeprefix("error: ").removeprefix("* ")
        for line in lines
        if line and not _HEADLINE.fullmatch(line)
    ]
    if not section:
        reasons = [line for line in reasons if "error" in line.lower()] or reasons
    kept = list(dict.fromkeys(reasons))
    return " | ".join(kept[:4])[:1500]
