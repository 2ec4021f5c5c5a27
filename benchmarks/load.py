"""Load one bundled server with many clients; measure lost requests, fairness and memory growth.

.venv/bin/python -m benchmarks.load [--requests 500] [--clients 16]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import requests

from benchmarks.render import b64, ours, picture, sound


def main() -> None:
    """Run the load test and print its results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        body = {
            "input_image": b64(picture(folder, "dandelions", 640)),
            "input_audio": b64(sound(folder, 0.5)),
        }
        with ours(folder / "work", "--slots", "2", "--queue", "32") as (url, process):
            measure(url, psutil.Process(process.pid), body, options)


def measure(
    url: str, process: psutil.Process, body: dict[str, str], options: argparse.Namespace
) -> None:
    """Let every client send its share of the requests in sequence, and print statistics."""
    waits: list[float] = []
    memory: list[int] = []

    def client(number: int) -> list[int]:
        statuses = []
        for _ in range(number, options.requests, options.clients):
            began = time.perf_counter()
            response = requests.post(f"{url}/create_video_onestep", json=body, timeout=300)
            waits.append(time.perf_counter() - began)
            memory.append(process.memory_info().rss)
            statuses.append(response.status_code)
        return statuses

    began = time.perf_counter()
    with ThreadPoolExecutor(options.clients) as pool:
        statuses = Counter(
            status for part in pool.map(client, range(options.clients)) for status in part
        )
    seconds = time.perf_counter() - began
    waits.sort()
    tenth = max(1, len(memory) // 10)
    early, late = max(memory[tenth : 2 * tenth]), max(memory[-tenth:])
    sys.stdout.write(
        f"{options.requests} requests from {options.clients} clients in {seconds:.1f} s: "
        f"{dict(statuses)}\n"
        f"wait: median {waits[len(waits) // 2]:.2f} s, "
        f"99% {waits[len(waits) * 99 // 100]:.2f} s, longest {waits[-1]:.2f} s\n"
        f"memory: {early / 1e6:.0f} MB after the first tenth, {late / 1e6:.0f} MB in the last\n"
    )


if __name__ == "__main__":
    main()
