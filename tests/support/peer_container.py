"""The public image's server as its container runs it, at one address; run by the peer's Python.

As there: Flask's own server, a thread for each request, no queue, no capacity, no end for what was
given up. Its package is its working directory, where moving scenes share their sound files.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Serve at ``sys.argv[1:3]``, address and port, with the package in the folder ``argv[3]``."""
    address, port, folder = sys.argv[1:]
    # Files of its own, as every container has: a machine may run several.
    own = Path(tempfile.mkdtemp())
    package = own / "video_generation_api"
    shutil.copytree(Path(folder) / "video_generation_api", package)
    sys.path.insert(0, str(own))
    os.chdir(package)
    # Installed in the peer's environment, not in ours.
    from video_generation_api.app import app

    app.run(host=address, port=int(port))


main()
