"""What the regions of a job have for it: types, zones and free quotas. Asks only."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudburst.errors import CloudRefused, InfrastructureError
from cloudburst.language import tr
from cloudburst.models import Verdict
from cloudburst.targets.aws.architecture import problem
from cloudburst.targets.aws.refusals import family
from cloudburst.targets.aws.rungs import QUOTAS, allowances, quota_of, rungs
from cloudburst.targets.failover import Ladder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudburst.targets.aws.architecture import InstanceKind
    from cloudburst.targets.aws.ec2 import Aws
    from cloudburst.targets.aws.settings import AwsSettings
    from cloudburst.targets.failover import Quota

# Every account has had to enable these regions by itself, docs.aws.amazon.com/accounts/latest/
# reference/manage-acct-regions. From one that is not enabled EC2 answers as to wrong credentials.
_NOT_ENABLED = ("AuthFailure", "OptInRequired", "UnrecognizedClientException")


class UnfitType(InfrastructureError):
    """The container image does not run on an instance type.

    Args:
        name: the instance type.
        message: what it has, and what the image is for.
    """

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        super().__init__(f"aws.instance_types: {message}")
        self.message = message


@dataclass(slots=True)
class Regions:
    """What the regions of a job have.

    Args:
        offers: (region, instance type) → zones in which it can be launched.
        kinds: what EC2 says of each instance type.
        free: vCPUs that are free, by quota; one that is not known is missing.
        notes: what was left out and why, for people.
    """

    offers: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    kinds: dict[str, InstanceKind] = field(default_factory=dict)
    free: dict[Quota, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def vcpus(self) -> dict[str, int]:
        """Virtual CPUs by instance type."""
        return {name: kind.vcpus for name, kind in self.kinds.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The regions that can be used, in the user's order."""
        return tuple(dict.fromkeys(region for region, _ in self.offers))


def look(aws: Aws, settings: AwsSettings, run_id: str = "") -> Regions:
    """Ask every region of a job; leave out those that cannot be used, if another one can.

    Args:
        aws: is asked.
        settings: what the user asked for, with regions.
        run_id: a run whose own instances do not count against the quotas; empty for none.

    Raises:
        CloudRefused: no region can be used.
        UnfitType: the container image does not run on a type.
    """
    found = Regions()
    refused: list[CloudRefused] = []
    for region in settings.regions:
        try:
            offers, kinds = offered(aws, settings, region)
        except CloudRefused as error:
            if error.refusal.verdict is not Verdict.STOP:
                raise
            refused.append(error)
            found.notes.append(left_out(region, error))
            continue
        found.offers |= offers
        found.kinds |= kinds
        found.free |= _free(aws, settings, region, found.vcpus, run_id)
    if refused and not found.offers:
        raise refused[0]
    return found


def left_out(region: str, error: CloudRefused) -> str:
    """Return why a region cannot be used: where AWS's answer misleads, what it means."""
    if error.refusal.code in _NOT_ENABLED:
        return tr(
            "{region} is left out: the account has not enabled it ({code}); enable it with: aws "
            "account enable-region --region-name {region}",
            region=region,
            code=error.refusal.code,
        )
    return tr("{region} is left out: {error}", region=region, error=error)


def offered(
    aws: Aws, settings: AwsSettings, region: str
) -> tuple[dict[tuple[str, str], set[str]], dict[str, InstanceKind]]:
    """Return the zones in which each type can be launched, and what EC2 says of the types.

    Raises:
        CloudRefused: AWS refused, or did not answer.
        UnfitType: the container image does not run on a type.
    """
    kinds = aws.kinds(region, settings.instance_types)
    for name, kind in kinds.items():
        wrong = problem(name, kind.architectures, settings.image, settings.architectures)
        if wrong:
            raise UnfitType(name, wrong)
    offers = aws.offers(region, settings.instance_types)
    if settings.subnet is None:
        zones = aws.default_zones(region)
    else:
        zones = {aws.subnet(region, settings.subnet)[0]}
    return {(region, kind): some & zones for kind, some in offers.items()}, kinds


def _free(
    aws: Aws, settings: AwsSettings, region: str, vcpus: dict[str, int], run_id: str
) -> dict[Quota, float]:
    """Return the free quotas; what may not be asked is not known, and found out by trying."""
    wanted = {(market, family(kind)) for market in settings.markets for kind in vcpus}
    try:
        limits: dict[Quota, float] = {
            (region, market, kind): aws.quota(region, code)
            for (market, kind), code in QUOTAS.items()
            if (market, kind) in wanted
        }
        return allowances(limits, in_use(aws, region, vcpus, run_id))
    except CloudRefused:
        return {}


def in_use(
    aws: Aws, region: str, vcpus: dict[str, int], run_id: str = ""
) -> Iterator[tuple[Quota, float]]:
    """Yield the quota and the vCPUs of every instance in a region, except those of a run.

    Raises:
        CloudRefused: AWS refused, or did not answer.
    """
    running = [machine for machine in aws.running(region) if machine.run_id != run_id or not run_id]
    others = sorted({machine.type for machine in running} - vcpus.keys())
    described = aws.kinds(region, others) if others else {}
    known = vcpus | {name: kind.vcpus for name, kind in described.items()}
    for machine in running:
        yield quota_of(machine.rung), known.get(machine.type, 0)


def ladder(settings: AwsSettings, found: Regions) -> Ladder:
    """Return the failover ladder of a plan.

    Raises:
        InfrastructureError: there is no rung, or none that fits the account's quotas.
    """
    steps = rungs(settings, found.offers)
    if not steps:
        raise InfrastructureError(
            tr(
                "no zone of {places} with a default subnet offers {types}: change aws.zones, "
                "aws.regions or aws.instance_types in scenes.yaml, or name aws.subnet",
                places=", ".join(settings.zones or settings.regions),
                types=", ".join(settings.instance_types),
            )
        )
    made = Ladder(steps, time.monotonic, family, found.vcpus.__getitem__, allowances=found.free)
    if not made.fitting(1):
        free = ", ".join(
            f"{vcpus:.0f} of {group} {market} in {region}"
            for (region, market, group), vcpus in sorted(found.free.items())
        )
        raise InfrastructureError(
            tr(
                "no instance type of {types} fits the account's quotas: vCPUs free: {free}. Name a "
                "smaller one as aws.instance_types, wait until other instances have ended, or ask "
                "for a higher quota in Service Quotas",
                types=", ".join(settings.instance_types),
                free=free,
            )
        )
    return made
