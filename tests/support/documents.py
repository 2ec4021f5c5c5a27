"""Pages of the documentation as data: headings, links, code and commands."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from markdown_it.token import Token

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SHELL = {"console", "bash", "sh"}

_PROMPT = "$ "
_FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*")
_SEPARATORS = {"&&", "||", ";", "|", "&"}
_REDIRECTIONS = {">", ">>", "<", "2>"}
_ELLIPSIS = "…"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, and its text."""

    language: str
    text: str


@dataclass
class Page:
    """A page, parsed as GitHub does."""

    name: str
    text: str
    headings: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    spans: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    @property
    def prose(self) -> str:
        """The text without fenced blocks."""
        return _FENCE.sub("", self.text)

    @property
    def anchors(self) -> set[str]:
        """What a link to this page can have after its `#`."""
        seen: Counter[str] = Counter()
        anchors = set()
        for heading in self.headings:
            name = slug(heading)
            anchors.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
        return anchors

    def blocks_of(self, *languages: str) -> list[str]:
        return [block.text for block in self.blocks if block.language in languages]

    def commands(self) -> list[list[str]]:
        """The commands of the shell blocks, in order, each as its arguments."""
        return [
            command
            for text in self.blocks_of(*SHELL)
            for line in prompted(text)
            for command in simple_commands(line)
        ]


def slug(heading: str) -> str:
    """Return a heading's anchor by GitHub's rule: no punctuation of any script, no capitals."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@cache
def page(name: str) -> Page:
    """Return a page by its path below the repository."""
    return parse(name, (ROOT / name).read_text("utf-8"))


def parse(name: str, text: str) -> Page:
    """Return a page by its path below the repository and its text."""
    parsed = Page(name, text)
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for token, following in pairwise([*tokens, Token("end", "", 0)]):
        if token.type == "fence":
            parsed.blocks.append(Block(token.info.strip(), token.content))
        elif token.type == "heading_open":
            parsed.headings.append(_text(following))
        elif token.type == "tr_open":
            parsed.rows.append([])
        elif token.type in {"td_open", "th_open"}:
            parsed.rows[-1].append(following.content)
        for child in token.children or ():
            _add(child, parsed)
    return parsed


def _add(child: Token, parsed: Page) -> None:
    target = child.attrGet("href") or child.attrGet("src")
    if isinstance(target, str):
        parsed.links.append(target)
    if child.type == "code_inline":
        parsed.spans.append(child.content)


def _text(inline: Token) -> str:
    return "".join(child.content for child in inline.children or ())


def prompted(text: str) -> Iterator[str]:
    """Return the lines typed after a prompt, each with its continuations."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(_PROMPT):
            whole = line.removeprefix(_PROMPT)
            while whole.endswith("\\"):
                whole = whole[:-1] + next(lines)
            yield whole


def simple_commands(line: str) -> Iterator[list[str]]:
    """Split a line of shell into simple commands, without assignments, files and comments.

    What is in `$(…)` is a command of its own; ellipses are left out.
    """
    for inner in _SUBSTITUTION.findall(line):
        yield from simple_commands(inner)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    command: list[str] = []
    words = iter(lexer)
    for word in words:
        if word in _SEPARATORS:
            if command:
                yield command
            command = []
        elif word in _REDIRECTIONS:
            next(words, None)
        elif word != _ELLIPSIS and (command or not _ASSIGNMENT.fullmatch(word)):
            command.append(word)
    if command:
        yield command
