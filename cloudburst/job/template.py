"""A scenes.yaml to begin with: what is needed, and every other key as a comment. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudburst.job import schema
from cloudburst.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = (
    "# A CloudBurst job. Comments are keys that may be set, most of them with their defaults.",
    "# Every key is explained in docs/scenes.md. Run it with: cloudburst-run scenes.yaml",
    "version: 1",
)
# What a beginner fills in; everything else is a comment.
_SCENES = (
    "scenes:",
    "  - name: intro                       # names the video: intro.mp4",
    "    image: pictures/intro.jpg         # paths are relative to this file",
    "    audio: narration/intro.mp3",
    "    # subtitle: subtitles/intro.srt   # SRT, WebVTT, ASS or LRC",
    "    # effects: [zoom_in]              # this scene's own options win over defaults",
)
_WIDTH = 44


def text(target: str) -> str:
    """Return a scenes.yaml that is valid as soon as the files in it exist.

    Args:
        target: on which its workers are to run.
    """
    fields = dict(schema.document().model_fields)
    for name in ("version", "target", "scenes"):
        del fields[name]
    lines = [
        *_HEAD,
        _commented("name", fields.pop("name"), value="my-job"),
        f"target: {target}",
        "",
        *_SCENES,
        "",
        f"{'# defaults:':<{_WIDTH}}  # Options of all scenes.",
        *_section(fields.pop("defaults").annotation),
    ]
    for name, field in fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            lines += ["", f"# {name}:", *_section(field.annotation)]
        else:
            lines += ["", _commented(name, field)]
    return "\n".join(lines) + "\n"


def _section(model: Any) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield _commented(f"  {name}", field)


def _commented(name: str, field: Any, value: str = "") -> str:
    """Return a key as a comment, with its default and what it is for."""
    line = f"# {name}: {value or _value(field.get_default(call_default_factory=True))}".rstrip()
    return f"{line:<{_WIDTH}}  # {field.description}" if field.description else line


def _value(default: Any) -> str:
    """Return a default as YAML has it."""
    if default is None:
        return "null"
    if isinstance(default, str):
        return default if default.isalnum() else json.dumps(default)
    return json.dumps(default)
