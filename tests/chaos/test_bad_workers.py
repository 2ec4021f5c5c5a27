"""Workers that misbehave, over real HTTP: every scene ends once, in time, with its reason."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest

from cloudburst.models import Batch, Event, EventKind, Scene, SceneStatus
from cloudburst.runner.ending.results import SceneResults
from cloudburst.runner.events import Timeline
from cloudburst.runner.queue import SceneQueue
from cloudburst.runner.worker import render_loop
from cloudburst.runner.worker.render_loop import RenderLoop
from cloudburst.workers import client as worker
from cloudburst.workers.download import verify
from tests.chaos.loopback import KEY, Call, Loopback, within
from tests.support import fakes
from tests.support.inputs import stub_video, write_picture, write_sound
from tests.support.marks import but_the_first_slow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloudburst.models import SceneResult

pytestmark = pytest.mark.video

FAILURES = {EventKind.SCENE_RETRY, EventKind.SCENE_FAILED}
# Seconds after which any of these runs must have ended; most take two.
LONGEST = 20.0


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("videos")
    good = stub_video(folder / "v.mp4")
    return {
        "good": good,
        "long": stub_video(folder / "l.mp4", 2),
        # The public image returns it where two scenes share a file: as long, with another sound.
        "collided": stub_video(folder / "c.mp4", hertz=880),
    }


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make every limit short."""
    monkeypatch.setattr(worker, "GRACE", 0.0)
    monkeypatch.setattr(worker, "CONNECT_TIMEOUT", 1.0)
    monkeypatch.setattr(worker, "PATIENCE", 1.0)
    monkeypatch.setattr(render_loop, "WATCH_EVERY", 0.05)
    monkeypatch.setattr(render_loop, "ASK_EVERY", 60.0)
    monkeypatch.setattr(render_loop, "RESTART", 5.0)
    yield
    while fakes.HELD:
        fakes.HELD.pop().__exit__(None, None, None)


class Answers:
    """A worker: a server that answers as a play says, or as a good one does.

    Args:
        videos: what it has to give.
        play: is asked first; says if it has answered.
    """

    def __init__(self, videos: dict[str, bytes], play: Callable[[Answers, Call], bool]) -> None:
        self.videos = videos
        self.play = play
        self.down_until = 0.0
        self.server = Loopback(self._answer)

    def _answer(self, call: Call) -> None:
        if time.monotonic() < self.down_until:
            call.reset()
        elif not self.play(self, call):
            self.well(call)

    def well(self, call: Call) -> None:
        if call.path != "/health" and call.headers.get("X-Authentication-Key") != KEY:
            call.answer(401, b'{"error": "Authentication failed"}')
        elif call.path == "/health":
            call.answer(200, b'{"status": "healthy", "capacity": 1}')
        elif call.method == "POST":
            self.says(call)
        else:
            call.answer(200, self.videos["good"])

    def says(self, call: Call, **more: object) -> None:
        """Answer that the video is ready."""
        said = {
            "success": True,
            "download_endpoint": "/download/1",
            "size": len(self.videos["good"]),
            "scenario": "baseline",
        }
        call.answer(200, json.dumps(said | more).encode())


class Crew:
    """Workers that share scenes, each with a real drive and a real client."""

    def __init__(
        self, folder: Path, *answers: Answers, count: int = 2, attempts: int = 3, room: int = 1
    ) -> None:
        picture = write_picture(folder / "p.png", (16, 16))
        sound = write_sound(folder / "a.wav", 1.0, rate=2000)
        self.scenes = tuple(Scene(f"s{n}", picture, sound, 1.0) for n in range(count))
        self.folder = folder
        self.events: list[Event] = []
        target = fakes.FakeTarget(fakes.FakeEngine())
        context = fakes.make_context(
            target.engine, target, folder, scene_timeout=1.0, attempts=attempts
        )
        self.context = replace(
            context,
            results=SceneResults(self.scenes, context.journal),
            queue=SceneQueue(attempts),
            timeline=Timeline(self.events.append, lambda: None),
        )
        self.context.queue.add([Batch(1, self.scenes)])
        self.answers = answers
        on = fakes.on_local(self.context)
        self.drives = []
        for number, one in enumerate(answers, start=1):
            label = f"b{number:02d}"
            self.context.queue.join(label)
            rented = one.server.worker(room)
            api = one.server.api
            api.capacity = room  # as the bundled server reports: it stops what is given up
            self.drives.append(RenderLoop(label, "b01", rented, api, self.context, on))

    def run(self) -> dict[str, SceneResult]:
        """Let each worker in turn try what those before could not; give what became of all."""
        threads = [
            threading.Thread(target=self._drive, args=(one, f"b{number:02d}"), daemon=True)
            for number, one in enumerate(self.drives, start=1)
        ]
        with within(LONGEST):
            for number, thread in enumerate(threads, start=1):
                thread.start()
                while thread.is_alive() and not self._tried_by(number):
                    time.sleep(0.01)
            for thread in threads:
                thread.join(LONGEST)
                assert not thread.is_alive(), "a drive goes on for ever"
        for one in self.drives:
            one.join(10)
        for each in self.answers:
            each.server.close()
        self.context.timeline.close()
        results = {result.name: result for result in self.context.results.all()}
        self._check(results)
        return results

    def _drive(self, one: RenderLoop, label: str) -> None:
        one.run()
        self.context.queue.leave(label)

    def _tried_by(self, workers: int) -> bool:
        """Say if so many workers have tried every scene that is not done."""
        events = list(self.events)
        done = {event.scene for event in events if event.kind is EventKind.SCENE_DONE}
        failed = Counter(event.scene for event in events if event.kind in FAILURES)
        return all(one.name in done or failed[one.name] >= workers for one in self.scenes)

    def _check(self, results: dict[str, SceneResult]) -> None:
        """See that every scene ended exactly once, and that the folder says the same."""
        ends = Counter(
            event.scene
            for event in self.events
            if event.kind in {EventKind.SCENE_DONE, EventKind.SCENE_FAILED}
        )
        assert ends == Counter(scene.name for scene in self.scenes)
        tries = Counter(
            event.scene for event in self.events if event.kind is EventKind.SCENE_STARTED
        )
        for scene in self.scenes:
            result = results[scene.name]
            assert len(result.attempts) == tries[scene.name]
            home = self.folder / f"{scene.name}.mp4"
            if result.status is SceneStatus.DONE:
                verify(home, scene)
            else:
                assert result.status is SceneStatus.FAILED
                assert result.error
                assert not home.exists()
        assert not list(self.folder.glob("*.part"))


class Bad(NamedTuple):
    """A way to misbehave, and the words that its scenes must end with.

    Args:
        words: in the reason.
        post: answers a render; None does it well.
        get: answers a download; None does it well.
        health: answers a question after its health; None does it well.
    """

    words: str
    post: Callable[[Answers, Call], object] | None = None
    get: Callable[[Answers, Call], object] | None = None
    health: Callable[[Answers, Call], object] | None = None

    def __call__(self, answers: Answers, call: Call) -> bool:
        """Answer, or leave it to the good worker in it."""
        way = self.health if call.path == "/health" else self.get
        way = self.post if call.method == "POST" else way
        if way is not None:
            way(answers, call)
        return way is not None


def says(status: int, body: bytes) -> Callable[[Answers, Call], object]:
    return lambda _, call: call.answer(status, body)


def sends(change: Callable[[bytes], bytes]) -> Callable[[Answers, Call], object]:
    return lambda answers, call: call.answer(200, change(answers.videos["good"]))


def cut(answers: Answers, call: Call) -> None:
    video = answers.videos["good"]
    call.answer(200, video[: len(video) // 2], announced=len(video))


def endless(_: Answers, call: Call) -> None:
    call.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while not call.ended.is_set():
        call.send(b"x" * 65536)


def dripping(_: Answers, call: Call) -> None:
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    call.drip(b"x" * 1000, 0.05)


def hole(data: bytes) -> bytes:
    """Lose a middle third, as a disk does."""
    third = len(data) // 3
    return data[:third] + bytes(third) + data[2 * third :]


BAD = {
    "answers 500": Bad("answered 500: ffmpeg", post=says(500, b'{"error": "ffmpeg ended with 1"}')),
    "answers in HTML": Bad("answered 502: <html>", post=says(502, b"<html>bad gateway</html>")),
    "answers nonsense": Bad("answered 200: []", post=says(200, b"[]")),
    "names no place": Bad("download_endpoint", post=says(200, b'{"success": true}')),
    "names another host": Bad(
        "download_endpoint", post=lambda me, call: me.says(call, download_endpoint="@127.0.0.2/x")
    ),
    "is no worker": Bad("answered 404", post=says(404, b"not found")),
    "redirects": Bad("answered 307", post=says(307, b"")),
    "rejects the key": Bad(
        "answered 401: Authentication failed",
        post=says(401, b'{"error": "Authentication failed"}'),
        get=says(401, b'{"error": "Authentication failed"}'),
    ),
    "is too busy": Bad("answered 429", post=says(429, b'{"error": "too many requests wait"}')),
    "hangs": Bad("took longer than 1 s", post=lambda _, call: call.hang()),
    "drips its answer": Bad("took longer than 1 s", post=dripping),
    "resets": Bad("connection reset", post=lambda _, call: call.reset()),
    "hangs up": Bad("closed the connection", post=lambda _, _call: None),
    "speaks no HTTP": Bad("POST", post=lambda _, call: call.send(b"SSH-2.0-OpenSSH_9.6\r\n" * 9)),
    "cuts the download": Bad("connection closed early", get=cut),
    "cuts a large download": Bad(
        "download interrupted after",
        post=lambda me, call: me.says(call, size=400_000),
        get=lambda _, call: call.answer(200, b"x" * 200_000, announced=400_000),
    ),
    "resets the download": Bad("connection reset", get=lambda _, call: call.reset()),
    "hangs in the download": Bad("took longer than 1 s", get=lambda _, call: call.hang()),
    "drips the download": Bad("took longer than 1 s", get=dripping),
    "never ends the download": Bad("sent more than the expected", get=endless),
    "sends too little": Bad(": received ", get=sends(lambda video: video[:-100])),
    "sends too much": Bad("sent more than the expected", get=sends(lambda video: video + b"x")),
    "sends nothing": Bad("received 0 of", get=sends(lambda _: b"")),
    "sends noise": Bad("damaged", get=sends(lambda video: b"x" * len(video))),
    "sends a video with a hole": Bad("damaged", get=sends(hole)),
    "sends another video": Bad(
        "audio 2.0",
        post=lambda me, call: me.says(call, size=len(me.videos["long"])),
        get=lambda me, call: call.answer(200, me.videos["long"]),
    ),
    "sends another scene's sound": Bad(
        "another sound than a.wav",
        post=lambda me, call: me.says(call, size=len(me.videos["collided"])),
        get=lambda me, call: call.answer(200, me.videos["collided"]),
    ),
    "forgets the video": Bad("answered 404: ", get=says(404, b'{"error": "File not found"}')),
}


@pytest.mark.parametrize("name", but_the_first_slow(BAD))
def test_a_bad_worker_alone_fails_its_scenes_with_the_reason(
    tmp_path: Path, videos: dict[str, bytes], name: str
) -> None:
    bad = BAD[name]
    crew = Crew(tmp_path, Answers(videos, bad), attempts=2)
    results = crew.run()
    for result in results.values():
        assert result.status is SceneStatus.FAILED
        assert [attempt.worker for attempt in result.attempts] == ["b01"] * 2
        assert all(bad.words in str(attempt.error) for attempt in result.attempts), result.attempts
    assert crew.drives[0].lost is None, "it answers, so it is no lost worker"


@pytest.mark.parametrize("name", but_the_first_slow(BAD))
def test_a_good_worker_finishes_what_a_bad_one_could_not(
    tmp_path: Path, videos: dict[str, bytes], name: str
) -> None:
    bad = BAD[name]
    crew = Crew(tmp_path, Answers(videos, bad), Answers(videos, lambda *_: False), count=3)
    results = crew.run()
    assert all(result.status is SceneStatus.DONE for result in results.values())
    tried = [attempt for result in results.values() for attempt in result.attempts]
    failed = [attempt for attempt in tried if attempt.error is not None]
    assert failed, "the bad one had its try"
    assert {attempt.worker for attempt in failed} == {"b01"}
    assert all(bad.words in str(attempt.error) for attempt in failed), failed


DEAD = {
    "hangs altogether": lambda _, call: call.hang(),
    "resets altogether": lambda _, call: call.reset(),
    "speaks no HTTP at all": lambda _, call: call.send(b"220 smtp ESMTP\r\n"),
    "is unwell": says(503, b'{"error": "the server is stopping"}'),
}


@pytest.mark.parametrize("name", but_the_first_slow(DEAD))
def test_a_worker_that_has_gone_gives_its_scenes_back(
    tmp_path: Path, videos: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(render_loop, "RESTART", 0.5)
    way = DEAD[name]
    dead = Answers(videos, Bad("", way, way, way))
    crew = Crew(tmp_path, dead, Answers(videos, lambda *_: False), count=3)
    results = crew.run()
    assert all(result.status is SceneStatus.DONE for result in results.values())
    assert {result.attempts[-1].worker for result in results.values()} == {"b02"}


@pytest.mark.parametrize("when", but_the_first_slow(["while it renders", "while it sends"]))
def test_a_worker_that_is_started_again_goes_on(
    tmp_path: Path, videos: dict[str, bytes], when: str
) -> None:
    """Its process ends in the middle of a request, and is there again a second later."""
    fallen = threading.Event()

    def falls(me: Answers, call: Call) -> bool:
        if fallen.is_set() or call.path == "/health":
            return False
        if when == "while it sends" and call.method == "POST":
            return False
        fallen.set()
        if call.method == "GET":
            call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegun")
            time.sleep(0.1)
        me.down_until = time.monotonic() + 1.0
        call.reset()
        return True

    crew = Crew(tmp_path, Answers(videos, falls), attempts=3)
    results = crew.run()
    assert fallen.is_set()
    assert all(result.status is SceneStatus.DONE for result in results.values())
    assert max(len(result.attempts) for result in results.values()) == 2
    assert crew.drives[0].lost is None


@pytest.mark.parametrize("seed", but_the_first_slow(range(4)))
def test_workers_of_changing_moods_lose_no_scene_and_make_none_twice(
    tmp_path: Path, videos: dict[str, bytes], seed: int
) -> None:
    """Each request goes wrong in its own way, or well; slow ways are left to the tests above."""
    slow = {"hangs", "drips its answer", "hangs in the download", "drips the download"}
    moods = [bad for name, bad in BAD.items() if name not in slow]
    chance = random.Random(seed)  # noqa: S311 - the same moods every time
    lock = threading.Lock()

    def moody(me: Answers, call: Call) -> bool:
        with lock:
            mood = chance.choice(moods) if chance.random() < 0.6 else None
        return mood is not None and call.path != "/health" and mood(me, call)

    crew = Crew(
        tmp_path,
        Answers(videos, moody),
        Answers(videos, moody),
        Answers(videos, lambda *_: False),
        count=8,
        attempts=3,
        room=2,
    )
    results = crew.run()
    assert all(result.status is SceneStatus.DONE for result in results.values())
    # No worker has a second try at a scene while there is another one.
    for result in results.values():
        workers = [attempt.worker for attempt in result.attempts]
        assert len(set(workers)) == len(workers)
