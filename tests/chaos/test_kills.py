"""A sample of the crash harness: SIGKILL at chosen points, and everything is as it must be.

``python -m tests.chaos`` kills at many more of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.kills import Task, play_alone

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.stack, pytest.mark.video]


@pytest.mark.parametrize(
    ("target", "task"),
    [
        pytest.param(
            "local",
            "run|cleanup at once|journal begin before#1",
            id="before-the-journal-says-anything",
        ),
        pytest.param("local", "run|resume at once|pulumi up#1+0.3", id="while-a-stack-comes-up"),
        pytest.param("local", "run|resume|journal video before#1", id="between-rename-and-note"),
        pytest.param(
            "local", "run|cleanup|journal ended before#2", id="when-all-is-gone-and-not-noted"
        ),
        pytest.param(
            "local",
            "run|power cut, cleanup at once|send body#2+0.1",
            id="power-cut-while-rendering",
        ),
        pytest.param("aws", "run|cleanup|journal attempt after#1", id="aws-while-rendering"),
        pytest.param("aws", "run|resume at once|journal rental after#2+0.4", id="aws-in-a-create"),
        pytest.param("local", "cleanup|at once|pulumi destroy#1+0.2", id="a-cleanup"),
    ],
)
@pytest.mark.slow
def test_a_kill_leaves_loses_and_hides_nothing(tmp_path: Path, target: str, task: str) -> None:
    result = play_alone(Task.of(target, task), tmp_path / "bench")
    assert result.findings == ()
    assert result.met, "it ended before it came to the point"
