"""A headless Chromium, where this machine has one, and real videos for it to play."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import imageio_ffmpeg
import pytest
from playwright.sync_api import sync_playwright

from tests.support.patience import SOON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Literal

    from playwright.sync_api import Browser, Page

# Debian's, Ubuntu's, Google's: the browser is not downloaded for the tests.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable() -> str | None:
    """Return the path of a Chromium, None when there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a headless Chromium; skip the test where there is none."""
    path = executable()
    if path is None:
        pytest.skip("no Chromium on PATH; on Debian and Ubuntu the package `chromium` has it")
    # Root may not use the sandbox, and tests may run as root in a container.
    options = [
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--autoplay-policy=no-user-gesture-required",
    ]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=options, timeout=SOON * 1000)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Shown:
    """A page in a browser, and what happened in it.

    Args:
        page: the page.
        problems: errors of its console and of its scripts, and dialogs that it opened.
        requests: addresses that it asked for.
    """

    page: Page
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def shown(
    browser: Browser,
    file: Path,
    *,
    scheme: Literal["light", "dark"] = "light",
    width: int = 1600,
    scripts: bool = True,
) -> Iterator[Shown]:
    """Show a file in a browser.

    Args:
        browser: from `chromium`.
        file: an HTML file.
        scheme: colours that the system asks for.
        width: pixels of the window.
        scripts: whether scripts run.
    """
    context = browser.new_context(
        color_scheme=scheme,
        viewport={"width": width, "height": 900},
        java_script_enabled=scripts,
        reduced_motion="reduce",
    )
    context.set_default_timeout(SOON * 1000)
    try:
        page = context.new_page()
        there = Shown(page)
        page.on("console", lambda message: there.problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: there.problems.append(str(error)))
        page.on("request", lambda request: there.requests.append(request.url))
        page.on("dialog", lambda dialog: (there.problems.append(dialog.message), dialog.dismiss()))
        page.goto(file.as_uri())
        yield there
    finally:
        context.close()


def until(page: Page, expression: str) -> None:
    """Wait until an expression is true; the page's policy forbids what Playwright has for that."""
    deadline = time.monotonic() + SOON
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"not true in {SOON:.0f} s: {expression}"
        page.wait_for_timeout(50)


def video(path: Path, seconds: float = 2.0, size: str = "320x180") -> None:
    """Write an H.264 video with sound, as the renderer's are."""
    subprocess.run(
        [
            imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y",
            "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=30:duration={seconds}",
            "-f", "lavfi", "-i", f"sine=duration={seconds}",
            "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", "-movflags", "+faststart",
            str(path),
        ],
        check=True,
    )  # fmt: skip
