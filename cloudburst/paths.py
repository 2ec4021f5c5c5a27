"""Locations of CloudBurst's files, and the environment variables that change them."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from cloudburst import surroundings, userpath
from cloudburst.errors import InfrastructureError
from cloudburst.language import tr

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = "cloudburst"


def state_folder() -> Path:
    """Return the folder for stack state: ``CLOUDBURST_STATE``, or the user's state folder."""
    return _ensure_folder(
        _named("CLOUDBURST_STATE")
        or _standard(platformdirs.user_state_path, "XDG_STATE_HOME", ".local/state")
    )


def cache_folder() -> Path:
    """Return the folder for reproducible data: ``CLOUDBURST_CACHE``, or the user's cache folder."""
    return _ensure_folder(
        _named("CLOUDBURST_CACHE")
        or _standard(platformdirs.user_cache_path, "XDG_CACHE_HOME", ".cache")
    )


def _named(variable: str) -> Path | None:
    """Return the folder that a variable names, None if it is not set."""
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        folder = userpath.absolute(text)
        left = userpath.unexpanded(text)
    except userpath.NoHomeError as error:
        raise InfrastructureError(f"{variable}={text}: {error}") from error
    if left and not folder.exists():
        raise InfrastructureError(
            tr(
                "{variable}={value}: {name} is not replaced here; write the whole path",
                variable=variable,
                value=text,
                name=left,
            )
        )
    return folder


def _standard(custom: Callable[[str], Path], variable: str, otherwise: str) -> Path:
    """Return the user's own folder for one kind of files.

    A relative path in an XDG variable is ignored, as the specification demands
    (https://specifications.freedesktop.org/basedir-spec/latest/).

    Args:
        custom: returns the folder by the variable or the system's custom.
        variable: that of XDG.
        otherwise: below the home folder, without the variable.
    """
    try:
        folder = custom(PROJECT)
        if os.environ.get(variable) and not folder.is_absolute():
            folder = userpath.absolute(f"~/{otherwise}") / PROJECT
    except (RuntimeError, userpath.NoHomeError):
        folder = Path()
    if not folder.is_absolute():
        raise InfrastructureError(
            tr(
                "no folder for CloudBurst's files: this user has no home folder; set HOME, or "
                "CLOUDBURST_STATE and CLOUDBURST_CACHE"
            )
        )
    return folder


def owner() -> str:
    """Return the owner of this process's resources, in the characters that tags allow.

    It includes ``CLOUDBURST_STATE``: two state folders of one user are independent.
    """
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    folder = _named("CLOUDBURST_STATE")
    suffix = f":{folder}" if folder else ""
    return re.sub(r"[^\w +\-=.:/@]", "-", f"{user}@{socket.gethostname()}{suffix}")[:200]


def is_backend_own() -> bool:
    """Whether stacks are in CloudBurst's own folder, which nothing else uses."""
    return not os.environ.get("PULUMI_BACKEND_URL")


def engine_environment(state: Path) -> dict[str, str]:
    """Return the environment variables with which Pulumi finds CloudBurst's stacks.

    ``eval "$(cloudburst env)"`` sets the same in a shell. The user's own settings win: with their
    own backend, their credentials, plugins and passphrase are used too. Their relative paths start
    at the current folder.

    Raises:
        InfrastructureError: a setting of theirs cannot be used.
    """
    surroundings.check_passphrase(os.environ)
    environment = {
        "PULUMI_SKIP_UPDATE_CHECK": "1",
        **surroundings.variables(os.environ, state),
    }
    if is_backend_own():
        backend = _ensure_folder(state / "backend")
        environment["PULUMI_BACKEND_URL"] = backend.resolve().as_uri()
        environment["PULUMI_HOME"] = str(_ensure_folder(state / "pulumi-home"))
    else:
        url = os.environ[surroundings.BACKEND]
        environment[surroundings.BACKEND] = surroundings.backend_url(url)
    has_passphrase = {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"} & set(os.environ)
    if not has_passphrase:
        environment["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(_passphrase(state / "passphrase"))
    return environment


def _passphrase(path: Path) -> Path:
    """Create the passphrase file once: atomically, and readable only by the user."""
    if not path.exists():
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
        try:
            os.link(temporary, path)  # unlike a rename, it never replaces another run's file
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path


def _ensure_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InfrastructureError(
            tr(
                "the folder {folder} cannot be made: {reason}; another one can be named with "
                "CLOUDBURST_STATE, or CLOUDBURST_CACHE for what can be made again",
                folder=path,
                reason=error.strerror,
            )
        ) from error
    return path
