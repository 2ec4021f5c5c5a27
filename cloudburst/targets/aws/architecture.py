"""Which processors instance types have, and whether a container image runs on them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cloudburst.language import tr

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

Architecture = Literal["amd64", "arm64"]

# EC2's names, docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ProcessorInfo, and those of
# container images. What is not here, such as i386 and a Mac's, runs no workers.
_NAMES: Mapping[str, Architecture] = {"x86_64": "amd64", "arm64": "arm64"}
# github.com/betashow/video-generation-docker builds it without `platforms`, on an amd64 machine.
PUBLIC_IMAGE = "betashow/video-generation-api"
_PUBLIC: tuple[Architecture, ...] = ("amd64",)


@dataclass(frozen=True, slots=True)
class InstanceKind:
    """What EC2 says of an instance type.

    Args:
        vcpus: virtual CPUs.
        architectures: of its processors.
    """

    vcpus: int
    architectures: frozenset[Architecture]

    @property
    def architecture(self) -> Architecture:
        """The one that its machine image has to be for."""
        return "arm64" if self.architectures == {"arm64"} else "amd64"


def named(architectures: Iterable[str]) -> frozenset[Architecture]:
    """Return the architectures that EC2 names, by the names of container images."""
    return frozenset(_NAMES[name] for name in architectures if name in _NAMES)


def is_public(image: str) -> bool:
    """Whether an image is the public one, of which it is known what it is for."""
    return image.removeprefix("docker.io/").partition("@")[0].partition(":")[0] == PUBLIC_IMAGE


def supported(image: str, stated: Collection[Architecture]) -> tuple[Architecture, ...]:
    """Return what an image is for.

    Args:
        image: the container image.
        stated: what the user says of their own; empty where they say nothing, and are trusted.
    """
    return _PUBLIC if is_public(image) else tuple(stated or _NAMES.values())


def problem(
    kind: str, architectures: Collection[Architecture], image: str, stated: Collection[Architecture]
) -> str:
    """Return why the container image does not run on an instance type; empty if it does.

    Args:
        kind: the instance type.
        architectures: of its processors.
        image: the container image.
        stated: see `supported`.
    """
    wanted = supported(image, stated)
    if set(architectures) & set(wanted):
        return ""
    return tr(
        "got {type}, whose processor is {architecture}; the image {image} is for {wanted}",
        type=kind,
        architecture=tr(", ").join(sorted(architectures)) or tr("another"),
        wanted=tr(", ").join(wanted),
        image=image,
    )
