"""What an audit has found: stacks, runs, and whether anything is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudburst import targets
from cloudburst.language import tr
from cloudburst.paths import is_backend_own, owner

if TYPE_CHECKING:
    from cloudburst.models import Lock, Owner, Resource, RunRecord, StackState, UnfinishedWorker


@dataclass(frozen=True, slots=True)
class StackFound:
    """A stack of which something may be left.

    Args:
        name: its name.
        target: name of the target on which its worker is, as far as anybody knows.
        in_backend: the backend holds it.
        launch: its worker by its run's journal, unless that records it as gone.
        state: what the backend holds of it.
        locks: on it, each with whether the process that took it lives (None: cannot be seen).
        resources: what providers show of it.
    """

    name: str
    target: str
    in_backend: bool
    launch: UnfinishedWorker | None
    state: StackState
    locks: tuple[tuple[Lock, bool | None], ...]
    resources: tuple[Resource, ...]

    @property
    def exists(self) -> bool:
        """Whether anything of it exists."""
        return self.in_backend or bool(self.resources)

    @property
    def kept(self) -> bool:
        """Whether it was kept on purpose, for a person."""
        return self.launch is not None and self.launch.kept

    @property
    def orphans(self) -> tuple[Resource, ...]:
        """Resources of it that no stack knows."""
        return tuple(one for one in self.resources if not one.is_among(self.state.ids))

    @property
    def usd_per_hour(self) -> float:
        """What it costs, in USD/h, as far as prices are known."""
        return sum(one.usd_per_hour or 0.0 for one in self.resources)


@dataclass(frozen=True, slots=True)
class RunFound:
    """A run of which something is left, or that is not finished.

    Args:
        run_id: its id; empty for what names no run.
        known: this machine's entry for it, None when it was begun elsewhere.
        owner: the process that holds it now, None when nobody does.
        unclear: why nobody can say whether a process holds it; empty when that is known.
        outcome: how its last session ended; None when it did not finish.
        done: scenes that have a video.
        scenes: scenes of the job, 0 when there is no journal.
        stacks: those of which something may be left.
    """

    run_id: str
    known: RunRecord | None
    owner: Owner | None
    unclear: str
    outcome: str | None
    done: int
    scenes: int
    stacks: tuple[StackFound, ...]

    @property
    def orphaned(self) -> tuple[StackFound, ...]:
        """Its stacks of which something exists, unless the run is going on."""
        return () if self.owner else tuple(stack for stack in self.stacks if stack.exists)

    @property
    def begun_by(self) -> str:
        """Who began it, if that was somebody else, so that it may be going on there."""
        if self.known is not None:
            return self.unclear
        owners = {one.owner for stack in self.stacks for one in stack.resources if one.owner}
        if owners:
            return ", ".join(sorted(owners - {owner()}))
        shared = any(stack.in_backend for stack in self.stacks) and not is_backend_own()
        return tr("somebody who has the same backend") if shared else ""

    @property
    def removal(self) -> str:
        """The command that ends what is left of it, from any machine."""
        # A run that this machine knows is looked for where it was; of others that must be said.
        regions = {
            one.place
            for stack in self.stacks
            if self.known is None and targets.get(stack.target).has_regions
            for one in stack.resources
        }
        options = "".join(f" --region {region}" for region in sorted(regions))
        return f"cloudburst cleanup {self.run_id or '--all'}{options}"

    @property
    def unfinished(self) -> bool:
        """Whether it has scenes without a video, and nobody works on them."""
        return self.owner is None and self.done < self.scenes

    @property
    def is_notable(self) -> bool:
        """Whether there is anything to report of it."""
        # A stack that only a journal knows may be rented: a cleanup asks for it and closes it.
        open_stacks = any(stack.exists or stack.launch for stack in self.stacks)
        return self.owner is not None or self.unfinished or open_stacks


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that was found.

    Args:
        at: when, seconds since 1970.
        runs: those with anything to report, oldest first.
        finished: number of runs with nothing to report.
        asked: the sources that answered, by their names for people.
        unseen: the sources that could not be asked, and why.
    """

    at: float
    runs: tuple[RunFound, ...]
    finished: int
    asked: tuple[str, ...]
    unseen: tuple[str, ...]

    @property
    def orphaned(self) -> tuple[StackFound, ...]:
        """The stacks of which something is left and that nobody works on."""
        return tuple(stack for run in self.runs for stack in run.orphaned)

    @property
    def exit_code(self) -> int:
        """0 clean, 4 something is left, 3 nothing was seen but not everything could be asked."""
        if self.orphaned:
            return 4
        return 3 if self.unseen else 0

    @property
    def usd_per_hour(self) -> float:
        """What is left costs so much, in USD/h, as far as prices are known."""
        return sum(stack.usd_per_hour for stack in self.orphaned)
