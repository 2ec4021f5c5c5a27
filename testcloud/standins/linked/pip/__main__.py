"""pip with a warm cache: what a lock names is linked from the test cloud's own environment.

It refuses what is not installed there in a version that the lock names.
"""

import itertools
import os
import re
import sys
from importlib.metadata import distributions
from pathlib import Path

PACKAGES = Path(os.environ["TESTCLOUD_PACKAGES"])
# The test cloud's own packages, and what leads to them.
_OURS = ("cloudburst", "_cloudburst", "testcloud", "__pycache__")
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


def main(arguments: list[str]) -> None:
    """Run `pip install --target FOLDER --requirement FILE`."""
    options = dict(itertools.pairwise(arguments))
    target, lock = Path(options["--target"]), Path(options["--requirement"])
    installed = {
        one.metadata["Name"].lower().replace("_", "-"): one.version
        for one in distributions(path=[str(PACKAGES)])
    }
    wanted: dict[str, set[str]] = {}
    for name, version in _PIN.findall(lock.read_text()):
        wanted.setdefault(name.lower().replace("_", "-"), set()).add(version)
    for name, versions in wanted.items():
        if installed.get(name) not in versions:
            sys.exit(f"ERROR: No matching distribution found for {name}=={min(versions)}")
    target.mkdir(parents=True)
    for path in PACKAGES.iterdir():
        if not path.name.startswith(_OURS) and path.suffix != ".pth":
            (target / path.name).symlink_to(path)


main(sys.argv[1:])
