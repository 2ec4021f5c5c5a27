"""The documentation, English and Chinese: every link, command, job and key in it exists.

Python examples have tests of their own.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import click
import pytest
import yaml

from cloudburst import cli
from cloudburst.job.schema import json_schema, validate
from cloudburst.targets.base import Resources, Target, TargetType, WorkerSource
from tests.support.documents import ROOT, SHELL, Page, page, parse, prompted, simple_commands
from tests.support.inputs import SRT, write_picture, write_sound
from tests.support.runs import RUN, assert_nothing_left

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("README*.md", "CONTRIBUTING.md", "docs/*.md", "docs/zh/*.md")
    for path in ROOT.glob(pattern)
)
CHINESE = [name for name in PAGES if re.search(r"\bzh\b", name)]
# Pages of one subject, whose commands, jobs and tables of keys are the same.
TRANSLATED = [
    (f"docs/{name}.md", f"docs/zh/{name}.md")
    for name in ("aws", "commands", "migrating", "report", "scenes")
    if (ROOT / f"docs/{name}.md").exists()
]
STARTS = ["README.md", "README.zh.md", "docs/zh/quickstart.md"]

MINIMAL = {"version": 1, "scenes": [{"name": "s", "image": "p.png", "audio": "a.wav"}]}
HAN = r"[\u2e80-\u9fff\uff00-\uffef\u3000-\u303f]"


def link_problems(of: Page) -> Iterator[str]:
    folder = (ROOT / of.name).parent
    for link in map(unquote, of.links):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (folder / path).resolve() if path else ROOT / of.name
        if not target.exists():
            yield f"{link}: no such file"
        elif anchor and anchor not in page(str(target.relative_to(ROOT))).anchors:
            yield f"{link}: no such heading"


def command_problem(words: list[str], *, whole: bool, config: pytest.Config) -> str | None:
    """Return what a user would be told about a command's words; None if it exists as written.

    Args:
        words: the program and its arguments.
        whole: whether required arguments must be there, too.
        config: pytest's own, for its options.
    """
    program, arguments = Path(words[0]).name, words[1:]
    problem = None
    if program == "cloudburst-run":
        problem = _click_problem(cli.run, arguments, whole=whole)
    elif program == "cloudburst" and arguments:
        problem = _cloudburst_problem(arguments, whole=whole)
    elif program == "make":
        problem = _make_problem(arguments)
    elif program.startswith("python") and arguments[:1] == ["-m"]:
        problem = _module_problem(arguments[1], arguments[2:], whole=whole, config=config)
    return problem


def _cloudburst_problem(arguments: list[str], *, whole: bool) -> str | None:
    if arguments[0].startswith("-"):
        return _click_problem(cli.group, arguments, whole=whole)
    command = cli.group.commands.get(arguments[0])
    if command is None:
        return f"no such command: {arguments[0]}"
    return _click_problem(command, arguments[1:], whole=whole)


def _click_problem(command: click.Command, arguments: list[str], *, whole: bool) -> str | None:
    try:
        command.make_context(str(command.name), list(arguments))
    except click.exceptions.Exit:
        return None  # --help and --version
    except click.MissingParameter as error:
        return error.format_message() if whole else None
    except click.ClickException as error:
        return error.format_message()
    return None


def _make_problem(arguments: list[str]) -> str | None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for word in arguments:
        name, assigned, _ = word.partition("=")
        rule = rf"^{re.escape(name)}\s*\?=" if assigned else rf"^{re.escape(word)}:"
        if not re.search(rule, makefile, re.MULTILINE):
            return f"no such {'variable' if assigned else 'target'}: {name}"
    return None


def _module_problem(
    module: str, arguments: list[str], *, whole: bool, config: pytest.Config
) -> str | None:
    if module == "pytest":
        # No public function parses without running.
        known, unknown = config._parser.parse_known_and_unknown_args(arguments)
        missing = [
            name for name in known.file_or_dir if not (ROOT / name.partition("::")[0]).exists()
        ]
        return f"pytest does not know {unknown + missing}" if unknown or missing else None
    if module.split(".", maxsplit=1)[0] in {"cloudburst", "testcloud", "benchmarks", "tests"}:
        if importlib.util.find_spec(module) is None:
            return f"no such module: {module}"
        if "--" in arguments:
            inner = arguments[arguments.index("--") + 1 :]
            return command_problem(inner, whole=whole, config=config) if inner else None
        if module == "cloudburst":
            return command_problem(["cloudburst", *arguments], whole=whole, config=config)
    return None


def command_problems(of: Page, config: pytest.Config) -> Iterator[str]:
    for words in of.commands():
        if problem := command_problem(words, whole=True, config=config):
            yield f"{' '.join(words)}: {problem}"
    for span in of.spans:
        if re.match(r"(cloudburst|cloudburst-run|make|\S*python\S* -m) ", span):
            for words in simple_commands(span):
                if problem := command_problem(words, whole=False, config=config):
                    yield f"{span}: {problem}"


def job_problems(of: Page) -> Iterator[str]:
    for text in of.blocks_of("yaml"):
        # YAML 1.1 takes `on` for true; scenes.yaml is YAML 1.2.
        loaded = yaml.safe_load(text)
        document = {"on" if key is True else key: value for key, value in loaded.items()}
        for path, message in validate({**MINIMAL, **document})[1]:
            yield f"{'.'.join(map(str, path))}: {message}"


def wrapping_problems(of: Page) -> Iterator[str]:
    # A line end is shown as a space, and Chinese has none between characters.
    text = of.prose
    for match in re.finditer(rf"{HAN}\n *{HAN}", text):
        yield f"a space within Chinese: {text[max(0, match.start() - 10) : match.end() + 10]!r}"


def spacing_problems(of: Page) -> Iterator[str]:
    """Yield where Chinese typography is broken: half-width punctuation, letters without a space."""
    text = re.sub(r"\]\([^)]*\)|`[^`]*`", "`", of.prose)
    ideograph = r"[\u4e00-\u9fff]"
    for pattern in (rf"{ideograph}[A-Za-z0-9$]|[A-Za-z0-9%]{ideograph}", rf"{ideograph}[,;:?!.(]"):
        for match in re.finditer(pattern, text):
            yield f"typography: {text[max(0, match.start() - 10) : match.end() + 10]!r}"


def problems(of: Page, config: pytest.Config) -> set[str]:
    """Return all that is wrong with a page, each with its name."""
    found = [*link_problems(of), *command_problems(of, config), *job_problems(of)]
    if of.name in CHINESE:
        found += [*wrapping_problems(of), *spacing_problems(of)]
    return {f"{of.name}: {problem}" for problem in found}


@pytest.mark.parametrize("name", PAGES)
def test_links_commands_and_jobs_of_a_page_exist(name: str, pytestconfig: pytest.Config) -> None:
    assert problems(page(name), pytestconfig) == set()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[x](nowhere.md)", "nowhere.md: no such file"),
        ("![x](docs/images/none.jpg)", "docs/images/none.jpg: no such file"),
        ("[x](docs/aws.md#nothing)", "docs/aws.md#nothing: no such heading"),
        ("# 费用\n[x](docs/aws.md#费用)", "docs/aws.md#费用: no such heading"),
        ("```console\n$ make demmo\n```", "make demmo: no such target: demmo"),
        ("```sh\n$ make chaos SED=2\n```", "make chaos SED=2: no such variable: SED"),
        ("```console\n$ cloudburst lift x\n```", "cloudburst lift x: no such command: lift"),
        (
            "```console\n$ X=1 cloudburst-run a \\\n  --dry > b && make check\n```",
            "cloudburst-run a --dry: No such option '--dry'. Did you mean '--dry-run'?",
        ),
        (
            '```bash\n$ eval "$(cloudburst env --all)"\n```',
            "cloudburst env --all: No such option '--all'.",
        ),
        (
            "run `cloudburst-run FILE --target moon`",
            (
                "cloudburst-run FILE --target moon: Invalid value for '--target': "
                "'moon' is not one of 'local', 'aws'."
            ),
        ),
        (
            "```console\n$ python -m pytest tests/lively --live\n```",
            "python -m pytest tests/lively --live: pytest does not know ['tests/lively']",
        ),
        (
            "```console\n$ python -m benchmarks.paint\n```",
            "python -m benchmarks.paint: no such module: benchmarks.paint",
        ),
        (
            "```yaml\nlimits:\n  attemps: 3\n```",
            "limits.attemps: unknown key; did you mean attempts?",
        ),
        ("渲染\n完成", "a space within Chinese: '渲染\\n完成'"),
        ("共6 个", "typography: '共6 个'"),
        ("完成,下一个", "typography: '完成,下一个'"),
    ],
)
def test_each_check_sees_what_is_wrong(
    text: str, problem: str, pytestconfig: pytest.Config
) -> None:
    found = problems(parse("README.zh.md", text), pytestconfig)
    assert found == {f"README.zh.md: {problem}"}


@pytest.mark.parametrize(("english", "chinese"), TRANSLATED)
def test_a_translation_has_the_commands_jobs_and_keys_of_its_original(
    english: str, chinese: str
) -> None:
    original, translation = page(english), page(chinese)
    assert _without(original.commands(), translation.commands()) == []
    assert keys(original) - keys(translation) == set()
    jobs = [
        [yaml.safe_load(text) for text in of.blocks_of("yaml")] for of in (original, translation)
    ]
    assert _without(*jobs) == []


def test_the_chinese_start_has_the_commands_of_the_english_one() -> None:
    english, chinese, quick_start = (page(name).commands() for name in STARTS)
    assert _without(english, [*chinese, *quick_start]) == []


@pytest.mark.parametrize("name", ["docs/scenes.md", "docs/zh/scenes.md"])
def test_every_key_of_the_schema_is_documented(name: str) -> None:
    assert schema_keys() - keys(page(name)) == set()


def _without(items: list[Any], others: list[Any]) -> list[Any]:
    return [item for item in items if item not in others]


def keys(of: Page) -> set[str]:
    """Return what the tables of a page are about: the code in their first cells."""
    return {span for row in of.rows if row for span in re.findall(r"`([^`]+)`", row[0])}


def schema_keys() -> set[str]:
    """Return every key of scenes.yaml as its page writes it: `limits.attempts`, `effects`."""
    schema = json_schema()
    found = set()
    for name, value in schema["properties"].items():
        section = re.search(r"#/\$defs/(\w+)", str(value))
        inner = schema["$defs"][section[1]]["properties"] if section else {}
        dotted = name not in {"aws", "defaults", "scenes"}
        found |= {f"{name}.{key}" if dotted else key for key in inner}
        found |= set() if inner and dotted else {name}
    return found


# What may be run on any machine: it asks no cloud, and starts nothing that stays.
ELSEWHERE = {"aws", "serve", "cleanup"}


def local_commands(of: Page) -> list[str]:
    """Return the command lines of a page that a newcomer can type on a machine of their own."""
    lines = [line for text in of.blocks_of(*SHELL) for line in prompted(text)]
    return [line for line in lines if all(map(_is_local, simple_commands(line)))]


def _is_local(words: list[str]) -> bool:
    return words[0] in {"cloudburst", "cloudburst-run", "eval", "export"} and not (
        ELSEWHERE & set(words)
    )


def follow(of: Page, folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """Type a page's local commands, one after the other, beside the files that it describes.

    Returns:
        What was printed by the lines whose exit code was not 0.
    """
    write_files(of, folder)
    failed = {}
    for line in local_commands(of):
        done = subprocess.run(  # a page's lines are shell
            ["bash", "-c", _with_run(line, folder)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            failed[line.partition("#")[0].strip()] = f"{done.returncode}: {done.stderr}"
    return failed


def _with_run(line: str, folder: Path) -> str:
    """Return a command line with the page's newest run in the place of RUN."""
    runs = sorted(folder.glob("cloudburst_results/batch_*"))
    return re.sub(r"\bRUN\b", str(runs[-1]) if runs else "RUN", line)


def write_files(of: Page, folder: Path) -> None:
    """Write the page's scenes.yaml and table, the pictures and sounds in them, and its folder."""
    (job,) = [text for text in of.blocks_of("yaml") if "scenes:" in text]
    (folder / "scenes.yaml").write_text(job, "utf-8")
    for table in of.blocks_of("csv"):
        (folder / "scenes.csv").write_text(table, "utf-8")
    for scene in yaml.safe_load(job)["scenes"]:
        write_picture(folder / scene["image"], size=(160, 90))
        write_sound(folder / scene["audio"], seconds=0.5)
        if "subtitle" in scene:
            (folder / scene["subtitle"]).parent.mkdir(exist_ok=True)
            (folder / scene["subtitle"]).write_text(SRT, "utf-8")
    for words in of.commands():
        if words[:2] == ["cloudburst", "scan"]:
            write_folder(folder / words[2])


def write_folder(folder: Path) -> None:
    """Write pictures and sounds as the original's users have them."""
    for stem in ("scene_001_chinese", "scene_002_chinese"):
        write_picture(folder / "images" / f"{stem}.jpg", size=(160, 90))
        write_sound(folder / "audio" / f"{stem}.wav", seconds=0.5)


@pytest.mark.slow
@pytest.mark.stack
@pytest.mark.video
@pytest.mark.parametrize("name", STARTS)
def test_the_local_commands_of_a_start_run(name: str, tmp_path: Path, state: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    assert follow(page(name), folder, os.environ | {"PATH": path}) == {}
    assert list(folder.glob("cloudburst_results/batch_*/*.mp4"))
    assert_nothing_left(state)


@pytest.mark.slow
@pytest.mark.stack
@pytest.mark.video
def test_every_command_to_look_at_runs_runs_as_documented(tmp_path: Path, state: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    commands = page("docs/commands.md")
    assert follow(commands, folder, os.environ | {"PATH": path}) == {}
    typed = {words[1] for words in commands.commands() if words[0] == "cloudburst"}
    assert typed >= {"ps", "history", "show", "cost", "watch", "stop", "logs"}
    assert_nothing_left(state)


@pytest.mark.parametrize(("name", "language"), [("README.md", "en"), ("README.zh.md", "zh")])
def test_mistakes_are_reported_as_the_readme_shows(
    name: str, language: str, tmp_path: Path, state: Path
) -> None:
    write_files(page(name), tmp_path)
    (tmp_path / "narration" / "intro.mp3").unlink()
    job = tmp_path / "scenes.yaml"
    job.write_text(job.read_text("utf-8").replace("effects:", "efects:"), "utf-8")
    done = subprocess.run(
        [RUN, "scenes.yaml"],
        cwd=tmp_path,
        env=os.environ | {"CLOUDBURST_LANG": language},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr in page(name).blocks_of("text")
    assert not state.exists()


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("HutType", TargetType),
        ("HutTarget", Target),
        ("HutWorkers", WorkerSource),
        ("HutResources", Resources),
    ],
)
def test_a_target_as_the_docs_show_it_has_every_member_of_its_protocol(
    name: str, protocol: type
) -> None:
    text = (ROOT / "docs/extending.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    classes = {
        node.name: node
        for block in blocks
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ClassDef)
    }
    members = {
        getattr(node, "name", None) or getattr(node, "id", None) or getattr(node, "attr", "")
        for node in ast.walk(classes[name])
        if isinstance(node, ast.FunctionDef)
        or (isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store))
    }
    declared = {*vars(protocol), *vars(protocol).get("__annotations__", ())}
    assert {each for each in declared if not each.startswith("_")} - members == set()
