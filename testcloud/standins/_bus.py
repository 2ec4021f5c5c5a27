"""How the commands of a machine reach its systemd: one request and one response, as JSON.

By a socket of the abstract namespace (unix(7)): the path of a machine's folder may be too long for
another one, and what is in /run may be masked by a mount.
"""

import json
import socket
from typing import Any


def address(machine: str) -> str:
    """Return the address of a machine's systemd."""
    return f"\0test-cloud-{machine}-systemd"


def ask(machine: str, **request: Any) -> dict[str, Any]:
    """Send a request and wait for its response, for as long as that takes.

    Raises:
        OSError: the machine's systemd does not run.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address(machine))
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as lines:
            line = lines.readline()
    if not line:
        raise OSError("Transport endpoint is not connected")
    return dict(json.loads(line))
