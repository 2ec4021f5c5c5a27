"""CloudBurst: scenes become videos on machines that exist for exactly that long.

from cloudburst import load_job, plan, run

job = load_job("scenes.yaml")
report = run(job)
print(report.done, "videos in", report.directory)
"""

from typing import TYPE_CHECKING, Any

from cloudburst.errors import BadInput, CloudBurstError, Interrupted, LeftRunning
from cloudburst.models import Event, EventKind, Job, Plan, RunReport
from cloudburst.version import __version__

if TYPE_CHECKING:
    from cloudburst.job.loader import load_job
    from cloudburst.runner.pipeline import run
    from cloudburst.runner.planner import plan
    from cloudburst.runner.preview import preview
    from cloudburst.stop import Stop

__all__ = [
    "BadInput",
    "CloudBurstError",
    "Event",
    "EventKind",
    "Interrupted",
    "Job",
    "LeftRunning",
    "Plan",
    "RunReport",
    "Stop",
    "__version__",
    "load_job",
    "plan",
    "preview",
    "run",
]

_LAZY = {
    "load_job": "cloudburst.job.loader",
    "plan": "cloudburst.runner.planner",
    "preview": "cloudburst.runner.preview",
    "run": "cloudburst.runner.pipeline",
    "Stop": "cloudburst.stop",
}


def __getattr__(name: str) -> Any:
    # A worker imports this package too, and must not wait for the Pulumi SDK to load.
    if name in _LAZY:
        import importlib  # noqa: PLC0415

        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
