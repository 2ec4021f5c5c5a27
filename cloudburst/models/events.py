"""What is reported while a run goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class WorkerState(StrEnum):
    """What a worker is doing; the order is that of its run."""

    WAITING = "waiting"
    CREATING = "creating"
    STARTING = "starting"
    WORKING = "working"
    DESTROYING = "destroying"
    KEPT = "kept"
    GONE = "gone"
    FAILED = "failed"
    LEFT_RUNNING = "left running"


class Phase(StrEnum):
    """What a span of a worker, or of one try of a scene, measures."""

    UP = "up"
    HEALTH = "health"
    DRIVE = "drive"
    DESTROY = "destroy"
    RENDER = "render"
    DOWNLOAD = "download"


class EventKind(StrEnum):
    """What an event says happened."""

    RUN_STARTED = "run_started"
    RUN_RESUMED = "run_resumed"
    RECOVERY = "recovery"
    ENGINE = "engine"
    NOTE = "note"
    BATCH_STATE = "batch_state"
    SCENE_STARTED = "scene_started"
    SCENE_DONE = "scene_done"
    SCENE_RETRY = "scene_retry"
    SCENE_FAILED = "scene_failed"
    FAILOVER = "failover"
    STOPPING = "stopping"
    COST = "cost"
    RUN_FINISHED = "run_finished"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for whoever watches a run.

    Args:
        kind: what.
        seconds: since the run began.
        batch: label of the batch it happened to.
        scene: name of the scene it happened to.
        text: one line for a person.
        data: the same for a machine.
    """

    kind: EventKind
    seconds: float
    batch: str | None = None
    scene: str | None = None
    text: str = ""
    data: dict[str, object] = field(default_factory=dict)
