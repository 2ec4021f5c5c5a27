"""The worker agent as its own process: true states, the lease, and who may ask."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.agents import KEY, AgentProcess
from tests.support.clouds import until
from tests.support.patience import SOON

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., AgentProcess]
OURS = {"health": {"capacity": 3, "version": "1.2"}}


# -- states -------------------------------------------------------------------------------------


def test_it_answers_before_docker_does_and_tells_each_state(start_agent: Start) -> None:
    agent = start_agent({"ps": {"fail": "Cannot connect to the Docker daemon"}}, docker_wait=600)
    booting = agent.until("booting")
    assert booting["status"] == "unhealthy"
    assert booting["detail"] == "waiting for Docker"
    assert agent.ask("GET", "/health")[0] == 503
    assert agent.ask("POST", "/jobs", {"name": "x"})[0] == 503
    agent.order({"pull": {"sleep": 2}, "container": {"slow": 2}})
    assert agent.until("pulling")["detail"] == "me/mine:1"
    assert agent.until("starting")["since"] < SOON
    ready = agent.until("ready")
    assert agent.ask("GET", "/health")[0] == 200
    assert ready["status"] == "healthy"
    assert (ready["capacity"], ready["image"], ready["agent"]) == (2, "me/mine:1", 1)
    assert (ready["running"], ready["queued"], ready["video_api"]) == (0, 0, None)
    assert 500 < ready["lease"] <= 600
    assert 3000 < ready["cap"] <= 3600
    assert "code" not in ready


def test_an_image_without_a_capacity_gets_a_container_for_every_scene(start_agent: Start) -> None:
    agent = start_agent(room=3)
    assert agent.until("ready")["capacity"] == 3
    runs = [call for call in agent.calls() if call[0] == "run"]
    first = agent.config["first_port"]
    published = [call[call.index("--publish") + 1] for call in runs]
    assert published == [f"127.0.0.1:{first + number}:5000" for number in range(3)]
    assert {call[call.index("--restart") + 1] for call in runs} == {"always"}
    assert not [call for call in runs if "--gpus" in call]


def test_an_image_that_says_its_capacity_gets_one_container(start_agent: Start) -> None:
    agent = start_agent({"container": OURS}, room=2)
    ready = agent.until("ready")
    assert (ready["capacity"], ready["video_api"], ready["encoder"]) == (3, "1.2", "x264")
    assert len([call for call in agent.calls() if call[0] == "run"]) == 1


def test_keys_of_containers_are_their_own_and_on_no_command_line(start_agent: Start) -> None:
    agent = start_agent()
    agent.until("ready")
    keys = {note["key"] for note in agent.notes() if note["what"] == "starts"}
    assert len(keys) == 2
    assert KEY not in keys
    everything = json.dumps(agent.calls()) + agent.console
    assert not any(key in everything for key in (KEY, *keys))


def test_a_gpu_comes_with_its_encoder_and_is_waited_for(start_agent: Start) -> None:
    refusal = 'could not select device driver "" with capabilities: [[gpu]]'
    orders = {"run": {"fail": refusal, "times": 1}, "container": {"nvenc": True}}
    agent = start_agent(orders, gpu=True, room=1)
    assert agent.until("ready")["encoder"] == "nvenc"
    runs = [call for call in agent.calls() if call[0] == "run"]
    assert len(runs) == 2
    assert runs[1][runs[1].index("--gpus") + 1] == "all"
    (note,) = [note for note in agent.notes() if note["what"] == "starts"]
    assert note["gpu"] == "compute,video,utility"


def test_without_its_gpu_a_machine_renders_and_says_why(start_agent: Start) -> None:
    refusal = "nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown."
    orders = {"run": {"fail": refusal, "times": 1}, "container": OURS}
    agent = start_agent(orders, gpu=True, gpu_wait=0)
    ready = agent.until("ready")
    assert (ready["encoder"], ready["gpu_error"], ready["capacity"]) == ("x264", refusal, 3)
    assert ["--gpus" in call for call in agent.calls() if call[0] == "run"] == [True, False]
    assert f"video-api-1: without a GPU: {refusal}" in agent.console


def test_what_is_not_the_gpus_fault_is_not_waited_for(start_agent: Start) -> None:
    text = "Error response from daemon: driver failed programming external connectivity"
    failed = start_agent({"run": {"fail": text}}, gpu=True, gpu_wait=600).until("failed")
    assert failed["reason"] == text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_containers_speak_the_runners_language(start_agent: Start, language: str) -> None:
    agent = start_agent({"container": OURS}, language=language)
    agent.until("ready")
    assert agent.container()["environment"]["CLOUDBURST_LANG"] == language


@pytest.mark.slow
def test_a_gpu_that_does_not_encode_is_told(start_agent: Start) -> None:
    assert start_agent({}, gpu=True).until("ready")["encoder"] == "x264"


HUB = "Error response from daemon: "
BOOTS = {
    "no image": ("pull", HUB + "manifest for me/mine:1 not found: manifest unknown", "not_found"),
    "no repository": (
        "pull",
        HUB + "pull access denied for me/mine, repository does not exist or may require 'docker "
        "login': denied: requested access to the resource is denied",
        "image_not_found",
    ),
    "no rights": ("pull", HUB + "unauthorized: authentication required", "pull_refused"),
    "no rights in ECR": (
        "pull",
        HUB + "pull access denied for h/n, repository does not exist or may require 'docker "
        "login': denied: User: arn:aws:iam::1:user/me is not authorized to perform: ecr:Batch",
        "pull_refused",
    ),
    "ECR": ("pull", HUB + 'Head "https://h/v2/n": no basic auth credentials', "pull_refused"),
    "no network": ("pull", HUB + 'Get "https://h/v2/": net/http: TLS timeout', "pull_failed"),
    "limit": ("pull", HUB + "toomanyrequests: You have reached your pull rate", "pull_failed"),
    "other processor": (
        "pull",
        HUB + "no matching manifest for linux/arm64/v8 in the manifest list entries",
        "wrong_architecture",
    ),
    "full disk": ("pull", "write /var/lib/docker/tmp: no space left on device", "disk_full"),
    "no docker": ("ps", "Cannot connect to the Docker daemon", "docker_unavailable"),
    "no run": ("run", HUB + "driver failed programming external connectivity", "container_failed"),
}

# One of each code; the others are its variants.
QUICK = ("no image", "no rights", "no network", "other processor", "no docker")


@pytest.mark.parametrize(
    "boot",
    [boot if boot in QUICK else pytest.param(boot, marks=pytest.mark.slow) for boot in BOOTS],
)
def test_a_boot_that_failed_is_told_with_dockers_words(start_agent: Start, boot: str) -> None:
    verb, text, code = BOOTS[boot]
    agent = start_agent({verb: {"fail": text}}, **({"docker_wait": 0} if verb == "ps" else {}))
    failed = agent.until("failed")
    assert failed["code"].endswith(code)
    assert failed["reason"] == text
    assert failed["status"] == "unhealthy"
    assert f"failed: {failed['code']}: {text}" in agent.console
    pulls = len([call for call in agent.calls() if call[0] == "pull"])
    # Two more tries, if they can help.
    assert pulls == {"pull": 3 if boot == "no network" else 1, "run": 1, "ps": 0}[verb]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("exec /usr/bin/python3: exec format error", "wrong_architecture"),
        ("ImportError: libGL.so.1", "container_failed"),
    ],
)
def test_a_container_that_ends_again_and_again_is_told(
    start_agent: Start, words: str, code: str
) -> None:
    failed = start_agent({"container": {"exits": words}}).until("failed")
    assert failed["code"] == code
    assert failed["reason"] == f"the container ends again and again: {words}"


@pytest.mark.slow
def test_a_container_that_never_answers_is_told(start_agent: Start) -> None:
    failed = start_agent({"container": {"slow": 600}}, start_wait=0.5).until("failed")
    assert failed["code"] == "container_failed"
    assert failed["reason"].startswith("the container was not healthy within 0 s")


def test_a_pull_that_fails_once_is_repeated(start_agent: Start) -> None:
    agent = start_agent({"pull": {"fail": "net/http: TLS handshake timeout", "times": 2}})
    assert agent.until("ready", "failed")["state"] == "ready"
    assert "the pull failed; again in 0.05 s: net/http" in agent.console


@pytest.mark.slow
def test_a_docker_that_hangs_does_not_hang_the_agent(start_agent: Start) -> None:
    agent = start_agent({"ps": {"sleep": 600}}, docker_wait=0)
    failed = agent.until("failed")
    assert failed["code"] == "docker_unavailable"
    assert failed["reason"] == "docker ps did not end within 5 s"


def test_a_login_is_for_the_pull_alone(start_agent: Start, tmp_path: Path) -> None:
    login = {"host": "registry.example", "user": "AWS", "token": "t0ken"}
    agent = start_agent(login=login)
    agent.until("ready")
    token, config = json.loads((agent.folder / "login.json").read_text())
    assert token == "t0ken"  # noqa: S105 - a test's
    assert not (tmp_path / config).exists()
    assert ["login", "--username", "AWS", "--password-stdin", "registry.example"] in agent.calls()
    assert "t0ken" not in json.dumps(agent.calls()) + agent.console


@pytest.mark.slow
def test_a_login_that_is_refused_is_told(start_agent: Start) -> None:
    login = {"host": "registry.example", "user": "AWS", "token": "t0ken"}
    agent = start_agent(
        {"login": {"fail": "Error response from daemon: 400 Bad Request"}}, login=login
    )
    failed = agent.until("failed")
    assert failed["code"] == "pull_refused"
    assert failed["reason"].startswith("the login to registry.example failed: Error response")
    assert not [call for call in agent.calls() if call[0] == "pull"]


# -- the machine's end --------------------------------------------------------------------------


def test_a_machine_that_nobody_asks_for_ends_itself(start_agent: Start) -> None:
    agent = start_agent(lease=1)
    until(lambda: ["poweroff", "--force", "--force"] in agent.calls("systemctl"))
    ends = [call for call in agent.calls("systemctl") if call[0] == "poweroff"]
    assert ends[:2] == [["poweroff"], ["poweroff", "--force"]]
    assert "nobody has asked for this machine any more" in agent.console


def test_requests_with_the_key_prolong_the_lease_but_never_beyond_the_cap(
    start_agent: Start,
) -> None:
    began = time.monotonic()
    agent = start_agent(lease=10, cap=12)
    agent.until("ready")
    while ["poweroff"] not in agent.calls("systemctl"):
        with contextlib.suppress(OSError):
            health = agent.health()
            assert health["lease"] <= min(10, health["cap"]) + 0.1
        assert time.monotonic() - began < SOON
        time.sleep(0.2)
    assert time.monotonic() - began > 11.5


@pytest.mark.slow
def test_requests_without_the_key_do_not_prolong_it(start_agent: Start) -> None:
    agent = start_agent(lease=3)
    agent.until("booting", "pulling", "starting", "ready")
    began = time.monotonic()
    while ["poweroff"] not in agent.calls("systemctl"):
        with contextlib.suppress(OSError):
            assert agent.ask("GET", "/health", key="another")[0] == 401
        assert time.monotonic() - began < SOON
        time.sleep(0.1)


def test_an_agent_that_is_killed_goes_on_with_its_containers_and_its_lease(
    start_agent: Start,
) -> None:
    agent = start_agent({"container": OURS}, cap=100)
    agent.until("ready")
    container = agent.container()["pid"]
    time.sleep(1.1)
    agent.kill()
    agent.start()
    ready = agent.until("ready")
    assert ready["cap"] < 99
    assert agent.container()["pid"] == container
    assert len([call for call in agent.calls() if call[0] == "pull"]) == 1
    assert agent.result(agent.submit(name="a"))["status"] == 200


@pytest.mark.slow
def test_containers_that_do_not_stop_what_was_given_up_are_started_anew(start_agent: Start) -> None:
    agent = start_agent(room=1)
    agent.until("ready")
    agent.submit(name="lost", sleep=600)
    until(lambda: [note for note in agent.notes() if note["what"] == "begins"])
    agent.kill()
    agent.start()
    agent.until("ready")
    assert len([note for note in agent.notes() if note["what"] == "starts"]) == 2
    assert len([call for call in agent.calls() if call[0] == "pull"]) == 1


@pytest.mark.slow
def test_a_killed_agent_does_not_prolong_a_lease_that_is_over(start_agent: Start) -> None:
    agent = start_agent(lease=2, start_wait=5)
    agent.until("booting", "pulling", "starting", "ready")
    agent.kill()
    time.sleep(2.2)
    agent.start()
    until(lambda: ["poweroff"] in agent.calls("systemctl"))


@pytest.mark.parametrize(
    "record",
    [
        None,
        pytest.param("", marks=pytest.mark.slow),
        pytest.param('{"boot": "fir', marks=pytest.mark.slow),
    ],
)
def test_a_reboot_ends_the_machine(start_agent: Start, record: str | None) -> None:
    agent = start_agent()
    agent.until("ready")
    agent.kill()
    if record is None:
        (agent.folder / "boot_id").write_text("second\n")
    else:
        (agent.folder / "var/lib/cloudburst/lease.json").write_text(record)
    agent.start()
    until(lambda: ["poweroff"] in agent.calls("systemctl"))
    assert "rebooted: powering off" in agent.console
    with pytest.raises(OSError, match="refused"):
        agent.connect()


# -- who may ask --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health", "/logs", "/jobs/x", "/download/1/download/1", "/"])
@pytest.mark.parametrize("key", [None, "", KEY[:-1], KEY + "x", "ключ".encode().decode("latin-1")])
def test_nothing_is_answered_without_the_key(start_once: AgentProcess, path: str, key: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
        status, said, headers = start_once.ask(method, path, key=key)
        assert status == 401
        assert said in ({"error": "Authentication failed", "required_header": HEADER}, b"")
        assert "Python" not in headers["Server"]


HEADER = "X-Authentication-Key"


@pytest.fixture(scope="module")
def start_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    agent = AgentProcess(tmp_path_factory.mktemp("once") / "machine", {"container": OURS})
    agent.start()
    agent.until("ready")
    yield agent
    agent.close()


GARBAGE = {
    "no TLS": b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "noise": bytes(range(256)) * 16,
    "nothing": b"",
}
HEADS = {
    "no HTTP": b"hello\r\n\r\n",
    "a long line": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    "a long header": b"GET / HTTP/1.1\r\na: " + b"b" * 70_000 + b"\r\n\r\n",
    "an odd version": b"GET / HTTP/9.9\r\n\r\n",
    "an odd method": b"BREW / HTTP/1.1\r\n\r\n",
    "nul": b"GET /\0 HTTP/1.1\r\n\0: \0\r\n\r\n",
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_is_no_tls_is_closed(start_once: AgentProcess, garbage: str) -> None:
    with socket.create_connection(("127.0.0.1", start_once.port), SOON) as plain:
        plain.sendall(GARBAGE[garbage])
        if not GARBAGE[garbage]:
            plain.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while plain.recv(1024):
                pass
    assert start_once.health()["state"] == "ready"


@pytest.mark.parametrize("head", HEADS)
def test_what_is_no_request_is_refused(start_once: AgentProcess, head: str) -> None:
    said = b""
    with start_once.connect() as tls, contextlib.suppress(OSError, ssl.SSLError):
        tls.sendall(HEADS[head])
        while chunk := tls.recv(1024):
            said += chunk
    assert not said or int(said.split()[1]) >= 400
    assert start_once.health()["state"] == "ready"


@pytest.mark.parametrize(
    ("length", "status"),
    [(None, 411), ("-1", 411), ("x", 411), ("9" * 30, 411), (str(513 * 1024**2), 413)],
)
def test_bodies_are_bounded(start_once: AgentProcess, length: str | None, status: int) -> None:
    head = f"POST /jobs HTTP/1.1\r\n{HEADER}: {KEY}\r\n"
    head += "" if length is None else f"Content-Length: {length}\r\n"
    with start_once.connect() as tls:
        tls.sendall(f"{head}\r\n".encode())
        assert int(tls.recv(1024).split()[1]) == status
    assert not [*(start_once.folder / "var/lib/cloudburst/jobs").glob("*")]


def test_a_body_that_breaks_off_is_no_job(start_once: AgentProcess) -> None:
    head = f"POST /jobs HTTP/1.1\r\n{HEADER}: {KEY}\r\nContent-Length: 1000\r\n\r\nabc"
    with start_once.connect() as tls:
        tls.sendall(head.encode())
    folder = start_once.folder / "var/lib/cloudburst/jobs"
    until(lambda: not [*folder.glob("*")])
    assert start_once.health()["queued"] == 0


@pytest.mark.slow
def test_strangers_cannot_keep_others_out(start_agent: Start) -> None:
    agent = start_agent({"container": OURS})
    agent.until("ready")
    with contextlib.ExitStack() as held:
        for number in range(100):
            with contextlib.suppress(OSError):
                plain = held.enter_context(socket.create_connection(("127.0.0.1", agent.port), 5))
                if number % 2:
                    tls = held.enter_context(agent.context().wrap_socket(plain))
                    tls.sendall(b"GET /health HTTP/1.1\r\n")
        assert agent.until("ready")["state"] == "ready", "they are closed within seconds"


def test_another_certificate_is_refused_by_who_pins_this_one(
    start_once: AgentProcess, tmp_path: Path
) -> None:
    other = AgentProcess(tmp_path / "other")
    with (
        socket.create_connection(("127.0.0.1", start_once.port), SOON) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        other.context().wrap_socket(plain)


def test_old_versions_of_tls_are_refused(start_once: AgentProcess) -> None:
    context = start_once.context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", start_once.port), SOON) as plain,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(plain)


def test_unknown_paths_and_files_are_refused(start_once: AgentProcess) -> None:
    for method, path in (("GET", "/nothing"), ("POST", "/health"), ("PUT", "/bundle/a.zip")):
        assert start_once.ask(method, path, b"x")[0] == 404
    for path in ("/download/9/download/1", "/download/1/etc/passwd", "/download/1/../../x"):
        assert start_once.ask("GET", path)[0] == 404
