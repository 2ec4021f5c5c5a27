"""HTTP endpoints for machines: the metadata service (IMDSv2) and calls of the stand-ins."""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from testcloud.apis.wire import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from testcloud.machines.hypervisor import Hypervisor
    from testcloud.machines.machine import Machine

PREFIX = "/machine/"
_TOKEN = "HTTP_X_AWS_EC2_METADATA_TOKEN"  # noqa: S105 - the name of a header
_TTL = "HTTP_X_AWS_EC2_METADATA_TOKEN_TTL_SECONDS"
_LONGEST_TTL = 21600


class Metadata:
    """Responds to machines; the path names the machine: ``/machine/<id>/…``.

    Args:
        hypervisor: runs the machines.
        registry: handles docker's `login` and `pull`, see `Api.registry`.
    """

    def __init__(
        self, hypervisor: Hypervisor, registry: Callable[[str, Mapping[str, str]], str]
    ) -> None:
        self._hypervisor = hypervisor
        self._registry = registry
        self._tokens: dict[str, tuple[str, float]] = {}

    def respond(self, environ: dict[str, Any]) -> Response:
        """Handle one request."""
        identity, _, path = environ["PATH_INFO"].removeprefix(PREFIX).partition("/")
        machine = self._hypervisor.find(identity)
        if machine is None:
            return Response(b"no such machine", 404)
        method = environ["REQUEST_METHOD"]
        if path == "latest/api/token":
            return self._token(machine, method, environ.get(_TTL, ""))
        if path.startswith("latest/"):
            if not self._authorized(machine, environ.get(_TOKEN)):
                return Response(b"401 - Unauthorized", 401)
            text = _item(machine, path.removeprefix("latest/"))
            return Response(b"404 - Not Found", 404) if text is None else Response(text.encode())
        if path in ("login", "pull"):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return _json({"error": self._registry(path, json.loads(body))})
        return self._control(machine, path, parse_qs(environ.get("QUERY_STRING", "")))

    def _token(self, machine: Machine, method: str, ttl: str) -> Response:
        if method != "PUT":
            return Response(b"405 - Method Not Allowed", 405)
        if not ttl.isdigit() or not 1 <= int(ttl) <= _LONGEST_TTL:
            return Response(b"400 - Bad Request", 400)
        token = secrets.token_urlsafe(40)
        self._tokens[token] = (machine.id, time.monotonic() + int(ttl))
        return Response(token.encode())

    def _authorized(self, machine: Machine, token: str | None) -> bool:
        if token is None:
            return not machine.token_required
        owner, until = self._tokens.get(token, ("", 0.0))
        return owner == machine.id and time.monotonic() < until

    def _control(self, machine: Machine, action: str, query: dict[str, list[str]]) -> Response:
        """Handle a call of a stand-in."""
        content: dict[str, object] = {}
        if action == "shutdown":
            minutes, reboot = float(query["minutes"][0]), "mode" in query
            self._hypervisor.schedule_power_off(machine, minutes, reboot=reboot)
        elif action == "cancel":
            self._hypervisor.cancel_power_off(machine)
        elif action == "container":
            port, local = int(query["port"][0]), "local" in query
            content = self._hypervisor.container_starts(machine, port, local=local)
        elif action == "listen":
            content = self._hypervisor.listen(machine, int(query["port"][0]))
        elif action == "reboot":
            self._hypervisor.reboot(machine)
        elif action == "halt":
            machine.freeze()
        else:
            return Response(b"{}", 404)
        return _json(content)


def _json(content: Mapping[str, object]) -> Response:
    return Response(json.dumps(content).encode(), kind="application/json")


def _item(machine: Machine, path: str) -> str | None:
    """Return one metadata item, or None if it does not exist."""
    items = {
        "instance-id": machine.id,
        "instance-type": machine.type,
        "instance-life-cycle": machine.market,
        "ami-id": machine.image,
        "placement/availability-zone": machine.zone,
        "placement/region": machine.region,
        "local-ipv4": machine.instance.private_ip,
    }
    if machine.address:
        items["public-ipv4"] = machine.address
    if machine.notice is not None:
        moment = datetime.fromtimestamp(machine.notice, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        items["spot/instance-action"] = json.dumps({"action": "terminate", "time": moment})
    if path == "user-data":
        return machine.user_data or None
    return items.get(path.removeprefix("meta-data/"))
