"""The real user-data and the real agent on machines of the test cloud."""

from __future__ import annotations

import json
import os
import signal
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest

from testcloud.cloud import Cloud, MachineFault
from tests.support.clouds import until
from tests.support.marks import but_the_first_slow
from tests.support.rentedagent import IMAGE, KEY, RentedAgent, boot, contain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from testcloud.machines.machine import Machine

    Launch = Callable[..., Machine]


@pytest.fixture
def iam_policy() -> None:
    """Return no policy: these tests launch by themselves."""
    return


@pytest.fixture(params=but_the_first_slow(["namespace", "CLOUDBURST_ROOT"]))
def either(cloud: Cloud, request: pytest.FixtureRequest) -> None:
    """Run a test with system folders of the machine's own, and without."""
    cloud.namespaces = request.param == "namespace"


@pytest.fixture
def quiet(cloud: Cloud, tmp_path: Path) -> Path:
    """Let containers be quick servers; return the folder with what they note."""
    contain(cloud, tmp_path, {"health": {"capacity": 4}})
    return tmp_path


def notes(folder: Path) -> list[dict[str, Any]]:
    """Return what the containers noted."""
    path = folder / "container.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [note for note in map(json.loads, lines) if note["what"] != "starts"]


def main_pid(machine: Machine) -> int:
    """Return the agent's process id, 0 while it has none."""
    return int(machine.services.get("cloudburst-agent.service", {}).get("pid", 0))


def gone(agent: RentedAgent) -> str:
    """Wait for the end of a machine that ends itself; return the console's text."""
    machine = agent.machine
    until(lambda: machine.state == "terminated")
    assert machine.reason == "Client.InstanceInitiatedShutdown"
    assert machine.alive() == []
    return machine.boot_log()


# -- a boot -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("either")
def test_a_machine_tells_how_far_it_is_and_renders(launch: Launch, quiet: Path) -> None:
    agent = boot(launch)
    health = agent.until("ready")
    assert (health["capacity"], health["image"], health["status"]) == (4, IMAGE, "healthy")
    assert health["lease"] <= 600 < health["cap"]
    assert agent.result({"name": "one"})["status"] == 200
    assert [note["job"] for note in notes(quiet)] == ["one", "one"]
    machine = agent.machine
    log = machine.boot_log()
    assert "off in 30 minutes at the latest, by shutdown" in log
    assert log.index("dead-man switch") < log.index("the agent answers") < log.index("ready: 4")
    assert "cloudburst-cap.timer" in (machine.folder / "units.json").read_text()
    assert not any(KEY in line for line in machine.commands())
    assert KEY not in log
    for name in ("agent.json", "key.pem", "cert.pem"):
        assert (machine.root / "etc/cloudburst" / name).stat().st_mode & 0o777 == 0o600
    # The container cannot command the machine: its key is another one.
    [container] = [json.loads(p.read_text()) for p in machine.folder.glob("containers/*.json")]
    assert container["environment"]["AUTHENTICATION_KEY"] != KEY


@pytest.mark.slow
def test_an_image_without_a_capacity_gets_a_container_for_each_scene(
    cloud: Cloud, launch: Launch, tmp_path: Path
) -> None:
    contain(cloud, tmp_path, {})
    agent = boot(launch, room=3)
    assert agent.until("ready")["capacity"] == 3
    assert len(agent.machine.container_pids) == 3
    jobs = [agent.ask("POST", "/jobs", {"name": str(n), "sleep": 2})[1]["id"] for n in range(3)]
    for job in jobs:
        assert agent.ask("GET", f"/jobs/{job}?wait=30")[1]["state"] == "done"
    first = notes(tmp_path)[:3]
    assert [note["what"] for note in first] == ["begins"] * 3
    assert len({note["port"] for note in first}) == 3, "each in a container of its own"


BOOTS = [
    ("image_not_found", "image_not_found", "manifest unknown"),
    ("pull_denied", "image_not_found", "repository does not exist or may require 'docker login'"),
    ("pull_limited", "pull_failed", "You have reached your pull rate limit"),
    ("wrong_architecture", "wrong_architecture", "no matching manifest for linux/arm64/v8"),
    ("exec_format", "wrong_architecture", "exec format error"),
    ("disk_full", "disk_full", "no space left on device"),
    ("no_docker", "docker_unavailable", "Cannot connect to the Docker daemon"),
    ("pull_fails", "pull_failed", "request canceled while waiting for connection"),
]


@pytest.mark.parametrize("case", but_the_first_slow(BOOTS))
def test_a_failed_boot_is_told_with_its_reason(
    cloud: Cloud, launch: Launch, case: tuple[str, str, str]
) -> None:
    kind, code, words = case
    cloud.machine_faults.append(MachineFault(kind))

    def arm(user_data: str, **more: Any) -> Machine:
        return launch(user_data, InstanceType="c7g.large", **more)

    settings = {"docker_wait": 3} if kind == "no_docker" else {}
    agent = boot(arm if kind == "wrong_architecture" else launch, **settings)
    health = agent.until("failed")
    assert health["code"] == code
    assert words in health["reason"]
    assert health["since"] < 5, "told within five seconds of being known"
    assert health["status"] == "unhealthy"
    assert agent.ask("GET", "/health")[0] == 503


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_a_pull_that_crawls_is_seen(cloud: Cloud, launch: Launch) -> None:
    cloud.machine_faults.append(MachineFault("slow_pull", seconds=3))
    agent = boot(launch)
    health = agent.until("pulling")
    assert health["detail"] == IMAGE
    agent.until("ready")


@pytest.mark.parametrize("kind", but_the_first_slow(["late_docker", "logind_away"]))
@pytest.mark.usefixtures("quiet")
def test_what_hinders_a_boot_on_some_machines_does_not_here(
    cloud: Cloud, launch: Launch, kind: str
) -> None:
    cloud.machine_faults.append(MachineFault(kind))
    agent = boot(launch)
    agent.until("ready")
    by = "systemd-run" if kind == "logind_away" else "shutdown"
    assert f"off in 30 minutes at the latest, by {by}" in agent.machine.boot_log()


# -- its end ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quiet")
def test_a_machine_ends_itself_once_nobody_asks(launch: Launch) -> None:
    agent = boot(launch, lease=4)
    agent.until("ready")
    assert "nobody has asked" in gone(agent)
    assert time.monotonic() - agent.at >= 3.5, "not before its lease was over"


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_who_asks_moves_the_end_but_not_beyond_the_cap(launch: Launch) -> None:
    agent = boot(launch, lease=3, cap=10)
    agent.until("ready")
    began = time.monotonic()
    asked: list[float] = []
    while agent.machine.state == "running":
        try:
            asked.append(agent.health()["cap"])
        except OSError:
            break
        time.sleep(0.3)
    gone(agent)
    assert time.monotonic() - began > 4, "longer than a lease"
    assert min(asked) < 4, "up to the cap"
    assert all(left <= 10 for left in asked)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["", "logind_away"])
def test_the_outer_switch_ends_a_machine_whose_agent_is_renewed_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from tests.support.clouds import administrator, run_parameters

    with Cloud(tmp_path / "fast", minute=4.0) as cloud:
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        contain(cloud, tmp_path, {"health": {"capacity": 1}})
        if kind:
            cloud.machine_faults.append(MachineFault(kind))

        def rent(user_data: str, **more: Any) -> Machine:
            administrator().run_instances(**run_parameters(user_data, **more))
            until(lambda: cloud.machines[-1].state == "running")
            return cloud.machines[-1]

        agent = boot(rent, minutes=3, cap=3600)
        agent.until("ready")
        while agent.machine.state == "running":
            try:
                agent.health()
            except OSError:
                break
            time.sleep(0.2)
        gone(agent)
        administrator().delete_security_group(
            GroupId=agent.machine.instance.security_groups[0].id
        ) if agent.machine.instance.security_groups else None


@pytest.mark.usefixtures("quiet")
def test_a_reboot_ends_the_machine(cloud: Cloud, launch: Launch) -> None:
    agent = boot(launch)
    agent.until("ready")
    cloud.reboot(agent.machine)
    assert "this machine has been rebooted: powering off" in gone(agent)


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_without_its_agent_a_machine_that_was_rebooted_ends_at_the_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.clouds import administrator, run_parameters

    with Cloud(tmp_path / "fast", minute=5.0) as cloud:
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        contain(cloud, tmp_path, {"health": {"capacity": 1}})

        def rent(user_data: str, **more: Any) -> Machine:
            administrator().run_instances(**run_parameters(user_data, **more))
            until(lambda: cloud.machines[-1].state == "running")
            return cloud.machines[-1]

        agent = boot(rent, minutes=3, cap=3600)
        agent.until("ready")
        (agent.machine.root / "etc/systemd/system/cloudburst-agent.service").unlink()
        cloud.reboot(agent.machine)
        until(lambda: agent.machine.boots == 2)
        gone(agent)
        assert "cloudburst-cap.timer: Triggering" in agent.machine.journal()


@pytest.mark.usefixtures("quiet")
def test_an_agent_that_is_killed_comes_back_with_its_container_and_its_lease(
    launch: Launch,
) -> None:
    agent = boot(launch, lease=600)
    agent.until("ready")
    before = agent.health()
    first = main_pid(agent.machine)
    [container] = agent.machine.container_pids
    os.kill(first, signal.SIGKILL)
    until(lambda: main_pid(agent.machine) not in (0, first))
    health = agent.until("ready")
    assert agent.machine.container_pids == [container], "what renders goes on"
    assert health["cap"] < before["cap"], "the cap counts from the first start"
    assert agent.result({"name": "after"})["status"] == 200


# -- between runner and machine -----------------------------------------------------------------


@pytest.mark.usefixtures("quiet")
def test_who_listens_in_between_reads_nothing(cloud: Cloud, launch: Launch) -> None:
    cloud.wired = True
    agent = boot(launch)
    agent.until("ready")
    assert agent.result({"name": "narration-of-a-scene"})["status"] == 200
    [wire] = cloud.wires(agent.machine)
    recorded = bytes(wire.recorded)
    assert len(recorded) > 1000
    for text in (KEY, "X-Authentication", "HTTP/1.1", "health", "narration-of-a-scene", IMAGE):
        assert text.encode() not in recorded


@pytest.mark.usefixtures("quiet")
def test_another_certificate_is_refused_before_the_key_is_sent(
    cloud: Cloud, launch: Launch
) -> None:
    cloud.machine_faults.append(MachineFault("intercepted"))
    agent = boot(launch)
    until(lambda: "the agent answers" in agent.machine.boot_log())
    with pytest.raises(ssl.SSLCertVerificationError):
        agent.health()
    [wire] = cloud.wires(agent.machine)
    assert wire.flows > 0
    assert wire.recorded == b"", "nothing was sent"


@pytest.mark.slow
@pytest.mark.parametrize("wait", [2, 30])
def test_a_nat_that_forgets_loses_only_who_waits_for_too_long(
    cloud: Cloud, launch: Launch, quiet: Path, wait: int
) -> None:
    cloud.machine_faults.append(MachineFault("nat", seconds=4))
    agent = boot(launch)
    agent.until("ready")
    identity = agent.ask("POST", "/jobs", {"name": "long", "sleep": 9})[1]["id"]
    if wait > 4:
        with pytest.raises(TimeoutError):
            agent.ask("GET", f"/jobs/{identity}?wait={wait}", seconds=14)
    deadline = time.monotonic() + 60
    while agent.ask("GET", f"/jobs/{identity}?wait=2")[1]["state"] != "done":
        assert time.monotonic() < deadline
    assert [note["what"] for note in notes(quiet)] == ["begins", "ends"], "rendered once"
