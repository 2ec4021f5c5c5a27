"""The logs of rented machines that exist, as their agents have them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudburst.engine.engine import Engine
from cloudburst.engine.toolchain import find_engine
from cloudburst.errors import CloudBurstError
from cloudburst.journal import store
from cloudburst.language import tr
from cloudburst.models import Worker
from cloudburst.paths import state_folder
from cloudburst.workers.agent import AgentApi

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst.models import UnfinishedWorker


@dataclass
class MachineLogs:
    """Copies the logs of a run's machines into its folder, where `cloudburst.history.logs` looks.

    Args:
        folder: the run's.
        name: of a worker or a batch; None for all.
        log: called with a line when something slow begins.
    """

    folder: Path
    name: str | None = None
    log: Callable[[str], None] = lambda _: None
    _apis: dict[str, AgentApi] = field(default_factory=dict)
    _engine: Engine | None = None

    def refresh(self) -> list[str]:
        """Copy what the machines' logs are now; return why some could not be asked, a line each."""
        problems = []
        for launch in self._launches():
            try:
                api = self._apis.get(launch.stack) or self._connect(launch)
                self._apis[launch.stack] = api
                api.write_logs(self.folder / "logs", launch.label)
            except (CloudBurstError, KeyError, OSError) as error:
                reason = tr("{worker}: no logs: {reason}", worker=launch.label, reason=error)
                problems.append(reason)
        return problems

    def _launches(self) -> list[UnfinishedWorker]:
        state = store.read(self.folder)
        return [
            one
            for one in (state.unfinished if state is not None else ())
            # Others have no agent: a process of this machine writes its log itself.
            if (one.endpoint or "").startswith("https://")
            and self.name in (None, one.label, one.batch)
        ]

    def _connect(self, launch: UnfinishedWorker) -> AgentApi:
        if self._engine is None:
            self._engine = Engine(find_engine(self.log), state_folder())
        outputs = self._engine.outputs(launch.stack)
        worker = Worker(
            stack=launch.stack,
            id=launch.worker or "",
            endpoint=launch.endpoint or "",
            key=str(outputs["key"]),
            room=launch.room,
            certificate=str(outputs["certificate"]),
        )
        return AgentApi(worker)
