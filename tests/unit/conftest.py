"""Fixtures for unit tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.job.loader import load_job
from cloudburst.videoapi.typefaces import fonts
from tests.support import fakes
from tests.support.agents import AgentProcess
from tests.support.fakes import Whole
from tests.support.inputs import scenes_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def journals() -> Iterator[None]:
    """Let go of the journals that a test has held."""
    yield
    while fakes.HELD:
        fakes.HELD.pop().__exit__(None, None, None)


@pytest.fixture
def packages_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the packaged fonts be the only ones there are."""
    monkeypatch.setattr(fonts, "_INSTALLED", ())
    monkeypatch.delenv("CLOUDBURST_FONTS", raising=False)
    fonts._search.cache_clear()


@pytest.fixture
def whole(job_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Whole:
    text = scenes_yaml(3, "limits: {attempts: 1}\n")
    return Whole(load_job(job_file(text), output=tmp_path / "out"), monkeypatch)


@pytest.fixture
def start_agent(tmp_path: Path) -> Iterator[Callable[..., AgentProcess]]:
    """Start an agent whose `docker` and containers do what a test orders."""
    made: list[AgentProcess] = []

    def start(orders: dict[str, Any] | None = None, **settings: Any) -> AgentProcess:
        made.append(AgentProcess(tmp_path / f"machine-{len(made)}", orders, **settings))
        made[-1].start()
        return made[-1]

    yield start
    for agent in made:
        agent.close()
