"""Camera motion: where a frame's pixels come from, and how much of their detail is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from cloudburst.videoapi import motion
from tests.support.inputs import EXAMPLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Luma = NDArray[np.float64]
    Pattern = Callable[[Luma, Luma], Luma]

SIZE = (480, 272)
COUNT = 60
SHOWN = (0, 1, 13, 30, 46, COUNT - 1)
BLOCK = 16


def coordinates(size: tuple[int, int]) -> tuple[Luma, Luma]:
    """Return where pixels are, from the centre of their plane."""
    x, y = (np.arange(length) - (length - 1) / 2 for length in size)
    return np.meshgrid(x, y)


def planes(moved: str, pattern: Pattern) -> list[NDArray[np.uint8]]:
    width, height = motion.canvas_size(moved, SIZE)
    sizes = [(width, height), *[(width // 2, height // 2)] * 2]
    return [np.rint(pattern(*coordinates(size))).astype(np.uint8) for size in sizes]


def drawn(moved: str, pattern: Pattern, index: int) -> list[Luma]:
    """Return the planes of a frame."""
    source = motion.source(planes(moved, pattern), moved)
    part = range(index, index + 1)
    (frame,) = motion.frames(source, moved, SIZE, COUNT, 1, part)
    values, found = np.frombuffer(frame, np.uint8).astype(float), []
    for width, height in (SIZE, *[(SIZE[0] // 2, SIZE[1] // 2)] * 2):
        found.append(values[: width * height].reshape(height, width))
        values = values[width * height :]
    return found


def expected(moved: str, pattern: Pattern, index: int) -> list[Luma]:
    """Return the pattern itself where the frame's pixels are on the canvas."""
    progress = index / (COUNT - 1)
    found = []
    for part in (1, 2, 2):
        x, y = coordinates((SIZE[0] // part, SIZE[1] // part))
        if motion.is_pan(moved):
            free = (motion.canvas_size(moved, SIZE)[0] - SIZE[0]) / 2 / part
            x = x + free * motion.shift_at(moved, progress)
        else:
            zoom = motion.zoom_at(moved, progress)
            x, y = x / zoom, y / zoom
        found.append(pattern(x, y))
    return found


def smooth(x: Luma, y: Luma) -> Luma:
    return 128 + 50 * np.sin(x * 0.3 + y * 0.07) + 50 * np.cos(y * 0.25 - x * 0.04)


def fine(x: Luma, y: Luma) -> Luma:
    """Draw lines three pixels apart."""
    return 128 + 80 * np.sin(x * 2.0 + y * 0.1)


@pytest.mark.parametrize("moved", motion.MOTIONS)
@pytest.mark.parametrize("index", SHOWN)
def test_every_pixel_comes_from_where_the_motion_says(moved: str, index: int) -> None:
    # A shift by a fifteenth of a pixel changes the pattern by one level.
    wanted = expected(moved, smooth, index)
    for found, plane in zip(drawn(moved, smooth, index), wanted, strict=True):
        inner = (slice(4, -4), slice(4, -4))
        assert np.abs(found - plane)[inner].mean() < 0.5
        assert np.abs(found - plane)[inner].max() < 2.5
        assert np.abs(found - plane).max() < 12  # the canvas ends here


@pytest.mark.parametrize("moved", motion.MOTIONS)
def test_fine_detail_is_kept_equally_everywhere_and_always(moved: str) -> None:
    # Linear interpolation of the canvas would leave half of it where pixels fall between those of
    # the canvas: stripes in a zoom, flicker in a pan.
    contrasts = []
    for index in SHOWN:
        luma = drawn(moved, fine, index)[0]
        rows, columns = luma.shape[0] // BLOCK, luma.shape[1] // BLOCK
        blocks = luma[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
        contrasts.append(blocks.std(axis=(1, 3)))
    full = 80 / np.sqrt(2)
    assert np.min(contrasts) > 0.8 * full
    assert np.max(contrasts) < 1.1 * full


@pytest.mark.parametrize(("moved", "first"), [("pan_right", 0), ("pan_left", COUNT - 1)])
def test_a_pan_shows_the_canvas_itself_up_to_its_edge(moved: str, first: int) -> None:
    canvas = planes(moved, fine)[0]
    top = (canvas.shape[0] - SIZE[1]) // 2
    view = canvas[top : top + SIZE[1]]
    assert np.array_equal(drawn(moved, fine, first)[0], view[:, : SIZE[0]])
    assert np.array_equal(drawn(moved, fine, COUNT - 1 - first)[0], view[:, -SIZE[0] :])


# -- drawings -----------------------------------------------------------------------------------


def lines(step: int, width: int = 2) -> NDArray[np.uint8]:
    """Return black lines on white, sharp, across the picture."""
    luma = np.full((540, 960), 235, np.uint8)
    for top in range(5, 540, step):
        luma[top : top + width] = 16
    return luma


def noise(grain: float) -> NDArray[np.uint8]:
    values = np.random.default_rng(3).normal(128, grain, (540, 960))
    return np.asarray(np.clip(values, 16, 235), np.uint8)


PICTURES = sorted((EXAMPLE.parent / "pictures").glob("*.jpg"))


@pytest.mark.parametrize("luma", [lines(40), np.ascontiguousarray(lines(40).T)])
def test_a_drawing_is_known_by_sharp_edges_beside_even_places(luma: NDArray[np.uint8]) -> None:
    assert motion.is_drawing(luma)
    # As it is stored, with the traces of JPEG.
    stored = cv2.imdecode(cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], 0)
    assert motion.is_drawing(np.asarray(stored, np.uint8))
    # Without the sharp edges a decoder can move it.
    assert not motion.is_drawing(np.asarray(cv2.GaussianBlur(luma, (0, 0), 1.0), np.uint8))


@pytest.mark.parametrize("grain", [0, 2, 8, 40])
def test_noise_is_no_drawing(grain: float) -> None:
    assert not motion.is_drawing(noise(grain))


@pytest.mark.parametrize("grain", [0, 3])
@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_photographs_are_no_drawings(path: Path, grain: float) -> None:
    luma = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.float64)
    luma += np.random.default_rng(4).normal(0, grain, luma.shape)
    assert not motion.is_drawing(np.asarray(np.clip(luma, 0, 255), np.uint8))


def test_a_picture_lower_than_a_strip_is_no_drawing() -> None:
    assert not motion.is_drawing(lines(4)[:16])
