"""The original's questions about the AWS account, answered by what a run and the doctor ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudburst import targets
from cloudburst.compat import instances
from cloudburst.errors import BadInput, CloudRefused
from cloudburst.job.folder.scan import scan as scan_folder
from cloudburst.models import Refusal
from cloudburst.targets.aws.account import connected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Result = dict[str, Any]

_MESSAGES = {
    "AccountBlocked": "AWS account is blocked, suspended or not verified yet; see docs/aws.md",
    "AuthFailure": "AWS authentication failed",
    "UnauthorizedOperation": "AWS account access denied",
}


def image(variables: Mapping[str, str]) -> str:
    """Return the container image of the video API, on AWS."""
    settings = targets.get("aws").settings(None, variables)
    return str(settings.image)


def validity() -> Result:
    """Return whether AWS answers, and if not, why: without an exception, as the original."""
    try:
        with connected() as account:
            regions = account.regions()
    except (CloudRefused, BadInput) as error:
        refusal = error.refusal if isinstance(error, CloudRefused) else Refusal()
        # Only what is wrong with the account itself has a cause; the original calls that blocked.
        code = "AccountBlocked" if refusal.cause else refusal.code or "Unknown"
        return {
            "valid": False,
            "message": _MESSAGES.get(code, "Unable to verify AWS account status"),
            "error": str(error),
            "error_type": code,
        }
    return {
        "valid": True,
        "message": "AWS account is active and accessible",
        "regions_count": len(regions),
    }


def availability(instance_type: str) -> Result:
    """Return the zones of the region that offer an instance type."""
    return _availabilities([instance_type])[0]


def _availabilities(instance_types: Sequence[str]) -> list[Result]:
    """Return what the region offers of some instance types, asked for at once."""
    try:
        with connected() as account:
            offers, region = account.zones(instance_types), account.region
    except (CloudRefused, BadInput) as error:
        return [
            {"available": False, "error": str(error), "instance_type": name}
            for name in instance_types
        ]
    return [
        {
            "available": bool(offers[name]),
            "availability_zones": offers[name],
            "instance_type": name,
            "region": region,
        }
        for name in instance_types
    ]


def best(config: instances.Config, log: Callable[[str], None]) -> Result:
    """Return the first instance type that the region offers: the configured one, then others.

    Args:
        config: the chosen configuration.
        log: called with a line for each answer.
    """
    wanted = str(config["instance_type"])
    candidates = instances.ladder(wanted)
    for name, check in zip(candidates, _availabilities(candidates), strict=True):
        if check["available"]:
            log(f"✅ {name} is offered in {len(check['availability_zones'])} zones")
            found = {
                "selected": True,
                "instance_type": name,
                "config": instances.used(config, name),
                "availability_check": check,
            }
            return found | ({"fallback_from": wanted} if name != wanted else {})
        log(f"❌ {name} is not offered: {check.get('error', 'in no zone of the region')}")
    return {
        "selected": False,
        "error": "No available instances found",
        "checked_instances": candidates,
    }


def usd_per_hour(instance_type: str, target: str) -> float:
    """Return an instance type's list price in USD/h; 0 on a target that rents nothing."""
    if targets.get(target).unbilled:
        return 0.0
    with connected() as account:
        return account.usd_per_hour(instance_type)


def scan(folder: str, log: Callable[[str], None]) -> list[Result]:
    """Return the scenes of a folder as the original's dicts, and log what does not pair."""
    scanned = scan_folder(folder)
    scenes = []
    for scene in scanned.scenes:
        mark = "✅" if scene.subtitle else "❌"
        log(f"📽️ Found scene: {scene.name} (subtitle: {mark})")
        scenes.append(
            {
                "scene_name": scene.name,
                "input_image": str(scanned.folder / scene.image),
                "input_audio": str(scanned.folder / scene.audio),
                "subtitle": str(scanned.folder / scene.subtitle) if scene.subtitle else None,
            }
        )
    for skipped in scanned.skipped:
        log(f"⚠️  {skipped}")
    log(f"🎬 Total scenes found: {len(scenes)}")
    return scenes
