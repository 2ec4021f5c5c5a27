"""Journal and report → the page."""

from __future__ import annotations

import base64
import functools
import hashlib
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING

import jinja2

from cloudburst.language import language, ntr, tr
from cloudburst.models import Outcome, SceneStatus
from cloudburst.report import json
from cloudburst.report.page import money, planned, posters, scenes, text
from cloudburst.report.page.model import Alert, Fact, Page
from cloudburst.report.page.timeline import timeline
from cloudburst.report.page.words import words
from cloudburst.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloudburst.journal.state import RunState
    from cloudburst.models import PlannedRun, RunReport
    from cloudburst.report.uses import Uses

_FOLDER = "cloudburst.report.page"
# More scenes with one warning are counted.
_ALIKE = 5
_VERDICTS = {Outcome.COMPLETE: "good", Outcome.PARTIAL: "mixed"}


def document(
    report: RunReport,
    state: RunState | None,
    went: Uses,
    *,
    hurried: Callable[[], bool] = lambda: False,
    going_on: bool = False,
    patience: float,
) -> str:
    """Return the page of a run.

    Args:
        report: of the run.
        state: what its journal says; None when it cannot be read.
        went: what its time and money went to.
        hurried: whether somebody waits who does not want to.
        going_on: the run has not ended.
        patience: seconds that taking pictures of the videos may last.
    """
    done = [(scene.name, scene.artifact.path) for scene in report.scenes if scene.artifact]
    pictures = posters.posters(done, posters.budget(len(report.scenes), patience), hurried)
    return html(view(report, state, went, pictures, going_on=going_on))


def view(
    report: RunReport,
    state: RunState | None,
    went: Uses,
    pictures: Mapping[str, str],
    *,
    going_on: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Page:
    """Return what the page shows.

    Args:
        report: of the run.
        state: what its journal says; None when it cannot be read.
        went: what its time and money went to.
        pictures: data URLs by scene.
        going_on: the run has not ended.
        now: the clock.
    """
    plan = state.planned if state else None
    rented = bool(report.cost.lines)
    ids = {scene.name: scenes.row_id(i) for i, scene in enumerate(report.scenes, start=1)}
    return Page(
        language="zh-Hans" if language() == "zh" else "en",
        title=f"{report.job} – CloudBurst",
        headline=_headline(report, going_on=going_on),
        verdict=_verdict(report, going_on=going_on),
        facts=_facts(report, went, rented=rented),
        alerts=_alerts(report, going_on=going_on),
        failures=scenes.reasons(report),
        timeline=timeline(went, ids, report.seconds, going_on=going_on),
        costs=money.tables(report, went, plan),
        plan=planned.table(plan, report, went),
        workers=scenes.workers(went, rented=rented, going_on=going_on),
        scene_columns=scenes.columns(rented=rented),
        scenes=scenes.scene_rows(report, went, pictures, rented=rented),
        warnings=_warnings(report, plan),
        # A run that was killed has none.
        has_json=(report.directory / json.NAME).exists(),
        words=words(),
        origin=tr(
            "Written by CloudBurst {version} at {time}",
            version=__version__,
            time=text.moment(now().isoformat()),
        ),
    )


def _verdict(report: RunReport, *, going_on: bool) -> str:
    if going_on:
        return "going"
    return "bad" if report.left_running else _VERDICTS.get(report.outcome, "bad")


def _headline(report: RunReport, *, going_on: bool) -> str:
    """Return what was asked and what became of it, in a line."""
    values = {
        "job": report.job,
        "target": report.target,
        "done": report.done,
        "took": text.seconds(report.seconds),
        "usd": report.cost.shown,
    }
    count = len(report.scenes)
    if going_on:
        return ntr(
            "{job}: {done} of {count} video so far on {target}, after {took}, for {usd}; the run "
            "is going on",
            "{job}: {done} of {count} videos so far on {target}, after {took}, for {usd}; the run "
            "is going on",
            count,
            **values,
        )
    if report.outcome is Outcome.COMPLETE:
        return ntr(
            "{job}: the {count} video is done, on {target} in {took} for {usd}",
            "{job}: all {count} videos are done, on {target} in {took} for {usd}",
            count,
            **values,
        )
    if report.outcome is Outcome.INTERRUPTED:
        return ntr(
            "{job}: interrupted with {done} of {count} video done, on {target} after {took} for "
            "{usd}",
            "{job}: interrupted with {done} of {count} videos done, on {target} after {took} for "
            "{usd}",
            count,
            **values,
        )
    return ntr(
        "{job}: {done} of {count} video is done, on {target} in {took} for {usd}",
        "{job}: {done} of {count} videos are done, on {target} in {took} for {usd}",
        count,
        **values,
    )


def _facts(report: RunReport, went: Uses, *, rented: bool) -> tuple[Fact, ...]:
    failed = sum(scene.status is SceneStatus.FAILED for scene in report.scenes)
    used = sum(one.launch.worker is not None for one in went.workers)
    received = sum(scene.artifact.size for scene in report.scenes if scene.artifact)
    video = sum(scene.artifact.seconds for scene in report.scenes if scene.artifact)
    facts = [
        Fact(
            tr("videos"),
            f"{report.done} / {len(report.scenes)}",
            ntr("{count} scene failed", "{count} scenes failed", failed) if failed else "",
        ),
        Fact(
            tr("time"),
            text.seconds(report.seconds),
            tr("for {seconds} of video", seconds=text.seconds(video)) if video else "",
        ),
        _cost_fact(report, rented=rented),
        Fact(
            tr("workers"),
            str(used),
            tr("{seconds} of worker time", seconds=text.seconds(sum(went.seconds.values()))),
        ),
    ]
    if received or report.bytes_sent:
        sent = tr("{size} sent", size=text.size(report.bytes_sent)) if report.bytes_sent else ""
        facts.append(Fact(tr("received"), text.size(received), sent))
    facts.append(_began(report))
    return tuple(facts)


def _began(report: RunReport) -> Fact:
    moment = text.moment(report.started_at).split()
    if len(moment) < 3:  # noqa: PLR2004 - a day, a time, an offset
        return Fact(tr("began"), report.started_at, report.run_id)
    day, clock, offset = moment
    return Fact(tr("began"), clock, f"{day} {offset} · {report.run_id}")


def _cost_fact(report: RunReport, *, rented: bool) -> Fact:
    if not rented:
        return Fact(tr("cost"), report.cost.shown, tr("nothing is rented"))
    note = ""
    if report.done:
        note = tr("{usd} for each video", usd=text.usd(report.cost.usd / report.done))
    return Fact(tr("cost"), report.cost.shown, note)


def _alerts(report: RunReport, *, going_on: bool) -> tuple[Alert, ...]:
    alerts = []
    if report.left_running:
        alerts.append(
            Alert(
                "bad",
                tr("Something may still be running"),
                report.left_running,
                f"cloudburst cleanup {report.run_id}",
            )
        )
    if report.kept:
        alerts.append(
            Alert(
                "warn",
                tr("Workers were kept, as the job asks"),
                report.kept,
                f"cloudburst cleanup {report.run_id}",
            )
        )
    if report.error:
        alerts.append(Alert("bad", tr("Why it ended early"), (text.short(report.error),)))
    rest = len(report.scenes) - report.done
    if rest and not going_on:
        alerts.append(
            Alert(
                "info",
                ntr("{count} scene has no video", "{count} scenes have no video", rest),
                (),
                f"cloudburst resume {report.run_id}",
            )
        )
    gone = report.batches and all(batch.destroyed for batch in report.batches)
    if gone and not (going_on or report.left_running or report.kept):
        line = ntr(
            "{count} stack destroyed and verified; nothing is left running",
            "{count} stacks destroyed and verified; nothing is left running",
            len(report.batches),
        )
        alerts.append(Alert("good", line, ()))
    return tuple(alerts)


def _warnings(report: RunReport, plan: PlannedRun | None) -> tuple[str, ...]:
    """Return what was noticed, each once: scenes' names are before what their renderer said."""
    lines = [*(plan.notes if plan else ()), *(plan.warnings if plan else ())]
    known = set(lines)
    alike: dict[str, list[str]] = {}
    for scene in report.scenes:
        for warning in dict.fromkeys(scene.warnings):
            if warning not in known:
                alike.setdefault(warning, []).append(scene.name)
    lines += [_warning(warning, names) for warning, names in alike.items()]
    return tuple(text.short(line) for line in dict.fromkeys(lines))


def _warning(warning: str, names: Sequence[str]) -> str:
    """Return a warning with the scenes that it is about, or how many they are."""
    if len(names) > _ALIKE:
        return ntr(
            "{count} scene: {warning}", "{count} scenes: {warning}", len(names), warning=warning
        )
    return tr("{scene}: {warning}", scene=tr(", ").join(names), warning=warning)


def html(page: Page) -> str:
    """Return a page as HTML. Every text of it is escaped."""
    template, style, script = _parts()
    return template.render(
        page=page,
        w=page.words,
        statuses=[(str(one), tr(str(one))) for one in scenes.STATUSES],
        style=style,
        style_hash=_sha256(style),
        script=script,
        script_hash=_sha256(script),
    )


def _sha256(source: str) -> str:
    """Return the hash by which the page's policy knows its own style sheet and script."""
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii")


@functools.cache
def _parts() -> tuple[jinja2.Template, str, str]:
    folder = resources.files(_FOLDER)
    source, style, script = (
        folder.joinpath(name).read_text("utf-8")
        for name in ("report.html.j2", "report.css", "report.js")
    )
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source), style, script
