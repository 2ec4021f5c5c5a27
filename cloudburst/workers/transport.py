"""One request to a worker: its time and bytes are bounded, and it goes to nobody else.

Only this module imports requests.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import closing, contextmanager
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from cloudburst.language import tr
from cloudburst.workers import messages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from urllib3.connectionpool import ConnectionPool

Response = requests.Response
CONNECT_TIMEOUT = 5.0
# Bytes of a JSON response, which usually has a few hundred.
MAX_ANSWER = 1024**2
_CHUNK = 64 * 1024
_BROKEN = (OSError, ValueError, HTTPError, HTTPException)
# Seconds. NAT gateways of AWS forget a connection after 350 s of silence, other routers after a few
# minutes; a worker that has vanished is noticed after two minutes.
_KEEPALIVE = {"TCP_KEEPIDLE": 45, "TCP_KEEPALIVE": 45, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 5}


class NoAnswerError(Exception):
    """The connection failed, broke off, or does not speak HTTP.

    Args:
        text: why, for people.
        kind: ``refused``, ``dropped``, ``tls``, or empty for anything else.
    """

    def __init__(self, text: str, kind: str = "") -> None:
        super().__init__(text)
        self.kind = kind


class TooMuchError(Exception):
    """A response exceeds its limit of time or of bytes."""


class Budget:
    """The time limit of a request, whatever the pace of its bytes.

    Args:
        seconds: limit for the whole request.
        step: bytes; each time so many have been counted, the limit starts again.
    """

    def __init__(self, seconds: float, step: int | None = None) -> None:
        self.seconds = seconds
        self._step = step
        self._received = 0
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the remaining seconds.

        Raises:
            TimeoutError: none remain.
        """
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        return remaining

    @property
    def over(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() >= self._end

    def count(self, size: int) -> None:
        """Count received bytes of the body; headers do not extend the limit."""
        self._received += size
        if self._step is not None and self._received >= self._step:
            self._received = 0
            self._end = time.monotonic() + self.seconds


class Peer:
    """Where a worker answers. Thread-safe: requests share nothing.

    Args:
        endpoint: base URL; with https only together with a certificate.
        certificate: PEM of the only certificate that is accepted; None for plain HTTP.
    """

    def __init__(self, endpoint: str, certificate: str | None = None) -> None:
        base = endpoint.rstrip("/")
        # TLS begins in `_Adapter`, which pins the certificate; for urllib3 this is HTTP.
        self._base = base if certificate is None else base.replace("https://", "http://", 1)
        self._tls = None if certificate is None else _pinned(certificate)

    def ask(self, method: str, path: str, budget: Budget, **options: Any) -> tuple[int, bytes]:
        """Return the status and the body of a short response.

        Raises:
            NoAnswerError: there is none.
            TooMuchError: it took too long, or is too long.
        """
        with self.open(method, path, budget, **options) as response:
            return response.status_code, everything(response, budget)

    @contextmanager
    def open(
        self, method: str, path: str, budget: Budget, **options: Any
    ) -> Iterator[requests.Response]:
        """Send a request to the worker alone and yield its response, with the body still unread.

        No `requests.Session`: it would follow redirects and send the key along, and it would use
        the proxy that is configured for the web.
        """
        with closing(_Adapter(budget, self._tls)) as adapter:
            try:
                request = requests.Request(method, self._base + path, **options).prepare()
                connect = min(CONNECT_TIMEOUT, budget.seconds)
                response = adapter.send(request, stream=True, timeout=(connect, budget.seconds))
            except _BROKEN as error:
                raise _ended(error, budget) from error
            with response:
                yield response


def chunks(response: requests.Response, budget: Budget) -> Iterator[bytes]:
    """Yield the body of a response in pieces.

    Raises:
        NoAnswerError: it breaks off.
        TooMuchError: it takes too long.
    """
    try:
        yield from response.iter_content(_CHUNK)
    except _BROKEN as error:
        raise _ended(error, budget) from error


def everything(response: requests.Response, budget: Budget) -> bytes:
    """Return the body of a short response; raises as `chunks`."""
    body = b""
    for chunk in chunks(response, budget):
        body += chunk
        if len(body) > MAX_ANSWER:
            raise TooMuchError(
                tr(
                    "answered {status} with over {most} bytes",
                    status=response.status_code,
                    most=MAX_ANSWER,
                )
            )
    return body


# -- connections --------------------------------------------------------------------------------


def _pinned(certificate: str) -> ssl.SSLContext:
    """Return a context for which one certificate is the only one that there is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # It has no name: which one it is says who it is.
    context.check_hostname = False
    context.load_verify_locations(cadata=certificate)
    context.sslsocket_class = _TlsSocket
    return context


class _Bounded:
    """A connection whose total time is limited by its budget.

    A socket's own timeout restarts with every byte, also in the headers: a worker that sends one
    byte now and then would block its client for ever.
    """

    budget: Budget

    def recv_into(self, *arguments: Any) -> int:
        """Receive within the remaining time."""
        self.settimeout(self.budget.remaining())  # type: ignore[attr-defined] # a socket's
        return super().recv_into(*arguments)  # type: ignore[misc,no-any-return]

    def send(self, *arguments: Any) -> int:
        """Send within the remaining time."""
        self.settimeout(self.budget.remaining())  # type: ignore[attr-defined]
        return super().send(*arguments)  # type: ignore[misc,no-any-return]

    def sendall(self, *arguments: Any) -> None:
        """Send within the remaining time; urllib3 would apply the short connect timeout."""
        self.settimeout(self.budget.remaining())  # type: ignore[attr-defined]
        super().sendall(*arguments)  # type: ignore[misc]


class _Socket(_Bounded, socket.socket):
    """A plain connection."""


class _TlsSocket(_Bounded, ssl.SSLSocket):
    """An encrypted connection; the limit of its handshake is set by who makes it."""


class _Adapter(HTTPAdapter):
    """The transport of one request to a worker.

    Args:
        budget: time limit of the request.
        tls: None for plain HTTP.
    """

    def __init__(self, budget: Budget, tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self._budget = budget
        self._tls = tls
        self._opened: list[socket.socket] = []

    def close(self) -> None:
        """Close all connections: urllib3 leaves one open after some malformed headers."""
        super().close()
        for opened in self._opened:
            if (descriptor := opened.detach()) >= 0:
                socket.close(descriptor)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> ConnectionPool:
        """Return a pool whose connections are limited by the budget."""
        adapter = self

        class Connection(HTTPConnection):
            def connect(self: Self) -> None:
                super().connect()
                self.sock = adapter.secured(self.sock)

        pool = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = Connection  # type: ignore[attr-defined] # the stubs know only its base
        return pool

    def secured(self, plain: socket.socket) -> socket.socket:
        """Return a new connection with a limit, and with TLS where it is to have it."""
        _keep_alive(plain)
        if self._tls is None:
            bounded: _Socket | _TlsSocket = _Socket(fileno=plain.detach())
        else:
            plain.settimeout(self._budget.remaining())
            wrapped = self._tls.wrap_socket(plain, do_handshake_on_connect=False)
            assert isinstance(wrapped, _TlsSocket)  # noqa: S101 - what the context makes
            bounded = wrapped
        bounded.budget = self._budget
        self._opened.append(bounded)
        if isinstance(bounded, _TlsSocket):
            # Nothing is sent before the certificate has been found to be the right one.
            bounded.do_handshake()
        return bounded


def _keep_alive(connection: socket.socket) -> None:
    """Let the kernel ask now and then whether the worker is still there."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        option = getattr(socket, name, None)  # which there are depends on the system
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _ended(error: Exception, budget: Budget) -> NoAnswerError | TooMuchError:
    """Return the error for a request that ended without a response."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text or "WRONG_VERSION_NUMBER" in text:
        return NoAnswerError(tr("another certificate than the worker's"), "tls")
    if budget.over:
        return TooMuchError(tr("took longer than {seconds:.0f} s", seconds=budget.seconds))
    kinds = (("refused", "refused"), ("timed out", "dropped"))
    kind = next((kind for words, kind in kinds if words in text), "")
    return NoAnswerError(messages.reason(error), kind)
