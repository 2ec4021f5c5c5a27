"""The same cases against our server and the public image's, and each one's client on the other.

`DIFFERENCES` lists every deliberate difference; docs/protocol.md gives the reasons.
"""

from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import av
import pytest
import requests
from PIL import Image

from cloudburst import media
from cloudburst.models import Scene, VideoOptions, Worker
from cloudburst.workers.client import VideoApi
from cloudburst.workers.download import verify
from tests.support import peer
from tests.support.inputs import SRT, write_picture, write_sound
from tests.support.patience import SOON
from tests.support.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "secret"
HEADERS = {"X-Authentication-Key": KEY}
pytestmark = [
    pytest.mark.video,
    pytest.mark.skipif(peer.missing() is not None, reason=str(peer.missing())),
    # One worker for the whole module: the peer is started once.
    pytest.mark.xdist_group("peer"),
]


class Case(NamedTuple):
    """A request, and what both must answer."""

    method: str
    path: str
    body: dict[str, Any] | None
    headers: dict[str, str]
    status: int


CASES = {
    "health": Case("GET", "/health", None, {}, 200),
    "no key": Case("POST", "/create_video_onestep", {"input_image": "x"}, {}, 401),
    "wrong key": Case(
        "POST", "/create_video_onestep", {}, {"X-Authentication-Key": "wrong"}, 401
    ),
    "empty body": Case("POST", "/create_video_onestep", {}, HEADERS, 400),
    "unknown file": Case("GET", "/download/none", None, HEADERS, 404),
    "cleanup": Case("GET", "/cleanup", None, HEADERS, 200),
    "wrong method": Case("GET", "/create_video_onestep", None, HEADERS, 405),
    "unknown path": Case("GET", "/nothing", None, HEADERS, 404),
}  # fmt: skip

# Where we answer otherwise: case → (ours, theirs).
DIFFERENCES = {
    "no picture": (400, 500),
    "no sound": (400, 500),
    "a path on the server": (400, 200),
    "download without the key": (401, 404),
    "clean-up without the key": (401, 200),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("conformance")
    with peer.server(folder, KEY) as (theirs, _):
        process, url = serve(folder / "ours", AUTHENTICATION_KEY=KEY)
        yield {"ours": url, "theirs": theirs}
        process.terminate()
        process.communicate(timeout=SOON)


def ask(url: str, case: Case) -> requests.Response:
    return requests.request(
        case.method, url + case.path, json=case.body, headers=case.headers, timeout=60
    )


@pytest.mark.parametrize("name", CASES)
def test_both_answer_alike(servers: dict[str, str], name: str) -> None:
    ours, theirs = (ask(servers[side], CASES[name]) for side in ("ours", "theirs"))
    assert (ours.status_code, theirs.status_code) == (CASES[name].status, CASES[name].status)
    if not theirs.headers["Content-Type"].startswith("application/json"):
        return
    mine, other = ours.json(), theirs.json()
    if name == "health":
        # Paths on the server are nobody's business; what we add is ours.
        assert set(other) - set(mine) == {"output_dir", "temp_dir"}
        assert set(mine) - set(other) == {"version", "capacity", "in_flight", "queued"}
        for key in ("status", "authentication", "available_endpoints", "gpu_available"):
            assert mine[key] == other[key]
    else:
        assert mine == other


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    (folder / "s.srt").write_text(SRT)
    return {
        "image": write_picture(folder / "p.png", (1920, 1080)),
        "audio": write_sound(folder / "a.wav", 1.0, rate=44100),
        "subtitle": folder / "s.srt",
    }


def b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "subtitle", "effects"),
    [
        ("baseline", False, []),
        ("subtitles_only", True, []),
        ("effects_only", False, ["zoom_in"]),
        ("full_featured", True, ["zoom_out"]),
    ],
)
def test_both_render_the_same_video(
    servers: dict[str, str],
    files: dict[str, Path],
    tmp_path: Path,
    scenario: str,
    subtitle: bool,
    effects: list[str],
) -> None:
    body = {
        "input_image": b64(files["image"]),
        "input_audio": b64(files["audio"]),
        "effects": effects,
        "output_filename": "a b.mp4",
    } | ({"subtitle": b64(files["subtitle"])} if subtitle else {})
    videos = {}
    for side, url in servers.items():
        case = Case("POST", "/create_video_onestep", body, HEADERS, 200)
        answer = ask(url, case)
        said = answer.json()
        assert answer.status_code == 200, (side, said)
        known = {"success", "file_id", "download_endpoint", "filename", "size", "scenario"}
        assert set(said) - {"warnings"} == known
        assert (said["success"], said["scenario"], said["filename"]) == (True, scenario, "a b.mp4")
        assert said["download_endpoint"] == f"/download/{said['file_id']}"
        got = requests.get(url + said["download_endpoint"], headers=HEADERS, timeout=30)
        assert got.headers["Content-Type"] == "video/mp4"
        assert got.headers["Content-Disposition"] == 'attachment; filename="a b.mp4"'
        assert len(got.content) == said["size"]
        path = tmp_path / f"{side}.mp4"
        path.write_bytes(got.content)
        videos[side] = media.inspect_video(path)
    ours, theirs = videos["ours"], videos["theirs"]
    for name in ("width", "height", "fps", "video_codec", "audio_codec", "sample_rate"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.seconds == pytest.approx(1.0, abs=0.05)
    # Their stills run on after the sound: `-shortest` ends a looped picture late.
    assert theirs.seconds > 0.9
    for side in videos:
        verify(tmp_path / f"{side}.mp4", Scene("s", tmp_path, files["audio"], 1.0))


@pytest.mark.slow
def test_every_deliberate_difference_is_as_listed(
    servers: dict[str, str], files: dict[str, Path]
) -> None:
    image, audio = b64(files["image"]), b64(files["audio"])
    path = str(files["image"])
    create = "/create_video_onestep"
    cases = {
        "no picture": Case("POST", create, {"input_audio": audio}, HEADERS, 0),
        "no sound": Case("POST", create, {"input_image": image}, HEADERS, 0),
        "a path on the server": Case(
            "POST", create, {"input_image": path, "input_audio": audio}, HEADERS, 0
        ),
        "download without the key": Case("GET", "/download/none", None, {}, 0),
        "clean-up without the key": Case("GET", "/cleanup", None, {}, 0),
    }
    found = {
        name: (ask(servers["ours"], case).status_code, ask(servers["theirs"], case).status_code)
        for name, case in cases.items()
    }
    assert found == DIFFERENCES


def test_our_client_drives_their_server(
    servers: dict[str, str], files: dict[str, Path], tmp_path: Path
) -> None:
    api = VideoApi(Worker("s", "1", servers["theirs"], KEY, 1))
    assert api.healthy() is None
    # Their ffmpeg cannot loop a GIF, and would show black where it is transparent.
    picture = Image.new("RGBA", (1920, 1080))
    picture.paste((230, 20, 40, 255), (0, 0, 960, 1080))
    picture.save(tmp_path / "half.gif")
    options = VideoOptions(
        language="english", subtitle=files["subtitle"], background_color="#1040e0"
    )
    scene = Scene("one", tmp_path / "half.gif", files["audio"], 1.0, options)
    rendered = api.render(scene, 60)
    assert rendered.scenario == "subtitles_only"
    api.fetch(rendered, tmp_path / "v.mp4")
    video = media.inspect_video(tmp_path / "v.mp4")
    assert (video.width, video.height, video.video_codec) == (1920, 1080, "h264")
    with av.open(tmp_path / "v.mp4") as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert abs(frame[100, 480].astype(int) - (230, 20, 40)).max() < 12
    assert abs(frame[100, 1440].astype(int) - (0x10, 0x40, 0xE0)).max() < 12


@pytest.mark.slow
def test_their_client_drives_our_server(tmp_path: Path, files: dict[str, Path]) -> None:
    """In default mode: their client downloads without its key, which ours asks for."""
    python = peer.interpreter()
    process, url = serve(tmp_path / "work")
    program = f"""
from video_generation_api.api_client import VideoGenerationClient
client = VideoGenerationClient({url!r})
assert client.health_check()["status"] == "healthy"
for more in ({{}}, {{"subtitle_path": {str(files["subtitle"])!r}}}, {{"effects": ["random"]}}):
    said = client.create_video({str(files["image"])!r}, {str(files["audio"])!r},
                               output_path={str(tmp_path / "v.mp4")!r}, **more)
    assert said["success"] and said["local_path"], said
assert client.cleanup_expired_files()["active_files"] == 3
"""
    done = subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=False)
    process.terminate()
    process.communicate(timeout=SOON)
    assert done.returncode == 0, done.stderr
    assert media.inspect_video(tmp_path / "v.mp4").frames == 30
