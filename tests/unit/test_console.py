"""What a person or a machine is shown."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from cloudburst import console
from cloudburst.journal.state import KILLED
from cloudburst.models import (
    Artifact,
    Attempt,
    Basis,
    Batch,
    BatchResult,
    Check,
    Cost,
    CostLine,
    Distribution,
    Estimate,
    Event,
    EventKind,
    Finding,
    Hooks,
    Job,
    Launch,
    Limits,
    Outcome,
    Plan,
    PlannedResource,
    Preview,
    Price,
    Rung,
    RunReport,
    Scene,
    SceneResult,
    SceneStatus,
    Span,
    StackPreview,
)
from cloudburst.report import json as report
from cloudburst.report.json import preview_document
from cloudburst.targets.local.target import PROCESS

if TYPE_CHECKING:
    from collections.abc import Sequence


def finished(directory: Path) -> RunReport:
    artifact = Artifact(directory / "a.mp4", 1_500_000, 5.0, 1920, 1080, 150)
    span, download = Span("render", 1, 3), Span("download", 3, 3.5)
    attempt = Attempt("b01", span, download, bytes_sent=2_000_000)
    scenes = (
        SceneResult("a", SceneStatus.DONE, 5.0, (attempt,), artifact, "baseline", ("no [font]",)),
        SceneResult("b", SceneStatus.FAILED, 5.0, (attempt,), error="it broke [badly]"),
        SceneResult("c", SceneStatus.UNFINISHED, 5.0),
    )
    launch = Launch("b01", "1@2", PROCESS, None, 1, (Span("up", 0, 1.23456),), destroyed=True)
    batches = (BatchResult("b01", "run-b01", (launch,)),)
    return RunReport(
        run_id="run",
        job="job",
        target="local",
        outcome=Outcome.PARTIAL,
        started_at="2026-01-01T00:00:00+00:00",
        seconds=4.0,
        directory=directory,
        scenes=scenes,
        batches=batches,
        phases={"up": 1.0, "drive": 2.0},
        serial_seconds=6.0,
        cost=Cost(0.0, 4.0, "nothing is rented"),
    )


def test_a_report_is_written_whole_and_as_json(tmp_path: Path) -> None:
    path = report.write(finished(tmp_path))
    written = json.loads(path.read_text())
    assert (written["done"], written["total"], written["speedup"]) == (1, 3, 1.5)
    assert written["outcome"] == "partial"
    assert written["scenes"][0]["artifact"]["path"] == str(tmp_path / "a.mp4")
    assert written["scenes"][1]["error"] == "it broke [badly]"
    spans = written["batches"][0]["launches"][0]["spans"]
    assert spans == [{"phase": "up", "start": 0, "end": 1.23456}]
    assert [scene["bytes_sent"] for scene in written["scenes"]] == [2_000_000, 2_000_000, 0]
    assert (written["bytes_sent"], written["bytes_received"]) == (4_000_000, 1_500_000)
    assert written["left_running"] == []
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_the_summary_names_what_failed_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console.show_report(finished(tmp_path))
    said = capsys.readouterr().out
    assert "b: failed: it broke [badly]" in said
    assert "c: unfinished: the run ended before it was done" in said
    assert "warning: a: no [font]" in said
    assert f"1 of 3 videos in {tmp_path}" in said
    assert "as fast as" not in said, "the workers shared this machine's cores"
    assert "$0.00 for 4 worker-seconds: nothing is rented" in said
    assert "1 stack destroyed and verified" in said


BEGUN: dict[str, object] = {"run": "20261124-101500-a1b2c3", "scenes": 2, "done": 0}
BY: dict[str, object] = {"worker": "b01"}
EVENTS = [
    Event(EventKind.ENGINE, 0.0, text="engine"),
    Event(EventKind.RUN_STARTED, 0.1, text="2 scenes", data=BEGUN),
    Event(EventKind.BATCH_STATE, 0.2, "b01", text="creating the stack", data={"state": "creating"}),
    Event(EventKind.BATCH_STATE, 0.3, "b01", text="rendering", data={"state": "working"}),
    Event(EventKind.SCENE_STARTED, 0.4, "b01", "a", "rendering a"),
    Event(EventKind.SCENE_RETRY, 0.5, "b01", "a", "hiccup"),
    Event(EventKind.SCENE_STARTED, 0.6, "b01", "a", "rendering a"),
    Event(EventKind.SCENE_DONE, 0.7, "b01", "a", "a.mp4, 5.0 s of video in 1.0 s", BY),
    Event(EventKind.SCENE_STARTED, 0.8, "b01", "b", "rendering b"),
    Event(EventKind.SCENE_FAILED, 0.9, "b01", "b", "it [broke]"),
    Event(EventKind.STOPPING, 1.0, text="stopping"),
    Event(EventKind.BATCH_STATE, 1.1, "b01", text="", data={"state": "gone"}),
]


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with console.Plain() as plain:
        for event in EVENTS:
            plain(event)
    lines = capsys.readouterr().out.splitlines()
    assert "    0.2 s  b01: creating the stack" in lines
    assert "    0.7 s  b01: a.mp4, 5.0 s of video in 1.0 s" in lines
    assert "    0.9 s  b01: b FAILED: it [broke]" in lines
    assert "    1.1 s  b01: gone" in lines
    assert len(lines) == 9


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with console.JsonLines() as lines:
        for event in EVENTS:
            lines(event)
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in said] == [str(event.kind) for event in EVENTS]
    assert said[2]["state"] == "creating"
    assert said[7]["scene"] == "a"


def test_live_lines_show_every_batch_and_keep_what_matters() -> None:
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=100, color_system=None)
    with console.LiveLines(terminal) as run_batch:
        for event in EVENTS[:5]:
            run_batch(event)
        terminal.print(run_batch._draw())
        for event in EVENTS[5:]:
            run_batch(event)
        terminal.print(run_batch._draw())
    said = out.getvalue()
    assert "working" in said
    assert "0 of 2 scenes" in said
    assert "1 of 2 scenes, 1 failed" in said
    assert "✓ a.mp4, 5.0 s of video in 1.0 s on b01" in said
    assert "✗ b: it [broke]" in said
    assert "1 done" in said


def test_the_watcher_fits_where_the_output_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(console.watcher(json_lines=True, quiet=False)) is console.JsonLines
    assert type(console.watcher(json_lines=False, quiet=True)) is console.Silent
    assert type(console.watcher(json_lines=False, quiet=False)) is console.Plain
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert type(console.watcher(json_lines=False, quiet=False)) is console.LiveLines


# -- rented machines ----------------------------------------------------------------------------

SPOT = Rung("c5.2xlarge", "spot", "us-east-1", "us-east-1a")
ON_DEMAND = Rung("m5.xlarge", "on-demand", "us-east-1", "us-east-1b")


def test_a_failover_is_a_plain_line_and_a_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    text = f"{SPOT}: InsufficientInstanceCapacity; next: {ON_DEMAND}"
    data: dict[str, object] = {"code": "InsufficientInstanceCapacity", "rung": str(SPOT)}
    event = Event(EventKind.FAILOVER, 12.34, "b01", None, text, data)
    console.Plain()(event)
    console.JsonLines()(event)
    plain, line = capsys.readouterr().out.splitlines()
    assert plain == (
        "   12.3 s  b01: failover: c5.2xlarge spot in us-east-1a: InsufficientInstanceCapacity; "
        "next: m5.xlarge on-demand in us-east-1b"
    )
    assert json.loads(line) == {
        "event": "failover",
        "seconds": 12.34,
        "batch": "b01",
        "scene": None,
        "text": text,
        "code": "InsufficientInstanceCapacity",
        "rung": "c5.2xlarge spot in us-east-1a",
    }


def test_a_failover_stays_above_the_live_lines() -> None:
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=100, color_system=None)
    with console.LiveLines(terminal) as run_batch:
        run_batch(Event(EventKind.FAILOVER, 1.0, "b01", None, "no [capacity]"))
    assert "↷ b01: no [capacity]" in out.getvalue()


def planned(most: float | None) -> Plan:
    scenes = (Scene("a [b]", Path("p"), Path("a"), 8.0), Scene("c", Path("p"), Path("a"), 4.5))
    limits = Limits(max_cost_usd=most)
    job = Job("job", Path("scenes.yaml"), scenes, Path("out"), "aws", limits=limits)
    return Plan(job, (Batch(1, scenes),))


ESTIMATE = Estimate(
    low=0.0081,
    likely=0.0154,
    worst=0.3125,
    phases={"boot": 120.0, "drive": 41.5, "destroy": 45.0},
    lease_minutes=45,
    first=SPOT,
    price=Price(0.1234, "spot price of 2026-11-24 12:00 UTC"),
    assumptions=("with a 30 GB disk [gp3]",),
)


def shown(preview: Preview, capsys: pytest.CaptureFixture[str]) -> list[str]:
    console.show_preview(preview)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_preview_says_what_it_would_cost_against_what_it_may(
    capsys: pytest.CaptureFixture[str],
) -> None:
    resource = PlannedResource("create", "aws:ec2/instance:Instance", "worker")
    plan = planned(0.05)
    stacks = (StackPreview(plan.batches[0], "run-b01", (resource,)),)
    assert shown(Preview(plan, stacks, ESTIMATE), capsys) == [
        "b01  2 scenes, 12.5 s of narration",
        "      a [b]  8.0 s",
        "      c  4.5 s",
        "   + create aws:ec2/instance:Instance worker",
        "",
        f"first choice: {SPOT} at $0.1234/h (spot price of 2026-11-24 12:00 UTC)",
        "likely: creating and starting 120 s · working 42 s · destroying 45 s",
        "cost: $0.0154 likely, $0.0081 low, $0.3125 worst, of at most $0.05 (limits.max_cost_usd)",
        "      with a 30 GB disk [gp3]",
        "",
        "1 stack, 1 resource to create on aws; nothing was created",
    ]


def test_a_preview_says_what_the_end_of_the_run_would_call(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = planned(None)
    hooks = Hooks(done="./publish.sh [all]", left_running="https://hooks.example.com/x")
    found = Preview(replace(plan, job=replace(plan.job, hooks=hooks)))
    lines = shown(found, capsys)
    assert "if every scene has its video: it would run `./publish.sh [all]` (on.done)" in lines
    assert (
        "if something cannot be verified as gone: report.json would be sent to "
        "https://hooks.example.com/x (on.left_running)"
    ) in lines
    assert len([line for line in lines if "(on." in line]) == 2
    assert preview_document(found)["hooks"] == {
        "done": "./publish.sh [all]",
        "left_running": "https://hooks.example.com/x",
    }
    assert not [line for line in shown(Preview(plan), capsys) if "(on." in line]


def test_a_preview_says_when_the_last_worker_starts(capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(None)
    waves = Distribution(launches_per_wave=2, launch_pause=12.5)
    batches = tuple(replace(plan.batches[0], number=number) for number in range(1, 6))
    paced = Preview(replace(plan, job=replace(plan.job, distribution=waves), batches=batches))
    assert (
        "launches: 2 at once, then a pause of 12.5 s; the last worker starts 25 s after the first "
        "(distribution.launch_pause)"
    ) in shown(paced, capsys)
    assert json.loads(json.dumps(report.preview_document(paced)))["last_launch"] == 25
    assert not any("launches:" in line for line in shown(Preview(plan), capsys))


def test_a_preview_without_a_limit_names_none(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(Preview(planned(None), estimate=ESTIMATE), capsys)
    assert "cost: $0.0154 likely, $0.0081 low, $0.3125 worst" in lines


def test_what_a_preview_has_noticed_is_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(1.0)
    stacks = (StackPreview(plan.batches[0], "run-b01", ()),)
    lines = shown(Preview(plan, stacks, notes=("boots cost [more]",)), capsys)
    assert "note: boots cost [more]" in lines
    assert not any("not checked" in line for line in lines)


def test_a_preview_says_what_was_not_checked(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(Preview(planned(1.0), notes=("offline: no [prices]",)), capsys)
    assert lines[-2:] == [
        "not checked: offline: no [prices]",
        "1 stack to come on aws; nothing was created",
    ]
    assert not [line for line in lines if "$" in line]


@pytest.mark.parametrize(
    ("check", "lines"),
    [
        (
            Check("credentials", Finding.OK, "account 123 [me]", "unused"),
            ["ok      credentials              account 123 [me]"],
        ),
        (
            Check("ap-southeast-1 firewall", Finding.OK, "a dry run is allowed"),
            ["ok      ap-southeast-1 firewall  a dry run is allowed"],
        ),
        (
            Check("quota", Finding.WARNING, "8 vCPUs of 32 are needed", "ask for [more]"),
            [
                "warning quota                    8 vCPUs of 32 are needed",
                "                                 → ask for [more]",
            ],
        ),
        (
            Check("region", Finding.ERROR, "not opted in", "opt in"),
            [
                "error   region                   not opted in",
                "                                 → opt in",
            ],
        ),
    ],
)
def test_a_finding_that_is_not_fine_says_how_to_mend_it(
    capsys: pytest.CaptureFixture[str], check: Check, lines: Sequence[str]
) -> None:
    console.show_check(check)
    assert capsys.readouterr().out.splitlines() == lines


def rented(directory: Path) -> RunReport:
    full = Launch(
        "b01",
        None,
        SPOT,
        Price(0.1234, "spot"),
        0,
        (Span("up", 0, 2), Span("destroy", 2, 3)),
        destroyed=True,
        code="InsufficientInstanceCapacity",
        error="no capacity",
    )
    taken = Launch(
        "b01",
        "i-1",
        SPOT,
        Price(0.1234, "spot"),
        1,
        (Span("up", 3, 5), Span("destroy", 9, 10)),
        destroyed=True,
        code="Server.SpotInstanceTermination",
        error="the worker is gone",
    )
    worked = Launch(
        "b01.2", "i-2", ON_DEMAND, Price(0.192, "list"), 2, (Span("up", 10, 80),), destroyed=True
    )
    broken = Launch("b02", None, SPOT, None, 0, (), destroyed=True, error="a bug")
    cost = Cost(
        usd=0.0126 + 0.0032 + 0.00045,
        worker_seconds=180.0,
        basis="by the second",
        lines=(
            CostLine("machine", "i-1 c5.2xlarge spot", 60 / 3600, "h", 0.36, Basis.SPOT, "i-1"),
            CostLine("disk", "i-1 30 GB gp3", 30 * 60 / 3600, "GB-h", 0.0032, Basis.LIST, "i-1"),
            CostLine(
                "machine", "i-2 m5.xlarge on-demand", 120 / 3600, "h", 0.198, Basis.LIST, "i-2"
            ),
            CostLine("disk", "i-2 30 GB gp3", 30 * 60 / 3600, "GB-h", 0.0032, Basis.LIST, "i-2"),
            CostLine("egress", "videos", 0.005, "GB", 0.09, Basis.ESTIMATE),
        ),
    )
    batches = (
        BatchResult("b01", "run-b01", (full, taken, worked)),
        BatchResult("b02", "run-b02", (broken,), "a bug"),
    )
    return replace(finished(directory), target="aws", batches=batches, cost=cost)


def test_the_summary_of_a_rented_run_shows_every_machine_and_what_it_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    console.show_report(rented(tmp_path))
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    record = said.index("worker machine $/h took billed videos end")
    assert said[record + 1 : record + 5] == [
        (
            "b01 c5.2xlarge spot in us-east-1a 0.1234 3 s – 0 "
            "InsufficientInstanceCapacity, nothing left"
        ),
        (
            "b01 c5.2xlarge spot in us-east-1a 0.1234 7 s 60 s 1 "
            "Server.SpotInstanceTermination, destroyed"
        ),
        "b01.2 m5.xlarge on-demand in us-east-1b 0.1920 70 s 120 s 2 destroyed",
        "b02 c5.2xlarge spot in us-east-1a 0 s – 0 failed, nothing left",
    ]
    # 60 s at 0.36 and 120 s at 0.198; half a GB-hour twice.
    assert (
        "machine $0.0126 (spot price at launch, list price) + disk $0.0032 (list price) "
        "+ egress $0.0004 (estimate)"
    ) in said
    assert "$0.0163 for 180 worker-seconds: by the second" in said
    assert "4.0 MB sent, 1.5 MB of videos received" in said


def test_a_machine_that_may_still_run_is_shown_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    whole = rented(tmp_path)
    left = replace(whole.batches[0].launches[2], destroyed=False, error="teardown not verified")
    batches = (replace(whole.batches[0], launches=(left,)),)
    console.show_report(replace(whole, batches=batches, left_running=("run-b01: i-2",)))
    said = capsys.readouterr().out
    assert "LEFT RUNNING" in said
    assert "nothing is left running" not in said


def test_a_machine_whose_run_was_killed_did_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    whole = rented(tmp_path)
    killed = replace(whole.batches[0].launches[2], error=KILLED)
    console.show_report(replace(whole, batches=(replace(whole.batches[0], launches=(killed,)),)))
    said = capsys.readouterr().out
    assert "its run was killed, destroyed" in said
    assert "failed, destroyed" not in said


def test_where_nothing_is_rented_there_is_no_table_of_machines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console.show_report(finished(tmp_path))
    said = capsys.readouterr().out
    assert "$/h" not in said
    assert "billed" not in said


def test_the_bill_of_a_machine_that_was_never_seen_is_no_launchs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    whole = rented(tmp_path)
    unseen = CostLine("machine", "unseen c5.2xlarge spot", 0.5, "h", 0.36, Basis.ESTIMATE)
    cost = replace(whole.cost, lines=(*whole.cost.lines, unseen))
    console.show_report(replace(whole, cost=cost))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    (full,) = [line for line in lines if "InsufficientInstanceCapacity" in line]
    assert " 3 s – 0 " in full


def test_a_rented_runs_report_has_every_line_of_the_bill(tmp_path: Path) -> None:
    written = json.loads(report.write(rented(tmp_path)).read_text())
    first = written["batches"][0]["launches"][0]
    assert (first["code"], first["rung"]["zone"], first["price"]["usd_per_hour"]) == (
        "InsufficientInstanceCapacity",
        "us-east-1a",
        0.1234,
    )
    assert written["cost"]["lines"][0] == {
        "kind": "machine",
        "what": "i-1 c5.2xlarge spot",
        "quantity": 0.016667,
        "unit": "h",
        "rate": 0.36,
        "basis": "spot price at launch",
        "usd": 0.006,
    }
    total = sum(line["usd"] for line in written["cost"]["lines"])
    assert written["cost"]["usd"] == pytest.approx(total, abs=1e-5)
    assert [batch["scenes_done"] for batch in written["batches"]] == [3, 0]
