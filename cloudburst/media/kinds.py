"""What a file is, by its first bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.language import later, tr

if TYPE_CHECKING:
    from pathlib import Path


class MediaError(ValueError):
    """A file is not the expected kind of media, or unusable; the message says why."""


_MAGIC = {
    b"\x89PNG": later("it is a PNG file"),
    b"\xff\xd8\xff": later("it is a JPEG file"),
    b"GIF8": later("it is a GIF file"),
    b"%PDF": later("it is a PDF file"),
    b"PK\x03\x04": later("it is a ZIP archive"),
    b"ID3": later("it is an MP3 file"),
    b"OggS": later("it is an Ogg file"),
    b"fLaC": later("it is a FLAC file"),
    b"\x1aE\xdf\xa3": later("it is a Matroska file"),
    b"version https://git-lfs": later("it is a Git LFS pointer: run `git lfs pull`"),
    b"\xff\x0a": later("it is a JPEG XL picture"),
    b"\0\0\0\x0cJXL ": later("it is a JPEG XL picture"),
    b"BM": later("it is a BMP file"),
    b"II*\0": later("it is a TIFF file"),
    b"MM\0*": later("it is a TIFF file"),
    b"8BPS": later("it is a Photoshop file"),
    b"gimp xcf": later("it is a GIMP file"),
    b"%!PS": later("it is a PostScript file"),
    b"FUJIFILMCCD-RAW": later("it is a raw picture of a camera"),
    b"#!AMR": later("it is an AMR file"),
    b"caff": later("it is a CAF file"),
    b"\x30\x26\xb2\x75": later("it is a WMA or WMV file"),
    b"{\\rtf": later("it is a document in RTF"),
    b"\xd0\xcf\x11\xe0": later("it is an office document"),
    b"\x1f\x8b": later("it is an archive (gzip)"),
    b"7z\xbc\xaf": later("it is an archive (7z)"),
    b"Rar!": later("it is an archive (RAR)"),
    b"/annex/objects/": later("it is a git-annex pointer: run `git annex get`"),
}


# Brands of ISO 14496-12 files that are no films; ISO 23008-12 and the AVIF specification.
_HEIF = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_AVIF = {b"avif", b"avis"}


def is_heif(data: bytes) -> bool:
    """Whether a file of these bytes begins as a HEIC or AVIF picture does."""
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF | _AVIF


def _by_brand(brand: bytes) -> str:
    if brand in _HEIF:
        return tr("it is a HEIC picture")
    if brand == b"crx ":
        return tr("it is a raw picture of a camera")
    return tr("it is an AVIF picture") if brand in _AVIF else tr("it is an MP4 file")


def describe(path: Path) -> str:
    """Return what a file appears to be, by its first bytes, for an error message."""
    with path.open("rb") as file:
        return describe_bytes(file.read(64))


def describe_bytes(data: bytes) -> str:
    """Return what a file with these bytes appears to be, for an error message."""
    head = data[:64]
    if not head:
        return tr("it is empty")
    for magic, description in _MAGIC.items():
        if head.startswith(magic):
            return tr(description)
    if head[:4] == b"RIFF":
        kinds = {b"WAVE": tr("it is a WAV file"), b"WEBP": tr("it is a WebP file")}
        return kinds.get(head[8:12], tr("it is a RIFF file"))
    if head[4:8] == b"ftyp":
        return _by_brand(head[8:12])
    return _as_text(data)


def _as_text(data: bytes) -> str:
    if not any(data):
        return tr("it has nothing but zeros, as after an interrupted download or copy")
    text = data[:64].decode(errors="replace")
    if "\ufffd" in text[:-3] or any(char < " " and not char.isspace() for char in text):
        return tr("unknown file format")
    shown = text.splitlines()[0][:30] if text.strip() else ""
    return tr("it is text: {text!r}", text=shown) if shown else tr("it is blank")
