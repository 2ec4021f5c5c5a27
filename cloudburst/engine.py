"""The Pulumi engine, through the Automation API. The only module that imports it.

Every stack has a workspace folder of its own, and every engine process a session of its own: the
terminal's Ctrl-C reaches the run alone, which tears down in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pulumi.automation as auto
from pulumi.automation.errors import create_command_error
from pulumi.runtime import _grpc_settings
from semver import VersionInfo

from cloudburst.errors import EngineError, StackLocked
from cloudburst.models import PlannedResource
from cloudburst.places import PROJECT, engine_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cloudburst.toolchain import Engine as Binary

    Program = Callable[[], None]

# Connections of one process to one address are shared, also with those of an engine that has
# ended, which go on trying and wait up to two minutes between their tries. When a new engine
# gets the port of an old one, its program would be told "connection refused" without a try.
_grpc_settings._GRPC_CHANNEL_OPTIONS.append(("grpc.use_local_subchannel_pool", 1))  # noqa: SLF001

OPERATION_TIMEOUT = 1800.0
LOOP_TIMEOUT = 2.0
# Measured: 105 MB for the process itself; the rest is what it starts and the run's own share.
OPERATION_BYTES = 160 * 1024**2


def slots_for(available: int, each: int = OPERATION_BYTES) -> int:
    """Say how many engine operations fit at once into half of the memory that is free.

    Args:
        available: bytes that are free.
        each: bytes one operation takes.
    """
    return max(1, min(32, available // 2 // each))


class Engine:
    """Runs engine operations on the stacks of one project.

    Args:
        binary: the CLI.
        state: folder of CloudBurst's state.
        more: further environment for the CLI, such as attached providers.
        operation_bytes: memory one operation takes; as many run at once as fit.
    """

    def __init__(
        self,
        binary: Binary,
        state: Path,
        more: Mapping[str, str] | None = None,
        operation_bytes: int = OPERATION_BYTES,
    ) -> None:
        self._command = _Command(binary)
        self._work = state / "workspaces"
        self._environment = {**engine_environment(state), **(more or {})}
        count = slots_for(psutil.virtual_memory().available, operation_bytes)
        self._slots = threading.BoundedSemaphore(count)
        # A machine that is to end must not wait for others to begin.
        self._ends = threading.BoundedSemaphore(max(1, count // 2))
        self._known: dict[str, auto.Stack] = {}

    def up(
        self, stack: str, program: Program, begin: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        """Create a stack and what its program declares; give its outputs.

        Args:
            stack: its name.
            program: what it declares.
            begin: is called when it is this stack's turn, before anything is created; what it
                raises comes out.

        Raises:
            EngineError: with the engine's own words; the stack may hold part of it.
        """
        with self._slots, _translated("up", stack):
            if self._command.interrupted(self._work / stack):
                raise EngineError(f"pulumi up of {stack} was interrupted before it began")
            begin()
            with _closed_loops(program) as recorded:
                handle = auto.create_stack(stack, PROJECT, recorded, opts=self._options(stack))
                self._known[stack] = handle
                result = handle.up(color="never", suppress_progress=True)
            return {name: output.value for name, output in result.outputs.items()}

    def preview(self, stack: str, program: Program) -> tuple[PlannedResource, ...]:
        """Say what `up` would do. The backend is as it was afterwards.

        Raises:
            EngineError: with the engine's own words.
        """
        planned: list[PlannedResource] = []

        def note(event: auto.EngineEvent) -> None:
            step = event.resource_pre_event
            if step is not None:
                kind, name = step.metadata.type, step.metadata.urn.rpartition("::")[2]
                planned.append(PlannedResource(step.metadata.op.value, kind, name))

        with (
            self._slots,
            _translated("preview", stack),
            _closed_loops(program) as recorded,
        ):
            # The engine previews only stacks that exist; an empty one comes and goes.
            handle = auto.create_stack(stack, PROJECT, recorded, opts=self._options(stack))
            self._known[stack] = handle
            try:
                handle.preview(color="never", on_event=note)
            finally:
                self._remove(stack, handle)
        return tuple(planned)

    def destroy(self, stack: str) -> None:
        """Delete what a stack holds, then the stack. A stack that is not there is no error.

        Raises:
            StackLocked: another operation holds it.
            EngineError: something could not be deleted; the stack remains.
        """
        with self._ends, _translated("destroy", stack):
            try:
                handle = self._known.get(stack) or self._select(stack)
                handle.destroy(color="never", suppress_progress=True)
            except auto.StackNotFoundError:
                handle = None
            if handle is not None:
                self._remove(stack, handle)
        shutil.rmtree(self._work / stack, ignore_errors=True)
        self._known.pop(stack, None)

    def refresh(self, stack: str) -> None:
        """Bring a stack's state up to what its provider says, and drop pending creates.

        Only after a sweep by tag: a pending create may have created something.

        Raises:
            EngineError: with the engine's own words.
        """
        with self._ends, _translated("refresh", stack):
            handle = self._known.get(stack) or self._select(stack)
            handle.refresh(color="never", suppress_progress=True, clear_pending_creates=True)

    def cancel(self, stack: str) -> None:
        """Remove a stack's lock. The caller knows that its owner is gone.

        Raises:
            EngineError: with the engine's own words.
        """
        with _translated("cancel", stack):
            (self._known.get(stack) or self._select(stack)).cancel()

    def stacks(self) -> list[str]:
        """List the project's stacks in the backend.

        Raises:
            EngineError: the backend cannot be read.
        """
        with self._slots, _translated("stack ls", PROJECT):
            options = self._options("stack-ls")
            workspace = auto.LocalWorkspace(
                work_dir=options.work_dir,
                env_vars=options.env_vars,
                project_settings=options.project_settings,
                pulumi_command=self._command,
            )
            return [summary.name for summary in workspace.list_stacks()]

    def interrupt(self, stack: str, *, kill: bool = False) -> None:
        """Ask the `up` of a stack to end early, or end it at once; one to come does not begin."""
        self._command.interrupt(self._work / stack, signal.SIGKILL if kill else signal.SIGINT)

    def _select(self, stack: str) -> auto.Stack:
        def nothing() -> None:
            """Destroy and refresh read the state, not a program."""

        return auto.select_stack(stack, PROJECT, nothing, opts=self._options(stack))

    def _remove(self, stack: str, handle: auto.Stack) -> None:
        try:
            handle.workspace.remove_stack(stack)
        except auto.StackNotFoundError:
            pass
        finally:
            self._known.pop(stack, None)
        shutil.rmtree(self._work / stack, ignore_errors=True)

    def _options(self, stack: str) -> auto.LocalWorkspaceOptions:
        folder = self._work / stack
        folder.mkdir(parents=True, exist_ok=True)
        settings = auto.ProjectSettings(name=PROJECT, runtime="python")
        return auto.LocalWorkspaceOptions(
            work_dir=str(folder),
            env_vars=self._environment,
            project_settings=settings,
            pulumi_command=self._command,
        )


class _Command(auto.PulumiCommand):
    """Starts the CLI in a session of its own and remembers which process works on which stack."""

    def __init__(self, binary: Binary) -> None:
        # Not the parent's __init__: it would start the CLI once more to ask for its version.
        self.command = str(binary.binary)
        self.version = VersionInfo.parse(binary.version)
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
        # Plugins are found beside the CLI and beside this interpreter.
        beside = [str(Path(self.command).parent), str(Path(sys.executable).parent)]
        path = os.pathsep.join([*beside, os.environ.get("PATH", "")])
        environment = {**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"}
        with subprocess.Popen(
            [self.command, "--non-interactive", *args],
            cwd=cwd,
            env={**environment, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        ) as process:
            with self._lock:
                self._running[Path(cwd)] = process
                # An interrupt may have come between two of an operation's processes.
                if "up" in args and Path(cwd) in self._interrupted:
                    process.send_signal(self._interrupted[Path(cwd)])
            try:
                out, err = process.communicate(timeout=OPERATION_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise EngineError(
                    f"pulumi {args[0]} took longer than {OPERATION_TIMEOUT:.0f} s and was ended"
                ) from None
            finally:
                with self._lock:
                    self._running.pop(Path(cwd), None)
        for callback, text in ((on_output, out), (on_error, err)):
            if callback is not None:
                for line in text.splitlines():
                    callback(line)
        result = auto.CommandResult(
            stdout=out.rstrip(), stderr=err.rstrip(), code=process.returncode
        )
        if process.returncode != 0:
            raise create_command_error(result)
        return result

    def interrupt(self, folder: Path, number: signal.Signals) -> None:
        with self._lock:
            self._interrupted[folder] = number
            process = self._running.get(folder)
            if process is None:
                return
            if number is signal.SIGKILL:
                # Its plugins too, which have process groups of their own.
                with contextlib.suppress(psutil.Error):
                    for child in psutil.Process(process.pid).children(recursive=True):
                        child.kill()
            process.send_signal(number)

    def interrupted(self, folder: Path) -> bool:
        with self._lock:
            return folder in self._interrupted


@contextmanager
def _translated(operation: str, stack: str) -> Iterator[None]:
    """Translate the engine's errors, once, into ours."""
    try:
        yield
    except auto.ConcurrentUpdateError as error:
        raise StackLocked(
            f"pulumi {operation} of {stack}: another operation holds its lock"
        ) from error
    except (auto.CommandError, OSError) as error:
        raise EngineError(f"pulumi {operation} of {stack} failed: {_gist(str(error))}") from error


_SECTION = re.compile(r"^Diagnostics:\n(?P<body>.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
# Headlines and summaries, of which the engine writes more than of reasons.
_EMPTY_WORDS = re.compile(
    r"(error: )?(\d+ errors? occurred:|update failed|preview failed)|[\w:/]+ \(.*\):"
)


def _gist(text: str) -> str:
    """Keep the lines of the engine's answer that say what went wrong."""
    section = _SECTION.search(text)
    lines = [line.strip() for line in (section["body"] if section else text).splitlines()]
    reasons = [
        line.removeprefix("error: ").removeprefix("* ")
        for line in lines
        if line and not _EMPTY_WORDS.fullmatch(line)
    ]
    if not section:
        reasons = [line for line in reasons if "error" in line.lower()] or reasons
    kept = list(dict.fromkeys(reasons))
    return " | ".join(kept[:4])[:1500]


@contextmanager
def _closed_loops(program: Program) -> Iterator[Program]:
    """Give a program to run in place of another, and close the event loops in which it ran.

    The SDK leaves a loop and its sockets open when the engine ends before the program does, as
    it does whenever a resource cannot be created.
    """
    loops: list[asyncio.AbstractEventLoop] = []

    def recorded() -> None:
        loops.append(asyncio.get_running_loop())
        program()

    try:
        yield recorded
    finally:
        for loop in loops:
            deadline = time.monotonic() + LOOP_TIMEOUT
            while loop.is_running() and time.monotonic() < deadline:
                time.sleep(0.01)
            if not loop.is_running() and not loop.is_closed():
                loop.close()


def _is_of_the_sdk(record: logging.LogRecord) -> bool:
    """Say if a log record tells that the SDK could not tell an engine that has ended of an error.

    The engine's own answer has the reason already.
    """
    trace = record.exc_info[2] if record.exc_info else None
    return any(
        frame.f_code.co_filename.endswith("automation/_server.py")
        for frame, _ in traceback.walk_tb(trace)
    )


logging.getLogger("grpc._server").addFilter(lambda record: not _is_of_the_sdk(record))
