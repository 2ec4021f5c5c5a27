"""A good scenes.yaml becomes a Job."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING

import jsonschema
import pytest
import yaml

from cloudburst.errors import BadInput, TargetUnknown
from cloudburst.job import names
from cloudburst.job.loader import load_job
from cloudburst.job.schema import json_schema
from cloudburst.models import Distribution, Limits
from cloudburst.targets.aws.settings import AwsSettings
from tests.support.inputs import EXAMPLE, scenes_yaml, write_picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_example_loads() -> None:
    job = load_job(EXAMPLE)
    assert job.name == "mountain-day"
    assert len(job.scenes) == 6
    assert all(3 <= scene.seconds <= 8 for scene in job.scenes)
    assert {scene.options.language for scene in job.scenes} == {"english", "chinese"}
    assert sum(scene.options.subtitle is not None for scene in job.scenes) == 4
    assert sum(scene.options.watermark is not None for scene in job.scenes) == 1


def test_defaults_are_those_of_the_video_api(job_file: Callable[..., Path]) -> None:
    job = load_job(job_file(scenes_yaml(1)))
    options = job.scenes[0].options
    assert (options.language, options.effects, options.subtitle) == ("chinese", (), None)
    assert (options.background_box, options.background_opacity) == (True, 0.2)
    assert (options.font_size, options.outline_color) == (None, "&H00000000")
    assert options.quality == "normal"
    assert job.distribution == Distribution(10, 10, 5)
    assert job.limits == Limits(None, 180, 3)
    assert job.name == "scenes"
    assert job.scenes[0].seconds == pytest.approx(1.0, abs=0.001)


def test_a_scene_overrides_the_defaults_and_a_written_null_wins(
    job_file: Callable[..., Path],
) -> None:
    path = job_file("""
version: 1
name: over-ride
defaults:
  language: english
  effects: [zoom_in, pan_left]
  background_box: false
  background_opacity: 1
  font_size: 40
  outline_color: "&H00FF0000"
  is_portrait: true
  watermark: w.png
  quality: high
scenes:
  - {name: plain, image: p.png, audio: a.wav}
  - name: own
    image: p.png
    audio: a.wav
    subtitle: s.srt
    language: chinese
    effects: []
    background_box: true
    background_opacity: 0.5
    font_size: null
    outline_color: "&H000000FF&"
    is_portrait: null
    watermark: null
    quality: small
distribution: {scenes_per_batch: 3, max_parallel_instances: 2, min_scenes_per_batch: 1}
limits: {scene_timeout: 30, health_timeout: 20.5, attempts: 2}
output: {directory: out}
""")
    write_picture(path.parent / "w.png", (64, 64), "RGBA")
    job = load_job(path)
    plain, own = (scene.options for scene in job.scenes)
    assert plain.language == "english"
    assert plain.effects == ("zoom_in", "pan_left")
    assert (plain.background_box, plain.background_opacity, plain.font_size) == (False, 1.0, 40)
    assert plain.is_portrait is True
    assert plain.watermark == path.parent / "w.png"
    assert plain.subtitle is None
    assert own.language == "chinese"
    assert own.effects == ()
    assert (own.background_box, own.background_opacity, own.font_size) == (True, 0.5, None)
    assert own.outline_color == "&H000000FF&"
    assert own.is_portrait is None
    assert own.watermark is None
    assert own.subtitle == path.parent / "s.srt"
    assert (plain.quality, own.quality) == ("high", "small")
    assert job.distribution == Distribution(3, 2, 1)
    assert job.limits == Limits(30, 20.5, 2)
    assert job.output == path.parent / "out"


def test_a_full_aws_section_loads(job_file: Callable[..., Path]) -> None:
    path = job_file(f"""
version: 1
target: aws
scenes:
  - {{name: s, image: p.png, audio: a.wav}}
limits: {{max_cost_usd: 2.5, on_max_cost: cancel}}
aws:
  regions: [eu-central-1]
  markets: [spot, on-demand]
  instance_types: [c7i.2xlarge, m7g-flex.large]
  zones: [eu-central-1b, eu-central-1a]
  order: [type, zone, market, region]
  image: ghcr.io/me/mine@sha256:{"a" * 64}
  ami: ami-0123456789abcdef0
  disk_gb: 8
  ingress: 198.51.100.0/24
  subnet: subnet-01234567
  security_group: sg-0123456789abcdef0
  key_name: my key
  lease_minutes: 45
  price_per_hour: {{c7i.2xlarge: 0.357, m7g-flex.large: 1}}
""")
    job = load_job(path)
    assert job.target == "aws"
    assert job.limits == Limits(None, 600, 3, 2.5, "cancel")
    assert job.settings["aws"] == AwsSettings(
        regions=("eu-central-1",),
        markets=("spot", "on-demand"),
        instance_types=("c7i.2xlarge", "m7g-flex.large"),
        zones=("eu-central-1b", "eu-central-1a"),
        order=("type", "zone", "market", "region"),
        image=f"ghcr.io/me/mine@sha256:{'a' * 64}",
        ami="ami-0123456789abcdef0",
        disk_gb=8,
        ingress="198.51.100.0/24",
        subnet="subnet-01234567",
        security_groups=("sg-0123456789abcdef0",),
        key_name="my key",
        lease_minutes=45,
        price_per_hour=(("c7i.2xlarge", 0.357), ("m7g-flex.large", 1.0)),
    )


def test_a_rented_machine_gets_more_time_to_become_healthy(job_file: Callable[..., Path]) -> None:
    local, rented = job_file(scenes_yaml(1), "local.yaml"), scenes_yaml(1, "target: aws\n")
    assert load_job(local).limits.health_timeout == 180
    assert load_job(local, target="aws").limits.health_timeout == 600
    aws = job_file(rented, "aws.yaml")
    assert load_job(aws).limits.health_timeout == 600
    assert load_job(aws, target="local").limits.health_timeout == 180
    own = job_file(scenes_yaml(1, "target: aws\nlimits: {health_timeout: 20}\n"), "own.yaml")
    assert load_job(own).limits.health_timeout == 20


def test_an_arguments_budget_wins_over_the_files(job_file: Callable[..., Path]) -> None:
    path = job_file(scenes_yaml(1, "limits: {max_cost_usd: 2, attempts: 2}\n"))
    assert load_job(path).limits == Limits(None, 180, 2, 2.0)
    assert load_job(path, max_cost_usd=0.5).limits == Limits(None, 180, 2, 0.5)
    assert load_job(job_file(scenes_yaml(1))).limits.max_cost_usd is None


def test_where_results_go(
    job_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = job_file(scenes_yaml(1))
    assert load_job(path).output == tmp_path / "cloudburst_results"
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "from-environment"))
    assert load_job(path).output == tmp_path / "from-environment"
    path = job_file(scenes_yaml(1, "output: {directory: from-file}\n"))
    assert load_job(path).output == path.parent / "from-file"
    assert load_job(path, output="from-argument").output == tmp_path / "from-argument"
    # Links are followed as far as they lead; those that lead in a circle are told when it is made.
    (tmp_path / "link").symlink_to(tmp_path / "there")
    assert load_job(path, output="link/x").output == tmp_path / "there" / "x"
    (tmp_path / "circle").symlink_to("circle")
    assert load_job(path, output="circle/x").output == tmp_path / "circle" / "x"


def test_paths_are_relative_to_the_file_not_to_the_shell(
    job_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = job_file(scenes_yaml(1))
    monkeypatch.chdir(tmp_path)
    assert load_job("job/scenes.yaml").scenes[0].image == path.parent / "p.png"


@pytest.mark.parametrize(
    "name", ["第一幕", "a b", "a.b-c_d", "Größe (2)", "_x", "it's", "परिचय", "Q&A", "intro🎬"]
)
def test_names_that_are_safe(job_file: Callable[..., Path], name: str) -> None:
    text = f'version: 1\nscenes:\n  - {{name: "{name}", image: p.png, audio: a.wav}}\n'
    job = load_job(job_file(text))
    assert job.scenes[0].name == name
    assert job.warnings == ()


def test_a_decomposed_name_is_the_same_name(job_file: Callable[..., Path]) -> None:
    name = unicodedata.normalize("NFD", "Giới thiệu")
    text = f"version: 1\nscenes:\n  - {{name: {name}, image: p.png, audio: a.wav}}\n"
    job = load_job(job_file(text))
    assert job.scenes[0].name == unicodedata.normalize("NFC", name) != name
    assert job.warnings == ()


def test_a_name_that_no_file_can_have_is_replaced_and_told(job_file: Callable[..., Path]) -> None:
    path = job_file("""version: 1
scenes:
  - {name: "../a:b?", image: p.png, audio: a.wav}
  - {name: fine, image: p.png, audio: a.wav}
  - {name: NUL, image: p.png, audio: a.wav}
""")
    job = load_job(path)
    assert [scene.name for scene in job.scenes] == ["__a_b_", "fine", "_NUL"]
    why = "cannot be a file's name on every system; it is"
    assert job.warnings == (
        f"{path}:3: scenes[0].name: '../a:b?' {why} '__a_b_.mp4'",
        f"{path}:5: scenes[2].name: 'NUL' {why} '_NUL.mp4'",
    )


WORDS = ["001", "1_000", "0x10", "1e3", "2024-01-01", "12:30", "yes", "off", "true", "-1", ".5"]


@pytest.mark.parametrize("word", WORDS)
def test_what_is_written_is_the_name(job_file: Callable[..., Path], word: str) -> None:
    path = job_file(f"""version: 1
scenes:
  - {{name: {word}, image: p.png, audio: a.wav, font_size: 40}}
""")
    scene = load_job(path).scenes[0]
    assert (scene.name, scene.options.font_size) == (names.safe_name(word), 40)


def test_a_number_names_a_file(job_file: Callable[..., Path]) -> None:
    path = job_file("version: 1\nscenes: [{name: 001, image: 007, audio: 1e3}]\n")
    with pytest.raises(BadInput) as caught:
        load_job(path)
    assert "file not found: 007 " in caught.value.problems[0].message
    assert "file not found: 1e3 " in caught.value.problems[1].message


def test_merge_keys(job_file: Callable[..., Path]) -> None:
    path = job_file("""version: 1
x-look: &look {font_size: 40, language: english}
x-base: &base {image: p.png, audio: a.wav, font_size: 10}
scenes:
  - &one {<<: [*look, *base], name: one}
  - {name: two, language: chinese, <<: *one}
""")
    one, two = load_job(path).scenes
    assert (one.options.font_size, one.options.language) == (40, "english")
    assert (two.name, two.options.font_size, two.options.language) == ("two", 40, "chinese")


def test_a_merged_value_is_reported_at_its_merge_key(job_file: Callable[..., Path]) -> None:
    path = job_file("""version: 1
scenes:
  - &one {name: one, image: p.png, audio: no.wav}
  - name: two
    <<: *one
""")
    with pytest.raises(BadInput) as caught:
        load_job(path)
    assert [(one.line, one.field) for one in caught.value.problems] == [
        (3, "scenes[0].audio"),
        (5, "scenes[1].audio"),
    ]


@pytest.mark.parametrize("start", ["~", "$HOME", "${HOME}"])
def test_the_home_folder_in_paths(
    job_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    home = job_file(scenes_yaml(1)).parent
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    text = scenes_yaml(1, f"output: {{directory: '{start}/videos'}}\n")
    path = job_file(text.replace("p.png", f'"{start}/p.png"'), "other.yaml")
    job = load_job(path)
    assert (job.output, job.scenes[0].image) == (home / "videos", home / "p.png")
    assert load_job(path, output=f"{start}/argument").output == home / "argument"
    (tmp_path / ".env").write_text(f"RESULTS_DIR='{start}/dotenv'\n")
    assert load_job(f"{start}/scenes.yaml").output == home / "dotenv"
    assert sorted(one.name for one in tmp_path.iterdir()) == [".env", "job"]


@pytest.mark.parametrize("named", ["$DATA/videos", "x/${DATA}", "~nobody-by-this-name/videos"])
def test_no_folder_is_called_as_a_variable(job_file: Callable[..., Path], named: str) -> None:
    with pytest.raises(BadInput, match="is not replaced here; write the whole path"):
        load_job(job_file(scenes_yaml(1)), output=named)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(job_file: Callable[..., Path]) -> None:
    path = job_file("")
    path.write_bytes(b"\xef\xbb\xbf" + scenes_yaml(2).replace("\n", "\r\n").encode())
    assert len(load_job(path).scenes) == 2


def test_the_schema_that_editors_use_is_the_one_in_force() -> None:
    stored = EXAMPLE.parent.parent / "docs" / "scenes.schema.json"
    assert json.loads(stored.read_text()) == json_schema(), (
        "cloudburst schema > docs/scenes.schema.json"
    )


def test_the_json_schema_accepts_the_example_and_refuses_what_the_loader_refuses() -> None:
    schema = json.loads(json.dumps(json_schema()))
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    document = yaml.safe_load(EXAMPLE.read_text())
    validator.validate(document)
    for change in (
        {"version": 2},
        {"scenes": []},
        {"extra": 1},
        {"limits": {"attempts": 0}},
        {"defaults": {"language": "latin"}},
    ):
        assert list(validator.iter_errors(document | change)), change


def test_an_unknown_target_is_refused_with_the_names_of_those_there_are(
    job_file: Callable[..., Path],
) -> None:
    with pytest.raises(TargetUnknown, match="'mars'; expected one of: local, aws") as caught:
        load_job(job_file(scenes_yaml(1)), target="mars")
    assert caught.value.exit_code == 2


def test_a_truncated_narration_is_a_warning_with_its_line(job_file: Callable[..., Path]) -> None:
    path = job_file(scenes_yaml(2))
    assert load_job(path).warnings == ()
    audio = load_job(path).scenes[1].audio
    audio.write_bytes(audio.read_bytes()[: audio.stat().st_size * 3 // 10])
    first, second = load_job(path).warnings  # both scenes have this narration
    assert first.startswith(f"{path}:3: scenes[0].audio: a.wav: ")
    assert second.startswith(f"{path}:4: scenes[1].audio: a.wav: ")
    assert "damaged or truncated" in first
