"""Journals of earlier releases are read as they are, and upgraded when they are written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudburst.errors import JournalFailed
from cloudburst.journal import schema
from cloudburst.journal.store import NAME, Journal, read
from cloudburst.models import Basis, Price

if TYPE_CHECKING:
    from collections.abc import Callable

SURFACE = Path(__file__).parents[1] / "support" / "surface"


@pytest.fixture
def old(tmp_path: Path) -> Callable[[str], Path]:
    """Return a run's folder with a journal that release 0.1.0 wrote."""

    def make(name: str) -> Path:
        with closing(sqlite3.connect(tmp_path / NAME)) as db:
            db.executescript((SURFACE / f"journal-layout-0-{name}.sql").read_text("utf-8"))
        return tmp_path

    return make


def layout(folder: Path) -> int:
    with closing(sqlite3.connect(folder / NAME)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def columns(folder: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(folder / NAME)) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        return {
            name: [row[1] for row in db.execute(f"PRAGMA table_info({name})")]
            for name in sorted(names)
        }


def test_a_reader_understands_an_old_journal_and_changes_nothing(
    old: Callable[[str], Path],
) -> None:
    folder = old("local")
    before = (folder / NAME).read_bytes()
    state = read(folder)
    assert state is not None
    assert state.record is not None
    assert (state.record.run_id, state.record.target) == ("20261125-075908-0c35b6", "local")
    assert state.record.scenes == (("a", 7.008), ("b", 6.744))
    assert state.outcome is None
    (worker,) = state.unfinished
    assert (worker.label, worker.target, worker.state) == ("b02", "local", "destroying")
    assert sorted(state.videos) == ["a", "b"]
    assert [launch.target for batch in state.batches for launch in batch.launches] == ["local"] * 2
    assert (folder / NAME).read_bytes() == before
    assert layout(folder) == 0


def test_a_writer_upgrades_an_old_journal_and_loses_nothing(old: Callable[[str], Path]) -> None:
    folder = old("aws")
    before = read(folder)
    with Journal(folder) as journal:
        assert journal.state() == before
        journal.gone("another stack", "it was never there")
    after = read(folder)
    assert after == before
    assert after is not None
    assert after.targets == {"aws"}
    assert layout(folder) == schema.LAYOUT
    rentals = after.rentals_on("aws")
    assert {rental.machine for rental in rentals} == {"i-b0ef92461319fd017", "i-95bb5daddff162890"}
    assert rentals[0].price == Price(0.34, "AWS price list of 2026-11-25")
    assert rentals[0].basis is Basis.LIST
    assert after.rentals_on("local") == ()
    assert after.regions("aws") == {
        "20261125-075915-9b2f78-b01": ("us-east-1",),
        "20261125-075915-9b2f78-b02": ("us-east-1",),
    }


def test_an_upgraded_journal_has_the_tables_of_a_new_one(
    old: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, fresh = old("local"), tmp_path / "fresh"
    fresh.mkdir()
    with Journal(folder), Journal(fresh):
        pass
    assert columns(folder) == columns(fresh)
    assert layout(fresh) == schema.LAYOUT


def test_a_journal_of_a_later_release_is_refused(old: Callable[[str], Path]) -> None:
    folder = old("local")
    with closing(sqlite3.connect(folder / NAME)) as db:
        db.execute(f"PRAGMA user_version = {schema.LAYOUT + 1}")
    with pytest.raises(JournalFailed, match="of a later release"):
        read(folder)
    with pytest.raises(JournalFailed, match="of a later release"):
        Journal(folder)
