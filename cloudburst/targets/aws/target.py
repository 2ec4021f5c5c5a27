"""Workers on EC2: a machine for each batch, found by the failover ladder, billed to the second."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from cloudburst import clock
from cloudburst import environment as dotenv
from cloudburst.engine.engine import OPERATION_BYTES
from cloudburst.errors import CloudRefused, InfrastructureError, PriceUnknown
from cloudburst.models import (
    Basis,
    Condition,
    Estimate,
    Health,
    MachineSpec,
    Price,
    Rental,
    Resource,
    Rung,
    Worker,
    WorkerSpec,
)
from cloudburst.paths import cache_folder, owner
from cloudburst.targets.aws import estimate
from cloudburst.targets.aws import public_ip as address
from cloudburst.targets.aws.ec2 import GONE, RUN_TAG, STACK_TAG, Aws, Instance
from cloudburst.targets.aws.pricing import (
    DISK_GB_MONTH,
    HOURS_PER_MONTH,
    PriceBook,
    surplus_per_hour,
)
from cloudburst.targets.aws.rentals import Rentals
from cloudburst.targets.failover import Ladder, rungs
from cloudburst_stacks import aws as aws_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from cloudburst.journal.state import UnfinishedWorker
    from cloudburst.models import AwsSettings, BatchResult, Cost, Market, Plan, TargetName

# github.com/pulumi/pulumi-aws, issue 5860: every operation starts a plugin of 317 to 430 MB.
PLUGIN_BYTES = 400 * 1024**2
VCPUS_PER_SCENE = 2
# How old an answer about the machines may be; one call answers for all of a run.
FRESH = 2.0
# With less time left, a machine of an earlier session is not worth taking over.
ADOPT_SECONDS = 300.0
# The video API keeps a video for an hour; so long a machine stays that is kept for a person.
KEEP_MINUTES = 60
_LEAVING = {"marked-for-termination", "marked-for-stop"}
_BLAMELESS = (
    "Server.SpotInstanceTermination",
    "Server.SpotInstanceShutdown",
    "Client.InstanceInitiatedShutdown",
    "Client.UserInitiatedShutdown",
    "Server.ScheduledStop",
)
_ALIVE = {"pending", "running"}


class AwsTarget:
    """EC2 in the regions of a job.

    Args:
        settings: what the user asked for.
        clock: seconds since 1970.
    """

    name: TargetName = "aws"
    operation_bytes = OPERATION_BYTES + PLUGIN_BYTES
    # What a call that timed out may have made shows up in descriptions a little later.
    settle = 5.0

    def __init__(
        self,
        settings: AwsSettings,
        clock: Callable[[], float] = clock.now,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self.books = Rentals(clock)
        self._latest: dict[str, Rental] = {}
        self._others: dict[tuple[str, str], dict[str, list[str]]] = {}
        self._seen: dict[str, tuple[float, dict[str, Instance], dict[str, str]]] = {}
        self._places: dict[str, tuple[str, ...]] = {}
        self._leases: dict[str, float] = {}
        self._began = 0.0
        self._prices: dict[Rung, tuple[Price, Basis]] = {}
        self._lock = threading.RLock()  # never held while AWS is asked
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

    @property
    def regions(self) -> tuple[str, ...]:
        """Give the regions of the ladder."""
        return self._settings.regions

    def all_regions(self) -> tuple[str, ...]:
        """Give every region that the account has enabled."""
        return tuple(self._aws.all_regions())

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
        stays = 0 if self._plan.job.auto_terminate else KEEP_MINUTES
        return self._settings.lease_minutes or sized + stays

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
                "cloudburst:owner": owner(),
            },
        )
        with self._lock:
            self._goes_to(spec.stack, spec.rung.region)
            self._leases[spec.stack] = self._clock() + lease * 60

        def declare() -> None:
            # Now, not when it was asked for: it may have waited for its turn.
            expires = datetime.fromtimestamp(self._clock(), UTC) + timedelta(minutes=lease)
            rental = Rental(
                stack=spec.stack,
                machine="",
                rung=spec.rung,
                price=price,
                basis=basis,
                since=self._clock(),
                until=None,
                expires=expires.timestamp(),
                disk_gb=settings.disk_gb,
                disk_rate=self._disk[spec.rung.region][0],
                disk_basis=self._disk[spec.rung.region][1],
                surplus=surplus_per_hour(spec.rung.type, self._vcpus[spec.rung.type]),
            )
            with self._lock:
                self._latest[spec.stack] = rental
                self._leases[spec.stack] = rental.expires
            self.books.ask(rental)
            tags = machine.tags | {"cloudburst:expires-at": f"{expires:%Y-%m-%dT%H:%M:%SZ}"}
            aws_stack.program(spec, replace(machine, tags=tags))

        return declare

    def _ingress_now(self) -> str:
        """Ask for this machine's address again: a laptop may stand in another network by now."""
        if self._settings.ingress is None:
            with contextlib.suppress(InfrastructureError):
                self._ingress = address.public_address()
        return self._ingress

    def know(
        self,
        run_id: str,
        places: Mapping[str, Sequence[str]],
        rentals: Iterable[Rental],
        record: Callable[[Rental], None],
    ) -> None:
        """Take in where earlier sessions have made stacks, and what they rented."""
        entries, self._run_id = list(rentals), run_id
        with self._lock:
            self._places |= {stack: tuple(regions) for stack, regions in places.items()}
            self._latest |= {one.stack: replace(one, until=None) for one in entries}
        self.books.restore(entries, record)

    def adopt(self, spec: WorkerSpec, launch: UnfinishedWorker) -> Worker | None:
        """Take a machine over that runs, is tagged as the run's, and has time left."""
        if launch.worker is None or launch.endpoint is None or launch.expires is None:
            return None
        if launch.expires - self._clock() < ADOPT_SECONDS:
            return None
        found = {item.id: item for item in self._of(spec.stack, spec.rung.region)}
        machine = found.get(launch.worker)
        if machine is None or machine.state != "running":
            return None
        if machine.tags.get(RUN_TAG) != spec.run_id:
            return None
        with self._lock:
            self._leases[spec.stack] = launch.expires
            self._goes_to(spec.stack, spec.rung.region)
        return Worker(
            stack=spec.stack,
            id=machine.id,
            endpoint=launch.endpoint,
            key=spec.key,
            room=launch.room,
        )

    def survey(
        self, regions: Sequence[str]
    ) -> list[tuple[str, list[Resource] | InfrastructureError]]:
        """Ask EC2 for everything that carries CloudBurst's tags; all regions at once."""

        def one(region: str) -> tuple[str, list[Resource] | InfrastructureError]:
            try:
                return f"AWS in {region}", self._remains(region)
            except CloudRefused as error:
                return f"AWS in {region}", error

        with ThreadPoolExecutor(max(1, len(regions))) as pool:
            return list(pool.map(one, regions))

    def _remains(self, region: str) -> list[Resource]:
        machines, others = self._aws.remains(region)
        found = [
            Resource(
                kind="machine",
                id=item.id,
                place=region,
                stack=item.tags.get(STACK_TAG, ""),
                run_id=item.tags.get(RUN_TAG, ""),
                state=item.state,
                what=f"{item.type} {'spot' if item.spot_request else 'on-demand'}",
                since=item.launched,
                expires=_expires_at(item.tags),
                usd_per_hour=self._price_now(item),
                owner=item.tags.get("cloudburst:owner", ""),
                removal=_removal(region, [item.id]),
            )
            for item in machines
        ]
        for kind, word in (("group", "firewall"), ("volume", "disk")):
            found += [
                Resource(
                    kind=word,
                    id=tags["id"],
                    place=region,
                    stack=tags.get(STACK_TAG, ""),
                    run_id=tags.get(RUN_TAG, ""),
                    state="there",
                    usd_per_hour=0.0 if kind == "group" else None,
                    owner=tags.get("cloudburst:owner", ""),
                    removal=_removals(region, [], {kind: [tags["id"]]})[0],
                )
                for tags in others[kind]
            ]
        return found

    def _price_now(self, item: Instance) -> float | None:
        market: Market = "spot" if item.spot_request else "on-demand"
        rung = Rung(type=item.type, market=market, region=item.region, zone=item.zone)
        try:
            return self._priced(rung)[0].usd_per_hour
        except (PriceUnknown, CloudRefused):
            return None

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

    def _goes_to(self, stack: str, region: str) -> None:
        """Note that a stack's newest machine is in a region; it may have others elsewhere."""
        others = tuple(place for place in self._places.get(stack, ()) if place != region)
        self._places[stack] = (*others, region)

    def expires(self, stack: str) -> float | None:
        """Give the time of the dead-man switch."""
        with self._lock:
            return self._leases.get(stack)

    def keep(self, worker: Worker) -> float:
        """The machine stays until its dead-man switch fires."""
        return self._leases[worker.stack]

    def condition(self, worker: Worker) -> Condition:
        """Say how a machine is, by EC2's word."""
        machines, spots = self._look(self._places[worker.stack][-1])
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

    def last_log_lines(self, spec: WorkerSpec) -> str:
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
        """List a stack's machines, firewalls and disks that are not gone, wherever it may be."""
        lines: list[str] = []
        alive: set[str] = set()
        ended: dict[str, float] = {}
        refused: list[CloudRefused] = []
        for region in self._places.get(stack, ()):
            try:
                found = self._of(stack, region)
                others = self._aws.leftovers(region, stack)
            except CloudRefused as error:
                refused.append(error)
                continue
            left = [item for item in found if item.state != GONE]
            alive |= {item.id for item in left}
            ended |= {item.id: item.ended for item in found if item.ended is not None}
            self._others[stack, region] = others
            hourly = self.books.hourly(stack)
            lines += [
                f"{item.id} ({item.type}, {item.state}, ${hourly:.3f}/h) in {item.region}"
                for item in left
            ]
            lines += [
                f"{kind} {identity} in {region}" for kind, ids in others.items() for identity in ids
            ]
        if refused:
            there = f"; there is {', '.join(lines)}" if lines else ""
            raise CloudRefused(f"{refused[0]}{there}", refused[0].code) from refused[0]
        self.books.close(stack, alive, ended)
        return lines

    def sweep(self, stack: str) -> None:
        """Terminate a stack's machines by tag, then delete its firewalls and disks.

        A region that refuses keeps no other one from being swept.
        """
        refused: list[CloudRefused] = []
        for region in self._places.get(stack, ()):
            try:
                self._sweep(stack, region)
            except CloudRefused as error:
                refused.append(error)
        if refused:
            raise refused[0]

    def _sweep(self, stack: str, region: str) -> None:
        left = [item.id for item in self._of(stack, region) if item.state != GONE]
        if left:
            self._aws.terminate(region, left)
        others = self._aws.leftovers(region, stack)
        self._aws.remove(region, others["group"], others["volume"])

    def final_sweep(self) -> list[str]:
        """End what carries the run's tag in any region that was used, and tell what does not."""
        left = []
        for region in sorted({place for places in self._places.values() for place in places}):
            alive: list[Instance] = []
            try:
                alive = self._alive(region)
                if alive:
                    self._aws.terminate(region, [item.id for item in alive])
                    alive = self._alive(region)
            except CloudRefused as error:
                # Each stack was verified; but whoever cannot be asked once more does not say no.
                if not alive:
                    again = f"ask again with: cloudburst audit --region {region}"
                    left.append(f"{region} did not say if the run has more there: {error}; {again}")
                    continue
            still = {item.id for item in alive}
            for stack, latest in list(self._latest.items()):
                if latest.rung.region == region:
                    self.books.close(stack, still)
            if still:
                ids = sorted(still)
                left.append(f"{', '.join(ids)}; remove it with: {_removal(region, ids)}")
        return left

    def _alive(self, region: str) -> list[Instance]:
        return [item for item in self._ask(region, patient=True).values() if item.state != GONE]

    def removal(self, stack: str) -> str:
        """Give the AWS CLI's commands."""
        commands = []
        for region in self._places.get(stack, ()):
            others = self._others.get((stack, region), {})
            ids = [
                one.machine
                for one in self.books.of(stack)
                if one.until is None and one.rung.region == region
            ]
            commands += _removals(region, ids, others)
        region = (self._places.get(stack) or self._settings.regions)[-1]
        return " && ".join(commands) or (
            f"aws ec2 describe-instances --region {region} "
            f"--filters Name=tag:{STACK_TAG},Values={stack} and terminate what it shows"
        )

    # -- money --------------------------------------------------------------------------------

    def accrued(self) -> tuple[float, float]:
        """Give what this run has cost until now, in USD, and what it costs now, in USD/h."""
        return self.books.accrued()

    def cost(self, batches: Sequence[BatchResult], downloaded: int) -> Cost:  # noqa: ARG002
        """Bill every machine that EC2 has shown, whatever became of it."""
        return self.books.cost(downloaded)

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
            if self.books.knows(item.id) or latest is None:
                return
            market: Market = "spot" if item.spot_request else "on-demand"
            rung = Rung(type=item.type, market=market, region=item.region, zone=item.zone)
            price, basis = self._prices.get(rung, (latest.price, latest.basis))
        # By AWS's clock, unless this machine's clock makes nonsense of it.
        plausible = self._began - 60 <= item.launched <= self._clock()
        since = item.launched if plausible else latest.since
        self.books.enter(
            replace(latest, machine=item.id, rung=rung, price=price, basis=basis, since=since)
        )


def _expires_at(tags: Mapping[str, str]) -> float | None:
    try:
        return datetime.fromisoformat(tags["cloudburst:expires-at"]).timestamp()
    except (KeyError, ValueError):
        return None


def _removals(region: str, ids: Sequence[str], others: Mapping[str, Sequence[str]]) -> list[str]:
    """Give the AWS CLI's commands that remove machines, then what stays behind them.

    A machine's disk goes with it.
    """
    commands = [_removal(region, ids)] if ids else []
    if ids and any(others.values()):
        named = " ".join(ids)
        commands += [f"aws ec2 wait instance-terminated --region {region} --instance-ids {named}"]
    commands += [
        f"aws ec2 delete-security-group --region {region} --group-id {group}"
        for group in others.get("group", [])
    ]
    commands += [
        f"aws ec2 delete-volume --region {region} --volume-id {volume}"
        for volume in others.get("volume", [])
        if not ids
    ]
    return commands


def _removal(region: str, ids: Sequence[str]) -> str:
    return f"aws ec2 terminate-instances --region {region} --instance-ids {' '.join(ids)}"


def price_book(
    aws: Aws, settings: AwsSettings, clock: Callable[[], float] = time.time
) -> PriceBook:
    """Give the prices that hold for a caller and their settings."""
    file = cache_folder() / "prices.json" if aws.is_genuine else None
    return PriceBook(aws.products, dict(settings.price_per_hour), file, clock)
