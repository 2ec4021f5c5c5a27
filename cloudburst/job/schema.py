"""The shape of scenes.yaml, as pydantic models.

Shape only: whether files exist and names are unique is checked by `cloudburst.job.loader`. The JSON
Schema that editors use is made from the same models, so the two cannot differ.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from functools import cache
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    Union,
    cast,
    get_args,
    get_origin,
)

from pydantic import BaseModel, Field, StringConstraints, ValidationError, create_model

from cloudburst import targets
from cloudburst.job.tree import ANY_KEY
from cloudburst.language import later
from cloudburst.media import BACKGROUND
from cloudburst.models import DEFAULT_BACKGROUND, Effect, Language, Quality, WhenDear
from cloudburst.section import Section, problems

if TYPE_CHECKING:
    from cloudburst.job.tree import Shape
    from cloudburst.targets.base import TargetType

_PATH = r"^[^\x00-\x1f\x7f]+$"
_COLOR = r"^&H[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?&?$"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"

# Keys of the whole file that begin so are the user's own: a place for anchors.
OWN_KEYS = "x-"

# Seconds.
MAX_SCENE_TIMEOUT = 86400
MAX_HEALTH_TIMEOUT = 3600

FilePath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=4096, pattern=_PATH),
    Field(description="A file; relative paths start at the folder of this file."),
]
Font = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=_PATH)]
Hook = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=_PATH)]
Background = Annotated[str, StringConstraints(pattern=BACKGROUND)]
Encoding = Annotated[str, StringConstraints(min_length=1, max_length=40)]
Color = Annotated[str, StringConstraints(pattern=_COLOR)]

# Keys of the original tool's scenes, and of its successor's.
SCENE_ALIASES: Mapping[str, str] = {
    "scene_name": "name",
    "input_image": "image",
    "image_path": "image",
    "input_audio": "audio",
    "audio_path": "audio",
    "subtitle_path": "subtitle",
}


class _JobPart(Section):
    former_keys: ClassVar[Mapping[str, str]] = {
        **SCENE_ALIASES,
        "picture": "image",
        "narration": "audio",
        "subtitles": "subtitle",
        "srt": "subtitle",
        "encoding": "subtitle_encoding",
        "font_family": "font",
        "font_name": "font",
        "font_file": "font",
        "fontname": "font",
        "effect": "effects",
        "portrait": "is_portrait",
        "enable_zoom": "effects",
        "saving_dir": "directory",
        "max_workers": "max_parallel_instances",
        "timeout": "scene_timeout",
        "max_cost": "max_cost_usd",
        "budget": "max_cost_usd",
        "max_cost_month": "max_cost_usd_month",
        "hooks": "on",
    }
    patterns: ClassVar[Mapping[str, str]] = {
        _PATH: later(
            "a path without control characters (in double quotes, \\n and the like stand for one: "
            "write / instead of \\)"
        ),
        _COLOR: later("an ASS colour such as &H00000000 (&HAABBGGRR)"),
        BACKGROUND: later('a colour such as white or "#F0F0F0", in quotes'),
        _NAME: later("letters, digits, - and _, beginning with a letter or digit"),
    }


def _health_timeouts() -> str:
    """Return the targets' defaults: the first one's, then the others' by name."""
    first, *others = targets.REGISTRY.values()
    named = "".join(f", and {other.health_timeout:g} on {other.name}" for other in others)
    return f"{first.health_timeout:g}{named}"


class OptionsSection(_JobPart):
    """Options of the video API; a scene's own win over `defaults`."""

    language: Language = Field(default="chinese", description="Language of the subtitles.")
    effects: list[Effect] = Field(
        default=[], max_length=5, description="Camera motion; of several, one at random."
    )
    background_box: bool = Field(default=True, description="Draw a box behind the subtitles.")
    background_opacity: float = Field(
        default=0.2, ge=0, le=1, description="Transparency of the box: 0 is solid, 1 is clear."
    )
    font_size: int | None = Field(
        default=None,
        ge=8,
        le=400,
        description="Subtitle size in output pixels; null: 1/18 of the shorter side.",
    )
    outline_color: Color = Field(default="&H00000000", description="Outline, as ASS &HAABBGGRR.")
    is_portrait: bool | None = Field(
        default=None, description="true: 1080x1920; false: 1920x1080; null: from the picture."
    )
    background_color: Background = Field(
        default=DEFAULT_BACKGROUND,
        description='Behind transparent parts and beside the picture: "#RRGGBB" or a name.',
    )
    watermark: FilePath | None = Field(
        default=None, description="Picture drawn in the top left corner."
    )
    quality: Quality = Field(
        default="normal", description="Quality of the picture, against the size of the video."
    )
    subtitle_encoding: Encoding | None = Field(
        default=None,
        description="Encoding of subtitle files, such as windows-1252; null: found out.",
    )
    font: Font | None = Field(
        default=None,
        description="Font of the subtitles: a family, or a .ttf, .otf or .ttc file; null: by text.",
    )


class SceneSection(OptionsSection):
    """One video: a picture, its narration and, if wanted, subtitles."""

    name: str = Field(min_length=1, max_length=1000, description="Names the video file.")
    image: FilePath
    audio: FilePath
    subtitle: FilePath | None = Field(default=None, description="SRT, WebVTT, ASS or LRC file.")


class DistributionSection(_JobPart):
    """How scenes are spread over workers."""

    scenes_per_batch: int = Field(default=10, ge=1, le=1000)
    max_parallel_instances: int = Field(default=10, ge=1, le=100)
    min_scenes_per_batch: int = Field(default=5, ge=1, le=1000)
    launches_per_wave: int = Field(
        default=5, ge=1, le=100, description="With launch_pause: workers that start together."
    )
    launch_pause: float = Field(
        default=0,
        ge=0,
        le=3600,
        description="Seconds between waves of launches, to spare a cloud account; 0: no waves.",
    )


class LimitsSection(_JobPart):
    """When to stop waiting."""

    scene_timeout: float | None = Field(
        default=None,
        ge=1,
        le=MAX_SCENE_TIMEOUT,
        description="Seconds per attempt; null: three times the likely length, at least 600.",
    )
    health_timeout: float | None = Field(
        default=None,
        ge=1,
        le=MAX_HEALTH_TIMEOUT,
        description=f"Seconds for a worker to start; null: {_health_timeouts()}.",
    )
    attempts: int = Field(default=3, ge=1, le=10, description="Attempts at each scene.")
    max_cost_usd: float | None = Field(
        default=None, gt=0, le=100_000, description="Cost limit of a run, in USD."
    )
    max_cost_usd_month: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000,
        description="Cost limit of all runs of this machine in a calendar month (UTC), in USD.",
    )
    on_max_cost: WhenDear = Field(
        default="finish", description="At that limit: finish scenes in progress, or cancel them."
    )


class OutputSection(_JobPart):
    """Where videos go."""

    directory: FilePath | None = Field(
        default=None, description="Results; each run creates a folder of its own in it."
    )


class HooksSection(_JobPart):
    """What is called when a run has ended: a command, or a URL; it gets the report."""

    done: Hook | None = Field(default=None, description="Every scene has its video.")
    failed: Hook | None = Field(default=None, description="Not every scene has its video.")
    budget: Hook | None = Field(default=None, description="It was stopped at a cost limit.")
    left_running: Hook | None = Field(
        default=None, description="Something could not be verified as gone."
    )
    timeout: float = Field(
        default=30, ge=1, le=600, description="Seconds for a command, or each request to a URL."
    )


class JobSection(_JobPart):
    """A CloudBurst job: scenes that become videos."""

    version: Literal[1] = Field(description="Version of this format.")
    name: str | None = Field(
        default=None,
        max_length=40,
        pattern=_NAME,
        description="Names the run; default: this file's name.",
    )
    target: str = Field(default="local", description="Where workers run: this machine, or EC2.")
    defaults: OptionsSection = OptionsSection()
    scenes: list[SceneSection] = Field(min_length=1, max_length=10_000)
    distribution: DistributionSection = DistributionSection()
    limits: LimitsSection = LimitsSection()
    auto_terminate: bool = Field(
        default=True, description="false: workers stay for an hour, for manual downloads."
    )
    shrink_pictures: bool = Field(
        default=True,
        description="false: rented workers get pictures as they are, not as small as videos need.",
    )
    output: OutputSection = OutputSection()
    on: HooksSection = HooksSection()

    def section_of(self, target: str) -> Section | None:
        """Return a target's own section; None for a target that has none."""
        section: Section | None = getattr(self, target, None)
        return section


def document() -> type[JobSection]:
    """Return the model of a whole file: with the targets' names, and a section for each."""
    return _document(tuple(targets.REGISTRY.items()))


@cache
def _document(registered: tuple[tuple[str, TargetType], ...]) -> type[JobSection]:
    own = {name: kind.section for name, kind in registered}
    fields: dict[str, Any] = {
        name: (section, section()) for name, section in own.items() if section is not None
    }
    fields["target"] = (Literal[targets.names()], JobSection.model_fields["target"])
    return create_model("JobSection", __base__=JobSection, __doc__=JobSection.__doc__, **fields)


def text_shape() -> Shape:
    """Return where a document has text, see `cloudburst.job.tree.resolved`."""
    return _shape(document())


@cache
def _shape(annotation: Any) -> Shape:
    """Return where a value of a type has text; a type with both text and numbers has none."""
    if annotation is str:
        return str
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        types_of = {name: field.annotation for name, field in annotation.model_fields.items()}
        return {name: _shape(cast("Any", kind)) for name, kind in types_of.items()}
    kind, members = get_origin(annotation), get_args(annotation)
    if kind is Literal:
        return str if all(isinstance(member, str) for member in members) else None
    if kind in (Annotated, Union, types.UnionType):
        of_types = members[:1] if kind is Annotated else members
        shapes = [_shape(member) for member in of_types if member is not type(None)]
        return shapes[0] if shapes and None not in shapes else None
    if kind is list:
        return [_shape(members[0])]
    return {ANY_KEY: _shape(members[1])} if kind is dict else None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of scenes.yaml."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "CloudBurst scenes.yaml",
        "patternProperties": {f"^{OWN_KEYS}": {}},
    } | document().model_json_schema()


def validate(value: object) -> tuple[JobSection | None, list[tuple[tuple[str | int, ...], str]]]:
    """Check a document's shape.

    Returns:
        The job section, or None, and what is wrong, see `cloudburst.section.problems`.
    """
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if not key.startswith(OWN_KEYS)}
    try:
        return document().model_validate(value), []
    except ValidationError as error:
        return None, list(problems(document(), value, error))
