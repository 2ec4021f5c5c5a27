"""How long a session lasts, and how a person gets the next one. Pure, but for the files it reads.

A session is what temporary credentials belong to. Some renew themselves: those of a machine's role,
of a `credential_process`, of a role that is assumed with long-term keys. Others need a person: IAM
Identity Center (SSO), and roles that ask for the code of an MFA device.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst.language import tr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Profile = Mapping[str, Any]

# Where the AWS CLI keeps what `aws sso login` gets, and the roles that it has assumed.
SSO_CACHE = Path("~/.aws/sso/cache")
ROLE_CACHE = Path("~/.aws/cli/cache")
# The places in which botocore finds keys that are in a file, by its names for them.
_FILES = ("shared-credentials-file", "config-file")
_KINDS = {
    **dict.fromkeys(_FILES, "file"),
    "env": "environment",
    "explicit": ".env",
    "login": "login",
    "custom-process": "process",
}


@dataclass(frozen=True, slots=True)
class Login:
    """How credentials are renewed when their session has expired.

    Args:
        method: where they are from, by botocore's name.
        profile: the profile they are of; empty for none.
        kind: what a person has to do: ``sso``, ``mfa``, ``login`` (`aws login`), ``process``,
            ``file``, ``.env``, ``environment``; empty for nothing: they renew themselves, or they
            are long-term keys.
        session: by what name the AWS CLI keeps an SSO token; empty for none.
        temporary: they belong to a session; long-term keys do not.
    """

    method: str
    profile: str = ""
    kind: str = ""
    session: str = ""
    temporary: bool = False

    @property
    def is_awaited(self) -> bool:
        """Whether a process that runs gets the next session without being started again."""
        return self.temporary and self.kind != "environment"

    @property
    def command(self) -> str:
        """The AWS CLI's command that gets another session; empty where there is none."""
        commands = {
            "sso": "aws sso login",
            "login": "aws login",
            # It asks for the code, and caches the role where this process looks for it.
            "mfa": "aws sts get-caller-identity",
        }
        command = commands.get(self.kind, "")
        named = self.profile not in ("", "default")
        return f"{command} --profile {self.profile}" if command and named else command

    @property
    def advice(self) -> str:
        """What a person has to do, for messages; empty for nothing."""
        if self.command:
            return tr("log in again: {command}", command=self.command)
        if self.kind == "environment":
            return tr(
                "log in again (such as with aws sso login) and set AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN anew; a command that runs keeps those "
                "that it was started with"
            )
        texts = {
            ".env": tr("log in again, and write the new keys to .env"),
            "file": tr(
                "log in again, so that the profile {profile} has new keys", profile=self.profile
            ),
            "process": tr(
                "log in again, so that the credential_process of the profile {profile} returns new "
                "keys",
                profile=self.profile,
            ),
        }
        return texts.get(self.kind, "")


def login_of(method: str, *, temporary: bool, config: Mapping[str, Any], profile: str) -> Login:
    """Return how credentials are renewed.

    Args:
        method: where they are from, by botocore's name.
        temporary: whether they have a session token.
        config: the AWS CLI's configuration: ``profiles`` and ``sso_sessions``, by name.
        profile: the one in use.
    """
    if not temporary:
        return Login(method, profile if method in _FILES else "")
    if method in ("sso", "assume-role"):
        return _of_chain(method, config, profile)
    kind = _KINDS.get(method, "")
    in_profile = kind not in ("", "environment", ".env")
    return Login(method, profile if in_profile else "", kind, temporary=True)


def _of_chain(method: str, config: Mapping[str, Any], profile: str) -> Login:
    chain = list(_chain(config.get("profiles", {}), profile))
    for name, settings in chain:
        if "sso_session" in settings or "sso_start_url" in settings:
            session = str(settings.get("sso_session") or settings["sso_start_url"])
            return Login(method, name, "sso", session, temporary=True)
    if any("mfa_serial" in settings for _, settings in chain):
        return Login(method, profile, "mfa", temporary=True)
    last, settings = chain[-1] if chain else (profile, {})
    if "credential_process" in settings:
        return Login(method, last, "process", temporary=True)
    # A role whose source has a session token of its own, in a file.
    return Login(method, last, "file" if "aws_session_token" in settings else "", temporary=True)


def process_of(config: Mapping[str, Any], profile: str) -> tuple[str, str]:
    """Return the profile whose `credential_process` gives the keys, and the command; or nothing.

    Args:
        config: see `login_of`.
        profile: the one in use, or one whose role is assumed with the keys.
    """
    for name, settings in _chain(config.get("profiles", {}), profile):
        if "credential_process" in settings:
            return name, str(settings["credential_process"])
    return "", ""


def _chain(profiles: Mapping[str, Profile], name: str) -> Iterator[tuple[str, Profile]]:
    """Yield a profile, the one that its role is assumed with, and so on."""
    seen: set[str] = set()
    while name in profiles and name not in seen:
        seen.add(name)
        yield name, profiles[name]
        name = str(profiles[name].get("source_profile", ""))


def note(login: Login, ends: float | None, until: float) -> str:
    """Return what to know of a session that ends before the machines' leases; empty for nothing.

    Args:
        login: how it is renewed.
        ends: when it ends, seconds since 1970; None for one that does not, as far as is known.
        until: when the machines' leases end, seconds since 1970.
    """
    if ends is None or ends >= until:
        return ""
    return tr(
        "the AWS session ends at {end}, before the lease of the machines launched now (at the "
        "latest {until}); without another session they could not be ended before: {advice}",
        end=_clock(ends),
        until=_clock(until),
        advice=login.advice,
    )


def _clock(time: float) -> str:
    """Return a local time for people, with its date unless that is today's."""
    local = datetime.fromtimestamp(time).astimezone()
    day = "" if local.date() == datetime.now().astimezone().date() else f"{local:%Y-%m-%d} "
    return f"{day}{local:%H:%M:%S %Z}"


def sso_end(session: str, folder: Path = SSO_CACHE) -> float | None:
    """Return when an SSO login ends, seconds since 1970.

    Args:
        session: see `Login.session`.
        folder: where the AWS CLI keeps its tokens.

    Returns:
        None where it is not known, and for one that renews itself with its refresh token.
    """
    name = hashlib.sha1(session.encode(), usedforsecurity=False).hexdigest()
    try:
        token = json.loads((folder.expanduser() / f"{name}.json").read_text())
        if token.get("refreshToken"):
            return None
        return moment(str(token["expiresAt"]))
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def moment(text: str) -> float:
    """Return a time as the AWS CLI writes it, ISO 8601 or with ``UTC`` at its end.

    Raises:
        ValueError: it is none.
    """
    return datetime.fromisoformat(text.removesuffix("UTC").removesuffix("Z") + "+00:00").timestamp()
