"""What this machine has for rendering: the fonts of the bundled video API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.language import later, tr
from cloudburst.models import Check, Finding
from cloudburst.videoapi.typefaces import fonts

if TYPE_CHECKING:
    from collections.abc import Iterator

# Script, a character of it, the package that CloudBurst requires for it.
_SCRIPTS = (
    (later("Latin"), "A", "manimgx-fonts"),
    (later("Chinese"), "中", "noto-cjk-sans-otc"),
)
# A letter of each of the scripts that most people write, beside those.
_OTHERS = "あ한אعकবਅઅଅஅఅಅഅඅกກကកაаαաአཀᠠᎠᐁޏܐߊⵣ😀"


def examine() -> Iterator[Check]:
    """Check that there is a font for each script that subtitles may have."""
    for script, sample, package in _SCRIPTS:
        face = fonts.face_for(sample)
        if face:
            yield Check(
                later("font"),
                Finding.OK,
                tr("{script}: {font}", script=tr(script), font=face.family),
            )
        else:
            yield Check(
                later("font"),
                Finding.WARNING,
                tr("{script}: NONE; such characters are left out", script=tr(script)),
                tr("install it again: pip install {package}", package=package),
            )
    missing = [char for char in _OTHERS if fonts.face_for(char) is None]
    if missing:
        yield Check(
            later("font"),
            Finding.WARNING,
            tr(
                "other scripts: no font has {characters}; such characters are left out",
                characters=" ".join(missing),
            ),
            tr("install CloudBurst again, or name a folder with such fonts in CLOUDBURST_FONTS"),
        )
    else:
        yield Check(
            later("font"),
            Finding.OK,
            tr("other scripts: {count} of {count} tried", count=len(_OTHERS)),
        )
