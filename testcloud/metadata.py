"""What machines reach: their metadata service (IMDSv2), and the cloud's ear for their stand-ins."""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from testcloud.wire import Answer

if TYPE_CHECKING:
    from testcloud.hypervisor import Hypervisor
    from testcloud.machine import Machine

PREFIX = "/machine/"
_TOKEN = "HTTP_X_AWS_EC2_METADATA_TOKEN"  # noqa: S105 - the name of a header
_LIFE = "HTTP_X_AWS_EC2_METADATA_TOKEN_TTL_SECONDS"
_LONGEST = 21600


class Metadata:
    """Answers machines; the path says which one asks: ``/machine/<id>/…``."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._tokens: dict[str, tuple[str, float]] = {}

    def answer(self, environ: dict[str, Any]) -> Answer:
        """Answer one request."""
        identity, _, path = environ["PATH_INFO"].removeprefix(PREFIX).partition("/")
        machine = self._hypervisor.find(identity)
        if machine is None:
            return Answer(b"no such machine", 404)
        method = environ["REQUEST_METHOD"]
        if path == "latest/api/token":
            return self._token(machine, method, environ.get(_LIFE, ""))
        if path.startswith("latest/"):
            if not self._admitted(machine, environ.get(_TOKEN)):
                return Answer(b"401 - Unauthorized", 401)
            text = _about(machine, path.removeprefix("latest/"))
            return Answer(b"404 - Not Found", 404) if text is None else Answer(text.encode())
        return self._told(machine, path, parse_qs(environ.get("QUERY_STRING", "")))

    def _token(self, machine: Machine, method: str, life: str) -> Answer:
        if method != "PUT":
            return Answer(b"405 - Method Not Allowed", 405)
        if not life.isdigit() or not 1 <= int(life) <= _LONGEST:
            return Answer(b"400 - Bad Request", 400)
        token = secrets.token_urlsafe(40)
        self._tokens[token] = (machine.id, time.monotonic() + int(life))
        return Answer(token.encode())

    def _admitted(self, machine: Machine, token: str | None) -> bool:
        if token is None:
            return not machine.token_required
        owner, until = self._tokens.get(token, ("", 0.0))
        return owner == machine.id and time.monotonic() < until

    def _told(self, machine: Machine, what: str, query: dict[str, list[str]]) -> Answer:
        """Hear what a stand-in has to say."""
        said: dict[str, object] = {}
        if what == "shutdown":
            self._hypervisor.schedule_power_off(machine, float(query["minutes"][0]))
        elif what == "cancel":
            self._hypervisor.cancel_power_off(machine)
        elif what == "container":
            said = self._hypervisor.container_starts(machine, int(query["port"][0]))
        elif what == "halt":
            machine.freeze()
        else:
            return Answer(b"{}", 404)
        return Answer(json.dumps(said).encode(), kind="application/json")


def _about(machine: Machine, path: str) -> str | None:
    """Give one piece of metadata, or None for what there is none of."""
    known = {
        "instance-id": machine.id,
        "instance-type": machine.type,
        "instance-life-cycle": machine.market,
        "ami-id": machine.image,
        "placement/availability-zone": machine.zone,
        "placement/region": machine.region,
        "local-ipv4": machine.instance.private_ip,
    }
    if machine.address:
        known["public-ipv4"] = machine.address
    if machine.notice is not None:
        moment = datetime.fromtimestamp(machine.notice, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        known["spot/instance-action"] = json.dumps({"action": "terminate", "time": moment})
    if path == "user-data":
        return machine.user_data or None
    return known.get(path.removeprefix("meta-data/"))
