"""Which worker gets which scene."""

from __future__ import annotations

import threading
from pathlib import Path

from cloudburst.models import Batch, Scene
from cloudburst.runner.queue import SceneQueue
from tests.support.patience import SOON


def scene(name: str, seconds: float) -> Scene:
    return Scene(name, Path("p"), Path("a"), seconds)


def queue(attempts: int = 3) -> SceneQueue:
    made = SceneQueue(attempts)
    made.add(
        [
            Batch(1, (scene("a", 9), scene("b", 2))),
            Batch(2, (scene("c", 8),)),
            Batch(3, (scene("d", 5), scene("e", 4), scene("f", 3))),
        ]
    )
    return made


def names(made: SceneQueue, worker: str, count: int) -> list[str]:
    taken = [made.take(worker, worker) for _ in range(count)]
    return [one.name for one in taken if one]


def test_a_worker_takes_its_own_batch_longest_first_then_from_the_fullest() -> None:
    made = queue()
    for label in ("b01", "b02", "b03"):
        made.join(label)
    # c is its own; then b03 has 12 s queued against 11; then b01 has 11 against 7.
    assert names(made, "b02", 3) == ["c", "d", "a"]
    assert names(made, "b01", 4) == ["b", "e", "f"]


def test_nothing_is_left_for_a_worker_when_all_is_taken() -> None:
    made = SceneQueue(3)
    made.join("b01")
    assert made.take("b01", "b01") is None


def test_a_worker_gets_the_first_scene_that_it_admits_and_waits_while_it_admits_none() -> None:
    made = queue()
    made.join("b02")
    first = made.take("b02", "b02", lambda scene: scene.name != "c")
    assert first is not None
    assert first.name != "c"
    taken: list[Scene | None] = []
    admitted: set[str] = set()
    waiting = threading.Thread(
        target=lambda: taken.append(made.take("b02", "b02", lambda one: one.name in admitted))
    )
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive(), "it waits for what it does not admit"
    admitted.add("c")
    made.wake()
    waiting.join(5)
    assert [one and one.name for one in taken] == ["c"]


def test_a_failed_scene_goes_to_another_worker_while_there_is_one() -> None:
    made = SceneQueue(3)
    made.add([Batch(1, (scene("a", 9),))])
    made.join("b01")
    made.join("b02")
    first = made.take("b01", "b01")
    assert first is not None
    assert made.failed(first, "b01", "b01", retry=True)
    got: list[Scene | None] = []
    waiting = threading.Thread(target=lambda: got.append(made.take("b01", "b01")))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive(), "b01 waits, for b02 may take it"
    assert made.take("b02", "b02") == first
    waiting.join(SOON)
    assert got == [None]


def test_a_failed_scene_comes_back_when_the_others_have_left() -> None:
    made = SceneQueue(3)
    made.add([Batch(1, (scene("a", 9),))])
    made.join("b01")
    made.join("b02")
    first = made.take("b01", "b01")
    assert first is not None
    made.failed(first, "b01", "b01", retry=True)
    made.leave("b02")
    assert made.take("b01", "b01") == first


def test_tries_are_bounded_and_pointless_ones_are_not_made() -> None:
    made = SceneQueue(2)
    poison, refused = scene("a", 9), scene("b", 1)
    assert made.failed(poison, "b01", "b01", retry=True)
    assert not made.failed(poison, "b02", "b02", retry=True)
    assert not made.failed(refused, "b01", "b01", retry=False)


def test_stop_ends_waiting_and_hands_out_nothing_more() -> None:
    made = queue()
    made.join("b01")
    made.stop()
    assert made.take("b01", "b01") is None


def test_what_waits_is_counted_until_the_run_stops() -> None:
    made = queue()
    made.join("b01")
    made.take("b01", "b01")
    assert made.pending() == 5
    made.stop()
    assert made.pending() == 0


def test_a_scene_whose_worker_was_taken_away_has_used_up_no_try() -> None:
    made = SceneQueue(1)
    made.add([Batch(1, (scene("a", 9),))])
    made.join("b01")
    first = made.take("b01", "b01")
    assert first is not None
    assert made.give_back(first, "b01")
    made.leave("b01")
    made.join("b01.2")
    assert made.take("b01.2", "b01") == first
    assert not made.failed(first, "b01.2", "b01", retry=True), "this was its only try"
    made.stop()
    assert not made.give_back(first, "b01")


def test_no_scene_is_handed_out_twice_to_many_threads() -> None:
    made = SceneQueue(1)
    made.add([Batch(n, tuple(scene(f"{n}-{i}", i) for i in range(50))) for n in range(1, 5)])
    taken: list[str] = []

    def work(label: str) -> None:
        while (one := made.take(label, label)) is not None:
            taken.append(one.name)

    threads = []
    for label in ("b01", "b02", "b03", "b04"):
        made.join(label)
        threads += [threading.Thread(target=work, args=(label,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 200
