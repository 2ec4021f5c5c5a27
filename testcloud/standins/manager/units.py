"""Unit files of systemd: how they are read. Pure.

systemd.syntax(7), systemd.time(7), systemd.timer(5).
"""

import re
import shlex
from dataclasses import dataclass, field
from datetime import UTC, datetime

Sections = dict[str, dict[str, list[str]]]
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_SECONDS = {
    **dict.fromkeys(("us", "usec"), 1e-6),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
_MOMENT = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\w*,?\s+)?"
    r"(\d{4})-(\d{1,2})-(\d{1,2})[ T](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.\d+)?)?(?:\s+(UTC|Z))?"
)


@dataclass(frozen=True)
class Unit:
    """A unit as its file describes it.

    Attributes:
        name: with its suffix.
        path: of its file, as the machine sees it; "" for a unit that exists without one.
        masked: its file is a link to /dev/null.
    """

    name: str
    path: str = ""
    text: str = ""
    masked: bool = False
    sections: Sections = field(default_factory=dict)

    def all(self, section: str, key: str) -> list[str]:
        """Return every value of a setting, in order."""
        return self.sections.get(section, {}).get(key, [])

    def last(self, section: str, key: str, default: str = "") -> str:
        """Return the value that counts of a setting that has one."""
        return (self.all(section, key) or [default])[-1]

    def names(self, section: str, key: str) -> list[str]:
        """Return the units that a setting lists."""
        return [name for value in self.all(section, key) for name in value.split()]


def parse(text: str) -> Sections:
    """Return the settings of a unit file, by section and key.

    Raises:
        ValueError: a line is neither a section, a setting nor a comment.
    """
    sections: Sections = {}
    current: dict[str, list[str]] | None = None
    # A backslash at the end of a line continues it.
    for line in text.replace("\\\n", " ").splitlines():
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if stripped.startswith("[") and stripped.endswith("]"):
            current = sections.setdefault(stripped[1:-1], {})
            continue
        key, equals, value = stripped.partition("=")
        if not equals or current is None:
            raise ValueError(f"Missing '=', ignoring line: {stripped}")
        if value.strip():
            current.setdefault(key.strip(), []).append(value.strip())
        else:
            current[key.strip()] = []  # an empty value resets the list
    return sections


def seconds(text: str) -> float:
    """Return the seconds of a time span such as ``90``, ``10min`` or ``1h 30min``.

    Raises:
        ValueError: it is not one.
    """
    if text.strip() == "infinity":
        return float("inf")
    matches = _SPAN.findall(text.strip())
    rest = _SPAN.sub("", text).strip()
    if not matches or rest or any(unit not in _SECONDS for _, unit in matches):
        raise ValueError(f"Failed to parse time span: {text}")
    return sum(float(number) * _SECONDS[unit] for number, unit in matches)


def moment(text: str) -> float:
    """Return the epoch seconds of an absolute calendar event.

    Without a zone the machine's counts, which is UTC on EC2. Repeating events are not understood.

    Raises:
        ValueError: it is not one.
    """
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"Failed to parse calendar specification: {text}")
    numbers = [int(group or 0) for group in match.groups()[:6]]
    year, month, day, hour, minute, second = numbers
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()


def command(line: str) -> tuple[list[str], bool]:
    """Return the words of an Exec line, and whether its failure counts.

    Raises:
        ValueError: systemd refuses it; the program must be an absolute path or a plain name.
    """
    prefixes = line[: len(line) - len(line.lstrip("-@:+!"))]
    words = [
        word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line.lstrip("-@:+!"))
    ]
    if not words:
        raise ValueError("Service has no ExecStart=")
    if "/" in words[0] and not words[0].startswith("/"):
        raise ValueError(f'Neither a valid executable name nor an absolute path: "{words[0]}"')
    return words, "-" not in prefixes


def variables(unit: Unit) -> dict[str, str]:
    """Return what Environment= sets."""
    result = {}
    for value in unit.all("Service", "Environment"):
        for word in shlex.split(value):
            key, _, text = word.partition("=")
            result[key] = text
    return result
