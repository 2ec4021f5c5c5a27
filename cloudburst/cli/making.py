"""The commands `init`, `render` and `price`: a job to begin with, one video, what a job costs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from cloudburst import console, targets, userpath
from cloudburst.cli import options
from cloudburst.cli.running import Shown, run_job
from cloudburst.console import streams
from cloudburst.errors import BadInput, InfrastructureError
from cloudburst.language import later, tr
from cloudburst.models import Effect, Language, Problem, Quality
from cloudburst.stop import exit_on_interrupt, interruption

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudburst.models import RunReport


_ARGUMENTS = {
    "scenes[0].image": "IMAGE",
    "scenes[0].audio": "AUDIO",
    "scenes[0].subtitle": "SRT",
    "scenes[0].name": "--output",
}


def _free(path: Path, *, force: bool, next_command: str = "") -> None:
    """Refuse to write over a file.

    Raises:
        BadInput: it exists, or its folder does not.
    """
    message = ""
    if not path.parent.is_dir():
        message = tr("there is no folder {folder}", folder=path.parent)
    elif path.is_dir():
        message = tr("is a folder; expected the name of a file")
    elif path.exists() and not force:
        message = tr("exists already; pass --force to overwrite it")
        if next_command:
            message = tr(
                "exists already; pass --force to overwrite it, or run it: {command}",
                command=next_command,
            )
    if message:
        raise BadInput([Problem(str(path), 0, "", message)])


@click.command(
    short_help="Write a scenes.yaml to begin with.",
    epilog=options.examples("cloudburst init", "cloudburst init -o - --target aws"),
)
@click.option("-o", "--output", metavar="FILE", default="scenes.yaml", help="- is standard output.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@click.option("--target", type=click.Choice(targets.names()), help="Where workers are to run.")
@interruption(later("interrupted"))
def init(output: str, target: str | None, *, force: bool) -> int:
    """Write a scenes.yaml to begin with: one scene, and every key there is as a comment.

    `cloudburst scan` writes one of the pictures and sounds that are in a folder.
    """
    with exit_on_interrupt():
        from cloudburst import files  # noqa: PLC0415 - Ctrl-C is answered before slow imports
        from cloudburst.job import template  # noqa: PLC0415

    text = template.text(target or targets.names()[0])
    if output == "-":
        streams.write_bytes(text.encode())
        return 0
    path = Path(userpath.expanded(output))
    command = f"cloudburst-run {shlex.quote(str(path))}"
    _free(path, force=force, next_command=command)
    files.write_whole(path, text, durable=False)
    text = tr("{file} is written; fill in its scenes, then: {command}", file=path, command=command)
    click.echo(text)
    return 0


@click.command(
    short_help="Render one video on this machine.",
    epilog=options.examples(
        "cloudburst render intro.jpg intro.wav -o intro.mp4",
        "cloudburst render intro.jpg intro.wav intro.srt -o intro.mp4 --language english",
    ),
)
@click.argument("image", type=click.Path())
@click.argument("audio", type=click.Path())
@click.argument("subtitle", type=click.Path(), metavar="[SRT]", required=False)
@click.option("-o", "--output", metavar="FILE", required=True, help="The video, an .mp4 file.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@click.option("--language", type=click.Choice(get_args(Language)), help="Of the subtitles.")
@click.option("--effects", multiple=True, type=click.Choice(get_args(Effect)), help="Repeatable.")
@click.option("--quality", type=click.Choice(get_args(Quality)), help="Against the size.")
@options.json_lines
@options.quiet
@interruption(later("interrupted"))
def render(
    image: str,
    audio: str,
    subtitle: str | None,
    output: str,
    *,
    force: bool,
    as_json: bool,
    quiet: bool,
    **chosen: Any,
) -> int:
    """Render one video of IMAGE and AUDIO on this machine, at once.

    It is a run of one scene: its journal, log and report are kept in CloudBurst's own folder, where
    `cloudburst history` and `show` find them. The exit codes are those of a run.
    """
    path = Path(userpath.expanded(output)).absolute()
    _free(path, force=force)
    if path.suffix.lower() != ".mp4":
        message = tr("the video is MP4; expected a name that ends in .mp4")
        raise BadInput([Problem(output, 0, "", message)])
    with exit_on_interrupt():
        from cloudburst.job.loader import load_job  # noqa: PLC0415 - bad input is reported before
        from cloudburst.paths import state_folder  # noqa: PLC0415

        scene = _scene(path.stem, image, audio, subtitle, chosen)
        document = {"version": 1, "name": "render", "target": "local", "scenes": [scene]}
        with _named_as_typed():
            job = load_job(document, output=state_folder() / "renders")
        if not quiet:
            console.show_warnings(job.warnings, job.unused)

    def put(report: RunReport) -> None:
        artifact = report.scenes[0].artifact
        if artifact is not None:
            _copy(artifact.path, path)

    code = run_job(job, None, Shown(as_json=as_json, quiet=quiet, finished=put))
    if code == 0 and not (quiet or as_json):
        click.echo(str(path))
    return code


@contextmanager
def _named_as_typed() -> Iterator[None]:
    """Name what is wrong by the command's arguments: nobody has written a list of scenes."""
    try:
        yield
    except BadInput as error:
        typed = [
            replace(problem, file=_ARGUMENTS[problem.field], field="")
            if problem.field in _ARGUMENTS
            else problem
            for problem in error.problems
        ]
        raise BadInput(typed) from error


def _scene(
    name: str, image: str, audio: str, subtitle: str | None, chosen: Mapping[str, Any]
) -> dict[str, Any]:
    scene: dict[str, Any] = {"name": name, "image": image, "audio": audio}
    if subtitle:
        scene["subtitle"] = subtitle
    given = {key: value for key, value in chosen.items() if value}
    if "effects" in given:
        given["effects"] = list(given["effects"])
    return scene | given


def _copy(video: Path, path: Path) -> None:
    """Put a video where the user wants it, in one step; its run keeps its own."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            os.link(video, part)  # takes no room
        except OSError:
            shutil.copyfile(video, part)
        part.replace(path)
    except OSError as error:
        raise InfrastructureError(
            tr(
                "{file} cannot be written: {reason}; the video is {video}",
                file=path,
                reason=error.strerror,
                video=video,
            )
        ) from error
    finally:
        part.unlink(missing_ok=True)


@click.command(
    "price",
    short_help="List machines for a job, with prices.",
    epilog=options.examples(
        "cloudburst price scenes.yaml --target aws", "cloudburst price scenes.yaml --json"
    ),
)
@click.argument("scenes", type=click.Path())
@click.option("--target", type=click.Choice(targets.names()), help="Wins over the file's.")
@options.as_json
@interruption(later("interrupted"))
def price(scenes: str, target: str | None, *, as_json: bool) -> int:
    """List the machines that a run of SCENES may get: $/h by type, market and zone, time and cost.

    They are the rungs of the failover ladder, in its order. Prices are the provider's of now, or
    your own; where there is none, that is said. Creates nothing. `offer` is the same command.
    """
    with exit_on_interrupt():
        from cloudburst.job.loader import load_job  # noqa: PLC0415

        job = load_job(scenes, target=target)
        from cloudburst.runner import offers  # noqa: PLC0415 - bad input is reported before

    found = offers.offers(job)
    if as_json:
        document = offers.document(job, found)
        streams.write_line(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        console.show_offers(job, found)
    return 0


offer = click.Command(
    "offer",
    callback=price.callback,
    params=price.params,
    help=price.help,
    epilog=price.epilog,
    hidden=True,
)
COMMANDS = (init, render, price, offer)
