"""What an `Engine` changes in the SDK: an engine on the port of one that has ended is reached."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from pulumi.runtime import _grpc_settings
from pulumi.runtime.proto import engine_pb2
from pulumi.runtime.settings import Settings

from cloudburst.engine import sdk


def asked(address: str) -> grpc.StatusCode:
    """Ask as a program asks its engine; return how that ended."""
    with pytest.raises(grpc.RpcError) as refused:
        Settings("project", "stack", engine=address).engine.Log(engine_pb2.LogRequest())
    return refused.value.code()


def test_a_new_engine_on_an_old_port_is_not_refused_for_the_old_one() -> None:
    sdk.configure()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    assert asked(address) is grpc.StatusCode.UNAVAILABLE
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        server.add_insecure_port(address)
        server.start()
        # It has no such method, but it answers.
        assert asked(address) is grpc.StatusCode.UNIMPLEMENTED
        server.stop(None).wait()


def test_the_sdk_is_configured_once_however_often_and_by_how_many() -> None:
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(sdk.configure) for _ in range(50)]:
            future.result()
    options = [name for name, _ in _grpc_settings._GRPC_CHANNEL_OPTIONS]
    assert options.count("grpc.use_local_subchannel_pool") == 1
    assert logging.getLogger("grpc._server").filters.count(sdk._is_not_of_the_sdk) == 1


def test_importing_the_engine_changes_nothing_in_the_sdk() -> None:
    script = (
        "from pulumi.runtime import _grpc_settings\n"
        "before = list(_grpc_settings._GRPC_CHANNEL_OPTIONS)\n"
        "import cloudburst.engine.engine, logging\n"
        "assert before == _grpc_settings._GRPC_CHANNEL_OPTIONS\n"
        "assert not logging.getLogger('grpc._server').filters\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
