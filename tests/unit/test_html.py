"""What a notebook shows of a plan, a preview and a report: tables, and every name escaped."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from cloudburst.models import (
    Artifact,
    Attempt,
    Basis,
    Batch,
    BatchResult,
    Cost,
    CostLine,
    Estimate,
    Job,
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

EVIL = "<script>alert('a & b')</script>"
VOID = {"br"}


class Document(HTMLParser):
    """Reads tables into rows of cells, everything else into one text; checks that tags match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag in VOID:
            return
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "tr" in self._open:
            self.rows[-1][-1] += data
        else:
            self.text += data


def scene(name: str, seconds: float) -> Scene:
    return Scene(name, Path("p.png"), Path("a.wav"), seconds)


def plan() -> Plan:
    first, second = (scene("a", 2.5), scene(EVIL, 1.0)), (scene("c", 3.0),)
    job = Job(EVIL, Path("scenes.yaml"), (*first, *second), Path("out"))
    return Plan(job, (Batch(1, first), Batch(2, second)))


RUNG = Rung("c5.large", "spot", "us-east-1", "us-east-1a")
ESTIMATE = Estimate(
    0.1, 0.25, 2.0, {"up": 60.0}, 30, RUNG, Price(0.34, "list <price>"), ("it rains",)
)


def report(cost: Cost, left: tuple[str, ...] = ()) -> RunReport:
    video = Artifact(Path("out/a.mp4"), 1_500_000, 5.04, 1920, 1080, 150)
    attempt = Attempt("b01", Span("render", 1, 3))
    scenes = (
        SceneResult("a", SceneStatus.DONE, 5.0, (attempt,), video, warnings=("no <font>",)),
        SceneResult(EVIL, SceneStatus.FAILED, 5.0, (attempt, attempt), error="it <broke>"),
    )
    return RunReport(
        run_id="run",
        job=EVIL,
        target="aws",
        outcome=Outcome.PARTIAL,
        started_at="2026-01-01T00:00:00+00:00",
        seconds=4.0,
        directory=Path("out/<run>"),
        scenes=scenes,
        batches=(BatchResult("b01", "run-b01", ()),),
        phases={},
        serial_seconds=6.0,
        cost=cost,
        left_running=left,
    )


def test_a_plan_is_a_table_of_batches() -> None:
    shown = Document(plan()._repr_html_())
    assert shown.text == f"{EVIL} on local: 2 workers for 3 scenes"
    assert shown.rows == [
        ["batch", "scenes", "narration", "names"],
        ["b01", "2", "3.5 s", f"a, {EVIL}"],
        ["b02", "1", "3.0 s", "c"],
        ["all", "3", "6.5 s", ""],
    ]
    assert "script" not in shown.tags


def test_a_preview_adds_resources_cost_and_notes() -> None:
    resource = PlannedResource("create", "aws:ec2/instance:Instance", "worker")
    stacks = (StackPreview(plan().batches[0], "run-b01", (resource,)),)
    shown = Document(Preview(plan(), stacks, ESTIMATE, ("<not> checked",))._repr_html_())
    assert shown.rows == Document(plan()._repr_html_()).rows
    assert "1 resource to create" in shown.text
    assert "cost: $0.2500 likely, $0.1000 low, $2.0000 worst" in shown.text
    assert "c5.large spot in us-east-1a at $0.3400/h (list <price>)" in shown.text
    assert shown.text.endswith("<not> checked")
    assert "resource" not in Document(Preview(plan())._repr_html_()).text


def test_a_report_is_a_table_of_scenes() -> None:
    shown = Document(report(Cost(0.0, 4.0, "nothing is <rented>"))._repr_html_())
    assert shown.rows == [
        ["scene", "status", "video", "size", "attempts", "notes"],
        ["a", "done", "5.0 s", "1920x1080", "1", "no <font>"],
        [EVIL, "failed", "", "", "2", "it <broke>"],
    ]
    assert shown.text == (
        f"{EVIL} on aws: partial, 1 of 2 videos in 4.0 s"
        "cost: $0.00 for 4 worker-seconds: nothing is <rented>in out/<run>"
    )
    assert "script" not in shown.tags


def test_a_bill_is_added_up_by_kind_with_its_source() -> None:
    lines = (
        CostLine("machine", "i-1", 1.0, "h", 0.25, Basis.LIST),
        CostLine("machine", "i-2", 1.0, "h", 0.5, Basis.LIST),
        CostLine("egress", "videos", 1.0, "GB", 0.09, Basis.ESTIMATE),
    )
    shown = Document(report(Cost(0.84, 7200.0, "billed by AWS", lines))._repr_html_())
    assert "cost: $0.8400 for 7200 worker-seconds: billed by AWS" in shown.text
    assert "machine $0.7500 (list price) + egress $0.0900 (estimate)" in shown.text


def test_what_is_left_running_stands_out() -> None:
    html = report(Cost(0.0, 0.0, ""), left=("machine <i-1>",))._repr_html_()
    assert "<b>LEFT RUNNING:</b> machine &lt;i-1&gt;" in html
