"""Find what dead runs have left, and remove it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cloudburst import targets as registry
from cloudburst.errors import RunBusy
from cloudburst.recovery import audit as auditing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cloudburst.recovery.cleanup import Cleaned
    from cloudburst.recovery.findings import Audit


def ignore(*_: str) -> None:
    """Do nothing about a line."""


def audit(
    *,
    targets: Sequence[str] = (),
    regions: Sequence[str] = (),
    everywhere: bool = False,
    log: Callable[[str], None] | None = None,
) -> Audit:
    """List what runs have left running, by journals, backend and providers. Changes nothing.

    A target that rents machines is asked when a run of this machine was on it, or when an
    argument asks for it.

    Args:
        targets: names of targets to ask in any case, such as ``["aws"]``.
        regions: regions to ask besides those that runs have used.
        everywhere: ask all regions that the account has enabled.
        log: called with a line when something slow begins.

    Returns:
        The runs with anything left. `Audit.exit_code` is 0 only when nothing is left and everything
        could be asked.

    Raises:
        TargetUnknown: there is no target of that name.
    """
    for name in targets:
        registry.get(name)
    return auditing.audit(asked=targets, regions=regions, everywhere=everywhere, log=log or ignore)


def cleanup(
    run: str | Path | None = None,
    *,
    orphans: bool = False,
    everything: bool = False,
    found: Audit | None = None,
    log: Callable[[str, str], None] | None = None,
) -> Cleaned:
    """Destroy what dead runs have left, and verify with the providers that it is gone.

    Runs in progress are not touched. Safe to repeat. In the main thread, SIGINT, SIGTERM and SIGHUP
    ask it to begin no further run.

    Args:
        run: a run's id, the beginning of its id, its folder, or a stack's name.
        orphans: only resources that no stack knows, of all runs.
        everything: what all dead runs of this machine have left.
        found: what is left, from `audit`; None audits first.
        log: called with a stack or run and a line, from any thread.

    Returns:
        What was removed and what was not. `Cleaned.clean` says whether nothing is left.

    Raises:
        ValueError: not exactly one of ``run``, ``orphans`` and ``everything`` was given.
        RunUnknown: there is no such run, or the beginning of an id matches several.
        RunBusy: the run is in progress.
    """
    if sum((run is not None, orphans, everything)) != 1:
        raise ValueError("expected exactly one of run, orphans=True and everything=True")
    # It brings the runner along, which an audit needs nothing of.
    from cloudburst.recovery import cleanup as cleaning  # noqa: PLC0415

    there = audit() if found is None else found
    choice = cleaning.choose(there, None if run is None else str(run), orphans=orphans)
    if choice.alive:
        raise RunBusy("; ".join(choice.notes))
    cleaned = cleaning.cleanup(choice.runs, log=log or ignore)
    return replace(cleaned, notes=choice.notes, unseen=there.unseen)
