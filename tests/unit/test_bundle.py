"""What is sent to a rented machine so that it becomes this installation's video API."""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from cloudburst.targets import bundle
from cloudburst.targets.bundle import ARCHIVE, LOCK
from cloudburst.videoapi.typefaces import fonts

ROOT = Path(__file__).parents[2]
TIFINAGH = "NotoSansTifinagh-Regular.ttf"


def names(wanted: frozenset[str] | None = None) -> set[str]:
    with zipfile.ZipFile(io.BytesIO(bundle.bundle(wanted).files[ARCHIVE])) as archive:
        assert archive.testzip() is None
        return set(archive.namelist())


def test_the_modules_are_those_of_the_server_and_none_of_the_run() -> None:
    found = set(bundle.modules())
    assert {"cloudburst", "cloudburst.videoapi.render", "cloudburst.media.sound"} <= found
    packages = {name.split(".")[1] for name in found if "." in name}
    assert packages == {"videoapi", "media", "language", "version"}


def test_all_that_the_modules_import_is_in_the_lock() -> None:
    locked = set(re.findall(r"^([a-z0-9-]+)==", bundle.lock().decode(), re.MULTILINE))
    distributions = packages_distributions()
    imported = set()
    for file in bundle.modules().values():
        tree = ast.parse(file.read_bytes())
        imported |= {name.split(".")[0] for name in bundle._imports(tree)}
    foreign = imported - {"cloudburst"} - set(sys.stdlib_module_names)
    assert {"PIL", "av", "flask", "waitress"} <= foreign
    for name in foreign:
        (package,) = set(distributions[name])
        assert package.lower().replace("_", "-") in locked, name


def test_the_lock_is_the_container_s_own() -> None:
    assert bundle.lock() == (ROOT / "tools" / "container" / "requirements.lock").read_bytes()


def test_every_file_of_the_video_api_is_in_the_archive() -> None:
    folder = ROOT / "cloudburst" / "videoapi"
    files = {
        f"cloudburst/videoapi/{path.relative_to(folder).as_posix()}"
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files - names() == set()
    assert "cloudburst/locale/zh/LC_MESSAGES/cloudburst.po" in names()


def test_imports_for_type_checkers_are_left_out_and_those_in_functions_are_not() -> None:
    code = (
        "if TYPE_CHECKING:\n    import one\nelse:\n    import two\n"
        "def f():\n    from three import four\n"
        "try:\n    import five.six\nexcept ImportError:\n    pass\n"
    )
    found = list(bundle._imports(ast.parse(code)))
    assert found == ["two", "three", "three.four", "five.six"]


def test_the_same_installation_makes_the_same_bytes() -> None:
    code = "from cloudburst.targets.bundle import bundle; print(bundle().digests)"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": f"UTC+{seed}"}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == str(bundle.bundle().digests)


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("十月，落叶松变成铜色。 In October, 3 larches – ünïcode", set()),
        ("中文 ⵜⴰⵎⴰⵣⵉⵖⵜ", {TIFINAGH}),
        ("👩\u200d🚀 🇨🇳", set()),
        ("", set()),
    ],
)
def test_only_fonts_that_a_text_needs_are_sent(text: str, needed: set[str]) -> None:
    assert fonts.own_files(text) == needed


def test_the_archive_has_the_fonts_that_are_wanted() -> None:
    def ttf(found: set[str]) -> set[str]:
        return {name.rpartition("/")[2] for name in found if name.endswith(".ttf")}

    assert ttf(names()) == {path.name for path in fonts._OWN.glob("*.ttf")}
    assert ttf(names(frozenset({TIFINAGH}))) == {TIFINAGH}
    assert names() - names(frozenset()) == {
        f"cloudburst/videoapi/typefaces/noto/{path.name}" for path in fonts._OWN.glob("*.ttf")
    }
    # A slow line takes it in a second.
    assert bundle.bundle(frozenset()).size < 250_000
    assert set(bundle.bundle().files) == {ARCHIVE, LOCK}
