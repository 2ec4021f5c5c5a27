"""The user-data script that an instance runs when it boots."""

from __future__ import annotations

import shlex
from importlib import resources
from typing import TYPE_CHECKING

import jinja2

if TYPE_CHECKING:
    from cloudburst.models import RegistryLogin

# Limit before base64: docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data
MAX_BYTES = 16_384


def user_data(
    *, image: str, key: str, lease_minutes: int, gpu: bool, login: RegistryLogin | None = None
) -> str:
    """Return the script that arms the dead-man switch and starts the video API.

    Args:
        image: container image.
        key: authentication key of the video API; anyone who may read the instance's user-data can
            read it.
        lease_minutes: minutes after which the instance terminates itself.
        gpu: whether the container gets the instance's GPUs.
        login: to the image's registry; its token can be read where the key can. None for none.

    Raises:
        ValueError: the script exceeds `MAX_BYTES`.
    """
    source = resources.files("cloudburst_stacks").joinpath("user_data.sh.j2").read_text("utf-8")
    # The output is not HTML; the inputs are quoted for the shell.
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )
    text = environment.from_string(source).render(
        image=shlex.quote(image),
        key=shlex.quote(key),
        lease_minutes=int(lease_minutes),
        gpu=gpu,
        host=shlex.quote(login.host) if login else "",
        user=shlex.quote(login.user) if login else "",
        token=shlex.quote(login.token) if login else "",
    )
    size = len(text.encode())
    if size > MAX_BYTES:
        raise ValueError(f"the user-data has {size} bytes; EC2 takes at most {MAX_BYTES}")
    return text
