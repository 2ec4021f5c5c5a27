"""python3: this computer's own Python, as on a machine with an address and processors of its own.

On EC2 each machine has its network. Here all have the same one, so a port that a program of the
machine opens is opened where the cloud says (the machine's public address, if its security group
admits the caller), and a connection to 127.0.0.1 reaches the containers of this machine. Where the
system folders are this computer's (see `_namespace`), the machine's files are elsewhere, too.
"""

from __future__ import annotations

import os
import runpy
import socket
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import _containers
from _machine import ARGUMENTS, FOLDER, MACHINE, notify

if TYPE_CHECKING:
    from collections.abc import Callable

SWITCHES = ("-I", "-E", "-s", "-S", "-u", "-B", "-O", "-q")
OWN: tuple[str, ...]
OWN = ("/etc/cloudburst", "/etc/systemd", "/usr/local/lib/cloudburst", "/usr/local/sbin/cloudburst")
OWN += ("/var/lib/cloudburst", "/var/log/cloudburst", "/run/", "/proc/sys/kernel/random/boot_id")
NOT_PERMITTED = (
    "test cloud: port {port} cannot be opened on this computer by an ordinary user; as root, run"
    " sysctl net.ipv4.ip_unprivileged_port_start={port}\n"
)
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def network() -> None:
    """Give sockets the machine's addresses."""
    bind, connect, connect_ex = socket.socket.bind, socket.socket.connect, socket.socket.connect_ex

    def opened(self: socket.socket, address: Any) -> None:
        if self.family not in (socket.AF_INET, socket.AF_INET6) or not address[1]:
            bind(self, address)
        elif address[0] in LOOPBACK:
            bind(self, (address[0], 0, *address[2:]))
        else:
            place = notify(f"listen?port={address[1]}")
            mapped = "::ffff:" if self.family == socket.AF_INET6 else ""
            try:
                bind(self, (mapped + str(place["address"]), place["port"], *address[2:]))
            except PermissionError:
                sys.stderr.write(NOT_PERMITTED.format(port=place["port"]))
                raise

    def connected(self: socket.socket, address: Any) -> None:
        connect(self, place_of(self.family, address))

    def tried(self: socket.socket, address: Any) -> int:
        return connect_ex(self, place_of(self.family, address))

    socket.socket.bind = opened  # type: ignore[method-assign,assignment]

    socket.socket.connect = connected  # type: ignore[method-assign,assignment]
    socket.socket.connect_ex = tried  # type: ignore[method-assign,assignment]


def place_of(family: int, address: Any) -> Any:
    """Return where on this computer an address of the machine is."""
    if family not in (socket.AF_INET, socket.AF_INET6) or address[0] not in LOOPBACK:
        return address
    if address[1] == urlsplit(MACHINE["control"]).port:  # the cloud's
        return address
    for state in _containers.every(FOLDER):
        if state["published"] == address[1]:
            return (state["address"], state["port"], *address[2:])
    return (address[0], 1, *address[2:])  # nothing listens there


def moved(path: Any) -> Any:
    """Return where on this computer a file of the machine is; any other argument as it is."""
    try:
        text = os.fspath(path)
    except TypeError:
        return path
    own = isinstance(text, str) and text.startswith(OWN)
    return f"{FOLDER}/root{text}" if own else path


class Moved:
    """A function whose first arguments are paths; no method, even as a class's attribute."""

    def __init__(self, function: Callable[..., Any], paths: int) -> None:
        self._function, self._paths = function, paths

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        """Call the function."""
        paths = map(moved, arguments[: self._paths])
        return self._function(*paths, *arguments[self._paths :], **more)


def files() -> None:
    """Let the paths of the machine's own files lead to its folder."""
    import builtins
    import importlib
    import io
    import pathlib

    for name in ("open", "stat", "lstat", "mkdir", "unlink", "remove", "rmdir", "listdir"):
        setattr(os, name, Moved(getattr(os, name), 1))
    for name in ("scandir", "chmod", "utime", "statvfs", "readlink"):
        setattr(os, name, Moved(getattr(os, name), 1))
    for name in ("rename", "replace", "symlink", "link"):
        setattr(os, name, Moved(getattr(os, name), 2))
    opened = Moved(io.open, 1)
    io.open = builtins.open = opened
    # Python 3.9's pathlib keeps the functions that it found when it was imported.
    importlib.reload(pathlib)
    load = ssl.SSLContext.load_cert_chain
    ssl.SSLContext.load_cert_chain = (  # type: ignore[method-assign]
        lambda self, cert, key=None, *more: load(self, moved(cert), moved(key), *more)
    )


def main() -> None:
    """Run the program that the command line names."""
    words = list(ARGUMENTS)
    while words and words[0] in SWITCHES:
        words.pop(0)
    os.cpu_count = lambda: int(MACHINE["vcpus"])
    network()
    if os.environ.get("CLOUDBURST_ROOT"):
        files()
    # Not the stand-ins' folder: their names are not the machine's.
    sys.path.pop(0)
    sys.executable = str(FOLDER / "bin/python3")
    if not words or words[0] == "-":
        run_text(sys.stdin.read(), "<stdin>", words or ["-"])
    elif words[0] == "-c":
        run_text(words[1], "<string>", ["-c", *words[2:]])
    elif words[0] == "-m":
        sys.argv = words[1:]
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        if not os.path.isdir(words[0]):  # noqa: PTH112 - `os` is what is wrapped
            sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))  # noqa: PTH100, PTH120
        runpy.run_path(words[0], run_name="__main__")


def run_text(text: str, where: str, arguments: list[str]) -> None:
    """Run a program that came as text."""
    sys.argv = arguments
    sys.path.insert(0, "")
    names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    exec(compile(text, where, "exec"), names)  # noqa: S102 - that is what it is for


main()
