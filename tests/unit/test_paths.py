"""Where things are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloudburst.errors import InfrastructureError
from cloudburst.paths import cache_folder, state_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("variable", "folder"), [("CLOUDBURST_STATE", state_folder), ("CLOUDBURST_CACHE", cache_folder)]
)
def test_a_folder_that_cannot_be_made_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, folder: Callable[[], Path]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(variable, str(tmp_path / "file" / "folder"))
    with pytest.raises(InfrastructureError, match=f"file/folder cannot be made: .*{variable}"):
        folder()
