"""The shape of scenes.yaml. The only module that imports pydantic.

Shape only: that files exist and names do not clash is `cloudburst.job.loader`'s to say. The
JSON Schema that editors use comes out of the same models, so the two cannot differ.
"""

from __future__ import annotations

import difflib
import reprlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from cloudburst.models import Axis, Effect, Language, Market, TargetName, WhenDear

# What users of the original tool will type first.
_FORMER = {
    "scene_name": "name",
    "input_image": "image",
    "picture": "image",
    "input_audio": "audio",
    "narration": "audio",
    "subtitles": "subtitle",
    "srt": "subtitle",
    "effect": "effects",
    "portrait": "is_portrait",
    "enable_zoom": "effects",
    "saving_dir": "directory",
    "max_workers": "max_parallel_instances",
    "timeout": "scene_timeout",
    "region": "regions",
    "instance_type": "instance_types",
    "market": "markets",
    "zone": "zones",
    "availability_zones": "zones",
    "docker_image": "image",
    "max_cost": "max_cost_usd",
    "budget": "max_cost_usd",
}

# Nobody mends more at once; a file of a few kB can be wrong in a million places, by its aliases.
MAX_PROBLEMS = 1000

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60

FilePath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]+$"),
    Field(description="A file; relative paths start at the folder of this file."),
]
Color = Annotated[str, StringConstraints(pattern=r"^&H[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?&?$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class OptionsSection(_Section):
    """Options of the video API; a scene's own win over `defaults`."""

    language: Language = Field(default="chinese", description="Language of the subtitles.")
    effects: list[Effect] = Field(
        default=[], max_length=5, description="Camera motion; of several, one is chosen."
    )
    background_box: bool = Field(default=True, description="Draw a box behind the subtitles.")
    background_opacity: float = Field(
        default=0.2, ge=0, le=1, description="Transparency of the box: 0 is solid, 1 is clear."
    )
    font_size: int | None = Field(
        default=None,
        ge=8,
        le=400,
        description="Subtitle size in output pixels; null: by the height.",
    )
    outline_color: Color = Field(default="&H00000000", description="Outline, as ASS &HAABBGGRR.")
    is_portrait: bool | None = Field(
        default=None, description="1080x1920 if true, 1920x1080 if false; null: as the picture is."
    )
    watermark: FilePath | None = Field(
        default=None, description="Picture drawn in the top left corner."
    )


class SceneSection(OptionsSection):
    """One video: a picture, its narration and, if wanted, subtitles."""

    name: str = Field(min_length=1, max_length=100, description="Names the video file.")
    image: FilePath
    audio: FilePath
    subtitle: FilePath | None = Field(default=None, description="SRT file.")


class DistributionSection(_Section):
    """How scenes are spread over workers."""

    scenes_per_batch: int = Field(default=10, ge=1, le=1000)
    max_parallel_instances: int = Field(default=10, ge=1, le=100)
    min_scenes_per_batch: int = Field(default=5, ge=1, le=1000)


class LimitsSection(_Section):
    """When to stop waiting."""

    scene_timeout: float = Field(default=600, ge=1, le=86400, description="Seconds for one try.")
    health_timeout: float | None = Field(
        default=None,
        ge=1,
        le=3600,
        description="Seconds for a worker to start; null: 180, and 600 on aws.",
    )
    attempts: int = Field(default=3, ge=1, le=10, description="Tries of one scene.")
    max_cost_usd: float | None = Field(
        default=None, gt=0, le=100_000, description="Most that a run may cost, in USD."
    )
    on_max_cost: WhenDear = Field(
        default="finish", description="What renders then: finish it and download it, or cancel it."
    )


Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
Zone = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d[a-z]$")]
InstanceType = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$")]


def _identifier(prefix: str) -> Any:
    return Annotated[str, StringConstraints(pattern=rf"^{prefix}-[0-9a-f]{{8,17}}$")]


class AwsSection(_Section):
    """Machines on EC2, for `target: aws`. Lists hold the first choice first."""

    regions: list[Region] | None = Field(
        default=None, min_length=1, max_length=10, description="Default: AWS_REGION, the profile's."
    )
    markets: list[Market] = Field(
        default=["on-demand"],
        min_length=1,
        max_length=2,
        description="[spot, on-demand] tries spot first.",
    )
    instance_types: list[InstanceType] | None = Field(
        default=None, min_length=1, max_length=20, description="Default: c5.2xlarge, m5.xlarge, …"
    )
    zones: list[Zone] = Field(default=[], max_length=20, description="Default: all with the type.")
    order: list[Axis] = Field(
        default=["region", "market", "type", "zone"],
        min_length=4,
        max_length=4,
        description="Failover order: the last one changes with every try, the first one last.",
    )
    image: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9._/:-]*(:[A-Za-z0-9_.-]+)?(@sha256:[0-9a-f]{64})?$",
        max_length=300,
        description="Container image of the video API; name@sha256:… pins it.",
    )
    ami: _identifier("ami") | None = Field(  # type: ignore[valid-type]
        default=None, description="Machine image with cloud-init; default: Amazon's, with Docker."
    )
    disk_gb: int = Field(default=30, ge=8, le=1000, description="Encrypted gp3 root disk, in GB.")
    ingress: str | None = Field(
        default=None,
        pattern=r"^(\d{1,3}\.){3}\d{1,3}/(3[0-2]|[12]?\d)$",
        description="Who may reach the workers, as CIDR block; default: this machine alone.",
    )
    subnet: _identifier("subnet") | None = Field(  # type: ignore[valid-type]
        default=None, description="Default: the default VPC's."
    )
    security_group: _identifier("sg") | None = Field(  # type: ignore[valid-type]
        default=None, description="Existing one; default: one is made for each stack."
    )
    key_name: str | None = Field(
        default=None, min_length=1, max_length=255, description="Existing key pair; default: none."
    )
    lease_minutes: int | None = Field(
        default=None,
        ge=5,
        le=1440,
        description="A machine ends itself after so many minutes; default: from the plan.",
    )
    price_per_hour: dict[InstanceType, Annotated[float, Field(gt=0, le=1000)]] = Field(
        default={}, description="USD by instance type; wins over the price list."
    )


class OutputSection(_Section):
    """Where videos go."""

    directory: FilePath | None = Field(
        default=None, description="Each run makes its own folder below it."
    )


class JobSection(_Section):
    """A CloudBurst job: scenes that become videos."""

    version: Literal[1] = Field(description="Version of this format.")
    name: str | None = Field(
        default=None,
        max_length=40,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        description="Names the run; default: this file's name.",
    )
    target: TargetName = Field(
        default="local", description="Where workers run: this machine, or EC2."
    )
    defaults: OptionsSection = OptionsSection()
    scenes: list[SceneSection] = Field(min_length=1, max_length=10_000)
    distribution: DistributionSection = DistributionSection()
    limits: LimitsSection = LimitsSection()
    aws: AwsSection = AwsSection()
    auto_terminate: bool = Field(
        default=True, description="false: workers stay for an hour, for a download by hand."
    )
    output: OutputSection = OutputSection()


_SECTIONS: dict[str, type[BaseModel]] = {
    "defaults": OptionsSection,
    "scenes": SceneSection,
    "distribution": DistributionSection,
    "limits": LimitsSection,
    "aws": AwsSection,
    "output": OutputSection,
}


def json_schema() -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of scenes.yaml."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "CloudBurst scenes.yaml",
    } | JobSection.model_json_schema()


def validate(value: object) -> tuple[JobSection | None, list[tuple[tuple[str | int, ...], str]]]:
    """Check a document's shape.

    Returns:
        The job section, or None, and what is wrong as (path, message) in the document's order:
        at most one more than `MAX_PROBLEMS`.
    """
    try:
        return JobSection.model_validate(value), []
    except ValidationError as error:
        problems: dict[tuple[str | int, ...], list[str]] = {}
        for detail in error.errors(include_url=False):
            path = _path(value, detail["loc"])
            if len(problems) > MAX_PROBLEMS:
                break
            message = _explain(dict(detail))
            if message not in problems.setdefault(path, []):
                problems[path].append(message)
        return None, [(path, "; ".join(messages)) for path, messages in problems.items()]


def validate_aws(values: dict[str, object]) -> dict[str, str]:
    """Check settings of AWS that come from elsewhere; give field → message for what is wrong."""
    try:
        AwsSection.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)
        return {str(detail["loc"][0]): _explain(dict(detail)) for detail in details}
    return {}


def _path(value: object, location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Keep the parts of pydantic's location that are in the document (it adds union members)."""
    path: list[str | int] = []
    for part in location:
        if isinstance(value, dict):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            break
        path.append(part)
    return tuple(path)


def _explain(detail: dict[str, Any]) -> str:
    kind, came, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "missing":
        return "missing; expected a value"
    if kind == "extra_forbidden":
        return _unknown_key(detail["loc"])
    expected = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "bool_type": "true or false",
        "string_type": "text",
        "list_type": "a list",
        "model_type": "a mapping (key: value)",
        "dict_type": "a mapping (key: value)",
        "none_required": "nothing",
        "literal_error": f"one of: {str(context.get('expected', '')).replace(' or ', ', ')}",
        "greater_than_equal": f"{context.get('ge', 0):g} or more",
        "greater_than": f"more than {context.get('gt', 0):g}",
        "less_than_equal": f"{context.get('le', 0):g} or less",
        "string_too_short": "text that is not empty",
        "string_too_long": f"at most {context.get('max_length')} characters",
        "too_short": f"at least {context.get('min_length', 1)}",
        "too_long": f"at most {context.get('max_length')}",
        "string_pattern_mismatch": _pattern_words(str(context.get("pattern"))),
    }.get(kind, detail["msg"])
    if kind == "too_long":
        return f"got {len(came)} items; expected {expected}"
    return f"got {show(came)}; expected {expected}"


_PATTERNS = {
    "^[a-z]{2}(-[a-z]+)+-\\d$": "a region such as us-east-1",
    "^[a-z]{2}(-[a-z]+)+-\\d[a-z]$": "an availability zone such as us-east-1a",
    "^[a-z][a-z0-9-]*\\.": "an instance type such as c5.2xlarge",
    "^ami-": "an AMI such as ami-0123456789abcdef0",
    "^subnet-": "a subnet such as subnet-0123456789abcdef0",
    "^sg-": "a security group such as sg-0123456789abcdef0",
    "^(\\d": "a CIDR block such as 203.0.113.7/32",
    "^[a-z0-9][a-z0-9._/:-]*(": "a container image in small letters, name:tag or name@sha256:…",
}


def _pattern_words(pattern: str) -> str:
    for beginning, words in _PATTERNS.items():
        if pattern.startswith(beginning):
            return words
    if pattern.startswith("^&H"):
        return "an ASS colour such as &H00000000 (&HAABBGGRR)"
    if pattern.startswith(r"^[^\x00"):
        return "a path without control characters"
    return "letters, digits, - and _, beginning with a letter or digit"


def _unknown_key(location: tuple[str | int, ...]) -> str:
    section = _SECTIONS.get(str(location[0]), JobSection) if len(location) > 1 else JobSection
    known = list(section.model_fields)
    key = str(location[-1])
    former = _FORMER.get(key)
    close = [former] if former in known else difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"expected one of: {', '.join(known)}"
    return f"unknown key; {hint}"


def show(value: object) -> str:
    """Show a value as a person would write it, shortened."""
    words = {True: "true", False: "false", None: "nothing"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    return _SHORT.repr(value)
