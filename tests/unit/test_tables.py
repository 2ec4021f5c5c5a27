"""scenes.csv and launches.csv: read by every reader of CSV, run by no spreadsheet."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from cloudburst.report import tables
from cloudburst.report.uses import uses
from tests.support import pages

FOLDER = Path("out")


def scenes(*, error: str | None = None, name: str = "broken") -> list[dict[str, str]]:
    report, _ = pages.troubled(FOLDER)
    changed = [
        replace(one, name=name, error=error or one.error) if one.name == "broken" else one
        for one in report.scenes
    ]
    report = replace(report, scenes=tuple(changed))
    text = tables.scenes_csv(report, uses(report.batches, report.scenes, report.cost))
    return list(csv.DictReader(io.StringIO(text, newline="")))


def launches() -> list[dict[str, str]]:
    report, _ = pages.troubled(FOLDER)
    text = tables.launches_csv(uses(report.batches, report.scenes, report.cost))
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_line_for_each_scene() -> None:
    rows = scenes()
    assert [row["scene"] for row in rows] == [
        "intro", "brook", "dogs", "sunset", "broken", "late",
    ]  # fmt: skip
    dogs, broken = rows[2], rows[4]
    assert (dogs["status"], dogs["attempts"], dogs["worker"]) == ("done", "2", "b01")
    assert (dogs["render_seconds"], dogs["download_seconds"]) == ("6", "1")
    assert (dogs["bytes_received"], dogs["file"]) == ("1234567", "dogs.mp4")
    assert (dogs["bytes_sent"], broken["bytes_sent"]) == ("2000000", "")
    assert broken["error"] == "the video API answered 400: not a picture"
    assert (broken["video_seconds"], broken["download_seconds"]) == ("", "")
    assert rows[5]["status"] == "unfinished"


def test_a_line_for_each_launch_with_its_code_and_its_price() -> None:
    refused, worked, lost, last = launches()
    assert (refused["machine"], refused["code"], refused["usd"]) == ("", pages.FULL, "")
    assert (worked["machine"], worked["usd_per_hour"], worked["videos"]) == ("i-1", "0.34", "3")
    assert [float(worked[f"{use}_seconds"]) for use in ("boot", "render", "idle", "end")] == [
        42, 23, 17, 9,
    ]  # fmt: skip
    assert worked["expires"] == "2026-11-26T13:33:20+00:00"
    assert (refused["expires"], refused["destroyed"]) == ("", "yes"), "there never was a machine"
    assert (lost["market"], lost["code"]) == ("spot", pages.RECLAIMED)
    assert last["worker"] == "b02.2"


def test_lines_end_as_rfc_4180_says_and_what_needs_quotes_has_them() -> None:
    report, _ = pages.troubled(FOLDER)
    text = tables.scenes_csv(report, uses(report.batches, report.scenes, report.cost))
    assert text.count("\r\n") == 7
    assert "\n" not in text.replace("\r\n", "")
    (row,) = (one for one in scenes(error='said "no", twice\nand left') if one["error"])
    assert row["error"] == 'said "no", twice\nand left'


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])  # noqa: RUF001
def test_no_spreadsheet_takes_a_text_for_a_formula(sign: str) -> None:
    evil = f'{sign}HYPERLINK("http://example.com")'
    row = next(one for one in scenes(error=evil, name=evil) if one["status"] == "failed")
    assert (row["scene"], row["error"]) == (f"'{evil}", f"'{evil}")


def test_a_nul_does_not_end_a_file() -> None:
    assert any(row["error"] == "a\N{REPLACEMENT CHARACTER}b" for row in scenes(error="a\0b"))


def test_columns_are_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    for column in (*tables.SCENE_COLUMNS, *tables.LAUNCH_COLUMNS):
        assert f"`{column}`" in text, column
