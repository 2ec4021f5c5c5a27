"""Compare the bundled video API with the public image's server on the same scenes.

    .venv/bin/python -m benchmarks.render [--lengths 4 8] [--pictures mountain-path my/picture.png]
        [--quality small|normal|high] [--effort low|high]

Prints the tables of docs/performance.md: wall clock and ratios, CPU seconds, sizes, quality, and
how cost grows. Takes about eight minutes on two cores.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio_ffmpeg
import psutil
import requests
from PIL import Image, ImageOps

from cloudburst.videoapi import encode, ffmpeg, quality, render
from cloudburst.videoapi.ffmpeg import Deadline
from tests.support import peer

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURES = Path(__file__).parent.parent / "examples" / "pictures"
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
LOSSLESS = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", "-pix_fmt", "yuv420p")
SRT = """1
00:00:00,500 --> 00:00:01,900
In October the larches turn to copper,

2
00:00:02,100 --> 00:00:03,600
and the meadow below is still green.
"""
SCENARIOS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "subtitles_only": {"subtitle": base64.b64encode(SRT.encode()).decode(), "language": "english"},
    "effects_only": {"effects": ["zoom_in"]},
}
SCENARIOS["full_featured"] = SCENARIOS["subtitles_only"] | SCENARIOS["effects_only"]


def write(line: str = "") -> None:
    """Print a line at once, without buffering."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def b64(path: Path) -> str:
    """Return a file as base64."""
    return base64.b64encode(path.read_bytes()).decode()


def sound(folder: Path, seconds: float) -> Path:
    """Write a sound file of the given seconds that repeats the example's narration."""
    path = folder / f"{seconds:g}.mp3"
    source = PICTURES.parent / "narration" / "brook.mp3"
    command = [FFMPEG, "-v", "error", "-y", "-stream_loop", "-1", "-i", str(source)]
    subprocess.run([*command, "-t", str(seconds), "-b:a", "64k", str(path)], check=True)
    return path


def picture(folder: Path, name: str, width: int = 1920) -> Path:
    """Write a picture as a 16:9 PNG, the one aspect ratio that the peer does not change.

    Args:
        folder: where to.
        name: an example picture, or the path of another one.
        width: pixels.
    """
    source = Path(name) if Path(name).suffix else PICTURES / f"{name}.jpg"
    path = folder / f"{source.stem}-{width}.png"
    image = Image.open(source).convert("RGB")
    ImageOps.fit(image, (width, width * 9 // 16), Image.Resampling.LANCZOS).save(path)
    return path


@contextmanager
def ours(work: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[Any]]]:
    """Run the bundled server; yield its URL and its process."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "cloudburst.videoapi", "--port", "0", "--grace", "0"),
            *("--work", str(work), *options),
        ],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if process.stderr is None:
        raise RuntimeError("no standard error")
    url = process.stderr.readline().split()[-1]
    log = process.stderr
    with ThreadPoolExecutor(1) as pool:
        drain = pool.submit(log.read)
        try:
            yield url, process
        finally:
            process.terminate()
            process.wait()
            drain.result()


def cpu(process: subprocess.Popen[Any]) -> float:
    """Return the CPU seconds used by a server and its finished child processes."""
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def timed(
    url: str, process: subprocess.Popen[Any], body: dict[str, Any], path: Path
) -> tuple[float, float, int]:
    """Render once; return wall-clock seconds, CPU seconds and bytes."""
    before, began = cpu(process), time.perf_counter()
    response = requests.post(f"{url}/create_video_onestep", json=body, timeout=900)
    seconds = time.perf_counter() - began
    response.raise_for_status()
    used = cpu(process) - before
    video = requests.get(url + response.json()["download_endpoint"], timeout=60)
    video.raise_for_status()
    path.write_bytes(video.content)
    return seconds, used, path.stat().st_size


def lossless(body: dict[str, Any], folder: Path) -> Path:
    """Render the same frames losslessly."""
    request = render.Request(
        base64.b64decode(body["input_image"]),
        base64.b64decode(body["input_audio"]),
        subtitle=base64.b64decode(body["subtitle"]) if "subtitle" in body else None,
        effects=tuple(body.get("effects", ())),
        language=body.get("language", "chinese"),
    )
    originals = encode.moving, encode.still
    encode.moving = lambda scene, moved, *rest: encode.every_frame(scene, LOSSLESS, *rest, moved)
    encode.still = lambda scene, *rest: encode.every_frame(scene, LOSSLESS, *rest)
    try:
        path, _ = render.render(request, folder, Deadline(600), threads=os.cpu_count() or 1)
    finally:
        encode.moving, encode.still = originals
    return path


def vmaf(path: Path, reference: Path, folder: Path) -> tuple[float, float]:
    """Return the mean and the first percentile of VMAF over every third frame.

    Not every second or fourth: anchors, better than the frames between, are eight or sixteen apart.
    """
    graph = "libvmaf=n_threads=2:n_subsample=3:log_fmt=json:log_path=vmaf.json"
    command = [FFMPEG, "-v", "error", "-i", str(path), "-i", str(reference)]
    subprocess.run([*command, "-lavfi", graph, "-f", "null", "-"], check=True, cwd=folder)
    log = json.loads((folder / "vmaf.json").read_text())
    values = sorted(frame["metrics"]["vmaf"] for frame in log["frames"])
    return sum(values) / len(values), values[len(values) // 100]


def compare(
    folder: Path,
    pictures: list[str],
    lengths: list[float],
    scenarios: list[str],
    more: dict[str, Any],
) -> None:
    """Print the table that compares both servers."""
    write("| picture | s | scenario | peer s | ours s | ratio | CPU peer / ours | MB peer / ours |"
        " VMAF mean / p1 |")  # fmt: skip
    write("|---|---|---|---|---|---|---|---|---|")
    with peer.server(folder) as theirs, ours(folder / "ours", "--slots", "1") as mine:
        warm = {"input_image": b64(picture(folder, pictures[0], 640)),
                "input_audio": b64(sound(folder, 0.5))}  # fmt: skip
        timed(*mine, warm, folder / "warm.mp4")
        timed(*theirs, warm, folder / "warm.mp4")
        for name in pictures:
            for seconds in lengths:
                for scenario in scenarios:
                    body = (
                        {
                            "input_image": b64(picture(folder, name)),
                            "input_audio": b64(sound(folder, seconds)),
                        }
                        | SCENARIOS[scenario]
                        | more
                    )
                    label = f"{Path(name).stem} | {seconds:g} | {scenario}"
                    write(row(theirs, mine, body, folder, label))


def row(theirs: Any, mine: Any, body: dict[str, Any], folder: Path, label: str) -> str:
    """Measure one scene on both servers; return its row of the table."""
    peer_s, peer_cpu, peer_size = timed(*theirs, body, folder / "peer.mp4")
    runs = [timed(*mine, body, folder / "ours.mp4") for _ in range(3)]
    our_s, our_cpu, our_size = sorted(runs)[1]
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)
        reference = lossless(body, scratch)
        mean, low = vmaf(folder / "ours.mp4", reference, scratch)
    return (
        f"| {label} | {peer_s:.1f} | {our_s:.2f} | **{peer_s / our_s:.1f}x** "
        f"| {peer_cpu:.1f} / {our_cpu:.1f} | {peer_size / 1e6:.2f} / {our_size / 1e6:.2f} "
        f"| {mean:.1f} / {low:.1f} |"
    )


def growth(folder: Path, name: str) -> None:
    """Print how cost grows with length, picture size and concurrent scenes."""
    with ours(folder / "growth", "--slots", "4") as mine:
        small = {"input_image": b64(picture(folder, name)), "input_audio": b64(sound(folder, 1))}
        timed(*mine, small, folder / "g.mp4")
        write("\n| scenario | 2 s | 8 s | 30 s | 120 s |")
        write("|---|---|---|---|---|")
        for scenario, more in SCENARIOS.items():
            cells = []
            for seconds in (2, 8, 30, 120):
                body = small | {"input_audio": b64(sound(folder, seconds))} | more
                cells.append(f"{timed(*mine, body, folder / 'g.mp4')[0]:.2f} s")
            write(f"| {scenario} | {' | '.join(cells)} |")
        write("\n| picture, PNG | 640x360 | 1920x1080 | 3840x2160 | 7680x4320 |")
        write("|---|---|---|---|---|")
        for scenario in ("baseline", "full_featured"):
            cells = []
            for width in (640, 1920, 3840, 7680):
                image = {"input_image": b64(picture(folder, name, width))}
                body = small | {"input_audio": b64(sound(folder, 8))} | SCENARIOS[scenario] | image
                cells.append(f"{timed(*mine, body, folder / 'g.mp4')[0]:.2f} s")
            write(f"| {scenario}, 8 s | {' | '.join(cells)} |")
        write("\n| scenes at once, 8 s each | 1 | 2 | 4 |")
        write("|---|---|---|---|")
        for scenario in ("baseline", "full_featured"):
            body = small | {"input_audio": b64(sound(folder, 8))} | SCENARIOS[scenario]
            cells = []
            for count in (1, 2, 4):
                began = time.perf_counter()
                with ThreadPoolExecutor(count) as pool:
                    futures = [pool.submit(timed, *mine, body, folder / f"g{i}.mp4")
                            for i in range(count)]  # fmt: skip
                    for future in futures:
                        future.result()
                cells.append(f"{(time.perf_counter() - began) / count:.2f} s per scene")
            write(f"| {scenario} | {' | '.join(cells)} |")


def main() -> None:
    """Run the benchmarks and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=float, nargs="+", default=[4.0, 8.0])
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS))
    parser.add_argument("--pictures", nargs="+", default=["mountain-path", "dandelions"])
    parser.add_argument("--quality", choices=quality.QUALITIES, default="normal")
    parser.add_argument("--effort", choices=quality.EFFORTS, default="low")
    options = parser.parse_args()
    reason = peer.missing()
    if reason:
        sys.exit(reason)
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.processor(),
    )  # fmt: skip
    write(f"{os.cpu_count()} cores, {model}; Python {platform.python_version()}; "
        f"ours with {ffmpeg.version()}; {peer.REQUIREMENT}\n")  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        more = {"quality": options.quality, "effort": options.effort}
        compare(folder, options.pictures, options.lengths, options.scenarios, more)
        if set(options.scenarios) == set(SCENARIOS):
            growth(folder, options.pictures[0])


if __name__ == "__main__":
    main()
