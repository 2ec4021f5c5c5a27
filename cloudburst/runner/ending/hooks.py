"""What a user wants done when a run has ended: a command, or a request to a URL.

Whatever becomes of a hook, the run's end does not change: one that fails is a note.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import requests

from cloudburst.environment import environment
from cloudburst.errors import BadInput
from cloudburst.language import tr
from cloudburst.models import Outcome
from cloudburst.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from cloudburst.models import Hooks, RunReport

SECRET = "CLOUDBURST_HOOK_SECRET"  # noqa: S105 - the name of a variable
TRIES = 4
FIRST_PAUSE = 1.0
# Of what a command has said, in characters.
_TOLD = 500
_TRANSIENT = {408, 425, 429}
# Seconds that a hook gets once somebody has pressed Ctrl-C twice.
_HURRIED = 5.0


def due(hooks: Hooks, report: RunReport, *, over_budget: bool) -> Iterator[tuple[str, str]]:
    """Yield the hooks that a run's end calls for, as (name, command or URL). Pure."""
    happened = {
        "budget": over_budget,
        "done": report.outcome is Outcome.COMPLETE,
        "failed": report.outcome is not Outcome.COMPLETE,
        "left_running": bool(report.left_running),
    }
    for name, has in happened.items():
        what = getattr(hooks, name)
        if has and what:
            yield name, what


def call(
    hooks: Hooks,
    report: RunReport,
    document: Mapping[str, object],
    folder: Path,
    *,
    over_budget: bool,
    hurried: bool,
) -> list[str]:
    """Call the hooks that a run's end calls for; return why some failed. Never raises.

    Args:
        hooks: the user's.
        report: of the run.
        document: the same, as report.json has it.
        folder: in which commands are run.
        over_budget: the run was stopped at a cost limit.
        hurried: do not try again, and wait no longer than a few seconds.
    """
    body = json.dumps(document, ensure_ascii=False).encode(errors="replace")
    timeout = min(hooks.timeout, _HURRIED) if hurried else hooks.timeout
    failed = []
    for name, what in due(hooks, report, over_budget=over_budget):
        try:
            if hooks.is_url(name):
                why = post(what, name, report.run_id, body, timeout, tries=1 if hurried else TRIES)
            else:
                why = run(what, name, report.run_id, body, timeout, folder)
        except Exception as error:  # noqa: BLE001 - whatever it was, the run has ended
            why = str(error)
        if why:
            failed.append(tr("hook on.{name}: {what}: {why}", name=name, what=what, why=why))
    return failed


def run(what: str, name: str, run_id: str, body: bytes, timeout: float, folder: Path) -> str:
    """Run a command with the report on its standard input; return why it failed.

    Args:
        what: for the shell.
        name: of the hook; the command has it as ``CLOUDBURST_HOOK``.
        run_id: of the run; the command has it as ``CLOUDBURST_RUN``.
        body: the report.
        timeout: seconds, after which it is killed with all that it has started.
        folder: in which it runs.
    """
    with subprocess.Popen(
        ["/bin/sh", "-c", what],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "CLOUDBURST_HOOK": name, "CLOUDBURST_RUN": run_id},
        # Ctrl-C is for the run; and all that it starts can be ended.
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(body, timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=1)
            return tr("it did not end within {seconds:g} s and was killed", seconds=timeout)
    if process.returncode == 0:
        return ""
    text = said.decode(errors="replace").strip()[-_TOLD:]
    return tr("exit code {code}: {text}", code=process.returncode, text=text or tr("no output"))


def post(
    url: str,
    name: str,
    run_id: str,
    body: bytes,
    timeout: float,
    *,
    tries: int = TRIES,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Send the report to a URL; return why it was not taken.

    It is sent again when nobody answers, or the answer says that another time may help.

    Args:
        url: to which it is posted.
        name: of the hook.
        run_id: of the run; with the name, it tells a repeated delivery.
        body: the report.
        timeout: seconds for each try.
        tries: at most.
        sleep: waits for some seconds.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"cloudburst/{__version__}",
        "X-CloudBurst-Event": name,
        "X-CloudBurst-Delivery": f"{run_id}-{name}",
        **signature(body, _secret()),
    }
    why, pause = "", FIRST_PAUSE
    for number in range(1, tries + 1):
        why, again = _sent(url, body, headers, timeout)
        if not why or not again or number == tries:
            break
        sleep(pause)
        pause *= 2
    return why


def signature(body: bytes, secret: str) -> dict[str, str]:
    """Return the header by which a receiver sees that the report is from who knows the secret."""
    if not secret:
        return {}
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-CloudBurst-Signature": f"sha256={digest}"}


def _secret() -> str:
    try:
        return environment().get(SECRET, "")
    except BadInput:
        return os.environ.get(SECRET, "")


def _sent(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> tuple[str, bool]:
    """Send it once; return why it was not taken, and whether to try again."""
    try:
        # A redirect would send it, with its signature, to who was not named.
        answer = requests.post(
            url, body, headers=headers, timeout=timeout, allow_redirects=False, stream=True
        )
    except requests.RequestException as error:
        return tr("it cannot be reached: {why}", why=type(error).__name__), True
    with answer:
        if answer.ok and not answer.is_redirect:
            return "", False
        again = answer.status_code in _TRANSIENT or answer.status_code >= 500  # noqa: PLR2004
        return tr(
            "it answered {code} {reason}", code=answer.status_code, reason=answer.reason
        ), again
