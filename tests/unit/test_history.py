"""What is known of earlier runs, and what they cost."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click.testing
import pytest

from cloudburst import cli, history
from cloudburst.errors import RunUnknown
from cloudburst.history import RunStatus, spending
from cloudburst.journal import lock, registry
from cloudburst.models import Outcome, Span
from cloudburst.report import again, tables
from tests.support.pasts import (
    BEGAN,
    FULL,
    RUN,
    SPANS,
    begun,
    launched,
    now_is,
    record_of,
    rendered,
    rental,
    whole_run,
    with_rentals,
    worked,
)

if TYPE_CHECKING:
    from pathlib import Path

# 3.6 USD an hour, and the address at AWS's list price.
SECOND = (3.6 + 0.005) / 3600


def called(*arguments: str) -> str:
    """Return what a command prints."""
    done = click.testing.CliRunner().invoke(cli.group, list(arguments), standalone_mode=False)
    assert done.exception is None, done.exception
    assert done.return_value in (0, None)
    return done.output


def called_json(*arguments: str) -> Any:
    return json.loads(called(*arguments, "--json"))


# -- reading ------------------------------------------------------------------------------------


def test_a_run_is_read_as_it_ended(tmp_path: Path) -> None:
    whole_run(tmp_path / "out")
    run = history.load("20261124")
    assert (run.status, run.done, run.failed, run.scenes) == (RunStatus.PARTIAL, 1, 1, 2)
    assert run.usd == pytest.approx(300 * SECOND + 0.001 * 0.09, rel=1e-6)
    assert (run.usd_per_hour, run.workers, run.owner, run.why) == (0.0, 0, None, "")
    assert not run.open


def test_what_workers_were_used_for_adds_up_to_their_time_and_cost(tmp_path: Path) -> None:
    whole_run(tmp_path / "out")
    run = history.load(RUN)
    seconds = {use.name: use.seconds for use in run.uses}
    # The first worker had a scene for 20 of 40 s, the second for 40 of 160 s.
    assert seconds == {"boot": 60, "render": 60, "idle": 140, "end": 40}
    machines = sum(charge.usd for charge in run.charges if charge.machine)
    assert sum(use.usd for use in run.uses) == pytest.approx(machines)
    assert run.other_usd == pytest.approx(run.usd - machines), "the downloads"
    assert run.minimum_usd == 0
    usd = {use.name: use.usd for use in run.uses}
    assert usd["idle"] == pytest.approx(140 * SECOND)


def test_what_show_says_adds_up_to_the_cost_with_a_minute_at_least(tmp_path: Path) -> None:
    with begun(tmp_path / "out") as held:
        held.rental(rental("i-1", BEGAN, BEGAN + 20))
        held.rental(rental("i-2", BEGAN, BEGAN + 100))
        worked(held, "i-1", (Span("up", 0, 8), Span("drive", 8, 12), Span("destroy", 12, 20)))
        held.end("failed")
    run, said, document = history.load(RUN), called("show", RUN), called_json("show", RUN)
    assert run.usd == pytest.approx(160 * SECOND)
    assert f"billed beyond that, 60 s at least: ${40 * SECOND:.4f}" in said
    assert f"downloads and other: ${100 * SECOND:.4f}" in said, "no launch names the other machine"
    parts = sum(use["usd"] for use in document["uses"])
    parts += document["minimum_usd"] + document["other_usd"]
    assert parts == pytest.approx(document["usd"], abs=1e-5)


def test_a_scene_that_was_broken_off_is_no_idle_time(tmp_path: Path) -> None:
    with begun(tmp_path / "out") as held:
        held.rental(rental("i-1", BEGAN, BEGAN + 100))
        held.attempt("a", "b01", "mark", 42.0)
        worked(held, "i-1", SPANS)
        held.now = lambda: 101.0
        held.end("interrupted")
    run = history.load(RUN)
    assert {use.name: use.seconds for use in run.uses} == {
        "boot": 40,
        "render": 38,
        "idle": 2,
        "end": 20,
    }
    folder = run.record.path
    again.write(folder)
    (row,) = csv.DictReader((folder / tables.LAUNCHES).read_text().splitlines())
    assert (row["render_seconds"], row["idle_seconds"]) == ("38.0", "2.0")
    scenes = {
        row["scene"]: row["usd"]
        for row in csv.DictReader((folder / tables.SCENES).read_text().splitlines())
    }
    assert float(scenes["a"]) == pytest.approx(100 * SECOND, abs=1e-6)


def test_what_goes_on_has_lasted_until_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_is(monkeypatch, BEGAN)
    with begun(tmp_path / "out", target="local") as held:
        row = launched(held, target="local")
        held.progress(row, "working", (Span("up", 0, 20), Span("health", 20, 40)))
        held.attempt("a", "b01", "mark", 42.0)
        now_is(monkeypatch, BEGAN + 100)
        run, said = history.load(RUN), called("show", RUN)
        page = again.write(run.record.path).page.read_text()
    seconds = {use.name: use.seconds for use in run.uses}
    assert seconds == {"boot": 40, "render": 58, "idle": 2, "end": 0}
    assert "working 60.0 s" in said
    assert "being rendered now: a on b01 for 58 s" in said
    assert "a: being rendered for 58" in page
    assert "broken off" not in page
    killed = called("show", RUN)
    assert "being rendered now" not in killed


def test_a_stack_that_is_being_created_has_taken_until_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_is(monkeypatch, BEGAN)
    with begun(tmp_path / "out", target="local") as held:
        now_is(monkeypatch, BEGAN + 10)
        row = launched(held, target="local")
        held.progress(row, "creating", ())
        now_is(monkeypatch, BEGAN + 25)
        seconds = {use.name: use.seconds for use in history.load(RUN).uses}
    assert seconds == {"boot": 15, "render": 0, "idle": 0, "end": 0}


@pytest.mark.parametrize("outcome", [str(one) for one in Outcome])
def test_every_outcome_is_a_status(tmp_path: Path, outcome: str) -> None:
    with_rentals(tmp_path / "out", RUN, outcome=outcome)
    assert str(history.load(RUN).status) == outcome


def test_a_run_without_an_end_was_killed_unless_somebody_holds_it(tmp_path: Path) -> None:
    with begun(tmp_path / "out"):
        running = history.load(RUN)
    assert running.status is RunStatus.RUNNING
    assert running.owner == lock.this_process()
    killed = history.load(RUN)
    assert (killed.status, killed.owner) == (RunStatus.KILLED, None)


def test_a_machine_that_runs_costs_up_to_now_and_something_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_is(monkeypatch, BEGAN + 600)
    with begun(tmp_path / "out") as held:
        held.rental(rental("i-1", BEGAN, None))
        launched(held)
        run = history.load(RUN)
    assert run.usd == pytest.approx(600 * SECOND)
    assert run.usd_per_hour == pytest.approx(3600 * SECOND)
    assert run.workers == 1
    assert history.total(history.spent([run], BEGAN + 300)) == pytest.approx(300 * SECOND)
    now_is(monkeypatch, BEGAN + 5 * 3600)
    later = history.load(RUN)
    assert later.usd == pytest.approx(4 * 3600 * SECOND), "its lease has ended it"
    assert later.usd_per_hour == 0
    assert later.open, "nobody has noted it as gone"


def test_runs_of_which_nothing_is_left_are_listed_with_the_reason(
    tmp_path: Path, state: Path
) -> None:
    registry.register(record_of(tmp_path / "gone", RUN))
    broken = tmp_path / "broken"
    with_rentals(broken, "20261125-101500-a1b2c3")
    (broken / "journal.db").write_bytes(b"no database" * 1000)
    gone, unreadable = history.everything()
    assert (gone.status, unreadable.status) == (RunStatus.GONE, RunStatus.UNREADABLE)
    assert gone.why == f"its folder is gone: {tmp_path / 'gone'}"
    assert "journal.db cannot be read" in unreadable.why
    assert [run.run_id for run in history.uncounted([gone, unreadable])] == [
        gone.run_id,
        unreadable.run_id,
    ]
    assert state.exists()


def test_a_run_is_found_by_id_beginning_or_folder_and_moves_with_it(tmp_path: Path) -> None:
    whole_run(tmp_path / "out")
    moved = (tmp_path / "out").rename(tmp_path / "elsewhere")
    assert history.load(moved).record.folder == str(moved)
    (moved).rename(tmp_path / "out")
    assert history.load(RUN).record.folder == str(tmp_path / "out")
    with pytest.raises(RunUnknown, match="no run '2027'"):
        history.load("2027")


# -- spending -----------------------------------------------------------------------------------


def test_a_line_is_divided_where_a_span_of_time_cuts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_is(monkeypatch, BEGAN + 1e6)
    with_rentals(tmp_path / "out", RUN, rental("i-1", BEGAN, BEGAN + 1000))
    runs = history.everything()
    for since, until, seconds in [
        (0.0, float("inf"), 1000),
        (BEGAN + 250, float("inf"), 750),
        (0.0, BEGAN + 100, 100),
        (BEGAN + 100, BEGAN + 101, 1),
        (BEGAN + 1000, float("inf"), 0),
    ]:
        usd = history.total(history.spent(runs, since, until))
        assert usd == pytest.approx(seconds * SECOND), (since, until)


def test_days_are_those_of_utc_and_come_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    midnight = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
    now_is(monkeypatch, midnight + 1e6)
    with_rentals(
        tmp_path / "b", "20261120-000000-000000", rental("i-2", midnight + 9e4, midnight + 9e4 + 60)
    )
    with_rentals(tmp_path / "a", RUN, rental("i-1", midnight - 100, midnight + 300))
    groups = history.grouped(history.spent(history.everything()), "day")
    assert [(group.key, round(group.usd / SECOND)) for group in groups] == [
        ("2026-11-19", 100),
        ("2026-11-20", 300),
        ("2026-11-21", 60),
    ]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("job", [("tour", 300)]),
        ("target", [("aws", 300)]),
        ("type", [("c5.4xlarge", 200), ("c5.2xlarge", 100)]),
        ("market", [("on-demand", 200), ("spot", 100)]),
    ],
)
def test_costs_are_grouped_with_the_dearest_first(
    tmp_path: Path, by: history.By, expected: list[tuple[str, int]]
) -> None:
    with_rentals(
        tmp_path / "out",
        RUN,
        rental("i-1", BEGAN, BEGAN + 100),
        rental("i-2", BEGAN, BEGAN + 200, rung=FULL),
    )
    groups = history.grouped(history.spent(history.everything()), by)
    assert [(group.key, round(group.usd / SECOND)) for group in groups] == expected


def test_a_month_begins_in_utc() -> None:
    at = datetime.fromisoformat("2026-11-01T00:30:00+02:00").timestamp()
    began = datetime.fromtimestamp(spending.month_began(at), UTC)
    assert began.isoformat() == "2026-10-01T00:00:00+00:00"


# -- the commands -------------------------------------------------------------------------------


def test_ps_lists_what_goes_on_and_what_died_with_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_is(monkeypatch, BEGAN + 600)
    assert "no run is going on" in called("ps")
    whole_run(tmp_path / "over", "20261120-101500-a1b2c3")
    with begun(tmp_path / "out") as held:
        held.rental(rental("i-1", BEGAN, None))
        said, (listed,) = called("ps"), called_json("ps")["runs"]
    assert RUN in said
    assert "0 of 2" in said
    assert "running" in said
    assert f"${600 * SECOND:.4f}" in said
    assert "$3.6050/h now" in said
    assert (listed["run_id"], listed["state"], listed["usd_per_hour"]) == (RUN, "running", 3.605)
    assert listed["owner"]["pid"] == lock.this_process().pid
    assert "no run is going on" in called("ps")


def test_history_lists_the_newest_first(tmp_path: Path) -> None:
    for number in range(22):
        whole_run(tmp_path / str(number), f"202611{number + 1:02d}-101500-a1b2c3")
    said = called("history").splitlines()
    assert said[1].startswith("20261122-101500-a1b2c3  2026-11-24 10:15+00:00")
    assert "partial" in said[1]
    assert "1 of 2, 1 failed" in said[1]
    assert "2 older runs; --all lists them" in said[-1]
    assert len(called_json("history")["runs"]) == 20
    assert len(called_json("history", "--all")["runs"]) == 22


def test_show_says_what_failed_and_why_and_why_a_machine_was_left(tmp_path: Path) -> None:
    whole_run(tmp_path / "out")
    said = called("show", RUN)
    for expected in (
        "b: failed: it is too loud",
        "1 of 2 videos",
        (
            "c5.2xlarge spot in us-east-1a was left for c5.4xlarge on-demand in us-east-1b: "
            "the worker is gone: spot instance taken back"
        ),
        "idle 2 min (47 %, $0.1402)",
        "go on with the rest: cloudburst resume",
    ):
        assert expected in said
    document = called_json("show", RUN)
    assert document["report"]["scenes"][1]["error"] == "it is too loud"
    assert [use["name"] for use in document["uses"]] == ["boot", "render", "idle", "end"]


def refused_everywhere(folder: Path, *, code: str = "InsufficientInstanceCapacity") -> None:
    """Write a run whose five batches were refused alike, each with a request id of its own."""
    with begun(folder) as held:
        for number in (2, 1, 3, 5, 4):  # as it happens, not in their order
            words = (
                f"creating EC2 Instance: RequestID: {number}, api error {code}: We currently do "
                "not have sufficient c5.2xlarge capacity. Our system will be working on it."
            )
            label = f"b{number:02d}"
            worked(held, "", (Span("up", 0, 5),), label=label, error=words, code=code)
            worked(held, f"i-{number}", (Span("up", 6, 20),), label=label, rung=FULL)
        held.end("partial")


def test_machines_that_were_refused_alike_share_a_line_with_the_providers_words(
    tmp_path: Path,
) -> None:
    refused_everywhere(tmp_path / "out")
    said = called("show", RUN)
    (line,) = (line for line in said.splitlines() if "was left for" in line)
    assert line == (
        "↷ 5 workers (b01, b02, b03 and 2 more): c5.2xlarge spot in us-east-1a was left for "
        "c5.4xlarge on-demand in us-east-1b: InsufficientInstanceCapacity: We currently do not "
        "have sufficient c5.2xlarge capacity. Our system will be working on it."
    )
    assert said.count("InsufficientInstanceCapacity, nothing left") == 5
    rows = [line.split()[0] for line in said.splitlines() if "nothing left" in line]
    assert rows == ["b01", "b02", "b03", "b04", "b05"]
    again.write(tmp_path / "out")
    with (tmp_path / "out" / "launches.csv").open(newline="") as file:
        refused = [row for row in csv.DictReader(file) if row["code"]]
    assert all(f"ID: {n}, api" in row["error"] for n, row in enumerate(refused, start=1))
    assert len(refused) == 5
    assert {row["destroyed"] for row in refused} == {"yes"}


def test_a_run_that_goes_on_is_not_shown_as_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_is(monkeypatch, BEGAN + 600)
    with begun(tmp_path / "out") as held:
        for label in ("b01", "b02"):
            launched(held, label)
            held.rental(rental(f"i-{label}", BEGAN, None, stack=f"run-{label}"))
        said = called("show", RUN, "--verbose")
    assert said.count("c5.4xlarge on-demand") == 2
    assert "LEFT RUNNING" not in said
    assert "cloudburst resume" not in said, "it goes on by itself"
    assert f"${7200 * SECOND:.4f}/h now" in said
    killed = called("show", RUN, "--verbose")
    assert killed.count("LEFT RUNNING") == 2
    assert "cloudburst audit" in killed


def test_a_thousand_scenes_on_a_hundred_workers_are_one_row_and_few_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_is(monkeypatch, BEGAN + 600)
    scenes = tuple((f"scene-{number:04d}", 8.0) for number in range(1000))
    with begun(tmp_path / "out", scenes=scenes) as held:
        held._db.execute("PRAGMA synchronous = OFF")
        for number in range(1, 101):
            label = f"b{number:02d}"
            launched(held, label)
            held.rental(rental(f"i-{number}", BEGAN, None, stack=f"run-{label}"))
        rendered(held, "scene-0000", "b01", 10.0, 20.0)
        listed, shown = called("ps"), called("show", RUN)
    (row,) = [line for line in listed.splitlines() if RUN in line]
    assert "1 of 1000" in row
    assert "  100  " in row
    assert "100 more workers, 1 video, running" in shown
    assert len(shown.splitlines()) <= 15


def test_cost_counts_failed_runs_and_says_what_it_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_is(monkeypatch, BEGAN + 600)
    with_rentals(tmp_path / "out", RUN, rental("i-1", BEGAN, BEGAN + 100), outcome="failed")
    registry.register(record_of(tmp_path / "gone", "20261120-101500-a1b2c3"))
    registry.register(record_of(tmp_path / "gone", "20261121-101500-a1b2c3", target="local"))
    said = called("cost", "--by", "type")
    assert f"c5.2xlarge  {100 * SECOND:.4f}" in said
    assert "not counted: 20261120-101500-a1b2c3: its folder is gone" in said
    assert "20261121" not in said, "what rents nothing has cost nothing"
    document = called_json("cost", "--since", "2026-01-01", "--by", "day")
    assert document["usd"] == pytest.approx(100 * SECOND, abs=1e-6)
    assert document["groups"][0]["machine_hours"] == pytest.approx(100 / 3600, abs=1e-6)
    assert called_json("cost", "--since", "5d", "--until", "4d")["usd"] == 0


def test_a_month_stands_for_its_beginning_and_no_cost_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_is(monkeypatch, BEGAN + 600)
    with_rentals(tmp_path / "out", RUN, rental("i-1", BEGAN, BEGAN + 100))
    month = datetime.fromtimestamp(BEGAN, UTC).strftime("%Y-%m")
    assert f"${100 * SECOND:.4f} from " in called("cost", "--since", month)
    for nothing in (("--since", "2025-01", "--until", month), ("--since", "2h", "--until", "1h")):
        said = called("cost", *nothing, "--by", "day")
        assert said.startswith("no run cost anything from ")
        assert "$" not in said
        assert "days are" not in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--since", "2099-12-01"), "--since is in the future"),
        (("--since", "2099-12", "--until", "2100-01"), "--since is in the future"),
        (("--since", "2d", "--until", "3d"), "--until is not after --since"),
        (("--since", "0d"), "got '0d'; expected more than 0"),
        (("--until", "0.0h"), "got '0.0h'; expected more than 0"),
    ],
)
def test_a_span_of_time_that_is_none_is_refused(given: tuple[str, ...], said: str) -> None:
    done = click.testing.CliRunner().invoke(cli.group, ["cost", *given])
    assert done.exit_code == 2
    assert said in done.output


@pytest.mark.parametrize("since", ["soon", "30", "2026-13-01", "2026-13", "-1d"])
def test_a_moment_that_is_none_is_refused(since: str) -> None:
    done = click.testing.CliRunner().invoke(cli.group, ["cost", "--since", since])
    assert done.exit_code == 2
    assert "expected 12h, 30d, 4w, a month such as 2026-10 or a date" in done.output


@pytest.mark.parametrize("name", ["ps", "history", "show", "cost"])
def test_help_has_an_example_that_parses(name: str) -> None:
    help_text = called(name, "--help")
    example = help_text.partition("Examples:\n")[2].splitlines()[0].split()
    assert example[:3] == ["$", "cloudburst", name]
    command = cli.group.commands[name]
    command.make_context(name, example[3:])
