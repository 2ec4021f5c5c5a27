"""Some machines on a real AWS account, when asked for by name: ``--live``, and never above a price.

Not run on an account yet; tests/aws/test_live.py runs them on the test cloud. What only a real
account can show: the real provider's wording of errors, the time from launch to health, console
output on Nitro machines, whether the policy of docs/aws-policy.json is enough, what a spot request
becomes, and whether the public image mixes up narrations.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import av
import boto3
import numpy as np
import pytest
from botocore.exceptions import ClientError

from cloudburst import doctor, load_job, preview, run
from cloudburst.models import Finding, Outcome
from tests.support.inputs import scenes_yaml, write_sound

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudburst import Job, RunReport

pytestmark = pytest.mark.live

POLICY = Path(__file__).parents[2] / "docs" / "aws-policy.json"
TONES = (400, 800, 1600, 3200)


@pytest.fixture
def most(pytestconfig: pytest.Config) -> float:
    """The most that a test may cost, in USD."""
    return float(pytestconfig.getoption("max_usd"))


@pytest.fixture
def make(job_file: Callable[..., Path], most: float) -> Callable[..., Job]:
    """Return a function that makes a job of scenes.yaml's text, for a machine of its own."""

    def job(text: str = "", **aws: str) -> Job:
        settings = "".join(f", {name}: {value}" for name, value in aws.items())
        more = f"target: aws\naws: {{lease_minutes: 20{settings}}}\n"
        path = job_file(text + more if text else scenes_yaml(1, more))
        return load_job(path, output=path.parent / "out", max_cost_usd=most)

    return job


def complete(job: Job, most: float) -> RunReport:
    """Run a job that must succeed, leave nothing, and stay below a price."""
    report = run(job)
    assert report.outcome is Outcome.COMPLETE
    assert report.left_running == ()
    assert 0 < report.cost.usd <= most
    return report


@pytest.fixture
def least(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test's calls have the rights of docs/aws-policy.json and no others.

    A federation token has the rights that both the caller and the policy given with it have
    (docs.aws.amazon.com/STS/latest/APIReference/API_GetFederationToken). It takes the keys of an
    IAM user: a role gets none. It cannot call IAM: an account's first spot machine is not for it.
    """
    session = boto3.Session()
    policy = json.dumps(json.loads(POLICY.read_text()), separators=(",", ":"))
    try:
        token = session.client("sts").get_federation_token(
            Name="cloudburst-live", Policy=policy, DurationSeconds=3600
        )
    except ClientError as error:
        pytest.skip(f"least rights need an IAM user who may call GetFederationToken: {error}")
    found = token["Credentials"]
    region = session.region_name
    for name in [name for name in os.environ if name.startswith(("AWS_PROFILE", "AWS_ROLE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", found["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", found["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", found["SessionToken"])
    if region:
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)


def test_the_doctor_finds_nothing_missing(make: Callable[..., Job]) -> None:
    job = make()
    checks = list(doctor.examine("aws", job))
    assert [check for check in checks if check.finding is Finding.ERROR] == []


def test_a_dry_run_previews_and_costs_nothing(make: Callable[..., Job]) -> None:
    found = preview(make())
    assert found.estimate is not None
    assert found.estimate.worst > found.estimate.likely


def test_one_scene_on_one_machine(make: Callable[..., Job], most: float) -> None:
    complete(make(), most)


@pytest.mark.usefixtures("least")
def test_the_documented_policy_is_enough(make: Callable[..., Job], most: float) -> None:
    # It is in force: what it does not allow is refused.
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        boto3.client("ec2").create_vpc(CidrBlock="10.0.0.0/16", DryRun=True)
    complete(make(), most)


def test_one_scene_on_a_spot_machine(make: Callable[..., Job], most: float) -> None:
    report = complete(make(markets="[spot]"), most)
    (launch,) = [each for batch in report.batches for each in batch.launches if each.worker]
    assert launch.rung.market == "spot"
    ec2 = boto3.client("ec2", region_name=launch.rung.region)
    found = ec2.describe_spot_instance_requests(
        Filters=[{"Name": "instance-id", "Values": [launch.worker]}]
    )["SpotInstanceRequests"]
    assert {request["State"] for request in found} <= {"closed", "cancelled"}


def test_four_moving_scenes_keep_their_narrations(
    make: Callable[..., Job], job_file: Callable[..., Path], most: float
) -> None:
    """Four tones of one length on one machine: no server may give a scene another one's sound."""
    folder = job_file("").parent
    for hertz in TONES:
        write_sound(folder / f"t{hertz}.wav", 4.0, hertz=hertz)
    scenes = "".join(
        f"  - {{name: t{hertz}, image: p.png, audio: t{hertz}.wav, effects: [zoom_in]}}\n"
        for hertz in TONES
    )
    job = make(f"version: 1\ndistribution: {{max_parallel_instances: 1}}\nscenes:\n{scenes}")
    report = complete(job, most)
    found = {each: loudest(report.directory / f"t{each}.mp4") for each in TONES}
    assert found == {hertz: pytest.approx(hertz, abs=5) for hertz in TONES}


def loudest(video: Path) -> float:
    """Return the frequency in hertz that is the loudest in a video's sound."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=16000)
    with av.open(str(video)) as container:
        parts = [
            part.to_ndarray()[0]
            for frame in container.decode(audio=0)
            for part in resampler.resample(frame)
        ]
    samples = np.concatenate(parts)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * 16000 / len(samples)
