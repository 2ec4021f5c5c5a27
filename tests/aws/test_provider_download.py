"""The doctor fetches the engine's AWS provider, so that no run waits for that."""

from __future__ import annotations

import os
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from cloudburst import doctor
from cloudburst.engine import plugins
from cloudburst.engine.toolchain import VERSION, PulumiCli
from cloudburst.models import Check, Finding
from cloudburst.paths import state_folder

if TYPE_CHECKING:
    from pathlib import Path

WANTED = version("pulumi-aws")
STUB = """#!/bin/bash
if [ "$1" = version ]; then echo v{version}; exit; fi
printf '%s\\n' "$*" "$PULUMI_HOME" >> "{calls}"
{body}
"""
INSTALLS = 'mkdir -p "$PULUMI_HOME/plugins/resource-aws-${7}"'


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the test cloud's provider, without credentials, and without a network."""
    for name in ("PULUMI_DEBUG_PROVIDERS", plugins.NO_DOWNLOADS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return tmp_path / "calls"


def stub(folder: Path, calls: Path, body: str) -> PulumiCli:
    binary = folder / "bin" / "pulumi"
    binary.parent.mkdir(exist_ok=True)
    binary.write_text(STUB.format(version=VERSION, calls=calls, body=body))
    binary.chmod(0o755)
    return PulumiCli(binary, VERSION, "a test")


@pytest.fixture
def on_path(tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a stub of the engine, which installs, first on PATH."""
    cli = stub(tmp_path, calls, INSTALLS)
    monkeypatch.setenv("PATH", f"{cli.binary.parent}{os.pathsep}{os.environ['PATH']}")


def provider() -> Check:
    from cloudburst.targets.aws.doctor import examine
    from cloudburst.targets.aws.settings import AwsSettings

    *_, last = examine(AwsSettings(regions=("us-east-1",)), 1)
    assert last.name == "provider"
    return last


@pytest.mark.usefixtures("state", "on_path")
def test_the_doctor_installs_the_pinned_provider_where_a_run_finds_it(calls: Path) -> None:
    found = provider()
    assert (found.finding, found.text) == (
        Finding.OK,
        f"pulumi-aws {WANTED} has been downloaded",
    )
    home = state_folder() / "pulumi-home"
    command = f"--non-interactive --color=never plugin install resource aws v{WANTED}"
    assert calls.read_text().splitlines() == [command, str(home)]
    assert (home / "plugins" / f"resource-aws-v{WANTED}").is_dir()

    again = provider()
    assert (again.finding, again.text) == (Finding.OK, f"pulumi-aws {WANTED} is installed")
    assert len(calls.read_text().splitlines()) == 2, "not downloaded again"


@pytest.mark.usefixtures("on_path")
def test_of_a_provider_of_which_a_part_is_there_the_rest_is_fetched(
    state: Path, calls: Path
) -> None:
    folder = state / "pulumi-home" / "plugins" / f"resource-aws-v{WANTED}"
    folder.mkdir(parents=True)
    folder.with_name(f"{folder.name}.partial").touch()
    assert provider().text == f"pulumi-aws {WANTED} has been downloaded"
    assert calls.exists()


@pytest.mark.usefixtures("state", "on_path")
@pytest.mark.parametrize("value", ["true", "1", "TRUE"])
def test_what_the_user_forbids_is_not_downloaded(
    calls: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(plugins.NO_DOWNLOADS, value)
    found = provider()
    assert found.finding is Finding.WARNING
    assert f"is not installed, and {plugins.NO_DOWNLOADS} forbids its download" in found.text
    assert f"pulumi plugin install resource aws v{WANTED}" in found.fix
    assert not calls.exists()


@pytest.mark.usefixtures("state", "on_path")
def test_a_provider_that_is_attached_is_not_downloaded(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_DEBUG_PROVIDERS", "aws:12345")
    found = provider()
    assert found.finding is Finding.OK
    assert found.text == f"pulumi-aws {WANTED}, attached by PULUMI_DEBUG_PROVIDERS"
    assert not calls.exists()


@pytest.mark.usefixtures("state")
def test_without_an_engine_none_is_made_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CLOUDBURST_CACHE", str(tmp_path / "cache"))
    found = provider()
    assert found.finding is Finding.WARNING
    assert "no engine yet" in found.text
    assert not (tmp_path / "cache" / "engine").exists()


def test_a_download_that_hangs_is_given_up(state: Path, tmp_path: Path, calls: Path) -> None:
    began = time.monotonic()
    reason = plugins.install(stub(tmp_path, calls, "exec sleep 30"), "aws", WANTED, state, 1.0)
    assert reason == "not finished within 1 s"
    assert time.monotonic() - began < 15
    assert plugins.DOWNLOAD_TIMEOUT <= 600


@pytest.mark.stack
@pytest.mark.usefixtures("state")
def test_offline_the_engines_own_reason_is_a_warning() -> None:
    """The real engine, behind a proxy that does not answer."""
    found = {check.name: check for check in doctor.examine("aws", None)}["provider"]
    assert found.finding is Finding.WARNING
    begin = f'downloading pulumi-aws {WANTED}: Get "https://get.pulumi.com/'
    assert found.text.startswith(begin)
    assert found.text.endswith("connection refused")
    assert "HTTPS_PROXY" in found.fix
    assert f"pulumi plugin install resource aws v{WANTED}" in found.fix
