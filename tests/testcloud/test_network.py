"""What is between the runner and a machine."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest

from testcloud.cloud import Cloud, MachineFault
from testcloud.machines.network import BlackHole, Wire, make_certificate
from tests.support.clouds import make_group, until
from tests.support.patience import SOON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from testcloud.machines.machine import Machine

    Launch = Callable[..., Machine]

# Echoes what it is sent, after `pause` seconds.
SERVER = """#!/bin/bash
cat > server.py << 'END'
import socket, threading, time
def serve(connection):
    while data := connection.recv(4096):
        time.sleep({pause})
        connection.sendall(data.upper())
server = socket.create_server(("", 443))
while True:
    threading.Thread(target=serve, args=(server.accept()[0],)).start()
END
echo listening
exec python3 server.py
"""


@pytest.fixture
def echo(ec2: Any, launch: Launch) -> Callable[..., Machine]:
    """Launch a machine that echoes on port 443."""

    def start(pause: float = 0.0) -> Machine:
        group = make_group(ec2, port=443)
        machine = launch(SERVER.format(pause=pause), SecurityGroupIds=[group])
        until(lambda: reached(machine, within=pause + 1))
        return machine

    return start


def connect(machine: Machine) -> socket.socket:
    """Connect to a machine."""
    return socket.create_connection((machine.address, 443), timeout=SOON)


def reached(machine: Machine, within: float = 1.0) -> bool:
    """Whether a machine echoes."""
    try:
        with socket.create_connection((machine.address, 443), timeout=within) as connection:
            connection.sendall(b"a")
            return connection.recv(1) == b"A"
    except OSError:
        return False


def test_what_listens_on_a_machine_is_at_its_address(
    cloud: Cloud, echo: Callable[..., Machine]
) -> None:
    machine = echo()
    with connect(machine) as connection:
        connection.sendall(b"hello")
        assert connection.recv(9) == b"HELLO"
    assert cloud.wires(machine) == []
    cloud.kill(machine)
    until(lambda: machine.state == "terminated")
    assert not reached(machine)


def test_what_no_rule_admits_gets_no_answer(ec2: Any, launch: Launch) -> None:
    """As a security group does; a refusal would tell the runner that the machine lives."""
    group = make_group(ec2, block="203.0.113.7/32", port=443)
    machine = launch(SERVER.format(pause=0), SecurityGroupIds=[group])
    until(lambda: unanswered(machine))


def unanswered(machine: Machine) -> bool:
    """Whether a connect to a machine gets no answer."""
    try:
        socket.create_connection((machine.address, 443), timeout=0.5).close()
    except TimeoutError:
        return True
    except OSError:
        return False
    raise AssertionError("a machine was reached through its firewall")


def test_a_black_hole_is_free_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()
    hole = BlackHole(*place)
    with pytest.raises(TimeoutError):
        socket.create_connection(place, timeout=0.5)
    hole.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place, timeout=5)


@pytest.mark.slow
def test_a_nat_forgets_who_is_silent(cloud: Cloud, echo: Callable[..., Machine]) -> None:
    cloud.machine_faults.append(MachineFault("nat", seconds=600.0))
    machine = echo(pause=3.0)
    cloud.wires(machine)[0].idle = 1.5
    with connect(machine) as silent, connect(machine) as alive:
        # linux: keepalives after a second, which a NAT takes for life.
        alive.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        alive.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        alive.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        silent.sendall(b"silent")
        alive.sendall(b"alive")
        assert alive.recv(9) == b"ALIVE"
        silent.settimeout(1.5)
        with pytest.raises(TimeoutError):
            silent.recv(9)
        until(lambda: is_reset(silent))


def is_reset(connection: socket.socket) -> bool:
    """Send something; whether the connection was reset."""
    try:
        connection.sendall(b"again")
    except ConnectionResetError:
        return True
    return False


def test_a_cut_delays_and_loses_nothing(cloud: Cloud, echo: Callable[..., Machine]) -> None:
    cloud.wired = True
    machine = echo()
    [wire] = cloud.wires(machine)
    with connect(machine) as connection:
        connection.sendall(b"before")
        assert connection.recv(9) == b"BEFORE"
        wire.cut(600)
        time.sleep(0.2)
        connection.sendall(b"during")
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.recv(9)
        wire.mend()
        connection.settimeout(SOON)
        assert connection.recv(9) == b"DURING"


@pytest.mark.slow
def test_a_fault_cuts_after_a_while_for_a_while(cloud: Cloud, echo: Callable[..., Machine]) -> None:
    cloud.machine_faults.append(MachineFault("cut", seconds=1.0, lasts=3.0))
    machine = echo()
    until(lambda: not reached(machine))
    until(lambda: reached(machine))


def test_a_wire_records_what_passes(cloud: Cloud, echo: Callable[..., Machine]) -> None:
    cloud.wired = True
    machine = echo()
    with connect(machine) as connection:
        connection.sendall(b"a secret")
        connection.recv(9)
    assert b"a secret" in cloud.wires(machine)[0].recorded
    assert b"A SECRET" in cloud.wires(machine)[0].recorded


@pytest.fixture
def https(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Serve one answer after the other over TLS; yield the port and the certificate."""
    import threading

    pem = make_certificate(tmp_path / "server.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(connection, server_side=True) as tls:
                        tls.recv(4096)
                        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                except OSError:
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], pem
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_proxy_with_a_certificate_of_its_own_reads_all(
    tmp_path: Path, https: tuple[int, Path]
) -> None:
    port, pem = https
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = free.getsockname()
    wire = Wire(*place, certificate=make_certificate(tmp_path / "proxy.pem"))
    wire.target = ("127.0.0.1", port)

    def get(context: ssl.SSLContext) -> bytes:
        connection = http.client.HTTPSConnection(*place, context=context, timeout=SOON)
        with contextlib.closing(connection):
            connection.request("GET", "/health", headers={"X-Key": "secret"})
            return connection.getresponse().read()

    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    assert get(blind) == b"ok"
    assert b"X-Key: secret" in wire.recorded
    pinned = ssl.create_default_context(cafile=str(pem))
    pinned.check_hostname = False
    wire.recorded.clear()
    with pytest.raises(ssl.SSLCertVerificationError):
        get(pinned)
    assert wire.recorded == b""
    wire.close()


def test_who_kills_a_service_does_not_kill_the_machine(cloud: Cloud, launch: Launch) -> None:
    cloud.machine_faults.append(MachineFault("agent_killed", seconds=1.0))
    unit = "[Service]\\nExecStart=/usr/bin/python3 $PWD/server.py\\nRestart=always\\nRestartSec=0"
    script = SERVER.format(pause=0).replace(
        "exec python3 server.py",
        f'printf "{unit}" > $CLOUDBURST_ROOT/etc/systemd/system/w.service; systemctl start w',
    )
    machine = launch(script)
    until(lambda: machine.services.get("w.service", {}).get("restarts"))
    assert machine.state == "running"
    until(lambda: machine.services["w.service"]["pid"] in machine.alive())


@pytest.mark.slow
def test_a_machine_may_reboot_by_itself(cloud: Cloud, launch: Launch) -> None:
    cloud.machine_faults.append(MachineFault("reboot", seconds=0.5))
    machine = launch(SERVER.format(pause=0))
    until(lambda: machine.boots == 2)
    assert machine.state == "running"
