"""Sessions that expire: a login is waited for, and nothing is given up silently."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import BotoCoreError

from cloudburst import EventKind, preview
from cloudburst.errors import CloudRefused, LeftRunning
from cloudburst.models import Outcome, Verdict, WorkerState
from cloudburst.paths import cache_folder
from cloudburst.runner.ending import teardown
from cloudburst.targets.aws.access.credentials import Credentials
from testcloud.faults import Fault
from tests.support.aws import ONE_ZONE, Watch, assert_cloud_empty, aws_job, run_watched
from tests.support.runs import command

if TYPE_CHECKING:
    from collections.abc import Callable

    from testcloud.cloud import Cloud

pytestmark = [pytest.mark.stack]

CLOUDBURST = Path(sys.executable).with_name("cloudburst")
RUN = Path(sys.executable).with_name("cloudburst-run")

OLD, NEW = "ASIAOLDOLDOLDOLDOLDO", "ASIANEWNEWNEWNEWNEWN"
# What a login writes; it must not be found anywhere else.
SECRET, TOKEN = "wJalrXUtnFEMI-not-to-be-kept", "IQoJb3JpZ2luX2Vj-not-to-be-kept"


class Account:
    """A profile whose keys a login tool writes into the AWS CLI's file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def log_in(self, key: str) -> None:
        """Write the keys of a new session, as such tools do."""
        self.file.write_text(
            f"[work]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n"
            f"aws_session_token = {TOKEN}\n"
        )


@pytest.fixture
def account(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:  # noqa: ARG001 - first
    """Use a profile with a session instead of keys in the environment."""
    made = Account(tmp_path / "credentials")
    made.log_in(OLD)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(made.file))
    monkeypatch.setenv("AWS_PROFILE", "work")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    return made


def waiting(watch: Watch) -> list[str]:
    """Return what a run has said while it waited for a login."""
    return [event.text for event in watch.events if "waiting for a login" in event.text]


@pytest.mark.video
def test_the_engine_and_the_run_use_the_same_credentials_and_keep_them_nowhere(
    cloud: Cloud, account: Account, job_file: Callable[..., Path], state: Path
) -> None:
    report, _ = run_watched(aws_job(job_file, 1, ONE_ZONE))
    assert report.outcome is Outcome.COMPLETE
    assert {call.key for call in cloud.calls if call.caller == "provider"} == {OLD}
    assert {call.key for call in cloud.calls if call.caller == "runner"} == {OLD}
    folders = [state, report.directory]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        assert SECRET.encode() not in content, path
        assert TOKEN.encode() not in content, path
    assert account.file.read_text().count(TOKEN) == 1


@pytest.mark.video
@pytest.mark.slow
def test_a_session_that_expires_while_a_worker_renders_is_renewed_by_a_login(
    cloud: Cloud, account: Account, job_file: Callable[..., Path], state: Path
) -> None:
    watch = Watch()
    watch.when(lambda event: event.kind is EventKind.SCENE_STARTED, lambda: cloud.expire(OLD))
    watch.when(lambda event: "waiting for a login" in event.text, lambda: account.log_in(NEW))
    report, _ = run_watched(aws_job(job_file, 1, ONE_ZONE), watch)
    assert report.outcome is Outcome.COMPLETE
    assert report.left_running == ()
    (line,) = waiting(watch)
    assert "so that the profile work has new keys" in line
    assert cloud.running() == []
    used = [call.key for call in cloud.calls if call.caller == "provider" and not call.error]
    assert used[-1] == NEW
    assert_cloud_empty(cloud, state)


@pytest.mark.video
@pytest.mark.slow
@pytest.mark.parametrize("lost", [False, True])
def test_a_launch_whose_session_expired_after_it_had_taken_effect_leaves_nothing(
    cloud: Cloud, account: Account, job_file: Callable[..., Path], state: Path, lost: bool
) -> None:
    """RunInstances is carried out; its answer is that the session has expired, or is lost."""
    watch = Watch()

    def expire() -> None:
        cloud.expire(OLD)

    cloud.faults.add(
        Fault("RunInstances", "" if lost else "ExpiredToken", after=True, drop=lost, times=1)
    )
    watch.when(lambda event: event.data.get("state") == WorkerState.DESTROYING, expire)
    watch.when(lambda event: "waiting for a login" in event.text, lambda: account.log_in(NEW))
    report, _ = run_watched(aws_job(job_file, 1, ONE_ZONE), watch)
    assert report.outcome is Outcome.COMPLETE
    assert cloud.running() == []
    assert_cloud_empty(cloud, state)


@pytest.mark.video
@pytest.mark.slow
def test_a_session_that_nobody_renews_leaves_its_machine_named_until_a_cleanup(
    cloud: Cloud,
    account: Account,
    job_file: Callable[..., Path],
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(teardown, "LOGIN_PATIENCE", 4.0)
    watch = Watch()
    watch.when(lambda event: event.kind is EventKind.SCENE_STARTED, lambda: cloud.expire(OLD))
    with pytest.raises(LeftRunning) as caught:
        run_watched(aws_job(job_file, 1, ONE_ZONE), watch)
    (machine,) = cloud.running()
    assert caught.value.report.done == 1, "the video is here all the same"
    text = str(caught.value)
    assert "the AWS session has expired (log in again, so that the profile work" in text
    assert f"aws ec2 terminate-instances --region us-east-1 --instance-ids {machine.id}" in text
    ends = time.strftime("%H:%M", time.localtime(_expires(machine.tags)))
    assert f"it ends itself at {ends}" in text
    assert len(waiting(watch)) == 1
    with subprocess.Popen(
        [str(CLOUDBURST), "cleanup", "--all", "--yes", "--target", "aws"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as cleaning:
        assert cleaning.stdout is not None
        assert any("waiting for a login" in line for line in cleaning.stdout)
        account.log_in(NEW)
        assert "waiting for a login" not in cleaning.stdout.read(), "it is said once"
    assert cloud.running() == []
    done = command("cleanup", "--all", "--yes", "--target", "aws")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_cloud_empty(cloud, state)


def _expires(tags: dict[str, str]) -> float:
    from datetime import datetime

    return datetime.fromisoformat(tags["cloudburst:expires-at"]).timestamp()


def test_keys_of_the_environment_are_not_waited_for(
    cloud: Cloud, job_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process keeps its environment: no login helps it, and that is said."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OLD)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    cloud.expire(OLD)
    began = time.monotonic()
    with pytest.raises(CloudRefused, match="a command that runs keeps those") as caught:
        preview(aws_job(job_file, 1, ONE_ZONE))
    assert caught.value.refusal.verdict is Verdict.STOP
    assert not caught.value.transient
    assert time.monotonic() - began < 30


def test_a_session_that_ends_before_the_machines_do_is_told_beforehand(
    cloud: Cloud,  # noqa: ARG001 - first
    job_file: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    ends = time.time() + 1500
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", time.strftime("%FT%TZ", time.gmtime(ends)))
    clock = time.strftime("%H:%M", time.localtime(ends))
    (note,) = preview(aws_job(job_file, 1, ONE_ZONE)).notes
    assert note.startswith("the AWS session ends at ")
    assert clock in note.partition(", before the lease ")[0]
    longer = time.time() + 6 * 3600
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", time.strftime("%FT%TZ", time.gmtime(longer)))
    assert preview(aws_job(job_file, 1, ONE_ZONE)).notes == ()


# -- roles and their MFA devices ------------------------------------------------------------------

SERIAL = "arn:aws:iam::123456789012:mfa/somebody"


@pytest.fixture
def role(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a profile whose role asks for the code of an MFA device; return its home folder."""
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".aws/config").write_text(
        "[profile base]\naws_access_key_id = AKIAADMINISTRATOREXA\naws_secret_access_key = x\n"
        f"[profile admin]\nrole_arn = arn:aws:iam::123456789012:role/admin\n"
        f"source_profile = base\nmfa_serial = {SERIAL}\n"
    )
    monkeypatch.setenv("CLOUDBURST_CACHE", str(cache_folder()))  # it has the engine
    for name, value in {"HOME": str(home), "AWS_PROFILE": "admin"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / ".aws/config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert cloud.calls == []
    return home


def test_without_a_terminal_a_role_that_asks_for_a_code_is_refused_clearly(
    role: Path,  # noqa: ARG001 - first
    cloud: Cloud,
    job_file: Callable[..., Path],
) -> None:
    path = aws_job(job_file, 1, ONE_ZONE).source
    done = subprocess.run(
        [str(RUN), str(path), "--dry-run"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # no controlling terminal
    )
    assert done.returncode == 3
    assert f"asks for the code of the MFA device {SERIAL}" in done.stderr
    assert "aws sts get-caller-identity --profile admin" in done.stderr
    assert "Traceback" not in done.stderr
    assert cloud.calls == []


@pytest.mark.slow
def test_at_a_terminal_the_code_is_asked_for_once(
    role: Path, cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path
) -> None:
    """The code is not shown, the role is assumed once, and the engine has the role's keys."""
    import pty

    path = aws_job(job_file, 1, ONE_ZONE).source
    run = str(RUN)
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - another process
        os.execv(run, [run, str(path), "--output", str(tmp_path / "out")])  # noqa: S606
    shown = b""
    answered = False
    try:
        while True:
            shown += os.read(terminal, 4096)
            if b"Code of the MFA device" in shown and not answered:
                answered = True
                os.write(terminal, b"654321\n")
    except OSError:
        pass
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, shown.decode(errors="replace")
    assert shown.count(b"Code of the MFA device") == 1
    assert b"654321" not in shown
    assumed = [call for call in cloud.calls if call.action == "AssumeRole"]
    assert len(assumed) == 1
    provider = {call.key for call in cloud.calls if call.caller == "provider"}
    assert len(provider) == 1
    assert not provider & {"AKIAADMINISTRATOREXA", "provider"}
    assert not list(role.rglob("*.json")), "what a role gives is written nowhere"


def test_a_role_that_the_aws_cli_has_assumed_asks_nobody(
    role: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`aws sts get-caller-identity` in another terminal is a login for a run that goes on."""
    import hashlib

    from cloudburst.targets.aws.access import credentials

    arguments = {
        "RoleArn": "arn:aws:iam::123456789012:role/admin",
        "SerialNumber": SERIAL,
    }
    name = hashlib.sha1(json.dumps(arguments, sort_keys=True).encode()).hexdigest()  # noqa: S324
    cache = role / ".aws/cli/cache"
    cache.mkdir(parents=True)
    expires = time.strftime("%FT%TUTC", time.gmtime(time.time() + 3600))
    (cache / f"{name}.json").write_text(
        json.dumps(
            {
                "Credentials": {
                    "AccessKeyId": NEW,
                    "SecretAccessKey": SECRET,
                    "SessionToken": TOKEN,
                    "Expiration": expires,
                }
            }
        )
    )
    monkeypatch.setattr(credentials, "_ROLES", credentials._Roles())
    made = Credentials(dict)
    frozen = made.frozen()
    assert frozen is not None
    assert frozen.access_key == NEW
    assert made.ends == pytest.approx(time.time() + 3600, abs=10)
    assert cloud.calls == []
    # While machines run nobody may be asked, even at a terminal: an answer may take for ever.
    monkeypatch.setattr(credentials, "_has_terminal", lambda: True)
    monkeypatch.setattr(credentials.getpass, "getpass", lambda _: "000000")
    with pytest.raises(BotoCoreError, match="would be needed again"):
        made._ask(f"Enter MFA code for {SERIAL}: ")
