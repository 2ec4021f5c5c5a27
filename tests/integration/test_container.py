"""The container's steps, as far as they can be taken without a container engine.

The image itself has not been built by this project's tests: no engine runs where they do.
"""

from __future__ import annotations

import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_wheel_and_the_locked_requirements_make_a_server(tmp_path: Path) -> None:
    """Take the Dockerfile's own commands: build the wheel, install, serve, be healthy."""
    text = (ROOT / "Dockerfile").read_text()
    assert "pip wheel --no-cache-dir --no-deps --wheel-dir /wheels ." in text
    assert "--require-hashes -r /tmp/requirements.lock" in text
    run = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*run, "--wheel-dir", str(tmp_path), str(ROOT)], check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    # What is sent to a rented machine is made from an installed wheel, too.
    with zipfile.ZipFile(wheel) as opened:
        carried = opened.read("cloudburst_container/requirements.lock")
    assert carried == (ROOT / "tools" / "container" / "requirements.lock").read_bytes()
    venv.create(tmp_path / "venv", with_pip=True)
    pip = [str(tmp_path / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    lock = ROOT / "tools" / "container" / "requirements.lock"
    subprocess.run([*pip, "--require-hashes", "-r", str(lock)], check=True, timeout=300)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True, timeout=120)
    # The image has no fonts but those of the locked packages.
    code = "from cloudburst.videoapi.typefaces import fonts; print(fonts.face_for('中').file)"
    font = subprocess.run([pip[0], "-c", code], capture_output=True, check=True, text=True)
    assert font.stdout.startswith(str(tmp_path / "venv"))
    command = tmp_path / "venv" / "bin" / "cloudburst"
    process = subprocess.Popen(
        [str(command), "serve", "--host", "127.0.0.1", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert line.startswith("video API on "), line + process.stderr.read()
        said = requests.get(f"{line.split()[-1]}/health", timeout=20).json()
        assert said["status"] == "healthy"
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("needed", ["USER 10001", "HEALTHCHECK", "EXPOSE 5000"])
def test_the_image_is_not_root_and_checks_itself(needed: str) -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert needed in text
    # Nothing after the change of user may need root again.
    assert not re.search(r"^RUN", text.split("USER 10001")[1], re.MULTILINE)


def test_the_command_line_starts_with_nothing_but_what_the_image_has() -> None:
    """`cloudburst serve` in the image must not meet an import of the run's own libraries."""
    absent = "boto3 botocore dotenv grpc platformdirs psutil pulumi pydantic requests "
    absent += "tenacity yaml"
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {absent.split()}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import cloudburst.cli, cloudburst.videoapi.app\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
