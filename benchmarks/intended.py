"""The frames that each renderer means to show, encoded without loss: what VMAF compares with.

Ours are rendered by our own code with a lossless encoder. The peer's motion is calculated as its
`_opencv_smooth_zoom` does, on the picture itself instead of on a first encoding of it; its
subtitles are drawn by its own functions, in its own interpreter, whose ffmpeg is asked for no loss.
"""

from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.render import FFMPEG, LOSSLESS, lossless
from tests.support import peer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Picture = NDArray[Any]

# The peer runs a shell command without a quantiser in it.
_SUBTITLES = """
import subprocess, sys
from video_generation_api import core_functions as peer
run = subprocess.run
def lossless(command, *args, **options):
    if isinstance(command, str):
        command = command.replace("-c:a copy", "-c:v libx264 -preset ultrafast -qp 0 -c:a copy")
    return run(command, *args, **options)
subprocess.run = lossless
source, subtitles, target, portrait = sys.argv[1:]
draw = peer.add_subtitles_to_video_portrait if portrait else peer.add_subtitles_to_video
if not draw(input_video_path=source, subtitle_path=subtitles, output_video_path=target,
            font_size=None, outline_color="&H00000000", background_box=True,
            background_opacity=0.2, language="english"):
    sys.exit("the peer could not draw the subtitles")
"""


def ours(body: dict[str, Any], folder: Path) -> Path:
    """Render our frames without loss; see `benchmarks.render.lossless`."""
    folder.mkdir()
    return lossless(body, folder)


def theirs(picture: Path, body: dict[str, Any], video: Path, folder: Path) -> Path:
    """Draw the peer's frames without loss.

    Args:
        picture: PNG in the size of the video.
        body: of the request; its motion is ``zoom_in`` or there is none.
        video: the peer's.
        folder: for the files; made here.

    Raises:
        ValueError: the picture or the video cannot be read.
    """
    folder.mkdir()
    image = cv2.imread(str(picture))
    if image is None:
        raise ValueError(f"{picture} cannot be read as a picture")
    height, width = image.shape[:2]
    count, steps = _steps(image, video) if body.get("effects") else (_count(video), 1)
    command = [FFMPEG, "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgr24"]
    command += ["-s", f"{width}x{height}", "-r", "30", "-i", "pipe:0", *LOSSLESS]
    with subprocess.Popen([*command, str(folder / "frames.mp4")], stdin=subprocess.PIPE) as process:
        if process.stdin is None:
            raise RuntimeError("no standard input")
        for index in range(count):
            frame = _zoomed(image, index / steps) if body.get("effects") else image
            process.stdin.write(frame.tobytes())
        process.stdin.close()
    if "subtitle" not in body:
        return folder / "frames.mp4"
    (folder / "cues.srt").write_bytes(base64.b64decode(body["subtitle"]))
    names = ["frames.mp4", "cues.srt", "titled.mp4", "portrait" if height > width else ""]
    command = [str(peer.interpreter()), "-c", _SUBTITLES, *names]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "titled.mp4"


def _zoomed(image: Picture, progress: float) -> Picture:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 0, 1 + 0.1 * progress)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LANCZOS4)


def _count(video: Path) -> int:
    return int(cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT))


def _steps(image: Picture, video: Path) -> tuple[int, int]:
    """Return the number of frames, and in how many steps the peer's zoom goes from 1 to 1.1.

    The zoom is made for a first video that may have a frame more or less than the last one has: the
    number that fits best to what can be seen.
    """
    source, count = cv2.VideoCapture(str(video)), _count(video)
    compared = {count // 4, count // 2, 3 * count // 4, count - 2}
    off = dict.fromkeys(range(count - 3, count + 3), 0.0)
    for index in range(count):
        readable, frame = source.read()
        if not readable:
            raise ValueError(f"{video}: frame {index} of {count} cannot be read")
        # The upper half: subtitles are below.
        half = frame.shape[0] // 2
        for steps in off if index in compared else ():
            drawn = _zoomed(image, index / steps)
            off[steps] += float(np.mean((drawn[:half].astype(np.float32) - frame[:half]) ** 2))
    return count, min(off, key=lambda steps: off[steps])
