"""A container that runs and never is well: every request is answered with 503."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Unwell(BaseHTTPRequestHandler):
    """Answers 503."""

    def do_GET(self) -> None:
        self.send_error(503, "the renderer is starting")

    do_POST = do_GET  # noqa: N815 - the library looks for this name


HTTPServer((sys.argv[1], int(sys.argv[2])), Unwell).serve_forever()
