"""Files are replaced whole, or not at all."""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from cloudburst.files import sync_folder, write_whole

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("durable", [True, False])
def test_new_content_replaces_the_old(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "note.json"
    write_whole(path, "first, and longer than the second", durable=durable)
    write_whole(path, "zweite: ä\n", durable=durable)
    assert path.read_bytes() == "zweite: ä\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    write_whole(tmp_path / "blob", b"\r\n\xff\0", durable=False)
    assert (tmp_path / "blob").read_bytes() == b"\r\n\xff\0"


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "note.json"
    write_whole(path, "old", durable=False)

    def full(_descriptor: int) -> None:
        assert [entry.suffix for entry in tmp_path.iterdir() if entry != path] == [".part"]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cloudburst.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new", durable=True)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_rename_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "occupied"
    path.mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
        write_whole(path, "new", durable=False)
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "missing" / "note", "text", durable=True)


def test_a_durable_write_syncs_the_file_before_its_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "note"
    synced: list[tuple[str, bool]] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        synced.append((kind, path.exists()))
        fsync(descriptor)

    monkeypatch.setattr("cloudburst.files.os.fsync", record)
    write_whole(path, "durable", durable=True)
    assert synced == [("file", False), ("folder", True)]
    write_whole(path, "not durable", durable=False)
    assert len(synced) == 2


def test_threads_that_write_the_same_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "shared"
    contents = [letter * 200_000 for letter in "abcd"]
    start = threading.Barrier(len(contents))
    failures: list[Exception] = []

    def write(content: str) -> None:
        start.wait()
        try:
            for _ in range(20):
                write_whole(path, content, durable=False)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert path.read_text() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_cannot_be_synced(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "missing")
