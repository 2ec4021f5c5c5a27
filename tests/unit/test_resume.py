"""A run goes on: what is done is known by its bytes and by what it was made from."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst import files
from cloudburst.errors import BadInput, InfrastructureError, RunBusy, RunUnknown
from cloudburst.job import fingerprint
from cloudburst.job.loader import load_job
from cloudburst.journal import registry
from cloudburst.journal.store import Journal, read
from cloudburst.models import (
    Attempt,
    DownloadedVideo,
    Event,
    Job,
    Outcome,
    Price,
    Rung,
    RunRecord,
    Scene,
    SceneStatus,
    Span,
    VideoOptions,
    WorkerState,
)
from cloudburst.report.summary import scene_result
from cloudburst.runner import context, pipeline, resume
from cloudburst.runner.resume import StartingPoint, take_stock
from cloudburst.targets.aws.settings import AwsSettings
from cloudburst.workers.download import as_artifact, verify
from tests.support.fakes import HELD, Info, a_record
from tests.support.inputs import scenes_yaml, stub_video, write_picture, write_sound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.fakes import Whole

OLD = b"the old video"


class Run:
    """A run with scenes `a` and `b`, whose sessions a test begins and ends as it likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "out" / "run"
        self.folder.mkdir(parents=True)
        scenes = []
        for name in "ab":
            image, sound = folder / f"{name}.png", folder / f"{name}.wav"
            image.write_bytes(f"picture {name}".encode())
            sound.write_bytes(f"sound {name}".encode())
            scenes.append(Scene(name, image, sound, 1.0))
        self.job = Job("job", folder / "scenes.yaml", tuple(scenes), folder / "out")
        self._held: Journal | None = None

    @property
    def held(self) -> Journal:
        """Begin a session, unless one goes on."""
        if self._held is None:
            self._held = Journal(self.folder)
            HELD.append(self._held)
            self._held.begin(a_record(self.folder, target=self.job.target))
        return self._held

    def end(self) -> None:
        """End the session, as a kill would."""
        if self._held is not None:
            HELD.remove(self._held)
            self._held.__exit__(None, None, None)
            self._held = None

    def begin_attempt(self, name: str = "a") -> int:
        """Begin a try of a scene as it is now."""
        (scene,) = (one for one in self.job.scenes if one.name == name)
        mark = fingerprint.fingerprint(scene, resume.renderer(self.job, self.job.target))
        return self.held.attempt(name, "b01", mark, 1.0)

    def done(self, name: str = "a", video: bytes = OLD) -> DownloadedVideo:
        """Download a video, and note it."""
        number, path = self.begin_attempt(name), self.folder / f"{name}.mp4"
        path.write_bytes(video)
        (scene,) = (one for one in self.job.scenes if one.name == name)
        downloaded = DownloadedVideo(
            as_artifact(path, Info(len(video))),  # type: ignore[arg-type]
            fingerprint.file_digest(path),
            fingerprint.fingerprint(scene, resume.renderer(self.job, self.job.target)),
            "baseline",
            ("a warning",),
        )
        tried = Attempt("b01", Span("render", 1.0, 2.0), Span("download", 2.0, 3.0))
        self.held.video(name, number, tried, downloaded)
        return downloaded

    def stock(self) -> StartingPoint:
        """Take stock in a session of its own."""
        self.end()
        return take_stock(self.job, self.held)

    def files(self) -> dict[str, bytes]:
        """Return every video there is, by its place in the run's folder."""
        found = sorted(self.folder.rglob("*.mp4"))
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found}

    def names(self, past: StartingPoint) -> tuple[list[str], list[str]]:
        return sorted(past.videos), [scene.name for scene in past.rest]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return stub_video(tmp_path_factory.mktemp("video") / "v.mp4")


# -- what is done -------------------------------------------------------------------------------


def test_what_is_noted_and_there_and_as_wanted_is_done(run: Run) -> None:
    downloaded = run.done("a")
    past = run.stock()
    assert past.videos == {"a": downloaded}
    assert past.rest == (run.job.scenes[1],)
    assert not past.finished
    assert run.files() == {"a.mp4": OLD}
    run.done("b")
    past = run.stock()
    assert run.names(past) == (["a", "b"], [])
    assert past.finished
    assert [len(tries) for tries in past.state.attempts.values()] == [1, 1]


def test_a_run_of_which_something_may_be_left_is_not_finished(run: Run) -> None:
    run.done("a")
    run.done("b")
    rung = Rung("t", "spot", "r", "z")
    more: dict[str, Any] = {
        "rung": rung,
        "price": Price(1.0, ""),
        "room": 1,
        "expires": None,
        "target": "local",
    }
    run.held.launch(batch="b01", label="b01", stack="run-b01", **more)
    past = run.stock()
    assert past.rest == ()
    assert not past.finished
    run.held.gone("run-b01", "it was killed")
    assert run.stock().finished
    number = run.held.launch(batch="b02", label="b02", stack="run-b02", **more)
    assert not run.stock().finished
    run.held.progress(number, WorkerState.KEPT, ())
    assert run.stock().finished, "what was kept on purpose may stay"


def test_nothing_is_done_in_a_run_that_has_done_nothing(run: Run) -> None:
    past = run.stock()
    assert run.names(past) == ([], ["a", "b"])
    assert run.files() == {}
    assert not (run.folder / resume.SUPERSEDED).exists()


def change_file(name: str) -> Callable[[Run, pytest.MonkeyPatch], None]:
    def change(run: Run, _: pytest.MonkeyPatch) -> None:
        path = run.job.source.with_name(name)
        path.write_bytes(path.read_bytes() + b", changed")

    return change


def change_option(run: Run, _: pytest.MonkeyPatch) -> None:
    first, second = run.job.scenes
    changed = replace(first, options=VideoOptions(language="english"))
    run.job = replace(run.job, scenes=(changed, second))


def change_version(_: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudburst.targets.local.__version__", "999.0")


def change_video(run: Run, _: pytest.MonkeyPatch) -> None:
    (run.folder / "a.mp4").write_bytes(b"somebody has cut it")


@pytest.mark.parametrize(
    "change",
    [change_file("a.png"), change_file("a.wav"), change_option, change_version, change_video],
    ids=["picture", "sound", "option", "renderer", "video"],
)
def test_what_is_no_longer_as_wanted_is_set_aside_and_rendered_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, change: Callable[[Run, pytest.MonkeyPatch], None]
) -> None:
    run.done("a")
    change(run, monkeypatch)
    was = run.files()["a.mp4"]
    past = run.stock()
    assert run.names(past) == ([], ["a", "b"])
    assert run.files() == {"superseded/a-1.mp4": was}, "moved, not deleted"


def test_a_video_that_is_not_wanted_any_more_does_not_count_as_done(run: Run) -> None:
    run.done("a")
    change_file("a.png")(run, pytest.MonkeyPatch())
    run.stock()
    history = read(run.folder)
    assert history is not None
    assert history.videos == {}, "an audit, or a cleanup's report, would say that it is there"
    assert scene_result("a", 1.0, history.attempts["a"], None).status is SceneStatus.UNFINISHED
    run.done("a")
    history = read(run.folder)
    assert history is not None
    assert set(history.videos) == {"a"}
    assert history.superseded == {}


def test_another_image_means_other_videos(run: Run) -> None:
    run.job = replace(run.job, target="aws", settings={"aws": AwsSettings(image="me/mine:1")})
    run.done("a")
    assert run.names(run.stock()) == (["a"], ["b"])
    run.job = replace(run.job, settings={"aws": AwsSettings(image="me/mine:1", disk_gb=99)})
    assert run.names(run.stock()) == (["a"], ["b"]), "the machine does not matter"
    run.job = replace(run.job, settings={"aws": AwsSettings(image="me/mine:2")})
    assert run.names(run.stock()) == ([], ["a", "b"])
    assert run.files() == {"superseded/a-1.mp4": OLD}


def test_a_video_that_has_gone_is_rendered_again(run: Run) -> None:
    run.done("a")
    (run.folder / "a.mp4").unlink()
    assert run.names(run.stock()) == ([], ["a", "b"])


def test_a_folder_in_a_videos_place_is_no_video(run: Run) -> None:
    run.done("a")
    (run.folder / "a.mp4").unlink()
    (run.folder / "a.mp4").mkdir()
    assert run.names(run.stock()) == ([], ["a", "b"])
    assert (run.folder / "superseded" / "a-1.mp4").is_dir()


def test_what_is_set_aside_never_takes_the_place_of_another(run: Run) -> None:
    for number in range(3):
        run.done("a", f"video {number}".encode())
        change_file("a.png")(run, pytest.MonkeyPatch())
        run.stock()
    assert run.files() == {
        f"superseded/a-{number + 1}.mp4": f"video {number}".encode() for number in range(3)
    }


def test_a_video_of_nobody_knows_what_is_set_aside(run: Run) -> None:
    (run.folder / "a.mp4").write_bytes(b"from elsewhere")
    assert run.names(run.stock()) == ([], ["a", "b"])
    assert run.files() == {"superseded/a-1.mp4": b"from elsewhere"}


def test_an_input_that_cannot_be_read_means_not_done(run: Run) -> None:
    run.done("a")
    run.job.scenes[0].image.unlink()
    assert run.names(run.stock()) == ([], ["a", "b"])
    assert run.files() == {"superseded/a-1.mp4": OLD}


def test_scenes_may_come_and_go(run: Run) -> None:
    run.done("a")
    first, second = run.job.scenes
    run.job = replace(run.job, scenes=(second, replace(second, name="c")))
    assert run.names(run.stock()) == ([], ["b", "c"])
    assert run.files() == {"a.mp4": OLD}, "what the job does not name is left alone"
    run.job = replace(run.job, scenes=(first, second))
    assert run.names(run.stock()) == (["a"], ["b"])


def test_a_folder_that_was_moved_is_as_good(run: Run, tmp_path: Path) -> None:
    downloaded = run.done("a")
    run.end()
    moved = tmp_path / "moved"
    shutil.move(run.folder, moved)
    run.folder = moved
    past = run.stock()
    assert past.videos["a"].artifact == replace(downloaded.artifact, path=moved / "a.mp4")
    assert run.names(past) == (["a"], ["b"])


def test_half_of_a_download_is_removed_and_nothing_else(run: Run) -> None:
    run.done("a")
    for name in ("b.mp4.b01.part", "a.mp4.b02.part", "report.json", "notes.txt"):
        (run.folder / name).write_bytes(b"x")
    (run.folder / "logs").mkdir()
    (run.folder / "logs" / "b01.part").write_bytes(b"x")
    run.stock()
    there = {path.name for path in run.folder.iterdir() if not path.name.startswith("journal")}
    assert there == {"a.mp4", "report.json", "notes.txt", "logs"}
    assert (run.folder / "logs" / "b01.part").exists()


# -- between the rename and the note ------------------------------------------------------------


@pytest.mark.video
def test_a_video_that_was_renamed_and_not_noted_is_taken(run: Run, video: bytes) -> None:
    write_sound(run.job.scenes[0].audio)
    number = run.begin_attempt("a")
    (run.folder / "a.mp4").write_bytes(video)
    past = run.stock()
    assert run.names(past) == (["a"], ["b"])
    downloaded, path = past.videos["a"], run.folder / "a.mp4"
    assert downloaded.artifact == as_artifact(path, verify(path, run.job.scenes[0]))
    assert downloaded.sha256 == fingerprint.file_digest(path)
    assert (downloaded.artifact.size, downloaded.artifact.frames) == (len(video), 30)
    history = past.state
    assert (history.inflight, history.videos) == ({}, {"a": downloaded}), "now it is noted"
    (tried,) = history.attempts["a"]
    assert (tried.worker, tried.span.start, tried.error) == ("b01", 1.0, None)
    assert number == 1
    assert run.stock().videos == {"a": downloaded}, "and known by its digest from now on"


@pytest.mark.video
def test_a_damaged_video_is_not_taken(run: Run, video: bytes) -> None:
    run.begin_attempt("a")
    (run.folder / "a.mp4").write_bytes(video[: len(video) // 2])
    past = run.stock()
    assert run.names(past) == ([], ["a", "b"])
    assert list(run.files()) == ["superseded/a-1.mp4"]
    assert past.state.videos == {}


@pytest.mark.video
def test_a_video_of_another_length_is_not_taken(run: Run, video: bytes) -> None:
    first, second = run.job.scenes
    run.job = replace(run.job, scenes=(replace(first, seconds=2.0), second))
    run.begin_attempt("a")
    (run.folder / "a.mp4").write_bytes(video)
    assert run.names(run.stock()) == ([], ["a", "b"])


@pytest.mark.video
def test_a_video_is_not_taken_for_what_its_job_has_become_since(run: Run, video: bytes) -> None:
    run.begin_attempt("a")
    (run.folder / "a.mp4").write_bytes(video)
    change_file("a.wav")(run, pytest.MonkeyPatch())
    assert run.names(run.stock()) == ([], ["a", "b"])
    assert run.files() == {"superseded/a-1.mp4": video}


@pytest.mark.video
def test_an_old_video_is_never_taken_for_a_new_one(run: Run, video: bytes) -> None:
    # The old one is whole and as long as the new one should be.
    run.done("a", video)
    change_file("a.png")(run, pytest.MonkeyPatch())
    assert run.names(run.stock()) == ([], ["a", "b"])
    run.begin_attempt("a")  # and killed before anything was downloaded
    assert run.names(run.stock()) == ([], ["a", "b"])
    assert run.files() == {"superseded/a-1.mp4": video}
    run.begin_attempt("a")
    shutil.copy(run.folder / "superseded" / "a-1.mp4", run.folder / "a.mp4")
    assert run.names(run.stock()) == ([], ["a", "b"]), "nor when somebody puts it back"
    assert run.files() == {"superseded/a-1.mp4": video, "superseded/a-2.mp4": video}


@pytest.mark.video
def test_a_new_video_that_was_not_noted_takes_the_place_of_the_old_note(
    run: Run, video: bytes
) -> None:
    write_sound(run.job.scenes[0].audio)
    run.done("a", OLD)
    change_file("a.png")(run, pytest.MonkeyPatch())
    run.stock()
    run.begin_attempt("a")
    (run.folder / "a.mp4").write_bytes(video)
    past = run.stock()
    assert run.names(past) == (["a"], ["b"])
    assert past.state.videos["a"].sha256 == fingerprint.file_digest(run.folder / "a.mp4")
    assert run.files() == {"a.mp4": video, "superseded/a-1.mp4": OLD}


# -- what cannot be -----------------------------------------------------------------------------


def test_a_run_that_was_killed_before_it_was_one_is_not_gone_on_with(run: Run) -> None:
    with Journal(run.folder) as held, pytest.raises(RunUnknown, match="is empty: nothing of that"):
        take_stock(run.job, held)


def test_a_run_stays_on_its_target(run: Run) -> None:
    run.done("a")
    run.job = replace(run.job, target="aws")
    run.end()
    held = Journal(run.folder)
    HELD.append(held)
    with pytest.raises(BadInput, match="target: got aws; the run is on local, and stays there"):
        take_stock(run.job, held)
    assert run.files() == {"a.mp4": OLD}, "and nothing was touched"


def test_a_folder_that_cannot_be_written_to_is_told(run: Run) -> None:
    (run.folder / "superseded").write_text("a file")
    (run.folder / "a.mp4").write_bytes(OLD)
    with pytest.raises(InfrastructureError, match=r"run cannot be written to: File exists"):
        run.stock()
    assert run.files() == {"a.mp4": OLD}


# -- finding the run and its job ----------------------------------------------------------------


def known(run_id: str, folder: Path, source: Path) -> RunRecord:
    return RunRecord(run_id, "job", str(source), str(folder), "local", "2026-11-24T10:15:00")


def begin(source: Path, folder: Path, **more: Any) -> None:
    """Leave a run of a job file behind."""
    folder.mkdir(parents=True)
    record = known(folder.name, folder, source)
    with Journal(folder) as held:
        held.begin(replace(record, **more))
    registry.register(record)


def test_a_job_is_read_again(job_file: Callable[..., Path], tmp_path: Path) -> None:
    source = job_file(scenes_yaml(2, "target: aws\n"))
    folder = tmp_path / "out" / "20261124-101500-a1b2c3"
    begin(source, folder)
    job, found = resume.load("20261124")
    assert found == folder
    assert job.target == "local", "as the run was begun, whatever the file says"
    assert job.output == tmp_path / "out"
    assert job.source == source
    assert [scene.name for scene in job.scenes] == ["s01", "s02"]
    assert resume.load(str(folder)) == (job, folder)


@pytest.mark.parametrize(
    ("given", "file", "run", "limit"),
    [(None, "", None, None), (None, "", 0.3, 0.3), (None, "2", 0.3, 2.0), (5.0, "2", 0.3, 5.0)],
)
def test_what_a_run_may_cost_is_the_newest_word(
    job_file: Callable[..., Path],
    tmp_path: Path,
    given: float | None,
    file: str,
    run: float | None,
    limit: float | None,
) -> None:
    more = f"limits: {{max_cost_usd: {file}}}\n" if file else ""
    begin(job_file(scenes_yaml(1, more)), tmp_path / "run-1", max_cost_usd=run)
    job, _ = resume.load("run-1", max_cost_usd=given)
    assert job.limits.max_cost_usd == limit


def test_a_job_that_cannot_be_used_any_more_is_told(
    job_file: Callable[..., Path], tmp_path: Path
) -> None:
    source = job_file(scenes_yaml(1))
    begin(source, tmp_path / "run-1")
    source.with_name("p.png").unlink()
    with pytest.raises(BadInput, match=r"p\.png"):
        resume.load("run-1")


def test_a_folder_is_found_without_a_note(job_file: Callable[..., Path], tmp_path: Path) -> None:
    begin(job_file(scenes_yaml(1)), tmp_path / "run-1")
    registry.forget("run-1")
    shutil.move(tmp_path / "run-1", tmp_path / "moved")
    _, folder = resume.load(str(tmp_path / "moved"))
    assert folder == tmp_path / "moved"
    with pytest.raises(RunUnknown, match="no run 'run-1'"):
        resume.load("run-1")


def test_what_has_gone_is_told(job_file: Callable[..., Path], tmp_path: Path) -> None:
    source, folder = job_file(scenes_yaml(1)), tmp_path / "run-1"
    begin(source, folder)
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(RunUnknown, match="has no journal: nothing of that run was started"):
        resume.load("run-1")
    Journal(folder).__exit__(None, None, None)
    with pytest.raises(RunUnknown, match="has no journal: nothing of that run was started"):
        resume.load("run-1")
    shutil.rmtree(folder)
    with pytest.raises(RunUnknown, match=f"the folder of run run-1 is gone: {folder}"):
        resume.load("run-1")


def test_the_newest_run_of_a_job_that_is_there(
    job_file: Callable[..., Path], tmp_path: Path
) -> None:
    source = job_file(scenes_yaml(1))
    job = load_job(source)
    assert resume.newest(job) is None
    for name in ("run-1", "run-3", "run-2"):
        begin(source, tmp_path / name)
    begin(job_file(scenes_yaml(1), "other.yaml"), tmp_path / "run-4")
    assert resume.newest(job) == (job, tmp_path / "run-3")
    shutil.rmtree(tmp_path / "run-3")
    assert resume.newest(job) == (job, tmp_path / "run-2")
    (tmp_path / "run-3").mkdir()
    Journal(tmp_path / "run-3").__exit__(None, None, None)
    assert resume.newest(job) == (job, tmp_path / "run-2"), "an empty one has started nothing"


def test_a_run_may_cost_what_it_was_allowed_to_however_it_is_resumed(
    job_file: Callable[..., Path], tmp_path: Path
) -> None:
    source = job_file(scenes_yaml(1))
    begin(source, tmp_path / "run-1", max_cost_usd=2.5)
    for most, limit in ((None, 2.5), (4.0, 4.0)):
        found = resume.newest(load_job(source, max_cost_usd=most))
        assert found is not None
        assert found[0].limits.max_cost_usd == limit


# -- jobs of values and of folders --------------------------------------------------------------


def values(whole: Whole) -> Job:
    scenes = [
        {"scene_name": name, "input_image": "p.png", "input_audio": "a.wav"}
        for name in ("s01", "s02", "s03")
    ]
    return load_job(
        {"scenes": scenes, "limits": {"attempts": 1}}, output=whole.job.output, max_cost_usd=3.0
    )


def test_a_run_of_values_keeps_its_job_and_is_resumed_from_it(
    whole: Whole, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(whole.job.source.parent)
    job = values(whole)
    assert resume.newest(job) is None
    whole.broken = {"s02"}
    first = pipeline.run(job)
    text = (first.directory / "scenes.yaml").read_text()
    assert f"image: {whole.job.source.parent / 'p.png'}\n" in text
    monkeypatch.chdir(tmp_path)
    again, folder = resume.load(first.run_id)
    assert (again.scenes, again.limits, folder) == (job.scenes, job.limits, first.directory)
    assert again.source == first.directory / "scenes.yaml"
    monkeypatch.chdir(whole.job.source.parent)
    assert resume.newest(values(whole)) == (job, first.directory)
    assert resume.newest(load_job([{"name": "x", "image": "p.png", "audio": "a.wav"}])) is None
    whole.broken, whole.asked = set(), []
    second = pipeline.run(again, resume=folder)
    assert whole.asked == ["s02"]
    assert (second.outcome, second.run_id) == (Outcome.COMPLETE, first.run_id)
    # Moved, with all that is in it.
    first.directory.rename(tmp_path / "moved")
    assert resume.load(str(tmp_path / "moved"))[0].source == tmp_path / "moved" / "scenes.yaml"


def test_a_run_of_values_may_be_resumed_with_other_values(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(whole.job.source.parent)
    first = pipeline.run(values(whole))
    changed = load_job([{"name": "s04", "image": "p.png", "audio": "a.wav"}])
    whole.asked = []
    pipeline.run(changed, resume=first.directory)
    assert whole.asked == ["s04"]
    again, _ = resume.load(str(first.directory))
    assert [scene.name for scene in again.scenes] == ["s04"], "the copy is of the newest session"
    state = read(first.directory)
    assert state is not None
    assert state.record is not None
    assert state.record.source == str(first.directory / "scenes.yaml")


def test_a_job_that_cannot_be_kept_is_not_started(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(whole.job.source.parent)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_whole", full)
    with pytest.raises(InfrastructureError, match=r"scenes.yaml cannot be written, so nothing is"):
        pipeline.run(values(whole))
    assert whole.asked == []
    assert registry.runs() == []


def test_a_run_of_a_folder_is_resumed_by_scanning_it_again(whole: Whole, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for name in ("s01", "s02"):
        write_picture(folder / f"{name}.png")
        write_sound(folder / f"{name}.wav")
    job = load_job(folder, output=tmp_path / "out")
    whole.broken = {"s02"}
    first = pipeline.run(job)
    assert not (first.directory / "scenes.yaml").exists()
    write_picture(folder / "s03.png")
    write_sound(folder / "s03.wav")
    again, at = resume.load(first.run_id)
    assert (again.source, [scene.name for scene in again.scenes]) == (folder, ["s01", "s02", "s03"])
    assert resume.newest(again) == (again, at)
    whole.broken, whole.asked = set(), []
    assert pipeline.run(again, resume=at).done == 3
    assert sorted(whole.asked) == ["s02", "s03"]


# -- the whole ----------------------------------------------------------------------------------


def test_a_run_that_goes_on_renders_the_rest_and_reports_on_all(whole: Whole) -> None:
    whole.broken = {"s02"}
    first = pipeline.run(whole.job)
    assert (first.outcome, first.done) == (Outcome.PARTIAL, 2)
    whole.broken, whole.asked = set(), []
    second = pipeline.run(whole.job, resume=first.directory)
    assert whole.asked == ["s02"]
    assert (second.outcome, second.done, second.run_id) == (Outcome.COMPLETE, 3, first.run_id)
    assert second.started_at == first.started_at
    assert [batch.label for batch in second.batches] == ["b01", "b02"], "no name is used twice"
    assert [len(scene.attempts) for scene in second.scenes] == [1, 2, 1]
    assert second.seconds > first.seconds
    assert second.left_running == ()
    history = read(first.directory)
    assert history is not None
    assert (history.outcome, history.unfinished) == ("complete", ())


def test_a_finished_run_starts_nothing(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pipeline.run(whole.job)
    whole.engine.calls.clear()
    whole.asked.clear()
    monkeypatch.setattr(context, "find_engine", lambda _: pytest.fail("it needs no engine"))
    events: list[Event] = []
    second = pipeline.run(whole.job, resume=first.directory, on_event=events.append)
    assert (whole.engine.calls, whole.asked) == ([], [])
    assert events[-1].text == "everything is done already; nothing was started"
    assert (second.outcome, second.done) == (Outcome.COMPLETE, 3)
    assert second.scenes == first.scenes
    assert second.batches == first.batches
    assert second.seconds == pytest.approx(first.seconds, abs=1)


def test_a_finished_run_that_was_moved_reports_where_it_is_now(
    whole: Whole, tmp_path: Path
) -> None:
    first = pipeline.run(whole.job)
    moved = tmp_path / "moved"
    shutil.move(first.directory, moved)
    (moved / "report.json").unlink()
    second = pipeline.run(whole.job, resume=moved)
    assert second.directory == moved
    assert (moved / "report.json").exists()
    assert {scene.artifact.path for scene in second.scenes if scene.artifact} == {
        moved / f"{scene.name}.mp4" for scene in whole.job.scenes
    }


def test_a_run_in_use_is_not_gone_on_with(whole: Whole) -> None:
    first = pipeline.run(whole.job)
    with Journal(first.directory), pytest.raises(RunBusy, match="is in use by process"):
        pipeline.run(whole.job, resume=first.directory)
