"""What is between the runner and a machine: an address, a firewall, a NAT, a cable that is cut.

A `Wire` forwards the connections of one port. It ends each connection and makes a new one, so what
it lets through is bytes, not packets: lost packets are seen as silence, as TCP shows them to
programs.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import selectors
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_TICK = 0.05
_CHUNK = 1 << 16
# linux/tcp.h, struct tcp_info: tcpi_segs_in. A keepalive is a segment without data.
_SEGMENTS = struct.Struct("@140xI")
# Connects to a full queue are neither accepted nor refused: the kernel drops their SYN.
_FILLING = 4


class BlackHole:
    """A port whose packets are dropped, as a security group does: a connect gets no answer.

    Raises:
        OSError: the port is not free.
    """

    def __init__(self, address: str, port: int) -> None:
        self._sockets = [socket.socket()]
        self._sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sockets[0].bind((address, port))
        self._sockets[0].listen(0)
        for _ in range(_FILLING):
            filling = socket.socket()
            filling.setblocking(False)
            filling.connect_ex((address, port))
            self._sockets.append(filling)

    def close(self) -> None:
        """Free the port."""
        for each in self._sockets:
            each.close()


@dataclass(eq=False)
class _Flow:
    """One connection of the runner, and its continuation to the machine."""

    near: socket.socket
    far: socket.socket
    active: float = field(default_factory=time.monotonic)
    segments: int = 0
    forgotten: bool = False
    ended: int = 0

    def other(self, side: socket.socket) -> socket.socket:
        return self.far if side is self.near else self.near


class Wire:
    """Forwards connections from one port to another.

    Args:
        address, port: where the runner connects.
        idle: seconds after which a NAT forgets a connection on which nothing was sent; 0 for never.
        certificate: path of a PEM file with key and certificate, to end TLS here and begin it anew,
            as a proxy that looks into connections does; None to forward bytes as they are.

    Attributes:
        target: address and port of the machine's program.
        rate: bytes a second that the runner's line takes on its way out; 0 for any number.
        recorded: all bytes that passed, decrypted where `certificate` is set.
        flows: how many connections there were.
    """

    def __init__(
        self, address: str, port: int, *, idle: float = 0.0, certificate: Path | None = None
    ) -> None:
        self.idle, self.target = idle, ("127.0.0.1", 1)
        self.recorded = bytearray()
        self.flows = 0
        self.rate = 0.0
        self._tls = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self._open: dict[socket.socket, _Flow] = {}
        self._cut_until = 0.0
        self._closed = False
        self._lock = threading.Lock()
        self._server = socket.create_server((address, port), backlog=128)
        self._server.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self._thread.start()

    def cut(self, seconds: float) -> None:
        """Let nothing pass for so many seconds; what was sent meanwhile arrives afterwards."""
        self._cut_until = time.monotonic() + seconds

    def mend(self) -> None:
        """End a cut."""
        self._cut_until = 0.0

    def close(self) -> None:
        """End all connections, and free the port."""
        with self._lock:
            self._closed = True
        self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            if time.monotonic() < self._cut_until:
                time.sleep(_TICK)
                continue
            for key, _ in self._selector.select(_TICK):
                if key.fileobj is self._server:
                    with contextlib.suppress(OSError):
                        self._accept()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._forward(key.fileobj)
            self._forget()
        for flow in set(self._open.copy().values()):
            self._end(flow)
        self._server.close()
        self._selector.close()

    def _accept(self) -> None:
        near, _ = self._server.accept()
        self.flows += 1
        # A handshake waits for the other side: not here, where all connections are served.
        threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        far: socket.socket | None = None
        try:
            near.settimeout(30)
            far = socket.create_connection(self.target, timeout=30)
            if self._tls is not None:
                near = self._tls.wrap_socket(near, server_side=True)
                blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
                far = blind.wrap_socket(far)
        except OSError:  # nothing listens there, or one side does not like the handshake
            _reset(near)
            if far is not None:
                far.close()
            return
        flow = _Flow(near, far)
        with self._lock:
            if self._closed:
                near.close()
                far.close()
                return
            for side in (near, far):
                side.settimeout(60)
                self._open[side] = flow
                self._selector.register(side, selectors.EVENT_READ)

    def _forward(self, side: socket.socket) -> None:
        """Forward what one side has sent."""
        flow = self._open.get(side)
        if flow is None:
            return
        try:
            data = _received(side)
            if flow.forgotten:
                self._drop(flow, side, data)
            else:
                self._pass(flow, side, data)
        except TimeoutError:
            return
        except OSError:
            self._end(flow)

    def _drop(self, flow: _Flow, side: socket.socket, data: bytes) -> None:
        """Do what a NAT does with a connection that it has forgotten.

        Who is behind it gets a reset when it sends; what comes from outside is dropped:
        docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.
        """
        if side is flow.near:
            self._end(flow)
        elif not data:
            self._selector.unregister(side)

    def _pass(self, flow: _Flow, side: socket.socket, data: bytes) -> None:
        flow.active = time.monotonic()
        self.recorded += data
        if data:
            flow.other(side).sendall(data)
            if self.rate and side is flow.near:
                time.sleep(len(data) / self.rate)  # one line for all connections
            return
        flow.other(side).shutdown(socket.SHUT_WR)
        self._selector.unregister(side)
        flow.ended += 1
        if flow.ended == len(("near", "far")) or self._tls is not None:
            self._end(flow, reset=False)

    def _forget(self) -> None:
        """Forget the connections that were idle for too long."""
        if not self.idle:
            return
        now = time.monotonic()
        for flow in set(self._open.copy().values()):
            segments = _segments(flow.near)
            if segments != flow.segments:
                flow.segments, flow.active = segments, now
            flow.forgotten = flow.forgotten or now - flow.active > self.idle

    def _end(self, flow: _Flow, *, reset: bool = True) -> None:
        for side in (flow.near, flow.far):
            self._open.pop(side, None)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(side)
            if reset:
                _reset(side)
            else:
                side.close()


def _received(side: socket.socket) -> bytes:
    """Return what has come; empty at the end."""
    data = side.recv(_CHUNK)
    while isinstance(side, ssl.SSLSocket) and side.pending():
        data += side.recv(_CHUNK)
    return data


def _reset(side: socket.socket) -> None:
    """Close a connection with a reset."""
    with contextlib.suppress(OSError):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    side.close()


def _segments(side: socket.socket) -> int:
    """Return how many TCP segments came in on a connection."""
    try:
        info = side.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SEGMENTS.size)
    except OSError:
        return -1
    return int(_SEGMENTS.unpack(info)[0])


def make_certificate(path: Path) -> Path:
    """Write a key and a self-signed certificate that nobody knows; return the path."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "proxy.example")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return path
