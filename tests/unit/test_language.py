from __future__ import annotations

import subprocess
import sys

import pytest

from cloudburst.language import chosen, later, ntr, tr


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "de_DE.UTF-8", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "CLOUDBURST_LANG": "en"}, "en"),
        ({"LANG": "en_GB.UTF-8", "CLOUDBURST_LANG": "zh"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "CLOUDBURST_LANG": "tlh"}, "en"),
        ({"LANGUAGE": "zh"}, "en"),
    ],
)
def test_the_variable_wins_over_the_locale(environment: dict[str, str], language: str) -> None:
    assert chosen(environment) == language


def test_english_is_what_the_code_says() -> None:
    assert tr("{done} of {total} scenes", done=2, total=6) == "2 of 6 scenes"
    assert ntr("{count} stack", "{count} stacks", 1) == "1 stack"
    assert ntr("{count} stack", "{count} stacks", 0) == "0 stacks"
    assert tr("a message without values may have {braces}") == (
        "a message without values may have {braces}"
    )
    assert later("deferred") == "deferred"


@pytest.mark.usefixtures("chinese")
def test_chinese_is_what_the_catalogue_says() -> None:
    scenes = ntr("{done} of {count} scene", "{done} of {count} scenes", 6, done=2)
    assert scenes == "场景 2/6"
    assert ntr("{count} resource", "{count} resources", 1) == "1 个资源"
    assert ntr("{count} resource", "{count} resources", 2) == "2 个资源"
    assert tr("of no catalogue: {value}", value=1) == "of no catalogue: 1"
    # What is put into a message is no format itself.
    assert tr("failed: {reason}", reason="{scene}") == "失败：{scene}"


@pytest.mark.parametrize(("language", "loaded"), [("en", False), ("zh", True)])
def test_english_loads_no_catalogue(language: str, loaded: bool) -> None:
    code = (
        "import sys; import cloudburst.cli; from cloudburst.language import tr; tr('scene'); "
        "print('polib' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"CLOUDBURST_LANG": language},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{loaded}\n"
