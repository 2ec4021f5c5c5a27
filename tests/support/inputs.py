"""Inputs of a job (pictures, sounds, subtitles, scenes.yaml) and sample videos."""

from __future__ import annotations

import math
import wave
from pathlib import Path

import numpy as np
from PIL import Image

EXAMPLE = Path(__file__).parents[2] / "examples" / "scenes.yaml"

SRT = "1\n00:00:00,100 --> 00:00:00,900\nHello there\n"


def write_picture(path: Path, size: tuple[int, int] = (320, 180), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.radial_gradient("L").resize(size).convert(mode).save(path)
    return path


def write_sound(path: Path, seconds: float = 1.0, rate: int = 16000, hertz: float = 440) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        wave_form = 8000 * np.sin(np.arange(round(seconds * rate)) * (hertz * math.tau / rate))
        file.writeframes(np.rint(wave_form).astype("<i2").tobytes())
    return path


def stub_video(path: Path, seconds: int = 1, title: str = "", hertz: int = 440) -> bytes:
    """Encode some seconds of real video with the sound of `write_sound`, or another tone."""
    import subprocess

    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    command += ["-f", "lavfi", "-i", f"testsrc=d={seconds}:s=64x64:r=30"]
    command += ["-f", "lavfi", "-i", f"sine=d={seconds}:frequency={hertz}", "-pix_fmt", "yuv420p"]
    command += ["-metadata", f"title={title}", str(path)]
    subprocess.run(command, check=True)
    return path.read_bytes()


def first_frame(path: Path) -> Image.Image:
    """Return a video's first frame."""
    import av

    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_image()


def write_namesakes(folder: Path) -> None:
    """Write modules into a folder that end any program of ours that imports them from there."""
    for name in ("cloudburst/__init__.py", "random.py", "numpy.py", "yaml.py"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise SystemExit('imported from the folder where the user is')\n")


def scenes_yaml(count: int, more: str = "", scene: str = "") -> str:
    """Return the text of a job of so many scenes, all with the same picture and sound."""
    lines = "".join(
        f"  - {{name: s{number:02d}, image: p.png, audio: a.wav{scene}}}\n"
        for number in range(1, count + 1)
    )
    return f"version: 1\n{more}scenes:\n{lines}"
