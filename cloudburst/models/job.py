"""What the user asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from cloudburst.models.html import plan_html
from cloudburst.models.names import batch_label

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cloudburst.models.results import RenderSample

# Nobody fixes more at once; a file of a few kB can be wrong in a million places, by its aliases.
MAX_PROBLEMS = 1000
DEFAULT_BACKGROUND = "black"
Effect = Literal["zoom_in", "zoom_out", "pan_left", "pan_right", "random"]
Quality = Literal["small", "normal", "high"]
# How much CPU the renderer spends for how few bytes of the same quality.
Effort = Literal["low", "high"]
# The protocol's two names, then BCP 47 tags: only Chinese, Japanese and Korean ones change what is
# drawn, but whoever writes another one is right, too.
Language = Literal[
    "chinese", "english", "zh-Hans", "zh-Hant", "zh-HK", "ja", "ko",
    "am", "ar", "bn", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hu", "hy",
    "id", "it", "ka", "km", "lo", "ms", "my", "nb", "nl", "pl", "pt", "ro", "ru", "sv", "ta", "te",
    "th", "tr", "uk", "ur", "vi",
]  # fmt: skip
WhenDear = Literal["finish", "cancel"]
Market = Literal["on-demand", "spot"]
Axis = Literal["region", "market", "type", "zone"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input.

    Args:
        file: the file as the user named it.
        line: 1-based line, 0 when the problem is the file itself.
        field: path of the field, such as ``scenes[3].audio``; empty for the whole file.
        message: what was read and what was expected.
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
        language: of the subtitles, by the protocol's name or as a BCP 47 tag.
        effects: empty for a still picture; of several, one is chosen.
        background_box: draw a box behind the subtitles.
        background_opacity: transparency of the box, 0 (solid) to 1 (clear). The name is the
            protocol's.
        font_size: pixels at the output's height; None leaves it to the renderer.
        outline_color: ASS colour, ``&HAABBGGRR``.
        is_portrait: 1080x1920 when true, 1920x1080 when false, by the picture when None.
        watermark: picture drawn in the top left corner.
        background_color: ``#RRGGBB`` or a name, behind transparent parts and beside the picture.
        quality: how good the picture is, against the bytes of the video.
        subtitle: subtitle file.
        subtitle_encoding: its encoding; None finds it out.
        font: draws the subtitles: a font file, or the name of a family on the worker; None leaves
            it to the text.
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
    background_color: str = DEFAULT_BACKGROUND
    quality: Quality = "normal"
    subtitle_encoding: str | None = None
    font: Path | str | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and its narration, to become one video.

    Args:
        name: unique in its job and safe as a file name.
        image: picture file.
        audio: narration file.
        seconds: length of the narration; the video is as long.
        options: how it is rendered.
        warnings: what was noticed in its files, each with the file and its line.
        missing: characters of its subtitles that no font of this machine has; there is a warning.
        font_missing: whether this machine has no font of the name that it asks for; likewise.
    """

    name: str
    image: Path
    audio: Path
    seconds: float
    options: VideoOptions = VideoOptions()
    warnings: tuple[str, ...] = ()
    missing: str = ""
    font_missing: bool = False


@dataclass(frozen=True, slots=True)
class Distribution:
    """How scenes are spread over workers.

    Args:
        scenes_per_batch: the usual number of scenes per worker.
        max_parallel_instances: the maximum number of workers at once.
        min_scenes_per_batch: a worker for fewer scenes than this is not worth its start.
        launches_per_wave: with a pause, the number of workers that start together.
        launch_pause: seconds between two waves of launches; 0 for no waves.
    """

    scenes_per_batch: int = 10
    max_parallel_instances: int = 10
    min_scenes_per_batch: int = 5
    launches_per_wave: int = 5
    launch_pause: float = 0.0

    def last_launch(self, workers: int) -> float:
        """Return the seconds after which the last of so many workers starts."""
        return max(0, workers - 1) // self.launches_per_wave * self.launch_pause


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop waiting.

    Args:
        scene_timeout: seconds for one attempt at one scene; None for as long as each may need.
        health_timeout: seconds from a worker's creation to its first healthy answer.
        attempts: of one scene, on different workers where there are any.
        max_cost_usd: most that the run may cost, in USD; None for no limit.
        on_max_cost: ``finish`` what is being rendered and download it, or ``cancel`` it.
        max_cost_usd_month: most that all runs of this machine may cost in a calendar month (UTC),
            in USD; None for no limit.
    """

    scene_timeout: float | None = None
    health_timeout: float = 180.0
    attempts: int = 3
    max_cost_usd: float | None = None
    on_max_cost: WhenDear = "finish"
    max_cost_usd_month: float | None = None


@dataclass(frozen=True, slots=True)
class Hooks:
    """What is called when a run has ended: for each, a command or a URL; None for nothing.

    Args:
        done: every scene has its video.
        failed: not every scene has.
        budget: it was stopped at a cost limit.
        left_running: something could not be verified as gone.
        timeout: seconds for a command, or for each request to a URL.
    """

    done: str | None = None
    failed: str | None = None
    budget: str | None = None
    left_running: str | None = None
    timeout: float = 30.0

    def is_url(self, name: str) -> bool:
        """Whether a hook, by its name, is a URL, not a command."""
        return str(getattr(self, name)).startswith(("https://", "http://"))


@dataclass(frozen=True, slots=True)
class Job:
    """What the user asked for: a validated scenes.yaml, or another source of scenes.

    Args:
        name: names the run in the report and in the tags of its stacks.
        source: the file or folder it was read from; a name to show if there is none.
        target: name of the target on which its workers run, see ``cloudburst.targets``.
        output: folder below which each run makes its own.
        settings: by target name, what is asked of that target, see ``TargetType.settings``.
        auto_terminate: workers end when their work is done; otherwise they are kept for a person.
        shrink_pictures: rented workers get pictures no larger than their videos need.
        warnings: what was noticed while reading, such as files that do not pair and subtitles that
            were repaired; a line each.
        unused: those of them that name a file which is in no scene.
        document: for a job of values, not of a file: a scenes.yaml with absolute paths, which each
            run keeps in its folder.
        hooks: what is called when a run has ended.
        places: of limits that were set, and of what was asked of AWS, by their field: the file, or
            what else, and the line.
    """

    name: str
    source: Path
    scenes: tuple[Scene, ...]
    output: Path
    target: str = "local"
    distribution: Distribution = Distribution()
    limits: Limits = Limits()
    settings: Mapping[str, Any] = field(default_factory=dict)
    auto_terminate: bool = True
    shrink_pictures: bool = True
    warnings: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    document: Mapping[str, Any] | None = None
    hooks: Hooks = Hooks()
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def place(self, field: str) -> tuple[str, int]:
        """Return where a field was set: the file as the user named it, and the line or 0."""
        return self.places.get(field, (str(self.source), 0))


@dataclass(frozen=True, slots=True)
class Batch:
    """The scenes one worker starts with; one batch is one stack.

    Args:
        number: 1-based, part of the stack's name.
        scenes: longest narration first, the order in which they are rendered.
        target: name of the target on which its worker is created.
    """

    number: int
    scenes: tuple[Scene, ...]
    target: str = "local"

    @property
    def label(self) -> str:
        """Short name for people and file names, such as ``b01``."""
        return batch_label(self.number)

    @property
    def seconds(self) -> float:
        """Narration in the batch, in seconds."""
        return sum(scene.seconds for scene in self.scenes)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which scenes go to which batch.

    Args:
        job: what was planned.
        batches: one for each worker.
        samples: how long workers of earlier runs took.
    """

    job: Job
    batches: tuple[Batch, ...]
    samples: tuple[RenderSample, ...] = field(default=(), compare=False, repr=False)

    def batches_on(self, target: str) -> tuple[Batch, ...]:
        """Return the batches that run on a target."""
        return tuple(batch for batch in self.batches if batch.target == target)

    def _repr_html_(self) -> str:
        return plan_html(self)
