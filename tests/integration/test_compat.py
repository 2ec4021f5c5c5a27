"""The original's API on this machine: its documented examples, kept machines, its failures."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.compat import (
    InstantInstanceOperationV2,
    execute_parallel_batches,
    instant_batch_processing,
    scan_and_test_folder,
)
from tests.support.original import (
    EXAMPLES,
    assert_original_keys,
    assert_videos,
    example_cases,
    make_scene,
)
from tests.support.runs import assert_nothing_left, processes_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.stack, pytest.mark.video]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, on this machine, as CLOUDBURST_TARGET says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOUDBURST_TARGET", "local")
    return tmp_path / "video_scenes"


@pytest.fixture
def scenes(folder: Path) -> list[dict[str, Any]]:
    return [make_scene(folder, number) for number in range(4)]


@pytest.mark.parametrize("name", example_cases("usage_3_one_scene"))
def test_the_originals_examples(
    name: str,
    folder: Path,
    scenes: list[dict[str, Any]],
    tmp_path: Path,
    state: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = EXAMPLES[name](folder, scenes, tmp_path / "out")
    assert_original_keys(result)
    assert result["success"] is True
    assert_videos(result)
    printed = capsys.readouterr().out
    assert re.search(r"⏱️  \[\d\d:\d\d:\d\d\.\d{3}\] \+ +\d+\.\d\ds - ✅ scene_00", printed)
    assert_nothing_left(state)


# -- kept machines --------------------------------------------------------------------------------


def keep_one(scenes: list[dict[str, Any]]) -> dict[str, Any]:
    return InstantInstanceOperationV2(verbose=False).execute_batch(scenes[:1])


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("cloudburst")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_kept_machine_is_ended_in_a_later_process_and_ending_it_twice_is_fine(
    scenes: list[dict[str, Any]], tmp_path: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = InstantInstanceOperationV2().execute_batch(scenes[:1], auto_terminate=False)
    until = result["instance_expires_at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", until)
    assert f"ends itself at {until}" in capsys.readouterr().out
    assert any("videoapi" in line for line in processes_of(state)), "it keeps running"
    assert "kept on purpose" in cli("audit").stdout
    (tmp_path / "result.json").write_text(json.dumps(result))

    later = (
        "import json\n"
        "from instant_instance_operation_v2 import InstantInstanceOperationV2\n"
        "result = json.load(open('result.json'))\n"
        "operation = InstantInstanceOperationV2()\n"
        "print(json.dumps([operation.download_batch_results(result['batch_results'], 'mine',"
        " result['instance_id']), operation.terminate_instance(result['instance_id'])]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", later], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    downloaded, again = json.loads(done.stdout.splitlines()[-1])
    assert downloaded["download_count"] == downloaded["total_available"] == 1
    copy = tmp_path / "mine" / "scene_000_chinese.mp4"
    assert copy.read_bytes() == Path(result["downloaded_files"][0]).read_bytes()
    assert downloaded["final_cost_usd"] == 0.0
    assert again["terminated"] is False
    assert "had been terminated already" in done.stdout
    assert_nothing_left(state)


@pytest.mark.slow
def test_a_kept_machine_that_nobody_ends_is_known_to_audit_and_cleanup(
    scenes: list[dict[str, Any]], state: Path
) -> None:
    result = keep_one(scenes)
    audit = cli("audit")
    assert audit.returncode == 4
    assert f"cloudburst cleanup {result['run_id']}" in audit.stdout
    assert cli("cleanup", result["run_id"], "--yes").returncode == 0
    assert_nothing_left(state)


@pytest.mark.slow
def test_a_download_leaves_the_machine_alone_if_asked_and_names_what_it_cannot_copy(
    scenes: list[dict[str, Any]], tmp_path: Path, state: Path
) -> None:
    operation = InstantInstanceOperationV2(verbose=False)
    result = operation.execute_batch(scenes[:2])
    Path(result["batch_results"][0]["local_path"]).unlink()
    done = operation.download_batch_results(
        result["batch_results"], str(tmp_path / "o"), result["instance_id"], terminate_after=False
    )
    assert (done["download_count"], done["total_available"]) == (1, 2)
    assert done["errors"][0].startswith("scene_000_chinese: ")
    assert any("videoapi" in line for line in processes_of(state))
    assert operation.terminate_instance()["terminated"] is True
    assert_nothing_left(state)


class Saboteur(logging.Handler):
    """Removes a file as soon as the machine is created."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = Path(path)

    def emit(self, record: logging.LogRecord) -> None:
        if "creating the stack" in record.getMessage():
            self._path.unlink(missing_ok=True)


@pytest.fixture
def losing(scenes: list[dict[str, Any]]) -> Iterator[logging.Logger]:
    """Log to what removes the second scene's picture, after the job was checked."""
    logger, handler = logging.getLogger("losing"), Saboteur(scenes[1]["input_image"])
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


@pytest.mark.slow
def test_a_batch_of_which_a_scene_failed_keeps_no_machine_and_is_no_success(
    scenes: list[dict[str, Any]], losing: logging.Logger, state: Path
) -> None:
    """The original calls one video of two a success; callers end the machine only then."""
    operation = InstantInstanceOperationV2(logger=losing)
    result = operation.execute_batch(scenes[:2], auto_terminate=False)
    counts = [result[key] for key in ("success", "successful_scenes", "failed_scenes")]
    assert counts == [False, 1, 1]
    failed = result["batch_results"][1]
    assert (failed["success"], failed["local_path"], failed["download_url"]) == (False, None, None)
    assert "cannot be read" in failed["error"]
    assert failed["error"] in result["error"]
    assert result["instance_expires_at"] is None
    assert_nothing_left(state)


@pytest.mark.slow
def test_parallel_batches_of_which_a_scene_failed_keep_no_machine_and_are_no_success(
    scenes: list[dict[str, Any]], losing: logging.Logger, state: Path
) -> None:
    result = execute_parallel_batches(
        scenes,
        scenes_per_batch=2,
        min_scenes_per_batch=1,
        auto_terminate=False,
        logger=losing,
    )
    assert (result["success"], result["success_rate"]) == (False, 0.75)
    assert len(result["downloaded_files"]) == 3
    machines = result["instance_results"]
    assert sum(machine["successful_scenes"] for machine in machines) == 3
    assert [machine["instance_expires_at"] for machine in machines] == [None, None]
    assert_nothing_left(state)


@pytest.mark.slow
def test_where_batches_cannot_have_folders_their_videos_are_in_the_runs(
    scenes: list[dict[str, Any]], tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The videos exist and were verified: the result has them, whatever becomes of the links."""

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    mkdir = Path.mkdir
    monkeypatch.setattr(
        Path,
        "mkdir",
        lambda path, *a, **k: (
            refuse(path) if path.name.startswith("batch_1_") else mkdir(path, *a, **k)
        ),
    )
    result = execute_parallel_batches(
        scenes[:2],
        saving_dir=str(tmp_path / "mine"),
        auto_terminate=False,
        verbose=False,
    )
    assert (result["success"], result["successful_scenes"]) == (True, 2)
    assert_videos(result)
    (machine,) = result["instance_results"]
    assert machine["download_dir"] == result["output_directory"]
    assert InstantInstanceOperationV2(verbose=False).terminate_instance(machine["instance_id"])[
        "terminated"
    ]
    assert_nothing_left(state)


# -- failures and output --------------------------------------------------------------------------


def test_bad_input_is_a_result_with_every_problem_and_nothing_is_started(
    scenes: list[dict[str, Any]], state: Path
) -> None:
    scenes[0]["input_image"] = "/nowhere/picture.png"
    scenes[1]["input_audio"] = "/nowhere/sound.wav"
    operation = InstantInstanceOperationV2(verbose=False)
    operation.batch_results = [{"scene_name": "of an earlier batch"}]
    batch = operation.execute_batch(scenes, auto_terminate=True)
    assert operation.batch_results == []
    parallel = execute_parallel_batches(scenes, verbose=False)
    for result in (batch, parallel):
        assert result["success"] is False
        assert "/nowhere/picture.png" in result["error"]
        assert "/nowhere/sound.wav" in result["error"]
        assert (result["successful_scenes"], result["failed_scenes"]) == (0, 4)
        assert result["batch_results"] == []
    assert not (state / "runs").exists()


def test_an_empty_folder_is_a_result_that_says_what_was_expected(folder: Path) -> None:
    folder.mkdir()
    result = scan_and_test_folder(str(folder), verbose=False)
    assert result["success"] is False
    assert "No scenes found in folder" in result["error"]
    assert result["total_scenes"] == 0


@pytest.mark.slow
def test_a_subtitle_file_that_does_not_exist_is_left_out_and_said(
    scenes: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    scenes[1]["subtitle"] = "/nowhere/lines.srt"
    result = instant_batch_processing(scenes[1:2])
    assert result["batch_results"][0]["has_subtitle"] is False
    assert "subtitle file not found: /nowhere/lines.srt" in capsys.readouterr().out


@pytest.mark.slow
def test_progress_goes_to_a_logger_or_nowhere(
    scenes: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("videos")
    with caplog.at_level(logging.INFO, "videos"):
        result = instant_batch_processing(scenes[:1], logger=logger)
    assert capsys.readouterr().out == ""
    assert any("✅ scene_000_chinese.mp4" in record.message for record in caplog.records)
    assert any("✅ scene_000_chinese.mp4" in line for line in result["timing_log"])
    caplog.clear()
    instant_batch_processing([], verbose=False)
    assert capsys.readouterr().out == ""
    assert caplog.records == []
