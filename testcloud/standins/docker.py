"""docker: a container is a process of the bundled video API, kept up as docker would."""

# ruff: noqa: T201 - what a command says, it prints
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

from _machine import ARGUMENTS, FOLDER, MACHINE, container, fail, record, tell

SWITCHES = {"-d", "--detach", "--rm", "--init", "--read-only", "-i", "-t", "-it", "--privileged"}
SWITCHES |= {"-q", "--quiet", "--no-healthcheck"}
VALUES = {"--name", "--restart", "-p", "--publish", "-e", "--env", "--log-driver", "--log-opt"}
VALUES |= {"-m", "--memory", "--memory-swap", "--cpus", "--tmpfs", "--cap-drop", "--cap-add"}
VALUES |= {"--security-opt", "--pull", "--user", "-u", "--network", "--net", "--shm-size"}
VALUES |= {"-v", "--volume", "--mount", "--label", "-l", "--hostname", "-h", "--ulimit"}
VALUES |= {"--pids-limit", "--gpus", "--stop-timeout", "--entrypoint", "-w", "--workdir"}
VALUES |= {"--health-cmd", "--health-interval", "--env-file", "--runtime", "--ipc", "--platform"}
SECRET = {"-e", "--env"}


def main() -> None:
    verbs = {"pull": pull, "run": run, "logs": logs, "inspect": inspect, "ps": ps, "rm": remove}
    verbs |= {"stop": remove, "kill": remove, "info": info, "version": info}
    verb = ARGUMENTS[0] if ARGUMENTS else "help"
    if verb not in verbs:
        record(ARGUMENTS)
        fail(f"docker: '{verb}' is not a docker command.", 1)
    verbs[verb](ARGUMENTS[1:])


def pull(arguments: list[str]) -> None:
    record(["pull", *arguments])
    images = [word for word in arguments if not word.startswith("-")]
    if unknown := [w for w in arguments if w.startswith("-") and w not in ("-q", "--quiet")]:
        fail(f"unknown flag: {unknown[0]}", 125)
    if len(images) != 1:
        fail('"docker pull" requires exactly 1 argument.', 1)
    refuse_pull(1)
    (FOLDER / "images").open("a").write(images[0] + "\n")
    print(images[0])


def refuse_pull(code: int) -> None:
    if MACHINE["pull_fails"]:
        fail(
            'Error response from daemon: Get "https://registry-1.docker.io/v2/": net/http: request'
            " canceled while waiting for connection",
            code,
        )


def run(arguments: list[str]) -> None:
    options, image, more = parse(arguments)
    if not (FOLDER / "images").exists() or image not in (FOLDER / "images").read_text().split():
        refuse_pull(125)
        (FOLDER / "images").open("a").write(image + "\n")
    if container():
        fail(
            f'docker: Error response from daemon: Conflict. The container name "/{name(options)}"'
            " is already in use.",
            125,
        )
    identity = uuid.uuid4().hex * 2
    environment = variables(options)
    published, inner = ports(options)
    # Only where the process in the container listens does a published port lead anywhere.
    right = inner == int(environment.get("PORT", "5000"))
    where = tell(f"container?port={published}" if right else "container?port=0")
    settings = {
        "id": identity,
        "name": name(options),
        "image": image,
        "restart": options.get("--restart", ["no"])[-1],
        "published": published if right else None,
        "slots": MACHINE["slots"],
        "arguments": own(more),
        "unwell": MACHINE["never_healthy"],
        **where,
    }
    (FOLDER / "container.json").write_text(json.dumps({**settings, "pid": 0, "restarts": 0}))
    start(settings, environment, detached="-d" in options or "--detach" in options)
    print(identity)


def start(settings: dict[str, object], environment: dict[str, str], *, detached: bool) -> None:
    inside = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(FOLDER / "tmp"),
        "TMPDIR": str(FOLDER / "tmp"),
        MACHINE["mark"]: MACHINE["id"],
        **environment,
    }
    with (FOLDER / "container.log").open("ab") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-S", "-s", "-E", str(Path(__file__).with_name("container.py"))],
            cwd=FOLDER,
            env=inside,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    keeper.stdin.write(json.dumps(settings).encode())
    keeper.stdin.close()
    if not detached:
        sys.exit(keeper.wait())


def parse(arguments: list[str]) -> tuple[dict[str, list[str]], str, list[str]]:
    """Read the options of `docker run`; what docker does not know is refused as docker does."""
    options: dict[str, list[str]] = {}
    shown: list[str] = []
    words = list(arguments)
    while words and words[0].startswith("-"):
        word, equals, value = words.pop(0).partition("=")
        if word in SWITCHES:
            options.setdefault(word, []).append("true")
            shown.append(word)
        elif word in VALUES:
            if not equals and not words:
                fail(f"docker: flag needs an argument: {word}", 125)
            value = value if equals else words.pop(0)
            options.setdefault(word, []).append(value)
            shown += [word, value.partition("=")[0] if word in SECRET else value]
        else:
            record(["run", *shown, word])
            fail(f"unknown flag: {word}\n\nUsage:  docker run [OPTIONS] IMAGE [COMMAND]", 125)
    record(["run", *shown, *words])
    if not words:
        fail('"docker run" requires at least 1 argument.', 125)
    return options, words[0], words[1:]


def variables(options: dict[str, list[str]]) -> dict[str, str]:
    """Give the container's variables; a name alone takes its value from the environment."""
    made = {}
    for text in options.get("-e", []) + options.get("--env", []):
        key, equals, value = text.partition("=")
        if equals:
            made[key] = value
        elif key in os.environ:
            made[key] = os.environ[key]
    for path in options.get("--env-file", []):
        for line in Path(path).read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and not key.startswith("#"):
                made[key] = value
    return made


def ports(options: dict[str, list[str]]) -> tuple[int, int]:
    """Give the machine's port and the container's; 0, 0 when none is published."""
    published = options.get("-p", []) + options.get("--publish", [])
    if options.get("--network", options.get("--net", [""]))[-1] == "host":
        return 5000, 5000
    if not published:
        return 0, 0
    outer, _, inner = published[-1].removesuffix("/tcp").rpartition(":")
    return int(outer.rpartition(":")[2] or inner), int(inner)


def own(arguments: list[str]) -> list[str]:
    """Give the video API's arguments among those behind the image: where it listens is ours."""
    kept, words = [], list(arguments)
    while words:
        word = words.pop(0)
        if word in ("--host", "--port"):
            words.pop(0)
        else:
            kept.append(word)
    return kept


def name(options: dict[str, list[str]]) -> str:
    return options.get("--name", ["eager_turing"])[-1]


def logs(arguments: list[str]) -> None:
    record(["logs", *arguments])
    known()
    sys.stdout.write((FOLDER / "container.log").read_text(errors="replace"))


def inspect(arguments: list[str]) -> None:
    record(["inspect", *arguments])
    here = known()
    running = alive(here)
    state = {"Status": "running" if running else "exited", "Running": running, "Pid": here["pid"]}
    whole = {"Id": here["id"], "Name": f"/{here['name']}", "RestartCount": here["restarts"]}
    whole |= {"State": state, "Config": {"Image": here["image"]}}
    form = next((w for w in arguments if "{{" in w), "").partition("=")[2] or next(
        (w for w in arguments if w.startswith("{{")), ""
    )
    if not form:
        print(json.dumps([whole], indent=4))
        return
    value: object = whole
    for part in form.strip("{} ").strip(".").split("."):
        value = dict(value)[part]  # type: ignore[call-overload]
    print(str(value).lower() if isinstance(value, bool) else value)


def ps(arguments: list[str]) -> None:
    record(["ps", *arguments])
    here = container()
    quiet = bool({"-q", "--quiet", "-aq", "-qa"} & set(arguments))
    if not quiet:
        print("CONTAINER ID   IMAGE   STATUS   NAMES")
    if here and (alive(here) or {"-a", "--all", "-aq", "-qa"} & set(arguments)):
        short = str(here["id"])[:12]
        up = "Up" if alive(here) else "Exited"
        print(short if quiet else f"{short}   {here['image']}   {up}   {here['name']}")


def remove(arguments: list[str]) -> None:
    record([ARGUMENTS[0], *arguments])
    here = known()
    for key in ("keeper", "pid"):
        pid = int(str(here.get(key, 0)))
        if pid:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            while Path(f"/proc/{pid}/environ").exists() and Path(f"/proc/{pid}").exists():
                if not Path(f"/proc/{pid}/cmdline").read_bytes():
                    break
                time.sleep(0.01)
    if ARGUMENTS[0] == "rm":
        (FOLDER / "container.json").unlink()
    print(here["name"])


def info(arguments: list[str]) -> None:
    record([ARGUMENTS[0], *arguments])
    print("Server Version: 25.0.8")


def known() -> dict[str, object]:
    here = container()
    if not here:
        fail("Error response from daemon: No such container", 1)
    return here


def alive(here: dict[str, object]) -> bool:
    pid = int(str(here.get("pid", 0)))
    path = Path(f"/proc/{pid}/cmdline")
    return pid > 0 and path.exists() and bool(path.read_bytes())


main()
