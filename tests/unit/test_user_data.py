"""The script of a rented machine: armed first, quoted, small, and keeping its key to itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest

from cloudburst.models import RegistryLogin
from cloudburst_stacks import user_data as module
from cloudburst_stacks.user_data import MAX_BYTES, user_data

IMAGE = "me/mine:1"
KEY = "k3y_that-nobody-guesses"
NASTY = [
    "'; touch canary; '",
    '"; touch canary; "',
    "$(touch canary)",
    "`touch canary`",
    "a b  c",
    "a\ntouch canary\nb",
    'x\' $(touch canary) "y" `touch canary` \\',
    "${HOME}",
    "a*?[b]!#&|<>",
    "--privileged",
    "{{ 7 * 7 }}",
    "ключ-鍵",
]


def script(
    image: str = IMAGE,
    key: str = KEY,
    *,
    lease: int = 45,
    gpu: bool = False,
    login: RegistryLogin | None = None,
) -> str:
    return user_data(image=image, key=key, lease_minutes=lease, gpu=gpu, login=login)


@pytest.mark.parametrize("lease", [5, 45, 1440])
def test_the_dead_mans_switch_comes_before_everything(lease: int) -> None:
    shebang, first, *_ = script(lease=lease).splitlines()
    assert shebang == "#!/bin/bash"
    assert first.startswith(f"shutdown -h +{lease} ")


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("value", [KEY, *NASTY])
def test_shellcheck_finds_nothing(tmp_path: Path, value: str, *, gpu: bool) -> None:
    path = tmp_path / "user-data.sh"
    path.write_text(script(value, value, gpu=gpu))
    command: list[str | Path] = [Path(sys.executable).with_name("shellcheck"), path]
    if value in NASTY:
        # They ask if quotes that keep everything as it is are meant so.
        command.insert(1, "--exclude=SC1003,SC2016")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


# A command that does nothing but to note how it was called, and with which key.
STUB = """#!/bin/bash
{
  printf '%s\\0' "${0##*/}" "$@"
  printf '\\n--\\0'
} >> "$NOTES/calls"
if [ "${1-}" = run ]; then printf '%s' "$AUTHENTICATION_KEY" > "$NOTES/key"; fi
if [ "${1-}" = login ]; then cat > "$NOTES/token"; echo "$DOCKER_CONFIG" > "$NOTES/config"; fi
case " ${DOCKER_FAILS-} " in
  *" ${1-} "*) echo 'docker: first'; echo 'docker: refused' >&2; exit 1 ;;
esac
if [ -n "${AUTHENTICATION_KEY+set}" ]; then printf '%s ' "${0##*/}" >> "$NOTES/saw-key"; fi
"""


class Ran:
    """What a machine's script did, with stubs for what it would do to a machine."""

    def __init__(self, folder: Path, text: str, fails: str = "") -> None:
        stubs, notes, work = (folder / name for name in ("stubs", "notes", "work"))
        for place in (stubs, notes, work):
            place.mkdir()
        for name in ("shutdown", "curl", "docker", "systemctl", "dnf", "sleep", "date"):
            (stubs / name).write_text(STUB)
            (stubs / name).chmod(0o755)
        (folder / "user-data.sh").write_text(text)
        done = subprocess.run(
            ["/bin/bash", folder / "user-data.sh"],
            cwd=work,
            env={"PATH": f"{stubs}:{os.environ['PATH']}", "NOTES": str(notes), "HOME": "/home"}
            | {"DOCKER_FAILS": fails},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.code, self.said, self.complaints = done.returncode, done.stdout, done.stderr
        self.left = sorted(path.name for path in work.iterdir())
        calls = (notes / "calls").read_text().split("\n--\0")[:-1]
        self.calls = [call.split("\0")[:-1] for call in calls]
        self.notes = notes
        self.key = (notes / "key").read_text()
        self.saw_key = (notes / "saw-key").read_text().split()

    def docker(self) -> list[list[str]]:
        """Give docker's arguments, but for the question whether its daemon is there."""
        return [call[1:] for call in self.calls if call[0] == "docker" and call[1:] != ["ps"]]


RUN = "run --detach --name video-api --restart always --publish 5000:5000 --env AUTHENTICATION_KEY"


def test_a_machine_pulls_its_image_and_serves(tmp_path: Path) -> None:
    ran = Ran(tmp_path, script())
    assert (ran.code, ran.complaints, ran.left) == (0, "", [])
    assert ran.calls[0] == ["shutdown", "-h", "+45", "CloudBurst: this machine's lease is over"]
    assert ran.docker() == [["pull", "--quiet", IMAGE], [*RUN.split(), IMAGE]]
    assert ran.key == KEY
    assert "the video API is healthy" in ran.said


def test_the_container_gets_the_gpus(tmp_path: Path) -> None:
    ran = Ran(tmp_path, script(gpu=True))
    assert ran.docker()[-1] == [*RUN.split(), "--gpus", "all", IMAGE]


@pytest.mark.parametrize("value", NASTY)
def test_nothing_of_what_goes_in_is_run(tmp_path: Path, value: str) -> None:
    ran = Ran(tmp_path, script(value, value))
    assert (ran.code, ran.complaints, ran.left) == (0, "", [])
    assert ran.docker() == [["pull", "--quiet", value], [*RUN.split(), value]]
    assert ran.key == value


def test_the_key_is_on_no_command_line_and_with_one_command_alone(tmp_path: Path) -> None:
    text = script()
    (line,) = [line for line in text.splitlines() if KEY in line]
    assert line == f"export AUTHENTICATION_KEY={KEY}"
    ran = Ran(tmp_path, text)
    assert not [call for call in ran.calls if any(KEY in word for word in call)]
    assert KEY not in ran.said
    assert set(ran.saw_key) <= {"docker", "date"}, "docker's run, and the clock beside it"
    assert ran.saw_key.count("docker") == 1


@pytest.mark.parametrize("gpu", [False, True])
def test_it_fits_into_what_ec2_takes(*, gpu: bool) -> None:
    assert len(script("r/" + "i" * 298, "k" * 32, gpu=gpu).encode()) < MAX_BYTES / 4
    assert MAX_BYTES == 16_384


def test_what_does_not_fit_is_refused_to_the_byte() -> None:
    # A byte of a key is a byte of the script, three of them for a character of Chinese.
    room = MAX_BYTES - len(script(key="k").encode()) + 1
    assert len(script(key="k" * room).encode()) == 16_384
    with pytest.raises(ValueError, match="has 16385 bytes; EC2 takes at most 16384"):
        script(key="k" * (room + 1))
    with pytest.raises(ValueError, match="bytes; EC2 takes at most 16384"):
        script(key="鍵" * (room // 2))


def test_a_name_that_the_template_misspells_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "user_data.sh.j2").write_text("#!/bin/bash\nshutdown -h +{{ lease_minute }}\n")
    monkeypatch.setattr(module.resources, "files", lambda _: tmp_path)
    with pytest.raises(jinja2.UndefinedError, match="lease_minute"):
        script()


HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
TOKEN = "eyJ-t0ken+that/nobody=guesses=="  # noqa: S105 - a test's
LOGIN = RegistryLogin(HOST, "AWS", TOKEN)
LOG_IN = ["login", "--username", "AWS", "--password-stdin", HOST]


@pytest.mark.parametrize("value", [TOKEN, *NASTY])
def test_shellcheck_finds_nothing_with_a_login(tmp_path: Path, value: str) -> None:
    path = tmp_path / "user-data.sh"
    path.write_text(script(login=RegistryLogin(value, value, value)))
    shellcheck = Path(sys.executable).with_name("shellcheck")
    command: list[str | Path] = [shellcheck, "--exclude=SC1003,SC2016", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize("value", [TOKEN, *NASTY])
def test_a_machine_logs_in_pulls_and_forgets_the_login(tmp_path: Path, value: str) -> None:
    ran = Ran(tmp_path, script(login=RegistryLogin(HOST, "AWS", value)))
    assert (ran.code, ran.complaints, ran.left) == (0, "", [])
    assert ran.docker() == [LOG_IN, ["pull", "--quiet", IMAGE], [*RUN.split(), IMAGE]]
    assert (ran.notes / "token").read_text() == value
    config = (ran.notes / "config").read_text().strip()
    assert config
    assert not Path(config).exists()
    if value == TOKEN:
        assert not [call for call in ran.calls if any(value in word for word in call)]
        assert value not in ran.said


def test_a_tracing_shell_does_not_show_the_token(tmp_path: Path) -> None:
    ran = Ran(tmp_path, script(login=LOGIN).replace("set -u", "set -ux"))
    assert "+ image=" in ran.complaints, "it traces"
    assert TOKEN not in ran.complaints + ran.said


@pytest.mark.parametrize(
    ("fails", "problem"),
    [
        ("login", f"the login to {HOST} failed: docker: refused"),
        ("pull run", f"the pull failed after a login to {HOST}: docker: refused"),
    ],
)
def test_what_failed_is_said_with_the_login(tmp_path: Path, fails: str, problem: str) -> None:
    ran = Ran(tmp_path, script(login=LOGIN), f"{fails} run")
    lines = [line.partition(" ")[2].partition(" ")[2] or line for line in ran.said.splitlines()]
    assert sum(line.endswith(problem) for line in lines) == 6, "five tries, and at the end"
    assert f"the container did not start: {problem}" in ran.said
    assert len([call for call in ran.docker() if call == LOG_IN]) == 5
    assert not Path((ran.notes / "config").read_text().strip()).exists()


def test_a_long_token_fits() -> None:
    assert len(script(login=RegistryLogin(HOST, "AWS", "t" * 8000)).encode()) < MAX_BYTES
    assert TOKEN not in repr(LOGIN)
