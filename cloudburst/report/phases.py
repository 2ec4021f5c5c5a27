"""What people read for a phase of a worker, and for what its time went to: one set of words.

The live view has the same for what a worker does now. Keys of report.json and columns of
launches.csv are codes, and stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.language import later, tr
from cloudburst.models import Phase
from cloudburst.report.uses import Use

if TYPE_CHECKING:
    from collections.abc import Mapping

# By `Phase`, by `Use`, and by the names of an estimate's phases: no two of these mean two things.
NAMES: Mapping[str, str] = {
    Phase.UP: later("creating"),
    Phase.HEALTH: later("starting"),
    Phase.DRIVE: later("working"),
    Phase.DESTROY: later("destroying"),
    Phase.RENDER: later("rendering"),
    Phase.DOWNLOAD: later("downloading"),
    Use.BOOT: later("creating and starting"),
    Use.IDLE: later("idle"),
    Use.END: later("destroying"),
    "launches": later("launching"),
}
# What each of them is, where there is room to say it.
PHASES: Mapping[str, str] = {
    Phase.UP: later("creating: the stack is being created"),
    Phase.HEALTH: later("starting: the machine boots, and the video API starts"),
    Phase.RENDER: later("rendering: a scene is being rendered"),
    Phase.DOWNLOAD: later("downloading: its video is being downloaded"),
    Use.IDLE: later("idle: it works, and no scene is on it"),
    Phase.DESTROY: later("destroying: until the provider has confirmed that it is gone"),
}
USES: Mapping[Use, str] = {
    Use.BOOT: later("creating and starting: from the call that creates it until it can render"),
    Use.RENDER: later("rendering: at least one scene is being rendered or downloaded"),
    Use.IDLE: PHASES[Use.IDLE],
    Use.END: PHASES[Phase.DESTROY],
}


def name(code: str) -> str:
    """Return the word for a phase or a use, by its code; an unknown one as it is."""
    return tr(NAMES[code]) if code in NAMES else code
