"""The video API of this environment, but each scene takes so many seconds more.

``python slow_videoapi.py SECONDS --host … --port …``. With ``public`` after the seconds it is like
the public image: it reports no capacity, and goes on with what was given up.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from flask import jsonify

from cloudburst.videoapi import __main__ as server
from cloudburst.videoapi import app

if TYPE_CHECKING:
    from collections.abc import Callable

# Of the bundled server alone, see docs/protocol.md.
OURS = ("version", "capacity", "in_flight", "queued")


def main() -> None:
    """Serve."""
    seconds, arguments = float(sys.argv[1]), sys.argv[2:]
    public = arguments[:1] == ["public"]
    render, health = app.Server._render, app.Server.health

    def slow(self: Any, gone: Callable[[], bool]) -> Any:
        until = time.monotonic() + seconds
        while time.monotonic() < until and (public or not gone()):
            time.sleep(0.05)
        return render(self, (lambda: False) if public else gone)

    def silent(self: Any) -> Any:
        said = health(self).get_json()
        return jsonify({name: said[name] for name in said if name not in OURS})

    app.Server._render = slow  # type: ignore[method-assign]
    if public:
        app.Server.health = silent  # type: ignore[method-assign]
    server.main(arguments[public:])


main()
