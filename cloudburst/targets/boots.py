"""What it means that a rented machine's boot has failed, by the code that its agent tells. Pure."""

from __future__ import annotations

from cloudburst.language import later, tr
from cloudburst.models import Refusal, Verdict

# Other machines of the run would fail alike: no more are started.
_ALIKE = ("image_not_found", "pull_refused", "wrong_architecture")
# That may be this machine's alone: another one is tried.
_ITS_OWN = ("pull_failed", "docker_unavailable")
_ADVICE = {
    "image_not_found": later("check aws.image: there is no such image, or it is private"),
    "pull_refused": later("see 'Private images' in docs/aws.md for what its registry needs"),
    "wrong_architecture": later(
        "name aws.instance_types for which the image is, or an image for these"
    ),
    "pull_failed": later("check that machines in aws.subnet reach the image's registry"),
    "docker_unavailable": later("check that aws.ami has Docker, or leave it out"),
    "disk_full": later("raise aws.disk_gb"),
    "container_failed": later("`cloudburst logs` shows the container's log"),
    "bundle_failed": later("`cloudburst logs` shows the container's log"),
}
CODES = tuple(_ADVICE)


def refusal(code: str) -> Refusal:
    """Return what a failed boot means for the ladder, and what a person can do."""
    verdict = Verdict.STOP if code in _ALIKE else Verdict.NEXT if code in _ITS_OWN else Verdict.FAIL
    advice = tr(_ADVICE[code]) if code in _ADVICE else ""
    return Refusal(code=code, verdict=verdict, advice=advice)


def is_its_own(code: str | None) -> bool:
    """Whether a boot failed of what another machine may not have."""
    return code in _ITS_OWN
