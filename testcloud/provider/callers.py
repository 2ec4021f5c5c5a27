"""Who calls: the credentials that an engine process has handed to its provider.

The real provider is a child of the engine and has its environment. The double is attached; it looks
at the engine's environment, by the port of its connection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import psutil

_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")


@dataclass(frozen=True)
class Keys:
    """The credentials of a caller, as its environment has them.

    Attributes:
        profile: AWS_PROFILE; the real provider would rather use it than the keys.
    """

    access: str = "provider"
    secret: str = field(default="provider", repr=False)
    token: str = field(default="", repr=False)
    profile: str = ""


def keys_of(peer: str) -> Keys:
    """Return the credentials in the environment of the engine at a peer's port.

    Args:
        peer: gRPC's name for it, such as ``ipv4:127.0.0.1:45678``.
    """
    port = int(peer.rpartition(":")[2])
    for process in psutil.process_iter(["name"]):
        try:
            if "pulumi" not in process.info["name"]:
                continue
            ports = {each.laddr.port for each in process.net_connections("tcp")}
            if port in ports:
                return Keys(*(_variables(process.pid).get(name, "") for name in _NAMES))
        except (psutil.Error, OSError):
            continue
    return Keys()


def _variables(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    pairs = (line.partition("=") for line in text.split("\0") if "=" in line)
    return {name: value for name, _, value in pairs}
