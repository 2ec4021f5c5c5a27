"""Whole runs on the aws target: real engine, real user-data, real workers, a bill."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from cloudburst import EventKind, load_job, media, preview
from cloudburst.engine.engine import Engine
from cloudburst.errors import BadInput
from cloudburst.models import Basis, Outcome
from cloudburst.runner.offers import offers
from cloudburst_stacks import payload
from tests.support.aws import (
    ONE_ZONE,
    Watch,
    assert_cloud_empty,
    aws_job,
    launches,
    machine_cost,
    run_watched,
)
from tests.support.inputs import EXAMPLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst.models import PlannedResource
    from testcloud.cloud import Cloud

pytestmark = [pytest.mark.stack, pytest.mark.video]

TWO_BATCHES = "distribution: {scenes_per_batch: 2, min_scenes_per_batch: 1}\n"


@pytest.mark.slow
def test_the_example_becomes_six_videos_on_two_machines_that_are_billed_to_the_second(
    cloud: Cloud, tmp_path: Path, state: Path
) -> None:
    job = load_job(EXAMPLE, output=tmp_path / "out", target="aws")
    report, _ = run_watched(job)
    assert report.outcome is Outcome.COMPLETE
    for scene in job.scenes:
        video = media.inspect_video(report.directory / f"{scene.name}.mp4")
        assert abs(video.seconds - scene.seconds) <= 0.1
    assert [launch.error for launch in launches(report)] == [None, None]
    assert {launch.worker for launch in launches(report)} == {m.id for m in cloud.machines}
    for launch in launches(report):
        up, *_, destroy = launch.spans
        first = launch.renewals[0]
        assert up.end <= first.at <= destroy.start, "the machine has answered"
        assert 590 < first.until - first.at <= 600
    assert_cloud_empty(cloud, state)

    lines = {line.machine: line for line in report.cost.lines if line.kind == "machine"}
    for bill in cloud.bills():
        line = lines[bill.machine]
        assert (line.rate, line.basis) == (bill.usd_per_hour, Basis.LIST)
        # From launch to its end: never less than AWS bills, hardly more.
        assert 0 <= round(line.quantity * 3600) - bill.seconds <= 3
        assert line.quantity * 3600 == pytest.approx(math.ceil(line.quantity * 3600 - 1e-6))
    kinds = [line.kind for line in report.cost.lines]
    assert kinds == ["machine", "disk", "address"] * 2 + ["egress"]
    assert report.cost.usd == pytest.approx(sum(line.usd for line in report.cost.lines))
    written = json.loads((report.directory / "report.json").read_text())
    assert written["cost"]["usd"] == pytest.approx(report.cost.usd, abs=1e-6)
    assert written["batches"][0]["launches"][0]["price"]["usd_per_hour"] == 0.34


@pytest.mark.slow
def test_the_key_is_in_no_file_and_no_log(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path
) -> None:
    report, watch = run_watched(aws_job(job_file, 1, ONE_ZONE))
    (machine,) = cloud.machines
    sent = payload.unpack(machine.user_data)
    key = json.loads(sent[f"{payload.SETTINGS}/agent.json"])["key"]
    private = sent[f"{payload.SETTINGS}/key.pem"].splitlines()[1]
    assert len(key) >= 32
    assert key not in machine.boot_log()
    assert not any(key in line for line in machine.commands())
    assert not any(key in str(event) for event in watch.events)
    seen = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
    ours = [path for path in seen if not path.is_relative_to(tmp_path / "cloud")]
    assert any("backend" in path.parts for path in ours), "the backend was looked at"
    for secret in (key, private):
        assert [path for path in ours if secret.encode() in path.read_bytes()] == []
    secret = cloud.environment()["AWS_SECRET_ACCESS_KEY"]
    assert [path for path in ours if secret.encode() in path.read_bytes()] == []
    assert secret not in machine.user_data
    assert report.done == 1


def test_the_machine_is_as_the_stack_declares_it(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    report, _ = run_watched(aws_job(job_file, 1, ONE_ZONE))
    (machine,) = cloud.machines
    assert (machine.type, machine.zone, machine.market) == ("c5.2xlarge", "us-east-1a", "on-demand")
    stack = report.batches[0].stack
    assert machine.tags["project"] == "cloudburst"
    assert machine.tags["cloudburst:stack"] == stack
    assert machine.tags["cloudburst:run"] == report.run_id
    assert machine.tags["cloudburst:expires-at"].endswith("Z")
    assert machine.commands()[0].startswith("shutdown -h +"), "the dead-man switch comes first"
    log = machine.boot_log()
    for words in ("dead-man switch: off in ", "pulling: betashow/", "ready: 4 at once"):
        assert words in log
    assert_cloud_empty(cloud, state)


def test_a_dry_run_previews_every_stack_and_its_cost_and_creates_nothing(
    cloud: Cloud, job_file: Callable[..., Path], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = Engine.preview

    def count(
        engine: Engine, stack: str, program: Callable[[], None]
    ) -> tuple[PlannedResource, ...]:
        asked.append(stack)
        return real(engine, stack, program)

    monkeypatch.setattr(Engine, "preview", count)
    found = preview(aws_job(job_file, 4, TWO_BATCHES, max_cost_usd=5.0))
    first, second = found.stacks
    assert asked == [first.stack], "stacks that are alike are previewed once"
    assert second.stack == first.stack.replace("-b01", "-b02")
    names = [resource.name.replace("-b01", "-b02") for resource in first.resources]
    assert [resource.name for resource in second.resources] == names
    assert any(second.stack in name for name in names)
    for one in found.stacks:
        kinds = {(resource.operation, resource.type) for resource in one.resources}
        assert ("create", "aws:ec2/instance:Instance") in kinds
        assert ("create", "aws:ec2/securityGroup:SecurityGroup") in kinds
    estimate = found.estimate
    assert estimate is not None
    assert str(estimate.first) == "c5.2xlarge on-demand in us-east-1a"
    assert estimate.price.usd_per_hour == 0.34
    assert estimate.price.source.startswith("AWS price list of 20")
    assert 0 < estimate.low < estimate.likely < estimate.worst
    assert cloud.machines == []
    assert not any(call.action in ("RunInstances", "CreateSecurityGroup") for call in cloud.calls)
    assert_cloud_empty(cloud, state)


@pytest.mark.parametrize(("image", "said"), [("bundled", True), ("me/mine:1", False)])
def test_the_scenes_of_a_gpu_are_told_and_not_counted_on(
    cloud: Cloud, job_file: Callable[..., Path], image: str, said: bool
) -> None:
    machine = f"aws: {{zones: [us-east-1a], instance_types: [g4dn.xlarge], image: '{image}'}}\n"
    found = preview(aws_job(job_file, 2, machine)).estimate
    assert found is not None
    assert any(line.startswith("2 scenes at once on a g4dn.xlarge") for line in found.assumptions)
    gpu = "if the GPU of a g4dn.xlarge encodes, it takes 4 scenes at once; that was never measured"
    assert found.assumptions[-1].startswith(gpu) == said
    assert cloud.machines == []


def test_a_look_at_the_plan_alone_asks_nobody(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    found = preview(aws_job(job_file, 4, TWO_BATCHES), offline=True)
    assert len(found.plan.batches) == 2
    assert found.stacks == ()
    assert found.estimate is None
    assert any("credentials" in note for note in found.notes)
    assert cloud.calls == []
    assert not state.exists()


def test_a_run_that_would_cost_too_much_is_refused_before_anything_starts(
    cloud: Cloud, job_file: Callable[..., Path]
) -> None:
    job = aws_job(job_file, 2, ONE_ZONE, max_cost_usd=0.001)
    for refused in (run_watched, preview):
        with pytest.raises(BadInput) as caught:
            refused(job)
        (problem,) = caught.value.problems
        assert problem.field == "limits.max_cost_usd"
        assert "got 0.001; the run will likely cost $0.01" in problem.message
    assert cloud.machines == []
    assert not job.output.exists()


def test_prices_are_those_of_the_ladder_and_nothing_is_created(
    cloud: Cloud, job_file: Callable[..., Path]
) -> None:
    more = (
        "aws: {zones: [us-east-1a], instance_types: [c5.2xlarge, m5.xlarge], "
        "markets: [spot, on-demand]}\n"
    )
    job = aws_job(job_file, 2, more)
    found = offers(job)
    assert [(one.rung.type, one.rung.market) for one in found] == [
        ("c5.2xlarge", "spot"),
        ("m5.xlarge", "spot"),
        ("c5.2xlarge", "on-demand"),
        ("m5.xlarge", "on-demand"),
    ]
    dry = preview(job).estimate
    assert dry is not None
    assert found[0].price is not None
    assert found[0].price.usd_per_hour == dry.price.usd_per_hour
    assert (found[0].usd, found[0].seconds) == (dry.likely, sum(dry.phases.values()))
    assert found[2].price is not None
    assert found[2].price.usd_per_hour == 0.34
    assert cloud.machines == []


@pytest.mark.slow
def test_a_burstable_machine_is_billed_with_its_credits(
    cloud: Cloud, job_file: Callable[..., Path]
) -> None:
    more = "aws: {zones: [us-east-1a], instance_types: [t3.large]}\n"
    report, _ = run_watched(aws_job(job_file, 1, more))
    (surplus,) = [line for line in report.cost.lines if line.kind == "credits"]
    assert surplus.rate == pytest.approx(2 * 0.7 * 0.05)
    assert surplus.basis is Basis.ESTIMATE
    assert machine_cost(report) == pytest.approx(60 * 0.0832 / 3600)
    assert cloud.machines[0].type == "t3.large"


@pytest.mark.stack
@pytest.mark.video
@pytest.mark.slow
def test_the_users_tags_are_on_everything_from_its_creation(
    cloud: Cloud, job_file: Callable[..., Path]
) -> None:
    more = "aws: {zones: [us-east-1a], instance_types: [c5.2xlarge], tags: {CostCenter: '42'}}\n"
    seen: list[dict[str, str]] = []
    watch = Watch()

    def look() -> None:
        (machine,) = cloud.machines
        backend = machine.instance.ec2_backend
        groups = [g for each in backend.groups.values() for g in each.values()]
        things = [machine.id, *backend.volumes, *(g.id for g in groups if g.name != "default")]
        seen.extend(backend.tags[thing] for thing in things)

    watch.when(lambda event: event.kind is EventKind.SCENE_STARTED, look)
    report, _ = run_watched(aws_job(job_file, 1, more), watch)
    assert report.done == 1
    assert len(seen) == 3
    assert all(tags["CostCenter"] == "42" and tags["project"] == "cloudburst" for tags in seen)
    assert "CreateTags" not in {call.action for call in cloud.calls}
