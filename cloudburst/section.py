"""What all sections of scenes.yaml have in common: how they are checked, and what is said then."""

from __future__ import annotations

import difflib
import reprlib
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from cloudburst.language import later, tr
from cloudburst.models.job import MAX_PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Path = tuple[str | int, ...]

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


class Section(BaseModel):
    """A mapping of scenes.yaml.

    Attributes:
        former_keys: what users of the original tool type → the key here.
        patterns: a regular expression of a field → what is expected, for people.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    former_keys: ClassVar[Mapping[str, str]] = {}
    patterns: ClassVar[Mapping[str, str]] = {}


def problems(
    model: type[Section], value: object, error: ValidationError
) -> Iterator[tuple[Path, str]]:
    """Return what is wrong with a value, as (path, message) in its order.

    Args:
        model: what it was to be.
        value: as it was read.
        error: what pydantic said.

    Returns:
        A message for each path: at most one path more than `MAX_PROBLEMS`.
    """
    messages: dict[Path, list[str]] = {}
    for detail in error.errors(include_url=False):
        path = _path(value, detail["loc"])
        if len(messages) > MAX_PROBLEMS:
            break
        message = _explain(model, dict(detail))
        if message not in messages.setdefault(path, []):
            messages[path].append(message)
    return ((path, tr("; ").join(texts)) for path, texts in messages.items())


def show(value: object) -> str:
    """Return a value as a person would write it, shortened."""
    words = {True: "true", False: "false", None: tr("nothing")}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, dict):
        return tr("a mapping")
    if isinstance(value, list):
        return tr("a list of {count}", count=len(value)) if value else tr("an empty list")
    return _SHORT.repr(value)


def _path(value: object, location: Path) -> Path:
    """Return the parts of pydantic's location that are in the value: it adds union members."""
    path: list[str | int] = []
    for part in location:
        if isinstance(value, dict):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            break
        path.append(part)
    return tuple(path)


def _explain(model: type[Section], detail: dict[str, Any]) -> str:
    kind, value = detail["type"], detail["input"]
    if kind == "missing":
        return tr("missing; expected a value")
    section = _section_at(model, detail["loc"])
    if kind == "extra_forbidden":
        return _unknown_key(section, str(detail["loc"][-1]))
    expected = _expected(section, detail)
    if kind == "too_long":
        return tr("got {count} items; expected {expected}", count=len(value), expected=expected)
    return tr("got {value}; expected {expected}", value=show(value), expected=expected)


_EXPECTED = {
    "int_type": later("a whole number"),
    "int_from_float": later("a whole number"),
    "float_type": later("a number"),
    "finite_number": later("a finite number"),
    "bool_type": later("true or false"),
    "string_type": later("text"),
    "list_type": later("a list"),
    "model_type": later("a mapping (key: value)"),
    "dict_type": later("a mapping (key: value)"),
    "none_required": later("nothing"),
    "literal_error": later("one of: {values}"),
    "greater_than_equal": later("{ge:g} or more"),
    "greater_than": later("more than {gt:g}"),
    "less_than_equal": later("{le:g} or less"),
    "string_too_short": later("text that is not empty"),
    "string_too_long": later("at most {max_length} characters"),
    "too_short": later("at least {min_length}"),
    "too_long": later("at most {max_length}"),
}


def _expected(section: type[Section], detail: dict[str, Any]) -> str:
    """Return what a value was to be; in English where only pydantic knows."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern"))
        known = section.patterns.get(pattern)
        return tr(known) if known else tr("text that matches {pattern}", pattern=pattern)
    if kind not in _EXPECTED:
        return str(detail["msg"])
    values = str(context.get("expected", "")).replace(" or ", ", ")
    return tr(_EXPECTED[kind], **{**context, "values": values})


def _section_at(model: type[Section], location: Path) -> type[Section]:
    """Return the innermost section around a location."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field is not None else None
        for member in (annotation, *get_args(annotation)):
            if isinstance(member, type) and issubclass(member, Section):
                model = member
    return model


def _unknown_key(section: type[Section], key: str) -> str:
    known = list(section.model_fields)
    former = section.former_keys.get(key)
    close = [former] if former in known else difflib.get_close_matches(key, known, n=1)
    if close:
        return tr("unknown key; did you mean {key}?", key=close[0])
    return tr("unknown key; expected one of: {keys}", keys=", ".join(known))
