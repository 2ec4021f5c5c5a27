"""Workers on EC2: a machine for each batch, found by the failover ladder, billed to the second."""

from __future__ import annotations

import contextlib
import getpass
import math
import re
import socket
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from cloudburst import address, dotenv, estimate
from cloudburst.engine import OPERATION_BYTES
from cloudburst.errors import CloudRefused, InfrastructureError, PriceUnknown
from cloudburst.ladder import Ladder, rungs
from cloudburst.models import (
    Basis,
    Condition,
    Cost,
    CostLine,
    Estimate,
    Health,
    MachineSpec,
    Price,
    Rung,
    Worker,
    WorkerSpec,
)
from cloudburst.places import cache_folder
from cloudburst.pricing import (
    DISK_GB_MONTH,
    EGRESS_PER_GB,
    HOURS_PER_MONTH,
    IPV4_PER_HOUR,
    PriceBook,
    surplus_per_hour,
)
from cloudburst.targets.ec2 import GONE, RUN_TAG, STACK_TAG, Aws, Instance
from cloudburst_stacks import aws as aws_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from cloudburst.models import AwsSettings, BatchResult, Job, Market, Plan

# github.com/pulumi/pulumi-aws, issue 5860: every operation starts a plugin of 317 to 430 MB.
PLUGIN_BYTES = 400 * 1024**2
VCPUS_PER_SCENE = 2
# How old an answer about the machines may be; one call answers for all of a run.
FRESH = 2.0
_LEAVING = {"marked-for-termination", "marked-for-stop"}
_BLAMELESS = (
    "Server.SpotInstanceTermination",
    "Server.SpotInstanceShutdown",
    "Client.InstanceInitiatedShutdown",
    "Client.UserInitiatedShutdown",
    "Server.ScheduledStop",
)
_ALIVE = {"pending", "running"}


@dataclass(slots=True)
class _Rented:
    """A machine of this run, as long as it costs something.

    Args:
        since: launch, seconds since 1970.
        until: verified end; None while it may run.
    """

    stack: str
    rung: Rung
    price: Price
    basis: Basis
    since: float
    until: float | None = None


class AwsTarget:
    """EC2 in the regions of a job.

    Args:
        job: whose settings hold.
        clock: seconds since 1970.
    """

    name = "aws"
    operation_bytes = OPERATION_BYTES + PLUGIN_BYTES
    # What a call that timed out may have made shows up in descriptions a little later.
    settle = 5.0

    def __init__(self, job: Job, clock: Callable[[], float] = time.time) -> None:
        self._settings: AwsSettings = job.aws
        self._clock = clock
        self._rented: dict[str, _Rented] = {}
        self._launching: dict[str, _Rented] = {}
        self._latest: dict[str, _Rented] = {}
        self._regions: set[str] = set()
        self._others: dict[str, dict[str, list[str]]] = {}
        self._seen: dict[str, tuple[float, dict[str, Instance], dict[str, str]]] = {}
        self._rungs: dict[str, Rung] = {}
        self._prices: dict[Rung, tuple[Price, Basis]] = {}
        self._lock = threading.RLock()  # guards the books; never held while AWS is asked
        self._looking = threading.Lock()

    def __enter__(self) -> Self:
        self._more = dotenv.additions()
        self._aws = Aws(self._more)
        if not self._settings.regions:
            self._settings = replace(self._settings, regions=(self._aws.home_region,))
        self._book = price_book(self._aws, self._settings, self._clock)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._aws.close()

    def environment(self) -> dict[str, str]:
        """Give the engine the credentials that this process has found in `.env`."""
        return dict(self._more)

    # -- before -------------------------------------------------------------------------------

    def prepare(self, plan: Plan, run_id: str) -> Ladder:
        """Ask for everything that is the same for all machines; give the ladder."""
        settings = self._settings
        self._plan, self._run_id = plan, run_id
        self._began = self._clock()
        self._aws.account()  # who has no credentials learns it here
        self._ingress = settings.ingress or address.public_address()
        zones, self._vpc = self._network()
        self._vcpus: dict[str, int] = {}
        offers: dict[tuple[str, str], set[str]] = {}
        for region in settings.regions:
            self._vcpus |= self._aws.vcpus(region, settings.instance_types)
            for kind, where in self._aws.offers(region, settings.instance_types).items():
                offers[region, kind] = where & zones if zones else where
        steps = rungs(settings, offers)
        if not steps:
            raise InfrastructureError(
                f"no zone of {', '.join(settings.zones or settings.regions)} offers "
                f"{', '.join(settings.instance_types)}: change aws.zones, aws.regions or "
                "aws.instance_types in scenes.yaml"
            )
        self._first = steps[0]
        self._disk = {region: self._disk_price(region) for region in settings.regions}
        return Ladder(steps, time.monotonic)

    def _disk_price(self, region: str) -> tuple[float, Basis]:
        """Give the price of a GB by the hour; hardly a hundredth of a machine's, so never fatal."""
        try:
            price, basis = self._book.disk(region)
        except (PriceUnknown, CloudRefused):
            return DISK_GB_MONTH / HOURS_PER_MONTH, Basis.ESTIMATE
        return price.usd_per_hour, basis

    def _network(self) -> tuple[set[str], str | None]:
        """Give the zones that the user's subnet leaves, and its VPC."""
        if self._settings.subnet is None:
            return set(), None
        zone, vpc = self._aws.subnet(self._settings.regions[0], self._settings.subnet)
        return {zone}, vpc

    def estimate(self) -> Estimate:
        """Estimate the plan on the ladder's first rung."""
        rung = self._first
        rates = estimate.Rates(
            machine=self.price(rung),
            surplus=surplus_per_hour(rung.type, self._vcpus[rung.type]),
            disk_gb_hour=self._disk[rung.region][0],
            disk_gb=self._settings.disk_gb,
        )
        return estimate.estimate(self._plan, rung, rates, self.room(1, rung), self._lease(rung))

    def room(self, workers: int, rung: Rung) -> int:  # noqa: ARG002 - machines share nothing
        """Give each scene two virtual CPUs: that is what an encoder keeps busy."""
        return max(1, self._vcpus[rung.type] // VCPUS_PER_SCENE)

    def _lease(self, rung: Rung) -> int:
        """Say after how many minutes a machine of a rung ends itself: a smaller one needs more."""
        sized = estimate.lease_minutes(self._plan, self.room(1, rung))
        return self._settings.lease_minutes or sized

    def price(self, rung: Rung) -> Price:
        """Look a rung's price up: the list's, or the zone's current spot price."""
        priced = self._priced(rung)
        with self._lock:
            self._prices[rung] = priced
        return priced[0]

    def _priced(self, rung: Rung) -> tuple[Price, Basis]:
        if rung.market == "on-demand":
            return self._book.on_demand(rung.type, rung.region)
        usd = self._aws.spot_price(rung.type, rung.region, rung.zone)
        if usd is None:
            raise PriceUnknown(f"AWS gives no spot price for {rung.type} in {rung.zone}")
        now = datetime.fromtimestamp(self._clock(), UTC)
        return Price(usd, f"spot price of {now:%Y-%m-%d %H:%M} UTC"), Basis.SPOT

    # -- machines -----------------------------------------------------------------------------

    def program(self, spec: WorkerSpec) -> Callable[[], None]:
        """Declare one machine; `price` was asked before. Run, it begins to count its cost."""
        price, basis = self._prices[spec.rung]
        lease = self._lease(spec.rung)
        expires = datetime.fromtimestamp(self._clock(), UTC) + timedelta(minutes=lease)
        settings = self._settings
        machine = MachineSpec(
            ami=settings.ami,
            image=settings.image,
            ingress=self._ingress_now(),
            vpc=self._vpc,
            subnet=settings.subnet,
            security_group=settings.security_group,
            key_name=settings.key_name,
            disk_gb=settings.disk_gb,
            lease_minutes=lease,
            tags={
                "Name": spec.stack,
                "project": "cloudburst",
                RUN_TAG: spec.run_id,
                STACK_TAG: spec.stack,
                "cloudburst:batch": spec.batch,
                "cloudburst:job": spec.job,
                "cloudburst:owner": _owner(),
                "cloudburst:expires-at": f"{expires:%Y-%m-%dT%H:%M:%SZ}",
            },
        )
        with self._lock:
            self._rungs[spec.stack] = spec.rung
            self._regions.add(spec.rung.region)

        def declare() -> None:
            # Now, not when it was asked for: it may have waited for its turn.
            with self._lock:
                rented = _Rented(spec.stack, spec.rung, price, basis, self._clock())
                self._launching[spec.stack] = self._latest[spec.stack] = rented
            aws_stack.program(spec, machine)

        return declare

    def _ingress_now(self) -> str:
        """Ask for this machine's address again: a laptop may stand in another network by now."""
        if self._settings.ingress is None:
            with contextlib.suppress(InfrastructureError):
                self._ingress = address.public_address()
        return self._ingress

    def worker(self, spec: WorkerSpec, outputs: Mapping[str, Any]) -> Worker:
        """Read the worker out of its stack's outputs."""
        identity, public = str(outputs["id"]), outputs.get("address")
        if not public:
            raise InfrastructureError(
                f"{identity} has no public address: its subnet gives none; name another one as "
                "aws.subnet in scenes.yaml"
            )
        with contextlib.suppress(CloudRefused):
            self._look(spec.rung.region, at_once=True)  # for the books; the teardown looks again
        return Worker(
            stack=spec.stack,
            id=identity,
            endpoint=f"http://{public}:{aws_stack.PORT}",
            key=spec.key,
            room=spec.room,
        )

    def condition(self, worker: Worker) -> Condition:
        """Say how a machine is, by EC2's word."""
        machines, spots = self._look(self._rungs[worker.stack].region)
        found = machines.get(worker.id)
        if found is None:
            return Condition()  # descriptions lag behind; a machine that is gone is described
        if found.state not in _ALIVE:
            blameless = found.code in _BLAMELESS
            reason = f"{found.code or found.state}: {found.reason or 'no reason given'}"
            return Condition(Health.GONE, reason, blameless)
        code = spots.get(found.spot_request or "", "")
        if code in _LEAVING:
            return Condition(
                Health.LEAVING,
                f"Server.SpotInstanceTermination: its spot request is {code}",
                blameless=True,
            )
        return Condition()

    def last_words(self, spec: WorkerSpec) -> str:
        """Give the last lines of the machine's boot log."""
        try:
            known = self._of(spec.stack, spec.rung.region)
            text = self._aws.console(spec.rung.region, known[-1].id) if known else ""
        except CloudRefused:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        told = [line for line in lines if "cloudburst " in line] or lines
        return " | ".join(told[-3:])

    # -- after --------------------------------------------------------------------------------

    def inventory(self, stack: str) -> list[str]:
        """List a stack's machines, firewalls and disks that are not gone."""
        rung = self._rungs.get(stack)
        if rung is None:
            return []  # nothing was ever declared
        left = [item for item in self._of(stack, rung.region) if item.state != GONE]
        others = self._aws.leftovers(rung.region, stack)
        self._close(stack, {item.id for item in left})
        self._others[stack] = others
        hourly = self._hourly(stack)
        return [
            f"{item.id} ({item.type}, {item.state}, ${hourly:.3f}/h) in {item.region}"
            for item in left
        ] + [
            f"{kind} {identity} in {rung.region}"
            for kind, ids in others.items()
            for identity in ids
        ]

    def sweep(self, stack: str) -> None:
        """Terminate a stack's machines by tag, then delete its firewalls and disks."""
        rung = self._rungs.get(stack)
        if rung is None:
            return
        region = rung.region
        left = [item.id for item in self._of(stack, region) if item.state != GONE]
        if left:
            self._aws.terminate(region, left)
        others = self._aws.leftovers(region, stack)
        self._aws.remove(region, others["group"], others["volume"])

    def last_look(self) -> list[str]:
        """End what carries the run's tag in any region that was used, and tell what does not."""
        left = []
        for region in sorted(self._regions):
            try:
                alive = self._alive(region)
                if alive:
                    self._aws.terminate(region, [item.id for item in alive])
                    alive = self._alive(region)
            except CloudRefused:
                continue  # every stack was asked after; who could not be is told already
            still = {item.id for item in alive}
            for stack, rented in list(self._latest.items()):
                if rented.rung.region == region:
                    self._close(stack, still)
            if still:
                ids = sorted(still)
                left.append(f"{', '.join(ids)}; remove it with: {_removal(region, ids)}")
        return left

    def _alive(self, region: str) -> list[Instance]:
        return [item for item in self._ask(region, patient=True).values() if item.state != GONE]

    def removal(self, stack: str) -> str:
        """Give the AWS CLI's commands."""
        with self._lock:
            rung = self._rungs.get(stack)
            rented = [(i, one) for i, one in self._rented.items() if one.stack == stack]
        region = rung.region if rung else self._settings.regions[0]
        ids = [identity for identity, one in rented if one.until is None]
        commands = [_removal(region, ids)] if ids else []
        others = self._others.get(stack, {})
        if ids and any(others.values()):
            named = " ".join(ids)
            commands += [
                f"aws ec2 wait instance-terminated --region {region} --instance-ids {named}"
            ]
        commands += [
            f"aws ec2 delete-security-group --region {region} --group-id {group}"
            for group in others.get("group", [])
        ]
        commands += [
            f"aws ec2 delete-volume --region {region} --volume-id {volume}"
            for volume in others.get("volume", [])
        ]
        return " && ".join(commands) or (
            f"aws ec2 describe-instances --region {region} "
            f"--filters Name=tag:{STACK_TAG},Values={stack} and terminate what it shows"
        )

    # -- money --------------------------------------------------------------------------------

    def accrued(self) -> tuple[float, float]:
        """Give what this run has cost until now, in USD, and what it costs now, in USD/h."""
        with self._lock:
            # Of a machine that nobody has seen yet, the shortest bill: it may wait for a download.
            unseen = [replace(one, until=one.since) for one in self._launching.values()]
            spent = rate = 0.0
            for one in [*self._rented.values(), *unseen]:
                usd = sum(line.usd for line in self._lines("", one))
                spent += usd
                rate += 0.0 if one.until else usd / self._seconds(one) * 3600
        return spent, rate

    def cost(self, batches: Sequence[BatchResult], downloaded: int) -> Cost:  # noqa: ARG002
        """Bill every machine that EC2 has shown, whatever became of it."""
        with self._lock:
            rented = sorted(self._rented.items(), key=lambda item: item[1].since)
            unseen = list(self._launching.values())
        lines = tuple(line for identity, one in rented for line in self._lines(identity, one))
        # Asked for, and AWS could not be asked what came of it: it may run.
        lines += tuple(
            replace(line, basis=Basis.ESTIMATE)
            for one in unseen
            for line in self._lines("unseen", one)
        )
        if downloaded:
            lines += (
                CostLine("egress", "videos", downloaded / 1e9, "GB", EGRESS_PER_GB, Basis.ESTIMATE),
            )
        return Cost(
            usd=sum(line.usd for line in lines),
            worker_seconds=sum(self._seconds(one) for _, one in rented),
            basis=(
                "machines by the second from launch to verified termination, 60 s at least, at "
                "list or spot prices at launch; address and egress are estimates at AWS's "
                "published rates, before free allowances"
            ),
            lines=lines,
        )

    def _lines(self, identity: str, rented: _Rented) -> list[CostLine]:
        hours = self._seconds(rented) / 3600
        rung, gigabytes = rented.rung, self._settings.disk_gb
        lines = [
            CostLine(
                "machine",
                f"{identity} {rung}",
                hours,
                "h",
                rented.price.usd_per_hour,
                rented.basis,
            ),
            CostLine(
                "disk",
                f"{identity} {gigabytes} GB gp3",
                hours * gigabytes,
                "GB-h",
                *self._disk[rung.region],
            ),
            CostLine(
                "address", f"{identity} public IPv4", hours, "h", IPV4_PER_HOUR, Basis.ESTIMATE
            ),
        ]
        surplus = surplus_per_hour(rung.type, self._vcpus[rung.type])
        if surplus:
            what = f"{identity} CPU credits beyond the baseline"
            lines.append(CostLine("credits", what, hours, "h", surplus, Basis.ESTIMATE))
        return lines

    def _seconds(self, rented: _Rented) -> float:
        """Give the seconds that AWS bills: whole ones, 60 at least."""
        until = rented.until if rented.until is not None else self._clock()
        return max(estimate.MINIMUM_SECONDS, math.ceil(until - rented.since))

    def _hourly(self, stack: str) -> float:
        with self._lock:
            rates = [one.price.usd_per_hour for one in self._rented.values() if one.stack == stack]
        return rates[-1] if rates else 0.0

    # -- looking ------------------------------------------------------------------------------

    def _of(self, stack: str, region: str) -> list[Instance]:
        """Ask EC2 for a stack's machines, oldest first, and keep them in the books."""
        found = self._aws.instances(region, STACK_TAG, stack)
        for item in found:
            self._note(item)
        return sorted(found, key=lambda item: item.launched)

    def _look(
        self, region: str, *, at_once: bool = False
    ) -> tuple[dict[str, Instance], dict[str, str]]:
        """Ask for all machines of the run in a region, or use an answer that is still fresh."""
        with self._looking:
            at, machines, spots = self._seen.get(region, (float("-inf"), {}, {}))
            if at_once or time.monotonic() - at > FRESH:
                try:
                    machines = self._ask(region, patient=at_once)
                    spots = self._ask_spot(region, machines.values())
                finally:
                    # A failed look counts too: others use what there is, and ask a little later.
                    self._seen[region] = (time.monotonic(), machines, spots)
            return machines, spots

    def _ask(self, region: str, *, patient: bool) -> dict[str, Instance]:
        found = self._aws.instances(region, RUN_TAG, self._run_id, patient=patient)
        for item in found:
            self._note(item)
        return {item.id: item for item in found}

    def _ask_spot(self, region: str, machines: Iterable[Instance]) -> dict[str, str]:
        requests = [i.spot_request for i in machines if i.spot_request and i.state in _ALIVE]
        return self._aws.spot_codes(region, requests) if requests else {}

    def _note(self, item: Instance) -> None:
        """Keep a machine in the books, at the price of its launch."""
        stack = item.tags.get(STACK_TAG, "")
        with self._lock:
            latest = self._latest.get(stack)
            if item.id in self._rented or latest is None:
                return
            market: Market = "spot" if item.spot_request else "on-demand"
            rung = Rung(type=item.type, market=market, region=item.region, zone=item.zone)
            price, basis = self._prices.get(rung, (latest.price, latest.basis))
            # By AWS's clock, unless this machine's clock makes nonsense of it.
            plausible = self._began - 60 <= item.launched <= self._clock()
            since = item.launched if plausible else latest.since
            self._rented[item.id] = _Rented(stack, rung, price, basis, since)
            self._launching.pop(stack, None)

    def _close(self, stack: str, left: set[str]) -> None:
        """Close the books on a stack's machines that EC2 says are gone."""
        with self._lock:
            for identity, rented in self._rented.items():
                if rented.stack == stack and identity not in left and rented.until is None:
                    rented.until = self._clock()
            if not left:
                self._launching.pop(stack, None)


def _removal(region: str, ids: Sequence[str]) -> str:
    return f"aws ec2 terminate-instances --region {region} --instance-ids {' '.join(ids)}"


def price_book(
    aws: Aws, settings: AwsSettings, clock: Callable[[], float] = time.time
) -> PriceBook:
    """Give the prices that hold for a caller and their settings."""
    file = cache_folder() / "prices.json" if aws.is_genuine else None
    return PriceBook(aws.products, dict(settings.price_per_hour), file, clock)


def _owner() -> str:
    """Name whoever runs this, in the characters that tags may have."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return re.sub(r"[^\w +\-=.:/@]", "-", f"{user}@{socket.gethostname()}")[:200]
