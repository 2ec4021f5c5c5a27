"""One worker on this machine: a process of the bundled video API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

if TYPE_CHECKING:
    from cloudburst.models import WorkerSpec


class Worker(pulumi.CustomResource):
    """A worker process; its provider is `cloudburst.targets.local.provider`."""

    pid: pulumi.Output[int]
    endpoint: pulumi.Output[str]

    def __init__(self, name: str, spec: WorkerSpec) -> None:
        properties = {
            "stack": spec.stack,
            "job": spec.job,
            "key": pulumi.Output.secret(spec.key),
            "room": spec.room,
            "timeout": spec.scene_timeout,
            "log": str(spec.log),
            "pid": None,
            "endpoint": None,
        }
        options = pulumi.ResourceOptions(additional_secret_outputs=["key"])
        super().__init__("cloudburst:local:Worker", name, properties, options)


def program(spec: WorkerSpec) -> None:
    """Declare the worker process and the stack's outputs."""
    worker = Worker("worker", spec)
    pulumi.export("id", worker.id)
    pulumi.export("endpoint", worker.endpoint)
    pulumi.export("key", pulumi.Output.secret(spec.key))
