"""A target is added through the documented seams, and nothing calls its leftovers clean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloudburst import load_job, run, targets
from cloudburst.cli import group
from cloudburst.doctor import examine
from cloudburst.errors import BadInput, TargetUnknown
from cloudburst.journal import registry
from cloudburst.media import inspect_video
from cloudburst.models import StackName
from cloudburst.recovery.audit import audit
from cloudburst.recovery.cleanup import choose, cleanup
from tests.support import hut
from tests.support.audits import known
from tests.support.inputs import scenes_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TWO_BATCHES = "distribution: {scenes_per_batch: 1, min_scenes_per_batch: 1}\n"


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(targets.REGISTRY, "hut", hut.Hut())
    yield
    for stack in list(hut.TABLE):
        hut.HutResources().sweep(stack)


@pytest.mark.stack
@pytest.mark.video
def test_a_job_runs_on_it(job_file: Callable[..., Path], tmp_path: Path) -> None:
    job = load_job(job_file(scenes_yaml(2, f"target: hut\n{TWO_BATCHES}")), output=tmp_path / "out")
    assert job.limits.health_timeout == 60.0
    report = run(job)
    assert report.target == "hut"
    assert report.left_running == ()
    for scene in report.scenes:
        assert scene.artifact is not None
        assert inspect_video(scene.artifact.path).sound_seconds == pytest.approx(1.0, abs=0.1)
    launches = [launch for batch in report.batches for launch in batch.launches]
    assert {(one.target, one.rung, one.destroyed) for one in launches} == {("hut", hut.RUNG, True)}
    assert report.cost.basis == "the laptops in the hut are ours"
    assert hut.TABLE == {}
    assert audit().exit_code == 0


@pytest.mark.stack
def test_what_a_dead_run_has_left_there_is_found_and_ended(tmp_path: Path) -> None:
    record = known(target="hut", folder=str(tmp_path))
    stack = str(StackName(record.run_id, 1))
    hut.start(stack, "key")
    registry.register(record)
    found = audit()
    assert found.exit_code == 4
    (left,) = found.orphaned
    assert (left.name, left.target) == (stack, "hut")
    done = cleanup(choose(found, None, orphans=False).runs)
    assert (done.removed, done.failed) == ((stack,), ())
    assert hut.TABLE == {}
    assert audit().exit_code == 0


@pytest.mark.stack
def test_it_is_asked_only_where_it_is_concerned() -> None:
    line = "the hut was not asked: no run of this machine was there"
    assert line in audit().asked
    assert line not in audit(asked=["hut"]).asked


def test_doctor_checks_it() -> None:
    assert "room for 1" in {check.text for check in examine("hut", None)}


@pytest.mark.stack
def test_an_unknown_target_is_an_error_and_never_another_one(
    job_file: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(TargetUnknown, match=r"local, aws, hut"):
        targets.get("shed")
    with pytest.raises(
        BadInput, match="target: got 'shed'; expected one of: 'local', 'aws', 'hut'"
    ):
        load_job(job_file(scenes_yaml(1, "target: shed\n")))
    registry.register(known(target="shed", folder=str(tmp_path)))
    found = audit()
    assert found.exit_code == 3, "what nobody can ask is not clean"
    assert any(line.startswith("target shed: ") for line in found.unseen)


def test_the_command_line_names_the_registered_targets() -> None:
    (option,) = [one for one in group.commands["doctor"].params if one.name == "target"]
    assert list(option.type.choices) == ["local", "aws"]  # type: ignore[attr-defined]
