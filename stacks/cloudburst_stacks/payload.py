"""The user-data of a rented machine: a script that arms its end and starts the agent in it."""

from __future__ import annotations

import ast
import base64
import bz2
import json
import re
import string
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from cloudburst.models import RegistryLogin

# Limit before base64: docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data
MAX_BYTES = 16_384
# On the machine: the agent's code, and what it is told, for root alone.
PROGRAM = "/usr/local/lib/cloudburst"
SETTINGS = "/etc/cloudburst"
_UNIT = f"""\
[Unit]
Description=CloudBurst worker agent
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/bin/python3 {PROGRAM}/agent.py {SETTINGS}/agent.json
Restart=always
RestartSec=1
StandardOutput=journal+console
OOMScoreAdjust=-900
[Install]
WantedBy=multi-user.target
"""
# Of the agent's imports, those of its own modules, and those for types.
_IMPORT = re.compile("(from|import) ")
_LEFT_OUT = ("from .", "from __future__", "from typing")
# Names of the agent's own, and those of its own that are put together when a request comes.
_PRIVATE = re.compile(r"\b_[A-Za-z]\w*")
_HANDLER = re.compile("_(get|post|put|delete)_")
_CAP = """\
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'systemctl poweroff; sleep 60; systemctl poweroff --force'
"""
# In an order in which they may be one module.
MODULES = ("machine", "containers", "jobs", "boot", "server", "main")


def script(*, minutes: int, config: Mapping[str, Any], certificate: str, key: str) -> str:
    """Return the script that arms the dead-man switch and starts the agent.

    Args:
        minutes: after which the instance terminates itself, whatever happens.
        config: of the agent, see `cloudburst_stacks.agent.boot.DEFAULTS`. Anyone who may read the
            instance's user-data can read it, with the key.
        certificate: of the agent, PEM.
        key: the certificate's private key, PEM.

    Raises:
        ValueError: the script exceeds `MAX_BYTES`.
    """
    source = _without_comments(_read("agent.sh.j2"))
    # The output is not HTML; of the inputs, the payload has no character that a shell knows.
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )
    text = environment.from_string(source).render(
        minutes=int(minutes),
        program=PROGRAM,
        payload=pack(files(int(minutes), config, certificate, key)),
    )
    size = len(text.encode())
    if size > MAX_BYTES:
        raise ValueError(f"the user-data has {size} bytes; EC2 takes at most {MAX_BYTES}")
    return text


def agent_config(
    *,
    image: str,
    key: str,
    lease_seconds: int,
    cap_minutes: int,
    port: int,
    room: int,
    gpu: bool,
    login: RegistryLogin | None = None,
    command: Sequence[str] = (),
    name: str = "",
    language: str = "en",
) -> dict[str, Any]:
    """Return the settings of an agent.

    Args:
        image: container image of the video API.
        key: what its clients have to show.
        lease_seconds: after the last request, the machine ends itself.
        cap_minutes: it does so after these in any case.
        port: on which it answers.
        room: scenes at once in an image that reports no capacity.
        gpu: whether containers get the machine's GPUs.
        login: to the image's registry; None for none.
        command: what runs in the image once its files are uploaded, which are in ``/bundle``; none
            for the image's own.
        name: of what serves, for people, where that is not the image.
        language: of its warnings, as in ``CLOUDBURST_LANG``.
    """
    config: dict[str, Any] = {
        "image": image,
        "key": key,
        "lease": int(lease_seconds),
        "cap": int(cap_minutes) * 60,
        "port": int(port),
        "room": int(room),
    }
    if gpu:
        config["gpu"] = True
    if language != "en":
        config["language"] = language
    if command:
        config |= {"bundle": True, "command": [*command], "name": name}
    if login is not None:
        config["login"] = {"host": login.host, "user": login.user, "token": login.token}
    return config


def files(minutes: int, config: Mapping[str, Any], certificate: str, key: str) -> dict[str, str]:
    """Return what the machine is sent, by path; arguments as for `script`."""
    return {
        f"{PROGRAM}/start.sh": f"minutes={minutes}\n{_without_comments(_read('start.sh'))}",
        f"{PROGRAM}/agent.py": agent(),
        "/etc/systemd/system/cloudburst-agent.service": _UNIT,
        "/etc/systemd/system/cloudburst-cap.service": _CAP,
        f"{SETTINGS}/agent.json": json.dumps(config),
        f"{SETTINGS}/cert.pem": certificate,
        f"{SETTINGS}/key.pem": key,
    }


def pack(contents: Mapping[str, str]) -> str:
    """Return files by path as text without a character that a shell would read."""
    raw = "\0".join(part for item in contents.items() for part in item)
    # Of the library's three, the one that makes this text shortest.
    return base64.b85encode(bz2.compress(raw.encode())).decode("ascii")


def unpack(text: str) -> dict[str, str]:
    """Return the files in a script by path, as the machine does."""
    payload = text.partition(" << 'END' ")[2].splitlines()[1]
    parts = bz2.decompress(base64.b85decode(payload)).decode().split("\0")
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _read(name: str) -> str:
    return resources.files("cloudburst_stacks").joinpath(name).read_text("utf-8")


def _without_comments(text: str) -> str:
    """Return a script for bash without comments, but with what calls its interpreter."""
    lines = text.splitlines(keepends=True)
    return "".join(one for one in lines if one[:2] == "#!" or not one.lstrip().startswith("#"))


@cache
def agent() -> str:
    """Return the agent as one module without comments, docstrings and types: user-data is small."""
    trees = [ast.parse(_read(f"agent/{name}.py")) for name in MODULES]
    bare = _Bare(frozenset(_passed_by_name(trees)))
    texts = [ast.unparse(ast.fix_missing_locations(bare.visit(tree))) for tree in trees]
    lines = _with_short_privates("\n".join(texts)).splitlines()
    imports = dict.fromkeys(line for line in lines if _IMPORT.match(line))
    kept = (line for line in imports if not line.startswith(_LEFT_OUT))
    code = (line for line in lines if line and line not in imports)
    return "\n".join((*kept, *code, "main()", ""))


def _with_short_privates(text: str) -> str:
    """Return code with short names in place of its own that begin with an underscore."""
    names = (name for name in dict.fromkeys(_PRIVATE.findall(text)) if not _HANDLER.match(name))
    letters = (
        f"_{first}{second}" for second in ("", *string.digits) for first in string.ascii_letters
    )
    short = dict(zip(names, letters, strict=False))
    return _PRIVATE.sub(lambda match: short.get(match[0], match[0]), text)


class _Bare(ast.NodeTransformer):
    """Leaves out what only people and type checkers read, and shortens names of variables.

    Args:
        fixed: names of arguments that calls rely on.
    """

    def __init__(self, fixed: frozenset[str]) -> None:
        self._fixed = fixed | {"self"}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Leave out its docstring and its types."""
        node.returns = None
        for argument in (*node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg):
            if argument is not None:
                argument.annotation = None
        _shorten(node, self._fixed)
        return self._without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Leave out its docstring."""
        return self._without_docstring(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        """Leave out its docstring."""
        return self._without_docstring(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """Leave out its type."""
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Leave out imports for types."""
        self.generic_visit(node)
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else node

    def _without_docstring(self, node: ast.FunctionDef | ast.ClassDef | ast.Module) -> ast.AST:
        if ast.get_docstring(node) is not None:
            del node.body[0]
        self.generic_visit(node)
        if not node.body and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]
        return node


def _passed_by_name(trees: Iterable[ast.AST]) -> Iterator[str]:
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg:
                yield node.arg


def _shorten(function: ast.FunctionDef, fixed: Container[str]) -> None:
    """Give a function's variables and arguments, but for some, names of one letter."""
    nodes = [*ast.walk(function)]
    names = [node.arg for node in nodes if isinstance(node, ast.arg)]
    names += [node.id for node in nodes if isinstance(node, ast.Name) and _is_stored(node)]
    names += [node.name for node in nodes if isinstance(node, ast.ExceptHandler) and node.name]
    renamed = (name for name in dict.fromkeys(names) if name not in fixed)
    short = dict(zip(renamed, string.ascii_letters, strict=False))
    for node in nodes:
        if isinstance(node, ast.arg):
            node.arg = short.get(node.arg, node.arg)
        elif isinstance(node, ast.Name):
            node.id = short.get(node.id, node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            node.name = short.get(node.name, node.name)


def _is_stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)
