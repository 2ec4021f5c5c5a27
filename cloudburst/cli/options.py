"""What several commands share: options, examples, spans of time."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime

import click
from click.shell_completion import CompletionItem

from cloudburst import configuration
from cloudburst.language import tr


def complete_run(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the runs of this machine, the newest first, for a shell that completes RUN."""
    from cloudburst.journal import registry  # noqa: PLC0415 - loads what most commands do not need

    found = [one for one in registry.runs() if one.run_id.startswith(incomplete)]
    return [CompletionItem(one.run_id, help=one.job) for one in reversed(found)]


def complete_name(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the workers and the scenes of the run that was typed, for [SCENE|WORKER]."""
    from cloudburst.errors import CloudBurstError  # noqa: PLC0415
    from cloudburst.history.logs import names  # noqa: PLC0415 - as above

    try:
        found = names(str(ctx.params.get("run") or ""))
    except CloudBurstError:
        return []
    return [CompletionItem(name, help=what) for name, what in found if name.startswith(incomplete)]


def complete_profile(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the profiles of the user's configuration file."""
    names = configuration.profiles()
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


run = click.argument("run", metavar="RUN", shell_complete=complete_run)
as_json = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
json_lines = click.option(
    "--json", "as_json", is_flag=True, help="JSON on standard output, one event per line."
)
quiet = click.option("--quiet", is_flag=True, help="Print nothing but errors.")
verbose = click.option(
    "--verbose", "-v", is_flag=True, help="List everything, also of many scenes and workers."
)
max_cost_usd = click.option(
    "--max-cost-usd", type=click.FloatRange(min=0, min_open=True), help="Most it may cost, in USD."
)
max_cost_usd_month = click.option(
    "--max-cost-usd-month",
    type=click.FloatRange(min=0, min_open=True),
    help="Most that all runs of this machine may cost in a calendar month (UTC), in USD.",
)


def _choose(_ctx: click.Context, _param: click.Parameter, name: str | None) -> None:
    if name:
        os.environ[configuration.PROFILE] = name


profile = click.option(
    "--profile",
    metavar="NAME",
    callback=_choose,
    expose_value=False,
    shell_complete=complete_profile,
    help="Profile of your configuration file, ~/.config/cloudburst/config.toml.",
)
_UNITS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def examples(*lines: str) -> str:
    """Return the examples at the end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  $ {line}" for line in lines)


class Moment(click.ParamType[float]):
    """A moment: so long ago (``12h``, ``30d``, ``4w``), or a month, day or time, UTC by default.

    Its value is in seconds since 1970, or as seconds before now, negative.
    """

    name = "moment"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds since 1970, or minus the seconds before now."""
        text = str(value)
        ago = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text)
        if ago:
            return self._before_now(float(ago[1]) * _UNITS[ago[2]], text, param, ctx)
        month = re.fullmatch(r"\d{4}-\d{2}", text)
        try:
            moment = datetime.fromisoformat(f"{text}-01" if month else text)
        except ValueError:
            message = tr(
                "got {value!r}; expected 12h, 30d, 4w, a month such as 2026-10 or a date such as "
                "2026-11-01",
                value=text,
            )
            self.fail(message, param, ctx)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()

    def _before_now(
        self, seconds: float, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if not seconds:
            self.fail(tr("got {value!r}; expected more than 0", value=text), param, ctx)
        return -seconds


def utc(at: float) -> str:
    """Return a moment, in seconds since 1970, as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def since_1970(moment: float, at: float) -> float:
    """Return a moment that `Moment` has read, in seconds since 1970.

    Args:
        moment: what it has read.
        at: now, seconds since 1970.
    """
    return at + moment if moment < 0 else moment
