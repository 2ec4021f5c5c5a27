"""An image with Python and pip alone, as a container: an environment of its own.

It is made when the container starts first. A program in it finds what pip installs there, and
nothing of the environment that the test cloud runs in.
"""

import os
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any, NoReturn

LINKED = Path(__file__).with_name("linked")


def main() -> None:
    """Become the command of the container whose settings come as JSON in a file."""
    import json

    run(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))


def run(settings: dict[str, Any], folder: Path) -> NoReturn:
    """Become the container's command.

    Args:
        settings: of the container.
        folder: its files.
    """
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        (folder / "tmp").mkdir(parents=True)
        venv.create(folder / "venv", symlinks=True)
    words = [_inside(str(word), settings) for word in settings["words"]]
    words = [*_placed(words[1:], settings)]
    environment = {
        **os.environ,
        **settings["pip"],
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPATH": _pip(settings),
        "TESTCLOUD_PACKAGES": sysconfig.get_paths()["purelib"],
    }
    os.execve(python, [str(python), *words], environment)  # noqa: S606


def _pip(settings: dict[str, Any]) -> str:
    """Return where the container's pip is: Python's own, or one that links what is installed."""
    if not settings["installs"]:
        return str(LINKED)
    import ensurepip

    bundled = Path(ensurepip.__file__).parent / "_bundled"
    return str(next(bundled.glob("pip-*.whl")))


def _inside(word: str, settings: dict[str, Any]) -> str:
    """Return a word of the command with the path on this computer for one of a volume."""
    for target, source in settings["volumes"].items():
        if word == target or word.startswith(f"{target}/"):
            return f"{source}{word[len(target) :]}"
    return word


def _placed(words: list[str], settings: dict[str, Any]) -> list[str]:
    """Return arguments with the address and the port at which the cloud wants the server."""
    kept, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        if word in ("--host", "--port"):
            rest.pop(0)
        else:
            kept.append(word)
    slots = [] if "--slots" in kept else ["--slots", str(settings["slots"])]
    place = ["--host", str(settings["address"]), "--port", str(settings["port"])]
    return [*kept, *place, *slots, *([] if "--threads" in kept else ["--threads", "2"])]


if __name__ == "__main__":
    main()
