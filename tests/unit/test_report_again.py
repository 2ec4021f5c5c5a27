"""The page is written at every end of a run, written again by a command, and fails no run."""

from __future__ import annotations

import json
import re
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudburst.cli import report as command
from cloudburst.errors import Interrupted, LeftRunning, RunUnknown
from cloudburst.journal import rows, store
from cloudburst.journal.store import Journal
from cloudburst.models import Event, Outcome, RunRecord
from cloudburst.recovery import cleanup
from cloudburst.report import again, beside, tables, trace
from cloudburst.report.page import page, posters
from cloudburst.runner import pipeline
from cloudburst.stop import Stop
from tests.support import pages

if TYPE_CHECKING:
    from tests.support.fakes import Whole

WRITTEN = {beside.PAGE, trace.NAME, tables.SCENES, tables.LAUNCHES}


def headline(folder: Path) -> str:
    """Return the first line of a run's page."""
    html = (folder / beside.PAGE).read_text()
    (line,) = re.findall(r"<h1>.*?<bdi>(.*?)</bdi></h1>", html)
    assert {one.name for one in folder.iterdir()} >= WRITTEN
    assert not list(folder.glob("*.part"))
    return str(line)


# -- every end ------------------------------------------------------------------------------------


def test_a_complete_run_has_a_page(whole: Whole) -> None:
    done = pipeline.run(whole.job)
    assert ": all 3 videos are done, on local in " in headline(done.directory)
    rows_ = (done.directory / tables.SCENES).read_text("utf-8").splitlines()
    assert len(rows_) == 4
    assert json.loads((done.directory / trace.NAME).read_text())["otherData"]["run_id"]


def test_a_failed_run_has_a_page_with_the_reason(whole: Whole) -> None:
    whole.broken = {scene.name for scene in whole.job.scenes}
    done = pipeline.run(whole.job)
    assert done.outcome is Outcome.FAILED
    assert ": 0 of 3 videos are done" in headline(done.directory)
    assert "unexpected ZeroDivisionError: a bug" in (done.directory / beside.PAGE).read_text()


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_run_has_a_page(whole: Whole, times: int) -> None:
    stop = Stop()

    def request(_scene: str) -> None:
        for _ in range(times):
            stop.request()

    whole.while_fetched = request
    with pytest.raises((Interrupted, LeftRunning)) as caught:
        pipeline.run(whole.job, stop=stop)
    assert ": interrupted with " in headline(caught.value.report.directory)


def test_a_run_that_leaves_something_has_a_page_that_says_so(whole: Whole) -> None:
    whole.target.running, whole.target.stubborn = ["process 7"], True
    with pytest.raises(LeftRunning) as caught:
        pipeline.run(whole.job)
    folder = caught.value.report.directory
    headline(folder)
    assert "process 7" in (folder / beside.PAGE).read_text()


def test_a_resumed_run_has_the_page_of_all_its_sessions(whole: Whole) -> None:
    whole.broken = {whole.job.scenes[0].name}
    first = pipeline.run(whole.job)
    whole.broken = set()
    pipeline.run(whole.job, resume=first.directory)
    assert ": all 3 videos are done" in headline(first.directory)
    (first.directory / beside.PAGE).unlink()
    pipeline.run(whole.job, resume=first.directory)
    assert ": all 3 videos are done" in headline(first.directory), "nothing was to be done"


def test_a_cleanup_writes_the_page_of_what_it_ended(whole: Whole) -> None:
    done = pipeline.run(whole.job)
    (done.directory / beside.PAGE).unlink()
    with Journal(done.directory) as journal:
        cleanup._close(journal)
    assert ": all 3 videos are done" in headline(done.directory)


# -- it fails no run ------------------------------------------------------------------------------


def test_a_page_that_cannot_be_made_is_a_note(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise ZeroDivisionError("a bug of the page")

    monkeypatch.setattr(page, "document", broken)
    events: list[Event] = []
    done = pipeline.run(whole.job, on_event=events.append)
    assert done.outcome is Outcome.COMPLETE
    (note,) = (one.text for one in events if "a bug of the page" in one.text)
    assert note.startswith(str(done.directory / beside.PAGE))
    assert (done.directory / "report.json").exists()
    assert (done.directory / trace.NAME).exists()


def test_who_is_in_a_hurry_waits_for_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posters, "poster", lambda *_: b"x")
    videos = [("a", Path("v.mp4"))]
    assert posters.posters(videos, posters.budget(1, 9.0), lambda: True) == {}
    assert list(posters.posters(videos, posters.budget(1, 9.0), lambda: False)) == ["a"]


def test_pictures_stay_within_their_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posters, "poster", lambda *_: b"x" * 300)
    videos = [(f"s{number}", Path("v.mp4")) for number in range(10)]
    made = posters.posters(videos, posters.Budget(9.0, bytes=1000), lambda: False)
    assert list(made) == ["s0", "s1"], "in base64 each has 423 bytes"
    slow = posters.Budget(-1.0)
    assert posters.posters(videos, slow, lambda: False) == {}


# -- the plan -------------------------------------------------------------------------------------


def test_the_plan_of_the_first_session_is_kept(whole: Whole) -> None:
    whole.target.notes = ("no spot here",)
    whole.broken = {whole.job.scenes[0].name}
    first = pipeline.run(whole.job)
    state = store.read(first.directory)
    assert state is not None
    assert state.planned is not None
    (batch,) = state.planned.batches
    assert (batch.label, batch.scenes, batch.seconds) == ("b01", 3, pytest.approx(3, abs=0.1))
    assert state.planned.notes == ("no spot here",)
    whole.broken = set()
    pipeline.run(whole.job, resume=first.directory)
    again_ = store.read(first.directory)
    assert again_ is not None
    assert again_.planned == state.planned


def test_a_plan_survives_the_journal() -> None:
    _, state = pages.troubled(Path("/out"))
    assert state.planned is not None
    assert rows.plan_of({"plan": rows.plan_text(state.planned)}) == state.planned


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"batches": [{"what": 1}]}', '{"batches": 3}']
)
def test_a_plan_of_another_shape_keeps_nobody_from_reading_a_journal(text: str) -> None:
    assert rows.plan_of({"plan": text}) is None


def test_a_journal_without_a_plan_is_read(whole: Whole) -> None:
    done = pipeline.run(whole.job)
    with Journal(done.directory) as journal:
        journal._record(("DELETE FROM run WHERE name = 'plan'", {}))
    assert again.write(done.directory).problems == ()
    assert ": all 3 videos are done" in headline(done.directory)


# -- the command ----------------------------------------------------------------------------------


def called(*arguments: str) -> int:
    return int(command.report.main(list(arguments), standalone_mode=False))


def test_the_command_writes_the_page_of_a_run_and_says_where(
    whole: Whole, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = pipeline.run(whole.job)
    before = (done.directory / "report.json").read_bytes()
    for name in WRITTEN:
        (done.directory / name).unlink()
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: not opened.append(url))
    assert called(done.run_id[:15]) == 0
    assert capfd.readouterr().out == f"{done.directory / beside.PAGE}\n"
    assert opened == []
    assert called(str(done.directory), "--open") == 0
    assert 'href="report.json"' in (done.directory / beside.PAGE).read_text()
    assert opened == [(done.directory / beside.PAGE).as_uri()]
    assert ": all 3 videos are done" in headline(done.directory)
    assert (done.directory / "report.json").read_bytes() == before


def test_where_no_browser_is_the_command_says_what_to_open(
    whole: Whole, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = pipeline.run(whole.job)
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    assert called(done.run_id, "--open") == 3
    assert f"open {done.directory / beside.PAGE}" in capfd.readouterr().err.replace("\n", "")


def test_a_run_that_is_going_on_and_one_that_was_killed_have_pages(
    whole: Whole, capfd: pytest.CaptureFixture[str]
) -> None:
    done = pipeline.run(whole.job)
    with Journal(done.directory) as journal:
        journal.begin(_record(journal))
        _leave(journal, f"{done.run_id}-b09")
        assert called(done.run_id) == 0
        assert "the run is going on" in capfd.readouterr().err
        assert "; the run is going on" in headline(done.directory)
        html = (done.directory / beside.PAGE).read_text()
        assert '<header class="top going">' in html
        assert "<bdi>has not ended</bdi>" in html
        (done.directory / "report.json").unlink()
    assert called(done.run_id) == 0
    html = (done.directory / beside.PAGE).read_text()
    assert f"{done.run_id}-b09: its end was not verified" in html
    assert "<bdi>not verified as gone</bdi>" in html
    assert 'href="report.json"' not in html
    assert '<header class="top bad">' in html
    assert "nothing is left running" not in html


def test_a_folder_without_a_journal_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunUnknown, match="has no journal"):
        again.write(tmp_path)


def test_a_page_that_cannot_be_written_is_an_error_of_the_command(
    whole: Whole, capfd: pytest.CaptureFixture[str]
) -> None:
    done = pipeline.run(whole.job)
    (done.directory / beside.PAGE).unlink()
    (done.directory / beside.PAGE).mkdir()
    assert called(done.run_id) == 3
    assert "cannot be written: Is a directory" in capfd.readouterr().err.replace("\n", " ")


def _record(journal: Journal) -> RunRecord:
    record = journal.state().record
    assert record is not None
    return record


def _leave(journal: Journal, stack: str) -> None:
    journal.launch(
        batch="b09",
        label="b09",
        stack=stack,
        target="local",
        rung=pages.SPOT,
        price=None,
        room=1,
        expires=None,
    )
