"""Creates the machines of one plan, and monitors them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cloudburst import environment
from cloudburst.errors import BadInput, CloudRefused, InfrastructureError, PriceUnknown
from cloudburst.language import language, tr
from cloudburst.models import (
    Condition,
    Health,
    MachineSpec,
    Offer,
    Problem,
    RegistryLogin,
    Rental,
    Worker,
)
from cloudburst.paths import owner
from cloudburst.targets import bundle, certificate
from cloudburst.targets.aws import estimate, refusals, regions
from cloudburst.targets.aws.access import logins
from cloudburst.targets.aws.access.registry import private_registry
from cloudburst.targets.aws.described import PORT, RUN_TAG, STACK_TAG, port_of
from cloudburst.targets.aws.fleet import ALIVE
from cloudburst.targets.aws.prices.pricing import surplus_per_hour
from cloudburst.targets.aws.prices.rates import RateCard
from cloudburst.targets.aws.resources import EXPIRES_TAG, OWNER_TAG
from cloudburst.targets.durations import BUNDLED_SPEED, RenderTerms
from cloudburst.targets.public_ip import Ingress
from cloudburst.targets.rates import learned
from cloudburst.videoapi import admission
from cloudburst_stacks import aws as aws_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudburst.models import Estimate, Job, Plan, Quote, Rung, UnfinishedWorker, WorkerSpec
    from cloudburst.targets.aws.architecture import InstanceKind
    from cloudburst.targets.aws.ec2 import Aws
    from cloudburst.targets.aws.fleet import Fleet
    from cloudburst.targets.aws.prices.quotes import Quotes
    from cloudburst.targets.aws.settings import AwsSettings
    from cloudburst.targets.failover import Ladder
    from cloudburst.targets.rates import RenderRates

# Seconds: with less time left, a machine of an earlier session is not worth taking over.
ADOPT_SECONDS = 300.0
# The video API keeps a video for an hour; so long a machine is kept for a person.
KEEP_MINUTES = 60
# Seconds without a request after which a machine ends itself. A runner asks every few seconds.
LEASE_SECONDS = 600
_TYPE = "AWS_INSTANCE_TYPE"
_INTERRUPTED = "Server.SpotInstanceTermination"
_LEAVING = frozenset({"marked-for-termination", "marked-for-stop"})


@dataclass(frozen=True)
class AwsWorkers:
    """Creates the machines of one plan.

    Args:
        aws: is asked for what is not in the fleet.
        fleet: the run's machines.
        quotes: current prices.
        settings: what the user asked for, with regions.
        plan: which scenes go to which batch.
        ladder: every rung that exists.
        kinds: what EC2 says of each instance type.
        disks: price of a GB of disk by the hour, by region.
        vpc: of the user's subnet; None for the default one.
        ingress: who may reach the machines.
        clock: seconds since 1970.
        notes: what was left out and why, for people.
    """

    aws: Aws
    fleet: Fleet
    quotes: Quotes
    settings: AwsSettings
    plan: Plan
    ladder: Ladder
    kinds: Mapping[str, InstanceKind]
    disks: Mapping[str, Quote]
    vpc: str | None
    ingress: Ingress
    clock: Callable[[], float]
    notes: tuple[str, ...] = ()

    # -- before -------------------------------------------------------------------------------

    @property
    def terms(self) -> RenderTerms:
        """Those of the public image, if another one: what renders in that is not known.

        A lease that is sized from the plan is long enough, up to the longest that there is.
        """
        lease = self.settings.lease_minutes or estimate.MAX_LEASE_MINUTES
        speed = BUNDLED_SPEED if self.settings.bundled else 1.0
        rates = estimate.benchmark(self.settings)
        return RenderTerms(speed, longest=estimate.longest_attempt(lease), rates=rates)

    def room(self, workers: int, rung: Rung) -> int:  # noqa: ARG002 - machines share nothing
        """Return how many scenes a machine of a rung renders at once, if no GPU encodes."""
        return admission.slots(self.kinds[rung.type].vcpus)

    def estimate(self) -> Estimate:
        """Return the estimate of the plan on the ladder's first rung.

        Raises:
            PriceUnknown: it has no price.
            CloudRefused: AWS refused, or did not answer.
        """
        return self._estimate_on(self.ladder.first)

    def _estimate_on(self, rung: Rung) -> Estimate:
        price = self.quote(rung).price
        rates = RateCard(
            machine=price.usd_per_hour,
            disk_gb=self.settings.disk_gb,
            disk_gb_hour=self.disks[rung.region].price.usd_per_hour,
            surplus=self._surplus(rung),
        )
        lease = self._lease_minutes(rung)
        room, renders = self.room(1, rung), self._rates(rung)
        idle, boot = self._lease_seconds(lease), estimate.boot_of(self.settings)
        found = estimate.estimate(
            self.plan, rung, price, rates, room, lease, idle, renders=renders, boot=boot
        )
        if not (self.settings.bundled and aws_stack.has_gpu(rung.type)):
            return found
        most = admission.slots(self.kinds[rung.type].vcpus, nvenc=True)
        return replace(found, assumptions=(*found.assumptions, estimate.gpu(rung, most)))

    def offers(self) -> tuple[Offer, ...]:
        """Return what the plan would take and cost on each rung, in the order of the ladder."""
        return tuple(self._offer(rung) for rung in self.ladder.rungs)

    def _offer(self, rung: Rung) -> Offer:
        try:
            found = self._estimate_on(rung)
        except (PriceUnknown, CloudRefused) as error:
            return Offer(rung, None, str(error))
        renders = self._rates(rung)
        return Offer(
            rung,
            found.price,
            "",
            sum(found.phases.values()),
            found.likely,
            self.room(1, rung),
            renders.origin(self.plan.job.scenes),
            measured=renders.measured(self.plan.job.scenes),
        )

    def quote(self, rung: Rung) -> Quote:
        """Return the current price of a rung.

        Raises:
            PriceUnknown: there is none; on spot another zone may have one.
            CloudRefused: AWS refused, or did not answer.
        """
        return self.quotes.of(rung)

    def _surplus(self, rung: Rung) -> float:
        return surplus_per_hour(rung.type, self.kinds[rung.type].vcpus)

    def _rates(self, rung: Rung) -> RenderRates:
        """Return how fast a machine of a rung renders, as far as earlier runs have measured it."""
        otherwise = estimate.benchmark(self.settings)
        return learned(self.plan.samples, self.settings.renderer, rung.type, otherwise)

    def _lease_minutes(self, rung: Rung) -> int:
        """Return after how many minutes a machine of a rung ends itself: a small one needs more."""
        sized = estimate.lease_minutes(self.plan, self.room(1, rung), self._rates(rung))
        kept = 0 if self.plan.job.auto_terminate else KEEP_MINUTES
        return self.settings.lease_minutes or sized + kept

    def _lease_seconds(self, lease: int) -> int:
        """Return after how many seconds without a request a machine ends itself.

        One that is kept for a person is asked for nothing.
        """
        return LEASE_SECONDS if self.plan.job.auto_terminate else lease * 60

    def last_end(self) -> float:
        """Return when a machine that is launched now ends itself, seconds since 1970."""
        return self.clock() + self._lease_minutes(self.ladder.first) * 60

    # -- creating -----------------------------------------------------------------------------

    def program(self, spec: WorkerSpec, quote: Quote | None) -> Callable[[], None]:
        """Return the program that declares one machine; run, it begins to count its cost.

        Args:
            spec: what the stack declares.
            quote: what `quote` has returned for its rung.

        Raises:
            CloudRefused: its image is in a private registry that does not let the caller in.
        """
        quoted = quote or self.quote(spec.rung)
        lease = self._lease_minutes(spec.rung)
        machine = self._machine(spec, lease)
        # Before its turn: the journal has it, with its end, before anything is created.
        self.fleet.expect(spec.stack, spec.rung.region, self.clock() + lease * 60)

        def declare() -> None:
            # Now, not when it was asked for: it may have waited for its turn.
            expires = datetime.fromtimestamp(self.clock(), UTC) + timedelta(minutes=lease)
            self.fleet.ask(self._rental(spec, quoted, expires.timestamp()))
            tags = machine.tags | {EXPIRES_TAG: f"{expires:%Y-%m-%dT%H:%M:%SZ}"}
            aws_stack.program(spec, replace(machine, tags=tags))

        return declare

    def _machine(self, spec: WorkerSpec, lease: int) -> MachineSpec:
        settings = self.settings
        return MachineSpec(
            ami=settings.ami,
            image=settings.container,
            command=bundle.COMMAND if settings.bundled else (),
            name=settings.renderer,
            language=language(),
            ingress=self.ingress.current(),
            vpc=self.vpc,
            subnet=settings.subnet,
            security_groups=settings.security_groups,
            key_name=settings.key_name,
            disk_gb=settings.disk_gb,
            lease_minutes=lease,
            kms_key=settings.kms_key,
            architecture=self.kinds[spec.rung.type].architecture,
            login=self._login(),
            port=self._port,
            lease_seconds=self._lease_seconds(lease),
            identity=certificate.make(self.clock(), lease * 60),
            tags={"Name": spec.stack}
            | dict(settings.tags)
            | {
                "project": "cloudburst",
                RUN_TAG: spec.run_id,
                STACK_TAG: spec.stack,
                "cloudburst:batch": spec.batch,
                "cloudburst:job": spec.job,
                OWNER_TAG: owner(),
            },
        )

    def _login(self) -> RegistryLogin | None:
        """Return a login to the image's registry, if it needs one: for each machine a new one."""
        registry = private_registry(self.settings.image)
        if registry is None:
            return None
        return RegistryLogin(registry.host, *self.aws.registry_token(registry.region))

    def _rental(self, spec: WorkerSpec, quote: Quote, expires: float) -> Rental:
        disk = self.disks[spec.rung.region]
        return Rental(
            stack=spec.stack,
            machine="",
            rung=spec.rung,
            price=quote.price,
            basis=quote.basis,
            since=self.clock(),
            until=None,
            expires=expires,
            disk_gb=self.settings.disk_gb,
            disk_rate=disk.price.usd_per_hour,
            disk_basis=disk.basis,
            surplus=self._surplus(spec.rung),
        )

    def worker(self, spec: WorkerSpec, outputs: Mapping[str, Any]) -> Worker:
        """Return the worker that a stack's outputs describe.

        Raises:
            InfrastructureError: it has no public address.
        """
        machine, address = str(outputs["id"]), outputs.get("address")
        if not address:
            raise InfrastructureError(
                tr(
                    "{machine} has no public address: its subnet assigns none; name another one as "
                    "aws.subnet in scenes.yaml",
                    machine=machine,
                )
            )
        # Enters it into the rentals; if that fails, the teardown does it.
        with contextlib.suppress(CloudRefused):
            self.fleet.describe(spec.rung.region, at_once=True)
        return Worker(
            stack=spec.stack,
            id=machine,
            endpoint=f"https://{address}:{self._port}",
            key=spec.key,
            room=spec.room,
            certificate=str(outputs["certificate"]),
            hint=self._hint(),
            files=self._files,
        )

    @cached_property
    def _files(self) -> Mapping[str, bytes]:
        """What a machine has to be sent, with the fonts that any of the plan's scenes needs."""
        if not self.settings.bundled:
            return {}
        return bundle.bundle(bundle.fonts(self.plan.job.scenes)).files

    @property
    def _port(self) -> int:
        return self.settings.port or PORT

    def _hint(self) -> str:
        """Return what may be in the way of the connection to a machine."""
        return tr(
            "The security group admits {block}: if the world sees this machine under another "
            "address (a VPN, several NAT addresses), set aws.ingress. If TCP port {port} is "
            "blocked on the way, set aws.port",
            block=self.ingress.current(),
            port=self._port,
        )

    def adopt(self, spec: WorkerSpec, launch: UnfinishedWorker) -> Worker | None:
        """Return a machine of an earlier session, if it runs, is the run's, and has time left.

        Raises:
            CloudRefused: AWS refused, or did not answer.
        """
        if launch.worker is None or launch.endpoint is None or launch.expires is None:
            return None
        if launch.expires - self.clock() < ADOPT_SECONDS:
            return None
        machines = self.fleet.machines_of(spec.stack, spec.rung.region)
        machine = next((item for item in machines if item.id == launch.worker), None)
        if machine is None or machine.state != "running":
            return None
        if machine.tags.get(RUN_TAG) != spec.run_id:
            return None
        self.fleet.expect(spec.stack, spec.rung.region, launch.expires)
        return Worker(
            stack=spec.stack,
            id=machine.id,
            endpoint=launch.endpoint,
            key=spec.key,
            room=launch.room,
            certificate=spec.certificate,
        )

    # -- monitoring ---------------------------------------------------------------------------

    def expires(self, stack: str) -> float | None:
        """Return when the dead-man switch of a stack's machine ends it."""
        return self.fleet.expires(stack)

    def keep(self, worker: Worker) -> float:
        """Return when a machine ends itself: until then it needs nothing in order to stay."""
        expires = self.fleet.expires(worker.stack)
        if expires is None:
            raise LookupError(f"{worker.stack} has no machine")
        return expires

    def condition(self, worker: Worker) -> Condition:
        """Return how a machine is, by EC2's word."""
        description = self.fleet.describe(self.fleet.regions_of(worker.stack)[-1])
        machine = description.machines.get(worker.id)
        if machine is None:
            return Condition()  # descriptions lag behind; a machine that is gone is described
        if machine.state not in ALIVE:
            return Condition(
                Health.GONE,
                f"{machine.code or machine.state}: {machine.reason or 'no reason given'}",
                refusals.is_blameless(machine.code),
                refusals.of_end(machine.code),
            )
        code = description.spots.get(machine.spot_request or "", "")
        if code in _LEAVING:
            reason = f"{_INTERRUPTED}: its spot request is {code}"
            end = refusals.of_end(_INTERRUPTED)
            return Condition(Health.LEAVING, reason, blameless=True, refusal=end)
        return Condition()

    def last_log_lines(self, spec: WorkerSpec) -> str:
        """Return the last lines of the machine's boot log."""
        region = spec.rung.region
        try:
            machines = self.fleet.machines_of(spec.stack, region)
            text = self.aws.console(region, machines[-1].id) if machines else ""
        except CloudRefused:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        ours = [line for line in lines if "cloudburst " in line] or lines
        return " | ".join(ours[-3:])


def prepare(
    aws: Aws,
    fleet: Fleet,
    quotes: Quotes,
    settings: AwsSettings,
    plan: Plan,
    run_id: str,
    clock: Callable[[], float],
) -> AwsWorkers:
    """Ask for everything that is the same for all machines of a plan; create nothing.

    Args:
        aws: is asked.
        fleet: the run's machines.
        quotes: current prices.
        settings: what the user asked for, with regions.
        plan: which scenes go to which batch.
        run_id: the run.
        clock: seconds since 1970.

    Raises:
        BadInput: the image does not run on a type, which only AWS knows.
        InfrastructureError: something that is needed is missing.
    """
    aws.account()  # who has no credentials learns it here
    ingress = Ingress(settings.ingress)
    try:
        found = regions.look(aws, settings, run_id)
    except regions.UnfitType as error:
        raise _misfit(error, settings, plan.job) from error
    settings = replace(settings, regions=found.names)
    first = settings.regions[0]
    if settings.security_groups:
        firewalls = aws.firewalls(first, settings.security_groups)  # they have to exist
        port = port_of(settings.port, firewalls, ingress.current())
        settings = replace(settings, port=port)
    vpc = aws.subnet(first, settings.subnet)[1] if settings.subnet else None
    source = AwsWorkers(
        aws=aws,
        fleet=fleet,
        quotes=quotes,
        settings=settings,
        plan=plan,
        ladder=regions.ladder(settings, found),
        kinds=found.kinds,
        notes=(*found.notes, *estimate.warnings(plan, settings)),
        disks={region: quotes.disk(region) for region in settings.regions},
        vpc=vpc,
        ingress=ingress,
        clock=clock,
    )
    return replace(source, notes=(*source.notes, *_boot_notes(source), *_session_notes(source)))


def _misfit(error: regions.UnfitType, settings: AwsSettings, job: Job) -> BadInput:
    """Return that a type and the image do not fit, with the place where one of them is set."""
    field = f"aws.instance_types[{settings.instance_types.index(error.name)}]"
    if field not in job.places and environment.environment().get(_TYPE) == error.name:
        return BadInput([Problem(*environment.place(_TYPE), _TYPE, error.message)])
    # A type of the default list is not set anywhere; then what the image is for is.
    set_here = [name for name in (field, "aws.architectures", "aws.image") if name in job.places]
    field = next(iter(set_here), "aws.instance_types")
    return BadInput([Problem(*job.place(field), field, error.message)])


def _boot_notes(source: AwsWorkers) -> tuple[str, ...]:
    """Return that boots cost more than the work, if they do."""
    rung = source.ladder.first
    rates = source._rates(rung)  # noqa: SLF001 - of this module
    boot = estimate.boot_of(source.settings)
    return tuple(estimate.boots_beyond_work(source.plan, source.room(1, rung), rates, boot))


def _session_notes(source: AwsWorkers) -> tuple[str, ...]:
    """Return that the session ends before the machines do, if it does."""
    credentials = source.aws.credentials
    text = logins.note(credentials.login, credentials.ends, source.last_end())
    return (text,) if text else ()
