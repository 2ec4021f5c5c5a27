"""What a child process that works in another folder needs of this one's surroundings."""

from __future__ import annotations

import os
import pwd
import tempfile
from typing import TYPE_CHECKING

import pytest

from cloudburst import paths, surroundings
from cloudburst.errors import InfrastructureError

if TYPE_CHECKING:
    from pathlib import Path

TMP = "/tmp"  # noqa: S108 - where others look
HERE = {"USER": "me", "HOME": "/home/me"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", TMP)
    return tmp_path


def test_nothing_is_changed_without_need(here: Path) -> None:
    whole = {**HERE, "PULUMI_HOME": "/p", "TMPDIR": TMP, "no_proxy": "x"}
    assert surroundings.variables(whole, here) == {}


def test_relative_paths_start_at_the_users_folder(here: Path) -> None:
    given = {
        **HERE,
        "AWS_CONFIG_FILE": "aws/config",
        "CLOUDBURST_STATE": "~/cb",
        "PULUMI_HOME": ".",
    }
    assert surroundings.variables(given, here) == {
        "AWS_CONFIG_FILE": str(here / "aws/config"),
        "CLOUDBURST_STATE": str(here / "home/cb"),
        "PULUMI_HOME": str(here),
    }


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "all_proxy", "grpc_proxy"])
@pytest.mark.parametrize(
    ("given", "lower", "upper"),
    [
        ({}, "localhost,127.0.0.1,::1", "localhost,127.0.0.1,::1"),
        ({"no_proxy": "localhost, .corp"}, "localhost,.corp,127.0.0.1,::1", None),
        ({"NO_PROXY": "10.0.0.0/8"}, "10.0.0.0/8,localhost,127.0.0.1,::1", None),
        (
            {"no_proxy": "a", "NO_PROXY": "b"},
            "a,localhost,127.0.0.1,::1",
            "b,localhost,127.0.0.1,::1",
        ),
        ({"no_proxy": "*"}, "*", "*"),
    ],
)
def test_this_machine_is_never_proxied_and_the_users_hosts_stay(
    here: Path, name: str, given: dict[str, str], lower: str, upper: str | None
) -> None:
    found = surroundings.variables({**HERE, name: "http://127.0.0.1:9", **given}, here)
    assert found == {"no_proxy": lower, "NO_PROXY": upper or lower}


def test_a_user_whom_the_system_does_not_know(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")

    def unknown(_: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    found = surroundings.variables({}, here)
    assert found == {"USER": f"uid-{os.getuid()}", "HOME": str(here)}
    monkeypatch.delenv("CLOUDBURST_STATE", raising=False)
    for variable in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InfrastructureError, match="set HOME, or CLOUDBURST_STATE"):
        paths.state_folder()
    assert not (here / "~").exists()


def test_a_relative_xdg_folder_is_ignored(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDBURST_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert paths.state_folder() == here / "home/.local/state/cloudburst"
    monkeypatch.setenv("XDG_STATE_HOME", str(here / "xdg"))
    assert paths.state_folder() == here / "xdg/cloudburst"


@pytest.mark.parametrize(
    ("variable", "text"), [("CLOUDBURST_STATE", "~/cb"), ("CLOUDBURST_CACHE", "$HOME/cb")]
)
def test_the_home_folder_in_our_own_variables(
    here: Path, monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    folder = paths.state_folder() if variable == "CLOUDBURST_STATE" else paths.cache_folder()
    assert folder == here / "home/cb"
    monkeypatch.setenv(variable, "$NOWHERE/cb")
    with pytest.raises(InfrastructureError, match=r"\$NOWHERE is not replaced here"):
        paths.state_folder() if variable == "CLOUDBURST_STATE" else paths.cache_folder()


def test_temporary_files_where_the_named_folder_is_of_no_use(here: Path) -> None:
    assert surroundings.variables({**HERE, "TMPDIR": "/no/such"}, here) == {"TMPDIR": TMP}


def test_no_place_for_temporary_files(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(InfrastructureError, match="set TMPDIR"):
        surroundings.variables(HERE, here)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file://.", "file://{here}"),
        ("file://./state", "file://{here}/state"),
        ("file://state?no_tmp_dir=true", "file://{here}/state?no_tmp_dir=true"),
        ("file://~", "file://{here}/home"),
        ("file://~/a%20b", "file://{here}/home/a%20b"),
        ("file://{here}/state", "file://{here}/state"),
        ("s3://bucket/x?region=eu", "s3://bucket/x?region=eu"),
        ("https://api.pulumi.com", "https://api.pulumi.com"),
    ],
)
def test_a_backend_has_a_whole_path(here: Path, url: str, expected: str) -> None:
    for folder in ("state", "home/a b"):
        (here / folder).mkdir(parents=True)
    assert surroundings.backend_url(url.format(here=here)) == expected.format(here=here)


def test_the_folder_here_may_have_any_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "100% ж").mkdir()
    monkeypatch.chdir(here / "100% ж")
    assert surroundings.backend_url("file://.") == (here / "100% ж").as_uri()


@pytest.mark.usefixtures("here")
def test_a_backend_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InfrastructureError, match=r"file://\./no: the folder .*/no does not exist"):
        surroundings.backend_url("file://./no")


def test_a_passphrase_file_that_cannot_be_read(here: Path) -> None:
    given = {"PULUMI_CONFIG_PASSPHRASE_FILE": "./no"}
    with pytest.raises(InfrastructureError, match=r"PASSPHRASE_FILE=\./no: .* cannot be read"):
        surroundings.check_passphrase(given)
    surroundings.check_passphrase({**given, "PULUMI_CONFIG_PASSPHRASE": ""})
    (here / "no").write_text("x")
    surroundings.check_passphrase(given)
