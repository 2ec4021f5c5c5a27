"""What AWS has of stacks: shown, ended, and the commands by which a person ends it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from cloudburst.errors import CloudRefused
from cloudburst.language import tr
from cloudburst.models import Resource
from cloudburst.targets.aws.described import RUN_TAG, STACK_TAG
from cloudburst.targets.aws.ec2 import GONE
from cloudburst.targets.aws.fleet import ALIVE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudburst.errors import InfrastructureError
    from cloudburst.targets.aws.described import Instance
    from cloudburst.targets.aws.ec2 import Aws
    from cloudburst.targets.aws.fleet import Fleet
    from cloudburst.targets.aws.prices.quotes import Quotes

EXPIRES_TAG = "cloudburst:expires-at"
OWNER_TAG = "cloudburst:owner"


class AwsResources:
    """Shows and ends machines, and the firewalls and disks that remain of them.

    A region that refuses keeps no other one from being shown or swept.

    Args:
        aws: is asked.
        fleet: knows in which regions a stack may have something.
        quotes: prices of what is shown.
        regions: in which the run may create machines.
    """

    # Seconds: what a call that timed out has created is described a little later.
    settle = 5.0

    def __init__(self, aws: Aws, fleet: Fleet, quotes: Quotes, regions: tuple[str, ...]) -> None:
        self.regions = regions
        self._aws = aws
        self._fleet = fleet
        self._quotes = quotes
        self._others: dict[tuple[str, str], dict[str, list[str]]] = {}

    def all_regions(self) -> tuple[str, ...]:
        """Return every region that the account has enabled."""
        return tuple(self._aws.all_regions())

    def _regions_of(self, stack: str) -> tuple[str, ...]:
        """Return where to ask for a stack: never nowhere, for that would look like gone."""
        return self._fleet.regions_of(stack) or self.regions

    # -- showing ------------------------------------------------------------------------------

    def survey(
        self, regions: Sequence[str]
    ) -> list[tuple[str, list[Resource] | InfrastructureError]]:
        """List everything that carries CloudBurst's tags; all regions are asked at once."""
        with ThreadPoolExecutor(max(1, len(regions))) as pool:
            return list(pool.map(self._survey, regions))

    def _survey(self, region: str) -> tuple[str, list[Resource] | InfrastructureError]:
        place = tr("AWS in {region}", region=region)
        try:
            machines, others = self._aws.tagged(region)
        except CloudRefused as error:
            return place, error
        resources = [self._machine(machine) for machine in machines]
        resources += [_firewall(region, tags) for tags in others["group"]]
        resources += [_disk(region, tags) for tags in others["volume"]]
        return place, resources

    def _machine(self, machine: Instance) -> Resource:
        return Resource(
            kind="machine",
            id=machine.id,
            place=machine.region,
            stack=machine.tags.get(STACK_TAG, ""),
            run_id=machine.tags.get(RUN_TAG, ""),
            state=machine.state,
            what=f"{machine.type} {machine.rung.market}",
            since=machine.launched,
            expires=_expires_at(machine.tags),
            usd_per_hour=self._quotes.usd_per_hour(machine.rung),
            owner=machine.tags.get(OWNER_TAG, ""),
            removal=terminate_command(machine.region, [machine.id]),
            target="aws",
        )

    def inventory(self, stack: str) -> list[str]:
        """List a stack's machines, firewalls and disks that are not gone, in all its regions."""
        lines: list[str] = []
        machines: list[Instance] = []
        refused: list[CloudRefused] = []
        for region in self._regions_of(stack):
            try:
                shown = self._fleet.machines_of(stack, region)
                others = self._others[stack, region] = self._aws.others(region, stack)
            except CloudRefused as error:
                refused.append(error)
                continue
            machines += shown
            lines += self._lines(stack, shown)
            lines += [
                tr("{what} in {region}", what=f"{kind} {id_}", region=region)
                for kind, ids in others.items()
                for id_ in ids
            ]
        if refused:
            text = str(refused[0])
            if lines:
                text = tr("{error}; there is {lines}", error=text, lines=", ".join(lines))
            raise CloudRefused(text, refused[0].refusal) from refused[0]
        remaining = {machine.id for machine in machines if machine.state != GONE}
        ended = {machine.id: machine.ended for machine in machines if machine.ended is not None}
        self._fleet.rentals.close(stack, remaining, ended)
        return lines

    def _lines(self, stack: str, machines: Sequence[Instance]) -> list[str]:
        hourly = self._fleet.rentals.hourly(stack)
        return [
            f"{item.id} ({item.type}, {item.state}, ${hourly:.3f}/h) in {item.region}"
            for item in machines
            if item.state != GONE
        ]

    # -- ending -------------------------------------------------------------------------------

    def terminate(self, stack: str) -> None:
        """Ask EC2 to terminate a stack's machines, those that the run knows without asking first.

        Raises:
            CloudRefused: AWS refused, or did not answer.
        """
        for region in self._regions_of(stack):
            machines = [
                rental.machine
                for rental in self._fleet.rentals.of(stack)
                if rental.until is None and rental.rung.region == region
            ]
            if not machines:
                shown = self._fleet.machines_of(stack, region)
                machines = [machine.id for machine in shown if machine.state in ALIVE]
            self._aws.begin_termination(region, machines)

    def sweep(self, stack: str) -> None:
        """Terminate a stack's machines by their tag, then delete its firewalls and disks."""
        refused: list[CloudRefused] = []
        for region in self._regions_of(stack):
            try:
                self._sweep(stack, region)
            except CloudRefused as error:
                refused.append(error)
        if refused:
            raise refused[0]

    def _sweep(self, stack: str, region: str) -> None:
        machines = self._fleet.machines_of(stack, region)
        remaining = [machine.id for machine in machines if machine.state != GONE]
        if remaining:
            self._aws.terminate(region, remaining)
        others = self._aws.others(region, stack)
        self._aws.remove(region, others["group"], others["volume"])

    def final_sweep(self) -> list[str]:
        """Terminate what carries the run's tag in any region that was used."""
        return [line for region in self._fleet.regions() for line in self._end_region(region)]

    def _end_region(self, region: str) -> list[str]:
        """Terminate what carries the run's tag; return a line for what remains, or may."""
        alive: set[str] = set()
        try:
            alive = self._alive(region)
            if alive:
                self._aws.terminate(region, sorted(alive))
                alive = self._alive(region)
        except CloudRefused as error:
            # Each stack was verified; but not being able to ask again is no answer.
            if not alive:
                text = tr(
                    "{region} did not say if the run has more there: {error}; ask again with: "
                    "cloudburst audit --region {region}",
                    region=region,
                    error=error,
                )
                return [text]
        for stack in self._fleet.stacks_in(region):
            self._fleet.rentals.close(stack, alive)
        if not alive:
            return []
        ids = sorted(alive)
        command = terminate_command(region, ids)
        return [tr("{what}; remove it with: {command}", what=", ".join(ids), command=command)]

    def _alive(self, region: str) -> set[str]:
        machines = self._fleet.machines_in(region).values()
        return {machine.id for machine in machines if machine.state != GONE}

    # -- by hand ------------------------------------------------------------------------------

    def removal(self, stack: str) -> str:
        """Return the AWS CLI's commands."""
        regions = self._regions_of(stack)
        commands = []
        for region in regions:
            machines = [
                rental.machine
                for rental in self._fleet.rentals.of(stack)
                if rental.until is None and rental.rung.region == region
            ]
            others = self._others.get((stack, region), {})
            commands += removal_commands(region, machines, others)
        region = regions[-1]
        return " && ".join(commands) or (
            f"aws ec2 describe-instances --region {region} "
            f"--filters Name=tag:{STACK_TAG},Values={stack} and terminate what it shows"
        )


def _firewall(region: str, tags: Mapping[str, str]) -> Resource:
    return _other("firewall", region, tags, {"group": [tags["id"]]}, 0.0)


def _disk(region: str, tags: Mapping[str, str]) -> Resource:
    return _other("disk", region, tags, {"volume": [tags["id"]]}, None)


def _other(
    kind: str,
    region: str,
    tags: Mapping[str, str],
    ids: Mapping[str, Sequence[str]],
    usd_per_hour: float | None,
) -> Resource:
    return Resource(
        kind=kind,
        id=tags["id"],
        place=region,
        stack=tags.get(STACK_TAG, ""),
        run_id=tags.get(RUN_TAG, ""),
        state="there",
        usd_per_hour=usd_per_hour,
        owner=tags.get(OWNER_TAG, ""),
        removal=removal_commands(region, [], ids)[0],
        target="aws",
    )


def _expires_at(tags: Mapping[str, str]) -> float | None:
    try:
        return datetime.fromisoformat(tags[EXPIRES_TAG]).timestamp()
    except (KeyError, ValueError):
        return None


def removal_commands(
    region: str, machines: Sequence[str], others: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return the AWS CLI's commands that remove machines, then what remains of them.

    Args:
        region: where they are.
        machines: their ids; a machine's disk goes with it.
        others: ids of firewalls (``group``) and disks (``volume``).
    """
    commands = [terminate_command(region, machines)] if machines else []
    if machines and any(others.values()):
        ids = " ".join(machines)
        commands += [f"aws ec2 wait instance-terminated --region {region} --instance-ids {ids}"]
    commands += [
        f"aws ec2 delete-security-group --region {region} --group-id {group}"
        for group in others.get("group", [])
    ]
    commands += [
        f"aws ec2 delete-volume --region {region} --volume-id {volume}"
        for volume in others.get("volume", [])
        if not machines
    ]
    return commands


def terminate_command(region: str, machines: Sequence[str]) -> str:
    """Return the AWS CLI's command that terminates machines."""
    return f"aws ec2 terminate-instances --region {region} --instance-ids {' '.join(machines)}"
