"""RunReport → report.json."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst.errors import InfrastructureError

if TYPE_CHECKING:
    from cloudburst.models import RunReport

NAME = "report.json"


def as_dict(value: Any) -> Any:
    """Turn a value into what JSON can say; paths become text, seconds keep milliseconds."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: as_dict(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {str(key): as_dict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_dict(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float):
        return round(value, 3)
    return value


def document(report: RunReport) -> dict[str, Any]:
    """Give a report as report.json holds it, with the figures that are derived."""
    return {
        "version": 1,
        **as_dict(report),
        "done": report.done,
        "total": len(report.scenes),
        "speedup": round(report.speedup, 2),
    }


def write(report: RunReport) -> Path:
    """Write report.json beside the videos, whole or not at all.

    Raises:
        InfrastructureError: the folder cannot be written to.
    """
    path = report.directory / NAME
    part = path.with_name(f"{NAME}.part")
    text = json.dumps(document(report), indent=2, ensure_ascii=False)
    try:
        part.write_text(f"{text}\n", "utf-8")
        part.replace(path)
    except OSError as error:
        raise InfrastructureError(f"{path} cannot be written: {error.strerror}") from error
    return path
