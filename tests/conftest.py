"""Fixtures for all tests. No test touches the user's state; the engine's cache is shared."""

from __future__ import annotations

import gc
import os
import signal
from typing import TYPE_CHECKING

import hypothesis
import pytest

from cloudburst import language
from tests.support.inputs import SRT, write_picture, write_sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Machines are shared and noisy: how long an example takes says nothing.
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")
# Modules and tests stay until the end. Looking through them for garbage again and again took half
# the time of the collection and a tenth of that of the tests.
gc.disable()
# Beyond them the memory of engines and renderers counts, and there is little left to win.
MOST_WORKERS = 12


def pytest_configure() -> None:
    """Handle signals as in a terminal, even under nohup or as a shell's background job.

    There SIGHUP and SIGINT are ignored, and every process that a test starts would inherit that.
    """
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_xdist_auto_num_workers() -> int:
    """Return twice the cores: tests wait for machines and timers a third of their time."""
    return min(2 * (os.cpu_count() or 1), MOST_WORKERS)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("live")
    group.addoption("--live", action="store_true", help="rent machines on the AWS account")
    group.addoption("--max-usd", type=float, default=0.5, help="most that one test may cost")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Unit tests first: they fail quickly. They also have to be: after an `up` that has failed in
    # this process, a program on Pulumi's own mocks (test_aws_stack.py) waits for ever in the SDK.
    items.sort(key=lambda item: "unit" not in item.path.parts)
    if not config.getoption("live"):
        skip = pytest.mark.skip(reason="rents machines on a real AWS account; --live runs it")
        for item in items:
            if item.get_closest_marker("live"):
                item.add_marker(skip)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restore the signal handlers that a test changes, such as by running a command in-process.

    Commands end with SIGINT ignored, and the programs that later tests start would inherit that.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """Give every test a state folder of its own, and none of the user's settings."""
    folder = tmp_path / "state"
    monkeypatch.setenv("CLOUDBURST_STATE", str(folder))
    monkeypatch.setenv(language.VARIABLE, language.ENGLISH)  # whatever the developer's locale is
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in (
        "RESULTS_DIR",
        "CLOUDBURST_CONFIG",
        "CLOUDBURST_HOOK_SECRET",
        "CLOUDBURST_MAX_COST_USD",
        "CLOUDBURST_MAX_COST_USD_MONTH",
        "CLOUDBURST_PROFILE",
        "CLOUDBURST_TARGET",
        "PULUMI_BACKEND_URL",
        "PULUMI_CONFIG_PASSPHRASE",
        "PULUMI_HOME",
    ):
        monkeypatch.delenv(name, raising=False)
    if not request.node.get_closest_marker("live"):
        for name in [name for name in os.environ if name.startswith(("AWS_", "DOCKER_IMAGE"))]:
            monkeypatch.delenv(name)
    return folder


@pytest.fixture
def chinese(state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # noqa: ARG001 - first
    """Set the language to Chinese, in this process and in those that it starts."""
    monkeypatch.setenv(language.VARIABLE, language.CHINESE)
    language.language.cache_clear()
    yield
    language.language.cache_clear()


@pytest.fixture
def job_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a scenes.yaml beside one picture, one sound and one SRT file."""

    def write(text: str, name: str = "scenes.yaml") -> Path:
        folder = tmp_path / "job"
        if not folder.exists():
            write_picture(folder / "p.png")
            write_sound(folder / "a.wav")
            (folder / "s.srt").write_text(SRT)
        path = folder / name
        path.write_text(text)
        return path

    return write
