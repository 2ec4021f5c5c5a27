"""The engine's provider plugins: whether one is installed, and its download.

The engine downloads a missing one itself, in the middle of the first run that needs it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from cloudburst.language import tr
from cloudburst.paths import engine_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudburst.engine.toolchain import PulumiCli

# 200 MB at less than 1 MB/s. The engine itself has no limit.
DOWNLOAD_TIMEOUT = 300.0
NO_DOWNLOADS = "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"
# What the engine writes before the cause, once for each of its attempts.
_CAUSE = "Error downloading plugin: "


def is_installed(name: str, version: str, state: Path) -> bool:
    """Whether a run finds a provider's plugin where its engine looks for it.

    Args:
        name: of the provider, such as ``aws``.
        version: such as ``7.51.1``.
        state: CloudBurst's folder.

    Raises:
        InfrastructureError: the engine's surroundings cannot be used.
    """
    home = engine_environment(state).get("PULUMI_HOME") or os.environ.get("PULUMI_HOME")
    folder = Path(home or Path.home() / ".pulumi") / "plugins" / f"resource-{name}-v{version}"
    # Beside a plugin of which only a part is there, the engine has a note of that.
    return folder.is_dir() and not folder.with_name(f"{folder.name}.partial").exists()


def may_download(environ: Mapping[str, str]) -> bool:
    """Whether the user lets the engine download plugins; as the engine reads its variable."""
    return environ.get(NO_DOWNLOADS, "").lower() not in ("1", "true")


def install(
    cli: PulumiCli, name: str, version: str, state: Path, seconds: float = DOWNLOAD_TIMEOUT
) -> str | None:
    """Download a provider's plugin to where a run's engine looks for it.

    Args:
        cli: the engine.
        name: of the provider, such as ``aws``.
        version: such as ``7.51.1``.
        state: CloudBurst's folder.
        seconds: after which the download is given up.

    Returns:
        Why it could not be downloaded; None when it is there.

    Raises:
        InfrastructureError: the engine's surroundings cannot be used.
    """
    command = [str(cli.binary), "--non-interactive", "--color=never"]
    command += ["plugin", "install", "resource", name, f"v{version}"]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **engine_environment(state)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return tr("not finished within {seconds:.0f} s", seconds=seconds)
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return None
    return cause(done.stdout) or tr("exit code {code}", code=done.returncode)


def cause(output: str) -> str:
    """Return why a download failed, by what the engine has written; empty when it does not say."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    causes = [line.partition(_CAUSE)[2] for line in lines if _CAUSE in line]
    return (causes or [line.removeprefix("error: ") for line in lines] or [""])[-1]
