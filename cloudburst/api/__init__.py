"""The Python API: plan, preview, run and resume jobs; find and remove what dead runs have left.

`import cloudburst` offers all of it. Nothing here prints.
"""

from cloudburst.api.asynchronous import arun
from cloudburst.api.iterator import Events, events
from cloudburst.api.jobs import plan, preview, resume, run
from cloudburst.api.recovery import audit, cleanup
from cloudburst.job.source import JobSource

__all__ = [
    "Events",
    "JobSource",
    "arun",
    "audit",
    "cleanup",
    "events",
    "plan",
    "preview",
    "resume",
    "run",
]
