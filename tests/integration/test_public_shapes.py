"""The keys of what machines read are public: events, report.json, the audit, the dry run."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.inputs import scenes_yaml
from tests.support.runs import CliRun, cli_run, command, state_is

if TYPE_CHECKING:
    from collections.abc import Callable

# Recorded from release 0.1.0, before its modules were moved. New keys may join.
RECORDED = json.loads(
    (Path(__file__).parents[1] / "support" / "surface" / "shapes.json").read_text("utf-8")
)
TWO_BATCHES = "distribution: {scenes_per_batch: 1, min_scenes_per_batch: 1}\n"

pytestmark = pytest.mark.stack


def shape(value: Any) -> Any:
    """Return the keys and types of a JSON value; None for what is empty or null."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        merged = None
        for item in value:
            merged = joined(merged, shape(item))
        return None if merged is None else [merged]
    if value is None:
        return None
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else "text"


def joined(first: Any, second: Any) -> Any:
    if isinstance(first, dict) and isinstance(second, dict):
        return {key: joined(first.get(key), second.get(key)) for key in {**first, **second}}
    return second if first is None else first


def lost(recorded: Any, now: Any, path: str = "") -> list[str]:
    """List what a shape had and has no more. What is null in one of them is not compared."""
    if not recorded or now is None:
        return []
    if isinstance(recorded, list) and isinstance(now, list):
        return lost(recorded[0], now[0], f"{path}[]")
    if isinstance(recorded, dict) and isinstance(now, dict):
        gone = [f"{path}.{key}" for key in recorded if key not in now]
        kept = [key for key in recorded if key in now]
        return gone + [
            line for key in kept for line in lost(recorded[key], now[key], f"{path}.{key}")
        ]
    return [] if recorded == now else [f"{path}: {recorded} became {now}"]


def said_while_working(running: CliRun, *commands: str) -> list[Any]:
    """Return commands' JSON while a run works; it stands still, so that its end does not race."""
    running.until(state_is("working"))
    os.kill(running.process.pid, signal.SIGSTOP)
    said = [json.loads(command(name, "--json").stdout) for name in commands]
    os.kill(running.process.pid, signal.SIGCONT)
    return said


def test_a_comparison_sees_what_is_gone() -> None:
    before = {"a": "text", "b": [{"c": "number"}], "d": None}
    assert lost(before, {"a": "text", "b": [{"c": "number", "e": "text"}], "d": "text"}) == []
    assert lost(before, {"a": "number", "b": [{}]}) == [".d", ".a: text became number", ".b[].c"]


def test_a_run_and_what_looks_at_it_have_the_keys_they_had(
    job_file: Callable[..., Path], tmp_path: Path
) -> None:
    job = job_file(scenes_yaml(2, TWO_BATCHES))
    with cli_run(job, tmp_path / "out") as running:
        audited, listed = said_while_working(running, "audit", "ps")
        code, errors = running.finish()
    assert code == 0, errors
    scenes = {(event["event"], event["scene"]): event["seconds"] for event in running.events}
    for scene in ("s01", "s02"):
        took = scenes["scene_done", scene] - scenes["scene_started", scene]
        assert took > 0, "when an event was, not how long something took"
    events = {event["event"]: event for event in running.events}
    report = events["run_finished"].pop("report")
    for kind, event in events.items():
        assert lost(RECORDED["events"][kind], shape(event), kind) == []
    assert {"run_started", "batch_state", "scene_started", "scene_done", "run_finished"} <= set(
        events
    )
    assert lost(RECORDED["report"], shape(report), "report") == []
    (folder,) = (tmp_path / "out").iterdir()
    assert json.loads((folder / "report.json").read_text()) == report
    assert lost(RECORDED["audit"], shape(audited), "audit") == []
    assert audited["runs"][0]["owner"]["pid"] == running.process.pid
    assert lost(RECORDED["runs"], shape(listed), "ps") == []
    (run,) = listed["runs"]
    assert (run["state"], run["scenes"], run["owner"]["pid"]) == ("running", 2, running.process.pid)
    assert_commands_have_their_keys(run["run_id"])


def assert_commands_have_their_keys(run_id: str) -> None:
    """Assert that what looks at a finished run has the keys that are documented."""
    past = json.loads(command("history", "--json").stdout)
    assert lost(RECORDED["runs"], shape(past), "history") == []
    shown = json.loads(command("show", run_id, "--json").stdout)
    assert lost(RECORDED["run"], shape(shown), "show") == []
    assert lost(RECORDED["report"], shape(shown["report"]), "show.report") == []
    cost = json.loads(command("cost", "--json").stdout)
    assert lost(RECORDED["cost"], shape(cost), "cost") == []
    assert cost["usd"] == 0


def test_a_dry_run_has_the_keys_it_had(job_file: Callable[..., Path], tmp_path: Path) -> None:
    job = job_file(scenes_yaml(2, TWO_BATCHES))
    with cli_run(job, tmp_path / "out", "--dry-run") as running:
        assert running.process.stdout is not None
        preview = json.loads(running.process.stdout.read())
        assert running.process.wait(60) == 0
    assert lost(RECORDED["preview"], shape(preview), "preview") == []
