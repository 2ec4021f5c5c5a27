"""What is called when a run has ended: commands and URLs, and what becomes of those that fail."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from cloudburst.job.loader import load_job
from cloudburst.models import Event, EventKind, Hooks, Outcome
from cloudburst.runner.ending import hooks
from cloudburst.runner.pipeline import run
from tests.support.inputs import scenes_yaml
from tests.support.patience import SOON
from tests.unit.test_console import finished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.fakes import Whole

BODY: dict[str, object] = {"run_id": "run", "text": "完成"}


class Receiver(http.server.ThreadingHTTPServer):
    """Takes requests, and answers with the codes that a test has put in line."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        code = self.server.answers.pop(0) if self.server.answers else 204
        if code == 0:
            time.sleep(SOON)
        self.send_response(code)
        self.send_header("Location", self.server.url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def called(
    wanted: Hooks, folder: Path, outcome: Outcome = Outcome.COMPLETE, **more: Any
) -> list[str]:
    given = {"over_budget": False, "hurried": False, **more}
    report = replace(finished(folder), outcome=outcome)
    return hooks.call(wanted, report, BODY, folder, **given)


def names(
    outcome: Outcome, tmp_path: Path, *, over_budget: bool = False, left: str = ""
) -> list[str]:
    every = Hooks(*("x",) * 4)
    report = replace(finished(tmp_path), outcome=outcome, left_running=(left,) if left else ())
    return [name for name, _ in hooks.due(every, report, over_budget=over_budget)]


def test_which_hook_an_end_calls_for(tmp_path: Path) -> None:
    assert names(Outcome.COMPLETE, tmp_path) == ["done"]
    assert names(Outcome.PARTIAL, tmp_path) == ["failed"]
    assert names(Outcome.INTERRUPTED, tmp_path) == ["failed"]
    assert names(Outcome.FAILED, tmp_path, over_budget=True) == ["budget", "failed"]
    assert names(Outcome.COMPLETE, tmp_path, left="b01") == ["done", "left_running"]


def test_a_command_gets_the_report_and_runs_where_the_job_is(tmp_path: Path) -> None:
    command = "cat > got.json; echo $CLOUDBURST_HOOK $CLOUDBURST_RUN > names"
    assert called(Hooks(done=command), tmp_path) == []
    assert json.loads((tmp_path / "got.json").read_text()) == BODY
    assert (tmp_path / "names").read_text() == "done run\n"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("echo it broke >&2; exit 3", "exit code 3: it broke"),
        ("exit 1", "exit code 1: no output"),
        ("no-such-program", "not found"),
        ("kill -9 $$", "exit code -9"),
    ],
)
def test_a_command_that_fails_is_told(tmp_path: Path, command: str, why: str) -> None:
    (told,) = called(Hooks(failed=command), tmp_path, Outcome.PARTIAL)
    assert told.startswith(f"hook on.failed: {command}: ")
    assert why in told


def test_a_command_that_reads_nothing_or_says_much_ends(tmp_path: Path) -> None:
    assert called(Hooks(done="true"), tmp_path) == []
    (told,) = called(Hooks(done="head -c 3000000 /dev/zero | tr '\\0' x; exit 1"), tmp_path)
    assert len(told) < 1000


def test_a_command_that_does_not_end_is_killed_with_all_it_started(tmp_path: Path) -> None:
    (told,) = called(Hooks(done="sleep 9999 & echo $! > pid; sleep 9999", timeout=1.0), tmp_path)
    assert told.endswith("it did not end within 1 s and was killed")
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + SOON
    while psutil.pid_exists(child) and time.monotonic() < deadline:
        if psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.05)
    assert time.monotonic() < deadline


def test_a_hook_that_cannot_be_run_at_all_raises_nothing(tmp_path: Path) -> None:
    (told,) = called(Hooks(done="true"), tmp_path / "gone")
    assert "No such file or directory" in told


def test_a_url_gets_the_report_signed(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(hooks.SECRET, "s3cret")
    assert called(Hooks(done=receiver.url), tmp_path) == []
    ((headers, body),) = receiver.got
    assert json.loads(body) == BODY
    expected = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert headers["X-CloudBurst-Signature"] == f"sha256={expected}"
    assert headers["X-CloudBurst-Event"] == "done"
    assert headers["X-CloudBurst-Delivery"] == "run-done"
    assert headers["Content-Type"] == "application/json"


def test_without_a_secret_nothing_is_signed(receiver: Receiver, tmp_path: Path) -> None:
    called(Hooks(done=receiver.url), tmp_path)
    assert "X-CloudBurst-Signature" not in receiver.got[0][0]


def posted(
    receiver: Receiver, *answers: int, timeout: float = 30.0
) -> tuple[str, int, list[float]]:
    receiver.answers = list(answers)
    slept: list[float] = []
    why = hooks.post(receiver.url, "done", "run", b"{}", timeout, sleep=slept.append)
    return why, len(receiver.got), slept


def test_what_may_pass_is_tried_again_with_pauses_that_grow(receiver: Receiver) -> None:
    assert posted(receiver, 503, 429, 500) == ("", 4, [1.0, 2.0, 4.0])


def test_what_does_not_pass_is_told_after_some_tries(receiver: Receiver) -> None:
    why, times, _ = posted(receiver, *[500] * 9)
    assert (why, times) == ("it answered 500 Internal Server Error", 4)


@pytest.mark.parametrize("code", [400, 401, 404])
def test_a_refusal_is_not_tried_again(receiver: Receiver, code: int) -> None:
    why, times, slept = posted(receiver, code)
    assert why.startswith(f"it answered {code}")
    assert (times, slept) == (1, [])


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    why, times, _ = posted(receiver, 302)
    assert (why, times) == ("it answered 302 Found", 1)


def test_who_does_not_answer_is_not_waited_for(receiver: Receiver) -> None:
    why, times, _ = posted(receiver, 0, 204, timeout=0.3)
    assert (why, times) == ("", 2)


def test_nobody_at_the_address_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "FIRST_PAUSE", 0.0)
    (told,) = called(Hooks(done="http://127.0.0.1:9/x"), tmp_path)
    assert told == ("hook on.done: http://127.0.0.1:9/x: it cannot be reached: ConnectionError")


def test_somebody_in_a_hurry_does_not_wait_for_more_than_one_try(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answers = [500] * 9
    (told,) = called(Hooks(done=receiver.url, timeout=500.0), tmp_path, hurried=True)
    assert told.endswith("it answered 500 Internal Server Error")
    assert len(receiver.got) == 1


def test_hooks_are_read_from_the_job(job_file: Callable[..., Path]) -> None:
    job = load_job(
        job_file(scenes_yaml(1, "on: {done: ./go.sh, failed: 'https://x', timeout: 5}\n"))
    )
    assert job.hooks == Hooks(done="./go.sh", failed="https://x", timeout=5.0)


@pytest.mark.parametrize("broken", [False, True])
def test_a_run_calls_its_hooks_and_a_failing_one_changes_nothing(
    whole: Whole, *, broken: bool
) -> None:
    folder = whole.job.source.parent
    command = f"cat > got.json; exit {int(broken)}"
    job = replace(whole.job, hooks=Hooks(done=command, failed="touch failed"))
    events: list[Event] = []
    report = run(job, on_event=events.append)
    assert report.outcome is Outcome.COMPLETE
    got = json.loads((folder / "got.json").read_text())
    assert got == json.loads((report.directory / "report.json").read_text())
    notes = [event.text for event in events if event.kind is EventKind.NOTE]
    assert len([note for note in notes if note.startswith("hook on.done")]) == broken
    assert not (folder / "failed").exists()


def test_a_run_without_all_videos_calls_the_hook_for_that(whole: Whole) -> None:
    whole.broken = {"s02"}
    job = replace(whole.job, hooks=Hooks(done="touch done", failed="touch failed"))
    assert run(job).outcome is Outcome.PARTIAL
    folder = whole.job.source.parent
    assert (folder / "failed").exists()
    assert not (folder / "done").exists()
