"""Docker on a machine: several containers, and the errors of an image that cannot run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from testcloud.cloud import Cloud, MachineFault
from tests.support.clouds import make_group, until
from tests.support.marks import but_the_first_slow

if TYPE_CHECKING:
    from collections.abc import Callable

    from testcloud.machines.machine import Machine

    Launch = Callable[..., Machine]


def ended(machine: Machine) -> str:
    """Wait for the end of the user data; return the console's text."""
    until(lambda: "user data ended" in machine.boot_log())
    return machine.boot_log()


RUN = "docker run -d --restart always -p {port}:5000 --name {name} example/image"


def test_containers_have_names_and_loopback_ports(cloud: Cloud, ec2: Any, launch: Launch) -> None:
    cloud.machine_faults.append(MachineFault("never_healthy", times=None))
    script = "\n".join(
        [
            "#!/bin/bash",
            RUN.format(port="127.0.0.1:5001", name="one"),
            RUN.format(port="127.0.0.1:5002", name="two"),
            RUN.format(port="127.0.0.1:5001", name="three") + "; echo port $?",
            RUN.format(port="127.0.0.1:5004", name="two") + "; echo name $?",
            "docker ps --format '{{.Names}}'",
            "for port in 5001 5002; do",
            "  until curl -s http://localhost:$port/health | grep -q starting; do sleep 0.1; done",
            "done; echo",
            "docker rm one; echo runs $?",
            "docker rm --force one; docker rm --force one; echo forced $?",
            "curl -s http://127.0.0.1:5001/health; echo gone $?",
            "docker inspect --format '{{.State.Status}} {{.RestartCount}}' two",
            "docker inspect one; echo object $?",
        ]
    )
    machine = launch(script, SecurityGroupIds=[make_group(ec2, port=5002)])
    other = launch(script)  # has the same ports, which are its own
    for log in (ended(machine), ended(other)):
        assert "Bind for 127.0.0.1:5001 failed: port is already allocated" in log
        assert "port 125\n" in log
        assert 'The container name "/two" is already in use' in log
        assert "name 125\n" in log
        assert "\none\ntwo\n" in log
        assert "container is running: stop the container before removing or force remove" in log
        assert "runs 1\n" in log
        assert "No such container: one\nforced 0\n" in log
        assert "gone 7\n" in log
        assert "running 0\n" in log
        assert "No such object: one\nobject 1\n" in log
    assert len(machine.container_pids) == 1
    with pytest.raises(requests.RequestException):
        requests.get(f"http://{machine.address}:5002/health", timeout=1)


@pytest.mark.parametrize(
    "case",
    but_the_first_slow(
        [
            ("image_not_found", "manifest for a/b:1 not found: manifest unknown: manifest unknown"),
            ("pull_denied", "denied for a/b, repository does not exist or may require 'docker"),
            ("pull_limited", "toomanyrequests: You have reached your pull rate limit."),
            ("wrong_architecture", "no matching manifest for linux/arm64/v8 in the manifest list"),
            ("disk_full", "no space left on device"),
            ("pull_fails", "net/http: request canceled while waiting for connection"),
        ]
    ),
)
def test_a_pull_is_refused_in_dockers_words(
    cloud: Cloud, launch: Launch, case: tuple[str, str]
) -> None:
    kind, words = case
    cloud.machine_faults.append(MachineFault(kind))
    script = "docker pull --quiet a/b:1; echo pull $?\ndocker run -d a/b:1; echo run $?\n"
    machine = launch(f"#!/bin/bash\n{script}", InstanceType="c7g.large")
    log = ended(machine)
    assert log.count(words) == 2
    assert "pull 1\n" in log
    assert "run 125\n" in log
    assert machine.container_pids == []


def test_an_image_for_another_processor_ends_again_and_again(cloud: Cloud, launch: Launch) -> None:
    cloud.machine_faults.append(MachineFault("exec_format"))
    script = "\n".join(
        [
            "#!/bin/bash",
            "docker pull -q example/image",
            RUN.format(port="127.0.0.1:5001", name="one"),
            "until [ $(docker inspect -f '{{.RestartCount}}' one) -gt 1 ]; do sleep 0.1; done",
            "docker logs --tail 1 one",
            "docker run --rm example/image; echo code $?",
        ]
    )
    log = ended(launch(script))
    assert "(linux/arm64/v8) does not match the detected host platform (linux/amd64)" in log
    assert "exec format error" in log
    assert "code 1\n" in log


def test_a_gpu_is_there_once_its_driver_is_loaded(cloud: Cloud, launch: Launch) -> None:
    cloud.machine_faults += [
        MachineFault("late_gpu", seconds=2.0, where={"type": "g4dn.xlarge"}),
        MachineFault("never_healthy", times=None),
    ]
    run = "docker run -d --gpus all --name {} example/image"
    plain = launch(f"#!/bin/bash\n{run.format('one')}; echo code $?\n")
    script = (
        f"#!/bin/bash\n{run.format('one')}\nuntil {run.format('$RANDOM')}; do sleep 0.2; done\n"
    )
    graphics = launch(script, InstanceType="g4dn.xlarge")
    assert 'could not select device driver "" with capabilities: [[gpu]]' in ended(plain)
    assert "code 125\n" in ended(plain)
    assert "nvml error: driver not loaded" in ended(graphics)
    until(lambda: graphics.container_pids)
    assert plain.container_pids == []


@pytest.mark.slow
def test_a_pull_may_crawl(cloud: Cloud, launch: Launch) -> None:
    cloud.machine_faults.append(MachineFault("slow_pull", seconds=60))
    log = ended(launch("#!/bin/bash\ntimeout 1 docker pull -q a/b; echo code $?\n"))
    assert "code 124\n" in log
