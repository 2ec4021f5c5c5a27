"""What a file is for, by the end of its name: what may be part of a scene, and what may not."""

from __future__ import annotations

from typing import Literal

from cloudburst.language import later

FileKind = Literal["picture", "sound", "subtitle"]

# The first of a name wins: the original's kinds come first. All that scenes may have under a name
# of its own (Pillow's and libav's lists of formats); a video's sound can be used, but is not what a
# folder with videos in it is about.
SUFFIXES: dict[FileKind, tuple[str, ...]] = {
    "picture": (
        *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
        *(".heic", ".heif", ".avif", ".jfif", ".jpe", ".hif", ".jp2", ".jpx", ".j2k", ".jpf"),
        *(".tga", ".ppm", ".pgm", ".pnm", ".pcx", ".sgi", ".dds", ".qoi", ".mpo", ".apng", ".dib"),
        *(".icns", ".ico"),
    ),
    "sound": (
        *(".mp3", ".wav", ".m4a", ".aac", ".flac", ".ogg", ".opus", ".wma", ".aif", ".aiff"),
        *(".oga", ".m4b", ".m4r", ".caf", ".amr", ".3ga", ".awb", ".weba", ".mka", ".aifc", ".spx"),
        *(".wave", ".bwf", ".w64", ".rf64", ".mp2", ".mpga", ".ac3", ".eac3", ".dts", ".au"),
        *(".snd", ".wv", ".tta", ".ape", ".voc", ".gsm"),
    ),
    "subtitle": (".srt", ".vtt", ".ass", ".ssa", ".lrc", ".sbv"),
}
KINDS: dict[str, FileKind] = {
    suffix: kind for kind, suffixes in SUFFIXES.items() for suffix in suffixes
}

# What somebody may take for a part of a scene, and why it is none.
UNSUPPORTED: dict[str, str] = {
    **dict.fromkeys(
        (".sub", ".idx", ".ttml", ".dfxp", ".smi", ".sami", ".stl", ".scc", ".usf", ".mpl"),
        later("subtitles of this kind are not read; expected SRT, WebVTT, ASS or LRC"),
    ),
    **dict.fromkeys(
        (
            *(".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".flv", ".wmv", ".mpg", ".mpeg"),
            *(".3gp", ".3g2", ".ts", ".mts", ".m2ts", ".ogv", ".vob"),
        ),
        later(
            "videos are not paired; expected a picture (.png, .jpg …) and a sound (.mp3, .wav …); "
            "to use a video's sound, name it as audio: in scenes.yaml"
        ),
    ),
    **dict.fromkeys(
        (
            *(".svg", ".svgz", ".psd", ".psb", ".ai", ".eps", ".pdf", ".xcf", ".kra", ".jxl"),
            *(".wmf", ".emf", ".cdr", ".sketch", ".afphoto", ".exr", ".hdr"),
            *(".cr2", ".cr3", ".nef", ".nrw", ".arw", ".dng", ".raf", ".orf", ".rw2", ".pef"),
        ),
        later("pictures of this kind are not read; expected PNG, JPEG or WebP"),
    ),
    **dict.fromkeys(
        (".mid", ".midi", ".pcm", ".ra", ".rm", ".m4p", ".aax", ".dsf", ".dff"),
        later("sounds of this kind are not read; expected MP3, WAV or M4A"),
    ),
}
