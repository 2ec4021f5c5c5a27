"""The runs of this machine and what they cost, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from cloudburst.console.layout import Column, table
from cloudburst.console.moments import age, moment
from cloudburst.console.report import show_report, table_console
from cloudburst.console.text import first_of, safe, titled, word
from cloudburst.history import RunStatus, spending
from cloudburst.language import later, ntr, tr
from cloudburst.models import label_order
from cloudburst.report import phases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cloudburst.history import By, Charge, Group, PastRun
    from cloudburst.models import Launch, Rung

_NAMES = 3
_STYLES = {
    RunStatus.RUNNING: "green",
    RunStatus.PARTIAL: "yellow",
    RunStatus.FAILED: "red",
    RunStatus.INTERRUPTED: "yellow",
    RunStatus.KILLED: "bold red",
    RunStatus.GONE: "dim",
    RunStatus.UNREADABLE: "bold red",
}


def show_ps(runs: Sequence[PastRun], at: float) -> None:
    """Print the runs that go on, and those that died with workers that may still exist."""
    console = table_console()
    if not runs:
        console.print(tr("no run is going on; `cloudburst history` lists those that have ended"))
        return
    columns = [
        Column(tr("run")),
        Column(tr("job"), folds=True, rank=4),
        Column(tr("on"), rank=6),
        Column(tr("state"), rank=1),
        Column(tr("scenes"), right=True),
        Column(tr("workers"), right=True, rank=5),
        Column(tr("so far"), right=True, rank=2),
        Column("$/h", right=True, rank=3),
        Column(tr("age"), right=True, rank=7),
        Column(tr("owner"), rank=8),
    ]
    console.print(table(columns, [_ps_cells(run, at) for run in runs], console.width))
    rate = sum(run.usd_per_hour for run in runs)
    if rate:
        usd = sum(run.usd for run in runs)
        text = tr("{rate}/h now, {usd} so far", rate=f"${rate:.4f}", usd=f"${usd:.4f}")
        console.print(text, soft_wrap=True)
    for run in runs:
        _print_trouble(run, console)


def _ps_cells(run: PastRun, at: float) -> list[str | Text]:
    return [
        run.run_id,
        run.record.job,
        run.record.target,
        Text(word(run.status), style=_STYLES.get(run.status, "")),
        _scenes(run),
        str(run.workers),
        _usd(run),
        f"{run.usd_per_hour:.4f}" if run.usd_per_hour else "–",
        age(at - run.began),
        str(run.owner or "–"),
    ]


def _scenes(run: PastRun) -> str:
    if run.report is None:
        return "–"
    if run.failed and run.status is not RunStatus.RUNNING:
        return tr(
            "{done} of {total}, {failed} failed", done=run.done, total=run.scenes, failed=run.failed
        )
    return tr("{done} of {total}", done=run.done, total=run.scenes)


def _usd(run: PastRun) -> str:
    return run.report.cost.shown if run.report else "–"


def _print_trouble(run: PastRun, console: Console) -> None:
    """Print what somebody has to do about a run, if anything."""
    if run.why:
        text = tr("{run}: {why}", run=run.run_id, why=run.why)
        console.print(titled("yellow", tr("note:"), text), soft_wrap=True)
    if run.status is not RunStatus.RUNNING and run.workers:
        text = ntr(
            "{run} ended and {count} worker is not noted as gone; see what is left: "
            "cloudburst audit",
            "{run} ended and {count} workers are not noted as gone; see what is left: "
            "cloudburst audit",
            run.workers,
            run=run.run_id,
        )
        console.print(titled("bold red", tr("warning:"), text), soft_wrap=True)


def show_history(runs: Sequence[PastRun], hidden: int) -> None:
    """Print runs, the newest first.

    Args:
        runs: in the order in which they are printed.
        hidden: how many older ones there are.
    """
    console = table_console()
    if not runs:
        console.print(tr("this machine has begun no run yet"))
        return
    columns = [
        Column(tr("run")),
        Column(tr("began"), rank=2),
        Column(tr("job"), folds=True, rank=3),
        Column(tr("on"), rank=5),
        Column(tr("end"), rank=1),
        Column(tr("scenes"), right=True),
        Column(tr("took"), right=True, rank=6),
        Column(tr("cost"), right=True, rank=1),
    ]
    console.print(table(columns, [_history_cells(run) for run in runs], console.width))
    if hidden:
        text = ntr(
            "{count} older run; --all lists it", "{count} older runs; --all lists them", hidden
        )
        console.print(f"[dim]{text}[/]", soft_wrap=True)
    for run in runs:
        _print_trouble(run, console)


def _history_cells(run: PastRun) -> list[str | Text]:
    return [
        run.run_id,
        moment(run.began),
        run.record.job,
        run.record.target,
        Text(word(run.status), style=_STYLES.get(run.status, "")),
        _scenes(run),
        age(run.seconds),
        _usd(run),
    ]


def show_run(run: PastRun, at: float, *, verbose: bool) -> None:
    """Print what became of a run: its summary, why machines were left, what workers were used for.

    Args:
        run: the run.
        at: now, seconds since 1970.
        verbose: every scene and every worker, however many there are.
    """
    console = table_console()
    status = f"[{_STYLES.get(run.status, 'green')}]{word(run.status)}[/]"
    parts = [
        f"[bold]{run.run_id}[/]",
        tr("{job} on {target}", job=safe(run.record.job), target=run.record.target),
        status,
    ]
    parts.append(tr("began {moment}", moment=moment(run.began)))
    if run.owner:
        parts += [age(at - run.began), str(run.owner)]
    console.print(" · ".join(parts), soft_wrap=True)
    console.print(f"[dim]{safe(run.record.source)}[/]", soft_wrap=True)
    running = run.status is RunStatus.RUNNING
    if run.report is not None:
        show_report(run.report, verbose=verbose, running=running)
        _print_ladder(run, console)
        _print_uses(run, console)
        _print_rendering(run, console)
    if running and run.usd_per_hour:
        rate = f"${run.usd_per_hour:.4f}"
        console.print(tr("{rate}/h now", rate=rate), soft_wrap=True)
    _print_trouble(run, console)


def _print_ladder(run: PastRun, console: Console) -> None:
    """Print why each machine was left, and for which other one; a line for those that are alike."""
    batches = run.report.batches if run.report else ()
    alike: dict[tuple[Rung, str], list[tuple[Launch, Launch | None]]] = {}
    for batch in batches:
        for left, taken in zip(batch.launches, [*batch.launches[1:], None], strict=True):
            if left.error:
                # One refusal has another request id and other figures each time, but one code.
                alike.setdefault((left.rung, left.code or left.error), []).append((left, taken))
    for pairs in alike.values():
        labels = sorted((left.label for left, _ in pairs), key=label_order)
        workers = first_of(labels, _NAMES)
        if len(pairs) > _NAMES:
            count = ntr("{count} worker", "{count} workers", len(pairs))
            workers = tr("{count} ({workers})", count=count, workers=workers)
        line = tr("{workers}: {text}", workers=workers, text=_left(pairs))
        console.print(f"[yellow]↷[/] {safe(line)}", soft_wrap=True)


def _left(pairs: Sequence[tuple[Launch, Launch | None]]) -> str:
    """Return why machines of one kind were left, and for which others."""
    left = pairs[0][0]
    why = _reason(left)
    others = dict.fromkeys(taken.rung.shown for _, taken in pairs if taken is not None)
    if not others:
        return tr("{rung} ended: {why}", rung=left.rung.shown, why=why)
    return tr(
        "{rung} was left for {other}: {why}",
        rung=left.rung.shown,
        other=first_of(list(others), _NAMES),
        why=why,
    )


def _reason(left: Launch) -> str:
    """Return a provider's code with its own words; without a code, what is known.

    The engine and its libraries put their own words before; launches.csv has all of them.
    """
    whole, code = left.error or "", left.code or ""
    _, found, words = whole.rpartition(f"{code}: ")
    return f"{code}: {words.strip()}" if code and found and words.strip() else whole


def _print_uses(run: PastRun, console: Console) -> None:
    """Print what workers were used for, and what of their cost that was."""
    whole = sum(use.seconds for use in run.uses)
    if not whole:
        return
    parts = []
    for use in run.uses:
        usd = f", ${use.usd:.4f}" if run.usd else ""
        share = use.seconds / whole * 100
        parts.append(f"{phases.name(use.name)} {age(use.seconds)} ({share:.0f} %{usd})")
    if round(run.minimum_usd, 4):
        usd = f"${run.minimum_usd:.4f}"
        parts.append(tr("billed beyond that, 60 s at least: {usd}", usd=usd))
    if round(run.other_usd, 4):
        parts.append(tr("downloads and other: {usd}", usd=f"${run.other_usd:.4f}"))
    text = tr("workers were used for: {parts}", parts=" · ".join(parts))
    console.print(text, soft_wrap=True)


def _print_rendering(run: PastRun, console: Console) -> None:
    """Print what is being rendered now; the longest first."""
    if not run.rendering:
        return
    longest = sorted(run.rendering, key=lambda one: -one.seconds)
    names = [
        tr(
            "{scene} on {worker} for {took}",
            scene=one.scene,
            worker=one.worker,
            took=age(one.seconds),
        )
        for one in longest
    ]
    text = tr("being rendered now: {scenes}", scenes=first_of(names, _NAMES))
    console.print(safe(text), soft_wrap=True)


def show_cost(
    groups: Sequence[Group],
    charges: Sequence[Charge],
    by: By,
    span: tuple[float, float],
    unknown: Sequence[str],
) -> None:
    """Print what runs have cost.

    Args:
        groups: a row for each.
        charges: of which they are made.
        by: how they are grouped.
        span: since and until when, seconds since 1970.
        unknown: runs of which the cost is not known, with the reason.
    """
    console = table_console()
    since, until = (moment(at) for at in span)
    columns = [
        Column(tr(_BY[by]), folds=True),
        Column("$", right=True),
        Column(tr("runs"), right=True, rank=2),
        Column(tr("machines"), right=True, rank=3),
        Column(tr("machine-hours"), right=True, rank=4),
    ]
    if groups:
        cells = [_group_cells(group) for group in groups]
        console.print(table(columns, cells, console.width))
    if groups or unknown:
        usd = f"[bold]${spending.total(charges):.4f}[/]"
        text = tr("{usd} from {since} to {until}", usd=usd, since=since, until=until)
    else:
        text = tr("no run cost anything from {since} to {until}", since=since, until=until)
    console.print(text, soft_wrap=True)
    if groups and by == "day":
        text = tr("days are those of UTC, as on AWS's bill")
        console.print(f"[dim]{text}[/]", soft_wrap=True)
    for line in unknown:
        console.print(titled("yellow", tr("not counted:"), line), soft_wrap=True)


_BY = {
    "job": later("job"),
    "target": later("target"),
    "type": later("type"),
    "market": later("market"),
    "day": later("day"),
}


def _group_cells(group: Group) -> list[str | Text]:
    return [
        group.key or tr("(downloads)"),
        f"{group.usd:.4f}",
        str(len(group.runs)),
        str(len(group.machines)),
        f"{group.hours:.2f}",
    ]
