"""Turn scenes – a picture, a narration, perhaps subtitles – into videos on ephemeral machines.

`load_job` reads a job, `scan` a folder of pictures and sounds; `plan` and `preview` show what a run
would do; `run`, `arun` and `events` run it; `resume` goes on with a run; `audit` and `cleanup` find
and remove what dead runs left. Nothing here prints.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloudburst.api.asynchronous import arun
    from cloudburst.api.iterator import Events, events
    from cloudburst.api.jobs import plan, preview, resume, run
    from cloudburst.api.recovery import audit, cleanup
    from cloudburst.errors import (
        BadInput,
        CloudBurstError,
        InfrastructureError,
        Interrupted,
        LeftRunning,
        RunBusy,
        RunUnknown,
        TargetUnknown,
    )
    from cloudburst.job.folder.scan import Scan, scan
    from cloudburst.job.loader import load_job
    from cloudburst.job.source import JobSource
    from cloudburst.models import (
        Event,
        EventKind,
        Job,
        Outcome,
        Plan,
        Preview,
        RunReport,
        SceneStatus,
    )
    from cloudburst.recovery.cleanup import Cleaned
    from cloudburst.recovery.findings import Audit
    from cloudburst.stop import Stop
    from cloudburst.version import __version__

__all__ = [
    "Audit",
    "BadInput",
    "Cleaned",
    "CloudBurstError",
    "Event",
    "EventKind",
    "Events",
    "InfrastructureError",
    "Interrupted",
    "Job",
    "JobSource",
    "LeftRunning",
    "Outcome",
    "Plan",
    "Preview",
    "RunBusy",
    "RunReport",
    "RunUnknown",
    "Scan",
    "SceneStatus",
    "Stop",
    "TargetUnknown",
    "__version__",
    "arun",
    "audit",
    "cleanup",
    "events",
    "load_job",
    "plan",
    "preview",
    "resume",
    "run",
    "scan",
]

_ERRORS, _MODELS = "cloudburst.errors", "cloudburst.models"
_LAZY = {
    "BadInput": _ERRORS,
    "CloudBurstError": _ERRORS,
    "InfrastructureError": _ERRORS,
    "Interrupted": _ERRORS,
    "LeftRunning": _ERRORS,
    "RunBusy": _ERRORS,
    "RunUnknown": _ERRORS,
    "TargetUnknown": _ERRORS,
    "Event": _MODELS,
    "EventKind": _MODELS,
    "Job": _MODELS,
    "Outcome": _MODELS,
    "Plan": _MODELS,
    "Preview": _MODELS,
    "RunReport": _MODELS,
    "SceneStatus": _MODELS,
    "Events": "cloudburst.api.iterator",
    "JobSource": "cloudburst.job.source",
    "arun": "cloudburst.api.asynchronous",
    "audit": "cloudburst.api.recovery",
    "cleanup": "cloudburst.api.recovery",
    "events": "cloudburst.api.iterator",
    "plan": "cloudburst.api.jobs",
    "preview": "cloudburst.api.jobs",
    "resume": "cloudburst.api.jobs",
    "run": "cloudburst.api.jobs",
    "Audit": "cloudburst.recovery.findings",
    "Cleaned": "cloudburst.recovery.cleanup",
    "Scan": "cloudburst.job.folder.scan",
    "Stop": "cloudburst.stop",
    "__version__": "cloudburst.version",
    "load_job": "cloudburst.job.loader",
    "scan": "cloudburst.job.folder.scan",
}


def __getattr__(name: str) -> Any:
    # A worker imports this package too, and must not wait for the Pulumi SDK to load; a command
    # handles Ctrl-C only once this package is imported, so nothing is imported with it.
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    if name in ("errors", "models"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
