"""A run in Chinese, as a person reads it: in a pipe, on a terminal, and when the file is wrong."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from cloudburst import media
from tests.support.inputs import scenes_yaml
from tests.support.runs import RUN, assert_nothing_left

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("chinese")

# Commands, codes and names that are the same in every language.
_NAMES = {
    *("aws", "backend", "baseline", "cache", "cloudburst", "default", "demand", "full", "featured"),
    *("local", "on", "process", "pulumi", "Pulumi", "pulumi:pulumi", "stack", "Stack", "target"),
    *("providers", "Worker", "worker", "CPU", "API", "MB", "AWS", "ffmpeg", "resume", "cleanup"),
}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Paths, files, run ids, versions, keys of scenes.yaml.
_MARKS = re.compile(r"\S*[/\\][^\s：，；（）]*|\S*\d\S*|[\w\[\]]+[._][\w.]+")


def english(text: str) -> list[str]:
    """Return the English words of a text that are no names."""
    plain = _MARKS.sub(" ", _ESCAPES.sub("", text))
    return [word for word in re.findall(r"[A-Za-z]{2,}", plain) if word not in _NAMES]


def call(*command: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def on_terminal(*command: object, cwd: Path) -> tuple[int, str]:
    """Run a command on a terminal of its own; return its exit code and all that it wrote."""
    main, side = pty.openpty()
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        stdin=side,
        stdout=side,
        stderr=side,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "40"},
        start_new_session=True,
    )
    os.close(side)
    written = b""
    try:
        while chunk := os.read(main, 65536):
            written += chunk
    except OSError:
        pass  # Linux: the other side is closed
    os.close(main)
    return process.wait(60), written.decode()


def test_english_words_are_noticed() -> None:
    assert english("b01: destroying the stack") == ["destroying", "the"]
    assert english("b01: 正在销毁 stack：/tmp/results/a b02.mp4") == []


@pytest.mark.video
@pytest.mark.stack
@pytest.mark.slow
def test_a_run_in_a_pipe_speaks_chinese(
    job_file: Callable[..., Path], state: Path, tmp_path: Path
) -> None:
    path = job_file(
        scenes_yaml(2, "distribution: {scenes_per_batch: 1, min_scenes_per_batch: 1}\n")
    )
    done = call(RUN, "scenes.yaml", "--output", tmp_path / "out", cwd=path.parent)
    assert english(done.stdout) == []
    assert done.stderr == ""
    for line in (
        "共 2 个场景",
        "正在创建 stack",
        "渲染中",
        "正在销毁 stack",
        "已完成 2/2 个视频",
    ):
        assert line in done.stdout
    assert "2 个 stack 已销毁并验证，没有任何资源仍在运行" in done.stdout
    (folder,) = (tmp_path / "out").iterdir()
    assert media.inspect_video(folder / "s01.mp4").frames > 0
    assert media.inspect_video(folder / "s02.mp4").frames > 0
    # For programs nothing has changed: keys, codes and what states and figures are called.
    report = json.loads((folder / "report.json").read_text())
    assert report["outcome"] == "complete"
    assert list(report["phases"]) == ["up", "health", "drive", "destroy"]
    assert {scene["status"] for scene in report["scenes"]} == {"done"}
    assert report["cost"]["basis"].startswith("the local target rents nothing")
    assert_nothing_left(state)
    again = call(RUN, "scenes.yaml", "--output", tmp_path / "out", "--resume", cwd=path.parent)
    assert "已完成 2/2 个场景；无需启动任何资源" in again.stdout
    assert english(again.stdout) == []
    audit = call(RUN.with_name("cloudburst"), "audit", cwd=tmp_path)
    assert english(audit.stdout) == []
    assert "干净：没有残留" in audit.stdout


@pytest.mark.stack
@pytest.mark.slow
def test_events_for_machines_have_the_same_data_in_every_language(
    job_file: Callable[..., Path], tmp_path: Path
) -> None:
    path = job_file(scenes_yaml(1))
    done = call(RUN, "scenes.yaml", "--output", tmp_path / "out", "--json", cwd=path.parent)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    states = [event["state"] for event in events if event["event"] == "batch_state"]
    assert states == ["creating", "starting", "working", "destroying", "gone"]
    data = [{key: event[key] for key in event.keys() - {"text"}} for event in events]
    assert not re.search(r"[\u4e00-\u9fff]", json.dumps(data, ensure_ascii=False))
    assert any(event["text"] == "正在销毁 stack" for event in events)


@pytest.mark.video
@pytest.mark.stack
@pytest.mark.slow
def test_a_live_terminal_speaks_chinese(job_file: Callable[..., Path], tmp_path: Path) -> None:
    path = job_file(scenes_yaml(2))
    code, text = on_terminal(RUN, "scenes.yaml", "--output", tmp_path / "out", cwd=path.parent)
    assert code == 0, text
    assert english(text) == []
    for word in ("创建中", "工作中", "销毁中", "场景 0/2", "完成 0", "节点 b01", "总用时"):
        assert word in text, word


@pytest.mark.stack
def test_a_dry_run_and_doctor_speak_chinese(job_file: Callable[..., Path]) -> None:
    path = job_file(scenes_yaml(1))
    done = call(RUN, "scenes.yaml", "--dry-run", cwd=path.parent)
    assert english(done.stdout) == []
    assert "计划在 local 上创建 1 个 stack，共 3 个资源；本次未创建任何资源" in done.stdout
    checked = call(RUN.with_name("cloudburst"), "doctor", cwd=path.parent)
    lines = [line for line in checked.stdout.splitlines() if "ffmpeg" not in line]
    fonts = [line for line in lines if "字体" in line]
    assert english("".join(line for line in lines if line not in fonts)) == []
    # What was found begins in one column: a Chinese character takes two cells.
    columns = [re.match(r"\S+ +\S+ +| +", line) for line in lines]
    assert len({cell_len(column[0]) for column in columns if column}) == 1


def test_errors_of_a_file_keep_file_line_and_field(job_file: Callable[..., Path]) -> None:
    text = scenes_yaml(2, "limits: {attempts: 0}\ncolour: red\n").replace(
        "image: p.png, audio: a.wav}", "image: s.srt, audio: no.wav, efects: []}", 1
    )
    path = job_file(text)
    done = call(RUN, "scenes.yaml", cwd=path.parent, code=2)
    assert done.stdout == ""
    *problems, count = done.stderr.splitlines()
    assert count == f"共 {len(problems)} 个问题，未启动任何资源"
    places = [problem.split(": ")[:2] for problem in problems]
    assert places == [
        ["scenes.yaml:2", "limits.attempts"],
        ["scenes.yaml:3", "colour"],
        ["scenes.yaml:5", "scenes[0].efects"],
        ["scenes.yaml:5", "scenes[0].image"],
        ["scenes.yaml:5", "scenes[0].audio"],
    ]
    messages = {
        place[1]: line.split(": ", 2)[2] for place, line in zip(places, problems, strict=True)
    }
    assert messages["limits.attempts"] == "当前值：0；应为：不小于 1"
    assert messages["colour"].startswith("未知的键；可选：version, name")
    assert messages["scenes[0].efects"] == "未知的键；是否应为 effects？"
    assert messages["scenes[0].image"].startswith("s.srt：不是图片（实际是文本：'1'）；应为：图片")
    assert messages["scenes[0].audio"] == "找不到文件：no.wav（相对路径以 scenes.yaml 的位置为准）"


@pytest.mark.parametrize(("encoding", "last"), [("gbk", "未创建任何资源"), ("ascii", "?" * 7)])
def test_a_terminal_that_lacks_characters_ends_nothing(
    job_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, encoding: str, last: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    path = job_file(scenes_yaml(1))
    done = subprocess.run(
        [str(RUN), "scenes.yaml", "--dry-run", "--offline"],
        cwd=path.parent,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.decode(encoding).rstrip().endswith(last)


def test_wheel_and_source_archive_carry_the_catalogue(tmp_path: Path) -> None:
    code = (
        "from hatchling.build import build_sdist, build_wheel; "
        f"print(build_wheel({str(tmp_path)!r}), build_sdist({str(tmp_path)!r}))"
    )
    built = call(sys.executable, "-c", code, cwd=ROOT).stdout.split()
    wheel, sdist = (tmp_path / name for name in built[-2:])
    catalogue = "cloudburst/locale/zh/LC_MESSAGES/cloudburst.po"
    text = (ROOT / catalogue).read_bytes()
    assert zipfile.ZipFile(wheel).read(catalogue) == text
    with tarfile.open(sdist) as archive:
        root = sdist.name.removesuffix(".tar.gz")
        member = archive.extractfile(f"{root}/{catalogue}")
        assert member is not None
        assert member.read() == text
