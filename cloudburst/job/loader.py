"""scenes.yaml → Job. Everything that is wrong with a file is found in one reading."""

from __future__ import annotations

import ipaddress
import os
import re
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from cloudburst import environment as dotenv
from cloudburst import media
from cloudburst.errors import BadInput
from cloudburst.job import yamltree
from cloudburst.job.schema import (
    MAX_PROBLEMS,
    AwsSection,
    JobSection,
    SceneSection,
    show,
    validate,
    validate_aws,
)
from cloudburst.models import (
    AwsSettings,
    Distribution,
    Job,
    Limits,
    Problem,
    Scene,
    VideoOptions,
)
from cloudburst.videoapi import subtitles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudburst.models import TargetName

MAX_PICTURE_BYTES = 64 * 1024**2
MAX_AUDIO_BYTES = 256 * 1024**2
MAX_SUBTITLE_BYTES = subtitles.MAX_BYTES

# The container image and the AMI have to be pulled and booted on a machine that is rented.
HEALTH_TIMEOUT = {"local": 180.0, "aws": 600.0}
# docs/aws.md: the size of the snapshot behind Amazon's machine image.
_AMI_GB = 30

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
# Control characters, lone surrogates, line and paragraph separators: what would act, not be read.
_HIDDEN = {"Cc", "Cs", "Zl", "Zp"}
_MAX_FIELD = 200
_MAX_MESSAGE = 5000
_FILE_FIELDS = ("image", "audio", "subtitle", "watermark")


class _Probe(NamedTuple):
    """What one referenced file turned out to be."""

    error: str | None = None
    seconds: float = 0.0


def load_job(
    path: str | Path,
    *,
    output: str | Path | None = None,
    target: TargetName | None = None,
    max_cost_usd: float | None = None,
) -> Job:
    """Read and check a job file; nothing is started.

    Settings of AWS that the file leaves open come from the environment, or from ``.env`` in the
    current folder: ``AWS_REGION``, ``AWS_INSTANCE_TYPE``, ``AWS_SUBNET_ID``,
    ``AWS_SECURITY_GROUP_ID``, ``AWS_KEY_PAIR_NAME``, ``DOCKER_IMAGE``.

    Args:
        path: scenes.yaml.
        output: folder for results; wins over the file's ``output.directory``, which wins over
            the environment's ``RESULTS_DIR``, which wins over ``./cloudburst_results``.
        target: wins over the file's.
        max_cost_usd: USD; wins over the file's ``limits.max_cost_usd``.

    Returns:
        The job, every file in it opened once and every narration measured.

    Raises:
        BadInput: with everything that is wrong, each as ``file:line: field: message``.
    """
    shown = str(path)
    source = Path(path)
    tree = _read(source, shown)
    section, shape = validate(tree.value)
    found = list(shape)
    if not isinstance(tree.value, dict):
        found = [((), f"got {show(tree.value)}; expected a mapping with version: 1 and scenes:")]
    found += [(place, "this key came before; each key once") for place, _ in tree.duplicates]
    raw = tree.value if isinstance(tree.value, dict) else {}
    probes = _probe_files(raw, source.parent)
    found += list(_file_problems(raw, probes, source))
    found += list(_name_problems(raw, tree))
    environment = dotenv.environment()
    folder = _output_folder(section, source, output, environment)
    found += list(_output_problems(folder))
    if section is not None:
        found += [*_aws_problems(section), *_network_problems(section)]
    if found or section is None:
        raise BadInput(_problems(found, tree, shown))
    if max_cost_usd is not None and not max_cost_usd > 0:
        words = f"got {max_cost_usd:g}; expected more than 0"
        raise BadInput([Problem("--max-cost-usd", 0, "", words)])
    chosen = target or section.target
    if chosen == "aws" and (wrong := _variable_problems(environment)):
        raise BadInput(wrong)
    job = _build(section, source, folder, probes, chosen)
    limits = job.limits
    if max_cost_usd is not None:
        limits = replace(limits, max_cost_usd=max_cost_usd)
    return replace(job, limits=limits, aws=aws_settings(section.aws, environment))


def _read(source: Path, shown: str) -> yamltree.Tree:
    def refuse(message: str, line: int = 0) -> BadInput:
        return BadInput([Problem(shown, line, "", _one_line(message))])

    try:
        if source.is_dir():
            raise refuse("this is a folder; expected a scenes.yaml")
        size = source.stat().st_size
        if size > yamltree.MAX_BYTES:
            raise refuse(f"{size} bytes; expected at most {yamltree.MAX_BYTES}")
        text = source.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise refuse("file not found; expected a scenes.yaml") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise refuse("not UTF-8; save the file as UTF-8", line) from error
    except (OSError, ValueError) as error:
        raise refuse(f"cannot be read: {_why(error)}") from error
    if not text.strip():
        raise refuse("the file is empty; expected version: 1 and scenes:")
    try:
        return yamltree.parse(text)
    except yamltree.YamlError as error:
        raise refuse(str(error), error.line) from error


def _problems(
    found: list[tuple[yamltree.Path, str]], tree: yamltree.Tree, shown: str
) -> list[Problem]:
    """Put what is wrong in the order of the file, each with its line; not more than can be read."""
    duplicate_lines = dict(tree.duplicates)
    lined = sorted(
        (
            (duplicate_lines.get(place, tree.line(place)), place, message)
            for place, message in found
        ),
        key=lambda one: one[0],
    )
    problems = list(
        dict.fromkeys(
            Problem(shown, line, _dotted(place), _one_line(message))
            for line, place, message in lined[:MAX_PROBLEMS]
        )
    )
    if len(lined) > MAX_PROBLEMS:
        words = f"these are the first {MAX_PROBLEMS} problems; there are more"
        problems.append(Problem(shown, 0, "", words))
    return problems


def _dotted(place: yamltree.Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return _one_line(text.removeprefix("."), _MAX_FIELD)


def _one_line(text: str, most: int = _MAX_MESSAGE) -> str:
    """Make what a file says fit to be shown: nothing that acts on a terminal, nothing endless."""
    if len(text) > most:
        text = f"{text[: most // 2]}…{text[-most // 2 :]}"
    return "".join(
        char if unicodedata.category(char) not in _HIDDEN else ascii(char)[1:-1] for char in text
    )


# -- files --------------------------------------------------------------------------------------


def _references(raw: dict[str, object]) -> Iterator[tuple[yamltree.Path, str, str]]:
    """Every file the document names, as (path of the value, field, text)."""
    defaults = raw.get("defaults")
    if isinstance(defaults, dict) and isinstance(defaults.get("watermark"), str):
        yield ("defaults", "watermark"), "watermark", defaults["watermark"]
    scenes = raw.get("scenes")
    for index, scene in enumerate(scenes if isinstance(scenes, list) else []):
        for field in _FILE_FIELDS:
            if isinstance(scene, dict) and isinstance(scene.get(field), str):
                yield ("scenes", index, field), field, scene[field]


def _probe_files(raw: dict[str, object], folder: Path) -> dict[tuple[str, str], _Probe]:
    """Open every file once, however many scenes share it; decoders release the interpreter."""
    wanted = sorted({(field, text) for _, field, text in _references(raw)})
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda item: _probe(item[0], folder, item[1]), wanted)
        return dict(zip(wanted, results, strict=True))


def _probe(field: str, folder: Path, text: str) -> _Probe:
    if not text or any(unicodedata.category(char) == "Cc" for char in text):
        return _Probe()  # the shape's own error says it
    path = folder / text
    try:
        problem = _no_file(path, text)
        return _Probe(problem) if problem else _CHECKS[field](path)
    except (media.MediaError, subtitles.SubtitleError) as error:
        return _Probe(f"{text}: {error}; expected {_KINDS[field]}")
    except OSError as error:
        return _Probe(f"{text} cannot be read: {_why(error)}")
    except Exception as error:  # noqa: BLE001 - what decoders raise at damaged files is theirs
        return _Probe(f"{text}: damaged ({error}); expected {_KINDS[field]}")


def _no_file(path: Path, text: str) -> str | None:
    if path.is_dir():
        return f"{text} is a folder; expected a file"
    if not path.exists():
        return f"file not found: {text} (paths are relative to {{file}})"
    if not path.is_file():
        return f"{text} is not a regular file"
    if path.stat().st_size == 0:
        raise media.MediaError("the file is empty")
    return None


def _check_picture(path: Path) -> _Probe:
    _check_size(path, MAX_PICTURE_BYTES)
    media.check_picture_size(*media.picture_size(path))
    return _Probe()


def _check_audio(path: Path) -> _Probe:
    _check_size(path, MAX_AUDIO_BYTES)
    return _Probe(seconds=media.checked_audio_seconds(path))


def _check_subtitle(path: Path) -> _Probe:
    _check_size(path, MAX_SUBTITLE_BYTES)
    subtitles.parse(path.read_bytes())
    return _Probe()


def _check_size(path: Path, most: int) -> None:
    size = path.stat().st_size
    if size > most:
        raise media.MediaError(f"{size / 1024**2:.0f} MB, more than {most // 1024**2} MB")


_CHECKS = {
    "image": _check_picture,
    "audio": _check_audio,
    "subtitle": _check_subtitle,
    "watermark": _check_picture,
}
_KINDS = {
    "image": "a picture (PNG, JPEG, WebP …)",
    "audio": "a sound file (WAV, MP3, M4A …)",
    "subtitle": "an SRT file",
    "watermark": "a picture (PNG with alpha is best)",
}


def _file_problems(
    raw: dict[str, object], probes: dict[tuple[str, str], _Probe], source: Path
) -> Iterator[tuple[yamltree.Path, str]]:
    for place, field, text in _references(raw):
        error = probes[field, text].error
        if error:
            yield place, error.replace("{file}", source.name)


# -- names --------------------------------------------------------------------------------------


def _name_problems(
    raw: dict[str, object], tree: yamltree.Tree
) -> Iterator[tuple[yamltree.Path, str]]:
    scenes = raw.get("scenes")
    seen: dict[str, int] = {}
    for index, scene in enumerate(scenes if isinstance(scenes, list) else []):
        name = scene.get("name") if isinstance(scene, dict) else None
        if not isinstance(name, str) or not name:
            continue
        place = ("scenes", index, "name")
        problem = unsafe_name(name)
        if problem:
            yield place, f"got {show(name)}; {problem}"
        # Some file systems fold case and Unicode forms: two such names would be one file.
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in seen:
            first = tree.line(("scenes", seen[folded], "name"))
            yield place, f"{show(name)} is also the scene's name in line {first}; names differ"
        seen.setdefault(folded, index)


def unsafe_name(name: str) -> str | None:
    """Say why a scene's name cannot name a file on every system, or None if it can."""
    if not re.fullmatch(r"[\w][\w .,+()'-]*", name):
        return "expected letters, digits, space and . , + - _ ( ) ', beginning with a letter or _"
    if name[-1] in ". ":
        return "expected a name that does not end in a dot or a space"
    if _RESERVED.fullmatch(name):
        return "expected a name that Windows does not reserve"
    if len(name.encode()) > 200:  # noqa: PLR2004 - 255 is the limit of a file name, with .mp4.part
        return "expected at most 200 bytes"
    return None


# -- output -------------------------------------------------------------------------------------


def _output_folder(
    section: JobSection | None,
    source: Path,
    output: str | Path | None,
    environment: Mapping[str, str],
) -> Path:
    if output is not None:
        return Path(output)
    if section is not None and section.output.directory is not None:
        return source.parent / section.output.directory
    return Path(environment.get("RESULTS_DIR") or "cloudburst_results")


def _output_problems(folder: Path) -> Iterator[tuple[yamltree.Path, str]]:
    place = ("output", "directory")
    existing = folder
    try:
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        if not existing.is_dir():
            yield place, f"{existing} is a file; expected a folder or a path that can become one"
        elif not os.access(existing, os.W_OK | os.X_OK):
            yield place, f"{existing} is not writable; expected a folder for results"
    except OSError as error:
        yield place, f"{folder} cannot be used: {_why(error)}"


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


# -- aws ----------------------------------------------------------------------------------------


# The original's names in the environment and in .env, and the field each one fills.
_VARIABLES = {
    "AWS_REGION": "regions",
    "AWS_INSTANCE_TYPE": "instance_types",
    "AWS_SUBNET_ID": "subnet",
    "AWS_SECURITY_GROUP_ID": "security_group",
    "AWS_KEY_PAIR_NAME": "key_name",
    "DOCKER_IMAGE": "image",
}
_LISTS = {"regions", "instance_types"}


def _variable_problems(environment: Mapping[str, str]) -> list[Problem]:
    """Check what the environment says of AWS as the file is checked."""
    given = {field: name for name, field in _VARIABLES.items() if environment.get(name)}
    values: dict[str, object] = {
        field: [environment[name]] if field in _LISTS else environment[name]
        for field, name in given.items()
    }
    return [
        Problem("environment", 0, given[field], message)
        for field, message in validate_aws(values).items()
    ]


def _aws_problems(section: JobSection) -> Iterator[tuple[yamltree.Path, str]]:
    aws = section.aws
    for field in ("order", "markets", "regions", "zones", "instance_types"):
        values = getattr(aws, field) or []
        if len(set(values)) < len(values):
            yield ("aws", field), f"got {', '.join(values)}; expected each one once"
    if aws.ami is None and aws.disk_gb < _AMI_GB:
        yield (
            ("aws", "disk_gb"),
            f"got {aws.disk_gb}; expected {_AMI_GB} or more, the size of Amazon's machine image",
        )
    if aws.subnet is not None and aws.regions is not None and len(aws.regions) > 1:
        yield (
            ("aws", "subnet"),
            f"got a subnet and {len(aws.regions)} regions; expected one: a subnet stands in one",
        )


def _network_problems(section: JobSection) -> Iterator[tuple[yamltree.Path, str]]:
    aws = section.aws
    try:
        ipaddress.IPv4Network(aws.ingress or "0.0.0.0/0")
    except ValueError as error:
        yield ("aws", "ingress"), f"got {aws.ingress}; {error}; expected such as 203.0.113.7/32"
    for index, zone in enumerate(aws.zones):
        if aws.regions is not None and zone[:-1] not in aws.regions:
            yield (
                ("aws", "zones", index),
                f"got {zone}; expected a zone of {', '.join(aws.regions)}",
            )


def aws_settings(
    section: AwsSection | None = None, environment: Mapping[str, str] | None = None
) -> AwsSettings:
    """Fill what a file leaves open from the environment, under the original's names.

    Args:
        section: what the file says; None without a file.
        environment: variables; None for this process's, with `.env` under them.
    """
    section = AwsSection() if section is None else section
    environment = dotenv.environment() if environment is None else environment
    default = AwsSettings()
    first = environment.get("AWS_INSTANCE_TYPE")
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    types = default.instance_types
    if first:
        types = (first, *(kind for kind in types if kind != first))
    return AwsSettings(
        regions=tuple(section.regions or ([region] if region else [])),
        markets=tuple(section.markets),
        instance_types=tuple(section.instance_types or types),
        zones=tuple(section.zones),
        order=tuple(section.order),
        image=section.image or environment.get("DOCKER_IMAGE") or default.image,
        ami=section.ami,
        disk_gb=section.disk_gb,
        ingress=section.ingress,
        subnet=section.subnet or environment.get("AWS_SUBNET_ID") or None,
        security_group=section.security_group or environment.get("AWS_SECURITY_GROUP_ID") or None,
        key_name=section.key_name or environment.get("AWS_KEY_PAIR_NAME") or None,
        lease_minutes=section.lease_minutes,
        price_per_hour=tuple(section.price_per_hour.items()),
    )


# -- values -------------------------------------------------------------------------------------


def _build(
    section: JobSection,
    source: Path,
    folder: Path,
    probes: dict[tuple[str, str], _Probe],
    target: TargetName,
) -> Job:
    base = source.parent.resolve()
    defaults = _options(section.defaults.model_dump(exclude_unset=True), base, VideoOptions())
    scenes = tuple(_scene(scene, base, defaults, probes) for scene in section.scenes)
    limits = section.limits.model_dump(exclude_none=True)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", source.stem).strip("-_") or "job"
    return Job(
        name=section.name or stem[:40],
        source=source.resolve(),
        scenes=scenes,
        output=folder.resolve(),
        target=target,
        distribution=Distribution(**section.distribution.model_dump()),
        limits=Limits(**{"health_timeout": HEALTH_TIMEOUT[target]} | limits),
        auto_terminate=section.auto_terminate,
    )


def _scene(
    section: SceneSection,
    base: Path,
    defaults: VideoOptions,
    probes: dict[tuple[str, str], _Probe],
) -> Scene:
    chosen = section.model_dump(exclude_unset=True, exclude={"name", "image", "audio"})
    return Scene(
        name=section.name,
        image=base / section.image,
        audio=base / section.audio,
        seconds=probes["audio", section.audio].seconds,
        options=_options(chosen, base, defaults),
    )


def _options(chosen: dict[str, object], base: Path, under: VideoOptions) -> VideoOptions:
    """Lay the keys that were written over the ones below; a written null wins too."""
    values = dict(chosen)
    for field in ("watermark", "subtitle"):
        if isinstance(values.get(field), str):
            values[field] = base / cast("str", values[field])
    if "effects" in values:
        values["effects"] = tuple(cast("list[str]", values["effects"]))
    return replace(under, **values)  # type: ignore[arg-type]  # the schema has checked the types
