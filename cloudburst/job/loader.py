"""Any source → Job. Everything that is wrong with a source is reported together."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cloudburst import environment as dotenv
from cloudburst import media, targets, userpath
from cloudburst.errors import BadInput
from cloudburst.job import files, located, names, problems, records, subtitles, variables
from cloudburst.job import source as sources
from cloudburst.job.schema import JobSection, SceneSection, validate
from cloudburst.job.tree import REPEATED_KEY
from cloudburst.language import tr
from cloudburst.models import Distribution, Hooks, Job, Limits, Problem, Scene, VideoOptions
from cloudburst.section import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudburst.job.source import JobSource, Source
    from cloudburst.job.tree import Path as TreePath
    from cloudburst.job.tree import Tree

TARGET_VARIABLE = "CLOUDBURST_TARGET"


def load_job(
    source: JobSource,
    *,
    output: str | Path | None = None,
    target: str | None = None,
    max_cost_usd: float | None = None,
) -> Job:
    """Read and check a job; start nothing.

    What the source leaves open is taken from the original tool's variables, in the environment or
    in ``.env`` in the current folder; docs/operations.md lists them.

    Args:
        source: a scenes.yaml, a CSV or JSON Lines file (``.csv``, ``.jsonl``) of scenes, a folder
            (its scenes.yaml, or what `scan` pairs in it), a mapping as in
            scenes.yaml, or a sequence of scenes. In the last two, relative paths start at the
            current folder. Scenes outside of scenes.yaml may have the original's keys.
        output: folder for results; wins over the source's ``output.directory``, which wins over
            the environment's ``RESULTS_DIR``, which wins over ``./cloudburst_results``.
        target: wins over the source's, which wins over the environment's ``CLOUDBURST_TARGET``.
        max_cost_usd: USD; wins over the source's ``limits.max_cost_usd``.

    Returns:
        The job, every file in it opened once and every narration measured.

    Raises:
        BadInput: with everything that is wrong, each as ``file:line: field: message``.
        TargetUnknown: there is no such target.
        TypeError: the source is of no such type.
    """
    if target is not None:
        targets.get(target)
    read = sources.read(source)
    environment = dotenv.environment()
    section, shape = validate(read.tree.value)
    raw = read.tree.value if isinstance(read.tree.value, dict) else {}
    probes = files.probe(raw, read.base, read.base_name)
    readings = subtitles.read(raw, read.base, probes)
    base, named = _named_output(section, read.base, output, environment)
    wrong = [
        *_document_problems(read.tree, shape),
        *files.problems(raw, probes),
        *subtitles.problems(raw, readings),
        *names.problems(read.tree),
        *_output_problems(base, named),
        *(_section_problems(section) if section is not None else ()),
    ]
    if wrong or read.tree.faults or section is None:
        raise BadInput(problems.ordered(wrong, read.tree, read.shown))
    _check_limit(max_cost_usd)
    folder = userpath.absolute(named, base)
    job = _build(section, read, folder, probes, readings, target or _target(section, environment))
    variables.check(job.target, environment)
    job = replace(job, limits=variables.limits(job.limits, section.limits, environment))
    places = _places(read) | variables.places(section.limits, environment)
    if max_cost_usd is not None:
        job = replace(job, limits=replace(job.limits, max_cost_usd=max_cost_usd))
        places["limits.max_cost_usd"] = ("--max-cost-usd", 0)
    job = replace(job, places=places)
    return replace(job, settings=_settings(section, environment))


def _places(read: Source) -> dict[str, tuple[str, int]]:
    """Return where the source sets limits, and what it asks of targets, by their field."""
    sections = {"limits", *targets.names()}
    return {
        problems.dotted(path): (read.shown, line)
        for path, line in read.tree.lines.items()
        if len(path) > 1 and path[0] in sections
    }


def default_target(environment: Mapping[str, str]) -> str:
    """Return the target of a job that names none: ``CLOUDBURST_TARGET``, or the first there is.

    Args:
        environment: see `cloudburst.environment.environment`.

    Raises:
        BadInput: the variable names no target.
    """
    known, name = targets.names(), environment.get(TARGET_VARIABLE)
    if name is None:
        return known[0]
    if name not in known:
        message = tr(
            "got {value}; expected one of: {known}", value=show(name), known=", ".join(known)
        )
        raise BadInput([Problem("environment", 0, TARGET_VARIABLE, message)])
    return name


def _target(section: JobSection, environment: Mapping[str, str]) -> str:
    named = "target" in section.model_fields_set
    return section.target if named else default_target(environment)


def _check_limit(max_cost_usd: float | None) -> None:
    if max_cost_usd is not None and not max_cost_usd > 0:
        message = tr("got {value:g}; expected more than 0", value=max_cost_usd)
        raise BadInput([Problem("--max-cost-usd", 0, "", message)])


def _settings(section: JobSection, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what is asked of each target."""
    return {
        name: kind.settings(section.section_of(name), environment)
        for name, kind in targets.REGISTRY.items()
    }


def _document_problems(
    tree: Tree, shape: list[tuple[TreePath, str]]
) -> Iterator[tuple[TreePath, str]]:
    if tree.value is None and tree.faults:
        return  # the reader could make no document of it
    if not isinstance(tree.value, dict):
        value = show(tree.value)
        yield (), tr("got {value}; expected a mapping with version: 1 and scenes:", value=value)
        return
    # What the reader has reported is not reported again.
    reported = {fault.path for fault in tree.faults if fault.message != tr(REPEATED_KEY)}
    for path, message in shape:
        if not any(path[:length] in reported for length in range(1, len(path) + 1)):
            yield path, message


def _section_problems(section: JobSection) -> Iterator[tuple[TreePath, str]]:
    """Return what is wrong with the targets' own sections beyond their shape."""
    for name, kind in targets.REGISTRY.items():
        own = section.section_of(name)
        if own is not None:
            for path, message in kind.section_problems(own):
                yield (name, *path), message


# -- output -------------------------------------------------------------------------------------


def _named_output(
    section: JobSection | None,
    base: Path,
    output: str | Path | None,
    environment: Mapping[str, str],
) -> tuple[Path, str]:
    """Return the folder for results as it was named, and where a relative path starts there."""
    if output is not None:
        return Path.cwd(), os.fspath(output)
    if section is not None and section.output.directory is not None:
        return base, section.output.directory
    return Path.cwd(), environment.get("RESULTS_DIR") or "cloudburst_results"


def _output_problems(base: Path, named: str) -> Iterator[tuple[TreePath, str]]:
    field = ("output", "directory")
    try:
        folder = userpath.absolute(named, base)
        variable = userpath.unexpanded(named)
    except userpath.NoHomeError as error:
        yield field, tr("{path} cannot be used: {reason}", path=named, reason=error)
        return
    if variable and not folder.exists():
        # Nobody wants a folder of that name, which is so easily removed with too much else.
        yield field, tr("{name} is not replaced here; write the whole path", name=variable)
        return
    existing = folder
    try:
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        if not existing.is_dir():
            yield (
                field,
                tr(
                    "{path} is a file; expected a folder, or a path to create one at", path=existing
                ),
            )
        elif not os.access(existing, os.W_OK | os.X_OK):
            yield (
                field,
                tr("{path} is not writable; expected a writable folder for results", path=existing),
            )
    except OSError as error:
        yield field, tr("{path} cannot be used: {reason}", path=folder, reason=files.reason(error))


# -- values -------------------------------------------------------------------------------------


def _build(
    section: JobSection,
    read: Source,
    folder: Path,
    probes: dict[tuple[str, str], files.Probe],
    readings: dict[int, subtitles.Reading],
    target: str,
) -> Job:
    base = read.base.resolve()
    defaults = _options(section.defaults.model_dump(exclude_unset=True), base, VideoOptions())
    scenes = tuple(
        _scene(scene, base, defaults, probes, readings.get(index))
        for index, scene in enumerate(section.scenes)
    )
    limits = section.limits.model_dump(exclude_none=True)
    return Job(
        name=section.name or names.job_name(read.path.stem) or "job",
        source=read.path if read.in_memory else read.path.resolve(),
        scenes=scenes,
        # `Path.resolve` raises RuntimeError at links that lead in a circle; what uses it says so.
        output=Path(os.path.realpath(folder)),
        target=target,
        distribution=Distribution(**section.distribution.model_dump()),
        limits=Limits(**{"health_timeout": targets.get(target).health_timeout} | limits),
        auto_terminate=section.auto_terminate,
        shrink_pictures=section.shrink_pictures,
        warnings=(
            *read.warnings,
            *names.replaced(read.tree, read.shown),
            *_file_warnings(section, read, probes, scenes),
            *subtitles.warnings(readings, read.tree, read.shown),
        ),
        unused=read.warnings,
        document=_document(read, base) if read.in_memory else None,
        hooks=Hooks(**section.on.model_dump()),
    )


def _file_warnings(
    section: JobSection,
    read: Source,
    probes: dict[tuple[str, str], files.Probe],
    scenes: tuple[Scene, ...],
) -> Iterator[str]:
    """Return what is unusual about the files, a line each."""
    noticed = list(files.warnings(cast("dict[str, Any]", read.tree.value), probes))
    for index, (written, scene) in enumerate(zip(section.scenes, scenes, strict=True)):
        ink = probes["image", written.image].ink
        if ink is not None and ink.is_lost_on(scene.options.background_color):
            message = tr("{file}: {warning}", file=written.image, warning=media.lost_ink())
            noticed.append((("scenes", index, "image"), message))
    yield from map(str, problems.ordered(noticed, read.tree, read.shown))


def _document(read: Source, base: Path) -> dict[str, Any]:
    """Return what a later process has to read to get the same job."""
    return records.absolute(cast("dict[str, Any]", read.tree.value), base)


def _scene(
    section: SceneSection,
    base: Path,
    defaults: VideoOptions,
    probes: dict[tuple[str, str], files.Probe],
    reading: subtitles.Reading | None,
) -> Scene:
    chosen = section.model_dump(exclude_unset=True, exclude={"name", "image", "audio"})
    if reading is not None and reading.decided:
        chosen["subtitle_encoding"] = reading.encoding  # the worker has not seen the other files
    return Scene(
        name=names.safe_name(section.name),
        image=located.locate(base, section.image),
        audio=located.locate(base, section.audio),
        seconds=probes["audio", section.audio].seconds,
        options=_options(chosen, base, defaults),
        warnings=(*reading.warnings, *reading.font) if reading is not None else (),
        missing=reading.missing if reading is not None else "",
        font_missing=reading is not None and bool(reading.font),
    )


def _options(chosen: dict[str, object], base: Path, under: VideoOptions) -> VideoOptions:
    """Return options with the keys that were written over those below; a written null wins too."""
    values = dict(chosen)
    for field in ("watermark", "subtitle", "font"):
        text = values.get(field)
        if isinstance(text, str) and (field != "font" or located.is_font_file(text)):
            values[field] = located.locate(base, text)
    if "effects" in values:
        values["effects"] = tuple(cast("list[str]", values["effects"]))
    return replace(under, **values)  # type: ignore[arg-type]  # the schema has checked the types
