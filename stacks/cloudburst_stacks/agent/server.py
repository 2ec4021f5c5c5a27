"""The agent's requests: TLS, the key, and what each path does."""

from __future__ import annotations

import contextlib
import hmac
import json
import re
import shutil
import socket
import ssl
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from .containers import ERRORS, HEADER
from .machine import now, sha256

if TYPE_CHECKING:
    from .boot import Agent

MAX_BODY = 512 * 1024**2
MAX_WAIT = 30.0
MOST_CONNECTIONS = 64
# Seconds: for the handshake, for the head of a request, and without a byte of what follows.
HANDSHAKE, HEAD, SILENCE = 10.0, 15.0, 60.0
_CHUNK = 64 * 1024
# Bytes of the disk that bodies of requests leave free.
_RESERVE = 256 * 1024**2
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
# Of a length that is one.
_DIGITS = 20
_RELAYED = ("Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "ETag")


class Server(ThreadingHTTPServer):
    """Listens, and keeps who has no key short.

    Args:
        agent: what is asked.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, agent: Agent) -> None:
        config = agent.config
        self.agent = agent
        self._room = threading.Semaphore(MOST_CONNECTIONS)
        self._strangers: dict[socket.socket, float] = {}
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        folder = Path(config["tls"])
        self._tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        super().__init__((config["address"], config["port"]), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, unless there are too many."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection; the handshake is made here, where it holds nobody up."""
        try:
            request.settimeout(HANDSHAKE)
            with contextlib.suppress(OSError), self._tls.wrap_socket(request, True) as tls:
                self._strangers[tls] = now() + HEAD
                try:
                    super().process_request_thread(tls, client_address)
                finally:
                    self._strangers.pop(tls, None)
        finally:
            request.close()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Say nothing of connections that broke off, but of what should not happen."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.agent.say(f"a request failed: {error!r}")

    def welcome(self, connection: socket.socket) -> None:
        """Let a connection take its time: it has shown the key."""
        self._strangers.pop(connection, None)

    def turn_away(self) -> None:
        """Close connections that have not shown the key in time."""
        for connection, until in list(self._strangers.items()):
            if now() > until:
                with contextlib.suppress(OSError):
                    # Not that of SSLSocket, which takes away what another thread is reading from.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    """One request; each has a connection of its own."""

    protocol_version = "HTTP/1.1"
    timeout = SILENCE
    server: Server

    def version_string(self) -> str:
        """Tell no version."""
        return "CloudBurst"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing of strangers."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer a request that is no HTTP."""
        self.request_version = self.protocol_version
        self._answer(code, {"error": message or "bad request"})

    def _handle(self) -> None:
        self.close_connection = True
        agent = self.server.agent
        shown = self.headers.get(HEADER, "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(shown, agent.key):
            self._answer(401, {"error": "Authentication failed", "required_header": HEADER})
            return
        self.server.welcome(self.connection)
        agent.lease.renew()
        path, _, query = self.path.partition("?")
        first, _, rest = path.lstrip("/").partition("/")
        verb = "GET" if self.command == "HEAD" else self.command
        handler = getattr(self, f"_{verb.lower()}_{first}", None)
        if handler is None:
            self._drain()
            self._answer(404, {"error": f"{self.command} /{first}: no such request"})
            return
        values = {name: texts[-1] for name, texts in parse_qs(query).items()}
        with contextlib.suppress(OSError):  # the client has gone
            handler(rest, values)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle

    def _answer(self, status: int, content: object, **headers: str) -> None:
        body = json.dumps(content).encode()
        self.close_connection = True
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # -- bodies ---------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Read a body that is not wanted: who still sends it would not read the answer."""
        self._receive(None)

    def _receive(self, path: Path | None) -> bool:
        """Write the body to a file; answer and return False if it cannot be taken."""
        text = self.headers.get("Content-Length", "")
        length = int(text) if text.isdigit() and len(text) < _DIGITS else -1
        if length < 0 or length > MAX_BODY:
            if path is not None:
                status = 411 if length < 0 else 413
                self._answer(status, {"error": f"a body has at most {MAX_BODY} bytes"})
            return False
        if path is None:
            return self._copy(length, None)
        path.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(path.parent).free < length + _RESERVE:
            self._copy(length, None)
            self._answer(507, {"error": "the disk is full"})
            return False
        whole = False
        try:
            with path.open("wb") as file:
                whole = self._copy(length, file)
        finally:
            if not whole:
                path.unlink()
        return whole

    def _copy(self, length: int, file: Any) -> bool:
        while length > 0:
            chunk = self.rfile.read1(min(length, _CHUNK))
            if not chunk:
                return False
            self.server.agent.lease.renew()
            length -= len(chunk)
            if file is not None:
                file.write(chunk)
        return True

    # -- requests -------------------------------------------------------------------------------

    def _get_health(self, _rest: str, _values: dict[str, str]) -> None:
        health = self.server.agent.health()
        self._answer(200 if health["status"] == "healthy" else 503, health)

    def _get_logs(self, _rest: str, _values: dict[str, str]) -> None:
        self._answer(200, self.server.agent.logs())

    def _post_jobs(self, _rest: str, values: dict[str, str]) -> None:
        agent = self.server.agent
        identity = values.get("id") or uuid.uuid4().hex
        if agent.state != "ready":
            self._drain()
            self._answer(503, agent.health())
        elif not _ID.fullmatch(identity):
            self._drain()
            self._answer(400, {"error": "invalid id"})
        elif identity in agent.jobs.all:  # its answer has not arrived, and it was sent again
            self._drain()
            self._answer(202, {"id": identity})
        else:
            body = agent.folder / "jobs" / f"{uuid.uuid4().hex}.part"
            if not self._receive(body):
                return
            if agent.jobs.add(identity, body):
                self._answer(202, {"id": identity})
            else:
                body.unlink()
                self._answer(429, {"error": "too many jobs"}, **{"Retry-After": "5"})

    def _get_jobs(self, rest: str, values: dict[str, str]) -> None:
        job = self.server.agent.jobs.all.get(rest)
        if job is None:
            self._answer(404, {"error": f"no job {rest[:64]}"})
            return
        with contextlib.suppress(ValueError):
            self.server.agent.jobs.wait(job, min(float(values.get("wait", "0")), MAX_WAIT))
        answer: dict[str, Any] = {"id": job.id, "state": job.state}
        if job.state == "done":
            answer.update(status=job.status, response=job.response)
        self._answer(200, answer)

    def _delete_jobs(self, rest: str, _values: dict[str, str]) -> None:
        jobs = self.server.agent.jobs
        if not rest:
            for each in list(jobs.all.values()):
                jobs.cancel(each)
        job = jobs.all.get(rest)
        if job is not None:
            jobs.cancel(job)
            jobs.wait(job, MAX_WAIT)
        state = job.state if job else "unknown"
        self._answer(200 if job or not rest else 404, {"id": rest[:64], "state": state})

    def _get_download(self, rest: str, _values: dict[str, str]) -> None:
        number, _, path = rest.partition("/")
        container = self.server.agent.container(number)
        if container is None:
            self._answer(404, {"error": "File not found"})
            return
        headers = {HEADER: container.key}
        if "Range" in self.headers:
            headers["Range"] = self.headers["Range"]
        began = False
        try:
            with contextlib.closing(container.connect(SILENCE)) as connection:
                connection.request(self.command, f"/{path}", headers=headers)
                answer = connection.getresponse()
                began = True
                self._relay(answer)
        except ERRORS as error:
            if not began:
                self._answer(502, {"error": f"{container.name} broke off: {error!r}"})

    def _relay(self, answer: Any) -> None:
        self.send_response(answer.status)
        for name in _RELAYED:
            value = answer.getheader(name)
            if value is not None:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        while self.command != "HEAD" and (chunk := answer.read(_CHUNK)):
            self.wfile.write(chunk)
            self.server.agent.lease.renew()

    def _put_bundle(self, rest: str, _values: dict[str, str]) -> None:
        agent = self.server.agent
        if not agent.config["bundle"] or not _FILE.fullmatch(rest):
            self._drain()
            self._answer(404, {"error": "no bundle is wanted, or not a file of that name"})
            return
        part = agent.folder / "uploads" / uuid.uuid4().hex
        if self._receive(part):
            digest = sha256(part)
            (agent.folder / "bundle").mkdir(exist_ok=True)
            part.replace(agent.folder / "bundle" / rest)
            self._answer(200, {"sha256": digest})

    def _post_bundle(self, _rest: str, _values: dict[str, str]) -> None:
        agent = self.server.agent
        path = agent.folder / "uploads" / uuid.uuid4().hex
        if not self._receive(path):
            return
        try:
            files = json.loads(path.read_text("utf-8"))["files"]
            names = {name: str(files[name]) for name in files if _FILE.fullmatch(name)}
        except (ValueError, TypeError, KeyError, AttributeError):
            self._answer(400, {"error": "expected files, with the SHA-256 of each"})
            return
        finally:
            path.unlink()
        wrong = agent.start_bundle(names)
        self._answer(409 if wrong or not names else 202, {"wrong": wrong})
