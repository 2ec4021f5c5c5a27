"""Client of the agent of a rented machine: TLS with one certificate, scenes as jobs.

No request is silent for long, so that no router on the way forgets its connection, and none that
breaks off loses a scene: it is asked again for as long as its video is wanted.
"""

from __future__ import annotations

import hashlib
import json as jsonlib
import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudburst.errors import RenderFailed, RenderTimedOut, WorkerUnhealthy, WorkerUnreachable
from cloudburst.language import later, tr
from cloudburst.targets import boots
from cloudburst.workers import messages
from cloudburst.workers.client import GRACE, VideoApi, outcome
from cloudburst.workers.transport import CONNECT_TIMEOUT, Budget, NoAnswerError, TooMuchError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst.models import Effort, Worker
    from cloudburst.workers.messages import Rendered

# Seconds for which the agent holds an answer back while there is none, and more for its way.
LONG_POLL, WAY = 20.0, 10.0
RESUMES = 120.0
_AGAIN = 1.0
# Characters: docker's words end with what matters.
_REASON = 600
# Something else may answer for a moment at an address that was another machine's.
_IMPOSTOR = 15.0
_OK, _ACCEPTED, _UNKNOWN, _UNAVAILABLE, _BUSY = 200, 202, 404, 503, 429
_NO_ANSWER = (NoAnswerError, TooMuchError)
# What is sent while a machine is in these states arrives before it is needed.
_BEFORE_FILES = ("booting", "pulling", "waiting")
# Seconds after which files that a machine still waits for have not arrived.
_LOST = 10.0
# Seconds; what a machine says that is more is no lease.
_LONGEST_LEASE = 366 * 86400.0
# Bytes a second of the slowest line that is not given up.
_SLOWEST = 20_000
_STATES = ("booting", "waiting", "pulling", "starting", "ready", "failed")
_ENCODERS = ("nvenc", "x264")
# What an agent says while it boots that is not an image's name.
DETAILS = (later("waiting for Docker"), later("installing Docker"))
# What it means that nothing answers where the provider says that the machine runs.
_UNREACHABLE = {
    "refused": later(
        "nothing listens there: the agent has not started, or a firewall on the way refuses"
    ),
    "dropped": later("what is sent there is dropped: a firewall on the way, or at the machine"),
    "tls": later("something on the way answers in its place, such as a proxy that opens TLS"),
}


@dataclass(frozen=True, slots=True)
class Boot:
    """How far a machine is, by its agent's word.

    Args:
        state: ``booting``, ``pulling``, ``waiting`` for files, ``starting``, ``ready`` or
            ``failed``.
        detail: of it, such as the image.
        seconds: for which it has been in that state.
    """

    state: str
    detail: str = ""
    seconds: float = 0.0


def _ignore(_: Boot) -> None:
    pass


def _ignore_renewal(_: float) -> None:
    pass


class AgentApi(VideoApi):
    """The agent of a rented machine, in place of its video API. Thread-safe like it.

    Attributes:
        boot: how far the machine is; None before the agent has answered.
        sent: bytes of the video API's files that have arrived there.
        on_boot: called at every change of that while it is waited for.
        on_renewed: called whenever the machine has answered how it is, which renews its lease,
            with the seconds after which it would end itself without another request.
    """

    resumes = RESUMES

    def __init__(self, worker: Worker, effort: Effort = "low", shrink: bool = False) -> None:
        super().__init__(worker, effort, shrink)
        self.boot: Boot | None = None
        self.sent = 0
        self.on_boot: Callable[[Boot], None] = _ignore
        self.on_renewed: Callable[[float], None] = _ignore_renewal
        self._kind = ""
        self._impostor: float | None = None
        self._files = worker.files
        self._delivery: threading.Thread | None = None
        self._delivered: float | None = None
        self._undelivered = ""

    def healthy(self, timeout: float = CONNECT_TIMEOUT) -> str | None:
        """Request the machine's health once; return None if it is ready, otherwise the reason."""
        try:
            # With the key: it is sent only to who has the certificate.
            budget = Budget(timeout)
            status, body = self._peer.ask("GET", "/health", budget, headers=self._headers)
        except _NO_ANSWER as error:
            self._kind = getattr(error, "kind", "dropped")
            self._check_impostor()
            return str(error)
        self._kind, self._impostor = "", None
        said = messages.json(body)
        state = said.get("state") if isinstance(said, dict) else None
        if not isinstance(said, dict) or state not in _STATES:
            text = messages.printable(body)
            return tr("/health answered {status}: {text}", status=status, text=text)
        self._note(said)
        lease = said.get("lease")
        if isinstance(lease, int | float) and 0 < lease < _LONGEST_LEASE:
            self.on_renewed(float(lease))
        if state == "ready" and status == _OK:
            self.capacity = messages.capacity(said)
            self.bundled = bool(said.get("video_api"))
            return None
        if state in _BEFORE_FILES:
            self._deliver(waiting=state == "waiting")
        detail = messages.printable(str(said.get("reason") or said.get("detail") or ""))
        detail = "; ".join(filter(None, (detail, self._undelivered)))
        return f"{state}: {detail}" if detail else str(state)

    def _deliver(self, *, waiting: bool) -> None:
        """Begin to send the machine its files while it pulls the image, unless they are there.

        Args:
            waiting: it waits for them, whatever was sent before.
        """
        if self._delivery is not None and self._delivery.is_alive():
            return
        # What it said may be older than the files; but it may also have lost them.
        lost = waiting and time.monotonic() - (self._delivered or 0.0) > _LOST
        if self._files and (self._delivered is None or lost):
            self._delivery = threading.Thread(target=self._send_files, daemon=True)
            self._delivery.start()

    def _send_files(self) -> None:
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in self._files.items()}
        try:
            for name, data in self._files.items():
                self.upload(name, data, WAY + len(data) / _SLOWEST)
                self.sent += len(data)
            self.start_bundle(digests)
        except WorkerUnreachable as error:
            self._undelivered = str(error)  # tried again when its health is asked next
        else:
            self._delivered, self._undelivered = time.monotonic(), ""

    def _note(self, said: dict[str, object]) -> None:
        """Note how far the machine is, and report a change of that."""
        state, detail = str(said["state"]), _detail(said)
        before, since = self.boot, said.get("since")
        seconds = float(since) if isinstance(since, int | float) else 0.0
        self.boot = Boot(state, detail, seconds)
        if state == "failed":
            code = messages.printable(str(said.get("code") or ""))
            reason = messages.printable(str(said.get("reason") or ""), _REASON)
            refusal = boots.refusal(code if code in boots.CODES else "container_failed")
            text = tr("the machine cannot render: {reason} ({code})", reason=reason, code=code)
            self.failed = WorkerUnhealthy(text, refusal)
        if before is None or (before.state, before.detail) != (state, detail):
            self.on_boot(self.boot)

    def _check_impostor(self) -> None:
        """Stop waiting where something else answers, and goes on to do so."""
        if self._kind != "tls":
            self._impostor = None
            return
        self._impostor = self._impostor or time.monotonic()
        if time.monotonic() - self._impostor > _IMPOSTOR:
            text = tr("it answers with another certificate than the worker's")
            self.failed = WorkerUnhealthy(self._explained(text))

    def _explained(self, text: str) -> str:
        meaning = _UNREACHABLE.get(self._kind)
        if meaning is None:
            return text
        explained = tr("{text}; {meaning}", text=text, meaning=tr(meaning))
        return tr("{text}. {hint}", text=explained, hint=self._hint) if self._hint else explained

    # -- scenes ---------------------------------------------------------------------------------

    def _rendered(self, data: bytes, timeout: float, wanted: Callable[[], bool]) -> Rendered:
        job = _Job(self, data, timeout + GRACE, wanted)
        try:
            job.submit()
            return outcome(*job.result())
        except (RenderTimedOut, WorkerUnreachable):
            job.cancel()
            raise

    def forget(self, seconds: float = WAY) -> None:
        """End what an earlier session has sent and nobody waits for any more.

        Raises:
            WorkerUnreachable: it does not answer.
        """
        method, path = "DELETE", "/jobs"
        try:
            self.request(method, path, seconds)
        except _NO_ANSWER as error:
            raise WorkerUnreachable(f"{method} {path}: {error}") from error

    def request(
        self, method: str, path: str, seconds: float, data: bytes | None = None
    ) -> tuple[int, object, bytes]:
        """Send a request with the key; return its status, its JSON and its bytes.

        Raises:
            NoAnswerError: there is no answer.
            TooMuchError: it took too long, or is too long.
        """
        headers = self._headers | ({"Content-Type": "application/json"} if data else {})
        budget = Budget(seconds)
        status, body = self._peer.ask(method, path, budget, headers=headers, data=data)
        return status, messages.json(body), body

    # -- logs and files -------------------------------------------------------------------------

    def logs(self, seconds: float = WAY) -> dict[str, str]:
        """Return the ends of the boot log and of the container's log, as ``boot``, ``container``.

        Raises:
            WorkerUnreachable: it does not answer.
        """
        try:
            status, said, body = self.request("GET", "/logs", seconds)
        except _NO_ANSWER as error:
            raise WorkerUnreachable(self._explained(f"GET /logs: {error}")) from error
        if status != _OK or not isinstance(said, dict):
            text = messages.printable(body)
            raise WorkerUnreachable(tr("/logs answered {status}: {text}", status=status, text=text))
        return {name: str(said.get(name) or "") for name in ("boot", "container")}

    def write_logs(self, folder: Path, label: str, seconds: float = WAY) -> None:
        """Write the logs to ``<label>.boot.log`` and ``<label>.log`` in a folder.

        Raises:
            WorkerUnreachable: it does not answer.
            OSError: they cannot be written.
        """
        logs = self.logs(seconds)
        folder.mkdir(parents=True, exist_ok=True)
        for kind, suffix in (("boot", ".boot.log"), ("container", ".log")):
            if logs[kind]:
                (folder / f"{label}{suffix}").write_text(logs[kind], "utf-8")

    def upload(self, name: str, data: bytes, seconds: float) -> str:
        """Send a file of a bundle; return the SHA-256 of what has arrived.

        Raises:
            WorkerUnreachable: it does not answer, or does not take the file.
        """
        said = self._bundle("PUT", f"/bundle/{name}", data, seconds)
        return str(said.get("sha256") or "")

    def start_bundle(self, files: dict[str, str], seconds: float = WAY) -> None:
        """Let the machine run what was uploaded.

        Args:
            files: SHA-256 by name.
            seconds: for the answer.

        Raises:
            WorkerUnreachable: it does not answer, or a file is not what it should be.
        """
        self._bundle("POST", "/bundle", jsonlib.dumps({"files": files}).encode(), seconds)

    def _bundle(self, method: str, path: str, data: bytes, seconds: float) -> dict[str, object]:
        try:
            status, said, body = self.request(method, path, seconds, data)
        except _NO_ANSWER as error:
            raise WorkerUnreachable(f"{method} {path}: {error}") from error
        if status not in (_OK, _ACCEPTED) or not isinstance(said, dict):
            text = messages.printable(body)
            message = tr("{path} answered {status}: {text}", path=path, status=status, text=text)
            raise WorkerUnreachable(message)
        return said


class _Job:
    """One scene on a machine, whatever becomes of single requests.

    Args:
        api: of the machine.
        data: the scene, as the video API takes it.
        seconds: for all of it.
        wanted: whether its video still is.
    """

    def __init__(
        self, api: AgentApi, data: bytes, seconds: float, wanted: Callable[[], bool]
    ) -> None:
        self._api = api
        self._data = data
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._wanted = wanted
        # Of the client's own making: it is submitted once, however often that is tried.
        self._id = uuid.uuid4().hex
        self._last: Exception | None = None

    def submit(self) -> None:
        """Hand the scene over.

        Raises:
            RenderTimedOut: the time is over.
            WorkerUnreachable: it is not wanted any more.
            RenderFailed: the machine does not take it.
        """
        path = f"/jobs?id={self._id}"
        while True:
            try:
                status, _, body = self._ask("POST", path, self._remaining(), self._data)
            except _NO_ANSWER:
                if self._has_arrived():
                    return
                continue
            if status == _ACCEPTED:
                return
            if status not in (_UNAVAILABLE, _BUSY) or self._api.failed is not None:
                raise RenderFailed(_answered("/jobs", status, body))
            self._api.healthy()
            self._pause()

    def _has_arrived(self) -> bool:
        """Whether a job whose answer was lost is known; waits until that can be asked."""
        while True:
            self._pause()
            try:
                return self._ask("GET", f"/jobs/{self._id}", WAY)[0] == _OK
            except _NO_ANSWER:
                continue

    def result(self) -> tuple[int, bytes]:
        """Wait for the video API's answer; return its status and its JSON.

        Raises:
            RenderTimedOut: the time is over.
            WorkerUnreachable: it is not wanted any more.
            RenderFailed: the machine has forgotten it.
        """
        while True:
            wait = min(LONG_POLL, self._remaining())
            path = f"/jobs/{self._id}?wait={wait:.1f}"
            try:
                status, said, body = self._ask("GET", path, wait + WAY)
            except _NO_ANSWER:
                self._pause()
                continue
            if status == _UNKNOWN:
                raise RenderFailed(tr("the worker's agent was started anew, and the scene is lost"))
            if status != _OK or not isinstance(said, dict):
                raise RenderFailed(_answered("/jobs", status, body))
            if said.get("state") == "done":
                code = said.get("status")
                answer = jsonlib.dumps(said.get("response"), ensure_ascii=False).encode()
                return code if type(code) is int else 0, answer

    def cancel(self) -> None:
        """End the render on the machine, if that can be reached."""
        try:
            self._api.request("DELETE", f"/jobs/{self._id}", WAY)
        except _NO_ANSWER:
            return  # it ends with the machine, or is rendered in vain

    def _ask(
        self, method: str, path: str, seconds: float, data: bytes | None = None
    ) -> tuple[int, object, bytes]:
        try:
            return self._api.request(method, path, seconds, data)
        except _NO_ANSWER as error:
            self._last = error
            raise

    def _remaining(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            seconds = tr("took longer than {seconds:.0f} s", seconds=self._seconds)
            raise RenderTimedOut(f"/jobs {seconds}")
        if not self._wanted():
            reason = self._last or tr("its video is not wanted any more")
            raise WorkerUnreachable(f"/jobs: {reason}")
        return remaining

    def _pause(self) -> None:
        time.sleep(min(_AGAIN, self._remaining()))


def _detail(said: dict[str, object]) -> str:
    """Return how far a machine is, for people, as its agent has said it."""
    room, encoder = said.get("capacity"), said.get("encoder")
    if said["state"] != "ready" or type(room) is not int or encoder not in _ENCODERS:
        return messages.printable(str(said.get("detail") or ""))
    text = tr("{count} at once, {encoder}", count=room, encoder=encoder)
    reason = messages.printable(str(said.get("gpu_error") or ""))
    if not reason:
        return text
    return tr("{text}; its GPU cannot be used: {reason}", text=text, reason=reason)


def _answered(path: str, status: int, body: bytes) -> str:
    text = messages.printable(body)
    return tr("{path} answered {status}: {text}", path=path, status=status, text=text)
