"""Download a video: .part file, verification, atomic rename."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from cloudburst import media
from cloudburst.errors import ArtifactInvalid
from cloudburst.files import sync_folder
from cloudburst.job.fingerprint import file_digest
from cloudburst.language import tr
from cloudburst.models import Artifact

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst.models import Scene
    from cloudburst.workers.client import VideoApi
    from cloudburst.workers.messages import Rendered

TOLERANCE = 0.1
# The public image shows a still up to two seconds longer than its narration lasts.
LONGEST_TAIL = 2.5


def download(
    api: VideoApi,
    rendered: Rendered,
    scene: Scene,
    folder: Path,
    *,
    worker: str,
    wanted: Callable[[], bool],
) -> tuple[Artifact, str] | None:
    """Download and verify one video.

    Until it is verified, its name is ``<scene>.mp4.<worker>.part``; a file named ``<scene>.mp4`` is
    complete, on disk, and the video of its scene.

    Args:
        api: the worker's video API.
        rendered: the video on the worker.
        scene: scene of the video.
        folder: destination folder.
        worker: label of the worker, so that two workers never write the same file.
        wanted: called once, after the download; False discards the video, since another worker
            has taken over its scene.

    Returns:
        The video and the SHA-256 of its bytes, or None if it was no longer wanted.

    Raises:
        ArtifactInvalid: the file is not the video of the scene, or cannot be written.
        WorkerUnreachable: the worker does not answer any more.
    """
    path = folder / f"{scene.name}.mp4"
    part = path.with_name(f"{path.name}.{worker}.part")
    try:
        api.fetch(rendered, part)
        if not wanted():
            return None
        artifact = verify(part, scene)
        digest = file_digest(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(folder)
    except OSError as error:
        raise ArtifactInvalid(
            tr("{file} cannot be written: {reason}", file=path, reason=error.strerror or error)
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return as_artifact(path, artifact), digest


def as_artifact(path: Path, video: media.VideoInfo) -> Artifact:
    """Return the description of a verified file."""
    return Artifact(
        path=path,
        size=video.size,
        seconds=video.seconds,
        width=video.width,
        height=video.height,
        frames=video.frames,
    )


def verify(path: Path, scene: Scene) -> media.VideoInfo:
    """Check that a file is a decodable MP4 with both streams, and with the narration as its sound.

    The picture may last a little longer than the sound, as with the public image, but it must not
    end before it.

    Raises:
        ArtifactInvalid: the file fails a check.
    """
    try:
        video = media.inspect_video(path)
    except (ValueError, ArithmeticError) as error:
        # Besides `MediaError`: a damaged file may raise other errors of text or arithmetic.
        raise ArtifactInvalid(
            tr("the downloaded video is damaged: {reason}", reason=error)
        ) from error
    complete_sound = abs(video.sound_seconds - scene.seconds) <= TOLERANCE
    if (
        not complete_sound
        or not -TOLERANCE <= video.picture_seconds - scene.seconds <= LONGEST_TAIL
    ):
        raise ArtifactInvalid(
            tr(
                "the downloaded video has the wrong length: video {video:.2f} s, "
                "audio {audio:.2f} s, narration {narration:.2f} s",
                video=video.picture_seconds,
                audio=video.sound_seconds,
                narration=scene.seconds,
            )
        )
    _check_sound(path, scene)
    return video


def _check_sound(path: Path, scene: Scene) -> None:
    """Check that a video has the sound of its scene's narration, not that of another scene.

    Raises:
        ArtifactInvalid: it has not, or the narration cannot be read any more.
    """
    try:
        wrong = media.first_difference(media.compare(scene.audio, path))
    except (OSError, ValueError, ArithmeticError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArtifactInvalid(
            tr(
                "the downloaded video's sound cannot be compared with {file}: {reason}",
                file=scene.audio.name,
                reason=reason,
            )
        ) from error
    if wrong is not None:
        raise ArtifactInvalid(
            tr(
                "the downloaded video has another sound than {file}: from {start:.0f} s on, "
                "likeness {likeness:.2f} (expected at least {least}), {found:.0f} dB (the "
                "narration has {expected:.0f} dB)",
                file=scene.audio.name,
                start=wrong.start,
                likeness=wrong.likeness,
                least=media.LEAST_LIKENESS,
                found=_decibels(wrong.found),
                expected=_decibels(wrong.expected),
            )
        )


def _decibels(loudness: float) -> float:
    """Return a loudness relative to full scale; that of 16-bit silence is the lowest."""
    return 20 * math.log10(max(loudness, 1 / 32768))
