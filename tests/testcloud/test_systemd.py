"""A machine's systemd: what user-data may rely on, and what it may not."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from testcloud.cloud import Cloud, MachineFault
from tests.support.clouds import until
from tests.support.marks import but_the_first_slow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from testcloud.machines.machine import Machine

    Launch = Callable[..., Machine]

UNIT = """cat > $CLOUDBURST_ROOT/etc/systemd/system/{name}.service << 'END'
[Unit]
{unit}
[Service]
ExecStart={command}
StandardOutput=journal+console
{service}
[Install]
WantedBy=multi-user.target
END
"""


def script(*parts: str) -> str:
    """Return user data."""
    return "#!/bin/bash\n" + "\n".join(parts) + "\necho over\n"


def service(name: str, command: str = "/bin/sleep 600", more: str = "", unit: str = "") -> str:
    """Return the lines of user data that write a service."""
    return UNIT.format(name=name, command=command, service=more, unit=unit)


def over(machine: Machine) -> str:
    """Wait for the end of the user data; return the console's text."""
    until(lambda: "user data ended" in machine.boot_log())
    return machine.boot_log()


@pytest.fixture(params=but_the_first_slow(["namespace", "CLOUDBURST_ROOT"]))
def either(cloud: Cloud, request: pytest.FixtureRequest) -> None:
    """Run a test with system folders of the machine's own, and without."""
    cloud.namespaces = request.param == "namespace"


@pytest.fixture
def fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Start a cloud whose minutes last a second."""
    with Cloud(tmp_path / "fast", minute=1.0) as cloud:
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        yield cloud


@pytest.mark.usefixtures("either")
def test_a_service_outlives_the_user_data_and_is_started_again(launch: Launch) -> None:
    machine = launch(
        script(
            'test -z "${CLOUDBURST_ROOT-}" && echo own || echo given',
            service("w", "/bin/sh -c 'echo works; exec sleep 600'", "Restart=always\nRestartSec=0"),
            "systemctl daemon-reload",
            "systemctl is-active w; echo inactive $?",
            "systemctl enable w",
            "systemctl start --no-block w",
            "systemctl is-enabled w; echo enabled $?",
        )
    )
    log = over(machine)
    assert "inactive\ninactive 3\n" in log
    assert "Created symlink /etc/systemd/system/multi-user.target.wants/w.service →" in log
    assert "enabled\nenabled 0\n" in log
    first = until(lambda: machine.services.get("w.service", {}).get("pid"))
    until(lambda: first in machine.alive())
    os.kill(first, signal.SIGKILL)
    until(lambda: machine.services["w.service"]["pid"] not in (0, first))
    assert machine.services["w.service"]["restarts"] == 1
    until(lambda: machine.boot_log().count("works") == 2)


def test_what_a_machine_writes_to_etc_is_its_own(launch: Launch) -> None:
    write = "mkdir -p /etc/cloudburst /var/lib/cloudburst; echo $1 > /etc/cloudburst/mine"
    show = "cat /etc/cloudburst/mine /proc/sys/kernel/random/boot_id; ls /etc/hosts; id -u"
    guard = 'test -z "${CLOUDBURST_ROOT-}" || { echo bare; exit; }'
    machines = [launch(script(guard, write.replace("$1", str(n)), show)) for n in (1, 2)]
    logs = [over(machine) for machine in machines]
    if logs[0].startswith("bare"):
        pytest.skip("this computer allows no namespaces of mounts")
    for number, (machine, log) in enumerate(zip(machines, logs, strict=True), 1):
        lines = log.splitlines()
        assert lines[0] == str(number)
        assert lines[2:4] == ["/etc/hosts", "0"]
        assert (machine.root / "etc/cloudburst/mine").read_text() == f"{number}\n"
    assert logs[0].splitlines()[1] != logs[1].splitlines()[1], "each boot has an id of its own"


def test_systemctl_refuses_what_there_is_not(launch: Launch) -> None:
    log = over(
        launch(
            script(
                "systemctl start nothing; echo missing $?",
                "systemctl enable nothing; echo not to enable $?",
                "systemctl is-enabled nothing; echo no file $?",
                "systemctl mask --now --no-block ecs; echo masked $?",
                "systemctl start ecs; echo refused $?",
                "systemctl is-enabled ecs; echo shown $?",
                "systemctl strat docker; echo verb $?",
                "systemctl start --nowait docker; echo option $?",
                "systemctl is-active docker cloud-final",
                service("broken", "nothing/there"),
                "systemctl start broken; systemctl is-failed broken",
                service("once", "/bin/false", "Type=oneshot"),
                "systemctl start once; echo once $?",
                service("w"),
                "systemctl mask w; echo in the way $?",
            )
        )
    )
    for text in (
        "Failed to start nothing.service: Unit nothing.service not found.\nmissing 5\n",
        "Unit file nothing.service does not exist.\nnot to enable 1\n",
        "No such file or directory\nno file 1\n",
        "/etc/systemd/system/ecs.service → /dev/null.\nmasked 0\n",
        "Unit ecs.service is masked.\nrefused 1\n",
        "masked\nshown 1\n",
        "Unknown command verb 'strat', did you mean 'start'?\nverb 1\n",
        "unrecognized option '--nowait'\noption 1\n",
        "active\nactivating\n",
        "failed\n",
        "Job for once.service failed because the control process exited with error code.",
        "once 1\n",
        "File /etc/systemd/system/w.service already exists.\nin the way 1\n",
    ):
        assert text in log


def test_a_service_that_always_fails_is_given_up(launch: Launch) -> None:
    always = "Restart=always\nRestartSec=0"
    machine = launch(script(service("w", "/bin/false", always), "systemctl start w"))
    until(lambda: machine.services.get("w.service", {}).get("result") == "start-limit-hit")
    assert machine.services["w.service"]["state"] == "failed"
    assert "Start request repeated too quickly" in machine.journal()


def test_a_service_ends_with_all_of_its_processes(launch: Launch) -> None:
    command = "/bin/sh -c 'trap \"\" TERM; sleep 600 & sleep 600 & wait; wait'"
    machine = launch(
        script(service("w", command, "TimeoutStopSec=0.3"), "systemctl start w", "sleep 0.3")
    )
    over(machine)
    before = machine.alive()
    subprocess.run([machine.folder / "bin/systemctl", "stop", "w"], check=True)
    until(lambda: machine.services["w.service"]["state"] == "inactive")
    until(lambda: len(machine.alive()) <= len(before) - 3)


def test_a_unit_waits_for_what_it_is_ordered_after(launch: Launch) -> None:
    """A start that waits for what waits for the user data is the deadlock of real machines."""
    once = "Type=oneshot"
    machine = launch(
        script(
            service("late", "/bin/echo late", unit="After=multi-user.target"),
            # A simple service has started before its program says anything; a oneshot has ended.
            service("soon", "/bin/echo soon", once, "After=network-online.target"),
            service("last", "/bin/echo last", once, "Requires=soon.service\nAfter=soon.service"),
            "systemctl start --no-block late",
            "systemctl start last",
            "sleep 0.5; systemctl is-active multi-user.target",
        )
    )
    until(lambda: "late\n" in machine.boot_log())
    lines = machine.boot_log().splitlines()
    order = [lines.index(each) for each in ("soon", "last", "inactive", "over", "late")]
    assert order == sorted(order)


@pytest.mark.parametrize("late", but_the_first_slow([True, False]))
def test_docker_may_be_ordered_after_cloud_init(cloud: Cloud, launch: Launch, late: bool) -> None:
    if late:
        cloud.machine_faults.append(MachineFault("late_docker"))
    machine = launch(
        script(
            "systemctl start --no-block docker; echo asked",
            "timeout 2 docker ps; echo answered $?",
            service("w", "docker ps"),
            "systemctl start --no-block w",
        )
    )
    until(lambda: "CONTAINER ID" in machine.boot_log().partition("over")[2])
    assert ("answered 124" if late else "answered 0") in machine.boot_log()


def test_without_docker_its_client_says_so(cloud: Cloud, launch: Launch) -> None:
    cloud.machine_faults.append(MachineFault("no_docker"))
    log = over(launch(script("docker ps; echo ps $?", "systemctl start docker; echo start $?")))
    assert "Cannot connect to the Docker daemon at unix:///var/run/docker.sock" in log
    assert "ps 1\n" in log
    assert "start 1\n" in log


# -- ends ---------------------------------------------------------------------------------------

SCHEDULED = "cat $CLOUDBURST_ROOT/run/systemd/shutdown/scheduled"


def test_a_scheduled_shutdown_is_in_run(launch: Launch) -> None:
    before = time.time()
    log = over(
        launch(script("shutdown -h +30 bye", SCHEDULED, "shutdown -c", f"{SCHEDULED}; echo no $?"))
    )
    assert "MODE=poweroff\nWALL_MESSAGE=bye\n" in log
    due = int(log.partition("USEC=")[2].split()[0]) / 1e6
    assert 1795 < due - before < 1900
    assert "use 'shutdown -c' to cancel" in log
    assert "no 1\n" in log


@pytest.mark.slow
def test_without_logind_a_shutdown_warns_and_arms_nothing(fast: Cloud) -> None:
    fast.machine_faults.append(MachineFault("logind_away"))
    machine = rent(fast, script(f"shutdown -h +1; echo armed $?; {SCHEDULED}; echo file $?"))
    log = over(machine)
    assert "Failed to schedule shutdown" in log
    assert "armed 0\n" in log
    assert "file 1\n" in log
    time.sleep(2)
    assert machine.state == "running"


def rent(cloud: Cloud, user_data: str) -> Machine:
    """Launch a machine in a cloud."""
    import boto3

    from tests.support.clouds import run_parameters

    boto3.client("ec2").run_instances(**run_parameters(user_data))
    machine = cloud.machines[-1]
    until(lambda: machine.state != "pending")
    return machine


TIMER = """cat > $CLOUDBURST_ROOT/etc/systemd/system/off.timer << END
[Timer]
{timer}
[Install]
WantedBy=timers.target
END
"""
OFF = service("off", "systemctl poweroff", "Type=oneshot")
AT = "OnCalendar=$(date -u -d '+{minutes} minutes' '+%Y-%m-%d %H:%M:%S UTC')\nPersistent=true"


@pytest.mark.parametrize(
    "case",
    but_the_first_slow(
        [
            (
                OFF + TIMER.format(timer=AT.format(minutes=3)) + "systemctl enable --now off.timer",
                3,
            ),
            ("systemd-run --on-active=2m --unit=off systemctl poweroff", 2),
            ("systemd-run --on-active='1min 60' --unit=off systemctl poweroff --force", 2),
            (OFF + TIMER.format(timer="OnActiveSec=2m") + "systemctl start off.timer", 2),
            ("shutdown -h +2", 2),
            ("systemctl poweroff", 0),
        ]
    ),
)
def test_a_machine_ends_in_its_time(fast: Cloud, case: tuple[str, int]) -> None:
    how, seconds = case
    began = time.monotonic()
    machine = rent(fast, script(how, "date +%s > armed"))
    until(lambda: machine.state == "terminated")
    assert time.monotonic() - began >= seconds
    assert machine.alive() == []


@pytest.mark.slow
def test_a_service_that_does_not_stop_delays_the_end_but_not_by_force(fast: Cloud) -> None:
    hung = service("hung", "/bin/sh -c 'trap \"\" TERM; while :; do sleep 1; done'")
    machine = rent(fast, script(hung, "systemctl start hung; sleep 0.3; systemctl poweroff"))
    until(lambda: "Shutting down" in machine.journal())
    assert machine.state == "running", "it waits for TimeoutStopSec, 90 s by default"
    until(lambda: machine.state == "terminated")
    forced = rent(fast, script(hung, "systemctl start hung; systemctl poweroff --force"))
    until(lambda: forced.state == "terminated")
    assert "timed out" not in forced.journal()


REBOOTED = script(
    "shutdown -h +2",
    "systemd-run --on-active=2m --unit=off systemctl poweroff",
    service("w", "/bin/sh -c 'echo up; exec sleep 600'"),
    service("unwanted", "/bin/sh -c 'echo unwanted; exec sleep 600'"),
    "systemctl enable --now w; systemctl start unwanted",
    "docker run --detach --name kept --restart always example/image",
    "docker run --detach --name lost example/image",
)


def test_a_reboot_forgets_what_is_not_enabled(cloud: Cloud, launch: Launch) -> None:
    cloud.machine_faults.append(MachineFault("never_healthy"))
    machine = launch(REBOOTED)
    over(machine)
    until(lambda: len(machine.container_pids) == 2)
    before = (machine.root / "proc/sys/kernel/random/boot_id").read_text()
    old = machine.alive()
    cloud.reboot(machine)
    until(lambda: machine.boots == 2 and machine.boot_log().count("up\n") == 2)
    assert machine.state == "running"
    assert not set(old) & set(machine.alive())
    [pid] = until(lambda: machine.container_pids)
    until(lambda: pid in machine.alive())
    assert machine.boot_log().count("over") == 1, "user-data runs once for each instance"
    assert machine.boot_log().count("unwanted") == 1
    assert (machine.root / "proc/sys/kernel/random/boot_id").read_text() != before
    with pytest.raises(KeyError):
        cloud.end_lease(machine)
    assert not (machine.root / "run/systemd/shutdown/scheduled").exists()
    assert not (machine.root / "run/systemd/system/off.timer").exists()


@pytest.mark.parametrize("persistent", but_the_first_slow([True, False]))
def test_a_persistent_timer_makes_up_for_what_a_reboot_missed(
    fast: Cloud, persistent: bool
) -> None:
    timer = AT.format(minutes=4)
    timer = timer if persistent else timer.replace("Persistent=true", "")
    machine = rent(fast, script(OFF, TIMER.format(timer=timer), "systemctl enable --now off.timer"))
    over(machine)
    # The moment passes while the machine is off.
    machine.stop()
    time.sleep(4.5)
    fast.reboot(machine)
    if persistent:
        until(lambda: machine.state == "terminated")
    else:
        until(lambda: machine.boots == 2)
        time.sleep(2)
        assert machine.state == "running"


@pytest.mark.slow
def test_a_timer_whose_moment_has_passed_does_not_fire(fast: Cloud) -> None:
    timer = "OnCalendar=2020-01-01 00:00:00 UTC\nPersistent=true"
    machine = rent(fast, script(OFF, TIMER.format(timer=timer), "systemctl enable --now off.timer"))
    over(machine)
    time.sleep(1)
    assert machine.state == "running"


@pytest.mark.slow
def test_reboot_is_a_command_of_the_machine(launch: Launch) -> None:
    machine = launch(script("reboot"))
    until(lambda: machine.boots == 2)
    until(machine.alive)
    assert machine.state == "running"
    assert any(command.startswith("reboot") for command in machine.commands())


def test_the_machines_python_is_not_the_clouds(launch: Launch) -> None:
    program = "import os, sys; print(sys.version_info >= (3, 9), os.cpu_count(), sys.argv[1:])"
    machine = launch(
        script(
            f'python3 -c "{program}" a b',
            "python3 -c 'import moto' 2>&1 | tail -1",
            "python3 - << 'END'\nprint('from', 'stdin')\nEND",
            "python3 -c 'import sys; sys.exit(7)'; echo code $?",
        ),
        InstanceType="c5.2xlarge",
    )
    log = over(machine)
    assert "True 8 ['a', 'b']\n" in log
    assert "No module named 'moto'" in log
    assert "from stdin\n" in log
    assert "code 7\n" in log
