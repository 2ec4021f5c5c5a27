"""A target is added through the documented seams, and nothing calls its leftovers clean."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cloudburst import Plan, load_job, plan, run, targets
from cloudburst.cli import group
from cloudburst.doctor import examine
from cloudburst.errors import BadInput, TargetUnknown
from cloudburst.journal import registry
from cloudburst.journal.store import read
from cloudburst.media import inspect_video
from cloudburst.models import StackName
from cloudburst.recovery.audit import audit
from cloudburst.recovery.cleanup import choose, cleanup
from cloudburst.runner import pipeline
from tests.support import hut
from tests.support.audits import known
from tests.support.inputs import scenes_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloudburst import Job

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
@pytest.mark.video
@pytest.mark.slow
def test_one_run_may_hold_batches_on_different_targets(
    job_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spread_over_both(job: Job) -> Plan:
        here, there = plan(job).batches
        return Plan(job, (here, replace(there, target="hut")))

    monkeypatch.setattr(pipeline, "plan", spread_over_both)
    job = load_job(job_file(scenes_yaml(2, TWO_BATCHES, ", effects: [zoom_in]")), output=tmp_path)
    report = run(job)
    assert report.done == 2
    launches = {launch.target: launch for batch in report.batches for launch in batch.launches}
    assert set(launches) == {"local", "hut"}
    assert all(launch.destroyed for launch in launches.values())
    assert launches["hut"].rung == hut.RUNG
    assert report.cost.worker_seconds == pytest.approx(
        sum(one.spans[-1].end - one.spans[0].start for one in launches.values() if one.worker)
    )
    state = read(report.directory)
    assert state is not None
    assert state.targets == {"local", "hut"}
    assert hut.TABLE == {}
    # Resumed, it looks on both and finds everything done.
    assert run(job, resume=report.directory).done == 2


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
    registered = [name for name in targets.names() if name != "hut"]
    assert list(option.type.choices) == registered  # type: ignore[attr-defined]
