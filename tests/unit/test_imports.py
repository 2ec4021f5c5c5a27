"""The direction of imports, and which module may know which library."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "cloudburst"

# A module imports only from layers below its own. docs/architecture.md shows the same.
LAYERS = [
    {"cli"},
    {"console", "doctor"},
    {"pipeline", "cleanup"},
    {"report"},
    {"audit", "leftovers"},
    {"batch"},
    {"launch", "budget"},
    {"drive", "teardown"},
    {"site"},
    {"targets"},
    {"resume", "summary"},
    {"engine", "dispatch", "download", "ledger", "timeline"},
    {"journal", "worker", "toolchain", "planner", "cost", "stop", "ladder", "estimate"},
    {"job", "pricing", "address"},
    {"schema", "yamltree", "videoapi", "registry", "history"},
    {"media", "places", "dotenv", "fingerprint"},
    {"errors"},
    {"models", "version", "clock"},
]
LIBRARIES = {
    "av": {"media"},
    "boto3": {"targets.ec2"},
    "botocore": {"targets.ec2"},
    "click": {"cli"},
    "cv2": {"videoapi.motion", "videoapi.canvas"},
    "dotenv": {"dotenv"},
    "flask": {"videoapi.app"},
    "grpc": {"targets.provider"},
    "imageio_ffmpeg": {"videoapi.ffmpeg", "doctor"},
    "platformdirs": {"places"},
    "pulumi": {"targets.provider", "engine"},
    "pydantic": {"schema"},
    "requests": {"worker"},
    "rich": {"console.after", "console.left", "console.live"},
    "sqlite3": {"journal"},
    "tenacity": {"teardown"},
    "waitress": {"videoapi.__main__"},
    "yaml": {"yamltree"},
}


STACKS = {
    "__future__",
    "cloudburst_stacks",
    "importlib",
    "jinja2",
    "pulumi",
    "pulumi_aws",
    "re",
    "shlex",
    "typing",
}


def modules() -> dict[str, ast.Module]:
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text())
        for path in PACKAGE.rglob("*.py")
    }


def imported(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer(module: str) -> int:
    name = module.split(".", maxsplit=1)[0]
    return next(index for index, names in enumerate(LAYERS) if name in names)


MODULES = modules()
INSIDE = sorted(set(MODULES) - {"__init__"})


def test_every_module_has_a_layer() -> None:
    assert {name.split(".")[0] for name in INSIDE} == set().union(*LAYERS)


@pytest.mark.parametrize("module", INSIDE)
def test_imports_point_down(module: str) -> None:
    for name in imported(MODULES[module]):
        if not name.startswith("cloudburst."):
            continue
        target = name.removeprefix("cloudburst.")
        if target == "__version__" or target.split(".")[0] == module.split(".", maxsplit=1)[0]:
            continue
        assert layer(target) > layer(module), f"{module} imports {target}"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_foreign_library_has_one_home(library: str) -> None:
    homes = {
        module
        for module, tree in MODULES.items()
        if any(name.split(".")[0] == library for name in imported(tree))
    }
    assert homes == LIBRARIES[library]


def test_only_the_engine_imports_the_automation_api() -> None:
    homes = {
        module
        for module, tree in MODULES.items()
        if any(name.startswith("pulumi.automation") for name in imported(tree))
    }
    assert homes == {"engine"}


def test_stack_programs_know_only_pulumi_and_the_values() -> None:
    for path in (ROOT / "stacks" / "cloudburst_stacks").glob("*.py"):
        for name in imported(ast.parse(path.read_text())):
            assert name.split(".")[0] in STACKS or name.startswith("cloudburst.models"), name
