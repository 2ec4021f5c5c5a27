"""Bytes, quality and CPU seconds by content: the bundled video API against the public image's.

    .venv/bin/python -m benchmarks.quality [--seconds 6] [--picture brook my/picture.png]
        [--scenarios effects_only full_featured baseline] [--quality small|normal|high]
        [--effort low|high] [--possible] [--json FILE] [--list]

Renders each picture with both servers, in turn, and measures both videos with VMAF, each against
the frames its own renderer meant to show. Prints a table of docs/performance.md. `--possible` adds
whether x264 can meet the goal with no more bytes than the peer's at all: it searches for the
smallest video with x264's slowest search, several minutes of CPU for each row. Rows in the file of
`--json` are not measured again, so an interrupted run continues. About 40 minutes of two idle cores
for everything, without `--possible`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import intended, pictures
from benchmarks.render import FFMPEG, SCENARIOS, b64, ours, sound, timed, vmaf, write
from cloudburst.videoapi import ffmpeg, quality
from tests.support import peer

# What a video has to reach: VMAF's mean and first percentile.
MEAN, LOW = 95.0, 93.0
HEADER = (
    "| picture | scenario | MB peer / ours | ratio | VMAF peer | VMAF ours | CPU s peer / ours |"
    " ratio |{possible}\n|---|---|---|---|---|---|---|---|{line}"
)
# x264's slowest search, with the kinds of frames that motion over a still needs ("What was tried"
# in docs/performance.md): as small as x264 makes it.
SLOWEST = (
    "b-adapt=0:bframes=7:weightp=0:aq-mode=0:scenecut=0:no-psy=1:ipratio=1.5:pbratio=2:"
    "me=umh:subme=10:trellis=2:ref=4:partitions=all:no-deblock=1"
)


@dataclass(frozen=True, slots=True)
class Video:
    """What one server made of a scene.

    Args:
        size: bytes.
        cpu: CPU seconds of the server and its child processes.
        mean: VMAF over every third frame.
        low: its first percentile.
    """

    size: int
    cpu: float
    mean: float
    low: float


@dataclass(frozen=True, slots=True)
class Row:
    """Both videos of a scene.

    Args:
        peer: the public image's.
        ours: the bundled server's.
        least: bytes of the smallest video that meets the goal; None if it was not searched for,
            infinite if there is none.
    """

    peer: Video
    ours: Video
    least: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether ours is good enough, and not larger than the peer's."""
        return self.is_good and self.ours.size <= self.peer.size

    @property
    def is_good(self) -> bool:
        """Whether ours is good enough, to the tenth that is printed."""
        return round(self.ours.mean, 1) >= MEAN and round(self.ours.low, 1) >= LOW

    def text(self, picture: str, scenario: str) -> str:
        """Return the line of the table; bold is what misses the aim."""
        size = f"{self.ours.size / self.peer.size:.2f}"
        size = size if self.ours.size <= self.peer.size else f"**{size}**"
        good = f"{self.ours.mean:.1f} / {self.ours.low:.1f}"
        good = good if self.is_good else f"**{good}**"
        return (
            f"| {picture} | {scenario} | {self.peer.size / 1e6:.2f} / {self.ours.size / 1e6:.2f} "
            f"| {size} | {self.peer.mean:.1f} / {self.peer.low:.1f} | {good} "
            f"| {self.peer.cpu:.1f} / {self.ours.cpu:.1f} | {self.peer.cpu / self.ours.cpu:.1f}x |"
            + self._possible()
        )

    def _possible(self) -> str:
        if self.least is None:
            return ""
        if math.isinf(self.least):
            return " no: never 95 |"
        answer = "yes" if self.least <= self.peer.size else "no"
        return f" {answer}: {self.least / 1e6:.2f} |"


def missing() -> str | None:
    """Return why the benchmark cannot run here, or None if it can."""
    result = subprocess.run([FFMPEG, "-v", "error", "-filters"], capture_output=True, text=True,
                            check=True)  # fmt: skip
    if " libvmaf " not in result.stdout:
        return f"{FFMPEG} has no filter libvmaf; imageio-ffmpeg 0.8.1 brings one that has it"
    return peer.missing()


def request(picture: Path, audio: Path, scenario: str, more: dict[str, str]) -> dict[str, Any]:
    """Return the body that both servers are sent."""
    return {"input_image": b64(picture), "input_audio": b64(audio)} | SCENARIOS[scenario] | more


def measure(
    servers: tuple[Any, Any], picture: Path, body: dict[str, Any], *, possible: bool
) -> Row:
    """Render a scene once with each server; measure both videos.

    Args:
        servers: URL and process of the peer's and of ours.
        picture: PNG in the size of the video.
        body: of the request.
        possible: search for the smallest video, too.
    """
    theirs, mine = servers
    with tempfile.TemporaryDirectory(dir=picture.parent) as name:
        folder = Path(name)
        _, peer_cpu, peer_size = timed(*theirs, body, folder / "peer.mp4")
        _, our_cpu, our_size = timed(*mine, body, folder / "ours.mp4")
        their_frames = intended.theirs(picture, body, folder / "peer.mp4", folder / "theirs")
        our_frames = intended.ours(body, folder / "ours")
        return Row(
            Video(peer_size, peer_cpu, *vmaf(folder / "peer.mp4", their_frames, folder)),
            Video(our_size, our_cpu, *vmaf(folder / "ours.mp4", our_frames, folder)),
            smallest(our_frames, folder) if possible else None,
        )


def smallest(reference: Path, folder: Path) -> float:
    """Return the bytes of the smallest video that meets the goal; infinity if there is none."""
    fine, coarse, best = 4, 32, math.inf
    while fine <= coarse:
        middle = (fine + coarse) // 2
        command = [FFMPEG, "-v", "error", "-y", "-i", str(reference), "-map", "0:v", "-map", "0:a"]
        command += ["-c:a", "copy", "-c:v", "libx264", "-preset", "veryslow", "-x264-params"]
        path = folder / "smallest.mp4"
        subprocess.run([*command, f"{SLOWEST}:qp={middle}", str(path)], check=True)
        mean, low = vmaf(path, reference, folder)
        if mean >= MEAN and low >= LOW:
            best, fine = float(path.stat().st_size), middle + 1
        else:
            coarse = middle - 1
    return best


def read(path: Path | None) -> dict[str, Row]:
    """Return the rows that an earlier run has measured."""
    if path is None or not path.exists():
        return {}
    return {
        key: Row(Video(**row["peer"]), Video(**row["ours"]), row["least"])
        for key, row in json.loads(path.read_text()).items()
    }


def summary(rows: dict[str, Row]) -> str:
    """Return how many rows meet the aim, and how fast they were."""
    ratios = sorted(row.peer.cpu / row.ours.cpu for row in rows.values())
    good, small = (sum(check) for check in (
        (row.is_good for row in rows.values()),
        (row.ours.size <= row.peer.size for row in rows.values()),
    ))  # fmt: skip
    met = sum(row.is_met for row in rows.values())
    return (
        f"\n{met} of {len(rows)} meet both: VMAF {MEAN:g} / {LOW:g} ({good}), no more bytes than "
        f"the peer ({small}). CPU seconds, peer / ours: {ratios[0]:.1f} to {ratios[-1]:.1f}, "
        f"median {ratios[len(ratios) // 2]:.1f}"
    )


def run(options: argparse.Namespace) -> dict[str, Row]:
    """Measure what is asked for; print each row when it is known."""
    known, rows = read(options.json), {}
    more = {"quality": options.quality, "effort": options.effort}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        audio = sound(folder, options.seconds)
        with peer.server(folder) as theirs, ours(folder / "work", "--slots", "1") as mine:
            warm = request(pictures.write(folder, "gradient"), sound(folder, 1), "baseline", more)
            for server in (theirs, mine):
                timed(*server, warm, folder / "warm.mp4")
            for scenario in options.scenarios:
                for source in options.picture:
                    label = Path(source).stem
                    key = f"{label} {scenario} {options.seconds:g} {' '.join(more.values())}"
                    if key not in known:
                        picture = pictures.write(folder, source)
                        body = request(picture, audio, scenario, more)
                        possible = options.possible
                        known[key] = measure((theirs, mine), picture, body, possible=possible)
                        save(options.json, known)
                    rows[key] = known[key]
                    write(rows[key].text(label, scenario))
    return rows


def save(path: Path | None, rows: dict[str, Row]) -> None:
    """Write the rows, so that another run need not measure them again."""
    if path is not None:
        path.write_text(json.dumps({key: asdict(row) for key, row in rows.items()}, indent=1))


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--picture", nargs="+", default=pictures.NAMES, metavar="NAME_OR_PATH")
    parser.add_argument(
        "--scenarios", nargs="+", choices=SCENARIOS, default=["effects_only", "full_featured"]
    )
    parser.add_argument("--quality", choices=quality.QUALITIES, default="normal")
    parser.add_argument("--effort", choices=quality.EFFORTS, default="low")
    parser.add_argument("--possible", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--list", action="store_true", help="list the pictures, and exit")
    options = parser.parse_args()
    if options.list:
        write("\n".join(pictures.NAMES))
        return
    reason = missing()
    if reason:
        sys.exit(reason)
    write(f"{os.cpu_count()} cores; Python {platform.python_version()}; ours with "
        f"{ffmpeg.version()}; {peer.REQUIREMENT}; {options.seconds:g} s of 1080p, quality "
        f"{options.quality}, effort {options.effort}\n")  # fmt: skip
    more = (" possible? MB |", "---|") if options.possible else ("", "")
    write(HEADER.format(possible=more[0], line=more[1]))
    write(summary(run(options)))


if __name__ == "__main__":
    main()
