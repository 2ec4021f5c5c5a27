"""The video API as a server: many clients, a bounded queue, a graceful end, a browser, a GPU."""

from __future__ import annotations

import base64
import json
import os
import queue
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import imageio_ffmpeg
import psutil
import pytest
import requests

from cloudburst import media
from cloudburst.videoapi.admission import slots
from cloudburst.videoapi.app import Server, Settings, Store
from tests.support.inputs import EXAMPLE, write_picture, write_sound
from tests.support.patience import SOON
from tests.support.runs import jumping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.video


class Running:
    """A server in a process of its own, whose log is read as it goes."""

    def __init__(self, work: Path, *options: str, **env: str) -> None:
        self.work = work
        self.log: list[str] = []
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "cloudburst.videoapi", "--port", "0"),
                *("--work", str(work), *options),
            ],
            env={**os.environ, **env},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stderr is not None
        self.url = self.process.stderr.readline().split()[-1]
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.log += self.process.stderr

    def post(self, body: dict[str, Any], **more: Any) -> requests.Response:
        url = f"{self.url}/create_video_onestep"
        return requests.post(url, json=body, **({"timeout": 120} | more))  # noqa: S113

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(40)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def make(*options: str, **env: str) -> Running:
        made.append(Running(tmp_path / f"work{len(made)}", *options, **env))
        return made[-1]

    yield make
    for running in made:
        running.end(signal.SIGKILL)


def b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def body(tmp_path: Path, seconds: float = 0.2, **more: Any) -> dict[str, Any]:
    return {
        "input_image": b64(write_picture(tmp_path / "p.png")),
        "input_audio": b64(write_sound(tmp_path / "a.wav", seconds, rate=8000)),
    } | more


@pytest.mark.slow
def test_many_clients_lose_nothing_in_fair_order_and_bounded_memory(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    """benchmarks/load.py does the same with 500 requests."""
    running = start("--slots", "2", "--queue", "32")
    sent = body(tmp_path)
    running.post(sent)
    process = psutil.Process(running.process.pid)
    first = process.memory_info().rss
    turns: list[int] = []

    def client(number: int) -> list[int]:
        answers = []
        for _ in range(5):
            answers.append(running.post(sent).status_code)
            turns.append(number)
        return answers

    with ThreadPoolExecutor(16) as pool:
        answers = [status for many in pool.map(client, range(16)) for status in many]
    assert Counter(answers) == {200: 80}
    # Served in turn: when half of all is done, nobody has had all or nothing.
    half = Counter(turns[:40])
    assert len(half) == 16
    assert max(half.values()) <= 4
    assert process.memory_info().rss - first < 200 * 1024**2
    health = requests.get(f"{running.url}/health", timeout=10).json()
    assert (health["in_flight"], health["queued"]) == (0, 0)


def test_a_full_line_answers_429_and_health_still_answers(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    running = start("--slots", "1", "--queue", "1")
    slow = body(tmp_path, 30, effects=["zoom_in"])
    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(running.post, slow) for _ in range(2)]
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            said = requests.get(f"{running.url}/health", timeout=5).json()
            if (said["in_flight"], said["queued"]) == (1, 1):
                break
            time.sleep(0.05)
        answer = running.post(body(tmp_path))
        assert answer.status_code == 429
        assert "too many requests wait" in answer.json()["error"]
        running.end(signal.SIGKILL)
        for one in sent:
            with pytest.raises(requests.ConnectionError):
                one.result()


def test_a_client_that_goes_away_ends_its_render(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    running = start("--slots", "1")
    with pytest.raises(requests.ReadTimeout):
        running.post(body(tmp_path, 900, effects=["zoom_in"]), timeout=2)
    began = time.monotonic()
    assert running.post(body(tmp_path)).status_code == 200
    assert time.monotonic() - began < SOON / 2, "the slot is free again at once"
    children = psutil.Process(running.process.pid).children(recursive=True)
    assert [child for child in children if child.status() != psutil.STATUS_ZOMBIE] == []
    assert len(list(running.work.iterdir())) == 1


@pytest.mark.parametrize("by", [7200.0, -7200.0])
def test_a_clock_that_is_set_closes_no_connection(
    start: Callable[..., Running], tmp_path: Path, by: float
) -> None:
    jump, environment = jumping(tmp_path, by)
    running = start("--timeout", "60", **environment)
    content = json.dumps(body(tmp_path)).encode()
    head = (
        "POST /create_video_onestep HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    where = urlsplit(running.url)
    with socket.create_connection((str(where.hostname), where.port or 0), SOON) as connection:
        connection.sendall(head.encode() + content[:100])
        assert requests.get(f"{running.url}/health", timeout=SOON).ok
        jump.touch()
        # The server closes idle connections whenever it accepts one.
        assert requests.get(f"{running.url}/health", timeout=SOON).ok
        connection.sendall(content[100:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["success"] is True


def test_a_body_that_is_too_large_is_413(tmp_path: Path) -> None:
    server = Server(Settings(tmp_path / "work", max_body=1000))
    answer = server.app.test_client().post("/create_video_onestep", data=b"x" * 2000)
    assert answer.status_code == 413
    assert answer.json is not None
    assert "Too Large" in answer.json["error"]


def test_a_render_that_takes_too_long_is_ended(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    running = start("--timeout", "1")
    answer = running.post(body(tmp_path, 120, effects=["zoom_in"]))
    assert answer.status_code == 500
    assert answer.json()["error"] == "the render took longer than 1 s and was ended"
    assert list(running.work.iterdir()) == []


def test_a_graceful_end_lets_renders_finish_and_takes_nothing_new(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    running = start("--slots", "1", "--grace", "30")
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(running.post, body(tmp_path, 8, effects=["zoom_in"]))
        time.sleep(1)
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert running.post(body(tmp_path)).status_code == 503
        assert sent.result().status_code == 200
    running.process.wait(SOON)
    assert not running.work.exists()


def test_the_log_has_requests_and_no_secrets(start: Callable[..., Running], tmp_path: Path) -> None:
    running = start(AUTHENTICATION_KEY="the-secret-key")
    headers = {"X-Authentication-Key": "the-secret-key"}
    sent = body(tmp_path)
    answer = running.post(sent, headers=headers)
    assert answer.status_code == 200
    assert running.post(sent, headers={"X-Authentication-Key": "guess"}).status_code == 401
    running.end(signal.SIGKILL)
    text = "".join(running.log)
    line = next(line for line in running.log if answer.headers["X-Request-Id"] in line)
    assert re.search(
        r"scenario=baseline method=POST path=create_video_onestep status=200 seconds=\d", line
    )
    assert "status=401" in text
    assert "the-secret-key" not in text
    assert "guess" not in text
    assert sent["input_audio"][:40] not in text


def test_the_placeholder_of_the_public_image_is_no_key(tmp_path: Path) -> None:
    placeholder = "your-authentication-key-placeholder-uuid-here"
    server = Server(Settings(tmp_path / "work", key=placeholder))
    client = server.app.test_client()
    assert client.get("/cleanup").status_code == 200
    assert client.get("/health").json["authentication"]["mode"] == "default"  # type: ignore[index]


def test_files_expire(tmp_path: Path) -> None:
    now = 1000.0
    store = Store(3600.0, lambda: now)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "video.mp4").touch()
    first = store.add(tmp_path / "a" / "video.mp4", "a.mp4")
    now += 1800
    second = store.add(tmp_path / "b" / "video.mp4", "b.mp4")
    assert store.get(first) is not None
    now += 1800
    assert store.get(first) is None
    assert not (tmp_path / "a").exists()
    assert store.get(second) is not None
    now += 1800
    assert store.expire() == 1
    assert len(store) == 0


# -- a browser ----------------------------------------------------------------------------------

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


PAGE = """<script>
const said = [];
for (const name of ['held', 'moving']) {
  const v = document.createElement('video');
  v.muted = true; v.src = name + '.mp4';
  v.onended = () => {
    said.push([name, v.videoWidth, v.videoHeight, v.duration.toFixed(1),
               v.getVideoPlaybackQuality().totalVideoFrames > 5]);
    if (said.length == 2) fetch('/said', {method: 'POST', body: JSON.stringify(said.sort())});
  };
  v.onerror = () => fetch('/said', {method: 'POST', body: name + ': ' + v.error.message});
  v.play();
}
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_a_browser_plays_it(start: Callable[..., Running], tmp_path: Path) -> None:
    running = start()
    photo = EXAMPLE.parent / "pictures" / "dandelions.jpg"
    pages = {"/": ("text/html", PAGE.encode())}
    for name, more in (("held", {}), ("moving", {"effects": ["zoom_in"]})):
        answer = running.post(body(tmp_path, 1.0, **more) | {"input_image": b64(photo)})
        video = requests.get(running.url + answer.json()["download_endpoint"], timeout=30).content
        pages[f"/{name}.mp4"] = ("video/mp4", video)
    said: queue.Queue[str] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, data = pages.get(self.path, ("text/plain", b""))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            said.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = subprocess.Popen(
        [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0"),
            *(f"--user-data-dir={tmp_path / 'profile'}",),
            f"http://127.0.0.1:{server.server_address[1]}/",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        told = json.loads(said.get(timeout=90))
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
        server.shutdown()
        server.server_close()
    assert told == [["held", 1920, 1080, "1.0", True], ["moving", 1920, 1080, "1.0", True]]


# -- a GPU --------------------------------------------------------------------------------------


def pretend_gpu(tmp_path: Path, *, works: bool) -> Path:
    """Stand in for ffmpeg on a machine with a GPU: its encoder is x264, or breaks on real work."""
    real = imageio_ffmpeg.get_ffmpeg_exe()
    on_real_work = "break" if works else "exit 1"
    script = tmp_path / "ffmpeg"
    script.write_text(f"""#!/bin/bash
args=()
while [ $# -gt 0 ]; do
  case "$1" in
    h264_nvenc) echo nvenc >> {tmp_path}/calls; args+=(libx264)
      [[ "$*" == *video.mp4* ]] && for _ in 1; do {on_real_work}; done ;;
    p4) args+=(veryfast) ;;
    -cq) args+=(-crf) ;;
    *) args+=("$1") ;;
  esac
  shift
done
exec {real} "${{args[@]}}"
""")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


@pytest.mark.parametrize("works", [True, False])
def test_a_gpu_is_used_when_it_works_and_done_without_when_not(
    start: Callable[..., Running], tmp_path: Path, works: bool
) -> None:
    running = start(IMAGEIO_FFMPEG_EXE=str(pretend_gpu(tmp_path, works=works)))
    health = requests.get(f"{running.url}/health", timeout=20).json()
    assert health["gpu_available"] is True
    assert health["capacity"] == slots(os.cpu_count() or 1, nvenc=True)
    answer = running.post(body(tmp_path, 1.0, effects=["pan_left"]))
    assert answer.status_code == 200, answer.text
    assert (tmp_path / "calls").read_text().count("nvenc") == 2, "once to look, once to encode"
    video = requests.get(running.url + answer.json()["download_endpoint"], timeout=30).content
    (tmp_path / "v.mp4").write_bytes(video)
    assert media.inspect_video(tmp_path / "v.mp4").frames == 30
