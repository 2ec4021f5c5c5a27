"""One chain of credentials for everything that calls AWS: boto3 here, and the engine's provider.

botocore resolves them once: the environment, `.env`, profiles with keys, roles, MFA and SSO,
`credential_process`, a machine's role. The engine gets what they are at the moment, before each of
its operations, in its process's environment. They are never written anywhere.
"""

from __future__ import annotations

import getpass
import math
import os
import shlex
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.config
import botocore.credentials
import botocore.session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
)
from botocore.parsers import ResponseParserError
from botocore.utils import JSONFileCache

from cloudburst.errors import CloudRefused
from cloudburst.language import tr
from cloudburst.models import Refusal, Verdict
from cloudburst.targets.aws import refusals
from cloudburst.targets.aws.access.logins import (
    ROLE_CACHE,
    Login,
    login_of,
    moment,
    process_of,
    sso_end,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botocore.credentials import ReadOnlyCredentials

# Where neither the environment nor the profile names a region.
DEFAULT_REGION = "us-east-1"
# Seconds: how often an expired session is looked at anew, whoever asks.
RENEW_EVERY = 2.0
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
# Other sources of credentials: the engine's provider takes keys from its environment, and would
# rather take a profile. Empty: unset.
_OTHERS = dict.fromkeys(("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SECURITY_TOKEN"), "")
# A RuntimeError: of credentials that were refreshed, and are those that have expired.
_FAILURES = (BotoCoreError, ClientError, ResponseParserError, RuntimeError)
# What botocore lets through: of a `credential_process` that is missing, or prints something else.
_RAW = (OSError, ValueError, TypeError, AttributeError)
_PROCESS = "custom-process"  # botocore's name for it
# EC2's code for a session that is over, and for a request of a machine whose clock is wrong.
_AMBIGUOUS = "RequestExpired"
_PROMPT = "Enter MFA code for "  # what botocore asks


class Credentials:
    """The credentials of one caller. Every method may be called from any thread.

    Args:
        additions: returns the ``AWS_…`` variables that the environment lacks, see
            `cloudburst.environment`; called again when a session has expired.
        region: of the job; there AWS is asked whether it accepts a session, as each of its
            partitions knows only its own. Empty: that of the environment or the profile, us-east-1
            where neither has one.

    Raises:
        CloudRefused: there are some, but they cannot be used: nobody can be asked for the code of
            an MFA device, or a session has expired.
        BadInput: `.env` cannot be read.
    """

    def __init__(self, additions: Callable[[], Mapping[str, str]], region: str = "") -> None:
        self._additions = additions
        self._region = region
        self._lock = threading.RLock()
        self._looking = threading.Lock()
        self._may_ask = True
        self._expired = False
        self._looked = -math.inf
        self._last: ReadOnlyCredentials | None = None
        # What the source is of, before anything of it may fail.
        self._now = self._resolved()
        self.session = self._now.session
        self.frozen()
        self._may_ask = False

    def _resolved(self) -> _Found:
        """Find credentials.

        Raises:
            CloudRefused: they cannot be found, such as those of a profile that does not exist.
            BadInput: `.env` cannot be read.
        """
        given = self._additions()
        process = ("", "")
        try:
            core, outer = (botocore.session.Session(profile=given.get("AWS_PROFILE")) for _ in "12")
            profile = str(core.get_config_variable("profile") or "default")
            process = process_of(core.full_config, profile)
            source = self._found(core, given)
        except (*_FAILURES, *_RAW) as error:
            reason = _reason(error, *process)
            message = tr("finding credentials: {reason}", reason=reason)
            raise CloudRefused(message, Refusal(verdict=Verdict.STOP)) from error
        login = login_of(
            source.method if source else "",
            temporary=_is_temporary(source),
            config=core.full_config,
            profile=profile,
        )
        if source is not None:
            outer.register_component("credential_provider", _Current(self))
        regions = {name: given[name] for name in _REGIONS if name in given}
        return _Found(source, boto3.Session(botocore_session=outer), login, regions, process)

    def _found(
        self, core: botocore.session.Session, given: Mapping[str, str]
    ) -> botocore.credentials.Credentials | None:
        if "AWS_ACCESS_KEY_ID" in given:
            core.set_credentials(
                given["AWS_ACCESS_KEY_ID"],
                given["AWS_SECRET_ACCESS_KEY"],
                given.get("AWS_SESSION_TOKEN"),
            )
        else:
            provider = core.get_component("credential_provider").get_provider("assume-role")
            provider.cache = _ROLES
            # botocore has no public way to be asked in another way than by getpass.
            provider._prompter = self._ask  # noqa: SLF001
        found: botocore.credentials.Credentials | None = core.get_credentials()
        return found

    # -- current ------------------------------------------------------------------------------

    @property
    def login(self) -> Login:
        """How the session is renewed."""
        return self._now.login

    @property
    def ends(self) -> float | None:
        """When the session ends unless somebody logs in, seconds since 1970.

        None where it does not end, renews itself, or does not say.
        """
        if self._now.login.kind == "sso":
            return sso_end(self._now.login.session)
        if self._now.login.kind in ("mfa", "environment", ".env", "file"):
            return _end(self._now.source)
        return None

    def environment(self) -> dict[str, str]:
        """Return the variables with which the engine's provider uses the current credentials.

        An empty one is to be unset.

        Raises:
            CloudRefused: their session has expired.
        """
        frozen = self.frozen()
        if frozen is None:
            return dict(self._now.regions)
        return {
            **self._now.regions,
            **_OTHERS,
            "AWS_ACCESS_KEY_ID": frozen.access_key,
            "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
            "AWS_SESSION_TOKEN": frozen.token or "",
        }

    def frozen(self) -> ReadOnlyCredentials | None:
        """Return the current credentials, None where there are none.

        Raises:
            CloudRefused: their session has expired; or a network that they need does not answer.
        """
        if self._expired:
            self._renew()
        with self._lock:
            if self._expired:  # since this thread waits for the lock
                raise self._still_expired()
            source = self._now.source
            if source is None:
                return None
            try:
                self._last = source.get_frozen_credentials()
            except (*_FAILURES, *_RAW) as error:
                end = _end(source)
                if self._last is not None and end is not None and end > time.time():
                    return self._last  # refreshed too early to matter
                raise self._refused(error) from error
            return self._last

    # -- expired ------------------------------------------------------------------------------

    def judge(self, refusal: Refusal) -> Refusal:
        """Return what a refusal means with these credentials; note when it says they expired.

        A session that a person can renew while this process runs is worth waiting for.
        """
        if refusal.code not in refusals.EXPIRED or not self._now.login.temporary:
            return refusal
        if refusal.code == _AMBIGUOUS and not self._expired and not self._has_ended():
            return refusal
        with self._lock:
            if not self._expired:
                self._expired, self._looked = True, -math.inf
        return self._over(refusal.code)

    def _has_ended(self) -> bool:
        """Whether the session is over, as far as its end or AWS says."""
        found, last = self._now, self._last
        end = _end(found.source)
        if last is None or (end is not None and end <= time.time()):
            return True
        code = _asked(last, self._region_of(found))
        if code is None:  # a person's session may be over; another one renews itself
            return bool(found.login.kind)
        return code in refusals.EXPIRED and code != _AMBIGUOUS

    def _over(self, code: str | None) -> Refusal:
        waited = self._now.login.is_awaited
        return Refusal(
            code,
            Verdict.WAIT if waited else Verdict.STOP,
            transient=waited,
            advice=self._now.login.advice,
            login=waited,
        )

    def _renew(self) -> None:
        """Look whether somebody has logged in.

        Raises:
            CloudRefused: nobody has, yet.
        """
        # One looks; nobody else waits for that, which may take long.
        if self._looking.acquire(blocking=False):
            try:
                if time.monotonic() - self._looked >= RENEW_EVERY:
                    self._look()
            finally:
                self._looking.release()
        if self._expired:
            raise self._still_expired()

    def _look(self) -> None:
        # Whatever fails, nobody has logged in yet: a tool may be writing a file this moment. What
        # was found is only kept when AWS accepts it.
        with suppress(Exception):
            found = self._resolved()
            if found.source is not None:
                frozen = found.source.get_frozen_credentials()
                code = _asked(frozen, self._region_of(found))
                # Without an answer, the next call judges keys that are new.
                if code == "" or (code is None and frozen != self._last):
                    with self._lock:
                        self._now, self._last, self._expired = found, None, False
        self._looked = time.monotonic()

    def _region_of(self, found: _Found) -> str:
        return self._region or found.session.region_name or DEFAULT_REGION

    def _still_expired(self) -> CloudRefused:
        text = tr("the AWS session has expired")
        return CloudRefused(self._text(text), self._over("ExpiredToken"))

    def _refused(self, error: Exception) -> CloudRefused:
        """Return why credentials could not be refreshed."""
        text = tr("getting credentials: {reason}", reason=_reason(error, *self._now.process))
        if isinstance(error, HTTPClientError | ResponseParserError):  # no answer, or half of one
            return CloudRefused(text, refusals.of_code(None, text))
        if isinstance(error, _NobodyAskedError) and self._may_ask:
            return CloudRefused(str(error), Refusal(verdict=Verdict.STOP))
        if isinstance(error, ClientError):
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code not in refusals.EXPIRED:
                refusal = refusals.of_code(code, text)
                return CloudRefused(refusal.explain(text), refusal)
        if self._may_ask:  # at the start nobody waits
            refusal = Refusal("ExpiredToken", Verdict.STOP, advice=self._now.login.advice)
            return CloudRefused(refusal.explain(text), refusal)
        self._expired = True
        return CloudRefused(self._text(text), self._over("ExpiredToken"))

    def _text(self, reason: str) -> str:
        return self._over(None).explain(reason)

    def _ask(self, prompt: str) -> str:
        """Ask for the code of an MFA device, once, before anything runs."""
        if not self._may_ask:
            raise _NobodyAskedError(reason=tr("the code of the MFA device would be needed again"))
        serial = prompt.removeprefix(_PROMPT).rstrip(": ")
        if not _has_terminal():
            raise _NobodyAskedError(
                reason=tr(
                    "the profile {profile} asks for the code of the MFA device {serial}, and there "
                    "is no terminal to ask at; run this first, where there is one: {command}",
                    profile=self._now.login.profile or "default",
                    serial=serial,
                    command=Login("", self._now.login.profile, "mfa").command,
                )
            )
        with _interruptible():
            try:
                code = getpass.getpass(tr("Code of the MFA device {serial}: ", serial=serial))
            except EOFError:
                raise _NobodyAskedError(reason=tr("no code was given")) from None
        return code.strip()


@dataclass(frozen=True, slots=True)
class _Found:
    """Credentials, as they are found at one time.

    Args:
        source: None for none.
        session: its clients always use the current ones.
        login: how they are renewed.
        regions: variables that the environment lacks.
        process: see `process_of`.
    """

    source: botocore.credentials.Credentials | None
    session: boto3.Session
    login: Login
    regions: Mapping[str, str]
    process: tuple[str, str]


class _NobodyAskedError(BotoCoreError):  # type: ignore[misc]
    """Nobody could be asked for a code. botocore passes on what is one of its own errors."""

    fmt = "{reason}"


class _Current(botocore.credentials.Credentials):  # type: ignore[misc]
    """What clients sign with, and where they find it: the current credentials of a caller."""

    def __init__(self, owner: Credentials) -> None:
        super().__init__("", "")
        self._owner = owner

    def load_credentials(self) -> _Current:
        """Return itself: botocore asks the component of a session."""
        return self

    def get_frozen_credentials(self) -> ReadOnlyCredentials | None:
        """Return the credentials of the moment; botocore asks before each call."""
        return self._owner.frozen()


class _Roles(dict[str, Any]):
    """Roles that this process has assumed, so that nobody is asked for a code twice.

    What the AWS CLI has cached is read as well; nothing is written.
    """

    def __init__(self) -> None:
        super().__init__()
        self._files = JSONFileCache(str(ROLE_CACHE.expanduser()))

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._files

    def __getitem__(self, key: str) -> Any:
        entries = [super().__getitem__(key)] if super().__contains__(key) else []
        if key in self._files:
            entries.append(self._files[key])
        return max(entries, key=_expiration)


def _expiration(entry: Mapping[str, Any]) -> float:
    try:
        value = entry["Credentials"]["Expiration"]
        return float(value.timestamp()) if hasattr(value, "timestamp") else moment(str(value))
    except (KeyError, TypeError, ValueError):
        return 0.0


_ROLES = _Roles()


def _is_temporary(source: botocore.credentials.Credentials | None) -> bool:
    """Whether credentials belong to a session; without asking anybody for them."""
    if source is None:
        return False
    if isinstance(source, botocore.credentials.RefreshableCredentials):
        return True
    return bool(source.token)


def _end(source: botocore.credentials.Credentials | None) -> float | None:
    """Return when credentials end, as far as botocore knows; it has no public word for it."""
    end = getattr(source, "_expiry_time", None)
    return float(end.timestamp()) if end is not None else None


def _asked(frozen: ReadOnlyCredentials, region: str) -> str | None:
    """Ask AWS whether it accepts credentials now.

    Returns:
        The code with which it refuses them; empty when it accepts them; None without an answer.
    """
    try:
        client = botocore.session.Session().create_client(
            "sts",
            region_name=region,
            aws_access_key_id=frozen.access_key,
            aws_secret_access_key=frozen.secret_key,
            aws_session_token=frozen.token,
            config=botocore.config.Config(
                connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 1}
            ),
        )
        try:
            client.get_caller_identity()
        finally:
            client.close()
    except ClientError as error:
        return str(error.response.get("Error", {}).get("Code", "")) or "Unknown"
    except _FAILURES:
        return None
    return ""


def _reason(error: Exception, profile: str, command: str) -> str:
    """Return why there are no credentials: what a `credential_process` does, with its name."""
    # botocore keeps what it fills its messages with.
    kwargs = getattr(error, "kwargs", {}) if isinstance(error, CredentialRetrievalError) else {}
    own = kwargs.get("provider") == _PROCESS
    if not command or not (own or isinstance(error, _RAW)):
        return str(error)
    reason = kwargs.get("error_msg", "") if own else error
    return tr(
        "the credential_process of the profile {profile}, {command}: {reason}; expected a program "
        "that prints JSON with Version 1, AccessKeyId and SecretAccessKey, and for a session with "
        "SessionToken and Expiration (ISO 8601)",
        profile=profile,
        command=_program(command),
        reason=str(reason).strip() or tr("it failed, and said nothing"),
    )


def _program(command: str) -> str:
    """Return the program of a command; the rest of it may hold a secret."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return words[0] if words else command


def _has_terminal() -> bool:
    """Whether there is a terminal at which somebody can be asked, wherever the streams go."""
    if sys.platform == "win32":
        return sys.stdin is not None and sys.stdin.isatty()
    try:
        os.close(os.open(Path("/dev/tty"), os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the question, whatever else it does in a run: nothing runs yet."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
