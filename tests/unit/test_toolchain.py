"""How the engine is found or made, with stand-ins for what is slow or far away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cloudburst.engine import toolchain
from cloudburst.engine.engine import slots_for
from cloudburst.engine.toolchain import VERSION, find_engine, fits
from cloudburst.errors import EngineMissing


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def pulumi(path: Path, version: str) -> Path:
    return script(path, f"echo v{version}")


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put nothing on PATH but the shell, and nothing in the cache."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    monkeypatch.setenv("CLOUDBURST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(toolchain, "INSTALLER", (tmp_path / "no-installer").as_uri())
    return tmp_path


def test_versions_that_fit() -> None:
    assert fits(VERSION)
    assert fits("3.300.0")
    assert not fits("3.1.0")
    assert not fits("4.0.0")


def test_a_fitting_engine_on_path_is_taken(places: Path) -> None:
    binary = pulumi(places / "path" / "pulumi", "3.999.1")
    found = find_engine()
    assert (found.binary, found.version, found.origin) == (binary, "3.999.1", "PATH")


def test_the_cache_is_next_when_the_one_on_path_is_old(places: Path) -> None:
    pulumi(places / "path" / "pulumi", "2.0.0")
    cached = pulumi(places / "cache" / "engine" / VERSION / "bin" / "pulumi", VERSION)
    found = find_engine()
    assert found.binary == cached
    assert "cache" in found.origin


def test_the_installer_is_next_and_its_work_is_kept(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer = script(
        places / "install.sh",
        'while [ "$1" != --install-root ]; do shift; done; mkdir -p "$2/bin"; '
        f'printf "#!/bin/sh\\necho v{VERSION}\\n" > "$2/bin/pulumi"; chmod +x "$2/bin/pulumi"',
    )
    monkeypatch.setattr(toolchain, "INSTALLER", installer.as_uri())
    log: list[str] = []
    assert find_engine(log.append).origin == "the official installer"
    assert "downloading" in log[0]
    assert "cache" in find_engine(log.append).origin
    assert len(log) == 1


def test_a_go_build_is_last(places: Path) -> None:
    script(
        places / "path" / "go",
        'test -s go.mod || exit 1; test -s go.sum || exit 1; test "$CGO_ENABLED" = 0 || exit 1; '
        'while [ "$1" != -o ]; do shift; done; '
        f'printf "#!/bin/sh\\necho v{VERSION}\\n" > "$2"; chmod +x "$2"',
    )
    log: list[str] = []
    found = find_engine(log.append)
    assert found.origin == "a Go build of the pinned module"
    assert "6 minutes" in log[0]
    assert sorted(path.name for path in (places / "cache" / "engine").iterdir()) == [
        VERSION,
        f"{VERSION}.lock",
    ]


def test_an_interrupted_build_is_begun_again(places: Path) -> None:
    half = places / "cache" / "engine" / f"{VERSION}.making" / "bin"
    half.mkdir(parents=True)
    (half / "pulumi").write_text("half of it")
    test_a_go_build_is_last(places)


@pytest.mark.parametrize(
    ("go", "words"),
    [
        (None, "no `go` on PATH"),
        ("echo go.mod is wrong; exit 1", "go.mod is wrong"),
        ("exit 0", "made nothing that runs"),
    ],
)
def test_when_nothing_works_all_that_was_tried_is_told(
    places: Path, go: str | None, words: str
) -> None:
    pulumi(places / "path" / "pulumi", "3.1.0")
    if go:
        script(places / "path" / "go", go)
    with pytest.raises(EngineMissing) as caught:
        find_engine()
    text = str(caught.value)
    assert f"PATH: {places / 'path' / 'pulumi'} is 3.1.0; needs {VERSION}" in text
    assert "cannot be reached" in text
    assert words in text
    assert "Install either" in text
    assert not (places / "cache" / "engine" / VERSION).exists()


def test_the_pinned_module_is_of_the_pinned_version() -> None:
    text = (Path(__file__).parents[2] / "tools" / "engine" / "go.mod").read_text()
    assert f"github.com/pulumi/pulumi/pkg/v3 v{VERSION}" in text
    lock = (Path(__file__).parents[2] / "requirements.lock").read_text()
    assert f"\npulumi=={VERSION} " in lock


def test_operations_at_once_are_bounded_by_memory() -> None:
    gib = 1024**3
    assert slots_for(0) == 1
    assert slots_for(1 * gib) == 3
    assert slots_for(4 * gib) == 12
    assert slots_for(1024 * gib) == 32
    assert os.environ["CLOUDBURST_CACHE"]
