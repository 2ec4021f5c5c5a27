"""Stacks of the local target, with the real engine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests
from pulumi.automation import CommandResult
from pulumi.automation.errors import create_command_error

from cloudburst import preview
from cloudburst.engine.command import Command
from cloudburst.engine.engine import Engine
from cloudburst.engine.toolchain import find_engine
from cloudburst.errors import EngineError, StackGone, StackLocked
from cloudburst.job.loader import load_job
from cloudburst.journal import registry
from cloudburst.models import ProcessId, WorkerSpec
from cloudburst.paths import engine_environment
from cloudburst.recovery.audit import audit
from cloudburst.runner import planner
from cloudburst.targets.local import provider
from cloudburst.targets.local.target import PROCESS, LocalTarget, LocalWorkers, open_target
from cloudburst.workers.client import VideoApi
from tests.support.inputs import scenes_yaml
from tests.support.runs import assert_nothing_left, processes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloudburst.recovery.audit import Audit

pytestmark = pytest.mark.stack


@pytest.fixture
def target() -> Iterator[LocalTarget]:
    with open_target() as made:
        yield made


@pytest.fixture
def workers(target: LocalTarget, job_file: Callable[..., Path]) -> LocalWorkers:
    return target.prepare(planner.plan(load_job(job_file(scenes_yaml(1)))), "run")


@pytest.fixture
def engine(target: LocalTarget, state: Path) -> Engine:
    state.mkdir(exist_ok=True)
    return Engine(
        find_engine(),
        state,
        lambda: target.environment,
        target.operation_bytes,
        target.diagnose,
    )


@pytest.fixture
def spec(tmp_path: Path) -> WorkerSpec:
    run = f"20260101-000000-{os.getpid():06d}"
    return WorkerSpec(run, "b01", "test", "the-key", 1, 60.0, tmp_path / "b01.log", PROCESS)


def by_hand(state: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run `pulumi` as a person would, with what `cloudburst env` prints."""
    binary = find_engine().binary
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [str(binary), *command],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **engine_environment(state), "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the engine was started for: operations without their options."""
    started: list[str] = []
    run = Command.run

    def recorded(self: Command, args: list[str], *rest: Any) -> Any:
        started.append(" ".join(args[: 2 if args[0] == "stack" else 1]))
        return run(self, args, *rest)

    monkeypatch.setattr(Command, "run", recorded)
    return started


@pytest.mark.parametrize("created", [False, True], ids=["before", "after"])
def test_nothing_is_left_of_a_preview_whose_stack_could_not_be_created(
    engine: Engine,
    workers: LocalWorkers,
    spec: WorkerSpec,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    created: bool,
) -> None:
    run = Command.run

    def ended(self: Command, args: list[str], *rest: Any) -> Any:
        """Run the CLI, but the one that creates the stack ends early, or says that it failed."""
        if args[:2] != ["stack", "init"]:
            return run(self, args, *rest)
        if created:
            run(self, args, *rest)
        raise create_command_error(CommandResult("", "error: received SIGINT", -2))

    monkeypatch.setattr(Command, "run", ended)
    with pytest.raises(EngineError, match="received SIGINT"):
        engine.preview(spec.stack, workers.program(spec, None))
    assert_nothing_left(state)


def test_a_stack_is_a_worker_from_up_to_destroy(
    engine: Engine,
    target: LocalTarget,
    workers: LocalWorkers,
    spec: WorkerSpec,
    state: Path,
    starts: list[str],
) -> None:
    outputs = engine.up(spec.stack, workers.program(spec, None))
    # Each start takes a third of a second of CPU, and the worker waits for it.
    assert starts == ["stack init", "up"]
    assert outputs == engine.outputs(spec.stack)
    worker = workers.worker(spec, outputs)
    api = VideoApi(worker)
    api.wait_healthy(30, lambda _: False)
    assert worker.endpoint.startswith("http://127.0.0.1:")
    refused = requests.get(f"{worker.endpoint}/cleanup", timeout=5)
    assert refused.status_code == 401, "the key is needed"
    assert len(target.resources.inventory(spec.stack)) == 1
    assert spec.stack in by_hand(state, "stack", "ls").stdout
    stored = list((state / "backend").rglob(f"{spec.stack}.json"))
    assert stored
    assert spec.key not in stored[0].read_text(), "the key is a secret in the state"

    engine.destroy(spec.stack)
    assert target.resources.inventory(spec.stack) == []
    assert api.healthy(1) == "connection refused"
    assert not provider.work_folder(spec.stack).exists()
    assert starts == ["stack init", "up", "stack output", "destroy", "stack rm"]
    assert_nothing_left(state)


def test_destroying_what_is_not_there_is_no_error(engine: Engine, state: Path) -> None:
    engine.destroy("never-made")
    assert_nothing_left(state)


@pytest.mark.slow
def test_a_worker_that_died_does_not_stop_its_destroy(
    engine: Engine, workers: LocalWorkers, spec: WorkerSpec, state: Path
) -> None:
    outputs = engine.up(spec.stack, workers.program(spec, None))
    process = provider.find(ProcessId.parse(outputs["id"]), spec.stack)
    assert process is not None
    process.kill()
    engine.destroy(spec.stack)
    assert_nothing_left(state)


@pytest.mark.slow
def test_destroy_by_hand_works_without_the_run(
    engine: Engine, target: LocalTarget, workers: LocalWorkers, spec: WorkerSpec, state: Path
) -> None:
    engine.up(spec.stack, workers.program(spec, None))
    assert target.resources.inventory(spec.stack)
    done = by_hand(state, "destroy", "--yes", "--skip-preview", "--stack", spec.stack)
    assert done.returncode == 0, done.stdout + done.stderr
    assert target.resources.inventory(spec.stack) == []
    done = by_hand(state, "stack", "rm", "--yes", spec.stack)
    assert done.returncode == 0, done.stderr


def test_a_lock_is_told_apart_and_cancel_removes_it(
    engine: Engine, workers: LocalWorkers, spec: WorkerSpec, state: Path
) -> None:
    engine.up(spec.stack, workers.program(spec, None))
    locks = state / "backend" / ".pulumi" / "locks" / "organization" / "cloudburst" / spec.stack
    locks.mkdir(parents=True, exist_ok=True)
    (locks / "someone.json").write_text(
        '{"pid": 1, "username": "u", "hostname": "h", "timestamp": "2026-01-01T00:00:00Z"}'
    )
    with pytest.raises(StackLocked, match=spec.stack):
        engine.destroy(spec.stack)
    engine.cancel(spec.stack)
    engine.destroy(spec.stack)
    assert_nothing_left(state)


@pytest.mark.slow
def test_a_worker_that_the_state_does_not_know_is_found_and_swept(
    engine: Engine, target: LocalTarget, workers: LocalWorkers, spec: WorkerSpec, state: Path
) -> None:
    engine.up(spec.stack, workers.program(spec, None))
    # What a crash leaves: the worker runs, and the state has never heard of it.
    for checkpoint in (state / "backend").rglob(f"{spec.stack}.json*"):
        checkpoint.unlink()
    engine.destroy(spec.stack)
    assert target.resources.inventory(spec.stack) != []
    target.resources.sweep(spec.stack)
    assert target.resources.inventory(spec.stack) == []
    assert_nothing_left(state)


def test_a_program_that_fails_is_told_in_the_engines_words(engine: Engine, state: Path) -> None:
    def broken() -> None:
        raise ValueError("the program is broken")

    with pytest.raises(EngineError, match="the program is broken"):
        engine.up("broken", broken)
    engine.destroy("broken")
    assert_nothing_left(state)


def test_looking_makes_nothing_and_finds_no_stack_where_there_is_none(
    engine: Engine, state: Path
) -> None:
    assert engine.stacks() == []
    assert not engine.pending("run-b01")
    for look in (engine.state, engine.outputs):
        with pytest.raises(StackGone, match="there is no such stack"):
            look("run-b01")
    assert not (state / "workspaces").exists()


def test_preview_says_what_would_be_created_and_creates_nothing(
    job_file: Callable[..., Path], state: Path
) -> None:
    rules = "distribution: {scenes_per_batch: 2, min_scenes_per_batch: 2}\n"
    previews = preview(load_job(job_file(scenes_yaml(4, rules)))).stacks
    assert [len(one.batch.scenes) for one in previews] == [2, 2]
    for one in previews:
        kinds = {(resource.operation, resource.type) for resource in one.resources}
        assert ("create", "cloudburst:local:Worker") in kinds
    assert processes_of(state) == []
    assert_nothing_left(state)
    assert registry.runs() == []


def test_a_preview_is_going_on_for_an_audit_beside_it(
    job_file: Callable[..., Path], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Audit] = []
    real = Engine.preview

    def looked_at(engine: Engine, stack: str, program: Callable[[], None]) -> Any:
        found.append(audit())
        return real(engine, stack, program)

    monkeypatch.setattr(Engine, "preview", looked_at)
    preview(load_job(job_file(scenes_yaml(1))))
    (seen,) = found
    assert [run.owner is not None for run in seen.runs] == [True]
    assert seen.exit_code == 0
    assert not list((state / "previews").iterdir())


def test_the_passphrase_is_made_once_and_is_private(state: Path) -> None:
    state.mkdir()
    first = engine_environment(state)["PULUMI_CONFIG_PASSPHRASE_FILE"]
    text = Path(first).read_text()
    assert len(text) >= 32
    assert Path(first).stat().st_mode & 0o777 == 0o600
    assert engine_environment(state)["PULUMI_CONFIG_PASSPHRASE_FILE"] == first
    assert Path(first).read_text() == text


def test_a_backend_of_the_users_own_is_respected(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.mkdir()
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("PULUMI_BACKEND_URL", (tmp_path / "mine").as_uri())
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "x")
    environment = engine_environment(state)
    assert environment["PULUMI_BACKEND_URL"] == (tmp_path / "mine").as_uri()
    assert not {"PULUMI_HOME", "PULUMI_CONFIG_PASSPHRASE_FILE"} & set(environment)


def test_the_plugin_creates_nothing_that_would_outlive_it() -> None:
    """By hand a worker would have no run to end it, so the plugin refuses."""
    import grpc
    from google.protobuf import struct_pb2
    from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

    server, port = provider.serve(provider.LocalProvider(creates=False))
    inputs = struct_pb2.Struct()
    inputs.update(
        {"stack": "s", "job": "j", "key": "k", "room": 1, "timeout": 9, "log": "/nowhere"}
    )
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        with pytest.raises(grpc.RpcError, match="created by cloudburst-run"):
            stub.Create(provider_pb2.CreateRequest(type=provider.TYPE, properties=inputs))
    server.stop(None).wait()
    assert not any("--stack s" in " ".join(p.cmdline()) for p in psutil.Process().children())


def test_the_end_of_a_run_and_a_destroy_may_end_the_same_workers_at_once() -> None:
    """A third Ctrl-C ends the run while a destroy is still going on."""
    made = provider.LocalProvider(creates=True)
    pipes = []
    for number in range(20):
        theirs, ours = os.pipe()
        pipes.append(theirs)
        process = subprocess.Popen(["sleep", "0.05"])
        made._children[str(number)] = (process, ours)

    def destroy() -> None:
        for number in range(20):
            child = made._children.pop(str(number), None)
            if child:
                child[0].wait()
                os.close(child[1])

    destroying = threading.Thread(target=destroy)
    destroying.start()
    made.reap()
    destroying.join()
    for pipe in pipes:
        assert os.read(pipe, 1) == b"", "each lifeline was closed, once"
        os.close(pipe)
