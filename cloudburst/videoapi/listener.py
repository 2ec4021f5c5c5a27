"""The WSGI server. Only this module imports waitress."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer

if TYPE_CHECKING:
    import socket
    from wsgiref.types import WSGIApplication


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection that records when it was last used by the monotonic clock.

    Waitress takes the system's. When that is set forward, every connection seems to have been idle
    and is closed, also one that is still receiving a scene.
    """

    _active = 0.0

    @property
    def last_activity(self) -> float:
        """When bytes were last sent or received, by the monotonic clock."""
        return self._active

    @last_activity.setter
    def last_activity(self, _: float) -> None:
        self._active = time.monotonic()


class _Server(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    """A server whose connections are idle by the monotonic clock."""

    channel_class = _Channel

    def maintenance(self, _: float) -> None:
        """Close the connections that have been idle for too long."""
        super().maintenance(time.monotonic())


def serve(
    app: WSGIApplication, listening: socket.socket, *, requests: int, max_body: int, idle: float
) -> None:
    """Serve an application until the process ends.

    Args:
        app: the application.
        listening: a bound TCP socket.
        requests: requests that may be in progress, queued ones included.
        max_body: bytes of a request.
        idle: seconds after which an unused connection is closed.
    """
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    kind = (listening.family, listening.type, listening.proto, listening.getsockname())
    # Not by `waitress.create_server`: which class it takes cannot be chosen.
    server = _Server(
        app,
        _sock=listening,
        bind_socket=False,
        sockinfo=kind,
        # Each queued request occupies a thread; health checks and downloads always need a free one.
        threads=requests + 8,
        max_request_body_size=max_body,
        # Lets a request find out whether its client has disconnected.
        channel_request_lookahead=1,
        channel_timeout=int(idle),
        connection_limit=requests + 200,
        ident=None,
    )
    server.run()
