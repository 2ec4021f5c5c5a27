"""What a child process needs of this one's surroundings, in whatever folder it works.

The engine, its plugins and the workers do not work in the user's folder: a relative path, which is
meant from there, is made absolute once, here. A proxy is not for what is on this machine. And what
the operating system does not say of a user, such as one of a container, is made up.
"""

from __future__ import annotations

import os
import posixpath
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from urllib.request import url2pathname

from cloudburst import userpath
from cloudburst.errors import InfrastructureError
from cloudburst.language import tr

if TYPE_CHECKING:
    from collections.abc import Mapping

BACKEND = "PULUMI_BACKEND_URL"
PASSPHRASE, PASSPHRASE_FILE = "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"
_FILE_URL = "file://"
# Variables that name a file or a folder, of CloudBurst and of what it starts.
_PATHS = (
    "CLOUDBURST_STATE",
    "CLOUDBURST_CACHE",
    PASSPHRASE_FILE,
    "PULUMI_HOME",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GOOGLE_APPLICATION_CREDENTIALS",
)
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def variables(environ: Mapping[str, str], state: Path) -> dict[str, str]:
    """Return the variables that a child process is to have besides, or instead of, this one's.

    Args:
        environ: this process's.
        state: CloudBurst's folder: there a process without a home folder has one.

    Raises:
        InfrastructureError: a path has no meaning here, or there is no place for temporary files.
    """
    return {
        **_absolute(environ),
        **_unproxied(environ),
        **_user(environ, state),
        **_temporary(environ),
    }


def _absolute(environ: Mapping[str, str]) -> dict[str, str]:
    try:
        paths = {name: userpath.absolute(environ[name]) for name in _PATHS if environ.get(name)}
    except userpath.NoHomeError as error:
        raise InfrastructureError(str(error)) from error
    return {name: str(path) for name, path in paths.items() if str(path) != environ[name]}


def _unproxied(environ: Mapping[str, str]) -> dict[str, str]:
    """Return no_proxy with this machine in it, if there are proxies; the user's hosts stay.

    Both spellings are extended, each from its own value: Go reads the upper case first, Python and
    gRPC the lower.
    """
    if not any(environ.get(name) or environ.get(name.upper()) for name in _PROXIES):
        return {}
    lower, upper = environ.get("no_proxy"), environ.get("NO_PROXY")
    values = {"no_proxy": lower or upper or "", "NO_PROXY": upper or lower or ""}
    return {name: _with_loopback(value) for name, value in values.items()}


def _with_loopback(value: str) -> str:
    hosts = [host.strip() for host in value.split(",") if host.strip()]
    if "*" in hosts:
        return value
    return ",".join([*hosts, *(host for host in _LOOPBACK if host not in hosts)])


def _user(environ: Mapping[str, str], state: Path) -> dict[str, str]:
    """Return a name and a home folder where the system knows none, as of a container's user.

    Without them Go says "user: Current requires cgo or $USER, $HOME set in environment", and a
    stack cannot be locked.
    """
    found = {}
    if not environ.get("USER"):
        found["USER"] = environ.get("LOGNAME") or f"uid-{os.getuid()}"
    if not environ.get("HOME"):
        home = os.path.expanduser("~")  # noqa: PTH111 - `Path` raises
        found["HOME"] = home if os.path.isabs(home) else str(state)  # noqa: PTH117 - text
    return found


def _temporary(environ: Mapping[str, str]) -> dict[str, str]:
    """Return a folder for temporary files where the one that is set cannot be written to.

    Python passes over such a folder, Go does not.
    """
    try:
        usable = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise InfrastructureError(
            tr("no folder for temporary files is writable; set TMPDIR to one that is")
        ) from error
    return {} if usable == (environ.get("TMPDIR") or "/tmp") else {"TMPDIR": usable}  # noqa: S108 - what others take


def backend_url(url: str) -> str:
    """Return the URL of a backend; that of a folder with its whole path.

    Args:
        url: as in ``PULUMI_BACKEND_URL``; ``file://.`` and ``file://~/x`` are folders, too.

    Raises:
        InfrastructureError: it is a folder that does not exist.
    """
    if not url.startswith(_FILE_URL):
        return url
    text, mark, options = url.removeprefix(_FILE_URL).partition("?")
    try:
        home = userpath.expanded(text)
    except userpath.NoHomeError as error:
        raise InfrastructureError(f"{BACKEND}={url}: {error}") from error
    if home != text:
        rest = text[text.find("/") :] if "/" in text else ""
        text = quote(home.removesuffix(rest)) + rest
    path = posixpath.normpath(posixpath.join(quote(str(Path.cwd())), text))
    folder = Path(url2pathname(path))
    if not folder.is_dir():
        raise InfrastructureError(
            tr(
                "{variable}={url}: the folder {folder} does not exist; create it, or correct the "
                "variable",
                variable=BACKEND,
                url=url,
                folder=folder,
            )
        )
    return f"{_FILE_URL}{path}{mark}{options}"


def check_passphrase(environ: Mapping[str, str]) -> None:
    """Refuse a passphrase file that cannot be read.

    Raises:
        InfrastructureError: with the variable and the file.
    """
    named = environ.get(PASSPHRASE_FILE)
    if not named or PASSPHRASE in environ:
        return
    path = userpath.absolute(named)
    try:
        path.read_bytes()
    except OSError as error:
        raise InfrastructureError(
            tr(
                "{variable}={value}: {file} cannot be read: {reason}; correct or unset it",
                variable=PASSPHRASE_FILE,
                value=named,
                file=path,
                reason=error.strerror or error,
            )
        ) from error
