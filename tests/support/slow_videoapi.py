"""The video API of this environment, but each scene takes so many seconds more.

``python slow_videoapi.py SECONDS --host … --port …``
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from cloudburst.videoapi import __main__ as server
from cloudburst.videoapi import app

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Serve."""
    seconds, arguments = float(sys.argv[1]), sys.argv[2:]
    render = app.Server._render

    def slow(self: Any, gone: Callable[[], bool]) -> Any:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not gone():
            time.sleep(0.05)
        return render(self, gone)

    app.Server._render = slow  # type: ignore[method-assign]
    server.main(arguments)


main()
