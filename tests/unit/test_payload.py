"""The user-data of a rented machine: armed first, small, for root alone, and over at once."""

from __future__ import annotations

import ast
import json
import os
import re
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import cloudburst_stacks
from cloudburst.models import RegistryLogin
from cloudburst.targets import certificate
from cloudburst_stacks import payload

IMAGE = "me/mine:1"
KEY = "k3y_that-nobody-guesses"
NASTY = [
    "'; touch canary; '",
    "$(touch canary)",
    "`touch canary`",
    "a\ntouch canary\nEND\ntouch canary",
    "ключ-鍵",
    "{{ 7 * 7 }}",
]
HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
IDENTITY = certificate.make(time.time(), 3600)


def config(image: str = IMAGE, key: str = KEY, **more: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"lease_seconds": 600, "port": 443, "room": 4, "gpu": False}
    return payload.agent_config(image=image, key=key, cap_minutes=45, **{**settings, **more})


def script(minutes: int = 45, **more: Any) -> str:
    return payload.script(
        minutes=minutes,
        config=config(**more),
        certificate=IDENTITY.certificate,
        key=IDENTITY.key,
    )


@pytest.mark.parametrize("minutes", [5, 45, 1440])
def test_the_dead_mans_switch_comes_before_everything(minutes: int) -> None:
    shebang, first, *_ = script(minutes).splitlines()
    assert shebang == "#!/bin/bash"
    assert first.startswith(f"shutdown -h +{minutes} ")


@pytest.mark.parametrize("value", [KEY, *NASTY])
def test_shellcheck_finds_nothing(tmp_path: Path, value: str) -> None:
    text = script(image=value, key=value, login=RegistryLogin(value, value, value))
    (tmp_path / "user-data.sh").write_text(text)
    start = payload.unpack(text)[f"{payload.PROGRAM}/start.sh"]
    # Each half as the other one sees it.
    (tmp_path / "start.sh").write_text(
        f"#!/bin/bash\nroot=; off() {{ exit 1; }}; say() {{ :; }}\n{start}"
    )
    shellcheck = Path(sys.executable).with_name("shellcheck")
    for name, excluded in (("user-data.sh", "SC1091"), ("start.sh", "SC2317,SC2329")):
        command = [shellcheck, f"--exclude={excluded}", tmp_path / name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


# A command that notes how it was called, and fails if it is told to.
STUB = """#!/bin/bash
{ printf '%s\\0' "${0##*/}" "$@"; printf '\\n--\\0'; } >> "$NOTES/calls"
case " $FAIL " in *" ${0##*/}${1:+:$1} "* | *" ${0##*/} "*) exit 1 ;; esac
if [ "${0##*/}" = shutdown ] && [ -z "$NO_LOGIND" ]; then
  mkdir -p "$CLOUDBURST_ROOT/run/systemd/shutdown"
  echo USEC=1 > "$CLOUDBURST_ROOT/run/systemd/shutdown/scheduled"
fi
"""


class Ran:
    """What a machine's script did, with stubs for what it would do to a machine."""

    def __init__(self, folder: Path, text: str, fail: str = "", logind: str = "yes") -> None:
        stubs, notes, self.root = (folder / name for name in ("stubs", "notes", "root"))
        for place in (stubs, notes, self.root / "var/log", self.root / "etc/systemd/system"):
            place.mkdir(parents=True)
        for name in ("shutdown", "systemctl", "systemd-run", "docker", "poweroff"):
            (stubs / name).write_text(STUB)
            (stubs / name).chmod(0o755)
        (folder / "user-data.sh").write_text(text)
        done = subprocess.run(
            ["/bin/bash", folder / "user-data.sh"],
            cwd=folder,
            env={
                "PATH": f"{stubs}:{os.environ['PATH']}",
                "NOTES": str(notes),
                "FAIL": fail,
                "NO_LOGIND": "" if logind else "yes",
                "CLOUDBURST_ROOT": str(self.root),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.code, self.said, self.complaints = done.returncode, done.stdout, done.stderr
        calls = (notes / "calls").read_text().split("\n--\0")[:-1]
        self.calls = [call.split("\0")[:-1] for call in calls]
        self.canary = (folder / "canary").exists()

    def systemctl(self) -> list[str]:
        return [" ".join(call[1:]) for call in self.calls if call[0] == "systemctl"]

    @property
    def files(self) -> dict[str, str]:
        return {
            f"/{path.relative_to(self.root)}": path.read_text("utf-8")
            for path in self.root.rglob("*")
            if path.is_file()
        }


ARMED = [
    "daemon-reload",
    "enable cloudburst-cap.timer",
    "start --no-block cloudburst-cap.timer",
    "mask --now --no-block ecs",
    "enable cloudburst-agent.service",
    "start --no-block cloudburst-agent.service",
]


def test_it_arms_writes_starts_and_ends(tmp_path: Path) -> None:
    text = script()
    ran = Ran(tmp_path, text)
    assert (ran.code, ran.complaints) == (0, "")
    assert ran.calls[0] == ["shutdown", "-h", "+45", "CloudBurst: this machine's time is over"]
    assert ran.systemctl() == ARMED
    assert {call[0] for call in ran.calls} == {"shutdown", "systemctl"}
    assert "dead-man switch: off in 45 minutes at the latest, by shutdown" in ran.said
    sent = payload.unpack(text)
    assert sent.items() <= ran.files.items()
    assert json.loads(sent["/etc/cloudburst/agent.json"]) == config()
    assert sent["/etc/cloudburst/key.pem"] == IDENTITY.key
    assert ran.said == ran.files["/var/log/cloudburst.log"]


def test_what_is_written_is_for_root_alone(tmp_path: Path) -> None:
    ran = Ran(tmp_path, script())
    for folder in ("etc/cloudburst", "usr/local/lib/cloudburst"):
        for path in (ran.root / folder).iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE((ran.root / folder).stat().st_mode) == 0o700


def test_the_cap_is_a_moment_that_a_reboot_does_not_move(tmp_path: Path) -> None:
    before = time.time()
    timer = Ran(tmp_path, script(90)).files["/etc/systemd/system/cloudburst-cap.timer"]
    match = re.search(r"^OnCalendar=(.{19}) UTC$", timer, re.MULTILINE)
    assert match is not None
    moment = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    assert before - 1 <= moment - 90 * 60 <= time.time()
    assert "Persistent=true" in timer
    assert "WantedBy=timers.target" in timer


@pytest.mark.parametrize(("fail", "logind"), [("shutdown", "yes"), ("", "")])
def test_a_switch_that_is_not_armed_is_replaced(tmp_path: Path, fail: str, logind: str) -> None:
    ran = Ran(tmp_path, script(), fail, logind)
    run = ["systemd-run", "--on-active=45m", "--unit=cloudburst-off", "systemctl", "poweroff"]
    assert ran.calls[:2] == [ran.calls[0], run]
    assert ran.code == 0
    assert "at the latest, by systemd-run" in ran.said


@pytest.mark.parametrize("logind", ["yes", ""])
def test_without_any_switch_the_machine_is_ended_at_once(tmp_path: Path, logind: str) -> None:
    ran = Ran(tmp_path, script(), f"systemd-run {'shutdown' if logind else ''}", logind)
    assert ran.code == 1
    assert ran.systemctl() == ["poweroff"]
    assert "no dead-man switch could be armed: powering off" in ran.said
    assert [*ran.files] == ["/var/log/cloudburst.log", *[*ran.files][1:]]
    assert not [path for path in ran.files if "agent" in path]


def test_a_cap_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    ran = Ran(tmp_path, script(), "systemctl:enable")
    assert "cloudburst-cap.timer could not be armed" in ran.said
    assert (ran.code, ran.systemctl()[-1]) == (1, "poweroff"), "nor can the agent be enabled"


@pytest.mark.parametrize("fail", ["python3", "systemctl:start"])
def test_a_machine_without_an_agent_is_ended(tmp_path: Path, fail: str) -> None:
    text = script().replace("python3 -c", "false -c") if fail == "python3" else script()
    ran = Ran(tmp_path, text, fail)
    assert (ran.code, ran.systemctl()[-1]) == (1, "poweroff")
    assert "powering off" in ran.said


@pytest.mark.parametrize("value", NASTY)
def test_nothing_of_what_goes_in_is_run_or_said(tmp_path: Path, value: str) -> None:
    login = RegistryLogin(value, value, value)
    ran = Ran(tmp_path, script(image=value, key=value, login=login))
    assert (ran.code, ran.complaints, ran.canary) == (0, "", False)
    written = json.loads(ran.files["/etc/cloudburst/agent.json"])
    assert (written["image"], written["key"], written["login"]["token"]) == (value,) * 3
    assert value not in ran.said
    assert not [call for call in ran.calls if any(value in word for word in call)]


def test_the_key_cannot_be_read_off_the_script() -> None:
    assert KEY not in script()
    assert "BEGIN" not in script()


# -- its size -----------------------------------------------------------------------------------


def test_it_is_small() -> None:
    # EC2 takes 16,384 bytes; a login to ECR needs some 3,000.
    login = RegistryLogin(HOST, "AWS", _noise(2800))
    assert len(script(image="r/" + _noise(60), key=_noise(32)).encode()) < 12_288
    assert len(script(image=f"{HOST}/renderer:1", key=_noise(32), gpu=True, login=login)) < 16_000


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has \d+ bytes; EC2 takes at most 16384"):
        script(key=_noise(6000))


def _noise(length: int) -> str:
    import random
    import string

    generator = random.Random(length)  # noqa: S311 - the same in every run
    return "".join(generator.choices(string.ascii_letters + string.digits, k=length))


# -- what it brings -----------------------------------------------------------------------------

MODULES = {
    name: ast.parse((Path(cloudburst_stacks.__file__).parent / f"agent/{name}.py").read_text())
    for name in payload.MODULES
}


def test_the_agent_is_python_3_9_and_needs_the_standard_library_alone() -> None:
    tree = ast.parse(payload.agent(), feature_version=(3, 9))
    names = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    names += [node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert len(names) > 15
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_the_agents_modules_may_be_one() -> None:
    names: list[str] = []
    for tree in MODULES.values():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.append(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                parts = [part for target in targets for part in ast.walk(target)]
                names += [part.id for part in parts if isinstance(part, ast.Name)]
    assert len(names) > 30
    assert sorted(names) == sorted(set(names)), "a name of one is not another's"


def functions(tree: ast.AST) -> list[str]:
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def test_what_is_left_out_of_the_agent_is_for_people() -> None:
    text = payload.agent()
    assert not any(words in text for words in ('"""', "#", "TYPE_CHECKING", "dict[str"))
    every = [name for tree in MODULES.values() for name in functions(tree)]
    left = functions(ast.parse(text))
    assert len(left) == len(every)
    handlers = ("_get_", "_post_", "_put_", "_delete_")
    called = [name for name in every if name[0] != "_" or name.startswith(("__", *handlers))]
    assert set(called) <= set(left), "names that others know stay"
    assert len("".join(left)) < len("".join(every))


def test_functions_whose_variables_are_shortened_have_no_functions_within() -> None:
    for tree in MODULES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                assert len(functions(node)) == 1, node.name
                assert not any(isinstance(n, ast.Global | ast.Nonlocal) for n in ast.walk(node))
