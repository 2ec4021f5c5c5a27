"""A job to begin with, one video at once, and what a job would cost."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import click.testing
import pytest
from click.shell_completion import ShellComplete

from cloudburst import cli, targets
from cloudburst.cli import making
from cloudburst.errors import BadInput, InfrastructureError
from cloudburst.job import schema, template, yamltree
from cloudburst.job.loader import load_job
from cloudburst.targets.aws import estimate
from cloudburst.targets.aws.settings import AwsSection
from cloudburst.targets.rates import PUBLIC_RATES
from tests.support.inputs import scenes_yaml
from tests.support.pasts import RUN, whole_run

if TYPE_CHECKING:
    from collections.abc import Callable

BIN = Path(sys.executable).parent


def call(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(cli.group, list(arguments), standalone_mode=False)


# -- init ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", targets.names())
def test_the_template_is_valid(target: str) -> None:
    tree = yamltree.parse(template.text(target), schema.text_shape())
    assert tree.faults == []
    section, problems = schema.validate(tree.value)
    assert problems == []
    assert section is not None
    assert section.target == target


def test_the_template_has_every_key_and_all_comments_together_are_valid() -> None:
    text = template.text("local")
    models = (schema.OptionsSection, schema.DistributionSection, schema.LimitsSection, AwsSection)
    for model in (*models, schema.OutputSection, schema.HooksSection, schema.document()):
        for name in model.model_fields:
            assert re.search(rf"^(# +)?{name}:", text, re.MULTILINE), name
    # Every comment that is a key, taken for one: its default is as YAML has it.
    lines = [line for line in text.splitlines() if not line.startswith(("# A ", "# Every "))]
    opened = "\n".join(line.removeprefix("# ") for line in lines if line.strip() != "#")
    opened = re.sub(r"(?m)^    # ", "    ", opened)
    _, problems = schema.validate(yamltree.parse(opened, schema.text_shape()).value)
    # Null is no value of some keys: they are there to be filled in.
    assert [problem for problem in problems if "got nothing" not in problem[1]] == []


def test_init_writes_the_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("init", "--target", "aws")
    assert done.exception is None
    assert "cloudburst-run scenes.yaml" in done.output
    assert (tmp_path / "scenes.yaml").read_text() == template.text("aws")
    again = call("init")
    assert isinstance(again.exception, BadInput)
    assert "exists already; pass --force" in str(again.exception)
    assert (tmp_path / "scenes.yaml").read_text() == template.text("aws")
    assert call("init", "--force").exception is None
    assert (tmp_path / "scenes.yaml").read_text() == template.text("local")
    assert call("init", "-o", "-").stdout == template.text("local")


# -- render -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("no/x.mp4", "there is no folder"),
        (".", "is a folder"),
        ("there.mp4", "exists already"),
        ("x.mov", "x.mov: the video is MP4; expected a name that ends in .mp4"),
        ("x", "expected a name that ends in .mp4"),
    ],
)
def test_where_no_video_can_be_put_nothing_is_started(
    job_file: Callable[..., Path], output: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = job_file("").parent
    monkeypatch.chdir(folder)
    (folder / "there.mp4").write_bytes(b"mine")
    done = call("render", "p.png", "a.wav", "-o", output)
    assert isinstance(done.exception, BadInput)
    assert why in str(done.exception)
    assert (folder / "there.mp4").read_bytes() == b"mine"


def test_what_is_wrong_with_a_file_is_said_of_the_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("render", "no.jpg", "no.wav", "no.srt", "-o", "x.MP4")
    assert isinstance(done.exception, BadInput)
    said = [str(problem) for problem in done.exception.problems]
    assert [line.split(": file not found: ")[0] for line in said] == ["IMAGE", "AUDIO", "SRT"]


def test_a_video_is_put_in_one_step_and_its_run_keeps_its_own(tmp_path: Path) -> None:
    video, there = tmp_path / "video.mp4", tmp_path / "x.mp4"
    video.write_bytes(b"new")
    there.write_bytes(b"old")
    making._copy(video, there)
    assert (there.read_bytes(), video.read_bytes()) == (b"new", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["video.mp4", "x.mp4"]
    with pytest.raises(InfrastructureError, match=r"x\.mp4 cannot be written: .*; the video is"):
        making._copy(video, tmp_path / "gone" / "x.mp4")


def test_options_of_one_video_are_those_of_a_scene() -> None:
    chosen = {"language": "english", "effects": ("zoom_in",), "quality": None}
    assert making._scene("x", "p.png", "a.wav", "s.srt", chosen) == {
        "name": "x",
        "image": "p.png",
        "audio": "a.wav",
        "subtitle": "s.srt",
        "language": "english",
        "effects": ["zoom_in"],
    }


# -- price --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["price", "offer"])
def test_where_nothing_is_rented_that_is_said(job_file: Callable[..., Path], name: str) -> None:
    path = str(job_file(scenes_yaml(1)))
    assert "local: nothing is rented" in call(name, path).output
    assert json.loads(call(name, path, "--json").output)["offers"] == []


def test_boots_that_cost_more_than_the_work_are_warned_of(job_file: Callable[..., Path]) -> None:
    from cloudburst.runner.planner import plan

    rules = (
        "distribution: {scenes_per_batch: 1, min_scenes_per_batch: 1, max_parallel_instances: 16}\n"
    )
    job = load_job(job_file(scenes_yaml(16, f"target: aws\n{rules}")))
    (warned,) = estimate.boots_beyond_work(plan(job), 4, PUBLIC_RATES)
    assert warned.startswith(
        "16 machines are likely to boot for 1920 s in all, and to render for 25 s: "
        "their boots cost more than the work"
    )
    fewer = rules.replace("16", "1")
    one = load_job(job_file(scenes_yaml(16, f"target: aws\n{fewer}"), "one.yaml"))
    assert list(estimate.boots_beyond_work(plan(one), 4, PUBLIC_RATES)) == []


# -- completion ---------------------------------------------------------------------------------

# In each shell: load the completion, and print what it offers for words that are typed.
SHELLS = {
    "bash": """
eval "$(_CLOUDBURST_COMPLETE=bash_source cloudburst)"
complete -p cloudburst > /dev/null || exit 9
COMP_WORDS=({words}); COMP_CWORD={last}; _cloudburst_completion cloudburst
printf '%s\\n' "${{COMPREPLY[@]}}"
""",
    "zsh": """
autoload -U compinit; compinit -u
eval "$(_CLOUDBURST_COMPLETE=zsh_source cloudburst)"
COMP_WORDS="{words}" COMP_CWORD={last} _CLOUDBURST_COMPLETE=zsh_complete cloudburst
""",
    "fish": """
_CLOUDBURST_COMPLETE=fish_source cloudburst | source
complete --do-complete "{words}"
""",
}


TAKE_A_RUN = ("cleanup", "logs", "report", "resume", "show", "stop", "watch")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("words", "offered"),
    [("cloudburst his", "history"), ("cloudburst cost --b", "--by"), ("cloudburst show 2026", RUN)],
)
def test_shells_complete_commands_options_and_runs(
    tmp_path: Path, shell: str, words: str, offered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    whole_run(tmp_path / "out")
    monkeypatch.setenv("PATH", str(BIN), prepend=":")
    script = SHELLS[shell].format(words=words, last=len(words.split()) - 1)
    done = subprocess.run(
        [program, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert offered in re.split(r"\s+", done.stdout)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        *((f"{command} 2026", [RUN]) for command in TAKE_A_RUN),
        (f"logs {RUN} b0", ["b01", "b01.2"]),
        (f"logs {RUN} ", ["b01", "b01.2", "a", "b"]),
        ("logs nothing ", []),
        ("run --profile w", ["web", "work"]),
        ("--profile wo", ["work"]),
    ],
)
def test_runs_scenes_workers_and_profiles_are_completed(
    tmp_path: Path, words: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_run(tmp_path / "out")
    config = tmp_path / "config.toml"
    config.write_text("[profiles.work]\n[profiles.web]\n[profiles.home]\n")
    monkeypatch.setenv("CLOUDBURST_CONFIG", str(config))
    *before, last = words.split(" ")
    complete = ShellComplete(cli.group, {}, "cloudburst", "_CLOUDBURST_COMPLETE")
    found = [item.value for item in complete.get_completions(before, last)]
    assert found == expected


def test_every_command_that_takes_a_run_completes_it() -> None:
    taking = {
        name
        for name, command in cli.group.commands.items()
        for one in command.params
        if isinstance(one, click.Argument) and one.metavar in ("RUN", "[RUN]")
    }
    assert taking == set(TAKE_A_RUN)


def test_the_readme_has_the_line_for_every_shell() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    for shell in SHELLS:
        assert f"_CLOUDBURST_COMPLETE={shell}_source cloudburst" in text


@pytest.mark.parametrize("measured", [False, True])
def test_what_price_prints_is_grouped_by_price(
    capsys: pytest.CaptureFixture[str], *, measured: bool
) -> None:
    from cloudburst.console.offers import show_offers
    from cloudburst.models import Job, Offer, Price, Rung

    def offered(zone: str, usd: float | None) -> Offer:
        rung = Rung("c5.2xlarge", "spot", "us-east-1", zone)
        if usd is None:
            return Offer(rung, None, f"AWS gives no spot price for c5.2xlarge in {zone}")
        price, speed = Price(usd, "spot price of now"), "a benchmark"
        return Offer(rung, price, "", 200.0, usd / 10, 4, speed, measured=measured)

    found = [offered("a", 0.1), offered("b", 0.1), offered("c", 0.2), offered("d", None)]
    job: Any = Job("job", Path("x.yaml"), (), Path("out"), target="aws")
    show_offers(job, found)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["c5.2xlarge", "spot", "a,", "b", "0.1000", "4", "3", "min", "$0.0100"]
    assert lines[2][2:4] == ["c", "0.2000"]
    assert lines[3][2:] == ["d", "–", "–", "–", "–"]
    assert " ".join(lines[5]) == (
        "speed of c5.2xlarge: a benchmark"
        if measured
        else "speed of c5.2xlarge: not measured by runs of this machine; a benchmark, taken to be "
        "the same for every two vCPUs of any type"
    )
    assert " ".join(lines[6]) == "no price: AWS gives no spot price for c5.2xlarge in d"
