"""Credentials of a session that expires, and what is said of those that cannot be had."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import ClientError, EndpointConnectionError

from cloudburst import environment
from cloudburst.errors import CloudRefused
from cloudburst.models import Finding, Verdict
from cloudburst.targets.aws import doctor, refusals
from cloudburst.targets.aws.access import credentials
from cloudburst.targets.aws.access.credentials import Credentials
from cloudburst.targets.aws.access.logins import Login
from cloudburst.targets.aws.ec2 import Aws
from cloudburst.targets.aws.settings import resolve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NO_ANSWER = EndpointConnectionError(endpoint_url="https://sts")


class Sts:
    """AWS's answers to who a caller is.

    Args:
        answer: a code; empty for an account; an exception for no answer.
    """

    def __init__(self) -> None:
        self.answer: str | Exception = "ExpiredToken"
        self.regions: list[str] = []
        self.keys: list[str] = []
        self.before: Callable[[], object] = lambda: None

    def create_client(self, service: str, **given: Any) -> Sts:
        assert service == "sts"
        self.regions.append(given["region_name"])
        self.keys.append(given["aws_access_key_id"])
        return self

    def get_caller_identity(self) -> None:
        self.before()
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer:
            raise ClientError({"Error": {"Code": self.answer}}, "GetCallerIdentity")

    def close(self) -> None:
        pass


class Files:
    """The AWS CLI's files and `.env`, of somebody whose profile is ``corp``."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config"
        self.keys = folder / "credentials"
        self.env = folder / ".env"

    def log_in(self, key: str = "ASIANEW") -> None:
        self.config.write_text("[profile corp]\n")
        self.keys.write_text(_keys(key))

    def process(self, command: str) -> None:
        self.keys.write_text("")
        self.config.write_text(f"[profile corp]\ncredential_process = {command}\n")


def _keys(key: str) -> str:
    return f"[corp]\naws_access_key_id = {key}\naws_secret_access_key = x\naws_session_token = t\n"


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Sts:
    made = Sts()
    monkeypatch.setattr(botocore.session.Session, "create_client", made.create_client)
    return made


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    made = Files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(made.keys))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(made.config))
    monkeypatch.setenv("AWS_PROFILE", "corp")
    monkeypatch.setattr(credentials, "RENEW_EVERY", 0.0)
    made.log_in("ASIAOLD")
    return made


def expired(region: str = "") -> Credentials:
    """Return credentials of which AWS has just said that they have expired."""
    made = Credentials(environment.additions, region)
    made.judge(refusals.of_code("ExpiredToken", "x"))
    return made


def key_of(made: Credentials) -> str:
    frozen = made.frozen()
    assert frozen is not None
    return frozen.access_key


# -- a login that is waited for -------------------------------------------------------------------

GLITCHES: dict[str, Callable[[Files], object]] = {
    "half-written": lambda files: files.keys.write_text("[corp]\naws_access_key_id = A\n"),
    "cut header": lambda files: files.keys.write_text("[corp\naws_acc"),
    "no text": lambda files: files.keys.write_bytes(b"[corp]\naws_access_key_id = \xff\xfe"),
    "no profile": lambda files: (files.keys.write_text(""), files.config.write_text("")),
    "no keys": lambda files: files.keys.write_text(""),
    "a process that asks": lambda files: files.process("/bin/echo please log in"),
    "a process that is missing": lambda files: files.process("/no/such/tool"),
    "half of .env": lambda files: files.env.write_text("AWS_ACCESS_KEY_ID=A\n"),
}


@pytest.mark.parametrize("glitch", GLITCHES.values(), ids=GLITCHES)
def test_whatever_is_found_instead_of_a_login_a_login_is_waited_for(
    files: Files, sts: Sts, glitch: Callable[[Files], object]
) -> None:
    made = expired()
    glitch(files)
    for _ in range(3):
        with pytest.raises(CloudRefused, match="so that the profile corp has new keys") as caught:
            made.frozen()
        assert caught.value.transient
        assert caught.value.refusal.login
        assert caught.value.refusal.verdict is Verdict.WAIT
    assert made.login == Login("shared-credentials-file", "corp", "file", temporary=True)
    files.env.unlink(missing_ok=True)
    files.log_in()
    sts.answer = ""
    assert key_of(made) == "ASIANEW"


def test_a_session_that_aws_does_not_accept_changes_nothing(files: Files, sts: Sts) -> None:
    """Neither what is advised, nor the region that the engine is given."""
    made = expired()
    files.process(f"{sys.executable} -c 'print(1)'")
    files.env.write_text("AWS_REGION=eu-west-1\n")
    with pytest.raises(CloudRefused, match="profile corp has new keys"):
        made.environment()
    assert made.login.kind == "file"
    files.log_in()
    with pytest.raises(CloudRefused):
        made.environment()
    sts.answer = ""
    assert made.environment()["AWS_REGION"] == "eu-west-1"


def test_a_login_is_asked_about_in_a_region_of_the_job(files: Files, sts: Sts) -> None:
    """Partitions know only their own sessions: us-east-1 refuses those of GovCloud and China."""
    sts.answer = ""
    assert key_of(expired("us-gov-west-1")) == "ASIAOLD"
    files.config.write_text("[profile corp]\nregion = cn-north-1\n")
    key_of(expired())
    key_of(expired("us-gov-west-1"))
    files.config.write_text("[profile corp]\n")
    key_of(expired())
    assert sts.regions == ["us-gov-west-1", "cn-north-1", "us-gov-west-1", "us-east-1"]


def test_without_an_answer_new_keys_are_used_and_old_ones_are_not(files: Files, sts: Sts) -> None:
    made = expired()
    sts.answer = NO_ANSWER
    with pytest.raises(CloudRefused, match="has expired"):
        made.frozen()
    files.log_in()
    assert key_of(made) == "ASIANEW"


@pytest.mark.usefixtures("files")
def test_nobody_queues_behind_somebody_who_looks_for_a_login(
    sts: Sts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "RENEW_EVERY", 60.0)
    made = expired()
    asked, answer = threading.Event(), threading.Event()
    sts.before = lambda: (asked.set(), answer.wait(20))

    def use() -> None:
        with pytest.raises(CloudRefused, match="has expired"):
            made.frozen()

    looking = threading.Thread(target=use)
    looking.start()
    assert asked.wait(20)
    began = time.monotonic()
    use()
    use()
    assert time.monotonic() - began < 5
    assert looking.is_alive()
    answer.set()
    looking.join()
    use()
    assert len(sts.keys) == 1


def test_the_pause_between_two_looks_begins_when_one_has_ended(
    files: Files, sts: Sts, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(credentials, "RENEW_EVERY", 2.0)
    monkeypatch.setattr(credentials.time, "monotonic", lambda: now[0])
    made = expired()

    def slow() -> None:
        now[0] += 5

    sts.before = slow
    for _ in range(3):
        with pytest.raises(CloudRefused):
            made.frozen()
    assert len(sts.keys) == 1
    now[0] += 2
    files.log_in()
    sts.answer = ""
    assert key_of(made) == "ASIANEW"


# -- what a code means ----------------------------------------------------------------------------


def of_machine(made: Credentials, monkeypatch: pytest.MonkeyPatch, end: float) -> None:
    """Let credentials be those of a machine's role, or of another that renews itself."""
    source = RefreshableCredentials(
        "ASIAROLE", "x", "t", datetime.fromtimestamp(end, UTC), dict, "iam-role"
    )
    login = Login("iam-role", temporary=True)
    monkeypatch.setattr(made, "_now", replace(made._now, source=source, login=login))


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("answer", ["", "SignatureDoesNotMatch", "RequestExpired", NO_ANSWER])
def test_a_wrong_clock_is_no_session_that_has_expired(
    sts: Sts, monkeypatch: pytest.MonkeyPatch, answer: str | Exception
) -> None:
    made = Credentials(dict)
    of_machine(made, monkeypatch, time.time() + 3600)
    sts.answer = answer
    plain = refusals.of_code("RequestExpired", "ec2: RequestExpired")
    assert made.judge(plain) == plain
    assert "this machine's clock is wrong" in plain.advice
    assert key_of(made) == "ASIAROLE", "and nothing is waited for"


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("code", "ends", "answer"),
    [
        ("RequestExpired", 3600, "ExpiredToken"),
        ("RequestExpired", -1, ""),
        ("ExpiredToken", 3600, ""),
    ],
)
def test_a_session_has_expired_when_its_end_or_aws_says_so(
    sts: Sts, monkeypatch: pytest.MonkeyPatch, code: str, ends: float, answer: str
) -> None:
    made = Credentials(dict)
    of_machine(made, monkeypatch, time.time() + ends)
    sts.answer = answer
    judged = made.judge(refusals.of_code(code, "x"))
    assert (judged.verdict, judged.login) == (Verdict.WAIT, True)


@pytest.mark.usefixtures("files")
def test_what_a_person_has_to_renew_may_be_over_while_nobody_answers(sts: Sts) -> None:
    """Waiting for a login that is not needed ends machines; giving up would not."""
    made = Credentials(dict)
    sts.answer = NO_ANSWER
    assert made.judge(refusals.of_code("RequestExpired", "x")).login


# -- a credential_process -------------------------------------------------------------------------

_EXPIRING = (
    '\'{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "hush", "SessionToken": "t", '
    '"Expiration": "%s"}\''
)
PROCESSES = {
    "missing": ("/no/such/tool --get", "/no/such/tool: [Errno 2] No such file"),
    "no program": (". --get", "."),
    "text": ("/bin/echo please log in", "/bin/echo: Expecting value"),
    "a list": ("/bin/echo []", "/bin/echo: 'list' object"),
    "an end that is none": (f"/bin/echo {_EXPIRING % 'soon'}", "/bin/echo: Unknown string format"),
    "a key that is missing": ("""/bin/echo '{"Version": 1}'""", "/bin/echo: Missing required key"),
    "says nothing": ("/bin/false", "/bin/false: it failed, and said nothing"),
    "words": ("/bin/sh -c 'echo no token >&2; exit 1'", "/bin/sh: no token"),
    "quotes": ("/bin/echo 'open", "/bin/echo: No closing quotation"),
}


@pytest.mark.parametrize(("command", "told"), PROCESSES.values(), ids=PROCESSES)
def test_a_process_that_gives_no_keys_is_named_with_its_profile(
    files: Files, command: str, told: str
) -> None:
    files.process(command)
    with pytest.raises(CloudRefused) as caught:
        Credentials(dict)
    text = str(caught.value)
    assert f"the credential_process of the profile corp, {told}" in text
    assert "expected a program that prints JSON" in text
    assert "hush" not in text
    assert caught.value.refusal.verdict is Verdict.STOP


def test_the_process_of_the_profile_that_a_role_is_assumed_with_is_named(files: Files) -> None:
    files.process("/no/such/tool")
    files.config.write_text(
        files.config.read_text().replace("corp", "base")
        + "[profile corp]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n"
    )
    with pytest.raises(CloudRefused, match="of the profile base, /no/such/tool: "):
        Credentials(dict)


def test_a_process_that_fails_while_a_run_waits_is_told_and_waited_for(
    files: Files, tmp_path: Path
) -> None:
    answer = tmp_path / "answer"
    later = time.strftime("%FT%TZ", time.gmtime(time.time() + 3600))
    answer.write_text((_EXPIRING % later).strip("'"))
    files.process(f"/bin/cat {answer}")
    made = Credentials(dict)
    source: Any = made._now.source
    source._expiry_time -= timedelta(hours=2)
    answer.write_text("please log in")
    with pytest.raises(CloudRefused, match="of the profile corp, /bin/cat: Expecting") as caught:
        made.frozen()
    assert caught.value.refusal.login


def test_who_has_no_credentials_is_told_how_to_give_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    advice = str(refusals.NO_CREDENTIALS)
    with pytest.raises(CloudRefused, match="Unable to locate credentials") as caught:
        Aws(Credentials(dict)).account()
    assert str(caught.value).endswith(f"({advice})")
    # The doctor says it in a line of its own, and once.
    check = next(doctor.examine(resolve(None, environment.environment()), 1))
    assert (check.name, check.finding, check.fix) == ("credentials", Finding.ERROR, advice)
    assert check.text.endswith("Unable to locate credentials")
