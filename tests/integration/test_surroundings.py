"""Real engines and workers where the surroundings are not what a developer's are."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from cloudburst.engine.toolchain import find_engine
from tests.support.inputs import scenes_yaml, write_namesakes
from tests.support.marks import but_the_first_slow
from tests.support.runs import RUN, assert_nothing_left

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

CLOUDBURST = RUN.with_name("cloudburst")
DEAD = "http://127.0.0.1:9"
PROXIES = [
    {"http_proxy": DEAD, "https_proxy": DEAD},
    {"https_proxy": DEAD, "no_proxy": "localhost"},
    {"grpc_proxy": DEAD, "NO_PROXY": "localhost,127.0.0.1"},
    {"ALL_PROXY": DEAD, "HTTP_PROXY": DEAD, "HTTPS_PROXY": DEAD},
]


def call(
    *command: object,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    unset: tuple[str, ...] = (),
    text: bool = True,
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**environment, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8" if text else None,
        errors="replace" if text else None,
        timeout=240,
        check=False,
    )


@pytest.mark.stack
@pytest.mark.parametrize(
    "proxies", but_the_first_slow(PROXIES), ids=[" ".join(names) for names in PROXIES]
)
def test_a_proxy_is_not_for_the_engine(
    job_file: Callable[..., Path], proxies: dict[str, str]
) -> None:
    path = job_file(scenes_yaml(1))
    done = call(RUN, path, "--dry-run", cwd=path.parent, env=proxies)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 resources to create on local" in done.stdout


@pytest.mark.stack
@pytest.mark.video
def test_a_run_with_relative_paths_behind_a_proxy(job_file: Callable[..., Path]) -> None:
    path = job_file(scenes_yaml(1))
    here = path.parent
    write_namesakes(here)
    (here / "my backend").mkdir()
    (here / "pass").write_text("secret\n")
    settings = {
        **PROXIES[0],
        "CLOUDBURST_STATE": "st",
        "PULUMI_BACKEND_URL": "file://./my backend",
        "PULUMI_CONFIG_PASSPHRASE_FILE": "./pass",
        "PULUMI_HOME": "ph",
        "RESULTS_DIR": "out",
        "TMPDIR": "no/such/folder",
    }
    done = call(RUN, "scenes.yaml", cwd=here, env=settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(here.glob("out/batch_*/s01.mp4"))) == 1
    assert (here / "my backend" / ".pulumi").is_dir()
    assert not list((here / "st").rglob("workspaces/*"))
    audit = call(CLOUDBURST, "audit", cwd=here, env=settings)
    assert audit.returncode == 0, audit.stdout
    assert "my%20backend" in audit.stdout or "my backend" in audit.stdout


@pytest.mark.stack
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"PULUMI_BACKEND_URL": "file://./none"}, "does not exist; create it"),
        ({"PULUMI_CONFIG_PASSPHRASE_FILE": "none"}, "PULUMI_CONFIG_PASSPHRASE_FILE=none: "),
    ],
)
def test_settings_that_cannot_be_used_start_nothing(
    job_file: Callable[..., Path], state: Path, settings: dict[str, str], words: str
) -> None:
    path = job_file(scenes_yaml(1))
    done = call(RUN, path, cwd=path.parent, env=settings)
    assert done.returncode == 3
    assert words in done.stderr
    assert "LEFT" not in done.stdout + done.stderr
    doctor = call(CLOUDBURST, "doctor", cwd=path.parent, env=settings)
    assert doctor.returncode == 3
    assert words in doctor.stdout + doctor.stderr
    if "PULUMI_BACKEND_URL" in settings:  # with its own, CloudBurst sees that there is none yet
        audit = call(CLOUDBURST, "audit", cwd=path.parent, env=settings)
        assert audit.returncode == 3
        assert words in audit.stdout + audit.stderr
    assert_nothing_left(state)


@pytest.mark.stack
@pytest.mark.video
@pytest.mark.slow
def test_a_user_whom_the_system_does_not_know(job_file: Callable[..., Path]) -> None:
    path = job_file(scenes_yaml(1))
    become = ["unshare", "--user", "--map-user=4242", "--map-group=4242"]
    if not shutil.which("unshare") or call(*become, "true", cwd=path.parent).returncode:
        pytest.skip("no user namespace can be made here")
    cache = find_engine().binary.parents[3]
    done = call(
        *become,
        "bash",
        "-c",
        'umask 077 && exec "$@"',
        "bash",
        RUN,
        path,
        cwd=path.parent,
        env={"CLOUDBURST_CACHE": str(cache)},
        unset=("USER", "LOGNAME", "HOME"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(path.parent.glob("cloudburst_results/batch_*/s01.mp4"))) == 1


@pytest.mark.stack
@pytest.mark.video
@pytest.mark.parametrize("encoding", but_the_first_slow(["latin-1", "ascii", "cp1252", "gb18030"]))
@pytest.mark.slow
def test_a_run_whatever_the_encoding_of_the_terminal(
    job_file: Callable[..., Path], encoding: str
) -> None:
    path = job_file(scenes_yaml(1).replace("s01", "第一章é🎬"))
    done = call(RUN, path, cwd=path.parent, env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert list(path.parent.glob("cloudburst_results/batch_*/第一章é🎬.mp4"))


@pytest.mark.parametrize("encoding", but_the_first_slow(["latin-1", "ascii", "utf-8"]))
def test_json_is_the_same_in_every_encoding(job_file: Callable[..., Path], encoding: str) -> None:
    path = job_file(scenes_yaml(1).replace("s01", "第一章é🎬"))
    done = subprocess.run(
        [RUN, path, "--dry-run", "--offline", "--json"],
        cwd=path.parent,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=120,
        check=True,
    )
    document = json.loads(done.stdout.decode(encoding))
    assert "第一章é🎬" in json.dumps(document, ensure_ascii=False)


def test_a_scan_prints_the_file_it_would_write(job_file: Callable[..., Path]) -> None:
    path = job_file(scenes_yaml(1))
    for suffix, source in ((".png", "p.png"), (".wav", "a.wav")):
        (path.parent / f"第一章{suffix}").write_bytes((path.parent / source).read_bytes())
    done = subprocess.run(
        [CLOUDBURST, "scan", ".", "-o", "-"],
        cwd=path.parent,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert "name: 第一章\n" in done.stdout.decode()


def killed_run(path: Path, env: Mapping[str, str]) -> None:
    """Kill a run as soon as its worker renders."""
    process = subprocess.Popen(
        [RUN, path, "--json"],
        cwd=path.parent,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            if "scene_started" in line:
                break
        process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.stack
@pytest.mark.video
@pytest.mark.parametrize(
    "first",
    but_the_first_slow([{}, {"PULUMI_CONFIG_PASSPHRASE": "a"}]),
    ids=["own", "users"],
)
@pytest.mark.slow
def test_a_passphrase_that_has_changed_since(
    job_file: Callable[..., Path], state: Path, first: dict[str, str]
) -> None:
    path = job_file(scenes_yaml(4, "defaults: {effects: [zoom_in]}\n"))
    call(RUN, path, "--dry-run", cwd=path.parent)  # CloudBurst has made its own by then
    killed_run(path, first)
    changed = {"PULUMI_CONFIG_PASSPHRASE": "b"}
    done = call(CLOUDBURST, "cleanup", "--all", "--yes", cwd=path.parent, env=changed)
    said = done.stdout + done.stderr
    assert "LEFT RUNNING" not in said
    if first:
        assert done.returncode == 4, said
        assert "its passphrase is not the one in PULUMI_CONFIG_PASSPHRASE; set" in said
        assert "nothing of it runs any more, but its record is left" in said
        assert "pkill" not in said
        done = call(CLOUDBURST, "cleanup", "--all", "--yes", cwd=path.parent, env=first)
    assert done.returncode == 0, said
    audit = call(CLOUDBURST, "audit", cwd=path.parent)
    assert "LEFT" not in audit.stdout
    assert_nothing_left(state)
