"""How sessions are renewed, when they end, and what is said of them."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.targets.aws.access import logins
from cloudburst.targets.aws.access.logins import Login, login_of, moment, note, sso_end

if TYPE_CHECKING:
    from datetime import tzinfo
    from pathlib import Path

CONFIG: dict[str, Any] = {
    "profiles": {
        "default": {"aws_access_key_id": "AKIA"},
        "dev": {"sso_session": "corp", "sso_account_id": "1", "sso_role_name": "r"},
        "old": {"sso_start_url": "https://corp.example", "sso_role_name": "r"},
        "deploy": {"role_arn": "arn:a", "source_profile": "dev"},
        "mfa": {"role_arn": "arn:b", "source_profile": "default", "mfa_serial": "arn:m"},
        "role": {"role_arn": "arn:c", "source_profile": "default"},
        "vault": {"credential_process": "vault"},
        "loop": {"role_arn": "arn:d", "source_profile": "loop"},
    }
}


@pytest.mark.parametrize(
    ("method", "temporary", "profile", "kind", "command", "awaited"),
    [
        ("env", False, "default", "", "", False),
        ("env", True, "default", "environment", "", False),
        ("explicit", True, "default", ".env", "", True),
        ("shared-credentials-file", False, "default", "", "", False),
        ("shared-credentials-file", True, "work", "file", "", True),
        ("sso", True, "dev", "sso", "aws sso login --profile dev", True),
        ("sso", True, "old", "sso", "aws sso login --profile old", True),
        ("assume-role", True, "deploy", "sso", "aws sso login --profile dev", True),
        ("assume-role", True, "mfa", "mfa", "aws sts get-caller-identity --profile mfa", True),
        ("assume-role", True, "role", "", "", True),
        ("assume-role", True, "loop", "", "", True),
        ("login", True, "default", "login", "aws login", True),
        ("custom-process", True, "vault", "process", "", True),
        ("iam-role", True, "default", "", "", True),
    ],
)
def test_how_a_session_is_renewed(
    method: str, temporary: bool, profile: str, kind: str, command: str, awaited: bool
) -> None:
    login = login_of(method, temporary=temporary, config=CONFIG, profile=profile)
    assert (login.kind, login.command, login.is_awaited) == (kind, command, awaited)
    assert bool(login.advice) == bool(kind)
    assert command in login.advice


def test_what_the_aws_cli_has_of_an_sso_login(tmp_path: Path) -> None:
    name = hashlib.sha1(b"corp").hexdigest()  # noqa: S324 - as the AWS CLI names its files
    file = tmp_path / f"{name}.json"
    assert sso_end("corp", tmp_path) is None
    file.write_text(json.dumps({"expiresAt": "2026-11-27T16:00:00Z"}))
    assert sso_end("corp", tmp_path) == moment("2026-11-27T16:00:00UTC") == 1795795200
    file.write_text(json.dumps({"expiresAt": "2026-11-27T16:00:00Z", "refreshToken": "r"}))
    assert sso_end("corp", tmp_path) is None, "it renews itself"
    for damaged in ("", "[]", "{}", '{"expiresAt": "tomorrow"}'):
        file.write_text(damaged)
        assert sso_end("corp", tmp_path) is None


def test_a_session_is_noted_only_if_it_ends_before_the_machines() -> None:
    login = Login("sso", "dev", "sso", "corp", temporary=True)
    now = time.time()
    assert note(login, None, now) == ""
    assert note(login, now + 60, now) == ""
    text = note(login, now - 60, now)
    assert "aws sso login --profile dev" in text
    assert time.strftime("%H:%M", time.localtime(now - 60)) in text
    assert "before the lease of the machines launched now" in text


def test_a_time_of_another_day_has_its_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases last up to a day: 09:00 may be tomorrow's."""

    class Noon(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Noon:
            return cls(2026, 11, 27, 12, 0, tzinfo=tz)

    monkeypatch.setattr(logins, "datetime", Noon)
    login = Login("sso", "dev", "sso", "corp", temporary=True)
    today = datetime(2026, 11, 27, 20, 30).timestamp()  # noqa: DTZ001 - local, as it is shown
    tomorrow = datetime(2026, 11, 28, 9, 0).timestamp()  # noqa: DTZ001
    text = note(login, today, tomorrow)
    assert "ends at 20:30:00 " in text
    assert "at the latest 2026-11-28 09:00:00 " in text
