"""Workers on EC2: a machine for each batch, found by the failover ladder, billed by the second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudburst.language import later
from cloudburst.targets.base import NOTHING_EARLIER, ignore_rental

# What each method needs is loaded when it is called: who renders here needs no boto3.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from cloudburst.models import Check, Cost, Rental
    from cloudburst.section import Section
    from cloudburst.targets.aws.settings import AwsSettings
    from cloudburst.targets.base import Earlier, Target


class AwsType:
    """EC2, as a target by name."""

    name = "aws"
    title = "AWS"
    has_regions = True
    always_asked = False
    # The machine image has to be booted and the container image to be pulled.
    health_timeout = 600.0
    offline_note = later(
        "credentials, zones that offer the types, quotas, machine image, network and "
        "prices were not asked for, so there is no estimate of the cost"
    )
    unbilled = ""

    @property
    def section(self) -> type[Section]:
        """The section ``aws`` of scenes.yaml."""
        from cloudburst.targets.aws.settings import AwsSection

        return AwsSection

    def log_in(self) -> None:
        """Find the credentials; a role may ask for the code of an MFA device.

        Raises:
            CloudRefused: nobody can be asked, or a session has expired.
        """
        from cloudburst import environment
        from cloudburst.targets.aws.access.credentials import Credentials

        Credentials(environment.additions)

    def settings(self, section: Any, environment: Mapping[str, str]) -> AwsSettings:
        """Return what is asked of AWS, by the section and, where it is silent, by variables."""
        from cloudburst.targets.aws import settings

        return settings.resolve(section, environment)

    def section_problems(self, section: Any) -> Iterable[tuple[tuple[str | int, ...], str]]:
        """Return what is wrong with the section beyond its shape, as (path in it, message)."""
        from cloudburst.targets.aws import settings

        return settings.section_problems(section)

    def variable_problems(self, environment: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """Return what is wrong with the variables, as (name, message)."""
        from cloudburst.targets.aws import settings

        return settings.variable_problems(environment)

    def renderer(self, settings: AwsSettings) -> str:
        """Return the name of the container image, or the bundled video API and its version."""
        return settings.renderer

    def owns(self, resource_type: str) -> bool:
        """Whether a Pulumi type token is one of AWS's."""
        return resource_type.startswith("aws:")

    def open(
        self,
        settings: AwsSettings,
        earlier: Earlier = NOTHING_EARLIER,
        record: Callable[[Rental], None] = ignore_rental,
    ) -> AbstractContextManager[Target]:
        """Connect to AWS, as the environment, a profile or `.env` say."""
        from cloudburst.targets.aws.target import open_target

        return open_target(settings, earlier, record)

    def bill(
        self,
        settings: AwsSettings,  # noqa: ARG002 - a rental has its rates with it
        rentals: Iterable[Rental],
        downloaded: int,
    ) -> Cost:
        """Return the bill of a run that is over."""
        from cloudburst import clock
        from cloudburst.targets.aws.rentals import Rentals

        return Rentals(clock.now, rentals).cost(downloaded)

    def examine(self, settings: AwsSettings, workers: int) -> Iterator[Check]:
        """Check the account, and the engine's AWS provider."""
        from cloudburst.targets.aws.doctor import examine

        return examine(settings, workers)


AWS = AwsType()
