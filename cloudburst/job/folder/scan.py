"""A folder of pictures, sounds and subtitles → scenes.

The original's convention, ``images/`` and ``audio/`` with ``scene_001_chinese.*``, is a case of the
general one: files that share a name, in one folder or several.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst import files, userpath
from cloudburst.errors import BadInput
from cloudburst.job import yamltree
from cloudburst.job.folder import pairing
from cloudburst.job.folder.pairing import MediaFile, ScannedScene, Skipped
from cloudburst.job.folder.suffixes import KINDS, SUFFIXES, UNSUPPORTED
from cloudburst.job.names import job_name, natural_key
from cloudburst.job.problems import one_line
from cloudburst.language import later, ntr, tr
from cloudburst.models import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cloudburst.models import Effect, Language

JOB_FILE = "scenes.yaml"
MAX_DEPTH = 16
MAX_FILES = 100_000
_MAX_NAMED = 20
_MAX_COMMENTS = 1000

_PASSED_OVER = {"__macosx", "thumbs.db", "desktop.ini"}
# A run's own folder: its videos are no input.
_JOURNAL = "journal.db"
_CONVENTIONS = later(
    "expected pictures and sounds that share a name, such as images/scene_001_chinese.png and "
    "audio/scene_001_chinese.mp3, or 001.jpg and 001.wav, in one folder or several"
)


@dataclass(frozen=True, slots=True)
class Scan:
    """The scenes of a folder.

    Args:
        folder: absolute path of what was scanned.
        scenes: in natural order; at least one.
        skipped: files that are in no scene, each with its reason, in natural order.
    """

    folder: Path
    scenes: tuple[ScannedScene, ...]
    skipped: tuple[Skipped, ...]

    def document(
        self,
        *,
        language: Language | None = None,
        effects: Sequence[Effect] = (),
        target: str | None = None,
        base: Path | None = None,
    ) -> dict[str, Any]:
        """Return the scenes as a document as in scenes.yaml.

        Args:
            language: of scenes whose files name none; None: the default of scenes.yaml.
            effects: of all scenes.
            target: where the job is to run; None leaves it open.
            base: the folder where its paths are to start; None: the scanned folder. Paths are
                relative to it if the scanned folder is in it, absolute otherwise.
        """
        document: dict[str, Any] = {"version": 1}
        if name := job_name(self.folder.name):
            document["name"] = name
        if target is not None:
            document["target"] = target
        defaults: dict[str, Any] = {"language": language} if language is not None else {}
        if effects:
            defaults["effects"] = list(effects)
        if defaults:
            document["defaults"] = defaults
        prefix = self._prefix(base)
        document["scenes"] = [_scene(scene, prefix) for scene in self.scenes]
        return document

    def to_yaml(self, document: dict[str, Any]) -> str:
        """Return a document of this scan as YAML for people, with what was not used as comments."""
        unused = [f"#   {one_line(str(skipped))}" for skipped in self.skipped[:_MAX_COMMENTS]]
        if len(self.skipped) > _MAX_COMMENTS:
            unused.append(f"#   {_more(len(self.skipped) - _MAX_COMMENTS)}")
        if unused:
            title = tr("Not used ({count}):", count=len(self.skipped))
            unused.insert(0, f"# {title}")
        origin = ntr(
            "{count} scene of {folder}, by `cloudburst scan`.",
            "{count} scenes of {folder}, by `cloudburst scan`.",
            len(self.scenes),
            folder=one_line(str(self.folder)),
        )
        advice = tr("Edit it as you like; `cloudburst schema` has every key.")
        lines = [
            f"# {origin}",
            f"# {advice}",
            *unused,
            yamltree.dump(document),
        ]
        return "\n".join(lines)

    def _prefix(self, base: Path | None) -> str:
        if base is None:
            return ""
        if self.folder.is_relative_to(base.resolve()):
            relative = self.folder.relative_to(base.resolve()).as_posix()
            return "" if relative == "." else f"{relative}/"
        return f"{self.folder.as_posix()}/"


def _more(count: int) -> str:
    return tr("… and {count} more", count=count)


def _scene(scene: ScannedScene, prefix: str) -> dict[str, Any]:
    values = {"name": scene.name, "image": prefix + scene.image, "audio": prefix + scene.audio}
    if scene.subtitle is not None:
        values["subtitle"] = prefix + scene.subtitle
    if scene.language is not None:
        values["language"] = scene.language
    return values


def scan(folder: str | os.PathLike[str]) -> Scan:
    """Return the scenes of a folder and everything below it; change nothing.

    Args:
        folder: hidden files, ``__MACOSX`` and the folders of CloudBurst's own runs are passed over.

    Raises:
        BadInput: it is no folder, cannot be read, has too many files, or nothing in it pairs.
    """
    shown, path = str(folder), Path(userpath.expanded(os.fspath(folder)))
    if not path.is_dir():
        if path.exists():
            raise _refusal(shown, tr("is a file; expected a folder of pictures and sounds"))
        raise _refusal(shown, tr("not found; expected a folder of pictures and sounds"))
    walk = _Walk(shown)
    walk.folder(path)
    scenes, unpaired = pairing.pair(walk.files)
    skipped = sorted([*walk.skipped, *unpaired], key=lambda file: natural_key(file.path))
    if not scenes:
        raise BadInput(_nothing_paired(shown, walk, skipped))
    return Scan(path.resolve(), tuple(scenes), tuple(skipped))


def write(path: Path, text: str) -> None:
    """Write a scan's YAML, whole or not at all.

    Raises:
        BadInput: it cannot be written.
    """
    try:
        files.write_whole(path, text, durable=False)
    except OSError as error:
        message = tr("cannot be written: {reason}", reason=error.strerror or error)
        raise _refusal(str(path), message) from error


def _refusal(shown: str, message: str) -> BadInput:
    return BadInput([Problem(shown, 0, "", message)])


def _nothing_paired(shown: str, walk: _Walk, skipped: Sequence[Skipped]) -> list[Problem]:
    """Return what was seen, what is expected, and why the first files are in no scene."""
    counts = Counter(file.kind for file in walk.files)
    seen = [
        ntr("{count} picture", "{count} pictures", counts["picture"]),
        ntr("{count} sound", "{count} sounds", counts["sound"]),
        ntr("{count} subtitle", "{count} subtitles", counts["subtitle"]),
        ntr("{count} other file", "{count} other files", walk.others),
    ]
    numbers = (*(counts[kind] for kind in SUFFIXES), walk.others)
    listed = [text for text, number in zip(seen, numbers, strict=True) if number]
    message = tr(
        "no picture and sound that pair; got {files}; {conventions}",
        files=tr(", ").join(listed) or tr("no files"),
        conventions=tr(_CONVENTIONS),
    )
    reasons = [Problem(shown, 0, "", one_line(str(file))) for file in skipped[:_MAX_NAMED]]
    if len(skipped) > _MAX_NAMED:
        reasons.append(Problem(shown, 0, "", _more(len(skipped) - _MAX_NAMED)))
    return [Problem(shown, 0, "", message), *reasons]


class _Walk:
    """Lists a folder, bounded in depth and number; a folder is entered once, by whatever link.

    Attributes:
        files: pictures, sounds and subtitles.
        skipped: what cannot be used, whatever its name.
        others: number of files that are nothing of these.
    """

    def __init__(self, shown: str) -> None:
        self.files: list[MediaFile] = []
        self.skipped: list[Skipped] = []
        self.others = 0
        self._shown = shown
        self._seen: set[tuple[int, int]] = set()
        self._count = 0

    def folder(self, root: Path) -> None:
        """List a folder and all below it; real folders before links, as the way to a file."""
        folders: list[tuple[Path, str]] = [(root, "")]
        links: list[tuple[Path, str]] = []
        while folders or links:
            path, prefix = (folders or links).pop(0)
            for entry in self._entries(path, prefix):
                name = f"{prefix}{entry.name}"
                if not _is_folder(entry):
                    self._file(name)
                elif name.count("/") >= MAX_DEPTH:
                    reason = tr("deeper than {depth} folders; expected it nearer", depth=MAX_DEPTH)
                    self.skipped.append(Skipped(name, reason))
                else:
                    queue = links if entry.is_symlink() else folders
                    queue.append((Path(entry.path), f"{name}/"))

    def _entries(self, path: Path, prefix: str) -> Iterable[os.DirEntry[str]]:
        try:
            status = path.stat()
            key = (status.st_dev, status.st_ino)
            entries = [] if key in self._seen else list(os.scandir(path))
            self._seen.add(key)
        except OSError as error:
            if not prefix:
                message = tr("cannot be read: {reason}", reason=error.strerror)
                raise _refusal(self._shown, message) from error
            reason = tr("folder that cannot be read: {reason}", reason=error.strerror)
            self.skipped.append(Skipped(prefix.rstrip("/"), reason))
            return []
        self._count += len(entries)
        if self._count > MAX_FILES:
            message = tr("more than {count} files; expected a smaller folder", count=MAX_FILES)
            raise _refusal(self._shown, message)
        if prefix and any(entry.name == _JOURNAL for entry in entries):
            return []
        visible = (entry for entry in entries if not _is_passed_over(entry.name))
        return sorted(visible, key=lambda entry: natural_key(entry.name))

    def _file(self, path: str) -> None:
        suffix = f".{path.rpartition('.')[2]}".casefold()
        kind = KINDS.get(suffix)
        if kind is None and suffix not in UNSUPPORTED:
            self.others += 1
        elif kind is None:
            self.skipped.append(Skipped(path, tr(UNSUPPORTED[suffix])))
        elif any(unicodedata.category(char) in ("Cc", "Cs") for char in path):
            reason = tr("its path has control characters or is not UTF-8; expected another name")
            self.skipped.append(Skipped(path, reason))
        else:
            self.files.append(pairing.media_file(path, kind))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _PASSED_OVER
