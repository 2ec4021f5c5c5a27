"""Settings and credentials from scenes.yaml, the environment and `.env`, in this order."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudburst import cli, doctor, targets
from cloudburst import environment as dotenv
from cloudburst.errors import BadInput
from cloudburst.job.loader import load_job
from cloudburst.models import Check, Finding
from cloudburst.targets.aws.settings import AwsSection, AwsSettings
from tests.support.inputs import scenes_yaml

if TYPE_CHECKING:
    from collections.abc import Callable


# Besides AWS_…: docs/operations.md lists what each does here.
ORIGINAL = (
    "API_REQUEST_TIMEOUT_SECONDS",
    "API_TIMEOUT_MINUTES",
    "DOCKER_IMAGE",
    "DOCKER_PULL_TIMEOUT_MINUTES",
    "INSTANCE_STARTUP_TIMEOUT_SECONDS",
    "RESULTS_DIR",
    "VIDEO_API_AUTH_KEY",
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, with none of the variables that count."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name in ORIGINAL:
            monkeypatch.delenv(name)
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def aws_settings(section: AwsSection | None = None) -> AwsSettings:
    settings = targets.get("aws").settings(section, dotenv.environment())
    assert isinstance(settings, AwsSettings)
    return settings


def dot_env(folder: Path, **variables: str) -> None:
    (folder / ".env").write_text("".join(f"{key}={value}\n" for key, value in variables.items()))


VARIABLES = [
    ("AWS_REGION", "regions", ["eu-west-1"], ("eu-west-1",), "eu-west-2", ("eu-west-2",)),
    (
        "AWS_INSTANCE_TYPE",
        "instance_types",
        ["c7i.2xlarge"],
        ("c7i.2xlarge",),
        "m5.xlarge",
        ("m5.xlarge", "c5.2xlarge", "g4dn.xlarge", "t3.xlarge", "t3.large", "m5.large"),
    ),
    ("AWS_SUBNET_ID", "subnet", "subnet-01234567", "subnet-01234567", "subnet-1", "subnet-1"),
    (
        "AWS_SECURITY_GROUP_ID",
        "security_groups",
        ["sg-01234567"],
        ("sg-01234567",),
        "sg-1, sg-2,sg-1",
        ("sg-1", "sg-2"),
    ),
    ("AWS_AMI_ID", "ami", "ami-01234567", "ami-01234567", "ami-1", "ami-1"),
    ("AWS_KEY_PAIR_NAME", "key_name", "mine", "mine", "yours", "yours"),
    ("DOCKER_IMAGE", "image", "me/mine:1", "me/mine:1", "you/yours:2", "you/yours:2"),
]
DEFAULTS = {
    "regions": (),
    "instance_types": (
        "c5.2xlarge",
        "m5.xlarge",
        "g4dn.xlarge",
        "t3.xlarge",
        "t3.large",
        "m5.large",
    ),
    "subnet": None,
    "security_groups": (),
    "ami": None,
    "key_name": None,
    "image": "bundled",
}


@pytest.mark.parametrize(("name", "field", "said", "as_said", "value", "as_value"), VARIABLES)
def test_the_file_wins_over_the_environment_over_dot_env_over_the_default(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    field: str,
    said: object,
    as_said: object,
    value: str,
    as_value: object,
) -> None:
    assert getattr(aws_settings(), field) == DEFAULTS[field]
    dot_env(folder, **{name: value})
    assert getattr(aws_settings(), field) == as_value
    dot_env(folder, **{name: "from-dot-env"})
    monkeypatch.setenv(name, value)
    assert getattr(aws_settings(), field) == as_value
    section = AwsSection.model_validate({field: said})
    assert getattr(aws_settings(section), field) == as_said


def test_the_environments_type_goes_first_and_the_default_list_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_INSTANCE_TYPE", "c7i.2xlarge")
    assert aws_settings().instance_types == ("c7i.2xlarge", *DEFAULTS["instance_types"])  # type: ignore[misc]


def test_the_sdks_name_for_the_region_counts_after_the_tools_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert aws_settings().regions == ("eu-west-2",)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert aws_settings().regions == ("eu-west-1",)


def test_results_go_where_the_file_the_environment_or_dot_env_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, job_file: Callable[..., Path]
) -> None:
    path = job_file(scenes_yaml(1))
    assert load_job(path).output == folder / "cloudburst_results"
    dot_env(folder, RESULTS_DIR="from-dot-env")
    assert load_job(path).output == folder / "from-dot-env"
    monkeypatch.setenv("RESULTS_DIR", "from-environment")
    assert load_job(path).output == folder / "from-environment"
    path = job_file(scenes_yaml(1, "output: {directory: from-file}\n"))
    assert load_job(path).output == path.parent / "from-file"


def test_a_job_takes_its_settings_from_dot_env(folder: Path, job_file: Callable[..., Path]) -> None:
    dot_env(folder, AWS_REGION="eu-west-2", AWS_KEY_PAIR_NAME="mine")
    job = load_job(job_file(scenes_yaml(1, "target: aws\naws: {key_name: other}\n")))
    settings = job.settings["aws"]
    assert (settings.regions, settings.key_name) == (("eu-west-2",), "other")


def test_without_a_file_the_environment_is_all_there_is() -> None:
    given = {name: value for name, value in os.environ.items() if value}
    assert dotenv.environment() == given
    assert dotenv.additions() == {}


def test_an_empty_line_in_dot_env_says_nothing(folder: Path) -> None:
    (folder / ".env").write_text("# a comment\nAWS_REGION=\nAWS_SUBNET_ID\nAWS_PROFILE='mine'\n")
    assert dotenv.additions() == {"AWS_PROFILE": "mine"}
    assert aws_settings().regions == ()


def test_only_what_aws_and_its_tools_read_is_added(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    dot_env(
        folder,
        AWS_REGION="eu-west-2",
        AWS_PROFILE="mine",
        DOCKER_IMAGE="x",
        PATH="elsewhere",
        PULUMI_BACKEND_URL="file:///elsewhere",
        LD_PRELOAD="evil.so",
    )
    assert dotenv.additions() == {"AWS_PROFILE": "mine"}
    assert dotenv.environment()["DOCKER_IMAGE"] == "x"
    assert dotenv.environment()["PATH"] == os.environ["PATH"]


KEYS = {
    "AWS_ACCESS_KEY_ID": "id-in-file",
    "AWS_SECRET_ACCESS_KEY": "secret-in-file",
    "AWS_SESSION_TOKEN": "token-in-file",
}


def test_credentials_in_dot_env_are_taken_whole(folder: Path) -> None:
    dot_env(folder, **KEYS, AWS_REGION="eu-west-1")
    assert dotenv.additions() == {**KEYS, "AWS_REGION": "eu-west-1"}


@pytest.mark.parametrize(
    "own",
    [
        {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"},
        {"AWS_ACCESS_KEY_ID": "id"},
        {"AWS_SESSION_TOKEN": "token"},
        {"AWS_PROFILE": "mine"},
    ],
)
def test_credentials_of_two_places_are_never_mixed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, own: dict[str, str]
) -> None:
    dot_env(folder, **KEYS, AWS_PROFILE="theirs", AWS_REGION="eu-west-1")
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    assert dotenv.additions() == {"AWS_REGION": "eu-west-1"}
    seen = dotenv.environment()
    assert {name: seen[name] for name in [*KEYS, "AWS_PROFILE"] if name in seen} == own


def test_the_files_one_security_group_wins_over_several_in_dot_env(folder: Path) -> None:
    dot_env(folder, AWS_SECURITY_GROUP_ID="sg-1,sg-2")
    section = AwsSection.model_validate({"security_group": "sg-01234567"})
    assert aws_settings(section).security_groups == ("sg-01234567",)


@pytest.mark.parametrize(
    ("name", "value", "limits"),
    [
        ("API_REQUEST_TIMEOUT_SECONDS", "300", (300, 180)),
        ("INSTANCE_STARTUP_TIMEOUT_SECONDS", "240", (None, 240)),
        ("DOCKER_PULL_TIMEOUT_MINUTES", "5", (None, 300)),
        ("API_TIMEOUT_MINUTES", "0.5", (None, 30)),
    ],
)
def test_a_time_out_of_the_original_sets_a_limit_that_the_file_leaves_open(
    folder: Path,
    job_file: Callable[..., Path],
    name: str,
    value: str,
    limits: tuple[float | None, float],
) -> None:
    dot_env(folder, **{name: value})
    job = load_job(job_file(scenes_yaml(1)))
    assert (job.limits.scene_timeout, job.limits.health_timeout) == limits
    own = "limits: {scene_timeout: 7, health_timeout: 8}\n"
    job = load_job(job_file(scenes_yaml(1, own)))
    assert (job.limits.scene_timeout, job.limits.health_timeout) == (7, 8)
    default = load_job(job_file(scenes_yaml(1, "limits: {scene_timeout: 600, health_timeout: }\n")))
    assert (default.limits.scene_timeout, default.limits.health_timeout) == (600, 180)


def test_of_several_time_outs_for_the_start_of_a_worker_the_longest_counts(
    folder: Path, job_file: Callable[..., Path]
) -> None:
    """The values of the original's .env.example."""
    dot_env(
        folder,
        INSTANCE_STARTUP_TIMEOUT_SECONDS="500",
        DOCKER_PULL_TIMEOUT_MINUTES="5",
        API_TIMEOUT_MINUTES="10",
        API_REQUEST_TIMEOUT_SECONDS="180",
    )
    limits = load_job(job_file(scenes_yaml(1)), target="aws").limits
    assert (limits.scene_timeout, limits.health_timeout) == (180, 600)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("API_TIMEOUT_MINUTES", "abc", "a number of minutes from 0.017 to 60"),
        ("API_TIMEOUT_MINUTES", "61", "a number of minutes from 0.017 to 60"),
        ("DOCKER_PULL_TIMEOUT_MINUTES", "-5", "a number of minutes from 0.017 to 60"),
        ("INSTANCE_STARTUP_TIMEOUT_SECONDS", "nan", "a number of seconds from 1 to 3600"),
        ("API_REQUEST_TIMEOUT_SECONDS", "0", "a number of seconds from 1 to 86400"),
    ],
)
def test_a_time_out_that_is_none_is_an_error_with_its_line_in_dot_env(
    folder: Path, job_file: Callable[..., Path], name: str, value: str, expected: str
) -> None:
    text = f"# the original's\n\nAWS_REGION=eu-west-1\n\n# how long\n{name}={value}\n"
    (folder / ".env").write_text(text)
    with pytest.raises(BadInput) as caught:
        load_job(job_file(scenes_yaml(1)))
    (problem,) = caught.value.problems
    assert str(problem) == f".env:6: {name}: got '{value}'; expected {expected}"


def test_the_line_of_a_variable_is_that_of_the_assignment_that_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("\n\nA=1\n\n\n  export B='x\ny'\nA=2\nEMPTY=\n")
    assert dotenv.place("A") == (".env", 8)
    assert dotenv.place("B") == (".env", 6)
    assert dotenv.place("EMPTY") == dotenv.place("NONE") == ("environment", 0)
    monkeypatch.setenv("A", "3")
    assert dotenv.place("A") == ("environment", 0)


def test_all_variables_that_are_wrong_are_reported_together_and_nothing_is_started(
    folder: Path,
    job_file: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dot_env(folder, API_TIMEOUT_MINUTES="abc", AWS_SECURITY_GROUP_ID="sg-01234567,mine")
    path = job_file(scenes_yaml(1))
    monkeypatch.setattr("sys.argv", ["cloudburst-run", str(path), "--target", "aws"])
    with pytest.raises(SystemExit) as ended:
        cli.run_command()
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        ".env:1: API_TIMEOUT_MINUTES: got 'abc'; expected a number of minutes from 0.017 to 60",
        (
            ".env:2: AWS_SECURITY_GROUP_ID: got 'mine'; expected a security group such as "
            "sg-0123456789abcdef0"
        ),
        "2 problems; nothing was started",
    ]
    assert not (folder / "cloudburst_results").exists()


def test_the_doctor_names_what_is_wrong_and_what_has_no_effect_but_never_a_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_engine", lambda _: ())
    dot_env(folder, VIDEO_API_AUTH_KEY="the-secret", API_TIMEOUT_MINUTES="abc")
    checks = [check for check in doctor.examine("local", None) if check.name == "variables"]
    assert checks == [
        Check(
            "variables",
            Finding.ERROR,
            ".env:2: API_TIMEOUT_MINUTES: got 'abc'; expected a number of minutes from 0.017 to 60",
            "correct or unset API_TIMEOUT_MINUTES",
        ),
        Check(
            "variables",
            Finding.WARNING,
            "VIDEO_API_AUTH_KEY is ignored here because every worker gets a random key of its own",
            "remove it from .env",
        ),
    ]
    assert "the-secret" not in str(checks)


def test_every_variable_of_the_original_is_in_the_table_of_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    table = page.partition("## Variables of the original tool")[2].partition("\n## ")[0]
    rows = set(
        re.findall(r"`([A-Z_]+)`", " ".join(re.findall(r"^\| (`[^|]+)", table, re.MULTILINE)))
    )
    aws = {name for name, *_ in VARIABLES if name.startswith("AWS_")}
    keys = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert rows == {*ORIGINAL, *aws, *keys}


def test_an_empty_variable_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pair = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "other"}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in pair.items()))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "")
    assert dotenv.additions() == pair


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DOCKER_IMAGE", "--privileged", "a container image"),
        ("AWS_SUBNET_ID", "default", "a subnet such as"),
        ("AWS_REGION", "Virginia", "a region such as"),
        ("AWS_INSTANCE_TYPE", "big", "an instance type such as"),
        ("AWS_AMI_ID", "ubuntu", "an AMI such as"),
        ("AWS_SECURITY_GROUP_ID", "default", "a security group such as"),
    ],
)
def test_a_bad_variable_is_told_by_its_name_where_it_matters(
    job_file: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    words: str,
) -> None:
    monkeypatch.setenv(name, value)
    assert load_job(job_file(scenes_yaml(1))).target == "local"
    with pytest.raises(BadInput) as caught:
        load_job(job_file(scenes_yaml(1)), target="aws")
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"environment: {name}: got '{value}'; expected {words}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"DOCKER_IMAGE=\xff\xfe", "cannot be read"),
        (b"AWS_SECRET_ACCESS_KEY=alone", "expected both or none"),
    ],
)
def test_a_bad_dot_env_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    job_file: Callable[..., Path],
    content: bytes,
    words: str,
) -> None:
    path = job_file(scenes_yaml(1))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(BadInput, match=words):
        load_job(path)


def test_a_limit_that_is_no_number_is_refused(job_file: Callable[..., Path]) -> None:
    with pytest.raises(BadInput, match="--max-cost-usd: got nan; expected more than 0"):
        load_job(job_file(scenes_yaml(1)), max_cost_usd=float("nan"))


def test_the_target_of_a_job_that_names_none(
    job_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, unnamed = job_file(scenes_yaml(1, "target: local\n"), "a.yaml"), job_file(scenes_yaml(1))
    monkeypatch.chdir(tmp_path)
    assert load_job(unnamed).target == "local"
    (tmp_path / ".env").write_text("CLOUDBURST_TARGET=aws\n")
    assert (load_job(unnamed).target, load_job(named).target) == ("aws", "local")
    assert load_job(unnamed, target="local").target == "local"
    assert load_job(unnamed).limits.health_timeout == 600, "what else depends on the target"
    monkeypatch.setenv("CLOUDBURST_TARGET", "mars")
    assert load_job(named).target == load_job(unnamed, target="local").target == "local"
    with pytest.raises(BadInput) as caught:
        load_job(unnamed)
    assert str(caught.value) == (
        "environment: CLOUDBURST_TARGET: got 'mars'; expected one of: local, aws"
    )
    assert caught.value.exit_code == 2
