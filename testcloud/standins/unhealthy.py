"""A container that runs but never becomes healthy: every request is answered with 503."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Unhealthy(BaseHTTPRequestHandler):
    """Answers every request with 503."""

    def do_GET(self) -> None:
        """Answer 503."""
        self.send_error(503, "the renderer is starting")

    do_POST = do_GET  # noqa: N815 - http.server dictates the name


HTTPServer((sys.argv[1], int(sys.argv[2])), Unhealthy).serve_forever()
