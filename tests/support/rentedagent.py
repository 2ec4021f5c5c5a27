"""The worker agent on a machine of the test cloud, asked without the runner."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst.targets import certificate
from cloudburst_stacks.payload import agent_config, script
from tests.support.clouds import administrator, make_group, until
from tests.support.patience import SOON

if TYPE_CHECKING:
    from collections.abc import Callable

    from testcloud.cloud import Cloud
    from testcloud.machines.machine import Machine

KEY = "the-key-of-the-machine"
IMAGE = "example/image:latest"
CONTAINER = Path(__file__).with_name("container.py")


class RentedAgent:
    """An agent on a machine.

    Args:
        machine: of the test cloud.
        identity: what it answers with.
    """

    def __init__(self, machine: Machine, identity: certificate.Identity) -> None:
        self.machine, self.identity = machine, identity
        self.at = 0.0

    def ask(
        self, method: str, path: str, body: Any = None, seconds: float = SOON
    ) -> tuple[int, Any]:
        """Return status and content of an answer."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=self.identity.certificate)
        connection = http.client.HTTPSConnection(
            self.machine.address, 443, timeout=seconds, context=context
        )
        content = None if body is None else json.dumps(body).encode()
        with contextlib.closing(connection):
            connection.request(method, path, content, {"X-Authentication-Key": KEY})
            answer = connection.getresponse()
            self.at = time.monotonic()
            return answer.status, json.loads(answer.read())

    def health(self) -> dict[str, Any]:
        """Return what it says of the machine."""
        return dict(self.ask("GET", "/health")[1])

    def until(self, *states: str) -> dict[str, Any]:
        """Wait until it answers and is in one of some states; return its health."""

        def reached() -> dict[str, Any] | None:
            with contextlib.suppress(OSError):
                health = self.health()
                return health if health["state"] in states else None
            return None

        try:
            return dict(until(reached))
        except AssertionError:
            text = self.machine.boot_log()[-3000:] + self.machine.journal()[-1000:]
            raise AssertionError(text) from None

    def result(self, order: dict[str, Any], wait: float = 20) -> dict[str, Any]:
        """Have a scene rendered; return what became of it."""
        status, said = self.ask("POST", "/jobs", order)
        assert status == 202, said
        while True:
            said = self.ask("GET", f"/jobs/{said['id']}?wait={wait}")[1]
            if said["state"] == "done":
                return dict(said)


def boot(launch: Callable[..., Machine], *, minutes: int = 30, **settings: Any) -> RentedAgent:
    """Launch a machine with an agent.

    Args:
        launch: launches a machine with user data.
        minutes: of its outer dead-man switch.
        settings: of the agent, instead of those that a runner would give it.
    """
    identity = certificate.make(time.time(), 3600)
    config = agent_config(
        image=IMAGE, key=KEY, lease_seconds=600, cap_minutes=30, port=443, room=2, gpu=False
    )
    quick = {"pauses": [0.1], "docker_wait": SOON, "start_wait": SOON, "grace": 1}
    user_data = script(
        minutes=minutes,
        config={**config, **quick, **settings},
        certificate=identity.certificate,
        key=identity.key,
    )
    return RentedAgent(launch(user_data, SecurityGroupIds=[group()]), identity)


def group() -> str:
    """Return the group of workers."""
    ec2 = administrator()
    for known in ec2.describe_security_groups()["SecurityGroups"]:
        if known["GroupName"] == "workers":
            return str(known["GroupId"])
    return make_group(ec2, port=443)


def contain(cloud: Cloud, folder: Path, order: dict[str, Any]) -> None:
    """Let containers be servers that do what they are told, see `tests.support.container`."""
    words = json.dumps(order).replace("{", "{{").replace("}", "}}")
    cloud.images[IMAGE] = [sys.executable, str(CONTAINER), "{port}", str(folder), words]
