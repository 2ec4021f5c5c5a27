"""scenes.yaml → Job. Everything that is wrong with a file is reported together."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cloudburst import environment as dotenv
from cloudburst import targets
from cloudburst.errors import BadInput
from cloudburst.job import files, variables, yamltree
from cloudburst.job.schema import JobSection, SceneSection, validate
from cloudburst.models import Distribution, Job, Limits, Problem, Scene, VideoOptions
from cloudburst.section import MAX_PROBLEMS, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
# Control characters, lone surrogates, line and paragraph separators: what acts on a terminal.
_HIDDEN = {"Cc", "Cs", "Zl", "Zp"}
_MAX_FIELD = 200
_MAX_MESSAGE = 5000


def load_job(
    path: str | Path,
    *,
    output: str | Path | None = None,
    target: str | None = None,
    max_cost_usd: float | None = None,
) -> Job:
    """Read and check a job file; start nothing.

    What the file leaves open is taken from the original tool's variables, in the environment or
    in ``.env`` in the current folder; docs/operations.md lists them.

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
        TargetUnknown: there is no such target.
    """
    shown, source = str(path), Path(path)
    if target is not None:
        targets.get(target)
    tree = _read(source, shown)
    environment = dotenv.environment()
    section, shape = validate(tree.value)
    raw = tree.value if isinstance(tree.value, dict) else {}
    probes = files.probe(raw, source)
    folder = _output_folder(section, source, output, environment)
    wrong = [
        *_document_problems(tree, shape),
        *files.problems(raw, probes),
        *_name_problems(raw, tree),
        *_output_problems(folder),
        *(_section_problems(section) if section is not None else ()),
    ]
    if wrong or section is None:
        raise BadInput(_problems(wrong, tree, shown))
    if max_cost_usd is not None and not max_cost_usd > 0:
        message = f"got {max_cost_usd:g}; expected more than 0"
        raise BadInput([Problem("--max-cost-usd", 0, "", message)])
    job = _build(section, source, folder, probes, target or section.target)
    variables.check(job.target, environment)
    job = replace(job, limits=variables.limits(job.limits, section.limits, environment))
    if max_cost_usd is not None:
        job = replace(job, limits=replace(job.limits, max_cost_usd=max_cost_usd))
    return replace(job, settings=_settings(section, environment))


def _settings(section: JobSection, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what is asked of each target."""
    return {
        name: kind.settings(section.section_of(name), environment)
        for name, kind in targets.REGISTRY.items()
    }


def _document_problems(
    tree: yamltree.Tree, shape: list[tuple[yamltree.Path, str]]
) -> Iterator[tuple[yamltree.Path, str]]:
    if isinstance(tree.value, dict):
        yield from shape
    else:
        yield (), f"got {show(tree.value)}; expected a mapping with version: 1 and scenes:"
    for path, _ in tree.duplicates:
        yield path, "duplicate key; expected each key once"


def _section_problems(section: JobSection) -> Iterator[tuple[yamltree.Path, str]]:
    """Return what is wrong with the targets' own sections beyond their shape."""
    for name, kind in targets.REGISTRY.items():
        own = section.section_of(name)
        if own is not None:
            for path, message in kind.section_problems(own):
                yield (name, *path), message


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
        raise refuse(f"cannot be read: {files.reason(error)}") from error
    if not text.strip():
        raise refuse("the file is empty; expected version: 1 and scenes:")
    try:
        return yamltree.parse(text)
    except yamltree.YamlError as error:
        raise refuse(str(error), error.line) from error


def _problems(
    wrong: list[tuple[yamltree.Path, str]], tree: yamltree.Tree, shown: str
) -> list[Problem]:
    """Return problems in the order of the file, with lines; not more than anybody can read."""
    duplicate_lines = dict(tree.duplicates)
    lined = sorted(
        ((duplicate_lines.get(path, tree.line(path)), path, message) for path, message in wrong),
        key=lambda problem: problem[0],
    )
    problems = list(
        dict.fromkeys(
            Problem(shown, line, _dotted(path), _one_line(message))
            for line, path, message in lined[:MAX_PROBLEMS]
        )
    )
    if len(lined) > MAX_PROBLEMS:
        message = f"only the first {MAX_PROBLEMS} problems are shown"
        problems.append(Problem(shown, 0, "", message))
    return problems


def _dotted(path: yamltree.Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return _one_line(text.removeprefix("."), _MAX_FIELD)


def _one_line(text: str, most: int = _MAX_MESSAGE) -> str:
    """Return a file's text as it can be shown: nothing acts on a terminal, nothing is endless."""
    if len(text) > most:
        text = f"{text[: most // 2]}…{text[-most // 2 :]}"
    return "".join(
        char if unicodedata.category(char) not in _HIDDEN else ascii(char)[1:-1] for char in text
    )


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
        path = ("scenes", index, "name")
        problem = unsafe_name(name)
        if problem:
            yield path, f"got {show(name)}; {problem}"
        # Some file systems fold case and Unicode forms: two such names would be one file.
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in seen:
            first = tree.line(("scenes", seen[folded], "name"))
            problem = f"expected a unique name (ignoring case, line {first} has it too)"
            yield path, f"got {show(name)}; {problem}"
        seen.setdefault(folded, index)


def unsafe_name(name: str) -> str | None:
    """Return why a scene's name cannot name a file on every system, None if it can."""
    if not re.fullmatch(r"[\w][\w .,+()'-]*", name):
        return "expected letters, digits, space and . , + - _ ( ) ', beginning with a letter or _"
    if name[-1] in ". ":
        return "expected a name that does not end in a dot or a space"
    if _RESERVED.fullmatch(name):
        return "expected a name that is not reserved on Windows"
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
    field = ("output", "directory")
    existing = folder
    try:
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        if not existing.is_dir():
            yield field, f"{existing} is a file; expected a folder, or a path to create one at"
        elif not os.access(existing, os.W_OK | os.X_OK):
            yield field, f"{existing} is not writable; expected a writable folder for results"
    except OSError as error:
        yield field, f"{folder} cannot be used: {files.reason(error)}"


# -- values -------------------------------------------------------------------------------------


def _build(
    section: JobSection,
    source: Path,
    folder: Path,
    probes: dict[tuple[str, str], files.Probe],
    target: str,
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
        limits=Limits(**{"health_timeout": targets.get(target).health_timeout} | limits),
        auto_terminate=section.auto_terminate,
    )


def _scene(
    section: SceneSection,
    base: Path,
    defaults: VideoOptions,
    probes: dict[tuple[str, str], files.Probe],
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
    """Return options with the keys that were written over those below; a written null wins too."""
    values = dict(chosen)
    for field in ("watermark", "subtitle"):
        if isinstance(values.get(field), str):
            values[field] = base / cast("str", values[field])
    if "effects" in values:
        values["effects"] = tuple(cast("list[str]", values["effects"]))
    return replace(under, **values)  # type: ignore[arg-type]  # the schema has checked the types
