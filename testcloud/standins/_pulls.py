"""What docker says when an image cannot be had, in its own words.

Docker 25, which Amazon Linux 2023 has. Sources: moby, distribution/errors.go, distribution/
pull_v2.go and image/; docs.docker.com/docker-hub/usage; docs.aws.amazon.com/AmazonECS/latest/
developerguide/task_cannot_pull_image.
"""

import base64
import json
import os
import re
import sys
import time
from pathlib import Path

from _machine import FOLDER, MACHINE, fail, notify

# A private registry of ECR; nothing can be pulled from it without a login.
PRIVATE = re.compile(r"(\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?)/([^:@]+)[:@]?(.*)")
PULLED = FOLDER / "images"
PLATFORMS = {"amd64": "linux/amd64", "arm64": "linux/arm64/v8"}
_REFUSALS = {
    "pull_fails": 'Get "https://registry-1.docker.io/v2/": net/http: request canceled while waiting'
    " for connection",
    "image_not_found": "manifest for {image} not found: manifest unknown: manifest unknown",
    "pull_denied": "pull access denied for {name}, repository does not exist or may require 'docker"
    " login': denied: requested access to the resource is denied",
    "pull_limited": "toomanyrequests: You have reached your pull rate limit. You may increase the"
    " limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit",
    "wrong_architecture": "no matching manifest for {platform} in the manifest list entries",
    "disk_full": "failed to register layer: write /usr/lib/x86_64-linux-gnu/libLLVM-15.so.1: no"
    " space left on device",
}


def present(image: str) -> bool:
    """Whether an image was pulled."""
    return PULLED.exists() and image in PULLED.read_text().split()


def obtain(image: str, code: int) -> None:
    """Pull an image, or exit with a code where that cannot be done."""
    time.sleep(MACHINE["faults"].get("slow_pull", 0.0))
    name = image.partition("@")[0].rpartition(":")[0] or image
    words = {"image": image, "name": name, "platform": PLATFORMS[MACHINE["architecture"]]}
    for kind, text in _REFUSALS.items():
        if kind in MACHINE["faults"]:
            fail(f"Error response from daemon: {text.format(**words)}", code)
    if private := PRIVATE.fullmatch(image):
        _ask(image, private[1], private[2], private[3], code)
    with PULLED.open("a") as images:
        images.write(image + "\n")


def _ask(image: str, host: str, name: str, tag: str, code: int) -> None:
    """Ask a private registry for an image."""
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


def login(user: str, host: str, password: str) -> None:
    """Log in to a registry, or exit where it refuses."""
    if "pull_fails" in MACHINE["faults"]:
        fail(f'Error response from daemon: Get "https://{host}/v2/": net/http: timeout', 1)
    error = notify("login", {"host": host, "user": user, "password": password})["error"]
    if error:
        fail(f"Error response from daemon: {error}", 1)
    keep({**logins(), host: base64.b64encode(f"{user}:{password}".encode()).decode()})
    # github.com/docker/cli, cli/command/registry/login.go and cli/config/credentials.
    warning = f"WARNING! Your password will be stored unencrypted in {settings_file()}."
    print(warning, file=sys.stderr)  # noqa: T201
