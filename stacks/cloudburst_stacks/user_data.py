"""What a rented machine runs when it boots."""

from __future__ import annotations

import shlex
from importlib import resources

import jinja2

# docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data: before base64.
MAX_BYTES = 16_384


def user_data(*, image: str, key: str, lease_minutes: int, gpu: bool) -> str:
    """Return the script that arms the dead-man switch and starts the video API.

    Args:
        image: container image.
        key: what clients must send; whoever may read the machine's user-data can read it.
        lease_minutes: after which the machine ends itself.
        gpu: whether the container gets the machine's GPUs.
    """
    source = resources.files("cloudburst_stacks").joinpath("user_data.sh.j2").read_text("utf-8")
    # No HTML comes out of it; what goes in is quoted for the shell.
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )
    text = environment.from_string(source).render(
        image=shlex.quote(image), key=shlex.quote(key), lease_minutes=int(lease_minutes), gpu=gpu
    )
    size = len(text.encode())
    if size > MAX_BYTES:
        raise ValueError(f"the user-data has {size} bytes; EC2 takes at most {MAX_BYTES}")
    return text
