"""Stacks and workers: what is declared, what exists, what a provider says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from cloudburst.language import tr

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from pathlib import Path

    from cloudburst.models.job import Batch, Market


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to get a worker: a step of the failover ladder.

    Args:
        type: instance type (local: ``process``).
        market: on-demand or spot.
        region: such as ``us-east-1``.
        zone: availability zone, such as ``us-east-1a``.
    """

    type: str
    market: Market
    region: str
    zone: str

    def __str__(self) -> str:
        return f"{self.type} {self.market} in {self.zone}"

    @property
    def shown(self) -> str:
        """It in the user's language."""
        if self.type == "process":  # it has neither market nor zone
            return tr("a process on this machine")
        return tr("{type} {market} in {zone}", type=self.type, market=self.market, zone=self.zone)


class Verdict(StrEnum):
    """What a refusal means for the failover ladder."""

    NEXT = "the next rung"
    SKIP_LARGER = "a smaller type, or another family"
    SKIP_FAMILY = "another family"
    SKIP_MARKET = "another market"
    SKIP_REGION = "another region"
    ONCE = "the next rung, but only once"
    WAIT = "the same rung, later"
    FAIL = "none for this batch"
    STOP = "none for any batch"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a provider's refusal means, decided once, where its error is translated.

    Args:
        code: the provider's error code, None when it gave none.
        verdict: what it means for the ladder.
        transient: the provider did not answer at all; asking again for minutes makes sense.
        advice: what a person can do; empty when nothing is known.
        cause: what is wrong, where the code alone says it; empty where it does not.
        login: it lasts until a person logs in again, as the advice says.
    """

    code: str | None = None
    verdict: Verdict = Verdict.FAIL
    transient: bool = False
    advice: str = ""
    cause: str = ""
    login: bool = False

    def explain(self, message: str) -> str:
        """Return the provider's message with the advice, and after the cause if it is known.

        One that has the advice, since it was explained before, stays as it is.
        """
        if not self.advice or self.advice in message:
            return message
        if self.cause:
            return f"{self.cause}: {self.advice}. {message}"
        return f"{message} ({self.advice})"


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """With what a machine logs in to the registry of its container image.

    Args:
        host: of the registry.
        user: name of the user.
        token: short-lived; it is written nowhere but into the machine's user-data.
    """

    host: str
    user: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """With what a worker proves who it is; the runner accepts this certificate and no other.

    Args:
        certificate: PEM.
        key: the certificate's private key, PEM.
    """

    certificate: str = ""
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """What the stack of a rented worker declares besides the worker itself.

    Args:
        ami: machine image; None takes the newest ECS-optimised Amazon Linux.
        image: container image of the video API.
        ingress: CIDR block that may reach the video API.
        vpc: in which a security group is made; None for the default one.
        subnet: None for the zone's default one.
        security_groups: existing ones, all of which the machine has; none to make one.
        key_name: an existing key pair, None for no SSH.
        disk_gb: GB of the encrypted root disk.
        lease_minutes: after which the machine ends itself, whatever happens.
        tags: put on everything, in the call that creates it.
        kms_key: ARN of the key that encrypts the disk, None for the account's default.
        architecture: of the instance type's processor; the newest machine image is for it.
        login: to the registry of the container image; None where anyone may pull it.
        port: on which the machine's agent answers.
        lease_seconds: without a request, after which the machine ends itself.
        identity: with what it proves who it is.
        command: what runs in the image, with the files that are uploaded; none for its own.
        name: of what serves, for people, where that is not the image.
        language: of what it says to people.
    """

    ami: str | None
    image: str
    ingress: str
    vpc: str | None
    subnet: str | None
    security_groups: tuple[str, ...]
    key_name: str | None
    disk_gb: int
    lease_minutes: int
    tags: dict[str, str]
    kms_key: str | None = None
    architecture: Literal["amd64", "arm64"] = "amd64"
    login: RegistryLogin | None = None
    port: int = 443
    lease_seconds: int = 600
    identity: Identity = Identity()
    command: tuple[str, ...] = ()
    name: str = ""
    language: str = "en"


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What one stack declares.

    Args:
        run_id: the run it belongs to.
        batch: label of its batch.
        job: name of the job.
        key: what a client must send as ``X-Authentication-Key``.
        room: scenes it renders at once.
        scene_timeout: seconds after which it gives a scene up.
        log: file for the worker's own log.
        rung: how and where the worker is got.
        certificate: with which a worker that exists answers, PEM; None where it has none.
    """

    run_id: str
    batch: str
    job: str
    key: str = field(repr=False)
    room: int
    scene_timeout: float
    log: Path
    rung: Rung
    certificate: str | None = field(default=None, repr=False)

    @property
    def stack(self) -> str:
        """Name of the batch's stack."""
        return f"{self.run_id}-{self.batch}"


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that exists.

    Args:
        stack: the stack that declares it.
        id: the provider's name for it (local: process id and start time; aws: instance id).
        endpoint: base URL of its video API.
        key: authentication key.
        room: scenes it renders at once.
        log: its own log, where this machine can read it.
        certificate: PEM of the only one that it answers with, and has an agent before its video
            API; None for plain HTTP, on this machine.
        hint: what may be in the way where it cannot be reached, and what to do.
        files: that it has to be sent before it can serve, by name.
    """

    stack: str
    id: str
    endpoint: str
    key: str = field(repr=False)
    room: int
    log: Path | None = None
    certificate: str | None = field(default=None, repr=False)
    hint: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Resource:
    """Something of CloudBurst's that a provider shows, whoever else knows of it.

    Args:
        kind: ``machine``, ``process``, ``firewall`` or ``disk``.
        id: the provider's name for it.
        place: region, or this machine.
        stack: in whose name it was made.
        run_id: in whose name it was made.
        state: the provider's word.
        what: such as ``c5.2xlarge spot``.
        since: when it was made, seconds since 1970; None when the provider does not say.
        expires: when it ends itself, seconds since 1970; None when it does not.
        usd_per_hour: what it costs; None when no price is known, 0 where nothing is rented.
        removal: the command by which a person removes it.
        owner: ``user@host`` that began it, as far as the provider tells.
        target: name of the target that shows it.
        state_id: its id in a stack's state, where that is not ``id``.
    """

    kind: str
    id: str
    place: str
    stack: str
    run_id: str
    state: str
    what: str = ""
    since: float | None = None
    expires: float | None = None
    usd_per_hour: float | None = None
    removal: str = ""
    owner: str = ""
    target: str = ""
    state_id: str = ""

    def is_among(self, ids: Container[str]) -> bool:
        """Whether a stack's state, which holds some ids, knows of it."""
        # A disk goes with its machine and is in no state.
        return self.kind == "disk" or (self.state_id or self.id) in ids


class Health(StrEnum):
    """What the provider says of a worker."""

    FINE = "fine"
    LEAVING = "leaving"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Condition:
    """How a worker is, by its provider's word.

    Args:
        health: fine; about to be taken away; gone.
        reason: the provider's code and message.
        blameless: the end had nothing to do with what the worker was doing.
        refusal: what it means for the ladder.
        of_scene: a scene's attempt was the reason; how often that can be is bounded by attempts.
    """

    health: Health = Health.FINE
    reason: str = ""
    blameless: bool = False
    refusal: Refusal = Refusal(verdict=Verdict.NEXT)
    of_scene: bool = False


@dataclass(frozen=True, slots=True)
class PlannedResource:
    """One line of a preview.

    Args:
        operation: what the engine would do: ``create``, ``update``, ``delete``, ``same`` …
        type: Pulumi type token.
        name: resource name.
    """

    operation: str
    type: str
    name: str


@dataclass(frozen=True, slots=True)
class StackState:
    """What the backend says of a stack.

    Args:
        resources: a line each: type, name, the provider's id.
        ids: the provider's names for them.
        pending: interrupted operations, a line each: what may exist without being in the state.
        types: Pulumi type tokens of the resources, and of what interrupted operations were about.
    """

    resources: tuple[str, ...] = ()
    ids: frozenset[str] = frozenset()
    pending: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock on a stack.

    Args:
        pid: process of the engine that took it; 0 when the lock is damaged.
        host: on which machine.
        since: ISO 8601.
    """

    pid: int
    host: str
    since: str


@dataclass(frozen=True, slots=True)
class StackPreview:
    """What ``pulumi preview`` says about one batch."""

    batch: Batch
    stack: str
    resources: tuple[PlannedResource, ...]
