"""Faults in any order, with runs, cleanups and resumes between: the promises hold at every step.

`python -m tests.chaos.faults` tries every fault alone and in pairs; this is a walk through a few.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cloudburst.models import SceneStatus
from tests.chaos.faults import World, catalogue, chosen

NAMES = sorted(catalogue())


class Faults(RuleBasedStateMachine):
    """A cloud that fails in ways that hypothesis chooses, and a job that somebody wants done."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="faults-"))
        self.world = World(self.folder).__enter__()
        self.ordered: list[str] = []
        self.runs = 0
        self.cleaned = True

    @precondition(lambda self: len(self.ordered) < 2)
    @rule(name=st.sampled_from(NAMES))
    def order(self, name: str) -> None:
        self.ordered.append(name)

    @precondition(lambda self: self.ordered and self.runs < 2)
    @rule()
    def run(self) -> None:
        orders = catalogue()
        self.world.run([orders[name] for name in self.ordered])
        self.ordered, self.cleaned = [], False
        self.runs += 1

    @precondition(lambda self: not self.cleaned)
    @rule()
    def clean(self) -> None:
        assert self.world.clean() == []
        self.cleaned = True

    @invariant()
    def every_scene_has_ended_in_one_way(self) -> None:
        for report in self.world.reports[-1:]:
            assert [scene.name for scene in report.scenes] == ["s01", "s02", "s03"]
            for scene in report.scenes:
                assert (scene.status is SceneStatus.DONE) == (scene.artifact is not None)
                assert scene.status is not SceneStatus.FAILED or scene.error

    def teardown(self) -> None:
        try:
            if self.runs:
                assert self.world.clean() == []
                assert self.world.finish() == []
        finally:
            self.world.__exit__(None, None, None)
            shutil.rmtree(self.folder, ignore_errors=True)


@pytest.mark.stack
@pytest.mark.video
@pytest.mark.timeout(600)
@pytest.mark.slow
def test_whatever_the_cloud_does_the_promises_hold() -> None:
    case = Faults.TestCase
    case.settings = settings(
        max_examples=3,
        stateful_step_count=5,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    case().runTest()


def test_every_fault_is_tried_alone_and_in_every_pair() -> None:
    count = len(NAMES)
    everything = chosen(1, None)
    assert len(everything) == count + count * (count - 1) // 2
    assert len(set(everything)) == len(everything)
    assert chosen(7, 10) == chosen(7, 10)
    assert len(chosen(7, 10)) == count + 10
