"""Job → Plan: how many batches, and which scenes. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cloudburst.models import Batch, Distribution, Job, Plan, Scene

if TYPE_CHECKING:
    from collections.abc import Sequence


def plan(job: Job) -> Plan:
    """Decide how many workers a job gets and which scenes each begins with.

    Scenes go to batches by length: the longest first, each to the batch with the least narration
    so far (Graham's LPT rule: without the minimum, the longest batch is at most 4/3 of the best).
    """
    return Plan(job, spread(job.scenes, job.distribution, job.target))


def spread(scenes: Sequence[Scene], distribution: Distribution, target: str) -> tuple[Batch, ...]:
    """Spread scenes over batches, balanced by narration, none with fewer than its fair minimum.

    A batch may hold more than ``scenes_per_batch`` where short scenes balance long ones.

    Args:
        scenes: in any order.
        distribution: how many batches, and of what size.
        target: on which all of them run.
    """
    count = batch_count(len(scenes), distribution)
    if count == 0:
        return ()
    least = min(distribution.min_scenes_per_batch, len(scenes) // count)
    members: list[list[Scene]] = [[] for _ in range(count)]
    loads = [0.0] * count
    ordered = sorted(scenes, key=lambda scene: (-scene.seconds, scene.name))
    for remaining, scene in zip(range(len(ordered), 0, -1), ordered, strict=True):
        owed = sum(max(0, least - len(group)) for group in members)
        # Once the remaining scenes are just enough, only batches below the minimum may take.
        open_ = [i for i in range(count) if owed < remaining or len(members[i]) < least]
        index = min(open_, key=lambda i: (loads[i], i))
        members[index].append(scene)
        loads[index] += scene.seconds
    return tuple(
        Batch(number, tuple(group), target) for number, group in enumerate(members, start=1)
    )


def batch_count(total: int, distribution: Distribution) -> int:
    """Return the number of batches for a number of scenes.

    As many as ``scenes_per_batch`` asks for, never more than ``max_parallel_instances``, and
    never so many that a batch has fewer than ``min_scenes_per_batch`` (unless all scenes
    together are fewer).
    """
    if total == 0:
        return 0
    wanted = math.ceil(total / distribution.scenes_per_batch)
    worth_it = max(1, total // distribution.min_scenes_per_batch)
    return min(wanted, distribution.max_parallel_instances, worth_it)
