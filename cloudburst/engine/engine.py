"""The Pulumi engine, through the Automation API. The only module that imports it.

Every stack has a workspace folder of its own, and every engine process a session of its own: the
terminal's Ctrl-C reaches the run alone, which tears down in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import psutil
import pulumi.automation as auto
from pulumi.automation.errors import create_command_error
from pulumi.runtime import _grpc_settings
from semver import VersionInfo

from cloudburst.errors import EngineError, StackGone, StackLocked
from cloudburst.models import Lock, PlannedResource, StackState
from cloudburst.paths import PROJECT, engine_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cloudburst.engine.toolchain import Engine as Binary

    Program = Callable[[], None]

# Connections of one process to one address are shared, also with those of an engine that has
# ended, which go on trying and wait up to two minutes between their tries. When a new engine
# gets the port of an old one, its program would be told "connection refused" without a try.
_grpc_settings._GRPC_CHANNEL_OPTIONS.append(("grpc.use_local_subchannel_pool", 1))  # noqa: SLF001

_SETTINGS = auto.ProjectSettings(name=PROJECT, runtime="python")
OPERATION_TIMEOUT = 1800.0
LOOP_TIMEOUT = 2.0
ENGINE_GRACE = 10.0
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
        self._state = state
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

    def destroy(self, stack: str, *, remove: bool = True) -> None:
        """Delete what a stack holds, then the stack. A stack that is not there is no error.

        Args:
            stack: its name.
            remove: the stack itself too; otherwise `remove` does that.

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
            if handle is not None and remove:
                self._remove(stack, handle)
        if remove:
            self._forget(stack, gone=True)

    def remove(self, stack: str) -> None:
        """Remove a stack that holds nothing any more. One that is not there is no error.

        Raises:
            EngineError: it still holds something; it remains.
        """
        with (
            self._ends,
            _translated("stack rm", stack),
            contextlib.suppress(auto.StackNotFoundError),
        ):
            self._remove(stack, self._known.get(stack) or self._select(stack))
        self._forget(stack, gone=True)

    def refresh(self, stack: str) -> None:
        """Bring a stack's state up to what its provider says, and drop pending creates.

        Only after a sweep by tag: a pending create may have created something. A stack that is not
        there is no error.

        Raises:
            StackLocked: another operation holds it.
            EngineError: with the engine's own words.
        """
        with (
            self._ends,
            _translated("refresh", stack),
            contextlib.suppress(auto.StackNotFoundError),
        ):
            handle = self._known.get(stack) or self._select(stack)
            handle.refresh(color="never", suppress_progress=True, clear_pending_creates=True)

    def cancel(self, stack: str) -> None:
        """Remove a stack's lock. The caller knows that its owner is gone.

        A stack that is not there is no error.

        Raises:
            EngineError: with the engine's own words.
        """
        with _translated("cancel", stack), contextlib.suppress(auto.StackNotFoundError):
            (self._known.get(stack) or self._select(stack)).cancel()

    def stacks(self) -> list[str]:
        """List the project's stacks in the backend.

        Raises:
            EngineError: the backend cannot be read.
        """
        with self._slots, _translated("stack ls", PROJECT), self._reading() as workspace:
            return [summary.name for summary in workspace.list_stacks()]

    def state(self, stack: str) -> StackState:
        """Read what the backend says of a stack: its resources and operations that broke off.

        Raises:
            StackGone: it is not there.
            EngineError: it cannot be read.
        """
        with self._ends, _translated("stack export", stack):
            return self._read(stack)

    def _read(self, stack: str) -> StackState:
        with self._reading() as workspace:
            deployment = workspace.export_stack(stack).deployment or {}
        pending = [
            f"{one.get('type')} {_named(one.get('resource', {}))}"
            for one in deployment.get("pending_operations") or []
        ]
        resources = [
            one
            for one in deployment.get("resources") or []
            if not str(one.get("type")).startswith(("pulumi:pulumi:", "pulumi:providers:"))
        ]
        return StackState(
            resources=tuple(_named(one) for one in resources),
            ids=frozenset(str(one.get("id") or "") for one in resources),
            pending=tuple(pending),
        )

    def pending(self, stack: str) -> bool:
        """Say if operations on a stack broke off, or may have. One that is not there has none.

        Raises:
            EngineError: it cannot be read.
        """
        with (
            self._ends,
            _translated("stack export", stack),
            contextlib.suppress(auto.StackNotFoundError),
        ):
            return bool(self._read(stack).pending)
        return False

    def outputs(self, stack: str) -> dict[str, Any]:
        """Read a stack's outputs, secret ones too.

        Raises:
            EngineError: they cannot be read, or the stack is not there.
        """
        with self._ends, _translated("stack output", stack):
            with self._reading() as workspace:
                found = workspace.stack_outputs(stack)
            return {name: output.value for name, output in found.items()}

    def locks(self, stack: str) -> tuple[Lock, ...]:
        """List the locks on a stack, as far as the backend is a folder: others do not tell.

        Raises:
            EngineError: the folder cannot be read.
        """
        backend = str(
            self._environment.get("PULUMI_BACKEND_URL") or os.environ["PULUMI_BACKEND_URL"]
        )
        if not backend.startswith("file://"):
            return ()
        parts = urlsplit(backend)  # "file://~/folder" has the home in the host's place
        place = Path(url2pathname(parts.netloc + parts.path)).expanduser()
        folder = place / ".pulumi" / "locks" / "organization" / PROJECT / stack
        with _translated("reading the locks", stack):
            return tuple(_lock(path) for path in sorted(folder.glob("*.json")))

    def end_owners(self, stack: str) -> None:
        """End engine processes that still hold a stack whose run is dead.

        Raises:
            StackLocked: one is on another machine, or will not end.
        """
        for lock in self.locks(stack):
            if lock.host and lock.host != socket.gethostname():
                raise StackLocked(
                    f"{stack} is locked by process {lock.pid} on {lock.host}, which cannot be seen "
                    f"from here; when that is over: pulumi cancel --yes --stack {stack}"
                )
            if lock.pid and not _ended(lock.pid, stack):
                raise StackLocked(f"{stack} is locked by process {lock.pid}, which does not end")

    def interrupt(self, stack: str, *, kill: bool = False) -> None:
        """Ask the `up` of a stack to end early, or end it at once; one to come does not begin."""
        self._command.interrupt(self._work / stack, signal.SIGKILL if kill else signal.SIGINT)

    @contextmanager
    def _reading(self) -> Iterator[auto.LocalWorkspace]:
        """Give a workspace of its own: in a stack's, its run may be working, or another's."""
        with tempfile.TemporaryDirectory(prefix="cloudburst-") as folder:
            yield auto.LocalWorkspace(
                work_dir=folder,
                env_vars=self._environment,
                project_settings=_SETTINGS,
                pulumi_command=self._command,
            )

    def _select(self, stack: str) -> auto.Stack:
        def nothing() -> None:
            """Destroy and refresh read the state, not a program."""

        return auto.select_stack(stack, PROJECT, nothing, opts=self._options(stack))

    def _forget(self, stack: str, *, gone: bool = False) -> None:
        """Drop what the engine keeps of a stack: in CloudBurst's own folders alone.

        Args:
            stack: its name.
            gone: nobody works on it any more, for it is not there.
        """
        self._known.pop(stack, None)
        shutil.rmtree(self._work / stack, ignore_errors=True)
        backend = self._state / "backend" / ".pulumi"
        shutil.rmtree(backend / "backups" / PROJECT / stack, ignore_errors=True)
        name = glob.escape(stack)
        logs = (self._state / "pulumi-home" / "logs").glob(f"organization+{PROJECT}+{name}-*.log")
        for path in [*(backend / "stacks" / PROJECT).glob(f"{name}.json.bak*"), *logs]:
            path.unlink(missing_ok=True)
        if gone:
            # An engine that is killed while it removes a stack leaves the lock and the history.
            for kind in (Path("history"), Path("locks") / "organization"):
                shutil.rmtree(backend / kind / PROJECT / stack, ignore_errors=True)

    def _remove(self, stack: str, handle: auto.Stack) -> None:
        try:
            handle.workspace.remove_stack(stack)
        except auto.StackNotFoundError:
            pass
        finally:
            self._forget(stack)

    def _options(self, stack: str) -> auto.LocalWorkspaceOptions:
        folder = self._work / stack
        folder.mkdir(parents=True, exist_ok=True)
        return auto.LocalWorkspaceOptions(
            work_dir=str(folder),
            env_vars=self._environment,
            project_settings=_SETTINGS,
            pulumi_command=self._command,
        )


def _named(resource: Mapping[str, Any]) -> str:
    """Name a resource of a state: type, name, and the provider's id as far as there is one."""
    urn = str(resource.get("urn", ""))
    words = [str(resource.get("type", "")), urn.rpartition("::")[2], str(resource.get("id") or "")]
    return " ".join(word for word in words if word)


def _ended(pid: int, stack: str) -> bool:
    """End an engine process and what it started; politely first, so that it writes its state."""
    try:
        process = psutil.Process(pid)
        if not _works_on(process, stack):
            return True  # its number is another's by now
        family = [process, *process.children(recursive=True)]
        process.send_signal(signal.SIGINT)
    except psutil.NoSuchProcess:
        return True
    _, left = psutil.wait_procs(family, ENGINE_GRACE)
    for one in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    _, left = psutil.wait_procs(left, ENGINE_GRACE)
    return not left


def _works_on(process: psutil.Process, stack: str) -> bool:
    """Say if a process is an engine that works on a stack: in its workspace, or by its name."""
    if "pulumi" not in process.name():
        return False
    try:
        # Of a folder that was removed, Linux says so behind its name.
        place = Path(process.cwd().removesuffix(" (deleted)")).name
        return place == stack or any(stack in word for word in process.cmdline())
    except psutil.AccessDenied:
        return True  # whoever it is, it holds the lock


def _lock(path: Path) -> Lock:
    try:
        said = json.loads(path.read_text("utf-8"))
        return Lock(int(said["pid"]), str(said["hostname"]), str(said.get("timestamp", "")))
    except (ValueError, KeyError, TypeError):
        return Lock(0, "", "")  # damaged, as after a power cut: it still locks


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
    except auto.StackNotFoundError as error:
        raise StackGone(f"pulumi {operation} of {stack}: there is no such stack") from error
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
