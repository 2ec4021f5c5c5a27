"""What the page shows, as the template takes it: texts that are ready, numbers that sort."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure at the top.

    Args:
        label: what it is.
        value: the figure.
        note: how it came to be, or what it is of; empty for none.
    """

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person has to know first.

    Args:
        kind: ``bad``, ``warn`` or ``info``.
        title: what it is.
        lines: of it.
        command: what to do; empty for nothing.
    """

    kind: str
    title: str
    lines: tuple[str, ...]
    command: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of the timeline.

    Args:
        kind: its class in the style sheet.
        x: where it begins, percent of the whole.
        width: percent of the whole.
        tip: what is shown of it when it is pointed at.
        lane: of a scene, counted from 0; -1 for one as high as its row.
        text: written into it.
        target: id of the row in the table of scenes; empty for none.
    """

    kind: str
    x: float
    width: float
    tip: str
    lane: int = -1
    text: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment of the timeline.

    Args:
        x: percent of the whole.
        sign: one character; of a renewal, which has a line, none.
        tip: what happened.
    """

    x: float
    sign: str
    tip: str


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """A worker in the timeline.

    Args:
        label: the worker's.
        note: the machine.
        y: pixels from the top.
        height: pixels.
        blocks: in the order in which they are drawn.
        marks: moments.
        renewals: moments at which the machine's lease was renewed.
    """

    label: str
    note: str
    y: int
    height: int
    blocks: tuple[Block, ...]
    marks: tuple[Mark, ...]
    renewals: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeline:
    """Workers by time.

    Args:
        seconds: that the whole width stands for.
        height: pixels.
        rows: one for each launch.
        legend: (class, name) of each kind of block that there is.
        text: what it shows, for who does not see it.
        ticks: (percent, text) of the axis.
    """

    seconds: float
    height: int
    rows: tuple[TimelineRow, ...]
    legend: tuple[tuple[str, str], ...]
    text: str
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure in a table.

    Args:
        text: as it is shown; empty where it is not known.
        value: by which the column is sorted.
    """

    text: str = ""
    value: float = -1.0


@dataclass(frozen=True, slots=True)
class Attempted:
    """An attempt in the table of scenes.

    Args:
        worker: label of the worker.
        took: how long.
        error: why it failed; empty when it did not.
    """

    worker: str
    took: str
    error: str


@dataclass(frozen=True, slots=True)
class SceneRow:
    """A scene in the table.

    Args:
        id: of the row.
        number: its place in the job.
        name: the scene's.
        status: code, for the style sheet and the filter.
        status_text: the same for people.
        link: relative address of its video; empty when there is none.
        poster: a small picture of it, a data URL; empty when there is none.
        portrait: the video is higher than wide.
        cells: figures, in the order of the columns.
        attempts: in order; none when there was one, and it did not fail.
        notes: warnings and the reason why it failed.
    """

    id: str
    number: int
    name: str
    status: str
    status_text: str
    link: str
    poster: str
    portrait: bool
    cells: tuple[Cell, ...]
    attempts: tuple[Attempted, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Args:
        title: its heading.
        columns: (name, whether it holds figures) of each.
        rows: texts of each, the first of which names the row.
        last: a row of totals; empty for none.
        notes: below it.
    """

    title: str
    columns: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[str, ...], ...]
    last: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason for which scenes failed.

    Args:
        text: the reason.
        scenes: (name, id of its row) of each.
    """

    text: str
    scenes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The page.

    Args:
        language: of its texts, as HTML names it.
        title: of the window.
        headline: what was asked and what became of it, in a line.
        verdict: ``good``, ``mixed``, ``bad`` or ``going``.
        facts: figures at the top.
        alerts: what a person has to know first.
        failures: why scenes failed.
        timeline: workers by time; None when no worker was ever asked for.
        costs: tables of what it cost, the first of which is the bill.
        plan: what was planned and what happened; None when the plan was not noted.
        workers: one row for each launch.
        scene_columns: (name, whether it holds figures) of each.
        scenes: in the order of the job.
        warnings: of the job's files, of targets and of the renderer.
        has_json: whether report.json is beside it.
        words: the page's own texts.
        origin: what wrote the page, and when.
    """

    language: str
    title: str
    headline: str
    verdict: str
    facts: tuple[Fact, ...]
    alerts: tuple[Alert, ...]
    failures: tuple[Reason, ...]
    timeline: Timeline | None
    costs: tuple[Table, ...]
    plan: Table | None
    workers: Table
    scene_columns: tuple[tuple[str, bool], ...]
    scenes: tuple[SceneRow, ...]
    warnings: tuple[str, ...]
    has_json: bool = True
    words: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""

    @property
    def noted(self) -> bool:
        """Whether there is anything to note of any scene."""
        return any(scene.attempts or scene.notes for scene in self.scenes)
