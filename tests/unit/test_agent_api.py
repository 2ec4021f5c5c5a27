"""The client of a machine's agent, against an agent that runs, and wires that fail."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.errors import (
    RenderFailed,
    RenderTimedOut,
    SceneRejected,
    WorkerUnhealthy,
    WorkerUnreachable,
)
from cloudburst.models import Scene, Verdict, Worker
from cloudburst.targets import boots, certificate
from cloudburst.workers import agent as agent_client
from cloudburst.workers import transport
from cloudburst.workers.agent import AgentApi, Boot
from cloudburst.workers.messages import Rendered
from cloudburst_stacks import payload
from testcloud.machines.network import BlackHole, Wire, make_certificate
from tests.support.agents import KEY, AgentProcess, free_port
from tests.support.clouds import until
from tests.support.inputs import write_picture, write_sound
from tests.support.patience import SOON

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., AgentProcess]
OURS = {"health": {"capacity": 2, "version": "1.2"}}
VIDEO = bytes(range(256)) * 4096
HINT = "set aws.ingress"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene("s", write_picture(tmp_path / "p.png"), write_sound(tmp_path / "a.wav"), 1.0)


def worker(agent: AgentProcess, port: int = 0, key: str = KEY) -> Worker:
    endpoint = f"https://127.0.0.1:{port or agent.port}"
    return Worker("s", "i-1", endpoint, key, 2, None, agent.identity.certificate, HINT)


def ready(agent: AgentProcess, port: int = 0) -> AgentApi:
    api = AgentApi(worker(agent, port))
    api.wait_healthy(SOON, patiently)
    return api


@contextmanager
def wired(agent: AgentProcess, certificate: Path | None = None) -> Iterator[tuple[Wire, int]]:
    """Put a wire before an agent; yield it with the port on which it listens."""
    port = free_port()
    wire = Wire("127.0.0.1", port, certificate=certificate)
    wire.target = ("127.0.0.1", agent.port)
    try:
        yield wire, port
    finally:
        wire.close()


def patiently(seconds: float) -> bool:
    time.sleep(seconds)
    return False


# -- health -------------------------------------------------------------------------------------


def test_each_state_of_a_boot_is_reported_once(start_agent: Start) -> None:
    agent = start_agent({"pull": {"sleep": 2}, "container": OURS | {"slow": 2}})
    api, seen = AgentApi(worker(agent)), list[Boot]()
    api.on_boot = seen.append
    api.wait_healthy(SOON, patiently)
    states = [boot.state for boot in seen]
    assert states == list(dict.fromkeys(states))
    assert [state for state in states if state != "booting"] == ["pulling", "starting", "ready"]
    assert next(boot.detail for boot in seen if boot.state == "pulling") == "me/mine:1"
    assert (api.capacity, api.bundled) == (2, True)


def test_a_machine_that_answers_has_renewed_its_lease(start_agent: Start) -> None:
    """Of the ten minutes that it has, by its own word."""
    agent, seen = start_agent(room=1), list[float]()
    api = AgentApi(worker(agent))
    api.on_renewed = seen.append
    api.wait_healthy(SOON, patiently)
    assert seen
    assert min(seen) > 550
    assert max(seen) <= 600
    agent.kill()
    count = len(seen)
    assert api.healthy(0.5) is not None
    assert len(seen) == count, "nobody was reached"


def test_an_image_that_is_not_the_bundled_one_is_known(start_agent: Start) -> None:
    api = ready(start_agent(room=1))
    assert (api.capacity, api.bundled) == (1, False)


@pytest.mark.parametrize(
    ("text", "code", "verdict"),
    [
        ("manifest unknown", "image_not_found", Verdict.STOP),
        ("unauthorized", "pull_refused", Verdict.STOP),
        ("no matching manifest for linux/arm64/v8", "wrong_architecture", Verdict.STOP),
        ("net/http: TLS handshake timeout", "pull_failed", Verdict.NEXT),
        ("no space left on device", "disk_full", Verdict.FAIL),
    ],
)
def test_a_boot_that_failed_ends_the_wait_with_its_reason(
    start_agent: Start, text: str, code: str, verdict: Verdict
) -> None:
    api = AgentApi(worker(start_agent({"pull": {"fail": text}}, pauses=[])))
    with pytest.raises(WorkerUnhealthy, match=rf"cannot render: {text} \({code}\)") as caught:
        api.wait_healthy(600, patiently)
    assert (caught.value.code, caught.value.refusal.verdict) == (code, verdict)
    assert caught.value.refusal.advice


def test_every_code_of_the_agent_has_a_meaning() -> None:
    for code in boots.CODES:
        assert boots.refusal(code).advice
        assert boots.is_its_own(code) == (boots.refusal(code).verdict is Verdict.NEXT)


def test_a_wrong_key_is_told(start_agent: Start) -> None:
    agent = start_agent({"container": OURS})
    agent.until("ready")
    reason = AgentApi(worker(agent, key="another")).healthy()
    assert reason is not None
    assert reason.startswith("/health answered 401")


def test_a_failed_boot_is_told_with_the_first_answer_and_asked_for_often(
    start_agent: Start,
) -> None:
    """So it is told within 5 s of being known: a pause, a request, and no other wait."""
    agent = start_agent({"ps": {"fail": "Cannot connect"}}, docker_wait=600, pauses=[])
    api, pauses, answers = AgentApi(worker(agent)), list[float](), list[str]()
    healthy = api.healthy

    def ask(timeout: float) -> str | None:
        answers.append(str(healthy(timeout)))
        return answers[-1]

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        if len(pauses) == 20:
            agent.order({"pull": {"fail": "manifest unknown"}})
            agent.until("failed")
        return len(pauses) > 30

    api.healthy = ask  # type: ignore[method-assign]
    with pytest.raises(WorkerUnhealthy, match=r"manifest unknown \(image_not_found\)"):
        api.wait_healthy(600, wait)
    assert len(pauses) == 20, "the next answer ends the wait"
    assert max(pauses) <= 2.0
    assert pauses[-1] == 2.0, "however long it has taken already"
    assert answers[-1].startswith("failed: ")


def test_what_a_ready_machine_says_is_worded_here(start_agent: Start) -> None:
    refusal = "nvidia-container-cli: driver not loaded"
    orders = {"run": {"fail": refusal, "times": 1}, "container": OURS}
    api = ready(start_agent(orders, gpu=True, gpu_wait=0))
    assert api.boot is not None
    assert api.boot.detail == f"2 at once, x264; its GPU cannot be used: {refusal}"


@pytest.mark.parametrize("detail", agent_client.DETAILS)
def test_what_an_agent_says_while_it_boots_is_known_by_its_words(detail: str) -> None:
    assert f"'{detail}'" in payload.agent()


# -- reaching it --------------------------------------------------------------------------------


def test_who_cannot_be_reached_is_told_with_what_that_means(tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path / "machine")
    with pytest.raises(WorkerUnhealthy) as refused:
        AgentApi(worker(agent)).wait_healthy(0.2, patiently)
    assert "connection refused; nothing listens there" in str(refused.value)
    assert str(refused.value).endswith(HINT)
    hole = BlackHole("127.0.0.1", agent.port)
    try:
        with pytest.raises(WorkerUnhealthy) as dropped:
            AgentApi(worker(agent)).wait_healthy(0.3, patiently)
    finally:
        hole.close()
    assert "what is sent there is dropped: a firewall" in str(dropped.value)
    assert str(dropped.value).endswith(HINT)


def test_another_certificate_is_refused_before_the_key_is_sent(
    start_agent: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = start_agent({"container": OURS})
    agent.until("ready")
    monkeypatch.setattr(agent_client, "_IMPOSTOR", 0.5)
    certificate = make_certificate(tmp_path / "proxy.pem")
    with (
        wired(agent, certificate) as (proxy, port),
        pytest.raises(WorkerUnhealthy, match="answers with another certificate") as caught,
    ):
        AgentApi(worker(agent, port)).wait_healthy(600, patiently)
    assert "a proxy that opens TLS" in str(caught.value)
    assert proxy.flows > 0
    assert bytes(proxy.recorded) == b""


def test_what_passes_by_cannot_be_read(start_agent: Start, scene: Scene, tmp_path: Path) -> None:
    agent = start_agent({"container": OURS})
    agent.until("ready")
    with wired(agent) as (wire, port):
        api = ready(agent, port)
        api.fetch(api.render(scene, 60), tmp_path / "v.mp4")
    assert (tmp_path / "v.mp4").read_bytes() == VIDEO
    recorded = bytes(wire.recorded)
    assert len(recorded) > len(VIDEO)
    for secret in (KEY.encode(), b"input_image", b"healthy", b"HTTP/1.1", VIDEO[:64]):
        assert secret not in recorded


def test_connections_are_kept_alive(start_agent: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = start_agent({"container": OURS})
    agent.until("ready")
    peer = transport.Peer(f"https://127.0.0.1:{agent.port}", agent.identity.certificate)
    kept: list[int] = []
    real = transport._keep_alive

    def keep(connection: socket.socket) -> None:
        real(connection)
        kept.append(connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        kept.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))

    monkeypatch.setattr(transport, "_keep_alive", keep)
    peer.ask("GET", "/health", transport.Budget(10))
    assert kept == [1, 45]


def test_a_handshake_that_hangs_is_given_up(tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path / "machine")
    with socket.create_server(("127.0.0.1", agent.port)):
        began = time.monotonic()
        assert AgentApi(worker(agent)).healthy(0.3) is not None
        assert time.monotonic() - began < 30


# -- scenes -------------------------------------------------------------------------------------


def test_a_scene_is_rendered_and_downloaded(
    start_agent: Start, scene: Scene, tmp_path: Path
) -> None:
    api = ready(start_agent({"container": OURS}))
    rendered = api.render(scene, 60)
    assert rendered.endpoint == "/download/1/download/1"
    assert rendered.sent > scene.image.stat().st_size
    api.fetch(rendered, tmp_path / "v.mp4")
    assert (tmp_path / "v.mp4").read_bytes() == VIDEO


@pytest.mark.parametrize(("status", "error"), [(422, SceneRejected), (500, RenderFailed)])
def test_the_video_apis_answer_is_the_scenes(
    start_agent: Start, scene: Scene, status: int, error: type[Exception]
) -> None:
    order = {"status": status, "say": {"error": "no such picture"}}
    api = ready(start_agent({"container": OURS | {"render": order}}))
    with pytest.raises(error, match=f"the video API answered {status}: no such picture"):
        api.render(scene, 60)


def test_a_render_that_takes_too_long_is_ended_on_the_machine(
    start_agent: Start, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_client, "GRACE", 0.0)
    agent = start_agent({"container": OURS | {"render": {"sleep": 600}}})
    api = ready(agent)
    with pytest.raises(RenderTimedOut, match="took longer than 2 s"):
        api.render(scene, 2)
    until(lambda: [note for note in agent.notes() if note["what"] == "cancelled"])
    assert agent.health()["running"] == 0


def test_a_video_that_is_not_wanted_any_more_is_not_waited_for(
    start_agent: Start, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_client, "LONG_POLL", 0.2)
    agent = start_agent({"container": OURS | {"render": {"sleep": 600}}})
    api = ready(agent)
    asked: list[str] = []
    api.wanted = lambda name: asked.append(name) is None and len(asked) < 5
    with pytest.raises(WorkerUnreachable, match="not wanted any more"):
        api.render(scene, 600)
    assert set(asked) == {"s"}
    until(lambda: [note for note in agent.notes() if note["what"] == "cancelled"])


def test_a_cut_costs_no_attempt(
    start_agent: Start, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_client, "LONG_POLL", 0.5)
    monkeypatch.setattr(agent_client, "WAY", 1.0)
    agent = start_agent({"container": OURS | {"render": {"sleep": 4}}})
    agent.until("ready")
    with wired(agent) as (wire, port):
        api = ready(agent, port)
        threading.Timer(1.5, wire.cut, (5,)).start()
        api.fetch(api.render(scene, 120), tmp_path / "v.mp4")
    assert (tmp_path / "v.mp4").read_bytes() == VIDEO
    assert len([note for note in agent.notes() if note["what"] == "begins"]) == 1


def test_a_scene_whose_submission_broke_off_is_submitted_once(
    start_agent: Start, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = start_agent({"container": OURS})
    api = ready(agent)
    ask, posts = api.request, list[str]()

    def lossy(method: str, path: str, *more: Any) -> Any:
        if method != "POST":
            return ask(method, path, *more)
        posts.append(path)
        if len(posts) != 1:  # the first one does not arrive, of the second the answer does not
            ask(method, path, *more)
        raise transport.NoAnswerError("connection reset")

    monkeypatch.setattr(api, "request", lossy)
    monkeypatch.setattr(agent_client, "_AGAIN", 0.05)
    assert api.render(scene, 60).endpoint == "/download/1/download/1"
    assert len(posts) == 2
    assert len(set(posts)) == 1
    assert len([note for note in agent.notes() if note["what"] == "begins"]) == 1


@pytest.mark.parametrize("lost", [False, True])
def test_an_agent_that_was_killed_costs_no_attempt_unless_it_has_lost_the_scene(
    start_agent: Start, scene: Scene, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    monkeypatch.setattr(agent_client, "LONG_POLL", 0.5)
    agent = start_agent({"container": OURS | {"render": {"sleep": 3}}})
    api = ready(agent)

    def restart() -> None:
        until(lambda: [note for note in agent.notes() if note["what"] == "begins"])
        agent.kill()
        if lost:
            shutil.rmtree(agent.folder / "var/lib/cloudburst/jobs")
        agent.start()

    restarting = threading.Thread(target=restart)
    restarting.start()
    if lost:
        with pytest.raises(RenderFailed, match="started anew, and the scene is lost"):
            api.render(scene, 120)
    else:
        assert api.render(scene, 120).endpoint == "/download/1/download/1"
    restarting.join()
    api.wait_healthy(SOON, patiently)
    assert api.render(scene, 60).endpoint == "/download/1/download/1"


def test_a_download_goes_on_where_it_broke_off(
    start_agent: Start, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = ready(start_agent({"container": OURS}))
    rendered = api.render(scene, 60)
    real, requests = api._peer.open, list[str]()

    class Cut:
        """An answer that breaks off after some bytes."""

        def __init__(self, response: Any) -> None:
            self.status_code = response.status_code
            self._response = response

        def iter_content(self, size: int) -> Iterator[bytes]:
            yield next(iter(self._response.iter_content(size)))
            raise ConnectionResetError("reset by peer")

    @contextmanager
    def lossy(method: str, path: str, budget: Any, **options: Any) -> Iterator[Any]:
        requests.append(options["headers"].get("Range", ""))
        with real(method, path, budget, **options) as response:
            yield Cut(response) if len(requests) < 3 else response

    monkeypatch.setattr(api._peer, "open", lossy)
    api.fetch(replace(rendered, size=len(VIDEO)), tmp_path / "v.mp4")
    assert (tmp_path / "v.mp4").read_bytes() == VIDEO
    assert requests[0] == ""
    assert len(requests) == 3
    assert all(each.startswith("bytes=") for each in requests[1:])


def test_a_download_that_stays_broken_is_given_up(
    start_agent: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = start_agent({"container": OURS})
    api = ready(agent)
    monkeypatch.setattr(AgentApi, "resumes", 0.5)
    agent.kill()
    with pytest.raises(WorkerUnreachable, match="GET /download/1/download/1: connection refused"):
        api.fetch(Rendered("/download/1/download/1", 0, "", ()), tmp_path / "v.mp4")


# -- logs ---------------------------------------------------------------------------------------


def test_logs_are_written_beside_the_report(start_agent: Start, tmp_path: Path) -> None:
    api = ready(start_agent({"container": OURS}))
    api.write_logs(tmp_path / "logs", "b01.2")
    assert "pulling: me/mine:1" in (tmp_path / "logs/b01.2.boot.log").read_text()
    assert "the video API listens" in (tmp_path / "logs/b01.2.log").read_text()


def test_logs_of_who_does_not_answer_are_told(tmp_path: Path) -> None:
    api = AgentApi(worker(AgentProcess(tmp_path / "machine")))
    with pytest.raises(WorkerUnreachable, match="GET /logs: connection refused"):
        api.write_logs(tmp_path / "logs", "b01")
    assert not (tmp_path / "logs").exists()


def test_a_bundle_is_uploaded_and_started(start_agent: Start) -> None:
    agent = start_agent({"container": OURS}, bundle=True)
    agent.until("waiting")
    api = AgentApi(worker(agent))
    digest = api.upload("a.zip", b"zip", 10)
    with pytest.raises(WorkerUnreachable, match="/bundle answered 409"):
        api.start_bundle({"a.zip": "0" * 64})
    api.start_bundle({"a.zip": digest})
    api.wait_healthy(SOON, patiently)


@contextmanager
def waiting(
    agent: AgentProcess, files: dict[str, bytes], port: int = 0
) -> Iterator[tuple[AgentApi, list[str]]]:
    """Yield a client with files for a machine, and the names that it has sent."""
    api, sent = AgentApi(replace(worker(agent, port), files=files)), list[str]()
    upload = api.upload

    def note(name: str, data: bytes, seconds: float) -> str:
        sent.append(name)
        return upload(name, data, seconds)

    api.upload = note  # type: ignore[method-assign]
    yield api, sent


FILES = {"a.zip": bytes(range(256)) * 800, "requirements.lock": b"flask"}


def test_files_go_through_a_slow_line_once(start_agent: Start) -> None:
    agent = start_agent({"container": OURS}, bundle=True)
    agent.until("waiting")
    with wired(agent) as (wire, port), waiting(agent, FILES, port) as (api, sent):
        wire.rate = 60_000
        began = time.monotonic()
        api.wait_healthy(SOON, patiently)
        assert time.monotonic() - began > 3, "it was slow"
    assert sent == [*FILES]
    assert api.sent == sum(map(len, FILES.values()))
    assert (agent.folder / "var/lib/cloudburst/bundle/a.zip").read_bytes() == FILES["a.zip"]


def test_files_that_a_machine_has_lost_are_sent_again(
    start_agent: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_client, "_LOST", 0.5)
    agent = start_agent({"container": OURS}, bundle=True)
    agent.until("waiting")
    with waiting(agent, FILES) as (api, sent):
        start, lost = api.start_bundle, list[str]()

        def lose(files: dict[str, str], seconds: float = 10) -> None:
            if lost:
                start(files, seconds)
            lost.append("")  # the first time, nobody hears of it

        api.start_bundle = lose  # type: ignore[method-assign]
        api.wait_healthy(SOON, patiently)
    assert sent == [*FILES] * 2
    assert api.sent == 2 * sum(map(len, FILES.values())), "both are on the line"


def test_files_that_have_arrived_are_not_sent_again(
    start_agent: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_client, "_LOST", 600)
    agent = start_agent({"pull": {"sleep": 3}, "container": OURS | {"slow": 2}}, bundle=True)
    with waiting(agent, FILES) as (api, sent):
        api.wait_healthy(SOON, patiently)
    assert sent == [*FILES]


def test_what_an_earlier_session_has_sent_is_ended(start_agent: Start) -> None:
    agent = start_agent({"container": OURS | {"render": {"sleep": 600}}})
    api = ready(agent)
    agent.submit(name="s")
    until(lambda: agent.health()["running"] == 1)
    api.forget()
    until(lambda: agent.health()["running"] == 0)
    agent.kill()
    with pytest.raises(WorkerUnreachable, match="DELETE /jobs: connection refused"):
        api.forget()


def test_an_identity_is_a_workers_own() -> None:
    one, another = (certificate.make(time.time(), 60) for _ in range(2))
    assert one.certificate != another.certificate
    assert one.key not in repr(one)
