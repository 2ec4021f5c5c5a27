"""A video comes home: .part file, verification, atomic rename."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cloudburst import media
from cloudburst.errors import ArtifactInvalid
from cloudburst.models import Artifact

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.models import Scene
    from cloudburst.worker import Rendered, VideoApi

TOLERANCE = 0.1


def download(api: VideoApi, rendered: Rendered, scene: Scene, folder: Path) -> Artifact:
    """Bring one video home.

    Until it is verified it is called ``<scene>.mp4.part``; a file called ``<scene>.mp4`` is
    whole, on disk, and the video of its scene.

    Raises:
        ArtifactInvalid: what came is not that video.
        WorkerGone: the worker does not answer any more.
    """
    path = folder / f"{scene.name}.mp4"
    part = path.with_name(f"{path.name}.part")
    try:
        api.fetch(rendered, part)
        artifact = verify(part, scene)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(folder)
    except OSError as error:
        raise ArtifactInvalid(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return Artifact(
        path=path,
        size=artifact.size,
        seconds=artifact.seconds,
        width=artifact.width,
        height=artifact.height,
        frames=artifact.frames,
    )


def _sync_folder(folder: Path) -> None:
    """Make a rename outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def verify(path: Path, scene: Scene) -> media.VideoInfo:
    """Check that a file is a decodable MP4 with both streams, as long as the narration.

    Raises:
        ArtifactInvalid: it is not.
    """
    try:
        video = media.inspect_video(path)
    except media.MediaError as error:
        raise ArtifactInvalid(f"the downloaded video is damaged: {error}") from error
    if abs(video.seconds - scene.seconds) > TOLERANCE:
        raise ArtifactInvalid(
            f"the video is {video.seconds:.2f} s long, the narration {scene.seconds:.2f} s"
        )
    return video
