"""A container as the worker agent meets it: a process that a test's `docker` starts.

The body of a render is an order: ``{"sleep": 1, "status": 200, "say": {…}, "die": true}``,
or ``{"raw": "what is no JSON"}``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

VIDEO = bytes(range(256)) * 4096
PORT, FOLDER, ORDER = int(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
KEY = os.environ["AUTHENTICATION_KEY"]


def note(what: str, **more: Any) -> None:
    with (FOLDER / "container.jsonl").open("a") as log:
        log.write(json.dumps({"at": time.time(), "port": PORT, "what": what, **more}) + "\n")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, content: Any) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/health":
            health = {"status": "healthy", "gpu_available": ORDER.get("nvenc", False)}
            self.answer(200, health | ORDER.get("health", {}))
        elif self.headers.get("X-Authentication-Key") != KEY:
            self.answer(401, {"error": "no key"})
        elif self.path == "/download/1":
            start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
            self.send_response(206 if start else 200)
            self.send_header("Content-Type", "video/mp4")
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(VIDEO) - 1}/{len(VIDEO)}")
            self.send_header("Content-Length", str(len(VIDEO) - start))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(VIDEO[start:])
        else:
            self.answer(404, {"error": "File not found"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        if self.headers.get("X-Authentication-Key") != KEY:
            self.answer(401, {"error": "no key"})
            return
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        order = ORDER.get("render", {}) | order
        note("begins", job=order.get("name") or order.get("output_filename"))
        until = time.monotonic() + order.get("sleep", 0)
        while time.monotonic() < until:
            time.sleep(0.02)
            # As the bundled server; the public image goes on.
            self.connection.settimeout(0.001)
            try:
                gone = self.connection.recv(1) == b""
            except TimeoutError:
                gone = False
            if gone and "capacity" in ORDER.get("health", {}):
                note("cancelled", job=order.get("name"))
                return
        self.connection.settimeout(None)
        if order.get("die"):
            os._exit(1)
        note("ends", job=order.get("name"))
        said = order.get("say") or {"success": True, "download_endpoint": "/download/1"}
        self.answer(order.get("status", 200), order["raw"].encode() if "raw" in order else said)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


note("starts", key=KEY, gpu=os.environ.get("NVIDIA_DRIVER_CAPABILITIES"))
time.sleep(ORDER.get("slow", 0))
print("the video API listens", flush=True)  # noqa: T201 - docker logs
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
