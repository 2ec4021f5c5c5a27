"""Builders for the evidence that an audit of one run compares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.journal.state import RunState
from cloudburst.models import Resource, RunRecord, StackState, UnfinishedWorker
from cloudburst.recovery.audit import Evidence, compared
from cloudburst.targets.local.target import PROCESS

if TYPE_CHECKING:
    from cloudburst.models import Owner
    from cloudburst.recovery.findings import RunFound

RUN, OTHER = "20261124-101500-a1b2c3", "20261124-111500-d4e5f6"
STACK = f"{RUN}-b01"
MACHINE = Resource(
    "machine",
    "i-1",
    "us-east-1",
    STACK,
    RUN,
    "running",
    since=1000.0,
    usd_per_hour=0.36,
    removal="aws ec2 terminate-instances",
    target="aws",
)
EMPTY = StackState()
INSTANCE = "aws:ec2/instance:Instance"
HOLDS = StackState((f"{INSTANCE} worker i-1",), frozenset({"i-1"}), types=(INSTANCE,))


def known(run_id: str = RUN, target: str = "aws", folder: str = "/nowhere") -> RunRecord:
    """Return this machine's entry for a run."""
    return RunRecord(run_id, "job", "/s.yaml", folder, target, "2026-11-24", ("us-east-1",))


def unfinished(state: str = "working", target: str = "aws") -> UnfinishedWorker:
    """Return a worker that the journal does not record as removed."""
    return UnfinishedWorker(
        1, "b01", "b01", STACK, PROCESS, None, 0.0, 2000.0, "i-1", "http://x", 1, state, (), target
    )


def journal(*workers: UnfinishedWorker) -> RunState:
    """Return the journal of a run of one scene."""
    record = RunRecord(RUN, "job", "/s.yaml", "/nowhere", "aws", "2026-11-24", scenes=(("s", 1.0),))
    return RunState(record, unfinished=workers)


def together(
    *,
    runs: dict[str, RunRecord] | None = None,
    journals: dict[str, RunState] | None = None,
    states: dict[str, StackState] | None = None,
    resources: tuple[Resource, ...] = (),
    owners: dict[str, Owner] | None = None,
    unclear: dict[str, str] | None = None,
) -> list[RunFound]:
    """Return the findings of an audit of these sources."""
    stacks = {name: (state, ()) for name, state in (states or {}).items()}
    return compared(
        Evidence(runs or {}, journals or {}, stacks, resources, owners or {}, unclear or {})
    )
