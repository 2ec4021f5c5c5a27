"""Finds the Pulumi engine, or makes one.

The SDK from PyPI is not the engine: that is the `pulumi` CLI, a Go program. In this order: one of
the pinned version or a later 3.x on PATH, the cache, the official installer, given up after 4 s
without a connection, a Go build of the pinned module in `tools/engine`. What is made is made beside
its place, under a lock, and moved there whole, so that an interruption costs only time.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import subprocess
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from cloudburst.errors import EngineMissing
from cloudburst.language import tr
from cloudburst.paths import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

VERSION = "3.259.0"
INSTALLER = "https://get.pulumi.com/install.sh"
CONNECT_TIMEOUT = 4.0
_PACKAGE = "github.com/pulumi/pulumi"


@dataclass(frozen=True, slots=True)
class PulumiCli:
    """A `pulumi` command that fits the SDK.

    Args:
        binary: the executable.
        version: such as ``3.259.0``.
        origin: how it was found, for people.
    """

    binary: Path
    version: str
    origin: str


def find_engine(log: Callable[[str], None] = lambda _: None) -> PulumiCli:
    """Return a fitting engine; make one if there is none.

    Args:
        log: called with a line when something slow begins.

    Raises:
        EngineMissing: nothing worked; the message lists what was tried and what to install.
    """
    tried: list[str] = []
    found = _existing(tried)
    if found:
        return found
    root = _root()
    binary = root / "bin" / "pulumi"
    with _alone(root):
        if binary.exists():  # made by another run while this one waited
            return PulumiCli(binary, VERSION, tr("the cache, {folder}", folder=root))
        for make, origin in (
            (_install, tr("the official installer")),
            (_build, tr("a Go build of the pinned module")),
        ):
            staging = root.with_name(f"{VERSION}.making")
            shutil.rmtree(staging, ignore_errors=True)
            (staging / "bin").mkdir(parents=True)
            problem = make(staging, log) or _wrong_version(staging / "bin" / "pulumi")
            if problem is None:
                shutil.rmtree(root, ignore_errors=True)
                staging.rename(root)
                return PulumiCli(binary, VERSION, origin)
            tried.append(f"{origin}: {problem}")
            shutil.rmtree(staging, ignore_errors=True)
    lines = "\n".join(f"  - {line}" for line in tried)
    raise EngineMissing(
        tr(
            "no Pulumi engine (the `pulumi` command, {version} or a later 3.x). Tried:\n{lines}\n"
            "Install either of these and run again: Pulumi from "
            "https://www.pulumi.com/docs/install/ or Go 1.25 or newer from https://go.dev/dl/ "
            "(builds the engine, about 6 minutes once).",
            version=VERSION,
            lines=lines,
        )
    )


def existing_engine() -> PulumiCli | None:
    """Return a fitting engine that is there; make none.

    Raises:
        EngineMissing: there is one that may not be executed.
    """
    return _existing([])


def _existing(tried: list[str]) -> PulumiCli | None:
    on_path = _on_path(tried)
    if on_path:
        return on_path
    binary = _root() / "bin" / "pulumi"
    if not binary.exists():
        return None
    _check_runs(binary)
    return PulumiCli(binary, VERSION, tr("the cache, {folder}", folder=_root()))


def _root() -> Path:
    return cache_folder() / "engine" / VERSION


def version_of(binary: str | Path) -> str | None:
    """Return the version of a CLI, such as ``3.259.0``; None when it does not answer."""
    try:
        answer = subprocess.run(
            [str(binary), "version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "1"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.fullmatch(r"v?(\d+\.\d+\.\d+).*", answer.stdout.strip())
    return match[1] if match and answer.returncode == 0 else None


def fits(version: str) -> bool:
    """Whether a CLI fits the SDK this project is pinned to: the same major, not older."""
    have, need = (tuple(map(int, text.split("."))) for text in (version, VERSION))
    return have[0] == need[0] and have >= need


def _on_path(tried: list[str]) -> PulumiCli | None:
    from pathlib import Path  # noqa: PLC0415 - only for typing elsewhere in this module

    binary = shutil.which("pulumi")
    if not binary:
        tried.append(tr("PATH: no `pulumi` on it"))
        return None
    version = version_of(binary)
    if version and fits(version):
        return PulumiCli(Path(binary).absolute(), version, "PATH")
    tried.append(
        tr(
            "PATH: {binary} is {version}; needs {needed} or a later 3.x",
            binary=binary,
            version=version or tr("not answering"),
            needed=VERSION,
        )
    )
    return None


def _wrong_version(binary: Path) -> str | None:
    version = version_of(binary)
    if version == VERSION:
        return None
    made = version or tr("nothing that runs")
    return tr("made {version}, not {needed}", version=made, needed=VERSION)


def _check_runs(binary: Path) -> None:
    """Refuse an engine in a folder where no program may be started."""
    if not os.access(binary, os.X_OK):
        raise EngineMissing(
            tr(
                "{file} may not be executed (is its disk mounted noexec?); name another folder "
                "with CLOUDBURST_CACHE",
                file=binary,
            )
        )


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Let one run make the engine while others wait; the lock is freed with its process."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with (root.parent / f"{VERSION}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(root: Path, log: Callable[[str], None]) -> str | None:
    """Run the official installer; return the reason when that fails."""
    script = root / "install.sh"
    try:
        with urllib.request.urlopen(INSTALLER, timeout=CONNECT_TIMEOUT) as answer:
            script.write_bytes(answer.read())
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        return tr("{url} cannot be reached ({reason})", url=INSTALLER, reason=reason)
    log(tr("downloading the Pulumi engine {version} (once, about 100 MB)", version=VERSION))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    command = [str(script), "--no-edit-path", "--install-root", str(root), "--version", VERSION]
    return _ran(command, root, {}, timeout=900)


def _build(root: Path, log: Callable[[str], None]) -> str | None:
    """Build the engine from the pinned module; return the reason when that fails."""
    go = shutil.which("go")
    if not go:
        return tr("no `go` on PATH")
    log(
        tr(
            "building the Pulumi engine {version} with Go: about 6 minutes on 2 cores, once; "
            "an interrupted build continues from its cache",
            version=VERSION,
        )
    )
    source = root / "source"
    source.mkdir()
    for name in ("go.mod", "go.sum"):
        text = resources.files("cloudburst_engine").joinpath(name).read_text()
        (source / name).write_text(text)
    stamp = f"-X {_PACKAGE}/sdk/v3/go/common/version.Version=v{VERSION}"
    binary = root / "bin" / "pulumi"
    command = [go, "build", "-mod=readonly", "-trimpath", "-ldflags", f"-s -w {stamp}"]
    command += ["-o", str(binary), f"{_PACKAGE}/pkg/v3/cmd/pulumi"]
    # Without cgo a machine needs no C compiler.
    problem = _ran(command, source, {"CGO_ENABLED": "0", "GOWORK": "off"}, timeout=3600)
    shutil.rmtree(source)
    return problem


def _ran(command: list[str], folder: Path, more: dict[str, str], *, timeout: float) -> str | None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    said = " | ".join(done.stdout.strip().splitlines()[-3:])
    return said or tr("exit code {code}", code=done.returncode)
