"""docker: a container is a process of a video API, restarted as docker would."""

# ruff: noqa: T201 - a command prints its output
import json
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import _bus
import _containers
import _pulls
from _containers import State
from _machine import ARGUMENTS, FOLDER, MACHINE, fail, notify, record

SWITCHES = {"-d", "--detach", "--rm", "--init", "--read-only", "-i", "-t", "-it", "--privileged"}
SWITCHES |= {"-q", "--quiet", "--no-healthcheck"}
VALUES = {"--name", "--restart", "-p", "--publish", "-e", "--env", "--log-driver", "--log-opt"}
VALUES |= {"-m", "--memory", "--memory-swap", "--cpus", "--tmpfs", "--cap-drop", "--cap-add"}
VALUES |= {"--security-opt", "--pull", "--user", "-u", "--network", "--net", "--shm-size"}
VALUES |= {"-v", "--volume", "--mount", "--label", "-l", "--hostname", "-h", "--ulimit"}
VALUES |= {"--pids-limit", "--gpus", "--stop-timeout", "--entrypoint", "-w", "--workdir"}
VALUES |= {"--health-cmd", "--health-interval", "--env-file", "--runtime", "--ipc", "--platform"}
SECRET = {"-e", "--env"}
ALLOCATED = (
    "driver failed programming external connectivity on endpoint {name} ({id}): Bind for"
    " {host}:{port} failed: port is already allocated."
)
NO_GPU = 'could not select device driver "" with capabilities: [[gpu]].'
# github.com/NVIDIA/nvidia-container-toolkit issue 154: the kernel's module is not loaded yet.
NO_DRIVER = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed:"
    " runc create failed: unable to start container process: error during container init: error"
    " running hook #0: error running hook: exit status 1, stdout: , stderr: Auto-detected mode as"
    " 'legacy'\nnvidia-container-cli: initialization error: nvml error: driver not loaded: unknown."
)
GRAPHICS = ("g", "p", "gr")


def main() -> None:
    """Run the command."""
    verbs = {"pull": pull, "run": run, "logs": logs, "inspect": inspect, "ps": ps, "rm": remove}
    verbs |= {"stop": remove, "kill": remove, "info": info, "version": info, "image": image}
    verbs |= {"login": login, "logout": logout, "start": again, "restart": again}
    verb = ARGUMENTS[0] if ARGUMENTS else "help"
    if verb == "-restore":
        restore()
        return
    if verb not in verbs:
        record(ARGUMENTS)
        fail(f"docker: '{verb}' is not a docker command.", 1)
    if verb not in ("version", "logout"):
        reach()
    verbs[verb](ARGUMENTS[1:])


def reach() -> None:
    """Wait for the daemon, which its socket starts; docker.socket, systemd.socket(5)."""
    if not MACHINE["control"]:
        return  # a machine that is in no cloud: see `_machine.notify`
    try:
        response = _bus.ask(MACHINE["id"], verb="start", units=["docker.service"], block=True)
    except OSError:
        response = {"error": "the machine ends"}
    if response.get("error"):
        record(ARGUMENTS[:1])
        fail(
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker"
            " daemon running?",
            1,
        )


def pull(arguments: list[str]) -> None:
    """Run `docker pull`."""
    record(["pull", *arguments])
    images = [argument for argument in arguments if not argument.startswith("-")]
    options = [argument for argument in arguments if argument.startswith("-")]
    if unknown := [option for option in options if option not in ("-q", "--quiet")]:
        fail(f"unknown flag: {unknown[0]}", 125)
    if len(images) != 1:
        fail('"docker pull" requires exactly 1 argument.', 1)
    _pulls.obtain(images[0], 1)
    print(images[0])


def login(arguments: list[str]) -> None:
    """Run `docker login`, with the password on standard input alone."""
    record(["login", *arguments])
    if arguments[:1] != ["--username"] or arguments[2:3] != ["--password-stdin"]:
        fail("Error: Cannot perform an interactive login from a non TTY device", 1)
    _pulls.login(arguments[1], arguments[3], sys.stdin.read())
    print("Login Succeeded")


def logout(arguments: list[str]) -> None:
    """Run `docker logout`."""
    record(["logout", *arguments])
    auths = _pulls.logins().items()
    _pulls.keep({host: auth for host, auth in auths if host not in arguments})


def run(arguments: list[str]) -> None:
    """Run `docker run`."""
    options, image, image_arguments = parse(arguments)
    if not _pulls.present(image):
        print(f"Unable to find image '{image}' locally", file=sys.stderr)
        _pulls.obtain(image, 125)
    if _containers.find(FOLDER, name(options)):
        refuse(f'Conflict. The container name "/{name(options)}" is already in use.')
    identity = uuid.uuid4().hex * 2
    environment = variables(options)
    host, published, inner = ports(options)
    # A published port is reachable only if the process in the container listens on it.
    listening = bool(published) and inner == int(environment.get("PORT", "5000"))
    state = {
        "id": identity,
        "created": time.time(),
        "name": name(options),
        "image": image,
        "restart": options.get("--restart", ["no"])[-1],
        "published": published if listening else None,
        "slots": MACHINE["slots"],
        "command": MACHINE["images"].get(image),
        "arguments": api_arguments(image_arguments),
        "words": image_arguments,
        "volumes": volumes(options),
        "pip": MACHINE["pip"],
        "installs": MACHINE["installs"],
        "fault": next((f for f in ("exec_format", "never_healthy") if f in MACHINE["faults"]), ""),
        "environment": environment,
        "pid": 0,
        "supervisor": 0,
        "restarts": 0,
    }
    if "exec_format" in MACHINE["faults"]:
        here = _pulls.PLATFORMS[MACHINE["architecture"]]
        other = next(each for each in _pulls.PLATFORMS.values() if each != here)
        print(
            f"WARNING: The requested image's platform ({other}) does not match the detected host"
            f" platform ({here}) and no specific platform was requested",
            file=sys.stderr,
        )
    if any(published and each["published"] == published for each in _containers.every(FOLDER)):
        shown = {"name": state["name"], "id": identity, "host": host, "port": published}
        refuse(ALLOCATED.format(**shown), state)
    if "--gpus" in options:
        gpu(state)
    local = "&local=1" if host.startswith("127.") or host == "localhost" else ""
    state |= {"address": "127.0.0.1", "port": published}
    state |= notify(f"container?port={published if listening else 0}{local}")
    start(state, detached="-d" in options or "--detach" in options)
    print(identity)


def gpu(state: State) -> None:
    """Refuse a container with GPUs on a machine that has none, or no driver yet."""
    if not MACHINE["type"].startswith(GRAPHICS):
        refuse(NO_GPU, state)
    if time.time() - MACHINE["booted"] < MACHINE["faults"].get("late_gpu", 0.0):
        refuse(NO_DRIVER, state)


def refuse(text: str, state: State | None = None) -> None:
    """Exit as `docker run` does where the daemon does not start the container.

    Args:
        text: the daemon's words.
        state: of the container, which is left behind as created; None if it was not made.
    """
    if state is not None:
        _containers.save(FOLDER, {**state, "published": None})
    fail(f"docker: Error response from daemon: {text}\nSee 'docker run --help'.", 125)


def start(state: State, *, detached: bool) -> None:
    """Start the container's supervisor; unless detached, wait for it and exit with its code."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(FOLDER / "tmp"),
        "TMPDIR": str(FOLDER / "tmp"),
        MACHINE["mark"]: MACHINE["id"],
        **state["environment"],
    }
    with _containers.log_file(FOLDER, state).open("ab") as log:
        supervisor = subprocess.Popen(
            [
                *(sys.executable, "-S", "-s", "-E"),
                str(Path(__file__).with_name("container.py")),
                str(FOLDER),
                "container",
            ],
            cwd=FOLDER,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # Before its own first word: who asks at once is told of a container that is starting.
    _containers.save(FOLDER, {**state, "pid": 0, "supervisor": supervisor.pid})
    assert supervisor.stdin is not None
    with supervisor.stdin as settings:
        settings.write(json.dumps(state).encode())
    if not detached:
        sys.exit(supervisor.wait())
    supervisor.returncode = 0


def restore() -> None:
    """Start containers as the daemon does when it starts, by their restart policies.

    docs.docker.com/engine/containers/start-containers-automatically.
    """
    for state in _containers.every(FOLDER):
        if state["restart"] in ("always", "unless-stopped") and not state.get("stopped"):
            start(state, detached=True)


def again(arguments: list[str]) -> None:
    """Run `docker start` or `docker restart`."""
    record([ARGUMENTS[0], *arguments])
    for word in arguments:
        if not word.startswith("-"):
            state = existing(word)
            if ARGUMENTS[0] == "restart":
                _containers.kill(FOLDER, state)
            if not _containers.alive(state) or ARGUMENTS[0] == "restart":
                start({**state, "stopped": False}, detached=True)
            print(word)


def parse(arguments: list[str]) -> tuple[dict[str, list[str]], str, list[str]]:
    """Return options, image and arguments of `docker run`; refuse unknown options."""
    options: dict[str, list[str]] = {}
    recorded: list[str] = []
    remaining = list(arguments)
    while remaining and remaining[0].startswith("-"):
        option, equals, value = remaining.pop(0).partition("=")
        if option in SWITCHES:
            options.setdefault(option, []).append("true")
            recorded.append(option)
        elif option in VALUES:
            if not equals and not remaining:
                fail(f"docker: flag needs an argument: {option}", 125)
            value = value if equals else remaining.pop(0)
            options.setdefault(option, []).append(value)
            recorded += [option, value.partition("=")[0] if option in SECRET else value]
        else:
            record(["run", *recorded, option])
            fail(f"unknown flag: {option}\n\nUsage:  docker run [OPTIONS] IMAGE [COMMAND]", 125)
    record(["run", *recorded, *remaining])
    if not remaining:
        fail('"docker run" requires at least 1 argument.', 125)
    return options, remaining[0], remaining[1:]


def variables(options: dict[str, list[str]]) -> dict[str, str]:
    """Return the container's variables; a name alone takes its value from the environment."""
    result = {}
    for text in options.get("-e", []) + options.get("--env", []):
        key, equals, value = text.partition("=")
        if equals:
            result[key] = value
        elif key in os.environ:
            result[key] = os.environ[key]
    for path in options.get("--env-file", []):
        for line in Path(path).read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and not key.startswith("#"):
                result[key] = value
    return result


def ports(options: dict[str, list[str]]) -> tuple[str, int, int]:
    """Return the host's address, the machine's port and the container's; "", 0, 0 if none."""
    published = options.get("-p", []) + options.get("--publish", [])
    if options.get("--network", options.get("--net", [""]))[-1] == "host":
        return "0.0.0.0", 5000, 5000  # noqa: S104 - what docker shows
    if not published:
        return "", 0, 0
    outer, _, inner = published[-1].removesuffix("/tcp").rpartition(":")
    host, _, port = outer.rpartition(":")
    return host or "0.0.0.0", int(port or inner), int(inner)  # noqa: S104


def volumes(options: dict[str, list[str]]) -> dict[str, str]:
    """Return what is mounted: by the path in the container, the path on this computer."""
    result = {}
    for text in options.get("-v", []) + options.get("--volume", []):
        source, target = text.split(":")[:2]
        own = FOLDER / "root" / source.lstrip("/")
        result[target] = str(own) if own.exists() else source
    return result


def api_arguments(arguments: list[str]) -> list[str]:
    """Return the arguments after the image without --host and --port, which the cloud sets."""
    result, remaining = [], list(arguments)
    while remaining:
        argument = remaining.pop(0)
        if argument in ("--host", "--port"):
            remaining.pop(0)
        else:
            result.append(argument)
    return result


def name(options: dict[str, list[str]]) -> str:
    """Return the container's name."""
    return options.get("--name", ["eager_turing"])[-1]


def logs(arguments: list[str]) -> None:
    """Run `docker logs`."""
    record(["logs", *arguments])
    words, most = list(arguments), None
    if words[:1] in (["--tail"], ["-n"]):
        most = int(words[1])
        del words[:2]
    path = _containers.log_file(FOLDER, existing(words[-1] if words else ""))
    lines = path.read_text(errors="replace").splitlines(keepends=True) if path.exists() else []
    sys.stdout.write("".join(lines if most is None else lines[len(lines) - most :]))


def inspect(arguments: list[str]) -> None:
    """Run `docker inspect`, with or without a format."""
    record(["inspect", *arguments])
    template, names = formatted(arguments)
    for each in names or [""]:
        state = existing(each, f"Error: No such object: {each}")
        running = _containers.alive(state)
        status = _containers.status(state)
        details = {
            "Id": state["id"],
            "Name": f"/{state['name']}",
            "RestartCount": state["restarts"],
            "State": {
                "Status": status,
                "Running": running or status == "restarting",
                "Restarting": status == "restarting",
                "Pid": state["pid"],
                "ExitCode": state.get("code", 0),
            },
            "Config": {"Image": state["image"]},
        }
        show(details, template)


def image(arguments: list[str]) -> None:
    """Run `docker image inspect`."""
    record(["image", *arguments])
    template, names = formatted(arguments[1:])
    if arguments[:1] != ["inspect"] or len(names) != 1:
        fail("docker: the test cloud knows `docker image inspect IMAGE` alone", 1)
    if not _pulls.present(names[0]):
        fail(f"[]\nError response from daemon: No such image: {names[0]}", 1)
    identity = f"sha256:{uuid.uuid5(uuid.NAMESPACE_URL, names[0]).hex * 2}"
    show({"Id": identity, "Architecture": MACHINE["architecture"], "Os": "linux"}, template)


def formatted(arguments: list[str]) -> tuple[str, list[str]]:
    """Return the template of a command line, and the words that are no options."""
    template, names, words = "", [], list(arguments)
    while words:
        word = words.pop(0)
        if word in ("-f", "--format"):
            template = words.pop(0)
        elif word.startswith(("--format=", "-f=")):
            template = word.partition("=")[2]
        elif not word.startswith("-"):
            names.append(word)
    return template, names


def show(details: dict[str, Any], template: str) -> None:
    """Print an object, or what a template makes of it: `{{.A.B}}` and `{{json .A}}`."""

    def value(match: re.Match[str]) -> str:
        found: Any = details
        for part in match[2].strip(".").split("."):
            found = found[part] if part else found
        if match[1]:
            return json.dumps(found)
        return str(found).lower() if isinstance(found, bool) else str(found)

    if not template:
        print(json.dumps([details], indent=4))
    else:
        print(re.sub(r"\{\{\s*(json\s+)?(\.[\w.]*)\s*\}\}", value, template))


def ps(arguments: list[str]) -> None:
    """Run `docker ps`."""
    record(["ps", *arguments])
    flags = {word for word in arguments if word.startswith("-")}
    every = flags & {"-a", "--all", "-aq", "-qa"}
    template, _ = formatted(arguments)
    quiet = bool({"-q", "--quiet", "-aq", "-qa"} & flags)
    if not quiet and not template:
        print("CONTAINER ID   IMAGE   STATUS   NAMES")
    for state in _containers.every(FOLDER):
        status = _containers.status(state)
        if status in ("running", "restarting") or every:
            short = str(state["id"])[:12]
            words = {"running": "Up 2 seconds", "restarting": "Restarting (1) 1 second ago"}
            shown = words.get(status, status.capitalize())
            if template:
                row = {"ID": short, "Image": state["image"], "Status": shown, "State": status}
                show({**row, "Names": state["name"]}, template)
            else:
                print(short if quiet else f"{short}   {state['image']}   {shown}   {state['name']}")


def remove(arguments: list[str]) -> None:
    """Run `docker stop`, `docker kill` or `docker rm`."""
    record([ARGUMENTS[0], *arguments])
    force = bool({"-f", "--force"} & set(arguments))
    words, code = list(arguments), 0
    while words:
        word = words.pop(0)
        if word in ("-t", "--time", "-s", "--signal"):
            words.pop(0)
        if word.startswith("-"):
            continue
        state = _containers.find(FOLDER, word)
        if state is None:
            print(f"Error response from daemon: No such container: {word}", file=sys.stderr)
            # docker/cli, cli/command/container/rm.go: with --force that is no failure.
            code = code if ARGUMENTS[0] == "rm" and force else 1
            continue
        if ARGUMENTS[0] == "rm" and not force and _containers.status(state) == "running":
            fail(
                f'Error response from daemon: cannot remove container "/{state["name"]}":'
                " container is running: stop the container before removing or force remove",
                1,
            )
        _containers.kill(FOLDER, state)
        if ARGUMENTS[0] == "rm":
            _containers.forget(FOLDER, state)
        else:
            _containers.save(FOLDER, {**state, "stopped": True})
        print(word)
    sys.exit(code)


def info(arguments: list[str]) -> None:
    """Run `docker info` or `docker version`."""
    record([ARGUMENTS[0], *arguments])
    print("Server Version: 25.0.8")


def existing(word: str, text: str = "") -> State:
    """Return a container's state; exit if there is none of that name."""
    state = _containers.find(FOLDER, word)
    if state is None:
        fail(text or f"Error response from daemon: No such container: {word}", 1)
    return state


if __name__ == "__main__":
    main()
