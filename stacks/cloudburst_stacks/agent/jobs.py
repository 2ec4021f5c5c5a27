"""Scenes that wait for a container, render, or have been rendered.

Each is on disk as well: an agent that was killed is started again by systemd, knows what was
rendered, and renders the rest, without the runner's having to send it again.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from .containers import ERRORS, HEADER, MAX_ANSWER, Container

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST_JOBS = 64
# As nginx and the bundled server say it: the client has gone.
CANCELLED = 499
BROKEN = 502


class Job:
    """One scene: its request, on disk, where it renders, and what became of it."""

    def __init__(self, identity: str, body: Path) -> None:
        self.id = identity
        self.body = body
        self.state = "queued"
        self.container = 0
        self.status = 0
        self.response: Any = None
        self.cancelled = False
        self.socket: socket.socket | None = None


class Jobs:
    """All scenes of the machine, and the lanes, each of which renders one at a time.

    Args:
        say: writes a line to the boot log.
        folder: for the scenes.

    Attributes:
        lanes: how many there are.
        busy: numbers of the containers that rendered when the agent was killed.
    """

    def __init__(self, say: Callable[[str], None], folder: Path) -> None:
        self.all: dict[str, Job] = {}
        self.lanes = 0
        self.busy: set[int] = set()
        self._folder = folder
        self._queue: deque[Job] = deque()
        self._changed = threading.Condition()
        self._say = say

    def restore(self) -> None:
        """Take up the scenes of an agent that was killed: what is rendered, and the rest anew."""
        for path in sorted(self._folder.glob("*.json"), key=lambda each: each.stat().st_mtime):
            job = Job(path.stem, path.with_suffix(""))
            with contextlib.suppress(ValueError):
                job.container, job.status, job.response = json.loads(path.read_text("utf-8"))
            if job.status:
                job.state = "done"
            elif job.body.exists():
                self.busy.add(job.container)
                self._queue.append(job)
            else:
                continue
            self.all[job.id] = job

    def _keep(self, job: Job) -> None:
        """Write down what is known of a scene; a full disk keeps nobody from rendering it."""
        with contextlib.suppress(OSError):
            fresh = job.body.with_suffix(".new")
            fresh.write_text(json.dumps([job.container, job.status, job.response]), "utf-8")
            fresh.replace(job.body.with_suffix(".json"))

    def add(self, identity: str, body: Path) -> bool:
        """Queue a scene, unless it is known; return False when too many wait."""
        with self._changed:
            if identity in self.all:  # its answer has not arrived, and it was sent again
                body.unlink()
                return True
            if len(self.all) >= MOST_JOBS:
                oldest = next((job for job in self.all.values() if job.state == "done"), None)
                if oldest is None:
                    return False
                del self.all[oldest.id]
                oldest.body.with_suffix(".json").unlink(missing_ok=True)
            job = self.all[identity] = Job(identity, self._folder / identity)
            body.replace(job.body)
            self._keep(job)
            self._queue.append(job)
            self._changed.notify_all()
        return True

    def count(self, state: str) -> int:
        """Return how many are in a state."""
        with self._changed:
            return sum(job.state == state for job in self.all.values())

    def wait(self, job: Job, seconds: float) -> None:
        """Wait until a scene is done, but no longer than some seconds."""
        with self._changed:
            self._changed.wait_for(lambda: job.state == "done", seconds)

    def cancel(self, job: Job) -> None:
        """End a scene; it is done once the render has really ended."""
        with self._changed:
            job.cancelled = True
            if job in self._queue:
                self._queue.remove(job)
                self._settle(job, CANCELLED, {"error": "cancelled"})
            elif job.socket is not None:
                with contextlib.suppress(OSError):
                    job.socket.shutdown(socket.SHUT_RDWR)

    def work(self, container: Container) -> None:
        """Render one scene after the other.

        Raises:
            Failed: the container cannot be started any more.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._queue))
                job = self._queue.popleft()
                job.state, job.container = "rendering", container.number
                self._keep(job)
            status, response = self._render(job, container)
            try:
                if status in (CANCELLED, BROKEN):
                    container.recover(busy=job.cancelled)
            finally:
                # Only now: who has given it up may rely on its end.
                with self._changed:
                    self._settle(job, status, response)

    def _settle(self, job: Job, status: int, response: object) -> None:
        job.status, job.response, job.state, job.socket = status, response, "done", None
        self._keep(job)
        with contextlib.suppress(OSError):
            job.body.unlink()
        self._say(f"job {job.id}: {status}")
        self._changed.notify_all()

    def _render(self, job: Job, container: Container) -> tuple[int, object]:
        """Have a scene rendered; return the status and what the container said."""
        try:
            with contextlib.closing(container.connect(10)) as connection:
                with self._changed:
                    if job.cancelled:
                        return CANCELLED, {"error": "cancelled"}
                    job.socket = connection.sock
                # A render takes what it takes: who waits for it gives it up.
                connection.sock.settimeout(None)
                headers = {HEADER: container.key, "Content-Type": "application/json"}
                headers["Content-Length"] = str(job.body.stat().st_size)
                with job.body.open("rb") as body:
                    connection.request("POST", "/create_video_onestep", body, headers)
                answer = connection.getresponse()
                said = json.loads(answer.read(MAX_ANSWER))
        except ERRORS as error:
            if job.cancelled:
                return CANCELLED, {"error": "cancelled"}
            return BROKEN, {"error": f"{container.name} broke off: {error!r}"}
        if isinstance(said, dict) and isinstance(said.get("download_endpoint"), str):
            # With the container that has the video.
            said["download_endpoint"] = f"/download/{container.number}{said['download_endpoint']}"
        return answer.status, said
