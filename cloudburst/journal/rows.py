"""Values ↔ rows of the journal, each pair in one place. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst.models import (
    Artifact,
    Attempt,
    Basis,
    DownloadedVideo,
    Estimate,
    Launch,
    Phase,
    PlannedBatch,
    PlannedRun,
    Price,
    Renewal,
    Rental,
    Rung,
    RunRecord,
    Span,
    UnfinishedWorker,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Row = dict[str, Any]


# -- run ----------------------------------------------------------------------------------------


def record_row(record: RunRecord) -> dict[str, str]:
    """Return a run's record as the names and values of the table ``run``."""
    limit = record.max_cost_usd
    return {
        "run": record.run_id,
        "job": record.job,
        "source": record.source,
        "target": record.target,
        "folder": record.folder,
        "began": record.began,
        "max_cost_usd": "" if limit is None else repr(limit),
        "scenes": json.dumps(record.scenes),
    }


def record_of(values: Mapping[str, str]) -> RunRecord | None:
    """Return the record that the table ``run`` holds, None when its run was killed before."""
    if not values:
        return None
    limit = values.get("max_cost_usd")
    return RunRecord(
        run_id=values["run"],
        job=values["job"],
        source=values["source"],
        folder=values["folder"],
        target=values["target"],
        began=values["began"],
        max_cost_usd=float(limit) if limit else None,
        scenes=tuple((name, seconds) for name, seconds in json.loads(values.get("scenes", "[]"))),
    )


def plan_text(planned: PlannedRun) -> str:
    """Return what a run set out to do as its journal stores it."""
    return json.dumps(asdict(planned), ensure_ascii=False)


def plan_of(values: Mapping[str, str]) -> PlannedRun | None:
    """Return what a run set out to do.

    None when its release did not note it, or noted it in another shape: the run itself does not
    depend on it.
    """
    try:
        stored = json.loads(values["plan"])
        return PlannedRun(
            batches=tuple(PlannedBatch(**one) for one in stored["batches"]),
            estimates={name: _estimate(one) for name, one in stored["estimates"].items()},
            renderers=dict(stored["renderers"]),
            notes=tuple(stored["notes"]),
            warnings=tuple(stored["warnings"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _estimate(stored: Row) -> Estimate:
    parts = {
        "first": Rung(**stored["first"]),
        "price": Price(**stored["price"]),
        "assumptions": tuple(stored["assumptions"]),
    }
    return Estimate(**{**stored, **parts})


# -- workers ------------------------------------------------------------------------------------


def rung_row(rung: Rung) -> Row:
    """Return a rung's columns."""
    return {"type": rung.type, "market": rung.market, "region": rung.region, "zone": rung.zone}


def rung_of(row: Row) -> Rung:
    """Return the rung in a row."""
    return Rung(type=row["type"], market=row["market"], region=row["region"], zone=row["zone"])


def price_row(price: Price | None) -> Row:
    """Return a price's columns."""
    if price is None:
        return {"usd_per_hour": None, "price_source": None}
    return {"usd_per_hour": price.usd_per_hour, "price_source": price.source}


def price_of(row: Row) -> Price | None:
    """Return the price in a row, None where nothing is rented."""
    if row["usd_per_hour"] is None:
        return None
    return Price(row["usd_per_hour"], row["price_source"])


def spans_text(spans: Iterable[Span]) -> str:
    """Return spans as the journal stores them."""
    return json.dumps([asdict(span) for span in spans])


def spans_of(row: Row) -> tuple[Span, ...]:
    """Return the spans in a row."""
    return tuple(Span(**span) for span in json.loads(row["spans"]))


def renewals_of(table: Iterable[Row]) -> dict[int, tuple[Renewal, ...]]:
    """Return the renewals in the table of that name, by the number of the launch's row."""
    found: dict[int, list[Renewal]] = {}
    for row in table:
        found.setdefault(row["launch"], []).append(Renewal(row["at"], row["until"]))
    return {number: tuple(renewals) for number, renewals in found.items()}


def launch_of(
    row: Row, scenes_done: int, target: str, renewals: Mapping[int, tuple[Renewal, ...]]
) -> Launch:
    """Return the launch in a row.

    Args:
        row: of the table ``launch``.
        scenes_done: videos downloaded from it, counted by whoever has all rows.
        target: the run's, for a row of a release that did not note it.
        renewals: see `renewals_of`.
    """
    return Launch(
        label=row["label"],
        worker=row["worker"],
        rung=rung_of(row),
        price=price_of(row),
        scenes_done=scenes_done,
        spans=spans_of(row),
        destroyed=bool(row["destroyed"]),
        expires=row["expires"],
        code=row["code"],
        error=row["error"],
        target=row.get("target") or target,
        renderer=row.get("renderer", ""),  # before layout 3 it was not noted
        renewals=renewals.get(row["id"], ()),
        bytes_sent=row.get("sent", 0),  # before layout 5
    )


def unfinished_of(
    row: Row, target: str, renewals: Mapping[int, tuple[Renewal, ...]]
) -> UnfinishedWorker:
    """Return the worker in a row of the table ``launch`` that is not noted as gone."""
    return UnfinishedWorker(
        number=row["id"],
        batch=row["batch"],
        label=row["label"],
        stack=row["stack"],
        rung=rung_of(row),
        price=price_of(row),
        began=row["began"],
        expires=row["expires"],
        worker=row["worker"],
        endpoint=row["endpoint"],
        room=row["room"],
        state=row["state"],
        spans=spans_of(row),
        target=row.get("target") or target,
        renewals=renewals.get(row["id"], ()),
    )


# -- money --------------------------------------------------------------------------------------


def rental_row(rental: Rental) -> Row:
    """Return a rental's columns."""
    return {
        "machine": rental.machine,
        "stack": rental.stack,
        **rung_row(rental.rung),
        **price_row(rental.price),
        "basis": str(rental.basis),
        "since": rental.since,
        "until": rental.until,
        "expires": rental.expires,
        "disk_gb": rental.disk_gb,
        "disk_rate": rental.disk_rate,
        "disk_basis": str(rental.disk_basis),
        "surplus": rental.surplus,
        "at_most": int(rental.at_most),
    }


def rental_of(row: Row) -> Rental:
    """Return the rental in a row."""
    return Rental(
        stack=row["stack"],
        machine=row["machine"],
        rung=rung_of(row),
        price=Price(row["usd_per_hour"], row["price_source"]),
        basis=Basis(row["basis"]),
        since=row["since"],
        until=row["until"],
        expires=row["expires"],
        disk_gb=row["disk_gb"],
        disk_rate=row["disk_rate"],
        disk_basis=Basis(row["disk_basis"]),
        surplus=row["surplus"],
        at_most=bool(row.get("at_most", 1)),  # before layout 2 it always was
    )


# -- scenes -------------------------------------------------------------------------------------


def attempt_row(attempt: Attempt) -> Row:
    """Return the columns that an attempt fills when it ends."""
    download = attempt.download
    return {
        "rendered": download.start if download else None,
        "ended": download.end if download else attempt.span.end,
        "error": attempt.error,
        "sent": attempt.bytes_sent,
    }


def attempt_of(row: Row) -> Attempt:
    """Return the attempt in a row that has ended."""
    rendered = row["rendered"]
    return Attempt(
        row["worker"],
        Span(Phase.RENDER, row["began"], rendered if rendered is not None else row["ended"]),
        Span(Phase.DOWNLOAD, rendered, row["ended"]) if rendered is not None else None,
        row["error"],
        row.get("sent", 0),  # before layout 3 it was not noted
    )


def video_row(scene: str, video: DownloadedVideo) -> Row:
    """Return a video's columns; ``superseded`` is 0."""
    artifact = video.artifact
    return {
        "scene": scene,
        "fingerprint": video.fingerprint,
        "path": str(artifact.path),
        "size": artifact.size,
        "sha256": video.sha256,
        "seconds": artifact.seconds,
        "width": artifact.width,
        "height": artifact.height,
        "frames": artifact.frames,
        "scenario": video.scenario,
        "warnings": json.dumps(video.warnings, ensure_ascii=False),
        "superseded": 0,
    }


def video_of(row: Row) -> DownloadedVideo:
    """Return the video in a row."""
    return DownloadedVideo(
        artifact=Artifact(
            path=Path(row["path"]),
            size=row["size"],
            seconds=row["seconds"],
            width=row["width"],
            height=row["height"],
            frames=row["frames"],
        ),
        sha256=row["sha256"],
        fingerprint=row["fingerprint"],
        scenario=row["scenario"],
        warnings=tuple(json.loads(row["warnings"])),
    )
