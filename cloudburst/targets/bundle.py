"""What a rented machine runs: the video API's own modules as an archive, and the lock of the rest.

Made from the installed package, so that a machine runs the runner's own version, and nothing has to
be published. The same installation always makes the same bytes.
"""

from __future__ import annotations

import ast
import hashlib
import io
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from cloudburst.version import __version__
from cloudburst.videoapi.bundled import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from importlib.resources.abc import Traversable

    from cloudburst.models import Scene

ARCHIVE = "video-api.zip"
# In a container with its files in /bundle; to the machine, not to the world.
COMMAND = ("python", f"/bundle/{ARCHIVE}", "--host", "0.0.0.0")  # noqa: S104
_PACKAGE = "cloudburst"
# The server, and what the archive does before it.
_ENTRIES = ("cloudburst.videoapi.__main__", "cloudburst.videoapi.bundled")
_MAIN = "from cloudburst.videoapi.bundled import main\n\nmain()\n"
# What the modules read at run time.
_FONTS, _LOCALE = "videoapi/typefaces/noto", "locale"
# `cloudburst.version` asks for the version of the distribution.
_METADATA = "Metadata-Version: 2.1\nName: cloudburst-run\nVersion: {version}\n"
_LOCKS = "cloudburst_container"
_FONT = ".ttf"
_TIME = (1980, 1, 1, 0, 0, 0)  # the first that an archive can hold


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files that a machine needs to become a video API.

    Args:
        files: their bytes, by name.
    """

    files: Mapping[str, bytes] = field(repr=False)

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of each file, in hex, by name."""
        return {name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()}

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))


@cache
def bundle(fonts: frozenset[str] | None = None) -> Bundle:
    """Return this installation's bundle.

    Args:
        fonts: names of the files of `cloudburst.videoapi` 's own fonts that are wanted, see
            `cloudburst.videoapi.typefaces.fonts.own_files`: all have 4 MB, the rest 0.2. None for
            all.
    """
    return Bundle({ARCHIVE: _archive(fonts), LOCK: lock()})


def fonts(scenes: Iterable[Scene]) -> frozenset[str]:
    """Return which of our own fonts the subtitles of some scenes need, see `bundle`."""
    from cloudburst.videoapi import subtitles  # noqa: PLC0415
    from cloudburst.videoapi.typefaces import fonts as known  # noqa: PLC0415 - loads HarfBuzz and ICU

    text = set()
    for scene in scenes:
        options = scene.options
        if options.subtitle is None:
            continue
        # What cannot be read is refused where it is rendered.
        with suppress(OSError, subtitles.SubtitleError):
            found = subtitles.read(
                options.subtitle.read_bytes(),
                encoding=options.subtitle_encoding,
                language=options.language,
                seconds=scene.seconds,
            )
            text |= {cue.text for cue in found.cues}
    return known.own_files("\n".join(sorted(text)))


def lock() -> bytes:
    """Return the list of what the modules need: versions and hashes, as pip reads them."""
    return resources.files(_LOCKS).joinpath(LOCK).read_bytes()


def modules(entries: Iterable[str] = _ENTRIES) -> dict[str, Traversable]:
    """Return the files of the package that some modules import, also inside of functions.

    What is imported for type checkers alone is left out.

    Args:
        entries: names of modules.

    Returns:
        By name of the module.
    """
    found: dict[str, Traversable] = {}
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        file = _file(name)
        if file is not None and name not in found:
            found[name] = file
            waiting += _parents(name)
            waiting += _imports(ast.parse(file.read_bytes()))
    return found


def _file(name: str) -> Traversable | None:
    """Return the file of a module; None for another package's, and for what is no module."""
    package, *parts = name.split(".")
    if package != _PACKAGE:
        return None
    place = resources.files(_PACKAGE).joinpath(*parts)
    if place.is_dir():
        file = place.joinpath("__init__.py")
    else:
        file = resources.files(_PACKAGE).joinpath(*parts[:-1], f"{parts[-1]}.py")
    return file if file.is_file() else None


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _imports(node: ast.AST) -> Iterator[str]:
    """Yield the names that a piece of code imports; of `from a import b` both a and a.b."""
    parts = ast.iter_child_nodes(node)
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.If) and _is_for_type_checkers(node.test):
        parts = iter(node.orelse)
    for part in parts:
        yield from _imports(part)


def _is_for_type_checkers(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _archive(fonts: frozenset[str] | None) -> bytes:
    contents = {
        "__main__.py": _MAIN.encode(),
        f"cloudburst_run-{__version__}.dist-info/METADATA": _METADATA.format(
            version=__version__
        ).encode(),
        **{_path(name, file): file.read_bytes() for name, file in modules().items()},
    }
    contents |= {
        name: data
        for name, data in (_data(_FONTS) | _data(_LOCALE)).items()
        if fonts is None or not name.endswith(_FONT) or name.rpartition("/")[2] in fonts
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same everywhere
            archive.writestr(entry, contents[name], zipfile.ZIP_DEFLATED, 9)
    return out.getvalue()


def _path(name: str, file: Traversable) -> str:
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    return f"{package.replace('.', '/')}/{file.name}"


def _data(path: str) -> dict[str, bytes]:
    """Return the files of a folder of the package by their path in the archive."""
    found: dict[str, bytes] = {}
    for item in resources.files(_PACKAGE).joinpath(*path.split("/")).iterdir():
        inner = f"{path}/{item.name}"
        found |= _data(inner) if item.is_dir() else {f"{_PACKAGE}/{inner}": item.read_bytes()}
    return found
