"""Commands, options and exit codes are public: scripts depend on them."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import cloudburst
from cloudburst import cli, errors
from cloudburst.api import jobs

# Recorded from release 0.1.0, before its modules were moved. New options may join.
RECORDED = json.loads(
    (Path(__file__).parents[1] / "support" / "surface" / "commands.json").read_text("utf-8")
)


def described(command: click.Command) -> dict[str, dict[str, Any]]:
    parameters: dict[str, dict[str, Any]] = {}
    for parameter in command.params:
        known: dict[str, Any] = {
            "kind": parameter.param_type_name,
            "opts": sorted([*parameter.opts, *parameter.secondary_opts]),
            "required": parameter.required,
        }
        if isinstance(parameter.type, click.Choice):
            known["choices"] = list(parameter.type.choices)
        if getattr(parameter, "is_flag", False):
            known["flag"] = True
        if getattr(parameter, "multiple", False):
            known["multiple"] = True
        parameters[str(parameter.name)] = known
    return parameters


def commands() -> dict[str, click.Command]:
    named = {f"cloudburst {name}": command for name, command in cli.group.commands.items()}
    return {**named, "cloudburst-run": cli.run}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_command_takes_what_it_took(name: str) -> None:
    now = described(commands()[name])
    for key, recorded in RECORDED[name].items():
        choices = now.get(key, {}).get("choices")
        # An option may take more than it took, and what it took in the same order.
        kept = [choice for choice in choices or () if choice in recorded.get("choices", ())]
        assert now.get(key, {}) | ({"choices": kept} if choices else {}) == recorded


def test_the_list_of_commands_cuts_nothing_and_has_no_alias() -> None:
    listed = CliRunner().invoke(cli.group, ["--help"], terminal_width=80).output
    rows = listed.partition("Commands:")[2]
    assert "..." not in rows
    assert "\n  offer " not in rows
    assert "\n  price " in rows


@pytest.mark.parametrize("name", sorted({*commands()} - {"cloudburst serve"}))
def test_the_help_of_a_command_has_examples_that_parse(name: str) -> None:
    help_text = CliRunner().invoke(commands()[name], ["--help"]).output
    examples = help_text.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert examples
    for example in examples:
        prompt, _, line = example.strip().partition(" ")
        assert prompt == "$"
        words = shlex.split(line.partition(" >")[0])
        if words[0] == "eval":
            continue
        count = 1 if words[0] == "cloudburst-run" else 2
        program = " ".join(words[:count])
        commands()[program].make_context(program, words[count:])


def test_exit_codes_are_those_of_the_readme() -> None:
    codes: dict[type[errors.CloudBurstError], int] = {
        errors.SceneError: 1,
        errors.BadInput: 2,
        errors.RunUnknown: 2,
        errors.RunBusy: 2,
        errors.TargetUnknown: 2,
        errors.InfrastructureError: 3,
        errors.LeftRunning: 4,
        errors.Interrupted: 130,
    }
    assert {kind: kind.exit_code for kind in codes} == codes
    assert cli.INTERRUPTED == 130


def test_the_package_runs_as_a_module_and_keeps_its_functions() -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "cloudburst", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout == f"cloudburst, version {cloudburst.__version__}\n"
    # Whatever was imported before: a package of the same name would hide the function.
    assert cloudburst.plan.__name__ == "plan"
    assert cloudburst.run is jobs.run


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_every_option_is_explained(name: str) -> None:
    command = commands()[name]
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert command.help
    assert [option.name for option in options if not option.help] == []
