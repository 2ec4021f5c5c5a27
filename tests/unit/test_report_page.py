"""report.html: what it says of each end of a run, and that nothing in it is taken for HTML."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.errors import JournalFailed
from cloudburst.models import Cost, Outcome, RunReport, SceneStatus
from cloudburst.report import beside
from cloudburst.report.page import page, posters, text, timeline
from cloudburst.report.uses import broken_off, uses
from tests.support import pages

if TYPE_CHECKING:
    from cloudburst.journal.state import RunState

EVIL = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>\"'`"
VOID = {"meta", "img", "input", "br", "link"}


class Document(HTMLParser):
    """Reads a page: that tags match, its tables, its tags with their attributes, its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in VOID:
            return
        self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, (tag, self._open)

    def handle_data(self, data: str) -> None:
        if {"script", "style"} & set(self._open):
            return
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data
        self.text += data

    def table(self, first: str) -> list[list[str]]:
        """Return the rows of the table whose first column has a name."""
        (found,) = (rows for rows in self.tables if rows[0][0].strip() == first)
        return [[" ".join(cell.split()) for cell in row] for row in found]


def shown(report: RunReport, state: RunState | None = None, **how: Any) -> Document:
    went = uses(report.batches, report.scenes, report.cost)
    return Document(page.html(page.view(report, state, went, {}, **how)))


def troubled() -> tuple[RunReport, RunState]:
    return pages.troubled(Path("/out"))


@pytest.mark.parametrize(
    ("outcome", "headline"),
    [
        (Outcome.INTERRUPTED, "mountain-day: interrupted with 4 of 6 videos done, on aws after"),
        (Outcome.PARTIAL, "mountain-day: 4 of 6 videos are done, on aws in 2 min 14 s for at most"),
        (Outcome.FAILED, "mountain-day: 4 of 6 videos are done, on aws in 2 min 14 s"),
        (Outcome.COMPLETE, "mountain-day: all 6 videos are done, on aws in 2 min 14 s"),
    ],
)
def test_the_first_line_says_what_was_asked_and_what_became_of_it(
    outcome: Outcome, headline: str
) -> None:
    report, state = troubled()
    document = shown(replace(report, outcome=outcome), state)
    assert headline in document.text
    assert sum(tag == "h1" for tag, _ in document.tags) == 1


def test_why_scenes_failed_and_why_machines_were_left() -> None:
    document = shown(*troubled())
    assert "the video API answered 400: not a picture" in document.text
    ends = {row[0] + row[1][:24]: row[-1] for row in document.table("worker")[1:]}
    refused, worked, lost, _ = ends.values()
    assert refused == (
        "left for another machine, nothing left; InsufficientInstanceCapacity: "
        "InsufficientInstanceCapacity: no capacity for c5.2xlarge in us-east-1a"
    )
    assert worked == "destroyed"
    assert lost.startswith("the spot machine was reclaimed, destroyed; Server.SpotInstance")


def test_a_page_lists_so_many_reasons_and_warnings_as_can_be_read() -> None:
    report, state = pages.many(Path("/out"), 200, 10)
    scenes = tuple(
        replace(one, error=one.error and f"reason {number}", warnings=("no such font",))
        for number, one in enumerate(
            replace(s, status=SceneStatus.FAILED, error="x") for s in report.scenes
        )
    )
    document = shown(replace(report, scenes=scenes), state)
    assert document.text.count("reason ") >= 200, "the table has them all"
    before = document.text[: document.text.index("creating: the stack is being created")]
    assert len(re.findall(r"reason \d+", before)) == 20
    assert "180 more reasons; the table of scenes has them" in before
    assert "200 scenes: no such font" in document.text


def test_a_warning_of_few_scenes_names_them() -> None:
    report, state = troubled()
    scenes = tuple(replace(one, warnings=("no such font",)) for one in report.scenes[:2])
    document = shown(replace(report, scenes=scenes), state)
    assert "intro, brook: no such font" in document.text


def test_an_attempt_that_failed_is_beside_the_one_that_did_not() -> None:
    rows = {row[1]: row for row in shown(*troubled()).table("picture")}
    assert "b02, 4.0 s: the worker is gone" in rows["dogs"][3]
    assert "b01, 7.0 s: done" in rows["dogs"][3]
    assert rows["intro"][3] == ""


def test_what_was_sent_and_received_is_told_as_far_as_it_is_known() -> None:
    document = shown(*troubled())
    head, *rows = document.table("picture")
    sent, received = head.index("sent"), head.index("received")
    cells = {row[1]: (row[sent], row[received]) for row in rows}
    assert cells["intro"] == ("2.0 MB", "1.2 MB")
    assert cells["broken"] == ("", "")
    assert "4.9 MB" in document.text
    assert "8.0 MB sent" in document.text


def test_a_reason_is_told_once_in_a_row() -> None:
    rows = {row[1]: row for row in shown(*troubled()).table("picture")}
    assert rows["broken"][3].count("not a picture") == 1


def test_the_timeline_has_every_worker_with_what_it_did_and_what_happened_to_it() -> None:
    report, state = troubled()
    went = uses(report.batches, report.scenes, report.cost, broken_off(state))
    shown = timeline.timeline(went, {"intro": "scene-1"}, report.seconds)
    assert shown is not None
    assert [row.label for row in shown.rows] == ["b01", "b01", "b02", "b02.2"]
    refused, worked, lost, last = shown.rows
    assert [mark.sign for mark in refused.marks + worked.marks] == [timeline.FAILED]
    assert "left for another machine: InsufficientInstanceCapacity" in refused.marks[0].tip
    assert [mark.sign for mark in lost.marks] == [timeline.SPOT]
    assert "the spot machine was reclaimed" in lost.marks[0].tip
    # It was lost 54 s after the run began, of 134.
    assert lost.marks[0].x == pytest.approx(100 * 54 / 134, abs=1e-3)
    (intro,) = (block for block in worked.blocks if block.text == "intro")
    assert (intro.kind, intro.target) == ("render", "scene-1")
    assert intro.x == pytest.approx(100 * 51 / 134, abs=1e-3)
    assert intro.width == pytest.approx(100 * 6 / 134, abs=1e-3)
    (late,) = (block for block in last.blocks if block.kind == "broken")
    assert (late.text, late.width) == ("late", pytest.approx(100 * 15 / 134, abs=1e-3))
    # Nothing is drawn over anything else.
    for one, other in zip(shown.rows, shown.rows[1:], strict=False):
        assert one.y + one.height < other.y


def test_the_kinds_of_blocks_differ_in_more_than_colour() -> None:
    style = (Path(page.__file__).parent / "report.css").read_text()
    patterns = re.findall(r"\.b\.(\w+)\{fill:url\(#p-(\w+)\)", style)
    assert {kind for kind, _ in patterns} | {"idle", "render", "renewal"} == set(timeline.KINDS)


def test_costs_are_told_with_what_they_are_made_of() -> None:
    document = shown(*troubled())
    bill = document.table("part")
    assert bill[1] == ["machine", "0.05 h", "list price", "$0.0170"]
    assert ["egress", "0.004938 GB", "estimate", "$0.0004"] in bill
    assert bill[-1] == ["all", "", "", "at most $0.0197"]
    used = document.table("use")
    assert [row[0].split(":")[0] for row in used[1:5]] == [
        "creating and starting",
        "rendering",
        "idle",
        "destroying",
    ]
    assert used[-1][-1] == "$0.0197"


def test_other_ways_are_told_with_their_sources_or_not_at_all() -> None:
    report, state = troubled()
    ways = {row[0]: row for row in shown(report, state).table("way")}
    original = ways["the original tool's renderer on the same machines"]
    assert original[1] == "at least $0.0242"
    assert "docs/performance.md" in original[2]
    always = ways["one such machine, always on, a month"]
    assert always[1] == "$248.20", "0.34 USD for 730 hours"
    assert "AWS price list of 2026-11-24" in always[2]
    assert state.planned is not None
    public = replace(state.planned, renderers={"aws": "betashow/video-generation-api:latest"})
    ways = {row[0]: row for row in shown(report, replace(state, planned=public)).table("way")}
    assert "the original tool's renderer on the same machines" not in ways
    named = replace(state.planned, renderers={"aws": "cloudburst-fork/image:1"})
    ways = {row[0]: row for row in shown(report, replace(state, planned=named)).table("way")}
    assert "the original tool's renderer on the same machines" not in ways
    ways = {row[0]: row for row in shown(report, None).table("way")}
    assert "the original tool's renderer on the same machines" not in ways


def test_the_least_ratio_is_the_least_of_the_table_in_the_documentation() -> None:
    from cloudburst.report.page.money import LEAST_RATIO

    text = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    table = text.split("## Size by content")[1].split("## How sharp")[0]
    ratios = [float(found) for found in re.findall(r"\| ([\d.]+)x \|$", table, re.MULTILINE)]
    assert len(ratios) == 16
    assert min(ratios) == LEAST_RATIO


def test_what_rents_nothing_has_no_bill_and_is_compared_with_nothing() -> None:
    report, state = troubled()
    free = replace(report, cost=Cost(0.0, 9.0, "the local target rents nothing"))
    document = shown(free, state)
    assert "the local target rents nothing" in document.text
    assert not {"part", "way"} & {rows[0][0] for rows in document.tables}
    assert "USD" not in document.table("picture")[0]


def test_the_plan_is_beside_what_happened() -> None:
    rows = {row[0]: row[1:] for row in shown(*troubled()).table("what")}
    assert rows["scenes"] == ["6", "4 done"]
    assert rows["workers"] == ["2", "3"]
    assert rows["launches that gave no worker"] == ["0", "1"]
    assert rows["cost, likely"] == ["$0.0500", "at most $0.0197"]
    assert rows["cost, from low to worst"] == ["$0.0200 – $0.4000", ""]


def test_what_is_left_and_what_to_do_about_it_come_first() -> None:
    report, state = troubled()
    document = shown(replace(report, left_running=("b01: i-9 runs",), kept=("b02 until 9",)), state)
    assert document.text.index("i-9 runs") < document.text.index("Timeline\n")
    assert f"cloudburst cleanup {pages.RUN}" in document.text
    assert "nothing is left running" not in document.text
    assert f"cloudburst resume {pages.RUN}" in document.text


def test_a_run_that_is_going_on_is_told_as_one() -> None:
    document = shown(*troubled(), going_on=True)
    assert "4 of 6 videos so far" in document.text
    assert "nothing is left running" not in document.text


def test_a_run_that_never_had_a_worker_has_a_page() -> None:
    report, _ = troubled()
    none = replace(report, batches=(), cost=Cost(0.0, 0.0, "x"), seconds=0.0, phases={})
    document = shown(none)
    assert not any(attrs.get("id") == "plot" for _, attrs in document.tags)


def test_nothing_of_a_run_is_taken_for_html() -> None:
    report, state = troubled()
    bidi = "\u202e\u2066evil\u202c"
    scenes = tuple(
        replace(one, name=f"{EVIL}{bidi}{one.name}", error=one.error and EVIL, warnings=(EVIL,))
        for one in report.scenes
    )
    launch = replace(report.batches[0].launches[0], error=EVIL, code=EVIL, worker=EVIL, label=EVIL)
    batches = (replace(report.batches[0], label=EVIL, launches=(launch,)), *report.batches[1:])
    evil = replace(
        report, job=EVIL, scenes=scenes, batches=batches, left_running=(EVIL,), error=EVIL,
        run_id=EVIL, started_at=EVIL,
    )  # fmt: skip
    plain = shown(report, state)
    document = shown(evil, state)
    assert {tag for tag, _ in document.tags} <= {tag for tag, _ in plain.tags}
    assert sum(tag == "script" for tag, _ in document.tags) == 1
    handlers = [name for _, attrs in document.tags for name in attrs if name.startswith("on")]
    assert handlers == []
    assert EVIL in document.text


def test_a_link_to_a_video_stays_in_its_folder() -> None:
    report, state = troubled()
    first = report.scenes[0]
    assert first.artifact is not None
    named = replace(first.artifact, path=Path("/out/javascript:alert(1)?#.mp4"))
    document = shown(replace(report, scenes=(replace(first, artifact=named),)), state)
    (link,) = (attrs["href"] for _, attrs in document.tags if attrs.get("class") == "play")
    assert link == "./javascript%3Aalert%281%29%3F%23.mp4"


def test_the_page_asks_for_nothing_but_its_own_files() -> None:
    document = shown(*troubled())
    (policy,) = (
        attrs["content"]
        for _, attrs in document.tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "unsafe-inline" not in policy
    links = [attrs.get("href") or attrs.get("src") or "" for _, attrs in document.tags]
    assert not [link for link in links if "//" in link]


def test_whatever_cannot_be_written_is_a_warning(tmp_path: Path, monkeypatch: Any) -> None:
    report, state = pages.troubled(tmp_path)
    (tmp_path / "trace.json").mkdir()

    def broken(*_: object, **__: object) -> str:
        raise RuntimeError("the template is broken")

    monkeypatch.setattr(page, "document", broken)
    lines = beside.write(report, lambda: state)
    assert [line.split(" cannot be written: ")[1] for line in lines] == [
        "RuntimeError: the template is broken",
        "Is a directory",
    ]
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "launches.csv", "scenes.csv", "trace.json",
    ]  # fmt: skip


def test_a_journal_that_cannot_be_read_takes_only_its_part_of_the_page(tmp_path: Path) -> None:
    report, _ = pages.troubled(tmp_path)

    def unreadable() -> RunState:
        raise JournalFailed("journal.db cannot be read: disk I/O error")

    assert beside.write(report, unreadable) == ()
    document = Document((tmp_path / "report.html").read_text())
    assert "what" not in {rows[0][0] for rows in document.tables}
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def test_half_a_character_does_not_cost_the_page(tmp_path: Path) -> None:
    report, state = pages.troubled(tmp_path)
    report = replace(report, error="half of a character: \ud83d")
    assert beside.write(report, lambda: state) == ()
    assert r"\ud83d" in (tmp_path / "report.html").read_text()


def test_a_thousand_scenes_are_less_than_five_megabytes(tmp_path: Path) -> None:
    report, state = pages.many(tmp_path)
    went = uses(report.batches, report.scenes, report.cost)
    budget = posters.budget(len(report.scenes), 9.0)
    # Every picture of the largest size that the budget allows on average.
    picture = "data:image/jpeg;base64," + "A" * (budget.bytes // len(report.scenes) - 30)
    made = page.html(
        page.view(
            report, state, went, dict.fromkeys((scene.name for scene in report.scenes), picture)
        )
    )
    assert len(made.encode()) < 5_000_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0.00 s"), (0.42, "0.42 s"), (1, "1.0 s"), (99.94, "99.9 s"), (99.96, "1 min 40 s"),
     (252, "4 min 12 s"), (3599.6, "1 h 00 min"), (3780, "1 h 03 min")],
)  # fmt: skip
def test_lengths_of_time(value: float, expected: str) -> None:
    assert text.seconds(value) == expected


@pytest.mark.parametrize(
    ("whole", "last"), [(23.5, "20"), (134, "2:00"), (4000, "1:00:00"), (0.3, "0.3"), (1e6, None)]
)
def test_an_axis_has_few_marks_at_round_moments(whole: float, last: str | None) -> None:
    marks = timeline.ticks(whole)
    assert last is None or (len(marks) <= 9 and marks[-1][1] == last)
    assert marks[0] == (0.0, "0")
