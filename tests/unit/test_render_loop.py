"""A worker renders scenes, and is watched while it does."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.errors import (
    ArtifactInvalid,
    RenderFailed,
    RenderTimedOut,
    SceneError,
    SceneRejected,
    WorkerUnreachable,
)
from cloudburst.models import Artifact, Batch, Condition, Event, Health, Scene, SceneStatus, Worker
from cloudburst.runner.ending.results import SceneResults
from cloudburst.runner.events import Timeline
from cloudburst.runner.queue import SceneQueue
from cloudburst.runner.worker import render_loop
from cloudburst.runner.worker.render_loop import RenderLoop
from tests.support.fakes import (
    SCENE,
    FakeApi,
    FakeEngine,
    FakeTarget,
    cloud_refused,
    done_count,
    fake_download,
    make_context,
    on_local,
)
from tests.support.patience import SOON

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.runner.context import RunContext
    from cloudburst.workers.messages import Rendered

WORKER = Worker("run-b01", "i-1", "http://127.0.0.1:9", "key", 1)
FINE = Condition()
TAKEN = Condition(Health.GONE, "Server.SpotInstanceTermination: wanted back", blameless=True)
DIED = Condition(Health.GONE, "stopped: out of memory")
LEAVING = Condition(Health.LEAVING, "marked-for-termination", blameless=True)


@pytest.mark.parametrize(
    ("capacity", "given"), [(None, 4), (1, 1), (4, 4), (8, 8), (9, 8), (10**9, 8)]
)
def test_a_machine_is_given_what_it_takes_within_reason(capacity: int | None, given: int) -> None:
    """Fewer if a container has not started, more if its GPU encodes; it may also be lying."""
    rented = Worker("run-b01", "i-1", "https://127.0.0.1:9", "key", 4, certificate="PEM")
    assert render_loop.room_of(rented, capacity) == given
    own = Worker("run-b01", "1", "http://127.0.0.1:9", "key", 4)
    assert render_loop.room_of(own, capacity) == 4, "a process of this machine has what was planned"


class Driven:
    """A worker with scenes to render, driven in a thread of its own."""

    def __init__(
        self,
        folder: Path,
        api: FakeApi,
        *conditions: Condition,
        scenes: str = "a",
        attempts: int = 1,
        room: int = 1,
        **limits: Any,
    ) -> None:
        self.events: list[Event] = []
        self.api = api
        self.scenes = tuple(replace(SCENE, name=name) for name in scenes)
        self.target = FakeTarget(FakeEngine(), conditions=list(conditions))
        context = make_context(self.target.engine, self.target, folder, **limits)
        self.context: RunContext = replace(
            context,
            results=SceneResults(self.scenes, context.journal),
            queue=SceneQueue(attempts),
            timeline=Timeline(self.events.append, lambda: None),
        )
        self.context.queue.add([Batch(1, self.scenes)])
        self.context.queue.join("b01")
        worker = replace(WORKER, room=room)
        self.render_loop = RenderLoop(  # type: ignore[arg-type]
            "b01", "b01", worker, api, self.context, on_local(self.context)
        )
        self._thread = threading.Thread(target=self.render_loop.run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._thread.join(30)  # not so long as what hangs in a test
        assert not self._thread.is_alive()

    def run(self) -> None:
        self.start()
        self.end()
        if self.api.go_on.is_set():
            self.render_loop.join(SOON)

    def told(self) -> list[tuple[str, str | None]]:
        self.context.timeline.close()
        return [(event.kind.value, event.scene) for event in self.events]

    def pending(self) -> list[str]:
        """Name the scenes that another worker gets."""
        self.context.queue.leave("b01")
        self.context.queue.join("b02")
        count = self.context.queue.pending()
        taken = [self.context.queue.take("b02", "b02") for _ in range(count)]
        return [one.name for one in taken if one]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the provider often, and at /health never."""
    monkeypatch.setattr(render_loop, "WATCH_EVERY", 0.01)
    monkeypatch.setattr(render_loop, "ASK_EVERY", 60.0)
    monkeypatch.setattr(render_loop, "download", fake_download)


def test_scenes_are_rendered_and_come_home(tmp_path: Path) -> None:
    driven = Driven(tmp_path, FakeApi(), scenes="abc")
    driven.run()
    assert sorted(driven.api.asked) == ["a", "b", "c"]
    results = driven.context.results.all()
    assert [one.status for one in results] == [SceneStatus.DONE] * 3
    assert [one.scenario for one in results] == ["baseline"] * 3
    assert results[0].artifact == Artifact(tmp_path / "a.mp4", 1000, 1.0, 1920, 1080, 30)
    assert driven.render_loop.lost is None


def test_no_more_scenes_are_rendered_at_once_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = most = 0
    lock, pair = threading.Lock(), threading.Barrier(2)

    def render(scene: Scene, timeout: float) -> object:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        pair.wait(SOON)
        time.sleep(0.02)  # a third would come now
        with lock:
            now -= 1
        return FakeApi().render(scene, timeout)

    api = FakeApi()
    monkeypatch.setattr(api, "render", render)
    driven = Driven(tmp_path, api, scenes="abcdefgh", room=2)
    driven.run()
    assert most == 2
    assert done_count(driven.context) == 8


class Counting(FakeApi):
    """Counts the moving and the still scenes that it renders at once."""

    def __init__(self, capacity: int | None, most: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.now = {True: 0, False: 0}
        self.most = {True: 0, False: 0}
        self.both = False
        self._wanted = most
        self._changed = threading.Condition()

    def render(self, scene: Scene, timeout: float) -> Rendered:
        kind = bool(scene.options.effects)
        with self._changed:
            self.now[kind] += 1
            self.most[kind] = max(self.most[kind], self.now[kind])
            self.both |= all(self.now.values())
            self._changed.notify_all()
            self._changed.wait_for(self._is_full, SOON)
        time.sleep(0.02)  # one too many would come now
        with self._changed:
            self.now[kind] -= 1
        return super().render(scene, timeout)

    def _is_full(self) -> bool:
        """Whether as many as should be are rendered at once."""
        return self.most[True] >= self._wanted and (self.both or self.capacity is not None)


@pytest.mark.parametrize(("capacity", "most"), [(None, 1), (4, 4)])
def test_a_server_without_a_capacity_gets_one_moving_scene_at_a_time_and_stills_beside_it(
    tmp_path: Path, capacity: int | None, most: int
) -> None:
    api = Counting(capacity, most)
    driven = Driven(tmp_path, api, scenes="abcdef", room=4)
    moving = replace(SCENE.options, effects=("zoom_in",))
    mixed = tuple(
        replace(one, options=moving) if one.name in "abcd" else one for one in driven.scenes
    )
    driven.context.queue.add([Batch(1, mixed)])
    driven.run()
    assert sorted(api.asked) == ["a", "b", "c", "d", "e", "f"]
    assert api.most[True] == most
    assert api.both or capacity is not None, "a still need not wait for the moving scene"
    assert driven.render_loop.lost is None


def moving_scenes(driven: Driven) -> None:
    """Make every scene of a worker's queue a moving one."""
    options = replace(SCENE.options, effects=("zoom_in",))
    scenes = tuple(replace(one, options=options) for one in driven.scenes)
    driven.context.queue.add([Batch(1, scenes)])


@pytest.mark.parametrize("error", [RenderTimedOut, WorkerUnreachable])
@pytest.mark.parametrize("capacity", [None, 1])
def test_a_server_that_renders_on_what_was_given_up_gets_nothing_more(
    tmp_path: Path, error: type[Exception], capacity: int | None
) -> None:
    """The retry on top of what still renders would get its sound, or its processor."""
    api = FakeApi([error("no answer")])
    api.capacity = capacity
    driven = Driven(tmp_path, api, scenes="ab", attempts=2)
    moving_scenes(driven)
    driven.run()
    lost = driven.render_loop.lost
    failed, other = driven.context.results.all()
    if capacity is not None:
        assert lost is None
        assert api.asked == ["a", "a", "b"]
        return
    assert lost is not None
    assert (lost.health, lost.of_scene) == (Health.LEAVING, True)
    assert api.asked == ["a"]
    said = str(failed.attempts[0].error)
    assert said.startswith("no answer; ")
    assert "; the worker is replaced" in said
    assert other.attempts == ()
    assert driven.pending() == ["a", "b"]


@pytest.mark.parametrize(
    ("limit", "error", "explained"),
    [
        (0.001, RenderFailed, True),
        (None, RenderTimedOut, True),
        (None, RenderFailed, False),
        (0.001, SceneRejected, False),
    ],
)
def test_an_attempt_that_took_too_long_says_which_limit_that_was(
    tmp_path: Path, limit: float | None, error: type[SceneError], *, explained: bool
) -> None:
    """The worker's own answer comes after the scene's limit; any other failure comes before."""
    failure = error("the video API answered 500: the render took longer")
    failure.sent = 300
    api = FakeApi([failure], holds=True)
    driven = Driven(tmp_path, api, scenes="a", attempts=1, scene_timeout=limit)
    threading.Timer(0.05, api.go_on.set).start()
    driven.run()
    (scene,) = driven.context.results.all()
    said = str(scene.error)
    assert ("limits.scene_timeout is " in said) is explained
    assert said.startswith("the video API answered 500: the render took longer")
    assert scene.bytes_sent == 300


def test_a_still_whose_connection_breaks_off_is_tried_again_beside_what_may_render_on(
    tmp_path: Path,
) -> None:
    api = FakeApi([WorkerUnreachable("reset")])
    api.capacity = None
    driven = Driven(tmp_path, api, scenes="a", attempts=2)
    driven.run()
    assert driven.render_loop.lost is None
    assert api.asked == ["a", "a"]


def test_what_every_attempt_has_sent_is_noted(tmp_path: Path) -> None:
    failed = RenderFailed("ffmpeg")
    failed.sent = 300
    driven = Driven(tmp_path, FakeApi([failed]), scenes="a", attempts=2)
    driven.run()
    (scene,) = driven.context.results.all()
    assert [attempt.bytes_sent for attempt in scene.attempts] == [300, 500]
    assert scene.bytes_sent == 800
    stored = driven.context.journal.state().attempts["a"]
    assert [attempt.bytes_sent for attempt in stored] == [300, 500]


def test_a_process_that_ended_renders_nothing_on(tmp_path: Path) -> None:
    api = Away(2)
    api.capacity = None
    driven = Driven(tmp_path, api, scenes="a", attempts=2)
    moving_scenes(driven)
    driven.run()
    assert driven.render_loop.lost is None
    assert api.asked == ["a", "a"]


def test_the_next_scene_renders_while_the_last_one_comes_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven = Driven(tmp_path, FakeApi(), scenes="ab")
    together: list[bool] = []

    def slow(
        api: object, rendered: Rendered, scene: Scene, folder: Path, **how: Any
    ) -> tuple[Artifact, str] | None:
        deadline = time.monotonic() + 5
        while len(driven.api.asked) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        together.append(len(driven.api.asked) == 2)
        return fake_download(api, rendered, scene, folder, **how)

    monkeypatch.setattr(render_loop, "download", slow)
    driven.run()
    assert together == [True, True]


@pytest.mark.parametrize(
    ("condition", "attempts", "event", "pending"),
    [
        (TAKEN, 1, "scene_retry", ["a"]),
        (DIED, 2, "scene_retry", ["a"]),
        (DIED, 1, "scene_failed", []),
    ],
)
def test_a_worker_that_is_gone_while_a_render_hangs(
    tmp_path: Path, condition: Condition, attempts: int, event: str, pending: list[str]
) -> None:
    driven = Driven(tmp_path, FakeApi(holds=True), FINE, FINE, condition, attempts=attempts)
    driven.run()
    assert driven.render_loop.lost == condition
    assert driven.pending() == pending
    # The answer comes all the same, much too late.
    driven.api.go_on.set()
    driven.render_loop.join(SOON)
    (scene,) = driven.context.results.all()
    assert scene.artifact is None
    assert [(one.worker, one.error) for one in scene.attempts] == [("b01", condition.reason)]
    assert driven.told() == [("scene_started", "a"), (event, "a")]
    assert driven.context.queue.pending() == 0


def test_an_error_that_comes_late_does_not_count_either(tmp_path: Path) -> None:
    api = FakeApi([RenderFailed("the video API answered 500")], holds=True)
    driven = Driven(tmp_path, api, FINE, TAKEN)
    driven.run()
    api.go_on.set()
    driven.render_loop.join(SOON)
    assert driven.told() == [("scene_started", "a"), ("scene_retry", "a")]
    assert len(driven.context.results.all()[0].attempts) == 1
    assert driven.pending() == ["a"]


def test_all_scenes_in_flight_go_back(tmp_path: Path) -> None:
    driven = Driven(tmp_path, FakeApi(holds=True), *[FINE] * 5, TAKEN, scenes="abcd", room=3)
    driven.run()
    assert len(driven.api.asked) == 3
    assert sorted(driven.pending()) == ["a", "b", "c", "d"]
    driven.api.go_on.set()
    driven.render_loop.join(SOON)
    assert done_count(driven.context) == 0
    assert len(driven.api.asked) == 3, "nothing new was begun"


def test_a_worker_about_to_leave_finishes_what_it_renders_and_takes_nothing_new(
    tmp_path: Path,
) -> None:
    driven = Driven(tmp_path, FakeApi(holds=True), scenes="ab")
    driven.start()
    assert driven.api.began.wait(SOON)
    driven.target.conditions[:] = [LEAVING] * 10_000
    deadline = time.monotonic() + 10
    while driven.render_loop.lost is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert driven.render_loop.lost == LEAVING
    driven.api.go_on.set()
    driven.end()
    assert driven.render_loop.lost == LEAVING
    first, second = driven.context.results.all()
    assert (first.status, second.status) == (SceneStatus.DONE, SceneStatus.UNFINISHED)
    assert driven.told() == [("scene_started", "a"), ("scene_done", "a")]
    assert driven.api.asked == ["a"]
    assert driven.pending() == ["b"]


def test_a_worker_that_was_about_to_leave_may_be_gone_before_it_finishes(tmp_path: Path) -> None:
    driven = Driven(tmp_path, FakeApi(holds=True), FINE, LEAVING, LEAVING, TAKEN)
    driven.run()
    assert driven.render_loop.lost == TAKEN
    assert driven.pending() == ["a"]
    driven.api.go_on.set()
    driven.render_loop.join(SOON)


def test_a_silent_worker_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_loop, "ASK_EVERY", 0.01)
    monkeypatch.setattr(render_loop, "SILENCE", 0.3)
    driven = Driven(tmp_path, FakeApi(sick="timed out", holds=True), attempts=2)
    began = time.monotonic()
    driven.run()
    assert 0.3 <= time.monotonic() - began < SOON
    assert driven.render_loop.lost == Condition(
        Health.GONE, "its video API has not answered for 0 s", blameless=False
    )
    assert driven.pending() == ["a"]
    driven.api.go_on.set()
    driven.render_loop.join(SOON)


def test_a_worker_that_answers_now_and_then_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_loop, "ASK_EVERY", 0.01)
    monkeypatch.setattr(render_loop, "SILENCE", 1.0)
    answers: list[str | None] = []

    def healthy(_: float = 5.0) -> str | None:
        answers.append("timed out" if len(answers) % 3 else None)
        if len(answers) > 15:
            driven.api.go_on.set()
        return answers[-1]

    driven = Driven(tmp_path, FakeApi(holds=True))
    monkeypatch.setattr(driven.api, "healthy", healthy)
    driven.run()
    assert len(answers) > 15
    assert driven.render_loop.lost is None
    assert done_count(driven.context) == 1


def test_a_worker_whose_renders_come_home_is_kept_however_slow_its_health_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_loop, "ASK_EVERY", 0.01)
    monkeypatch.setattr(render_loop, "SILENCE", 1.0)
    api = FakeApi(sick="timed out")
    at_once = api.render

    def render(scene: Scene, timeout: float) -> Rendered:
        time.sleep(0.3)
        return at_once(scene, timeout)

    monkeypatch.setattr(api, "render", render)
    driven = Driven(tmp_path, api, scenes="abcde")
    driven.run()
    assert driven.render_loop.lost is None
    assert done_count(driven.context) == 5


def test_not_being_told_how_a_worker_is_is_no_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven = Driven(tmp_path, FakeApi(holds=True))
    asked: list[Worker] = []

    def condition(worker: Worker) -> Condition:
        asked.append(worker)
        if len(asked) == 3:
            driven.api.go_on.set()
        raise cloud_refused("DescribeInstances: throttled", "RequestLimitExceeded")

    monkeypatch.setattr(driven.target, "condition", condition)
    driven.run()
    assert len(asked) >= 3
    assert driven.render_loop.lost is None
    assert done_count(driven.context) == 1


@pytest.mark.parametrize(
    ("condition", "attempts", "pending"), [(TAKEN, 1, ["a"]), (DIED, 2, ["a"]), (DIED, 1, [])]
)
def test_a_request_that_breaks_off_is_laid_at_the_door_it_belongs_to(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    condition: Condition,
    attempts: int,
    pending: list[str],
) -> None:
    monkeypatch.setattr(render_loop, "WATCH_EVERY", 60.0)
    api = FakeApi([WorkerUnreachable("POST: connection reset")], sick="connection refused")
    driven = Driven(tmp_path, api, condition, attempts=attempts)
    driven.run()
    assert driven.render_loop.lost == condition
    (scene,) = driven.context.results.all()
    assert scene.error == f"POST: connection reset; {condition.reason}"
    assert driven.pending() == pending


def test_a_lost_worker_has_not_ended_before_its_scenes_are_queued_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes next depends on whether scenes wait."""
    api = FakeApi([WorkerUnreachable("POST: connection reset")], sick="connection refused")
    driven = Driven(tmp_path, api, TAKEN)
    began, go_on = threading.Event(), threading.Event()
    give_back = driven.context.queue.give_back

    def slow(scene: Scene, batch: str) -> bool:
        began.set()
        assert go_on.wait(SOON)
        return give_back(scene, batch)

    monkeypatch.setattr(driven.context.queue, "give_back", slow)
    monkeypatch.setattr(render_loop, "WATCH_EVERY", 60.0)
    driven.start()
    assert began.wait(SOON)
    driven._thread.join(0.5)
    assert driven._thread.is_alive()
    go_on.set()
    driven.end()
    assert driven.pending() == ["a"]
    (scene,) = driven.context.results.all()
    assert len(scene.attempts) == 1


def test_the_provider_may_know_a_little_later_than_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_loop, "WATCH_EVERY", 60.0)
    api = FakeApi([WorkerUnreachable("POST: connection reset")], sick="connection refused")
    driven = Driven(tmp_path, api, FINE, TAKEN)
    driven.target.settle = 5.0
    driven.run()
    assert driven.render_loop.lost == TAKEN
    assert driven.pending() == ["a"]


def test_a_worker_that_is_fine_by_its_provider_but_unreachable_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_loop, "RESTART", 0.1)
    api = FakeApi([WorkerUnreachable("POST: connection reset")], sick="connection refused")
    driven = Driven(tmp_path, api, attempts=2)
    driven.run()
    assert driven.render_loop.lost == Condition(
        Health.GONE, "POST: connection reset", blameless=False
    )
    assert driven.pending() == ["a"]


def test_a_request_that_breaks_off_on_a_healthy_worker_is_tried_again_there(tmp_path: Path) -> None:
    api = FakeApi([WorkerUnreachable("POST: connection reset")])
    driven = Driven(tmp_path, api, attempts=2)
    driven.run()
    assert driven.render_loop.lost is None
    assert driven.told() == [
        ("scene_started", "a"),
        ("scene_retry", "a"),
        ("scene_started", "a"),
        ("scene_done", "a"),
    ]


def test_a_scene_that_the_api_refuses_is_not_tried_again(tmp_path: Path) -> None:
    driven = Driven(tmp_path, FakeApi([SceneRejected("400: no picture")]), attempts=3)
    driven.run()
    assert driven.told() == [("scene_started", "a"), ("scene_failed", "a")]
    assert driven.pending() == []


def test_a_bug_costs_its_scene_a_try_and_no_more(tmp_path: Path) -> None:
    api = FakeApi([ZeroDivisionError("a bug")])
    driven = Driven(tmp_path, api, scenes="ab", attempts=1)
    driven.run()
    first, second = driven.context.results.all()
    assert first.error == "unexpected ZeroDivisionError: a bug"
    assert second.status is SceneStatus.DONE


def test_once_asked_to_stop_nobody_waits_for_a_render(tmp_path: Path) -> None:
    driven = Driven(tmp_path, FakeApi([WorkerUnreachable("POST: reset")], holds=True))
    driven.start()
    assert driven.api.began.wait(SOON)
    driven.context.stop.request()
    driven.end()
    driven.api.go_on.set()
    driven.render_loop.join(SOON)
    assert driven.told() == [("scene_started", "a")], "its end is no failure of the scene"


def test_a_scene_that_was_taken_while_its_worker_was_found_gone_goes_back(tmp_path: Path) -> None:
    driven = Driven(tmp_path, FakeApi())
    scene = driven.context.queue.take("b01", "b01")
    assert scene is not None
    driven.render_loop._lose(DIED)
    assert driven.render_loop._start(scene) is None
    assert driven.pending() == ["a"]
    assert driven.api.asked == []
    (result,) = driven.context.results.all()
    assert result.attempts == (), "nothing was tried"


# -- a worker that comes back -------------------------------------------------------------------


class Away(FakeApi):
    """A video API that breaks a request off, and is away for some looks at its health."""

    def __init__(self, looks: int) -> None:
        super().__init__([WorkerUnreachable("POST: connection reset")])
        self.answers: list[str | None] = []
        self._looks = looks

    def healthy(self, timeout: float = 5.0) -> str | None:
        self.answers.append("connection refused" if len(self.answers) < self._looks else None)
        return self.answers[-1]


def test_a_worker_that_is_started_again_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_loop, "RESTART", 20.0)
    monkeypatch.setattr(render_loop, "SILENCE", 0.0)
    api = Away(2)
    driven = Driven(tmp_path, api, scenes="ab", attempts=2)
    driven.run()
    assert api.answers == ["connection refused", "connection refused", None]
    assert driven.render_loop.lost is None
    first, second = driven.context.results.all()
    assert (first.status, second.status) == (SceneStatus.DONE, SceneStatus.DONE)
    assert [one.error for one in first.attempts] == ["POST: connection reset", None]
    assert {one.worker for one in first.attempts} == {"b01"}


def test_who_can_ask_nobody_is_more_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_loop, "RESTART", 0.0)
    monkeypatch.setattr(render_loop, "SILENCE", 20.0)
    driven = Driven(tmp_path, Away(1), attempts=2)

    def condition(_: Worker) -> Condition:
        raise cloud_refused("DescribeInstances: no answer")

    monkeypatch.setattr(driven.target, "condition", condition)
    driven.run()
    assert driven.render_loop.lost is None
    assert done_count(driven.context) == 1


def test_even_who_can_ask_nobody_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_loop, "RESTART", 60.0)
    monkeypatch.setattr(render_loop, "SILENCE", 0.1)
    api = FakeApi([WorkerUnreachable("POST: connection reset")], sick="connection refused")
    driven = Driven(tmp_path, api, attempts=2)
    monkeypatch.setattr(driven.target, "condition", lambda _: 1 / 0)
    driven.run()
    assert driven.render_loop.lost == Condition(Health.GONE, "POST: connection reset")
    assert driven.pending() == ["a"]


def test_a_request_to_stop_ends_the_wait_for_a_worker(tmp_path: Path) -> None:
    api = FakeApi([WorkerUnreachable("POST: connection reset")], sick="connection refused")
    driven = Driven(tmp_path, api)
    driven.start()
    assert api.began.wait(SOON)
    driven.context.stop.request()
    driven.end()
    began = time.monotonic()
    driven.render_loop.join(2 * SOON)
    assert time.monotonic() - began < SOON
    assert driven.told() == [("scene_started", "a")]


def test_a_stop_while_a_worker_starts_again_leaves_its_other_videos_time_to_come_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    api = FakeApi([None, WorkerUnreachable("POST: connection reset")])
    asked = threading.Event()

    def unhealthy(*_: object) -> str:
        asked.set()
        return "connection refused"

    monkeypatch.setattr(api, "healthy", unhealthy)
    driven = coming_home(tmp_path, slow, api=api, scenes="ab")
    assert asked.wait(SOON), "b has broken off, and its worker is being asked after"
    driven.context.stop.request()
    time.sleep(0.3)
    slow.go_on.set()
    driven.end()
    driven.render_loop.join(SOON)
    assert driven.render_loop.lost is None
    first, second = driven.context.results.all()
    assert (first.status, second.status) == (SceneStatus.DONE, SceneStatus.UNFINISHED)


@pytest.mark.parametrize("whole", [True, False])
def test_a_video_that_is_being_verified_is_waited_for_when_its_worker_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    here, go_on = threading.Event(), threading.Event()

    def verifying(*given: Any, **how: Any) -> tuple[Artifact, str] | None:
        assert how["wanted"]()
        here.set()
        assert go_on.wait(SOON)
        if not whole:
            raise ArtifactInvalid("it is damaged")
        return fake_download(*given, **{**how, "wanted": lambda: True})

    monkeypatch.setattr(render_loop, "download", verifying)
    monkeypatch.setattr(render_loop, "WATCH_EVERY", 0.0)
    driven = Driven(tmp_path, FakeApi(), attempts=2)
    driven.start()
    assert here.wait(SOON)
    driven.target.conditions[:] = [DIED] * 1000
    time.sleep(0.5)
    assert driven.render_loop.lost == DIED
    assert driven._thread.is_alive(), "its last video is here, and is being looked at"
    go_on.set()
    driven.end()
    (result,) = driven.context.results.all()
    assert (result.status is SceneStatus.DONE) is whole
    assert driven.pending() == ([] if whole else ["a"]), "a damaged one goes to another worker"


# -- the end of a run ---------------------------------------------------------------------------


class Slow:
    """Downloads that a test lets go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()
        monkeypatch.setattr(render_loop, "download", self._download)

    def _download(self, *given: Any, **how: Any) -> tuple[Artifact, str] | None:
        self.began.set()
        assert self.go_on.wait(SOON), "a test let a download go on for ever"
        return fake_download(*given, **how)


def coming_home(folder: Path, slow: Slow, api: FakeApi | None = None, **more: Any) -> Driven:
    """Give a worker that has rendered scene a, whose video is on its way, and renders the next."""
    driven = Driven(folder, api or FakeApi(), **more)
    driven.context.stop.on_request = lambda _: driven.context.queue.stop()
    driven.start()
    assert slow.began.wait(SOON)
    return driven


def test_asked_to_stop_a_run_waits_for_a_video_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    driven = coming_home(tmp_path, slow)
    driven.context.stop.request()
    driven._thread.join(0.3)
    assert driven._thread.is_alive(), "the worker is not ended under it"
    slow.go_on.set()
    driven.end()
    driven.render_loop.join(SOON)
    assert done_count(driven.context) == 1
    assert driven.told() == [("scene_started", "a"), ("scene_done", "a")]
    assert list(driven.context.journal.state().videos) == ["a"]


def test_asked_to_stop_a_run_does_not_wait_for_what_renders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class HoldsB(FakeApi):
        def render(self, scene: Scene, timeout: float) -> Rendered:
            if scene.name == "b":
                hanging.set()
                assert let.wait(SOON)
            return super().render(scene, timeout)

    slow, hanging, let = Slow(monkeypatch), threading.Event(), threading.Event()
    driven = Driven(tmp_path, HoldsB(), scenes="ab")
    driven.context.stop.on_request = lambda _: driven.context.queue.stop()
    driven.start()
    assert slow.began.wait(SOON)
    assert hanging.wait(SOON)
    driven.context.stop.request()
    slow.go_on.set()
    driven.end()
    assert done_count(driven.context) == 1, "b renders still"
    let.set()
    driven.render_loop.join(SOON)
    first, second = driven.context.results.all()
    assert (first.status, second.status) == (SceneStatus.DONE, SceneStatus.UNFINISHED)
    assert driven.told()[-1] == ("scene_done", "a")


def test_what_is_rendered_when_a_run_is_asked_to_stop_is_not_sent_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    driven = Driven(tmp_path, FakeApi(holds=True))
    driven.start()
    assert driven.api.began.wait(SOON)
    driven.context.stop.request()
    driven.api.go_on.set()
    driven.end()
    driven.render_loop.join(SOON)
    assert not slow.began.is_set()
    assert done_count(driven.context) == 0


def test_asked_twice_a_run_waits_for_no_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    driven = coming_home(tmp_path, slow)
    driven.context.stop.request()
    driven._thread.join(0.2)
    assert driven._thread.is_alive()
    driven.context.stop.request()
    driven.end()
    assert done_count(driven.context) == 0
    slow.go_on.set()
    driven.render_loop.join(SOON)


def test_a_video_that_does_not_come_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_loop, "DOWNLOAD_GRACE", 0.2)
    slow = Slow(monkeypatch)
    driven = coming_home(tmp_path, slow)
    driven.context.stop.request()
    began = time.monotonic()
    driven.end()
    assert 0.1 < time.monotonic() - began < SOON
    slow.go_on.set()
    driven.render_loop.join(SOON)


def test_a_video_whose_worker_is_gone_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    driven = coming_home(tmp_path, slow)
    driven.context.stop.request()
    driven._thread.join(0.2)
    assert driven._thread.is_alive()
    driven.target.conditions.append(TAKEN)
    driven.end()
    assert driven.render_loop.lost == TAKEN
    began = time.monotonic()
    driven.render_loop.join(2 * SOON)
    assert time.monotonic() - began < SOON
    slow.go_on.set()
    deadline = time.monotonic() + 10
    while any(thread.is_alive() for thread in driven.render_loop._threads):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert done_count(driven.context) == 0, "and no longer counts"


# -- the journal --------------------------------------------------------------------------------


def test_a_scene_whose_files_cannot_be_read_fails_alone(tmp_path: Path) -> None:
    driven = Driven(tmp_path, FakeApi(), scenes="ab", attempts=3)
    lost = replace(SCENE, name="lost", audio=tmp_path / "lost.wav")
    driven.context.queue.add([Batch(2, (lost,))])
    driven.context.results._attempts["lost"] = []
    driven.run()
    assert sorted(driven.api.asked) == ["a", "b"]
    told = driven.told()
    assert ("scene_failed", "lost") in told
    (text,) = (event.text for event in driven.events if event.scene == "lost")
    assert text == f"{tmp_path / 'lost.wav'} cannot be read: No such file or directory"
    assert done_count(driven.context) == 2
    history = driven.context.journal.state()
    assert [one.error for one in history.attempts["lost"]] == [text], "the journal knows of it"
    assert history.inflight == {}


class FailsByScene(FakeApi):
    """A video API whose first render of a scene fails as a test says, in whatever order."""

    def __init__(self, errors: dict[str, Exception]) -> None:
        super().__init__()
        self._errors = errors

    def render(self, scene: Scene, timeout: float) -> Rendered:
        rendered = super().render(scene, timeout)
        if scene.name in self._errors:
            raise self._errors.pop(scene.name)
        return rendered


def test_the_journal_says_the_same_as_the_memory(tmp_path: Path) -> None:
    errors = {"a": RenderFailed("500"), "c": SceneRejected("400"), "d": ZeroDivisionError("a bug")}
    driven = Driven(tmp_path, FailsByScene(errors), scenes="abcd", attempts=2)
    driven.run()
    history, results = driven.context.journal.state(), driven.context.results.all()
    assert sum(len(one.attempts) for one in results) == 6
    for one in results:
        assert history.attempts[one.name] == one.attempts
        home = history.videos.get(one.name)
        assert (home.artifact if home else None) == one.artifact
    assert history.inflight == {}
