"""An engine that gets the port of one that has ended is heard."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from pulumi.runtime.proto import engine_pb2
from pulumi.runtime.settings import Settings


def asked(address: str) -> grpc.StatusCode:
    """Ask as a program asks its engine; say how it ended."""
    with pytest.raises(grpc.RpcError) as refused:
        Settings("project", "stack", engine=address).engine.Log(engine_pb2.LogRequest())
    return refused.value.code()


def test_a_new_engine_on_an_old_port_is_not_refused_for_the_old_one() -> None:
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
