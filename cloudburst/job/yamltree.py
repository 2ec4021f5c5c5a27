"""Safe YAML with the line of every value, and back. The only module that imports PyYAML.

The tree is built from the parser's events with a stack of its own: no constructors, so no tags
can run anything; no recursion, so no depth can crash it; a bound on the nodes, so aliases cannot
multiply. Scalars follow the YAML 1.2 core schema, where ``no`` and ``12:30`` are words; of YAML 1.1
it has merge keys (``<<``, https://yaml.org/type/merge.html), which anchors are mostly used with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

from cloudburst.job.tree import (
    MAX_DEPTH,
    MAX_NODES,
    REPEATED_KEY,
    Fault,
    Path,
    Shape,
    SourceError,
    Tree,
    Written,
    resolved,
)
from cloudburst.language import later, tr
from cloudburst.section import show

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LINE_ENDS = {"\x85", "\u2028", "\u2029"}
_WORDS: dict[str, object] = {"": None, "~": None} | {
    spelling: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for spelling in (word, word.capitalize(), word.upper())
}


class YamlError(SourceError):
    """The text is not YAML that is accepted here."""


@dataclass(slots=True)
class _Open:
    """A collection whose end has not been read."""

    value: dict[str, object] | list[object]
    path: Path
    anchor: str | None
    key: str | None = None
    merges: bool = False


_MERGE = "<<"


def parse(text: str, shape: Shape = None) -> Tree:
    """Parse one YAML document.

    Args:
        text: of the document.
        shape: where it has text: what is written there is not read as a number or a truth value.

    Raises:
        YamlError: syntax, a tag, an endless or exploding alias, too deep, too large.
    """
    try:
        return _Builder().build(text, shape)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        slip = _slip(text, mark.line, f"{error.context} {error.problem}") if mark else None
        if slip:
            raise slip from error
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise YamlError(
            mark.line + 1 if mark else 1, tr("invalid YAML: {what}", what=what)
        ) from error
    except yaml.YAMLError as error:
        raise YamlError(1, tr("invalid YAML: {what}", what=error)) from error


# What is often mistyped, in a line at which YAML fails or in the one before.
_SLIPS = (
    (re.compile(r"\s*(?:- +)*[\w-]+："), later("a full-width colon; YAML expects : and a space")),
    (re.compile(r"\s*(?:- +)*[A-Za-z_]+:(?![\s/\\])\S"), later("no space after the colon")),
)


def _slip(text: str, number: int, said: str) -> YamlError | None:
    """Return what people mistype, if it can be the reason of an error.

    Args:
        text: of the document.
        number: of the line at which YAML fails, from 0.
        said: by the parser.
    """
    lines = text.splitlines()
    line = lines[number] if number < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return YamlError(number + 1, tr("a tab in the indentation; YAML expects spaces"))
    if "quoted scalar" in said and ("escape" in said or "hexdec" in said):
        return YamlError(
            number + 1,
            tr("in double quotes YAML reads a backslash as an escape; write / or single quotes"),
        )
    filled = [at for at in range(min(number + 1, len(lines))) if lines[at].strip()]
    for at in reversed(filled[-2:]):
        for pattern, message in _SLIPS:
            if pattern.match(lines[at]):
                return YamlError(at + 1, tr(message))
    return None


class _Builder:
    def __init__(self) -> None:
        self.stack: list[_Open] = []
        self.anchors: dict[str, object] = {}
        self.tree = Tree(None, {})
        self.root: object = None
        self.documents = 0
        self.nodes = 0

    def build(self, text: str, shape: Shape) -> Tree:
        for event in yaml.parse(text, Loader=_Loader):
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    raise YamlError(line, tr("second document in the file; expected one"))
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                self._close()
            elif isinstance(event, yaml.AliasEvent):
                self._alias(str(event.anchor), line)
            elif isinstance(event, yaml.NodeEvent):
                self._node(event, line)
        return Tree(resolved(self.root, shape), self.tree.lines, self.tree.faults)

    def _node(self, event: yaml.NodeEvent, line: int) -> None:
        tag = getattr(event, "tag", None)
        if tag not in {None, "!"}:
            raise YamlError(line, tr("got the tag {tag}; tags are not supported", tag=tag))
        self._count(1, line)
        if isinstance(event, yaml.ScalarEvent):
            value = _written(event.value) if event.implicit[0] else event.value
            if event.anchor:
                self.anchors[event.anchor] = value
            self._note_merge(event)
            self._place(value, line, is_key_text=str(event.value))
            return
        if len(self.stack) >= MAX_DEPTH:
            raise YamlError(line, tr("nested deeper than {levels} levels", levels=MAX_DEPTH))
        self._place_open({} if isinstance(event, yaml.MappingStartEvent) else [], event, line)

    def _place_open(
        self, value: dict[str, object] | list[object], event: yaml.NodeEvent, line: int
    ) -> None:
        path = self._place(value, line, is_key_text=None)
        self.stack.append(_Open(value, path, event.anchor))

    def _note_merge(self, event: yaml.ScalarEvent) -> None:
        """Note that the open mapping has a merge key: ``<<`` as a key, and not in quotes."""
        parent = self.stack[-1] if self.stack else None
        if parent is not None and isinstance(parent.value, dict) and parent.key is None:
            parent.merges |= event.value == _MERGE and bool(event.implicit[0])

    def _merge(self, done: _Open) -> None:
        """Put what a merge key names below the mapping's own keys, and the earlier above the later.

        Such a value has the line of its merge key: there it came to be in this mapping.
        """
        assert isinstance(done.value, dict)  # noqa: S101 - for mypy; only mappings have keys
        named = done.value.pop(_MERGE, None)
        path = (*done.path, _MERGE)
        line = self.tree.lines.get(path, 1)
        for source in named if isinstance(named, list) else [named]:
            if not isinstance(source, dict):
                message = tr(
                    "got {value}; expected a mapping, such as an alias of one, or a list of them",
                    value=show(source),
                )
                self.tree.faults.append(Fault(path, line, message))
                continue
            for key, value in source.items():
                if key not in done.value:
                    self._count(1, line)
                    done.value[key] = value
                    self.tree.lines[*done.path, key] = line

    def _close(self) -> None:
        done = self.stack.pop()
        if done.merges:
            self._merge(done)
        # Only now: an alias inside its own anchor would make an endless tree.
        if done.anchor:
            self.anchors[done.anchor] = done.value

    def _alias(self, name: str, line: int) -> None:
        if name not in self.anchors:
            raise YamlError(
                line,
                tr("undefined alias *{name}; expected &{name} on an earlier value", name=name),
            )
        value = self.anchors[name]
        self._count(_size(value), line)
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None:
            raise YamlError(line, tr("alias *{name} cannot be a key; expected text", name=name))
        self._place(value, line, is_key_text=None)

    def _count(self, nodes: int, line: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise YamlError(
                line, tr("more than {count} values, including those of aliases", count=MAX_NODES)
            )

    def _place(self, value: object, line: int, *, is_key_text: str | None) -> Path:
        """Put a value into the collection that is open; return its path."""
        if not self.stack:
            self.root = value
            self.tree.lines[()] = line
            return ()
        parent = self.stack[-1]
        if isinstance(parent.value, list):
            path: Path = (*parent.path, len(parent.value))
            parent.value.append(value)
            self.tree.lines[path] = line
            return path
        if parent.key is None:
            if is_key_text is None:
                raise YamlError(line, tr("a list or mapping cannot be a key; expected text"))
            path = (*parent.path, is_key_text)
            if is_key_text in parent.value:
                self.tree.faults.append(Fault(path, line, tr(REPEATED_KEY)))
            self.tree.lines[path] = line
            parent.key = is_key_text
            return path
        path = (*parent.path, parent.key)
        parent.value[parent.key] = value
        parent.key = None
        return path


def _size(value: object) -> int:
    """Return the number of values in a tree, without recursion."""
    total, todo = 0, [value]
    while todo:
        item = todo.pop()
        total += 1
        if isinstance(item, dict):
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
        if total > MAX_NODES:
            break
    return total


def _written(text: str) -> object:
    """Return a plain scalar, as text if it is nothing else in any place."""
    value = _scalar(text)
    return text if value == text else Written(text, value)


def _scalar(text: str) -> object:
    """Return the value of a plain scalar by the YAML 1.2 core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text) and len(text) < 100:  # noqa: PLR2004 - int() refuses 4300 digits
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


# -- writing ------------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """Writes what `parse` reads back: text that YAML 1.2 takes for a number is quoted too."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's
        """Write every value out: people edit the file."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's
        """Indent the items of a list below its key."""
        super().increase_indent(flow, indentless=False)


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML folds Unicode's line ends in plain text and in single quotes.
    style = '"' if _scalar(text) != text or not _LINE_ENDS.isdisjoint(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _list_node(dumper: yaml.SafeDumper, items: list[object]) -> yaml.SequenceNode:
    short = not any(isinstance(item, dict | list) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=short)


_Dumper.add_representer(str, _text_node)
_Dumper.add_representer(list, _list_node)


def dump(value: object) -> str:
    """Return a document as YAML for people, which `parse` reads back as it is.

    Args:
        value: dicts with text as keys, lists, text, numbers, booleans and None.
    """
    return yaml.dump(
        value,
        Dumper=_Dumper,
        allow_unicode=True,
        default_flow_style=False,
        sort_keys=False,
        width=1_000_000,
    )
