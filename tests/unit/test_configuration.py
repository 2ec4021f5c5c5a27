"""The user's own configuration file, and what wins over it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click.testing
import pytest

from cloudburst import cli, configuration, environment
from cloudburst.errors import BadInput
from cloudburst.job.loader import load_job
from tests.support.inputs import scenes_yaml

if TYPE_CHECKING:
    from collections.abc import Callable

WHOLE = """\
profile = "work"
target = "local"
max_cost_usd = 2

[profiles.work]
max_cost_usd_month = 50.5
output = "~/videos"

[profiles.home]
max_cost_usd = 1
aws_profile = "mine"
"""


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "config" / "cloudburst" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_without_a_file_nothing_is_set() -> None:
    assert configuration.variables() == {}


def test_the_chosen_profile_wins_over_what_is_above_it(
    config: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config(WHOLE)
    assert configuration.variables() == {
        "CLOUDBURST_TARGET": "local",
        "CLOUDBURST_MAX_COST_USD": "2",
        "CLOUDBURST_MAX_COST_USD_MONTH": "50.5",
        "RESULTS_DIR": str(Path("~/videos").expanduser()),
    }
    assert environment.place("CLOUDBURST_MAX_COST_USD_MONTH") == (str(path), 6)
    monkeypatch.setenv(configuration.PROFILE, "home")
    assert configuration.variables()["CLOUDBURST_MAX_COST_USD"] == "1"
    assert environment.place("CLOUDBURST_MAX_COST_USD") == (str(path), 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target = 'x'\nmax_cost = 3\n", "2: max_cost: unknown key; did you mean max_cost_usd?"),
        ("\nmax_cost_usd = -1\n", "2: max_cost_usd: got -1; expected a number above 0"),
        ("max_cost_usd = true\n", "1: max_cost_usd: got True; expected a number above 0"),
        ("target = 3\n", "1: target: got 3; expected text"),
        ("[profiles.a]\nregion = ''\n", "2: profiles.a.region: got ''; expected text"),
        ("[profiles]\na = 1\n", "2: profiles.a: got 1; expected a table"),
        ("profiles = 1\n", "1: profiles: got 1; expected tables"),
        (
            "profile = 'b'\n[profiles.a]\n",
            "1: profile: got 'b'; expected one of the profiles: a",
        ),
        ("target = \n", "1: not TOML: Invalid value"),
        ("a = 1\nb = 'x\n", """2: not TOML: Expected "'\""""),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_key(
    config: Callable[[str], Path], text: str, expected: str
) -> None:
    path = config(text)
    with pytest.raises(BadInput) as raised:
        configuration.settings()
    assert [str(problem) for problem in raised.value.problems] == [f"{path}:{expected}"]


def test_a_profile_that_the_command_line_names_must_exist(
    config: Callable[[str], Path],
) -> None:
    path = config(WHOLE)
    done = click.testing.CliRunner().invoke(
        cli.group, ["--profile", "wrk", "ps"], standalone_mode=False
    )
    os.environ.pop(configuration.PROFILE)
    assert isinstance(done.exception, BadInput)
    assert str(done.exception) == (
        f"{path}: CLOUDBURST_PROFILE: got 'wrk'; expected one of the profiles: home, work"
    )


def test_a_file_that_is_named_must_be_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(configuration.FILE, str(tmp_path / "none.toml"))
    with pytest.raises(BadInput, match=r"none\.toml: cannot be read: No such file"):
        configuration.settings()


def test_options_win_over_the_job_over_the_environment_over_the_file(
    config: Callable[[str], Path],
    job_file: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = config("max_cost_usd = 1\nmax_cost_usd_month = 10\n")
    plain, own = job_file(scenes_yaml(1)), "limits: {max_cost_usd: 3}\n"
    job = load_job(plain)
    assert (job.limits.max_cost_usd, job.limits.max_cost_usd_month) == (1, 10)
    assert job.place("limits.max_cost_usd_month") == (str(path), 2)
    monkeypatch.chdir(plain.parent)
    (plain.parent / ".env").write_text("\nCLOUDBURST_MAX_COST_USD=1.5\n")
    job = load_job(plain)
    assert job.limits.max_cost_usd == 1.5
    assert job.place("limits.max_cost_usd") == (".env", 2)
    monkeypatch.setenv("CLOUDBURST_MAX_COST_USD", "2")
    assert load_job(plain).limits.max_cost_usd == 2
    written = job_file(scenes_yaml(1, own), "own.yaml")
    assert load_job(written).limits.max_cost_usd == 3
    assert load_job(written).place("limits.max_cost_usd") == (str(written), 2)
    assert load_job(written, max_cost_usd=4).limits.max_cost_usd == 4


def test_an_amount_that_is_none_is_told_with_its_place(
    job_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDBURST_MAX_COST_USD_MONTH", "much")
    with pytest.raises(BadInput, match="CLOUDBURST_MAX_COST_USD_MONTH: got 'much'; expected a num"):
        load_job(job_file(scenes_yaml(1)))


def test_a_profile_of_aws_gives_way_to_credentials_from_elsewhere(
    config: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config("aws_profile = 'mine'\nregion = 'eu-central-1'\n")
    assert environment.additions() == {"AWS_PROFILE": "mine", "AWS_REGION": "eu-central-1"}
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n")
    assert "AWS_PROFILE" not in environment.additions()
    assert environment.additions()["AWS_ACCESS_KEY_ID"] == "a"
    (tmp_path / ".env").unlink()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "c")
    assert environment.additions() == {"AWS_REGION": "eu-central-1"}


def test_what_is_read_from_the_environment_alone_is_set_there_unless_it_is(
    config: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config(f"language = 'zh'\ncache = '{tmp_path / 'cache'}'\nfonts = '/fonts'\n")
    monkeypatch.setenv("CLOUDBURST_LANG", "en")
    monkeypatch.delenv("CLOUDBURST_CACHE", raising=False)
    monkeypatch.setenv("CLOUDBURST_FONTS", "")
    configuration.apply()
    assert os.environ["CLOUDBURST_LANG"] == "en"
    assert os.environ["CLOUDBURST_CACHE"] == str(tmp_path / "cache")
    assert os.environ["CLOUDBURST_FONTS"] == "/fonts"
    monkeypatch.delenv("CLOUDBURST_CACHE")


def test_every_key_is_in_the_table_of_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    missing = [
        key
        for key, name in configuration.KEYS.items()
        if f"| `{key}` |" not in text or name not in text
    ]
    assert missing == []
