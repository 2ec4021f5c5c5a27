"""Containers of the video API, each on a loopback port of its own."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import threading
import time
from typing import TYPE_CHECKING, Any

from .machine import Failed, code_of, environment, last_line, now, run

if TYPE_CHECKING:
    from .boot import Agent

HEADER = "X-Authentication-Key"
MAX_ANSWER = 1024**2
ERRORS = (OSError, ValueError, RecursionError, http.client.HTTPException)
# docs.nvidia.com/datacenter/cloud-native/container-toolkit, docker-specialized: without "video" a
# container has no encoder.
_GPU = ["--gpus", "all", "--env", "NVIDIA_DRIVER_CAPABILITIES=compute,video,utility"]
# What docker says where a container cannot have one, in small letters.
_OF_GPU = ("gpu", "nvidia")
# Of how a container starts, docker's words tell no more.
_TOLD = ("wrong_architecture", "disk_full")
_HEALTHY = 200
_RESTARTS = 2
_POLL = 0.5


class Container:
    """A container of the video API.

    Args:
        agent: whose.
        number: from 1.

    Attributes:
        capacity: scenes that it renders at once, by its own word; None if it does not say.
    """

    def __init__(self, agent: Agent, number: int) -> None:
        self.number = number
        self.name = f"video-api-{number}"
        self.port = int(agent.config["first_port"]) + number - 1
        # Not the machine's: what runs in a container needs no power over the machine. Made from it,
        # so that an agent that was killed and started again knows it.
        self.key = hmac.new(agent.key, self.name.encode(), hashlib.sha256).hexdigest()
        self.capacity: int | None = None
        self._agent = agent
        self._lock = threading.Lock()

    def connect(self, seconds: float) -> http.client.HTTPConnection:
        """Return an open connection to it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        connection.connect()
        return connection

    def health(self) -> dict[str, Any] | None:
        """Return what it says of itself; None while it is not healthy."""
        try:
            with contextlib.closing(self.connect(5)) as connection:
                connection.request("GET", "/health", headers={HEADER: self.key})
                answer = connection.getresponse()
                said = json.loads(answer.read(MAX_ANSWER))
        except ERRORS:
            return None
        if answer.status != _HEALTHY or not isinstance(said, dict):
            return None
        if said.get("status") != "healthy":
            return None
        capacity = said.get("capacity")
        self.capacity = capacity if type(capacity) is int and capacity > 0 else None
        return said

    def start(self) -> dict[str, Any]:
        """Start it, anew if there is one, and wait until it is healthy; return what it says.

        Raises:
            Failed: it does not start, or ends again.
        """
        agent, config = self._agent, self._agent.config
        deadline = now() + config["gpu_wait"]
        while True:
            run(["docker", "rm", "--force", self.name], 60)
            # By its environment: every process of the machine can read a command line.
            variables = environment(AUTHENTICATION_KEY=self.key)
            code, text = run(self._command(), 120, env=variables)
            if code == 0:
                return self.wait(config["start_wait"])
            reason = last_line(text)
            if not config["gpu"] or not any(word in text.lower() for word in _OF_GPU):
                raise Failed(code_of(text, "container_failed", _TOLD), reason)
            # The GPU's driver may not be loaded yet: nothing orders it before this.
            if now() < deadline:
                agent.say(f"{self.name}: again in 3 s: {reason}")
                time.sleep(3)
            else:
                agent.say(f"{self.name}: without a GPU: {reason}")
                agent.refused_gpu, config["gpu"] = reason, False

    def _command(self) -> list[str]:
        config = self._agent.config
        command = ["docker", "run", "--detach", "--name", self.name, "--restart", "always"]
        command += ["--publish", f"127.0.0.1:{self.port}:5000", "--env", "AUTHENTICATION_KEY"]
        command += ["--env", f"CLOUDBURST_LANG={config['language']}"]
        command += _GPU if config["gpu"] else []
        if config["bundle"]:
            command += ["--volume", f"{self._agent.folder}/bundle:/bundle:ro"]
        return [*command, config["image"], *config["command"]]

    def wait(self, seconds: float) -> dict[str, Any]:
        """Wait until it is healthy; return what it says of itself.

        Raises:
            Failed: it ends again and again, or takes longer than so many seconds.
        """
        deadline = now() + seconds
        while (said := self.health()) is None:
            command = ["docker", "inspect", "--format", "{{.RestartCount}}", self.name]
            code, text = run(command, 30)
            if code == 0 and text.isdigit() and int(text) >= _RESTARTS:
                raise self._failure("the container ends again and again")
            if now() > deadline:
                raise self._failure(f"the container was not healthy within {seconds:.0f} s")
            time.sleep(_POLL)
        return said

    def _failure(self, what: str) -> Failed:
        _, text = run(["docker", "logs", "--tail", "20", self.name], 30)
        otherwise = "bundle_failed" if self._agent.config["bundle"] else "container_failed"
        return Failed(code_of(text, otherwise, _TOLD), f"{what}: {last_line(text)}")

    def recover(self, *, busy: bool) -> None:
        """Get it healthy again after a render broke off.

        Args:
            busy: it may go on with what was given up, if it is one that does.

        Raises:
            Failed: it cannot be started any more.
        """
        with self._lock:
            try:
                if not busy or self.capacity is not None:
                    self.wait(self._agent.config["restart_wait"])
                    return
            except Failed as error:
                self._agent.say(f"{self.name}: {error}")
            self.start()

    def log(self) -> str:
        """Return its last lines; empty if there is none."""
        code, text = run(["docker", "logs", "--tail", "2000", self.name], 10)
        return f"== {self.name}\n{text}\n" if code == 0 else ""
