"""How scenes become batches."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cloudburst.models import Distribution, Scene
from cloudburst.runner.planner import batch_count, spread


def scenes(*lengths: float) -> list[Scene]:
    return [
        Scene(f"s{number:04d}", Path("p"), Path("a"), seconds)
        for number, seconds in enumerate(lengths)
    ]


@pytest.mark.parametrize(
    ("total", "per_batch", "most", "least", "expected"),
    [
        (50, 10, 10, 5, [10] * 5),
        (120, 10, 10, 5, [12] * 10),
        (24, 10, 10, 8, [8] * 3),
        (1, 10, 10, 5, [1]),
        (4, 10, 10, 5, [4]),
        (11, 10, 10, 5, [6, 5]),
        (12, 10, 10, 8, [12]),
        (100, 10, 1, 5, [100]),
    ],
)
def test_equal_scenes_are_spread_by_the_rules_of_the_original(
    total: int, per_batch: int, most: int, least: int, expected: list[int]
) -> None:
    batches = spread(scenes(*[5.0] * total), Distribution(per_batch, most, least), "local")
    assert [len(batch.scenes) for batch in batches] == expected


def test_no_scenes_make_no_batches() -> None:
    assert spread([], Distribution(), "local") == ()
    assert batch_count(0, Distribution()) == 0


def test_batches_are_balanced_by_narration_not_by_count() -> None:
    lengths = [60.0, 55.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]
    batches = spread(scenes(*lengths), Distribution(5, 2, 2), "local")
    seconds = sorted(batch.seconds for batch in batches)
    # In the order of the file, five and five would be 130 s against 25 s.
    assert seconds[1] - seconds[0] <= 5.0


def test_every_scene_is_in_one_batch_and_no_batch_is_below_its_minimum() -> None:
    generator = random.Random(7)  # noqa: S311 - the same cases every time
    for _ in range(200):
        lengths = [generator.uniform(0.5, 300) for _ in range(generator.randint(1, 80))]
        rules = Distribution(
            generator.randint(1, 20), generator.randint(1, 12), generator.randint(1, 20)
        )
        batches = spread(scenes(*lengths), rules, "aws")
        names = [scene.name for batch in batches for scene in batch.scenes]
        assert sorted(names) == sorted(scene.name for scene in scenes(*lengths))
        assert len(batches) <= rules.max_parallel_instances
        least = min(rules.min_scenes_per_batch, len(lengths))
        assert all(len(batch.scenes) >= least for batch in batches)
        assert [batch.number for batch in batches] == list(range(1, len(batches) + 1))
        assert {batch.target for batch in batches} == {"aws"}


def test_a_batch_begins_with_its_longest_scene() -> None:
    (batch,) = spread(scenes(1.0, 9.0, 4.0), Distribution(), "local")
    assert [scene.seconds for scene in batch.scenes] == [9.0, 4.0, 1.0]
