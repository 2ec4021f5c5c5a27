"""Machines that were kept for a download by hand: found again, in this process or a later one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudburst.api.recovery import audit, cleanup
from cloudburst.errors import InfrastructureError, JournalFailed
from cloudburst.journal import registry, store
from cloudburst.report import json as report_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudburst.models import Launch, RunRecord


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that a run of this computer has launched.

    Args:
        record: the run.
        launch: the machine, as the run's journal has it.
    """

    record: RunRecord
    launch: Launch


def find(instance_id: str) -> Machine | None:
    """Return a machine by the provider's name for it, None when no run here has launched it."""
    for record in reversed(registry.runs()):
        try:
            state = store.read(record.path)
        except JournalFailed:
            continue  # an audit reports it
        for batch in state.batches if state else ():
            for launch in batch.launches:
                if launch.worker == instance_id:
                    return Machine(record, launch)
    return None


def end(machine: Machine, log: Callable[[str], None]) -> bool:
    """End what is left of a machine's run, and verify with the provider that nothing is.

    Safe to repeat.

    Args:
        machine: from `find`.
        log: called with a line for each step.

    Returns:
        Whether anything was ended; False when nothing was left of it.

    Raises:
        RunBusy: the run is going on.
        InfrastructureError: it could not be verified as gone; says what removes it.
    """
    record = machine.record
    found = audit(targets=[record.target], regions=record.regions)
    done = cleanup(record.run_id, found=found, log=lambda _stack, text: log(text))
    if done.failed or done.skipped:
        lines = [f"{one.stack}: {one.why}; remove it with: {one.removal}" for one in done.failed]
        raise InfrastructureError(f"LEFT RUNNING: {'; '.join([*lines, *done.skipped])}")
    return bool(done.removed)


def bill(machine: Machine) -> dict[str, Any] | None:
    """Return the bill of a machine's run as its report has it: with a cleanup's, once that is done.

    Returns:
        ``cost`` of report.json; None when there is no report.
    """
    try:
        text = (machine.record.path / report_json.NAME).read_text("utf-8")
    except FileNotFoundError:
        return None
    cost: dict[str, Any] = json.loads(text)["cost"]
    return cost
