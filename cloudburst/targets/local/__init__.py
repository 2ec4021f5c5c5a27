"""Workers on this machine: processes of the bundled video API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudburst.language import later
from cloudburst.targets.base import NOTHING_EARLIER, ignore_rental
from cloudburst.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from cloudburst.models import Check, Rental
    from cloudburst.targets.base import Earlier, Target


class LocalType:
    """This machine, as a target by name."""

    name = "local"
    title = later("this machine")
    has_regions = False
    always_asked = True
    health_timeout = 180.0
    offline_note = ""
    unbilled = later(
        "the local target rents nothing: workers are processes of this machine. A "
        "rented target bills the same worker-seconds, from each launch to its verified end"
    )

    @property
    def section(self) -> None:
        """There is nothing to set."""

    def log_in(self) -> None:
        """Ask for nothing."""

    def settings(self, section: Any, environment: Mapping[str, str]) -> None:
        """Return nothing: there is nothing to set."""

    def section_problems(self, section: Any) -> Iterable[tuple[tuple[str | int, ...], str]]:  # noqa: ARG002 - none
        """Return no problems."""
        return ()

    def variable_problems(self, environment: Mapping[str, str]) -> Iterable[tuple[str, str]]:  # noqa: ARG002 - none
        """Return no problems."""
        return ()

    def renderer(self, settings: Any) -> str:  # noqa: ARG002 - none
        """Return the bundled video API's name and version."""
        return f"cloudburst {__version__}"

    def owns(self, resource_type: str) -> bool:
        """Whether a Pulumi type token is a worker process's."""
        return resource_type.startswith("cloudburst:")

    def open(
        self,
        settings: Any,  # noqa: ARG002 - none
        earlier: Earlier = NOTHING_EARLIER,  # noqa: ARG002 - a process is found by its stack's name
        record: Callable[[Rental], None] = ignore_rental,  # noqa: ARG002 - nothing is rented
    ) -> AbstractContextManager[Target]:
        """Serve the provider that starts and ends worker processes."""
        from cloudburst.targets.local.target import open_target  # noqa: PLC0415 - loads grpc

        return open_target()

    def bill(self, settings: Any, rentals: Iterable[Rental], downloaded: int) -> None:
        """Return nothing: nothing is rented."""

    def examine(self, settings: Any, workers: int) -> Iterator[Check]:  # noqa: ARG002 - none
        """Check the fonts that the bundled video API needs."""
        from cloudburst.targets.local.doctor import examine  # noqa: PLC0415 - loads fonts

        return examine()


LOCAL = LocalType()
