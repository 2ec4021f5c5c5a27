"""How near files are to each other by their folders, and which are of different chapters."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import takewhile
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")
Folders = tuple[str, ...]


def distance(first: Folders, second: Folders) -> tuple[int, int]:
    """Return how far two folders are from each other.

    First by the parts that only one of the two has: ``chapter1/images`` and ``audio/chapter1`` have
    ``chapter1`` in common. Then by the steps from one to the other.
    """
    mine, theirs = Counter(first), Counter(second)
    differing = (mine - theirs).total() + (theirs - mine).total()
    return differing, len(first) + len(second) - 2 * _shared(first, second)


def _shared(first: Sequence[str], second: Sequence[str]) -> int:
    """Return how many parts two folders have in common at their beginning."""
    same = takewhile(lambda parts: parts[0] == parts[1], zip(first, second, strict=False))
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

    def apart(self, first: Placed, second: Placed) -> bool:
        """Whether two files are of different chapters, whatever their names."""
        mine, theirs = Counter(first.folders), Counter(second.folders)
        if (mine - theirs).total() > 1 and (theirs - mine).total() > 1:
            return True  # chapter1/images and chapter2/audio; images and audio differ in one part
        parents = first.path.split("/")[:-1], second.path.split("/")[:-1]
        # The two folders just below the innermost folder that holds both files.
        depth = _shared(*parents) + 1
        if min(map(len, parents)) < depth:
            return False  # a file is in that folder itself
        return all(tuple(folders[:depth]) in self._own for folders in parents)


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
