"""A video of a picture that was shrunk to be sent is as good as one of the whole picture."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from benchmarks.render import lossless, vmaf
from cloudburst.models import Scene, VideoOptions
from cloudburst.workers import pictures
from tests.support.inputs import EXAMPLE, write_sound

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = sorted((EXAMPLE.parent / "pictures").glob("*.jpg"))


@pytest.mark.slow
@pytest.mark.video
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("effects", [("zoom_in",), ("random",)], ids=lambda names: names[0])
def test_vmaf_of_a_shrunk_picture_against_the_whole_one(
    tmp_path: Path, example: Path, effects: tuple[str, ...]
) -> None:
    """Where chance decides, a picture for the larger canvas is drawn on the smaller one."""
    with Image.open(example) as picture:
        large = picture.convert("RGB").resize((picture.width * 2, picture.height * 2))
    large.save(tmp_path / "large.png", compress_level=1)
    sound = write_sound(tmp_path / "a.wav", 0.7)
    scene = Scene("s", tmp_path / "large.png", sound, 0.7, VideoOptions(effects=effects))
    whole = scene.image.read_bytes()
    sent, _ = pictures.read(scene, shrink=True)
    assert len(sent) < len(whole) / 2
    videos = [frames(tmp_path / name, data, sound) for name, data in (("w", whole), ("s", sent))]
    same = videos[0].read_bytes() == videos[1].read_bytes()
    assert same is (effects == ("zoom_in",))
    if not same:
        # The mean: the first frame of any video has 97.4, even against itself, for want of motion.
        mean, _ = vmaf(videos[1], videos[0], tmp_path)
        assert mean >= 99


def frames(folder: Path, picture: bytes, sound: Path) -> Path:
    folder.mkdir()
    body = {
        "input_image": base64.b64encode(picture).decode(),
        "input_audio": base64.b64encode(sound.read_bytes()).decode(),
        "effects": ["zoom_in"],
    }
    return lossless(body, folder)
