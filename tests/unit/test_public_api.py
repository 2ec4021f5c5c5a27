"""The Python API is public: its names, its arguments and their defaults."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cloudburst

ROOT = Path(__file__).parents[2]
EVENT = "Callable[[Event], None] | None = None"
SIGNATURES = {
    "load_job": (
        "(source: JobSource, *, output: str | Path | None = None, target: str | None = None, "
        "max_cost_usd: float | None = None) -> Job"
    ),
    "scan": "(folder: str | os.PathLike[str]) -> Scan",
    "plan": "(job: Job | JobSource) -> Plan",
    "preview": f"(job: Job | JobSource, *, offline: bool = False, on_event: {EVENT}) -> Preview",
    "run": (
        f"(job: Job | JobSource, *, resume: str | Path | None = None, on_event: {EVENT}, "
        "stop: Stop | None = None) -> RunReport"
    ),
    "resume": (
        f"(run: str | Path, *, max_cost_usd: float | None = None, on_event: {EVENT}, "
        "stop: Stop | None = None) -> RunReport"
    ),
    "events": (
        "(job: Job | JobSource, *, resume: str | Path | None = None, stop: Stop | None = None) "
        "-> Events"
    ),
    "arun": (
        "(job: Job | JobSource, *, resume: str | Path | None = None, "
        "on_event: Callable[[Event], Awaitable[None] | None] | None = None, "
        "stop: Stop | None = None) -> RunReport"
    ),
    "audit": (
        "(*, targets: Sequence[str] = (), regions: Sequence[str] = (), everywhere: bool = False, "
        "log: Callable[[str], None] | None = None) -> Audit"
    ),
    "cleanup": (
        "(run: str | Path | None = None, *, orphans: bool = False, everything: bool = False, "
        "found: Audit | None = None, log: Callable[[str, str], None] | None = None) -> Cleaned"
    ),
}
TYPES = {
    "Audit",
    "BadInput",
    "Cleaned",
    "CloudBurstError",
    "Event",
    "EventKind",
    "Events",
    "InfrastructureError",
    "Interrupted",
    "Job",
    "JobSource",
    "LeftRunning",
    "Outcome",
    "Plan",
    "Preview",
    "RunBusy",
    "RunReport",
    "RunUnknown",
    "Scan",
    "SceneStatus",
    "Stop",
    "TargetUnknown",
}


def documented(value: Any) -> list[tuple[str, str]]:
    """List a public object and its public methods and properties, with their docstrings."""
    members = [(value.__name__, value.__doc__ or "")]
    if inspect.isclass(value):
        members += [
            (f"{value.__name__}.{name}", inspect.getdoc(member) or "")
            for name, member in vars(value).items()
            if not name.startswith("_") and (callable(member) or isinstance(member, property))
        ]
    return members


def test_the_names_are_complete() -> None:
    assert set(cloudburst.__all__) == {*SIGNATURES, *TYPES, "__version__"}
    assert sorted(cloudburst.__all__) == cloudburst.__all__
    assert set(cloudburst.__all__) <= set(dir(cloudburst))
    for name in cloudburst.__all__:
        assert getattr(cloudburst, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = cloudburst.nonsense


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_function_takes_what_it_took(name: str) -> None:
    signature = inspect.signature(getattr(cloudburst, name))
    assert str(signature).replace("'", "") == SIGNATURES[name]


@pytest.mark.parametrize("name", [*SIGNATURES, *sorted(TYPES - {"JobSource"})])
def test_everything_public_is_documented(name: str) -> None:
    value = getattr(cloudburst, name)
    for member, text in documented(value):
        # A dataclass or an enumeration without a docstring of its own gets one made up.
        assert text, member
        assert not text.startswith((f"{name}(", "str(object")), member
    if name in SIGNATURES:
        for argument in inspect.signature(value).parameters:
            assert re.search(rf"^        {argument}: ", str(value.__doc__), re.MULTILINE), argument


def test_the_reference_has_every_name_once() -> None:
    page = (ROOT / "docs" / "reference" / "index.rst").read_text("utf-8")
    listed = re.findall(r"^\.\. auto\w+:: (\w+)", page, re.MULTILINE)
    assert sorted(listed) == sorted(set(cloudburst.__all__) - {"__version__"})


def loaded(code: str, *names: str) -> list[str]:
    """Return those of some modules that are loaded in a process of its own after some code."""
    code = f"import sys; {code}; print(*(name for name in {names} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_an_audit_loads_nothing_of_pictures_and_sounds() -> None:
    code = "from cloudburst.api.recovery import audit; audit()"
    assert loaded(code, "PIL", "av", "numpy", "cloudburst.runner") == []


def test_a_worker_loads_none_of_it() -> None:
    code = "import cloudburst, cloudburst.videoapi.__main__"
    assert loaded(code, "cloudburst.api", "cloudburst.runner", "pulumi") == []
