"""Where CloudBurst keeps things, and how its environment variables change that."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import socket
from pathlib import Path

import platformdirs

from cloudburst.errors import InfrastructureError

PROJECT = "cloudburst"


def state_folder() -> Path:
    """Give the folder for stack state; ``CLOUDBURST_STATE`` names another one."""
    named = os.environ.get("CLOUDBURST_STATE")
    return _made(Path(named) if named else platformdirs.user_state_path(PROJECT))


def cache_folder() -> Path:
    """Give the folder for what can be made again; ``CLOUDBURST_CACHE`` names another one."""
    named = os.environ.get("CLOUDBURST_CACHE")
    return _made(Path(named) if named else platformdirs.user_cache_path(PROJECT))


def owner() -> str:
    """Name whoever runs this, in the characters that tags may have.

    A state folder that was named is part of it: two of one user know nothing of each other.
    """
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    named = os.environ.get("CLOUDBURST_STATE")
    where = f":{Path(named).absolute()}" if named else ""
    return re.sub(r"[^\w +\-=.:/@]", "-", f"{user}@{socket.gethostname()}{where}")[:200]


def is_backend_own() -> bool:
    """Say if stacks are in CloudBurst's own folder, which nobody else uses."""
    return not os.environ.get("PULUMI_BACKEND_URL")


def engine_environment(state: Path) -> dict[str, str]:
    """Give the environment in which the engine finds CloudBurst's stacks.

    A person gets the same with ``eval "$(cloudburst env)"``. What the user has set wins: a
    backend of their own keeps their credentials, plugins and passphrase too.
    """
    environment = {"PULUMI_SKIP_UPDATE_CHECK": "1"}
    if is_backend_own():
        backend = _made(state / "backend")
        environment["PULUMI_BACKEND_URL"] = backend.resolve().as_uri()
        environment["PULUMI_HOME"] = str(_made(state / "pulumi-home"))
    has_passphrase = {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"} & set(os.environ)
    if not has_passphrase:
        environment["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(_passphrase(state / "passphrase"))
    return environment


def _passphrase(path: Path) -> Path:
    """Make the passphrase file once; never half of it, never readable by others."""
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
        try:
            os.link(fresh, path)  # unlike a rename, it loses against a run that was first
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path


def _made(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InfrastructureError(
            f"the folder {path} cannot be made: {error.strerror}; another one can be named with "
            "CLOUDBURST_STATE, or CLOUDBURST_CACHE for what can be made again"
        ) from error
    return path
