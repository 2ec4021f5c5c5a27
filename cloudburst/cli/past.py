"""The runs of this machine, for the commands that look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.stop import exit_on_interrupt

if TYPE_CHECKING:
    from cloudburst.history import PastRun


def everything() -> list[PastRun]:
    """Return the runs of this machine, oldest first."""
    with exit_on_interrupt():
        from cloudburst import history  # noqa: PLC0415 - Ctrl-C is answered before slow imports

        return history.everything()


def load(run: str) -> PastRun:
    """Return a run by its id, the beginning of it, or its folder."""
    with exit_on_interrupt():
        from cloudburst import history  # noqa: PLC0415

        return history.load(run)
