"""Text that rich shows as it is, and codes as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.language import later, tr

if TYPE_CHECKING:
    from collections.abc import Sequence

# Values of enums and other codes that a terminal shows as words; JSON and journals keep the codes.
WORDS = frozenset(
    {
        # WorkerState
        later("waiting"),
        later("creating"),
        later("starting"),
        later("working"),
        later("destroying"),
        later("kept"),
        later("gone"),
        later("failed"),
        later("left running"),
        # SceneStatus, Outcome
        later("done"),
        later("unfinished"),
        later("complete"),
        later("partial"),
        later("interrupted"),
        # RunStatus
        later("killed"),
        later("unreadable"),
        # Finding
        later("ok"),
        later("warning"),
        later("error"),
        # Basis
        later("list price"),
        later("given price"),
        later("spot price at launch"),
        later("estimate"),
        # CostLine.kind, Resource.kind, Resource.state on this machine
        later("machine"),
        later("disk"),
        later("address"),
        later("credits"),
        later("egress"),
        later("process"),
        later("firewall"),
        later("running"),
        # what the engine would do
        later("create"),
    }
)


def safe(text: str) -> str:
    """Take brackets for brackets, not for markup."""
    return text.replace("[", r"\[")


def titled(style: str, title: str, text: str) -> str:
    """Return a line with a title before it, such as ``warning:``, as markup."""
    space = "" if title.endswith("：") else " "
    return f"[{style}]{title}[/]{space}{safe(text)}"


def word(code: str) -> str:
    """Return a code as people read it; an unknown one as it is."""
    return tr(str(code)) if code in WORDS else str(code)


def first_of(names: Sequence[str], most: int) -> str:
    """Return names in a line; of more than so many, the first ones and the number of the rest."""
    first = tr(", ").join(names[:most])
    if len(names) <= most:
        return first
    return tr("{names} and {count} more", names=first, count=len(names) - most)
