"""Paths as people write them where no shell has replaced ``~`` and ``$HOME``."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from cloudburst import userpath

ME = pwd.getpwuid(os.getuid())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.mark.parametrize("start", ["~", "$HOME", "${HOME}"])
def test_the_home_folder(home: Path, start: str) -> None:
    assert userpath.absolute(start) == home
    assert userpath.absolute(f"{start}/a b/x") == home / "a b" / "x"
    assert userpath.unexpanded(f"{start}/x") == ""


def test_the_home_of_another_user(home: Path) -> None:
    assert userpath.absolute(f"~{ME.pw_name}/x") == Path(ME.pw_dir, "x")
    assert userpath.absolute("~nobody-by-this-name/x") == home.parent / "~nobody-by-this-name" / "x"
    assert userpath.unexpanded("~nobody-by-this-name/x") == "~nobody-by-this-name"


@pytest.mark.parametrize("text", ["a~b", "x/~", "x/$HOME", "$HOMER/x", "$5 bill.jpg", "100%"])
def test_only_the_beginning_is_replaced(home: Path, text: str) -> None:
    assert userpath.absolute(text) == home.parent / text


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        ("$DATA/x", "$DATA"),
        ("a/${DATA}/x", "${DATA}"),
        ("%USERPROFILE%\\x", "%USERPROFILE%"),
        ("$5 bill.jpg", ""),
        ("100%", ""),
    ],
)
@pytest.mark.usefixtures("home")
def test_what_only_a_shell_replaces(text: str, variable: str) -> None:
    assert userpath.unexpanded(text) == variable


def test_where_relative_paths_start(home: Path) -> None:
    assert userpath.absolute("x") == home.parent / "x"
    assert userpath.absolute("../x", Path("sub")) == home.parent / "sub" / ".." / "x"
    assert userpath.absolute("/x", Path("/sub")) == Path("/x")


def test_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)

    def unknown(_: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(userpath.NoHomeError, match="set HOME"):
        userpath.absolute("~/x")
    with pytest.raises(userpath.NoHomeError, match="set HOME"):
        userpath.absolute("$HOME/x")
    assert userpath.absolute("/x") == Path("/x")
