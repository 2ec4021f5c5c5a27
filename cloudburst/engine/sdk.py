"""What of the Pulumi SDK has to be changed for a process that works on many stacks at once."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi.automation as auto
from pulumi.automation import UpdateSummary
from pulumi.runtime import _grpc_settings, get_root_resource

if TYPE_CHECKING:
    from collections.abc import Callable

    Program = Callable[[], None]

LOOP_TIMEOUT = 2.0

# Connections of one process to one address are shared, also with those of an engine that has
# ended, which go on trying and wait up to two minutes between their attempts. When a new engine
# gets the port of an old one, its program is told "connection refused" without an attempt.
_OWN_CONNECTIONS = ("grpc.use_local_subchannel_pool", 1)
# The engine is on this machine. gRPC asks the variables for proxies even for 127.0.0.1, unless
# no_proxy names just that.
_NO_PROXY = ("grpc.enable_http_proxy", 0)
_lock = threading.Lock()


def configure() -> None:
    """Change the SDK's settings for this process. Doing it again changes nothing."""
    options = _grpc_settings._GRPC_CHANNEL_OPTIONS  # noqa: SLF001 - the SDK has no public setting
    with _lock:
        if _OWN_CONNECTIONS not in options:
            options += [_OWN_CONNECTIONS, _NO_PROXY]
            logging.getLogger("grpc._server").addFilter(_is_not_of_the_sdk)


def _is_not_of_the_sdk(record: logging.LogRecord) -> bool:
    """Whether a log record is not the SDK's that it could not report to an engine that has ended.

    The engine's own output has the reason already.
    """
    trace = record.exc_info[2] if record.exc_info else None
    return not any(
        frame.f_code.co_filename.endswith("automation/_server.py")
        for frame, _ in traceback.walk_tb(trace)
    )


class Stack(auto.Stack):
    """A stack whose operations start the engine once each.

    Those of the SDK start it up to four times: it selects the stack first, though each command
    names it, and afterwards it asks for the outputs, without secrets and with them, and for the
    newest entry of the history. Meanwhile a worker that is billed waits.

    Args:
        name: its name.
        workspace: in which the engine works.
        create: whether it is created; otherwise it is taken to exist.
    """

    def __init__(self, name: str, workspace: auto.LocalWorkspace, *, create: bool = False) -> None:
        self.name = name
        self.workspace = workspace
        if create:
            workspace.create_stack(name)

    def outputs(self) -> auto.OutputMap:
        """Return nothing: `Recorded` has them, and `Engine.outputs` asks for them."""
        return {}

    def info(self, show_secrets: bool = True) -> UpdateSummary:  # noqa: ARG002
        """Return an entry that says nothing: nobody reads it."""
        return UpdateSummary("", datetime.now(UTC), "", {}, {}, "")


class Recorded:
    """A program to run in place of another, of which is kept what the SDK forgets.

    Args:
        program: what it runs.

    Attributes:
        outputs: the values of the stack's outputs, secret ones too, once all are known. To ask the
            engine for them takes another process of it, while a worker that is billed waits.
    """

    def __init__(self, program: Program) -> None:
        self.outputs: dict[str, Any] = {}
        self._program = program
        self._loops: list[asyncio.AbstractEventLoop] = []

    def __call__(self) -> None:
        """Declare what the program declares."""
        self._loops.append(asyncio.get_running_loop())
        self._program()
        exported = getattr(get_root_resource(), "outputs", {})
        if exported:
            pulumi.Output.all(**exported).apply(self.outputs.update)

    def close(self) -> None:
        """Close the event loops in which it ran.

        The SDK leaves a loop and its sockets open when the engine ends before the program does, as
        it does whenever a resource cannot be created.
        """
        for loop in self._loops:
            deadline = time.monotonic() + LOOP_TIMEOUT
            while loop.is_running() and time.monotonic() < deadline:
                time.sleep(0.01)
            if not loop.is_running() and not loop.is_closed():
                loop.close()
