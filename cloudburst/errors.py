"""Every error CloudBurst raises.

::

    CloudBurstError                 exit code
     ├─ BadInput                    2   the job file or an argument; `problems` lists all of them
     ├─ TargetUnknown               2   no target of that name; lists those there are
     ├─ RunUnknown                  2   no such run, or more than one
     ├─ RunBusy                     2   another process holds the run; says which
     ├─ InfrastructureError         3   the machines, not the scenes
     │   │                              carries a `Refusal`: the code, and what it means
     │   ├─ JournalFailed           3   the run's journal cannot be written or read
     │   ├─ EngineMissing           3   no Pulumi engine could be found or made
     │   ├─ EngineError             3   the engine refused or failed
     │   │   ├─ StackLocked         3   another operation holds the stack
     │   │   ├─ WrongPassphrase     3   a stack was made with another passphrase
     │   │   └─ StackGone           3   there is no such stack
     │   ├─ WorkerUnhealthy         3   a worker did not start; carries its last log lines
     │   ├─ WorkerTerminated        3   its provider says that the worker is gone, and why
     │   ├─ CloudRefused            3   a cloud API refused a call, or did not answer
     │   └─ PriceUnknown            3   no price, or no single one; says how to give it
     ├─ SceneError                  1   one scene failed; says whether another attempt may help
     │   ├─ SceneRejected           1   the video API refused the scene
     │   ├─ RenderFailed            1   the video API tried and failed
     │   ├─ WorkerUnreachable       1   the worker stopped answering
     │   └─ ArtifactInvalid         1   the downloaded file is not the video asked for
     ├─ LeftRunning                 4   teardown could not be verified; names what is left
     └─ Interrupted                 130 the run was stopped and torn down; carries its report

Foreign errors are translated into these once, in the module that owns the foreign library, and
stay chained with ``from``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.language import ntr, tr
from cloudburst.models import Refusal, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudburst.models import Problem, RunReport


class CloudBurstError(Exception):
    """Root of the tree."""

    exit_code = 3


class BadInput(CloudBurstError):
    """The job or an argument cannot be used; nothing was started.

    Args:
        problems: everything that is wrong, in the order of the file.
    """

    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class TargetUnknown(CloudBurstError):
    """There is no target of that name.

    Args:
        name: the name that was given.
        known: the names of the targets there are.
    """

    exit_code = 2

    def __init__(self, name: str, known: Sequence[str]) -> None:
        names = ", ".join(known)
        super().__init__(
            tr("unknown target {name!r}; expected one of: {names}", name=name, names=names)
        )


class RunUnknown(CloudBurstError):
    """There is no such run, or more than one that it may mean; nothing was started."""

    exit_code = 2


class RunBusy(CloudBurstError):
    """Another process holds the run; the message says which. Nothing was started."""

    exit_code = 2


class InfrastructureError(CloudBurstError):
    """The machines failed, not the scenes.

    Args:
        message: what was done, to what, what came back, what to do.
        refusal: what the provider's answer means, set where a foreign error is translated.
    """

    def __init__(self, message: str, refusal: Refusal | None = None) -> None:
        self.refusal = refusal or Refusal()
        super().__init__(message)

    @property
    def code(self) -> str | None:
        """The provider's error code, None when it gave none."""
        return self.refusal.code

    @property
    def transient(self) -> bool:
        """Whether the provider did not answer at all, so that asking again makes sense."""
        return self.refusal.transient


class JournalFailed(InfrastructureError):
    """The run's journal cannot be written or read, as on a full disk."""


class EngineMissing(InfrastructureError):
    """No Pulumi engine was found and none could be made; the message lists what was tried."""


class EngineError(InfrastructureError):
    """The Pulumi engine refused an operation or failed in it."""


class WrongPassphrase(EngineError):
    """A stack was made with another passphrase than the one that is set now."""


class StackLocked(EngineError):
    """Another operation holds the stack's lock."""


class StackGone(EngineError):
    """There is no such stack, or none any more."""


class WorkerUnhealthy(InfrastructureError):
    """A worker was created and did not become healthy."""


class WorkerTerminated(InfrastructureError):
    """A worker's provider says that it is gone.

    Args:
        message: the provider's code and message.
        blameless: the end had nothing to do with what the worker was doing.
        refusal: what it means for the ladder.
    """

    def __init__(self, message: str, *, blameless: bool, refusal: Refusal | None = None) -> None:
        self.blameless = blameless
        super().__init__(message, refusal or Refusal(verdict=Verdict.NEXT))


class CloudRefused(InfrastructureError):
    """A cloud API refused a call, or could not be reached."""


class PriceUnknown(InfrastructureError):
    """There is no price, or not exactly one. A figure is never invented."""


class SceneError(CloudBurstError):
    """One scene failed.

    Attributes:
        retry: whether another attempt, on another worker, may succeed.
        sent: bytes of the request that was sent for it.
    """

    exit_code = 1
    retry = True
    sent = 0


class SceneRejected(SceneError):
    """The video API refused the scene (4xx): it would refuse it anywhere."""

    retry = False


class RenderFailed(SceneError):
    """The video API took the scene and failed to render it (5xx, time-out)."""


class RenderTimedOut(RenderFailed):
    """The video API did not answer in time; it may go on rendering."""


class WorkerUnreachable(SceneError):
    """The worker stopped answering in the middle of a scene."""


class ArtifactInvalid(SceneError):
    """What was downloaded is not the video that was asked for."""


class LeftRunning(CloudBurstError):
    """Something may still run.

    Args:
        left: a line for each thing: what it is and the command that removes it.
        report: of what was done nevertheless.
    """

    exit_code = 4

    def __init__(self, left: list[str], report: RunReport) -> None:
        self.left = left
        self.report = report
        super().__init__("\n".join(left))


class Interrupted(CloudBurstError):
    """The run was asked to stop; everything it had started has been removed.

    Args:
        report: of what was done until then.
    """

    exit_code = 130

    def __init__(self, report: RunReport) -> None:
        self.report = report
        done, total = report.done, len(report.scenes)
        text = ntr(
            "interrupted: {done} of {count} scene done",
            "interrupted: {done} of {count} scenes done",
            total,
            done=done,
        )
        super().__init__(text)
