"""Which picture, sound and subtitles belong together, by their names and folders.

Files pair when their stems are the same: in NFC, ignoring case and a suffix for the language. When
several folders have the same stem, the nearest files pair, and only if neither has a nearer one
and both may be of one chapter: what is missing in one is not taken from another. Nothing is
guessed: a tie is reported.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cloudburst.job.folder.nearness import Chapters, Index, distance
from cloudburst.job.folder.suffixes import SUFFIXES
from cloudburst.job.names import fold, natural_key, safe_name
from cloudburst.language import later, tr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cloudburst.job.folder.suffixes import FileKind
    from cloudburst.models import Language

_T = TypeVar("_T")
_LANGUAGES: dict[str, Language] = {
    **dict.fromkeys(("chinese", "zh", "zho", "chi", "chs", "cht", "cn", "中文"), "chinese"),
    **dict.fromkeys(("english", "en", "eng", "英文"), "english"),
}
_REGION = "cn|tw|hk|sg|mo|hans|hant|us|gb|uk|au|ca"
_LANGUAGE = re.compile(rf"({'|'.join(_LANGUAGES)})(?:[-_](?:{_REGION}))?")
_SUFFIX = re.compile(rf"(.*[^ ._-])[ ._-]+{_LANGUAGE.pattern}")


@dataclass(frozen=True, slots=True)
class ScannedScene:
    """A picture and a sound that share a name.

    Args:
        name: unique in its scan, and safe as a file name.
        image: the picture, relative to the scanned folder, with ``/``.
        audio: the sound.
        subtitle: the subtitle file, None if there is none.
        language: by the suffix of its files or the name of a folder; None if they name none.
    """

    name: str
    image: str
    audio: str
    subtitle: str | None = None
    language: Language | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is in no scene.

    Args:
        path: relative to the scanned folder, with ``/``.
        reason: why, and what was expected.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file, and what its name says.

    Args:
        path: relative to the scanned folder, with ``/``.
        kind: by its suffix.
        stem: its name without the suffix.
        base: what files of one scene have in common: the folded stem without the language.
        language: by the end of the stem, or by a folder.
        folders: around it, folded, without those that name a language.
    """

    path: str
    kind: FileKind
    stem: str
    base: str
    language: Language | None
    folders: tuple[str, ...]


def media_file(path: str, kind: FileKind) -> MediaFile:
    """Return a file by its path, which is relative to the scanned folder, with ``/``."""
    *parents, name = path.split("/")
    stem = unicodedata.normalize("NFC", name.rpartition(".")[0])
    base, language = fold(stem), None
    match = _SUFFIX.fullmatch(base)
    if match is not None:
        base, language = match[1], _LANGUAGES[match[2]]
    folders = []
    for folder in map(fold, parents):
        named = _LANGUAGE.fullmatch(folder)
        if named is None:
            folders.append(folder)
        elif match is None:
            language = _LANGUAGES[named[1]]
    return MediaFile(path, kind, stem, base, language, tuple(folders))


def pair(files: Iterable[MediaFile]) -> tuple[list[ScannedScene], list[Skipped]]:
    """Return the scenes of some files, and the files that are in none, both in natural order."""
    skipped: list[Skipped] = []
    groups: dict[str, list[MediaFile]] = defaultdict(list)
    used = _first_of_each(files, skipped)
    for file in used:
        groups[file.base].append(file)
    chapters = Chapters((file.path, file.kind) for file in used)
    pairs: list[_Pair] = []
    for group in groups.values():
        pairs += _pair_group(group, chapters, skipped)
    pairs.sort(key=lambda match: natural_key(match.sound.path))
    skipped.sort(key=lambda file: natural_key(file.path))
    return _scenes(pairs), skipped


_SECOND: dict[FileKind, str] = {
    "picture": later("second picture of its name; {used} is used"),
    "sound": later("second narration of its name; {used} is used"),
    "subtitle": later("second subtitle of its name; {used} is used"),
}


def _first_of_each(files: Iterable[MediaFile], skipped: list[Skipped]) -> list[MediaFile]:
    """Return one file of each kind, name and folder: the one whose suffix comes first."""
    taken: dict[tuple[str, str, str, str | None], MediaFile] = {}
    for file in sorted(files, key=_preference):
        folder = file.path.rpartition("/")[0]
        first = taken.setdefault((file.kind, folder, file.base, file.language), file)
        if first is not file:
            skipped.append(Skipped(file.path, tr(_SECOND[file.kind], used=first.path)))
    return list(taken.values())


def _preference(file: MediaFile) -> tuple[int, str]:
    suffix = f".{file.path.rpartition('.')[2]}".casefold()
    return SUFFIXES[file.kind].index(suffix), file.path


# -- one name -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Pair:
    """A scene to be: a picture and a sound, and the subtitles that are nearest to it."""

    picture: MediaFile
    sound: MediaFile
    subtitles: list[tuple[tuple[int, ...], MediaFile]] = field(default_factory=list)

    @property
    def language(self) -> Language | None:
        return self.sound.language or self.picture.language

    def rank(self, subtitle: MediaFile) -> tuple[int, ...]:
        """Return how far a subtitle is, from the sound or from the picture."""
        near = min(
            distance(subtitle.folders, self.sound.folders),
            distance(subtitle.folders, self.picture.folders),
        )
        return *near, subtitle.language != self.language


def _pair_group(group: list[MediaFile], chapters: Chapters, skipped: list[Skipped]) -> list[_Pair]:
    """Pair the files of one name."""
    pictures = [file for file in group if file.kind == "picture"]
    sounds = [file for file in group if file.kind == "sound"]
    choice = _PictureChoice(pictures, sounds, chapters)
    pairs = []
    for sound in sounds:
        picture = choice.of(sound)
        if isinstance(picture, MediaFile):
            pairs.append(_Pair(picture, sound))
        else:
            skipped.append(Skipped(sound.path, picture))
    used = {match.picture.path for match in pairs}
    skipped += [
        Skipped(picture.path, _unused_picture(picture, sounds))
        for picture in pictures
        if picture.path not in used
    ]
    subtitles = [file for file in group if file.kind == "subtitle"]
    _place_subtitles(subtitles, pairs, chapters, skipped)
    return pairs


class _PictureChoice:
    """Chooses among the pictures of one name."""

    def __init__(
        self, pictures: Sequence[MediaFile], sounds: Sequence[MediaFile], chapters: Chapters
    ) -> None:
        self._pictures = Index(pictures, lambda file: file.folders)
        self._sounds = Index(sounds, lambda file: file.folders)
        self._all = pictures
        self._chapters = chapters

    def of(self, sound: MediaFile) -> MediaFile | str:
        """Return a sound's picture, or why it has none."""

        def fits(picture: MediaFile) -> bool:
            alike = _speak_alike(picture.language, sound.language)
            return alike and not self._chapters.apart(picture, sound)

        def rank(picture: MediaFile) -> tuple[int, ...]:
            near = distance(sound.folders, picture.folders)
            return *near, picture.language != sound.language

        nearest = _nearest(self._pictures.near(sound.folders, fits), rank)
        if not nearest:
            return self._missing(sound)
        if len(nearest) > 1:
            return tr(
                "ambiguous: its picture may be {names}; expected a nearer one, or other names",
                names=tr(" or ").join(picture.path for picture in nearest[:3]),
            )
        (picture,) = nearest
        closest = min(
            self._sounds.near(picture.folders, lambda _: True),
            key=lambda other: distance(other.folders, picture.folders),
        )
        if distance(closest.folders, picture.folders) < distance(sound.folders, picture.folders):
            return tr(
                "sound without a picture of its own: {picture} goes with {sound}",
                picture=picture.path,
                sound=closest.path,
            )
        return picture

    def _missing(self, sound: MediaFile) -> str:
        alike = [picture for picture in self._all if _speak_alike(picture.language, sound.language)]
        examples = _examples(sound, "picture")
        if alike:
            return tr(
                "sound without a picture; {path} is of another folder; expected {examples}",
                path=alike[0].path,
                examples=examples,
            )
        if self._all:
            return tr(
                "sound without a picture; {path} is for another language; expected {examples}",
                path=self._all[0].path,
                examples=examples,
            )
        return tr("sound without a picture; expected {examples}", examples=examples)


def _unused_picture(picture: MediaFile, sounds: Sequence[MediaFile]) -> str:
    if not sounds:
        examples = _examples(picture, "sound")
        return tr("picture without a sound; expected {examples}", examples=examples)
    if not any(_speak_alike(picture.language, sound.language) for sound in sounds):
        return tr(
            "picture without a sound in its language; {path} is in another one",
            path=sounds[0].path,
        )
    return tr(
        "picture without a sound of its own; its name is also that of {path}", path=sounds[0].path
    )


def _place_subtitles(
    subtitles: Sequence[MediaFile],
    pairs: Sequence[_Pair],
    chapters: Chapters,
    skipped: list[Skipped],
) -> None:
    """Give each subtitle to the nearest scene."""
    by_sound = Index(pairs, lambda match: match.sound.folders)
    by_picture = Index(pairs, lambda match: match.picture.folders)
    for subtitle in subtitles:

        def fits(match: _Pair, subtitle: MediaFile = subtitle) -> bool:
            alike = _speak_alike(match.language, subtitle.language)
            files = (match.sound, match.picture)
            return alike and not all(chapters.apart(subtitle, file) for file in files)

        candidates = by_sound.near(subtitle.folders, fits)
        candidates += by_picture.near(subtitle.folders, fits)
        reason = _offer(subtitle, list({id(match): match for match in candidates}.values()), pairs)
        if reason:
            skipped.append(Skipped(subtitle.path, reason))
    for match in pairs:
        _choose_subtitle(match, skipped)


def _offer(subtitle: MediaFile, candidates: Sequence[_Pair], pairs: Sequence[_Pair]) -> str | None:
    """Offer a subtitle to the nearest scene; return why there is none."""
    nearest = _nearest(candidates, lambda match: match.rank(subtitle))
    if not nearest:
        alike = [match for match in pairs if _speak_alike(match.language, subtitle.language)]
        return _no_scene(alike[0].sound.path if alike else "", others=bool(pairs))
    if len(nearest) > 1:
        return tr(
            "ambiguous: it may belong to {names}; expected a suffix such as _chinese",
            names=tr(" or ").join(match.sound.path for match in nearest[:3]),
        )
    nearest[0].subtitles.append((nearest[0].rank(subtitle), subtitle))
    return None


def _no_scene(elsewhere: str, *, others: bool) -> str:
    if elsewhere:
        return tr(
            "subtitle without a scene; {path} is of another folder; expected a picture and a sound "
            "of its name",
            path=elsewhere,
        )
    if others:
        return tr(
            "subtitle without a scene; its scene has another language; expected a picture and a "
            "sound of its name"
        )
    return tr("subtitle without a scene; expected a picture and a sound of its name")


def _choose_subtitle(match: _Pair, skipped: list[Skipped]) -> None:
    """Keep a scene's nearest subtitle, or none of several that are equally near."""
    match.subtitles.sort(key=lambda offer: (offer[0], offer[1].path))
    offers = match.subtitles
    if len(offers) > 1 and offers[0][0] == offers[1][0]:
        reason = tr(
            "ambiguous: the subtitles of {path} may be {names}",
            path=match.sound.path,
            names=tr(" or ").join(subtitle.path for _, subtitle in offers[:3]),
        )
        skipped += [Skipped(subtitle.path, reason) for _, subtitle in offers]
        offers.clear()
    for _, subtitle in offers[1:]:
        reason = tr(
            "second subtitle of {path}; {used} is used",
            path=match.sound.path,
            used=offers[0][1].path,
        )
        skipped.append(Skipped(subtitle.path, reason))


def _nearest(candidates: Sequence[_T], rank: Callable[[_T], tuple[int, ...]]) -> list[_T]:
    ranks = [rank(candidate) for candidate in candidates]
    least = min(ranks, default=())
    return [
        candidate
        for candidate, its_rank in zip(candidates, ranks, strict=True)
        if its_rank == least
    ]


def _speak_alike(first: Language | None, second: Language | None) -> bool:
    """Whether two files may belong to the same scene: without a language, a file serves all."""
    return first is None or second is None or first == second


def _examples(file: MediaFile, kind: FileKind) -> str:
    first, second, *_ = SUFFIXES[kind]
    return tr("{file}, {suffix} …", file=f"{file.stem}{first}", suffix=second)


# -- scenes -------------------------------------------------------------------------------------


def _scenes(pairs: Sequence[_Pair]) -> list[ScannedScene]:
    scenes = []
    for match, name in zip(pairs, _names(pairs), strict=True):
        subtitle = match.subtitles[0][1] if match.subtitles else None
        language = match.language or (subtitle.language if subtitle else None)
        path = subtitle.path if subtitle else None
        scenes.append(ScannedScene(name, match.picture.path, match.sound.path, path, language))
    return scenes


def _names(pairs: Sequence[_Pair]) -> list[str]:
    """Return a name for each scene: that of its files, with a folder where that is not unique."""
    # The longer stem is the one with the language.
    stems = [max(match.sound.stem, match.picture.stem, key=len) for match in pairs]
    alike: dict[str, list[int]] = defaultdict(list)
    for index, stem in enumerate(stems):
        alike[fold(safe_name(stem))].append(index)
    for indexes in alike.values():
        folders = [pairs[index].sound.path.split("/")[:-1] for index in indexes]
        common = set(folders[0]).intersection(*folders)
        for index, parts in zip(indexes, folders, strict=True):
            own = [part for part in parts if part not in common]
            if len(indexes) > 1:
                stems[index] = "_".join([*own, stems[index]])
    return _numbered(stems)


def _numbered(stems: Sequence[str]) -> list[str]:
    """Return stems as safe names; those that are still the same get a number."""
    names: list[str] = []
    taken: set[str] = set()
    for stem in stems:
        name, number = safe_name(stem), 1
        while fold(name) in taken:
            number += 1
            name = f"{safe_name(stem, 190)}-{number}"
        taken.add(fold(name))
        names.append(name)
    return names
