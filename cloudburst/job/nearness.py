"""How near files are to each other by their folders, and which are of different chapters."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import takewhile
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")
Folders = tuple[str, ...]


def distance(one: Folders, other: Folders) -> tuple[int, int]:
    """Return how far two folders are from each other.

    First by the parts that only one of the two has: ``chapter1/images`` and ``audio/chapter1`` have
    ``chapter1`` in common. Then by the steps from one to the other.
    """
    first, second = Counter(one), Counter(other)
    differing = (first - second).total() + (second - first).total()
    return differing, len(one) + len(other) - 2 * _shared(one, other)


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many parts two folders have in common at their beginning."""
    same = takewhile(lambda parts: parts[0] == parts[1], zip(one, other, strict=False))
    return sum(1 for _ in same)


class Placed(Protocol):
    """A file: its path, with ``/``, and its folders as they are compared."""

    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def folders(self) -> Folders: ...  # noqa: D102


class Chapters:
    """Knows which folders have pictures and sounds of their own, as the chapters of a book do.

    Args:
        files: (path, kind) of all files; paths with ``/``.
    """

    def __init__(self, files: Iterable[tuple[str, str]]) -> None:
        kinds: dict[Folders, set[str]] = defaultdict(set)
        for path, kind in files:
            parts = path.split("/")
            for depth in range(1, len(parts)):
                kinds[tuple(parts[:depth])].add(kind)
        self._own = {folder for folder, held in kinds.items() if {"picture", "sound"} <= held}

    def apart(self, one: Placed, other: Placed) -> bool:
        """Whether two files are of different chapters, whatever their names."""
        first, second = Counter(one.folders), Counter(other.folders)
        if (first - second).total() > 1 and (second - first).total() > 1:
            return True  # chapter1/images and chapter2/audio; images and audio differ in one
        mine, theirs = one.path.split("/")[:-1], other.path.split("/")[:-1]
        # The two folders just below the innermost one that holds both files.
        depth = _shared(mine, theirs) + 1
        if min(len(mine), len(theirs)) < depth:
            return False  # that is where one of the two is
        return tuple(mine[:depth]) in self._own and tuple(theirs[:depth]) in self._own


class Index(Generic[T]):
    """Finds the items near a folder without a look at each: books have many chapters.

    Args:
        items: what is looked for.
        folders: the folders of an item.
    """

    def __init__(self, items: Sequence[T], folders: Callable[[T], Folders]) -> None:
        self._items = items
        self._same: dict[Folders, list[T]] = defaultdict(list)
        self._close: dict[Folders, list[T]] = defaultdict(list)
        for item in items:
            for key in _keys(folders(item)):
                self._close[key].append(item)
            self._same[tuple(sorted(folders(item)))].append(item)

    def near(self, folders: Folders, accepts: Callable[[T], bool]) -> list[T]:
        """Return the accepted items of the nearest kind that there are; they may be ranked then.

        Those with the same parts, or those that differ in one part each way, or all.
        """
        key = tuple(sorted(folders))
        if same := [item for item in self._same.get(key, ()) if accepts(item)]:
            return same
        keys = _keys(folders)
        close = {id(item): item for key in keys for item in self._close.get(key, ())}
        if accepted := [item for item in close.values() if accepts(item)]:
            return accepted
        return [item for item in self._items if accepts(item)]


def _keys(folders: Folders) -> Iterator[Folders]:
    """Return the parts of a folder in one order, and all but one of them."""
    parts = tuple(sorted(folders))
    yield parts
    for index in range(len(parts)):
        yield parts[:index] + parts[index + 1 :]
