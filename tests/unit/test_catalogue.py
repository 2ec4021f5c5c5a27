"""The Chinese catalogue has every message, and no message for people goes past it."""

from __future__ import annotations

import re
import string
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import polib
import pytest
from babel.messages.extract import extract_from_dir

import cloudburst
from cloudburst.console.text import WORDS
from cloudburst.job import schema
from cloudburst.language import CHINESE, catalogue_path
from cloudburst.models import Basis, Finding, Outcome, Phase, SceneStatus, WorkerState
from cloudburst.report import phases
from cloudburst.report.uses import Use
from cloudburst.targets.aws.settings import AwsSection
from tests.support.messages import nested_in_f_strings, untranslated

if TYPE_CHECKING:
    from cloudburst.section import Section

ROOT = Path(cloudburst.__file__).parent
KEYWORDS = {"tr": None, "ntr": (1, 2), "later": None}
MODULES = sorted(ROOT.rglob("*.py"))

# Programs for programs, and what a developer alone reads.
ENGLISH = {
    # the video API speaks the public image's protocol
    "videoapi/__main__.py",
    "videoapi/app.py",
    "videoapi/bundled.py",
    "videoapi/canvas.py",
    "videoapi/ffmpeg.py",
    "videoapi/protocol.py",
    "videoapi/quality.py",
    "videoapi/h264.py",
    "videoapi/still.py",
    "videoapi/between.py",
    "videoapi/encode.py",
    "videoapi/probe.py",
    "targets/local/provider.py",
    # prints what the original tool prints
    *(f"compat/{module}.py" for module in ("account", "functions", "kept", "operation")),
    *(f"compat/{module}.py" for module in ("instances", "results", "scenes")),
    # a file whose keys and descriptions are English, as its JSON Schema is
    "job/template.py",
    # SQL
    "journal/schema.py",
    "journal/store.py",
    # messages about AWS itself stay English, as AWS's own do
    *(
        f"targets/aws/{name}.py"
        for name in (
            "doctor",
            "ec2",
            "workers",
        )
    ),
}
# What looks like a sentence and is none, by its first line.
ALLOWED = {
    # in the errors of AWS and terraform
    "targets/aws/refusals.py": {
        "perform: ecr:",
        "waiting for state to become",
        "No default subnet",
        "permissions boundary",
        "service control policy",
        "tag policy",
        *("resource control policy", "session policy", "vpc endpoint policy"),
        "not eligible for free tier",
    },
    "media/jpeg.py": {"Premature end of JPEG file"},  # libjpeg-turbo's words
    "engine/plugins.py": {"Error downloading plugin: "},  # the engine's words
    "__init__.py": {"module  has no attribute "},  # an AttributeError, as Python words it
    "history/__init__.py": {"module  has no attribute "},
    "report/page/page.py": {" – CloudBurst"},  # the title of a window
    "report/page/posters.py": {"data:image/jpeg;base64,"},
    "cli/__init__.py": {"export ="},  # `cloudburst env`
    "cli/detach.py": {
        "from cloudburst.__main__ import run_command; run_command()  # cloudburst-run",
        *("cloudburst stop ", "cloudburst watch "),
    },
    "cli/running.py": {"\b"},  # the exit codes of --help
    "engine/command.py": {"incorrect passphrase"},  # what the engine says
    "engine/engine.py": {
        "stack rm",
        "stack ls",
        "stack export",
        "stack output",
        "reading the locks",
        "organization++-*.log",
    },
    # errors of a program that calls the library
    "api/iterator.py": {
        "there is no report: the run has not ended, or it failed",
        "nothing runs yet: use `with events(job) as stream:`",
    },
    "api/recovery.py": {"expected exactly one of run, orphans=True and everything=True"},
    "job/source.py": {"scenes", "got ; expected a path, a mapping or a sequence of mappings"},
    "job/loader.py": {"environment", "dict[str, Any]"},  # stands for the file's name; a type
    "job/yamltree.py": {"quoted scalar"},  # the words of YAML's parser
    "runner/context.py": {
        "# The job of this run as a program passed it; `cloudburst resume` reads it."
    },
    "job/schema.py": {", and  on ", "CloudBurst scenes.yaml"},  # in the JSON Schema
    "runner/resume.py": {"target"},  # the field's name
    "models/html.py": {";text-align:left", ";text-align:right"},  # CSS
    "models/names.py": {" is no label of a worker, such as b01 or b01.2"},  # a bug's
    "console/audit.py": {"bold red", "bold green", " min"},
    # what tomllib says
    "configuration.py": {r" \(at line (\d+), column \d+\)$| \(at end of document\)$"},
    "console/history.py": {"bold red"},
    "console/live.py": {"bold green", "bold red", "bold white on red"},
    "console/report.py": {"bold green", "bold red"},
    "targets/aws/access/credentials.py": {"Enter MFA code for "},  # botocore's prompt
    "targets/aws/access/logins.py": {
        "aws login",
        "aws sso login",
        "aws sts get-caller-identity",
    },
    "targets/aws/settings.py": {"cloudburst "},
    "targets/aws/rentals.py": {"public IPv4", "CPU credits beyond the baseline"},  # of report.json
    "targets/aws/prices/pricing.py": {"No License required", "{: USD}"},  # a filter of AWS's; YAML
    "targets/bundle.py": {"Metadata-Version: 2.1", "from cloudburst.videoapi.bundled import main"},
    "targets/local/__init__.py": {"cloudburst "},
    "videoapi/subtitles/ass.py": {
        "[Script Info]",
        "Dialogue: 0,,,Default,",
        r"{\fs\bord\shad}",
    },
    "videoapi/subtitles/ssa.py": {
        "layer, start, end, style, name, marginl, marginr, marginv, effect, text"  # names of fields
    },
    "workers/transport.py": {"timed out"},
    "workers/messages.py": {"reset by peer", "timed out"},  # what a library's messages contain
}
# Values of enums: `console.text.word` translates them.
CODES = {
    "models/events.py": {"left running"},
    "report/trace.py": {"lease renewed"},
    "models/money.py": {"list price", "given price", "spot price at launch"},
    "models/machines.py": {
        "the next rung",
        "a smaller type, or another family",
        "another family",
        "another market",
        "another region",
        "the next rung, but only once",
        "the same rung, later",
        "none for this batch",
        "none for any batch",
    },
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def catalogue() -> polib.POFile:
    return polib.pofile(str(catalogue_path(CHINESE)), encoding="utf-8")


def fields(text: str) -> set[tuple[str, str, str]]:
    """Return the placeholders of a message: name, format, conversion."""
    return {
        (field, spec or "", conversion or "")
        for _, field, spec, conversion in string.Formatter().parse(text)
        if field is not None
    }


def extracted() -> set[str | tuple[str, ...]]:
    found = extract_from_dir(ROOT, keywords=KEYWORDS)
    return {message for _, _, message, _, _ in found}


def test_the_catalogue_has_exactly_the_messages_of_the_code(catalogue: polib.POFile) -> None:
    listed = {(one.msgid, one.msgid_plural) if one.msgid_plural else one.msgid for one in catalogue}
    messages = extracted()
    assert len(messages) > 300
    assert messages - listed == set(), "run `make messages`, then translate"
    assert listed - messages == set(), "run `make messages`"
    assert [one.msgid for one in catalogue.obsolete_entries()] == []


def test_every_message_is_translated(catalogue: polib.POFile) -> None:
    assert [one.msgid for one in catalogue if one.fuzzy or not one.translated()] == []


def test_translations_have_the_placeholders_of_their_messages(catalogue: polib.POFile) -> None:
    wrong = []
    for one in catalogue:
        translation = one.msgstr or one.msgstr_plural[0]
        english = [one.msgid, one.msgid_plural or one.msgid]
        # A regular expression or a colour may have braces; a message with values never does.
        if any(fields(text) != fields(translation) for text in english):
            wrong.append((one.msgid, translation))
    assert wrong == []


def test_chinese_sentences_have_chinese_punctuation(catalogue: polib.POFile) -> None:
    wrong = []
    for one in catalogue:
        text = one.msgstr or one.msgstr_plural[0]
        pairs = zip(text, f"{text[1:]} ", strict=True)
        if any("\u4e00" <= before <= "\u9fff" and after in ",;:!?()" for before, after in pairs):
            wrong.append(text)
    assert wrong == ["映射（键: 值）"]  # as YAML writes it


# Commands and code, a JSON object, the key of a YAML line: punctuation of their own.
CODE = re.compile(r"`[^`]*`|\{\"[^}]*\}|\b[a-z_.]+: ?|键: 值")
# After a Chinese character or a value, or before a Chinese character or a space.
ENGLISH_MARK = re.compile(r"[\u4e00-\u9fff}\]][,;:!?]|[,;:!?](?= |[\u4e00-\u9fff])")


def has_english_punctuation(text: str) -> bool:
    """Whether a sentence in Chinese has a comma, a colon or the like of another script."""
    prose = CODE.sub("", re.sub(r"\{(\w+)[^}\"]*\}", r"{\1}", text))
    return bool(re.search(r"[\u4e00-\u9fff]", prose) and ENGLISH_MARK.search(prose))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{scene} 失败: {why}", True),
        ("{scenes}, 共 {count} 个", True),
        ("{done} of {total}; 其余", True),
        ("已完成 {done}, {failed} 失败", True),
        ("耗时 {seconds:.1f} s；{phases}", False),
        ("请指定 aws.price_per_hour: {entry}", False),
        ("运行 `a: b, c` 即可", False),
        ('例如 {"name": "s1", "image": "1.png"}', False),
    ],
)
def test_what_counts_as_english_punctuation(text: str, wrong: bool) -> None:
    assert has_english_punctuation(text) == wrong


def test_chinese_messages_have_no_english_punctuation(catalogue: polib.POFile) -> None:
    texts = [one.msgstr or one.msgstr_plural[0] for one in catalogue]
    assert [text for text in texts if has_english_punctuation(text)] == []


def test_spot_instances_have_one_name_in_chinese(catalogue: polib.POFile) -> None:
    """Theirs at AWS China; `spot` itself is a value of scenes.yaml."""
    pages = [ROOT.parent / "README.zh.md", *(ROOT.parent / "docs" / "zh").glob("*.md")]
    texts = [one.msgstr or one.msgstr_plural[0] for one in catalogue]
    texts += [line for page in pages for line in page.read_text("utf-8").splitlines()]
    assert [text for text in texts if re.search(r"\bSpot ?[\u4e00-\u9fff]", text)] == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_message_is_inside_an_f_string(path: Path) -> None:
    assert list(nested_in_f_strings(path)) == []


@pytest.mark.parametrize("path", [one for one in MODULES if name(one) not in ENGLISH], ids=name)
def test_no_text_for_people_goes_past_the_catalogue(path: Path) -> None:
    key = name(path)
    known = ALLOWED.get(key, set()) | CODES.get(key, set())
    texts = {text.splitlines()[0] for _, text in untranslated(path)}
    assert texts - known == set()
    assert known - texts == set(), "the list of exceptions has more than there are"


def test_english_modules_are_modules() -> None:
    assert ENGLISH - {name(path) for path in MODULES} == set()


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ('console.print("nothing is left")', ["nothing is left"]),
        ('raise Error(f"{path} cannot be read: {why}")', [" cannot be read: "]),
        ('text = "what is " + "left"', ["what is "]),
        ('timeline.emit(kind, "stopping")', ["stopping"]),
        ('timeline.emit(kind, tr("stopping"), batch="b01")', []),
        ('tr("it is {what}", what="a PNG file")', ["a PNG file"]),
        ('ntr("one stack", "many stacks", 2)', []),
        ('@option("--x", help="More of the same.")\ndef f():\n    """A docstring."""', []),
    ],
)
def test_what_counts_as_text_for_people(tmp_path: Path, source: str, texts: list[str]) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    assert [text for _, text in untranslated(path)] == texts


def test_words_are_all_that_a_terminal_shows_of_enums() -> None:
    enums = (WorkerState, SceneStatus, Outcome, Finding, Basis)
    values = {str(value) for enum in enums for value in enum}
    assert values - WORDS == set()
    assert {*Phase, *Use} <= set(phases.NAMES)


def test_what_sections_expect_is_in_the_catalogue(catalogue: polib.POFile) -> None:
    listed = {one.msgid for one in catalogue}
    sections: list[type[Section]] = [schema.JobSection, AwsSection]
    expected = {text for section in sections for text in section.patterns.values()}
    assert expected
    assert expected - listed == set()


def test_make_messages_changes_nothing(tmp_path: Path) -> None:
    """The catalogue is as the tool writes it: the next update shows only what has changed."""
    babel = Path(sys.executable).with_name("pybabel")
    copy = tmp_path / CHINESE / "LC_MESSAGES" / "cloudburst.po"
    copy.parent.mkdir(parents=True)
    before = catalogue_path(CHINESE).read_text()
    copy.write_text(before)
    template = tmp_path / "messages.pot"
    recipe = (ROOT.parent / "Makefile").read_text().split("messages: $(READY)\n")[1]
    recipe = recipe.split("\n\n")[0].replace("\\\n", "").replace("@$(BIN)/pybabel", str(babel))
    recipe = recipe.replace(".messages.pot", str(template)).replace("@rm", "rm")
    recipe = recipe.replace("--output-dir cloudburst/locale", f"--output-dir {tmp_path}")
    subprocess.run(["sh", "-ec", recipe], cwd=ROOT.parent, check=True)
    assert copy.read_text() == before
