"""The Pulumi provider behind the local target: its one resource is a worker process.

A run attaches the engine to this provider in its own process (``PULUMI_DEBUG_PROVIDERS``), which
spares a plugin start for every operation and makes workers children of the run. The same class
is installed as the plugin ``pulumi-resource-cloudburst``, so that ``pulumi destroy`` and
``pulumi refresh`` by hand work on what a run has left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psutil
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime import rpc
from pulumi.runtime.proto import plugin_pb2, provider_pb2_grpc
from pulumi.runtime.proto import provider_pb2 as pb

from cloudburst.paths import state_folder
from cloudburst.version import __version__

PACKAGE = "cloudburst"
TYPE = "cloudburst:local:Worker"
MODULE = "cloudburst.videoapi"
GRACE = 3.0


class LocalProvider(provider_pb2_grpc.ResourceProviderServicer):
    """Creates, reads and deletes worker processes.

    Args:
        creates: whether it may create workers: their lifeline ends with this process.
    """

    def __init__(self, *, creates: bool) -> None:
        self._creates = creates
        self._children: dict[str, tuple[subprocess.Popen[bytes], int]] = {}

    # The engine's questions, in the order in which it asks them.

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=__version__)

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def Handshake(self, request: Any, context: Any) -> Any:
        return pb.ProviderHandshakeResponse(accept_secrets=False)

    def GetSchema(self, request: Any, context: Any) -> Any:
        return pb.GetSchemaResponse(schema='{"name": "cloudburst"}')

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return pb.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return pb.DiffResponse(changes=pb.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        return pb.ConfigureResponse(acceptSecrets=False, supportsPreview=True)

    def Check(self, request: Any, context: Any) -> Any:
        wanted = {"stack", "job", "key", "room", "timeout", "log"}
        missing = sorted(wanted - set(request.news.fields))
        failures = [pb.CheckFailure(property=name, reason="missing") for name in missing]
        return pb.CheckResponse(inputs=request.news, failures=failures)

    def Diff(self, request: Any, context: Any) -> Any:
        changed = request.olds.fields["key"] != request.news.fields["key"]
        kind = pb.DiffResponse.DIFF_SOME if changed else pb.DiffResponse.DIFF_NONE
        return pb.DiffResponse(changes=kind, replaces=["key"] if changed else [])

    def Create(self, request: Any, context: Any) -> Any:
        inputs = dict(rpc.deserialize_properties(request.properties))
        if request.type and request.type != TYPE:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"no such resource: {request.type}")
        if request.preview:
            inputs |= {"pid": rpc.UNKNOWN, "endpoint": rpc.UNKNOWN}
            return pb.CreateResponse(id="", properties=_struct(inputs))
        if not self._creates:
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                "workers are created by cloudburst-run: they live no longer than their run",
            )
        try:
            identity, outputs = self._start(inputs)
        except OSError as error:
            context.abort(grpc.StatusCode.INTERNAL, f"the worker process did not start: {error}")
        return pb.CreateResponse(id=identity, properties=_struct(inputs | outputs))

    def Read(self, request: Any, context: Any) -> Any:
        stack = _stack_in(request)
        if find(request.id, stack) is None:
            return pb.ReadResponse()  # an empty id says that it is gone
        return pb.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    def Delete(self, request: Any, context: Any) -> Any:
        stack = _stack_in(request)
        end(request.id, stack)
        child = self._children.pop(request.id, None)
        if child:
            child[0].kill()  # no longer there, as a rule; but then the wait has an end
            child[0].wait()
            os.close(child[1])
        if find(request.id, stack) is not None:
            context.abort(grpc.StatusCode.INTERNAL, f"process {request.id} is still there")
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def keep(self, identity: str, seconds: float) -> None:
        """Tell a worker to live on for so many seconds when its lifeline ends."""
        child = self._children.pop(identity, None)  # its lifeline ends with this process
        if child:
            os.write(child[1], f"keep {seconds:.0f}\n".encode())

    def reap(self) -> None:
        """Close the lifelines that are left; their workers end themselves."""
        # One by one: a destroy that nobody waits for may take them out of the same books.
        while self._children:
            with contextlib.suppress(KeyError, subprocess.TimeoutExpired):
                _, (process, lifeline) = self._children.popitem()
                os.close(lifeline)
                process.wait(GRACE)

    def _start(self, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Start a worker on a socket that already listens: no port is guessed, none is lost."""
        stack = str(inputs["stack"])
        log = Path(str(inputs["log"]))
        log.parent.mkdir(parents=True, exist_ok=True)
        theirs, ours = os.pipe()
        command = [
            sys.executable,
            "-m",
            MODULE,
            "--stack",
            stack,
            "--work",
            str(work_folder(stack)),
        ]
        command += ["--slots", str(int(inputs["room"])), "--lifeline", str(theirs)]
        command += ["--threads", str(_threads(int(inputs["room"])))]
        command += ["--timeout", str(inputs["timeout"]), "--grace", "0"]
        try:
            with (
                socket.create_server(("127.0.0.1", 0), backlog=64) as listening,
                log.open("ab") as out,
            ):
                port = listening.getsockname()[1]
                process = subprocess.Popen(
                    [*command, "--socket", str(listening.fileno())],
                    pass_fds=(listening.fileno(), theirs),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    # A session of its own: the terminal's Ctrl-C is for the run, which tears
                    # down in order, and one signal ends the worker with all its ffmpegs.
                    start_new_session=True,
                    env={**os.environ, "AUTHENTICATION_KEY": str(inputs["key"])},
                )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        identity = identify(process.pid)
        self._children[identity] = (process, ours)
        return identity, {"pid": process.pid, "endpoint": f"http://127.0.0.1:{port}"}


def _threads(room: int) -> int:
    return max(1, (os.cpu_count() or 1) // room)


def _stack_in(request: Any) -> str:
    """Give the stack of the worker that a request is about."""
    return str(dict(rpc.deserialize_properties(request.properties))["stack"])


def _struct(properties: dict[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(properties)
    return struct


# -- processes ----------------------------------------------------------------------------------


def work_folder(stack: str) -> Path:
    """Give the folder in which a stack's worker keeps its files; it ends with the worker."""
    return state_folder() / "workers" / stack


def identify(pid: int) -> str:
    """Name a process by its number, and by when it began."""
    try:
        return f"{pid}@{psutil.Process(pid).create_time():.2f}"
    except psutil.NoSuchProcess:
        return f"{pid}@gone"


def find(identity: str, stack: str) -> psutil.Process | None:
    """Find a stack's worker, or None when it has ended.

    Another process with the same number later has not the stack's name in its command line. When
    it began does not tell: that is reckoned from the time of the boot, which moves when a clock is
    set.
    """
    try:
        process = psutil.Process(int(identity.partition("@")[0]))
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process if _stack_of(process.cmdline()) == stack else None
    except (psutil.NoSuchProcess, psutil.AccessDenied, ValueError):
        return None


def _stack_of(line: list[str]) -> str | None:
    """Give the stack that a worker's command line names; None when it is no worker's."""
    if MODULE not in line or "--stack" not in line[:-1]:
        return None
    return line[line.index("--stack") + 1]


def workers(stack: str | None = None) -> list[tuple[str, str]]:
    """List the workers that run, as (identity, stack), of one stack or of all.

    The command line is a worker's tag: it is there from its first moment, known to the state or
    not.
    """
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        named = _stack_of(process.info["cmdline"] or [])
        if named is None or stack not in (None, named):
            continue
        if process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append((identify(process.info["pid"]), named))
    return found


def is_ours(identity: str, stack: str) -> bool:
    """Say if a worker keeps its files in this state folder."""
    process = find(identity, stack)
    try:
        return process is not None and str(work_folder(stack)) in process.cmdline()
    except psutil.Error:
        return False


def end(identity: str, stack: str) -> None:
    """End a worker, everything it started, and its files. Ending it twice is no error."""
    process = find(identity, stack)
    if process is not None:
        _signal(process.pid, signal.SIGTERM)
        if not _ended(identity, stack, GRACE):
            _signal(process.pid, signal.SIGKILL)
            _ended(identity, stack, GRACE)
    clear(stack)


def clear(stack: str) -> None:
    """Remove what a stack's worker has left that was killed itself: its ffmpegs and its files."""
    # They are known by where they work.
    work = work_folder(stack)
    for child in psutil.process_iter(["cwd"]):
        if child.info["cwd"] and Path(child.info["cwd"]).is_relative_to(work):
            _signal(child.pid, signal.SIGKILL)
    shutil.rmtree(work, ignore_errors=True)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _ended(identity: str, stack: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if find(identity, stack) is None:
            return True
        time.sleep(0.02)
    return find(identity, stack) is None


# -- serving ------------------------------------------------------------------------------------


def serve(provider: LocalProvider) -> tuple[grpc.Server, int]:
    """Serve a provider on a loopback port; give the server and the port."""
    server = grpc.server(ThreadPoolExecutor(max_workers=16, thread_name_prefix="provider"))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def serve_plugin() -> None:
    """Be the plugin ``pulumi-resource-cloudburst``: print the port, serve until ended."""
    server, port = serve(LocalProvider(creates=False))
    print(port, flush=True)  # noqa: T201 - the plugin protocol
    signal.signal(signal.SIGTERM, lambda *_: server.stop(0))
    server.wait_for_termination()
