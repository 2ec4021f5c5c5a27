"""Engine operations on stacks, through the Automation API.

Every stack has a workspace folder of its own. Operations share a semaphore sized by free memory; a
slot is free again as soon as its operation ends.
"""

from __future__ import annotations

import contextlib
import glob
import json
import shutil
import signal
import socket
import tempfile
import threading
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pulumi.automation as auto

from cloudburst.engine import locks, sdk
from cloudburst.engine.command import Command, translated
from cloudburst.errors import EngineError, StackLocked
from cloudburst.language import tr
from cloudburst.models import PlannedResource, Refusal, StackState
from cloudburst.paths import PROJECT, engine_environment
from cloudburst.surroundings import PASSPHRASE_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cloudburst.engine.toolchain import PulumiCli
    from cloudburst.models import Lock

    Program = Callable[[], None]

_SETTINGS = auto.ProjectSettings(name=PROJECT, runtime="python")
# Measured: 105 MB for the process itself; the rest is what it starts and the run's own share.
OPERATION_BYTES = 160 * 1024**2


def slots_for(available: int, each: int = OPERATION_BYTES) -> int:
    """Return how many engine operations fit at once into half of the memory that is free.

    Args:
        available: bytes that are free.
        each: bytes one operation takes.
    """
    return max(1, min(32, available // 2 // each))


class Engine:
    """Runs engine operations on the stacks of one project.

    Args:
        cli: the `pulumi` command.
        state: folder of CloudBurst's state.
        environment: returns further variables for the CLI, such as credentials; called before
            each of its processes.
        operation_bytes: memory that one operation takes; as many run at once as fit.
        diagnose: returns what an error message means, see `Target.diagnose`.

    Attributes:
        logs: folder for what the engine says of each stack; None to keep nothing of it.
    """

    def __init__(
        self,
        cli: PulumiCli,
        state: Path,
        environment: Callable[[], Mapping[str, str]] = dict,
        operation_bytes: int = OPERATION_BYTES,
        diagnose: Callable[[str], Refusal] = lambda _: Refusal(),
    ) -> None:
        sdk.configure()
        self._state = state
        self._work = state / "workspaces"
        self._environment = engine_environment(state)
        own = state / "passphrase"
        used = self._environment.get(PASSPHRASE_FILE)
        passphrase = own if own.exists() and used != str(own) else None
        self._command = Command(cli, passphrase, environment)
        self._diagnose = diagnose
        count = slots_for(psutil.virtual_memory().available, operation_bytes)
        self._slots = threading.BoundedSemaphore(count)
        # Destroys have slots of their own: an end never waits for a beginning.
        self._ends = threading.BoundedSemaphore(max(1, count // 2))
        self._known: dict[str, sdk.Stack] = {}
        self.logs: Path | None = None

    def up(
        self, stack: str, program: Program, begin: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        """Create a stack and what its program declares; return its outputs.

        Args:
            stack: its name.
            program: what it declares.
            begin: called when it is this stack's turn, before anything is created; its errors are
                raised.

        Raises:
            EngineError: with the engine's message; the stack may hold part of it.
        """
        with self._slots, self._translated("up", stack):
            if self._command.interrupted(self._work / stack):
                raise EngineError(
                    tr("pulumi up of {stack} was interrupted before it began", stack=stack)
                )
            begin()
            with closing(sdk.Recorded(program)) as recorded:
                handle = self._handle(stack, recorded, create=True)
                handle.up(color="never", suppress_progress=True, on_output=self._noted(stack))
            return recorded.outputs or self._outputs(stack, handle.workspace)

    def _noted(self, stack: str) -> Callable[[str], None]:
        """Return what takes the engine's output of a stack, line by line, into the run's logs."""

        def take(line: str) -> None:
            if self.logs is not None:
                with contextlib.suppress(OSError):
                    self.logs.mkdir(exist_ok=True)
                    with (self.logs / f"{stack}.engine.log").open("a", encoding="utf-8") as file:
                        file.write(f"{line.rstrip()}\n")

        return take

    def preview(self, stack: str, program: Program) -> tuple[PlannedResource, ...]:
        """Return what `up` would do. The backend is afterwards as it was.

        Raises:
            EngineError: with the engine's message.
        """
        planned: list[PlannedResource] = []

        def note(event: auto.EngineEvent) -> None:
            step = event.resource_pre_event
            if step is not None:
                kind, name = step.metadata.type, step.metadata.urn.rpartition("::")[2]
                planned.append(PlannedResource(step.metadata.op.value, kind, name))

        with (
            self._slots,
            self._translated("preview", stack),
            closing(sdk.Recorded(program)) as recorded,
        ):
            # The engine previews only stacks that exist: an empty one is created and removed, also
            # one of which only a part was created.
            workspace = self._workspace_of(stack, recorded)
            try:
                handle = sdk.Stack(stack, workspace, create=True)
                handle.preview(color="never", on_event=note)
            finally:
                self._remove(stack, workspace)
        return tuple(planned)

    def destroy(self, stack: str, *, remove: bool = True) -> None:
        """Delete what a stack holds, then the stack. One that does not exist is no error.

        Args:
            stack: its name.
            remove: the stack itself too; otherwise `remove` does that.

        Raises:
            StackLocked: another operation holds it.
            EngineError: something could not be deleted; the stack remains.
        """
        with self._ends, self._translated("destroy", stack):
            try:
                handle = self._existing(stack)
                handle.destroy(color="never", suppress_progress=True, on_output=self._noted(stack))
            except auto.StackNotFoundError:
                handle = None
            if handle is not None and remove:
                self._remove(stack, handle.workspace)
        if remove:
            self._forget(stack, gone=True)

    def remove(self, stack: str) -> None:
        """Remove a stack that holds nothing any more. One that does not exist is no error.

        Raises:
            EngineError: it still holds something; it remains.
        """
        with (
            self._ends,
            self._translated("stack rm", stack),
            contextlib.suppress(auto.StackNotFoundError),
        ):
            self._remove(stack, self._existing(stack).workspace)
        self._forget(stack, gone=True)

    def refresh(self, stack: str) -> None:
        """Update a stack's state from its provider, and drop pending creates.

        Only after a sweep by tag: a pending create may have created something. A stack that does
        not exist is no error.

        Raises:
            StackLocked: another operation holds it.
            EngineError: with the engine's message.
        """
        with (
            self._ends,
            self._translated("refresh", stack),
            contextlib.suppress(auto.StackNotFoundError),
        ):
            handle = self._existing(stack)
            handle.refresh(color="never", suppress_progress=True, clear_pending_creates=True)

    def cancel(self, stack: str) -> None:
        """Remove a stack's lock. The caller knows that its owner is gone.

        A stack that does not exist is no error.

        Raises:
            EngineError: with the engine's message.
        """
        with self._translated("cancel", stack), contextlib.suppress(auto.StackNotFoundError):
            self._existing(stack).cancel()

    def stacks(self) -> list[str]:
        """List the project's stacks in the backend.

        Raises:
            EngineError: the backend cannot be read.
        """
        with self._slots, self._translated("stack ls", PROJECT), self._reading() as workspace:
            return [summary.name for summary in workspace.list_stacks()]

    def state(self, stack: str) -> StackState:
        """Return what the backend has of a stack: its resources, and interrupted operations.

        Raises:
            StackGone: it does not exist.
            EngineError: it cannot be read.
        """
        with self._ends, self._translated("stack export", stack):
            return self._read(stack)

    def _read(self, stack: str) -> StackState:
        with self._reading() as workspace:
            deployment = workspace.export_stack(stack).deployment or {}
        pending = deployment.get("pending_operations") or []
        resources = [
            resource
            for resource in deployment.get("resources") or []
            if not _type_of(resource).startswith(("pulumi:pulumi:", "pulumi:providers:"))
        ]
        interrupted = [operation.get("resource", {}) for operation in pending]
        return StackState(
            resources=tuple(_line(resource) for resource in resources),
            ids=frozenset(str(resource.get("id") or "") for resource in resources),
            pending=tuple(
                f"{operation.get('type')} {_line(resource)}"
                for operation, resource in zip(pending, interrupted, strict=True)
            ),
            types=tuple(_type_of(resource) for resource in (*resources, *interrupted)),
        )

    def pending(self, stack: str) -> bool:
        """Whether operations on a stack were interrupted. One that does not exist has none.

        Raises:
            EngineError: it cannot be read.
        """
        with (
            self._ends,
            self._translated("stack export", stack),
            contextlib.suppress(auto.StackNotFoundError),
        ):
            return bool(self._read(stack).pending)
        return False

    def outputs(self, stack: str) -> dict[str, Any]:
        """Return a stack's outputs, secret ones too.

        Raises:
            StackGone: it does not exist.
            EngineError: they cannot be read.
        """
        with self._ends, self._translated("stack output", stack), self._reading() as workspace:
            return self._outputs(stack, workspace)

    def locks(self, stack: str) -> tuple[Lock, ...]:
        """List the locks on a stack where the backend is a folder: others do not show them.

        Raises:
            EngineError: the folder cannot be read.
        """
        folder = locks.folder(self._environment["PULUMI_BACKEND_URL"], PROJECT, stack)
        if folder is None:
            return ()
        with self._translated("reading the locks", stack):
            return tuple(locks.read(path) for path in sorted(folder.glob("*.json")))

    def end_owners(self, stack: str) -> None:
        """End engine processes that still hold a stack whose run is dead.

        Raises:
            StackLocked: one is on another machine, or will not end.
        """
        for lock in self.locks(stack):
            if lock.host and lock.host != socket.gethostname():
                raise StackLocked(
                    tr(
                        "{stack} is locked by process {pid} on {host}, which cannot be seen from "
                        "here; once it has ended: {command}",
                        stack=stack,
                        pid=lock.pid,
                        host=lock.host,
                        command=f"pulumi cancel --yes --stack {stack}",
                    )
                )
            if lock.pid and not locks.end(lock.pid, stack):
                raise StackLocked(
                    tr(
                        "{stack} is locked by process {pid}, which does not end",
                        stack=stack,
                        pid=lock.pid,
                    )
                )

    def interrupt(self, stack: str, *, kill: bool = False) -> None:
        """Interrupt the `up` of a stack, or kill it; one that has not begun does not begin."""
        self._command.interrupt(self._work / stack, signal.SIGKILL if kill else signal.SIGINT)

    @contextmanager
    def _reading(self) -> Iterator[auto.LocalWorkspace]:
        """Yield a workspace of its own.

        The SDK rewrites `Pulumi.yaml` where it begins; in the stack's workspace, its run or another
        may just be reading that.
        """
        with tempfile.TemporaryDirectory(prefix="cloudburst-") as folder:
            yield self._workspace(Path(folder))

    def _outputs(self, stack: str, workspace: auto.Workspace) -> dict[str, Any]:
        arguments = ["stack", "output", "--json", "--show-secrets", "--stack", stack]
        result = self._command.run(arguments, str(workspace.work_dir), self._environment)
        outputs: dict[str, Any] = json.loads(result.stdout)
        return outputs

    def _existing(self, stack: str) -> sdk.Stack:
        """Return a stack that is taken to exist; destroy and refresh need no program."""
        return self._known.get(stack) or self._handle(stack, lambda: None, create=False)

    def _handle(self, stack: str, program: Program, *, create: bool) -> sdk.Stack:
        """Return a stack in its workspace."""
        handle = sdk.Stack(stack, self._workspace_of(stack, program), create=create)
        self._known[stack] = handle
        return handle

    def _workspace_of(self, stack: str, program: Program) -> auto.LocalWorkspace:
        """Return the workspace of a stack, in a folder of its own."""
        folder = self._work / stack
        folder.mkdir(parents=True, exist_ok=True)
        return self._workspace(folder, program)

    def _forget(self, stack: str, *, gone: bool = False) -> None:
        """Remove what the engine keeps of a stack, in CloudBurst's own folders alone.

        Args:
            stack: its name.
            gone: it does not exist any more, so nobody works on it.
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

    def _remove(self, stack: str, workspace: auto.Workspace) -> None:
        try:
            workspace.remove_stack(stack)
        except auto.StackNotFoundError:
            pass
        finally:
            self._forget(stack)

    def _translated(self, operation: str, stack: str) -> AbstractContextManager[None]:
        return translated(operation, stack, self._diagnose)

    def _workspace(self, folder: Path, program: Program | None = None) -> auto.LocalWorkspace:
        return auto.LocalWorkspace(
            work_dir=str(folder),
            program=program,
            env_vars=self._environment,
            project_settings=_SETTINGS,
            pulumi_command=self._command,
        )


def _line(resource: Mapping[str, Any]) -> str:
    """Return a line for a resource of a state: type, name, and the provider's id if it has one."""
    urn = str(resource.get("urn", ""))
    parts = [_type_of(resource), urn.rpartition("::")[2], str(resource.get("id") or "")]
    return " ".join(part for part in parts if part)


def _type_of(resource: Mapping[str, Any]) -> str:
    return str(resource.get("type", ""))
