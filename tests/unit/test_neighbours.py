"""A subtitle file that fits two encodings is read in that of the other files of its job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloudburst.job.loader import load_job
from cloudburst.videoapi.subtitles import read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINE = "1\n00:00:00,200 --> 00:00:02,000\n"


def job_of(job_file: Callable[..., Path], *files: bytes, language: str = "chinese") -> Path:
    path = job_file(
        f"version: 1\ndefaults: {{language: {language}}}\nscenes:\n"
        + "".join(
            f"  - {{name: s{number}, image: p.png, audio: a.wav, subtitle: {number}.srt}}\n"
            for number in range(len(files))
        )
    )
    for number, data in enumerate(files):
        (path.parent / f"{number}.srt").write_bytes(LINE.encode() + data + b"\n")
    return path


CHINESE, UNICODE = "简体中文字幕测试".encode("gb18030"), "简体中文字幕测试".encode()
EITHER = "写芯屑邪".encode("gb18030")  # дома in UTF-8
SHORT = "谢谢".encode("gb18030")  # лл in UTF-8


@pytest.mark.parametrize(
    ("data", "others", "encoding", "text"),
    [
        (EITHER, [CHINESE, CHINESE, b"ascii"], "gb18030", "写芯屑邪"),
        (EITHER, [UNICODE], None, "дома"),
        (EITHER, [UNICODE, CHINESE], None, "дома"),
        (EITHER, [b"ascii"], None, "дома"),
        (EITHER, [], None, "дома"),
        (SHORT, [CHINESE], None, "谢谢"),
        (SHORT, [UNICODE], "utf-8", "лл"),
        (SHORT, [], None, "谢谢"),
    ],
)
def test_the_other_files_decide(
    job_file: Callable[..., Path],
    data: bytes,
    others: list[bytes],
    encoding: str | None,
    text: str,
) -> None:
    job = load_job(job_of(job_file, data, *others))
    options = job.scenes[0].options
    assert options.subtitle_encoding == encoding
    assert options.subtitle is not None
    # The worker reads it with what it is sent.
    found = read(options.subtitle.read_bytes(), encoding=encoding, language=options.language)
    assert found.cues[0].text == text
    assert all(scene.options.subtitle_encoding is None for scene in job.scenes[1:])
    doubtful = UNICODE not in others or CHINESE in others
    assert any("the text may be" in warning for warning in job.warnings) == doubtful
