"""The values that travel through a run. All of them are frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Effect = Literal["zoom_in", "zoom_out", "pan_left", "pan_right", "random"]
Language = Literal["chinese", "english"]
TargetName = Literal["local", "aws"]
Market = Literal["on-demand", "spot"]
Axis = Literal["region", "market", "type", "zone"]
WhenDear = Literal["finish", "cancel"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input.

    Args:
        file: the file as the user named it.
        line: 1-based line, 0 when the problem is the file itself.
        field: path of the field, such as ``scenes[3].audio``; empty for the whole file.
        message: what came and what was expected.
    """

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return (
            f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"
        )


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How one scene is rendered; every option of the video API.

    Args:
        language: which subtitle font and wrapping to prefer.
        effects: none for a still picture; of several, one is chosen.
        background_box: draw a box behind the subtitles.
        background_opacity: transparency of the box, 0 (solid) to 1 (clear). The name is the
            protocol's.
        font_size: pixels at the output's height; None leaves it to the renderer.
        outline_color: ASS colour, ``&HAABBGGRR``.
        is_portrait: 1080x1920 when true, 1920x1080 when false, by the picture when None.
        watermark: picture drawn in the top left corner.
        subtitle: SRT file.
    """

    language: Language = "chinese"
    effects: tuple[Effect, ...] = ()
    background_box: bool = True
    background_opacity: float = 0.2
    font_size: int | None = None
    outline_color: str = "&H00000000"
    is_portrait: bool | None = None
    watermark: Path | None = None
    subtitle: Path | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and its narration, to become one video.

    Args:
        name: unique in its job and safe as a file name.
        image: picture file.
        audio: narration file.
        seconds: length of the narration; the video is as long.
        options: how it is rendered.
    """

    name: str
    image: Path
    audio: Path
    seconds: float
    options: VideoOptions = VideoOptions()


@dataclass(frozen=True, slots=True)
class Distribution:
    """How scenes are spread over workers.

    Args:
        scenes_per_batch: the usual number of scenes a worker.
        max_parallel_instances: the most workers at once.
        min_scenes_per_batch: a worker for fewer scenes than this is not worth its start.
    """

    scenes_per_batch: int = 10
    max_parallel_instances: int = 10
    min_scenes_per_batch: int = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop waiting.

    Args:
        scene_timeout: seconds for one try of one scene.
        health_timeout: seconds from a worker's creation to its first healthy answer.
        attempts: tries of one scene, on different workers where there are any.
        max_cost_usd: most that the run may cost, in USD; None for no limit.
        on_max_cost: ``finish`` what is being rendered and download it, or ``cancel`` it.
    """

    scene_timeout: float = 600.0
    health_timeout: float = 180.0
    attempts: int = 3
    max_cost_usd: float | None = None
    on_max_cost: WhenDear = "finish"


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """What the user asked of AWS.

    Args:
        regions: such as ``us-east-1``, the first choice first; none: the profile's, us-east-1.
        markets: on-demand, spot, or both in the order in which they are tried.
        instance_types: the first choice first.
        zones: availability zones; none means all that offer the type.
        order: the ladder's axes, the slowest first: the last one changes with every rung.
        image: the container that serves the video API.
        ami: machine image; None takes Amazon's ECS-optimised one, which has Docker.
        disk_gb: size of the root disk, in GB.
        ingress: CIDR block that may reach the workers; None asks for this machine's address.
        subnet: where workers stand; None takes the default VPC's.
        security_group: an existing one; None makes one for each stack.
        key_name: an existing EC2 key pair for SSH; None for no SSH.
        lease_minutes: after which a machine ends itself; None sizes it from the plan.
        price_per_hour: USD by instance type, wins over the price list.
    """

    regions: tuple[str, ...] = ()
    markets: tuple[Market, ...] = ("on-demand",)
    instance_types: tuple[str, ...] = (
        "c5.2xlarge",
        "m5.xlarge",
        "g4dn.xlarge",
        "t3.xlarge",
        "t3.large",
        "m5.large",
    )
    zones: tuple[str, ...] = ()
    order: tuple[Axis, ...] = ("region", "market", "type", "zone")
    image: str = "betashow/video-generation-api:latest"
    ami: str | None = None
    disk_gb: int = 30
    ingress: str | None = None
    subnet: str | None = None
    security_group: str | None = None
    key_name: str | None = None
    lease_minutes: int | None = None
    price_per_hour: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """What the user asked for: a validated scenes.yaml.

    Args:
        name: names the run in the report and in the tags of its stacks.
        source: the file it was read from.
        target: where workers live.
        output: folder below which each run makes its own.
        aws: what the `aws` target is asked for.
        auto_terminate: workers end when their work is done; otherwise they stay for a person.
    """

    name: str
    source: Path
    scenes: tuple[Scene, ...]
    output: Path
    target: TargetName = "local"
    distribution: Distribution = Distribution()
    limits: Limits = Limits()
    aws: AwsSettings = AwsSettings()
    auto_terminate: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """The scenes one worker starts with; one batch is one stack.

    Args:
        number: 1-based, part of the stack's name.
        scenes: longest narration first, the order in which they are taken.
    """

    number: int
    scenes: tuple[Scene, ...]

    @property
    def label(self) -> str:
        """Short name for people and file names: ``b01``."""
        return f"b{self.number:02d}"

    @property
    def seconds(self) -> float:
        """Narration in the batch, in seconds."""
        return sum(scene.seconds for scene in self.scenes)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which scenes go to which batch."""

    job: Job
    batches: tuple[Batch, ...]


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


@dataclass(frozen=True, slots=True)
class Price:
    """What a machine costs by the hour.

    Args:
        usd_per_hour: USD.
        source: where the figure is from and of when.
    """

    usd_per_hour: float
    source: str


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """What the stack of a rented worker declares besides the worker itself.

    Args:
        ami: machine image; None takes the newest ECS-optimised Amazon Linux.
        image: container image of the video API.
        ingress: CIDR block that may reach the video API.
        vpc: in which a security group is made; None for the default one.
        subnet: None for the zone's default one.
        security_group: an existing one, None to make one.
        key_name: an existing key pair, None for no SSH.
        disk_gb: GB of the encrypted root disk.
        lease_minutes: after which the machine ends itself.
        tags: put on everything, in the call that creates it.
    """

    ami: str | None
    image: str
    ingress: str
    vpc: str | None
    subnet: str | None
    security_group: str | None
    key_name: str | None
    disk_gb: int
    lease_minutes: int
    tags: dict[str, str]


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
    """

    run_id: str
    batch: str
    job: str
    key: str = field(repr=False)
    room: int
    scene_timeout: float
    log: Path
    rung: Rung

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
    """

    stack: str
    id: str
    endpoint: str
    key: str = field(repr=False)
    room: int
    log: Path | None = None


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
        reason: the provider's code and words.
        blameless: the end had nothing to do with what the worker was doing.
    """

    health: Health = Health.FINE
    reason: str = ""
    blameless: bool = False


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
        pending: operations that broke off, a line each: what may exist without being known.
    """

    resources: tuple[str, ...] = ()
    ids: frozenset[str] = frozenset()
    pending: tuple[str, ...] = ()


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
    """What `pulumi preview` says about one batch."""

    batch: Batch
    stack: str
    resources: tuple[PlannedResource, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a run's time line, in seconds since the run began."""

    phase: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of one scene.

    Args:
        worker: label of the worker that tried: ``b01``, its replacement ``b01.2``.
        span: request sent to video rendered, or to failure.
        download: video rendered to artifact in place; None when it did not come to that.
        error: why it failed; None when it did not.
    """

    worker: str
    span: Span
    download: Span | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified video.

    Args:
        path: where it is.
        size: bytes.
        seconds: length.
        width: pixels.
        height: pixels.
        frames: video frames.
    """

    path: Path
    size: int
    seconds: float
    width: int
    height: int
    frames: int


class SceneStatus(StrEnum):
    """How a scene ended."""

    DONE = "done"
    FAILED = "failed"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class SceneResult:
    """What became of one scene.

    Args:
        scenario: the video API's word for what it rendered.
        warnings: what the renderer could not do as asked, such as a font it has not.
        error: the last attempt's reason, None when done.
    """

    name: str
    status: SceneStatus
    narration: float
    attempts: tuple[Attempt, ...] = ()
    artifact: Artifact | None = None
    scenario: str | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """One try to have a worker: a rung of the ladder, from `up` to its verified teardown.

    Args:
        label: label of the worker.
        worker: the provider's name for it, None when there never was one.
        rung: how and where.
        price: by the hour, None where nothing is rented.
        scenes_done: videos it brought home.
        spans: up, health, drive, destroy, in the order they happened.
        destroyed: the provider said that nothing of it is left.
        expires: when it ends itself, whatever becomes of the run, seconds since 1970; None for
            one that lives no longer than its run.
        code: the provider's code for why it failed or ended early.
        error: why it could not be used, or ended early; None when it did its work.
    """

    label: str
    worker: str | None
    rung: Rung
    price: Price | None
    scenes_done: int
    spans: tuple[Span, ...]
    destroyed: bool
    expires: float | None = None
    code: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one batch.

    Args:
        launches: every worker that was tried or used for it, in order.
        error: why it ended without a worker that did its work; None otherwise.
    """

    label: str
    stack: str
    launches: tuple[Launch, ...]
    error: str | None = None

    @property
    def spans(self) -> tuple[Span, ...]:
        """What it went through, in order."""
        return tuple(span for launch in self.launches for span in launch.spans)

    @property
    def destroyed(self) -> bool:
        """The provider said that nothing of it is left."""
        return all(launch.destroyed for launch in self.launches)

    @property
    def scenes_done(self) -> int:
        """Videos its workers brought home."""
        return sum(launch.scenes_done for launch in self.launches)


class Basis(StrEnum):
    """How a figure came to be."""

    LIST = "list price"
    GIVEN = "given price"
    SPOT = "spot price at launch"
    ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True)
class Rental:
    """A rented machine, for as long as it costs something.

    Args:
        stack: the stack that declares it.
        machine: the provider's name for it; empty while it has been asked for and not been seen.
        rung: how and where.
        price: by the hour, at its launch.
        basis: where the price is from.
        since: launch, seconds since 1970.
        until: end, seconds since 1970; None while it may run.
        expires: when it ends itself, seconds since 1970.
        disk_gb: GB of its disk.
        disk_rate: USD per GB and hour.
        disk_basis: where that is from.
        surplus: USD per hour of CPU credits beyond the baseline.
    """

    stack: str
    machine: str
    rung: Rung
    price: Price
    basis: Basis
    since: float
    until: float | None
    expires: float
    disk_gb: int
    disk_rate: float
    disk_basis: Basis
    surplus: float


@dataclass(frozen=True, slots=True)
class CostLine:
    """One part of a bill: ``usd = quantity * rate``.

    Args:
        kind: ``machine``, ``disk``, ``address``, ``credits`` or ``egress``.
        what: such as ``i-0123 c5.2xlarge on-demand in us-east-1a``.
        quantity: how much, measured, in `unit`.
        unit: such as ``h`` or ``GB``.
        rate: USD per unit.
        basis: where the rate is from.
    """

    kind: str
    what: str
    quantity: float
    unit: str
    rate: float
    basis: Basis

    @property
    def usd(self) -> float:
        """What it comes to, in USD."""
        return self.quantity * self.rate


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run cost.

    Args:
        usd: the bill, in USD.
        worker_seconds: from each worker's launch to its verified end, added up.
        basis: how the figure came to be.
        lines: what it is made of.
    """

    usd: float
    worker_seconds: float
    basis: str
    lines: tuple[CostLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take, before it begins.

    Args:
        low: USD if all goes well.
        likely: USD.
        worst: USD if every machine runs until its dead-man switch.
        phases: phase → likely seconds.
        lease_minutes: after which a machine ends itself.
        first: the first rung of the ladder, for which the figures hold.
        price: its price by the hour.
        assumptions: in words.
    """

    low: float
    likely: float
    worst: float
    phases: dict[str, float]
    lease_minutes: int
    first: Rung
    price: Price
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a dry run found.

    Args:
        plan: which scenes go to which batch.
        stacks: what the engine says about each; none when it was not asked.
        estimate: what it would cost; None where nothing is rented or no price is known.
        notes: what could not be checked, and other things worth knowing.
    """

    plan: Plan
    stacks: tuple[StackPreview, ...] = ()
    estimate: Estimate | None = None
    notes: tuple[str, ...] = ()


class Finding(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the doctor looked at.

    Args:
        name: what.
        finding: how it came out.
        text: what it is.
        fix: how to mend it; nothing when it is fine.
    """

    name: str
    finding: Finding
    text: str
    fix: str = ""


class Outcome(StrEnum):
    """How a run ended."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything worth knowing about a run, as written to report.json.

    Args:
        seconds: wall clock from start to the last verified destroy.
        phases: phase → seconds in which at least one batch was in it.
        serial_seconds: what one worker alone would have taken: its start, every scene's render
            and download one after the other, its end.
        left_running: what could not be verified as gone; empty is the promise kept.
        kept: workers that stay because `auto_terminate` is false, and until when.
    """

    run_id: str
    job: str
    target: str
    outcome: Outcome
    started_at: str
    seconds: float
    directory: Path
    scenes: tuple[SceneResult, ...]
    batches: tuple[BatchResult, ...]
    phases: dict[str, float]
    serial_seconds: float
    cost: Cost
    left_running: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    error: str | None = None

    @property
    def done(self) -> int:
        """Number of scenes with a verified video."""
        return sum(scene.status is SceneStatus.DONE for scene in self.scenes)

    @property
    def speedup(self) -> float:
        """How many times faster than one after the other on one worker."""
        return self.serial_seconds / self.seconds if self.seconds else 0.0


class EventKind(StrEnum):
    """What an event says happened."""

    RUN_STARTED = "run_started"
    RUN_RESUMED = "run_resumed"
    RECOVERY = "recovery"
    ENGINE = "engine"
    BATCH_STATE = "batch_state"
    SCENE_STARTED = "scene_started"
    SCENE_DONE = "scene_done"
    SCENE_RETRY = "scene_retry"
    SCENE_FAILED = "scene_failed"
    FAILOVER = "failover"
    STOPPING = "stopping"
    RUN_FINISHED = "run_finished"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for whoever watches a run.

    Args:
        kind: what.
        seconds: since the run began.
        batch: label of the batch it happened to.
        scene: name of the scene it happened to.
        text: one line for a person.
        data: the same for a machine.
    """

    kind: EventKind
    seconds: float
    batch: str | None = None
    scene: str | None = None
    text: str = ""
    data: dict[str, object] = field(default_factory=dict)
