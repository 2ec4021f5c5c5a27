"""One chain of credentials for everything that calls AWS: boto3 here, and the engine's provider.

botocore resolves them once: the environment, `.env`, profiles with keys, roles, MFA and SSO,
`credential_process`, a machine's role. The engine gets what they are at the moment, before each of
its operations, in its process's environment. They are never written anywhere.
"""

from __future__ import annotations

import getpass
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.config
import botocore.credentials
import botocore.session
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.parsers import ResponseParserError
from botocore.utils import JSONFileCache

from cloudburst.errors import CloudRefused
from cloudburst.language import tr
from cloudburst.models import Refusal, Verdict
from cloudburst.targets.aws import refusals
from cloudburst.targets.aws.access.logins import ROLE_CACHE, Login, login_of, moment, sso_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botocore.credentials import ReadOnlyCredentials

# Seconds: how often an expired session is looked at anew, whoever asks.
RENEW_EVERY = 2.0
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
# Other sources of credentials: the engine's provider takes keys from its environment, and would
# rather take a profile. Empty: unset.
_OTHERS = dict.fromkeys(("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SECURITY_TOKEN"), "")
# A RuntimeError: of credentials that were refreshed, and are those that have expired.
_FAILURES = (BotoCoreError, ClientError, ResponseParserError, RuntimeError)
_PROMPT = "Enter MFA code for "  # what botocore asks


class Credentials:
    """The credentials of one caller. Every method may be called from any thread.

    Args:
        additions: returns the ``AWS_…`` variables that the environment lacks, see
            `cloudburst.environment`; called again when a session has expired.

    Raises:
        CloudRefused: there are some, but they cannot be used: nobody can be asked for the code of
            an MFA device, or a session has expired.
        BadInput: `.env` cannot be read.
    """

    def __init__(self, additions: Callable[[], Mapping[str, str]]) -> None:
        self._additions = additions
        self._lock = threading.RLock()
        self._may_ask = True
        self._expired = False
        self._looked = 0.0
        self._regions: dict[str, str] = {}
        self._login = Login("")
        self._last: ReadOnlyCredentials | None = None
        self._source, self.session = self._resolved()
        self.frozen()
        self._may_ask = False

    def _resolved(self) -> tuple[botocore.credentials.Credentials | None, boto3.Session]:
        """Find credentials; return them, and a session whose clients always use the current ones.

        Raises:
            CloudRefused: they cannot be found, such as those of a profile that does not exist.
        """
        given = self._additions()
        self._regions = {name: given[name] for name in _REGIONS if name in given}
        try:
            core, outer = (botocore.session.Session(profile=given.get("AWS_PROFILE")) for _ in "12")
            source = self._found(core, given)
            # What the source is of, before anything of it may fail.
            self._login = login_of(
                source.method if source else "",
                temporary=_is_temporary(source),
                config=core.full_config,
                profile=str(core.get_config_variable("profile") or "default"),
            )
        except BotoCoreError as error:
            message = tr("finding credentials: {reason}", reason=error)
            raise CloudRefused(message, Refusal(verdict=Verdict.STOP)) from error
        if source is not None:
            outer.register_component("credential_provider", _Current(self))
        return source, boto3.Session(botocore_session=outer)

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
        return self._login

    @property
    def ends(self) -> float | None:
        """When the session ends unless somebody logs in, seconds since 1970.

        None where it does not end, renews itself, or does not say.
        """
        if self._login.kind == "sso":
            return sso_end(self._login.session)
        if self._login.kind in ("mfa", "environment", ".env", "file"):
            return _end(self._source)
        return None

    def environment(self) -> dict[str, str]:
        """Return the variables with which the engine's provider uses the current credentials.

        An empty one is to be unset.

        Raises:
            CloudRefused: their session has expired.
        """
        frozen = self.frozen()
        if frozen is None:
            return dict(self._regions)
        return {
            **self._regions,
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
        with self._lock:
            if self._expired:
                self._renew()
            if self._source is None:
                return None
            try:
                self._last = self._source.get_frozen_credentials()
            except _FAILURES as error:
                end = _end(self._source)
                if self._last is not None and end is not None and end > time.time():
                    return self._last  # refreshed too early to matter
                raise self._refused(error) from error
            return self._last

    # -- expired ------------------------------------------------------------------------------

    def judge(self, refusal: Refusal) -> Refusal:
        """Return what a refusal means with these credentials; note when it says they expired.

        A session that a person can renew while this process runs is worth waiting for.
        """
        if refusal.code not in refusals.EXPIRED or not self._login.temporary:
            return refusal
        with self._lock:
            if not self._expired:
                self._expired, self._looked = True, 0.0
        return self._over(refusal.code)

    def _over(self, code: str | None) -> Refusal:
        waited = self._login.is_awaited
        return Refusal(
            code,
            Verdict.WAIT if waited else Verdict.STOP,
            transient=waited,
            advice=self._login.advice,
            login=waited,
        )

    def _renew(self) -> None:
        """Look whether somebody has logged in.

        Raises:
            CloudRefused: nobody has, yet.
        """
        if time.monotonic() - self._looked >= RENEW_EVERY:
            self._looked = time.monotonic()
            source, session = self._resolved()
            if source is not None and _is_accepted(source, session.region_name):
                self._source, self._last, self._expired = source, None, False
                return
        raise CloudRefused(
            self._text(tr("the AWS session has expired")), self._over("ExpiredToken")
        )

    def _refused(self, error: Exception) -> CloudRefused:
        """Return why credentials could not be refreshed."""
        text = tr("getting credentials: {reason}", reason=error)
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
            refusal = Refusal("ExpiredToken", Verdict.STOP, advice=self._login.advice)
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
                    profile=self._login.profile or "default",
                    serial=serial,
                    command=Login("", self._login.profile, "mfa").command,
                )
            )
        with _interruptible():
            try:
                code = getpass.getpass(tr("Code of the MFA device {serial}: ", serial=serial))
            except EOFError:
                raise _NobodyAskedError(reason=tr("no code was given")) from None
        return code.strip()


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


def _is_accepted(source: botocore.credentials.Credentials, region: str | None) -> bool:
    """Whether AWS accepts credentials now."""
    try:
        frozen = source.get_frozen_credentials()
        client = botocore.session.Session().create_client(
            "sts",
            region_name=region or "us-east-1",
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
    except _FAILURES:
        return False
    return True


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
