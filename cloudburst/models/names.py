"""Names that carry data: read and written here, and nowhere parsed by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_STACK = re.compile(r"(?P<run>\d{8}-\d{6}-[0-9a-f]{6})-b(?P<batch>\d+)")
_WORKER = re.compile(r"b(?P<batch>\d+)(?:\.(?P<number>\d+))?")


@dataclass(frozen=True, slots=True)
class StackName:
    """The name of a batch's stack, such as ``20261124-101500-a1b2c3-b01``.

    Args:
        run_id: the run it belongs to.
        batch: 1-based number of the batch.
    """

    run_id: str
    batch: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the parts of a stack's name, None when CloudBurst did not name it."""
        found = _STACK.fullmatch(text)
        return cls(found["run"], int(found["batch"])) if found else None

    def __str__(self) -> str:
        return f"{self.run_id}-{batch_label(self.batch)}"


@dataclass(frozen=True, slots=True)
class WorkerLabel:
    """The label of a worker: ``b01`` for the first of batch 1, ``b01.2`` for its replacement.

    Args:
        batch: 1-based number of the batch.
        number: 1-based number of the worker within its batch.
    """

    batch: int
    number: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the parts of a label.

        Raises:
            ValueError: the text is no label.
        """
        found = _WORKER.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no label of a worker, such as b01 or b01.2")
        return cls(int(found["batch"]), int(found["number"] or 1))

    def __str__(self) -> str:
        label = batch_label(self.batch)
        return label if self.number == 1 else f"{label}.{self.number}"


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process of this machine, told apart from a later one with the same pid by its start.

    Args:
        pid: process id.
        started: seconds since 1970; None when it had ended before that could be read.
    """

    pid: int
    started: float | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the parts of a process's id, as `__str__` writes it.

        Raises:
            ValueError: the text is no such id.
        """
        pid, _, started = text.partition("@")
        return cls(int(pid), None if started == "gone" else float(started))

    def __str__(self) -> str:
        return f"{self.pid}@{'gone' if self.started is None else f'{self.started:.2f}'}"


def batch_label(number: int) -> str:
    """Return the label of a batch: ``b01``."""
    return f"b{number:02d}"


def label_order(label: str) -> tuple[int, str]:
    """Return the key that sorts labels of batches and workers by number: b99 before b100."""
    return len(label), label
