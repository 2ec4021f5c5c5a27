"""docker: a container is a process of a video API, restarted as docker would."""

# ruff: noqa: T201 - a command prints its output
import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from _machine import ARGUMENTS, FOLDER, MACHINE, container, fail, notify, record

SWITCHES = {"-d", "--detach", "--rm", "--init", "--read-only", "-i", "-t", "-it", "--privileged"}
SWITCHES |= {"-q", "--quiet", "--no-healthcheck"}
VALUES = {"--name", "--restart", "-p", "--publish", "-e", "--env", "--log-driver", "--log-opt"}
VALUES |= {"-m", "--memory", "--memory-swap", "--cpus", "--tmpfs", "--cap-drop", "--cap-add"}
VALUES |= {"--security-opt", "--pull", "--user", "-u", "--network", "--net", "--shm-size"}
VALUES |= {"-v", "--volume", "--mount", "--label", "-l", "--hostname", "-h", "--ulimit"}
VALUES |= {"--pids-limit", "--gpus", "--stop-timeout", "--entrypoint", "-w", "--workdir"}
VALUES |= {"--health-cmd", "--health-interval", "--env-file", "--runtime", "--ipc", "--platform"}
SECRET = {"-e", "--env"}
# A private registry of ECR; nothing can be pulled from it without a login.
PRIVATE = re.compile(r"(\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?)/([^:@]+)[:@]?(.*)")


def main() -> None:
    """Run the command."""
    verbs = {"pull": pull, "run": run, "logs": logs, "inspect": inspect, "ps": ps, "rm": remove}
    verbs |= {"stop": remove, "kill": remove, "info": info, "version": info}
    verbs |= {"login": login, "logout": logout}
    verb = ARGUMENTS[0] if ARGUMENTS else "help"
    if verb not in verbs:
        record(ARGUMENTS)
        fail(f"docker: '{verb}' is not a docker command.", 1)
    verbs[verb](ARGUMENTS[1:])


def pull(arguments: list[str]) -> None:
    """Run `docker pull`."""
    record(["pull", *arguments])
    images = [argument for argument in arguments if not argument.startswith("-")]
    options = [argument for argument in arguments if argument.startswith("-")]
    if unknown := [option for option in options if option not in ("-q", "--quiet")]:
        fail(f"unknown flag: {unknown[0]}", 125)
    if len(images) != 1:
        fail('"docker pull" requires exactly 1 argument.', 1)
    refuse_pull(images[0], 1)
    (FOLDER / "images").open("a").write(images[0] + "\n")
    print(images[0])


def settings_file() -> Path:
    """Return the file in which the client keeps logins."""
    folder = os.environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else FOLDER / ".docker") / "config.json"


def logins() -> dict[str, str]:
    """Return what is known of each registry: user and password, encoded as docker does."""
    path = settings_file()
    entries = json.loads(path.read_text())["auths"] if path.exists() else {}
    return {host: entry["auth"] for host, entry in entries.items()}


def keep(auths: dict[str, str]) -> None:
    """Write the logins as the client does without a credential store: readable."""
    path = settings_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = {host: {"auth": auth} for host, auth in auths.items()}
    path.write_text(json.dumps({"auths": entries}))
    path.chmod(0o600)


def login(arguments: list[str]) -> None:
    """Run `docker login`, with the password on standard input alone."""
    record(["login", *arguments])
    if arguments[:1] != ["--username"] or arguments[2:3] != ["--password-stdin"]:
        fail("Error: Cannot perform an interactive login from a non TTY device", 1)
    user, host, password = arguments[1], arguments[3], sys.stdin.read()
    if MACHINE["pull_fails"]:
        fail(f'Error response from daemon: Get "https://{host}/v2/": net/http: timeout', 1)
    error = notify("login", {"host": host, "user": user, "password": password})["error"]
    if error:
        fail(f"Error response from daemon: {error}", 1)
    keep({**logins(), host: base64.b64encode(f"{user}:{password}".encode()).decode()})
    # github.com/docker/cli, cli/command/registry/login.go and cli/config/credentials.
    warning = f"WARNING! Your password will be stored unencrypted in {settings_file()}."
    print(warning, file=sys.stderr)
    print("Login Succeeded")


def logout(arguments: list[str]) -> None:
    """Run `docker logout`."""
    record(["logout", *arguments])
    keep({host: auth for host, auth in logins().items() if host not in arguments})


def refuse_pull(image: str, code: int) -> None:
    """Exit with a code if the registry refuses a pull, or if the machine has `pull_fails`."""
    private = PRIVATE.fullmatch(image)
    if private and not MACHINE["pull_fails"]:
        host, name, tag = private.groups()
        auth = logins().get(host, "")
        if not auth:
            # github.com/aws/amazon-vpc-cni-k8s issue 1217.
            where = f"https://{host}/v2/{name}/manifests/{tag or 'latest'}"
            fail(f'Error response from daemon: Head "{where}": no basic auth credentials', code)
        user, _, password = base64.b64decode(auth).decode().partition(":")
        content = {"host": host, "user": user, "password": password, "image": image}
        error = notify("pull", content)["error"]
        if error:
            fail(f"Error response from daemon: {error}", code)
    if MACHINE["pull_fails"]:
        fail(
            'Error response from daemon: Get "https://registry-1.docker.io/v2/": net/http: request'
            " canceled while waiting for connection",
            code,
        )


def run(arguments: list[str]) -> None:
    """Run `docker run`."""
    options, image, image_arguments = parse(arguments)
    if not (FOLDER / "images").exists() or image not in (FOLDER / "images").read_text().split():
        refuse_pull(image, 125)
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
    # A published port is reachable only if the process in the container listens on it.
    listening = inner == int(environment.get("PORT", "5000"))
    address = notify(f"container?port={published}" if listening else "container?port=0")
    settings = {
        "id": identity,
        "name": name(options),
        "image": image,
        "restart": options.get("--restart", ["no"])[-1],
        "published": published if listening else None,
        "slots": MACHINE["slots"],
        "command": MACHINE["images"].get(image),
        "arguments": api_arguments(image_arguments),
        "unhealthy": MACHINE["never_healthy"],
        **address,
    }
    (FOLDER / "container.json").write_text(json.dumps({**settings, "pid": 0, "restarts": 0}))
    start(settings, environment, detached="-d" in options or "--detach" in options)
    print(identity)


def start(settings: dict[str, Any], environment: dict[str, str], *, detached: bool) -> None:
    """Start the container's supervisor; unless detached, wait for it and exit with its code."""
    process_environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(FOLDER / "tmp"),
        "TMPDIR": str(FOLDER / "tmp"),
        MACHINE["mark"]: MACHINE["id"],
        **environment,
    }
    with (FOLDER / "container.log").open("ab") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-S", "-s", "-E", str(Path(__file__).with_name("container.py"))],
            cwd=FOLDER,
            env=process_environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    assert supervisor.stdin is not None
    with supervisor.stdin as settings_input:
        settings_input.write(json.dumps(settings).encode())
    if not detached:
        sys.exit(supervisor.wait())


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


def ports(options: dict[str, list[str]]) -> tuple[int, int]:
    """Return the machine's port and the container's; 0, 0 if none is published."""
    published = options.get("-p", []) + options.get("--publish", [])
    if options.get("--network", options.get("--net", [""]))[-1] == "host":
        return 5000, 5000
    if not published:
        return 0, 0
    outer, _, inner = published[-1].removesuffix("/tcp").rpartition(":")
    return int(outer.rpartition(":")[2] or inner), int(inner)


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
    existing()
    sys.stdout.write((FOLDER / "container.log").read_text(errors="replace"))


def inspect(arguments: list[str]) -> None:
    """Run `docker inspect`, with or without a format."""
    record(["inspect", *arguments])
    state = existing()
    running = alive(state)
    status = "running" if running else "exited"
    details = {
        "Id": state["id"],
        "Name": f"/{state['name']}",
        "RestartCount": state["restarts"],
        "State": {"Status": status, "Running": running, "Pid": state["pid"]},
        "Config": {"Image": state["image"]},
    }
    # Either `-f {{...}}` or `--format={{...}}`.
    template = next((argument for argument in arguments if "{{" in argument), "")
    template = template[template.find("{{") :]
    if not template:
        print(json.dumps([details], indent=4))
        return
    value: Any = details
    for part in template.strip("{} ").strip(".").split("."):
        value = value[part]
    print(str(value).lower() if isinstance(value, bool) else value)


def ps(arguments: list[str]) -> None:
    """Run `docker ps`."""
    record(["ps", *arguments])
    state = container()
    quiet = bool({"-q", "--quiet", "-aq", "-qa"} & set(arguments))
    if not quiet:
        print("CONTAINER ID   IMAGE   STATUS   NAMES")
    if state and (alive(state) or {"-a", "--all", "-aq", "-qa"} & set(arguments)):
        short_id = str(state["id"])[:12]
        status = "Up" if alive(state) else "Exited"
        row = f"{short_id}   {state['image']}   {status}   {state['name']}"
        print(short_id if quiet else row)


def remove(arguments: list[str]) -> None:
    """Run `docker stop`, `docker kill` or `docker rm`."""
    record([ARGUMENTS[0], *arguments])
    state = existing()
    for key in ("supervisor", "pid"):
        pid = int(state.get(key, 0))
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
    print(state["name"])


def info(arguments: list[str]) -> None:
    """Run `docker info` or `docker version`."""
    record([ARGUMENTS[0], *arguments])
    print("Server Version: 25.0.8")


def existing() -> dict[str, Any]:
    """Return the container's state; exit if there is no container."""
    state: dict[str, Any] = container()
    if not state:
        fail("Error response from daemon: No such container", 1)
    return state


def alive(state: dict[str, Any]) -> bool:
    """Whether the container's process runs."""
    pid = int(state.get("pid", 0))
    path = Path(f"/proc/{pid}/cmdline")
    return pid > 0 and path.exists() and bool(path.read_bytes())


main()
