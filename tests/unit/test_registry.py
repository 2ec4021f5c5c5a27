"""A note for every run, on disk before anything of it is started."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudburst.errors import InfrastructureError, RunUnknown
from cloudburst.journal import registry
from cloudburst.journal.registry import damaged, find, forget, of_source, register, runs
from cloudburst.models import RunRecord

RUN = RunRecord(
    run_id="20261124-101500-a1b2c3",
    job="job",
    source="/job/scenes.yaml",
    folder="/out/batch_20261124_101500",
    target="aws",
    regions=("us-east-1", "eu-west-1"),
    began="2026-11-24T10:15:00+00:00",
)
SECOND = replace(RUN, run_id="20261124-111500-d4e5f6", folder="/out/batch_20261124_111500")


def test_a_note_comes_back(state: Path) -> None:
    register(SECOND)
    register(RUN)
    assert runs() == [RUN, SECOND], "the oldest first"
    names = sorted(path.name for path in (state / "runs").iterdir())
    assert names == [f"{RUN.run_id}.json", f"{SECOND.run_id}.json"]


def test_a_run_that_goes_on_has_one_note() -> None:
    register(RUN)
    moved = replace(RUN, folder="/elsewhere")
    register(moved)
    assert runs() == [moved]


@settings(max_examples=50)
@given(
    job=st.text(),
    source=st.text(),
    folder=st.text(),
    regions=st.lists(st.text(), max_size=3).map(tuple),
)
def test_every_value_comes_back(
    job: str, source: str, folder: str, regions: tuple[str, ...]
) -> None:
    run = replace(RUN, job=job, source=source, folder=folder, regions=regions)
    register(run)
    assert runs() == [run]


def test_a_folder_whose_name_is_no_text_can_be_noted() -> None:
    run = replace(RUN, folder=os.fsdecode(b"/out/\xff"))
    register(run)
    assert runs() == [run]


def test_a_note_is_synced_before_it_has_its_name(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[tuple[str, bool]] = []
    sync = os.fsync

    def synced(descriptor: int) -> None:
        what = Path(f"/proc/self/fd/{descriptor}").readlink().name
        order.append((what, (state / "runs" / f"{RUN.run_id}.json").exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    register(RUN)
    (file, folder) = order
    assert file[0].startswith(f"{RUN.run_id}.json.")
    assert (file[1], folder) == (False, ("runs", True))


def test_what_a_power_cut_has_left_of_a_note_is_no_note(state: Path) -> None:
    register(RUN)
    folder = state / "runs"
    whole = json.loads((folder / f"{RUN.run_id}.json").read_text())
    (folder / "20261124-121500-000000.part").write_text(json.dumps(whole))
    for number, text in enumerate(
        [
            "",
            "{",
            "null",
            "[]",
            '"text"',
            "{}",
            json.dumps(whole)[:-20],
            json.dumps({**whole, "regions": None}),
            json.dumps({name: value for name, value in whole.items() if name != "job"}),
            json.dumps({**whole, "more": 1}),
            json.dumps({**whole, "max_cost_usd": 2.5}),
        ]
    ):
        (folder / f"damaged-{number}.json").write_text(text)
    (folder / "damaged.json").write_bytes(b"\xff\xfe{")
    (folder / "folder.json").mkdir()
    assert runs() == [RUN]
    assert len(damaged()) == 13, "an audit names them"


def test_where_nothing_was_begun_nothing_is_known() -> None:
    assert runs() == []
    assert of_source(Path("/job/scenes.yaml")) == []
    with pytest.raises(RunUnknown, match=r"no run 'x'; .*; there are none yet"):
        find("x")


def test_a_note_that_cannot_be_written_ends_the_run_before_it_begins(
    state: Path,
) -> None:
    state.mkdir()
    (state / "runs").write_text("a file")
    words = rf"{RUN.run_id}\.json cannot be written, so nothing is started: "
    with pytest.raises(InfrastructureError, match=words):
        register(RUN)


def test_a_run_is_forgotten_once_or_twice() -> None:
    register(RUN)
    register(SECOND)
    forget(RUN.run_id)
    forget(RUN.run_id)
    assert runs() == [SECOND]


# -- finding ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted",
    [RUN.run_id, "20261124-10", RUN.folder, f"{RUN.folder}/", "/out/./batch_20261124_101500"],
)
def test_a_run_is_found_by_its_id_its_beginning_or_its_folder(wanted: str) -> None:
    register(RUN)
    register(SECOND)
    assert find(wanted) == RUN


def test_a_folder_is_found_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(RUN, folder=str(tmp_path / "out"))
    register(run)
    monkeypatch.chdir(tmp_path)
    assert find("out") == run
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find("~/out") == run


def test_a_whole_id_is_never_ambiguous() -> None:
    register(RUN)
    register(replace(SECOND, run_id=f"{RUN.run_id}0"))
    assert find(RUN.run_id) == RUN


def test_what_may_mean_two_runs_is_refused_with_their_names() -> None:
    register(RUN)
    register(SECOND)
    words = f"'2026' matches {RUN.run_id}, {SECOND.run_id}; expected one of them"
    with pytest.raises(RunUnknown, match=words) as caught:
        find("2026")
    assert caught.value.exit_code == 2


def test_what_means_no_run_is_refused_with_the_newest() -> None:
    for minute in range(5):
        register(replace(RUN, run_id=f"20261124-10{minute}000-aaaaaa"))
    newest = ", ".join(f"20261124-10{minute}000-aaaaaa" for minute in (2, 3, 4))
    with pytest.raises(RunUnknown, match=f"no run 'b01'; .*; the newest are {newest}$"):
        find("b01")


def test_the_runs_of_a_job_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = replace(RUN, source=str(tmp_path / "scenes.yaml"))
    again = replace(SECOND, source=here.source)
    other = replace(RUN, run_id="20261124-120000-ffffff", source=str(tmp_path / "other.yaml"))
    for run in (again, other, here):
        register(run)
    assert of_source(tmp_path / "scenes.yaml") == [here, again]
    monkeypatch.chdir(tmp_path)
    assert of_source(Path("scenes.yaml")) == [here, again]
    assert of_source(tmp_path / "none.yaml") == []


def test_the_newest_note_wins_over_a_damaged_beginning(state: Path) -> None:
    register(RUN)
    path = state / "runs" / f"{RUN.run_id}.json"
    path.write_text("{")
    assert runs() == []
    register(RUN)
    assert runs() == [RUN]
    assert registry.find(RUN.run_id) == RUN
