"""Every way a scenes.yaml can be wrong gets its own clear error, and starts nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from cloudburst.errors import BadInput
from cloudburst.job.loader import load_job
from tests.support.inputs import scenes_yaml, write_picture, write_sound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Bad(NamedTuple):
    """A bad file and the error it must get: line, field, words of the message."""

    text: str
    line: int
    field: str
    words: str
    prepare: Callable[[Path], object] = lambda _: None


def one(scene: str = "name: s, image: p.png, audio: a.wav", more: str = "") -> str:
    return f"version: 1\n{more}scenes:\n  - {{{scene}}}\n"


def scene(more: str) -> str:
    return one(f"name: s, image: p.png, audio: a.wav, {more}")


def named(name: str) -> str:
    return one(f'name: "{name}", image: p.png, audio: a.wav')


def aws(section: str, more: str = "") -> str:
    return one(more=f"target: aws\naws: {{{section}}}\n{more}")


def wide_bmp(path: Path) -> None:
    """Write the header of a picture of 70000 x 70000 pixels, without its pixels."""
    header = b"BM" + (54).to_bytes(4, "little") + b"\0" * 4 + (54).to_bytes(4, "little")
    header += (40).to_bytes(4, "little") + (70000).to_bytes(4, "little") * 2
    path.write_bytes(header + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + b"\0" * 24)


CASES = {
    # the file
    "empty file": Bad("", 0, "", "empty"),
    "only a comment": Bad("# nothing\n", 1, "", "got nothing; expected a mapping"),
    "a list": Bad("- a\n", 1, "", "got a list of 1; expected a mapping"),
    "a word": Bad("scenes\n", 1, "", "got 'scenes'; expected a mapping"),
    "broken yaml": Bad("version: 1\nscenes: [\n", 3, "", "invalid YAML"),
    "full-width colon": Bad(
        "version: 1\nscenes:\n  - name： a\n    image: p.png\n", 3, "", "a full-width colon"
    ),
    "no space": Bad(
        "version: 1\nscenes:\n  - image:p.png\n    audio: a.wav\n",
        3,
        "",
        "no space after the colon",
    ),
    "Windows path": Bad(
        'version: 1\nscenes:\n  - image: "C:\\Users\\p.png"\n',
        3,
        "",
        "reads a backslash as an escape",
    ),
    "other escapes": Bad(
        'version: 1\nscenes:\n  - image: "C:\\pics\\p.png"\n',
        3,
        "",
        "reads a backslash as an escape",
    ),
    "tabs": Bad("version: 1\nscenes:\n\t- a\n", 3, "", "a tab in the indentation"),
    "a tag": Bad("version: 1\nname: !!python/name:os.system x\n", 2, "", "tag"),
    "two documents": Bad(one() + "---\n" + one(), 4, "", "second document"),
    # top level
    "no version": Bad(one().replace("version: 1\n", ""), 1, "version", "missing"),
    "version 2": Bad(one().replace("1", "2", 1), 1, "version", "got 2; expected one of: 1"),
    "version as text": Bad(one().replace("1", "'1'", 1), 1, "version", "got '1'"),
    "no scenes": Bad("version: 1\n", 1, "scenes", "missing"),
    "empty scenes": Bad("version: 1\nscenes: []\n", 2, "scenes", "got an empty list"),
    "scenes as mapping": Bad("version: 1\nscenes: {a: 1}\n", 2, "scenes", "expected a list"),
    "too many scenes": Bad(scenes_yaml(10_001), 2, "scenes", "10001 items; expected at most 10000"),
    "unknown key": Bad(one(more="colour: red\n"), 2, "colour", "unknown key; expected one of"),
    "misspelt key": Bad(one(more="distributoin: {}\n"), 2, "distributoin", "mean distribution?"),
    "key twice": Bad(one(more="name: a\nname: b\n"), 3, "name", "duplicate key"),
    "unknown target": Bad(
        one(more="target: mars\n"), 2, "target", "got 'mars'; expected one of: 'local', 'aws'"
    ),
    "unsafe job name": Bad(one(more="name: ../x\n"), 2, "name", "letters, digits"),
    "long job name": Bad(one(more=f"name: {'x' * 41}\n"), 2, "name", "at most 40 characters"),
    # distribution, limits, output
    "no workers": Bad(
        one(more="distribution: {max_parallel_instances: 0}\n"),
        2,
        "distribution.max_parallel_instances",
        "got 0; expected 1 or more",
    ),
    "part of a scene": Bad(
        one(more="distribution: {scenes_per_batch: 2.5}\n"),
        2,
        "distribution.scenes_per_batch",
        "a whole number",
    ),
    "boolean for a number": Bad(
        one(more="limits: {attempts: true}\n"), 2, "limits.attempts", "got true"
    ),
    "endless timeout": Bad(
        one(more="limits: {scene_timeout: 1e9}\n"), 2, "limits.scene_timeout", "86400"
    ),
    "not a number": Bad(
        one(more="limits: {health_timeout: soon}\n"), 2, "limits.health_timeout", "got 'soon'"
    ),
    "former key": Bad(
        one(more="output: {saving_dir: x}\n"), 2, "output.saving_dir", "mean directory?"
    ),
    "output is a file": Bad(
        one(more="output: {directory: p.png}\n"), 2, "output.directory", "is a file"
    ),
    "nothing may be spent": Bad(
        one(more="limits: {max_cost_usd: 0}\n"),
        2,
        "limits.max_cost_usd",
        "got 0; expected more than",
    ),
    "less than nothing may be spent": Bad(
        one(more="limits: {max_cost_usd: -1}\n"), 2, "limits.max_cost_usd", "got -1; expected more"
    ),
    "money as text": Bad(
        one(more="limits: {max_cost_usd: $5}\n"), 2, "limits.max_cost_usd", "expected a number"
    ),
    "what to do when it is dear": Bad(
        one(more="limits: {on_max_cost: panic}\n"),
        2,
        "limits.on_max_cost",
        "got 'panic'; expected one of: 'finish', 'cancel'",
    ),
    # aws
    "region in the singular": Bad(
        aws("region: us-east-1"), 3, "aws.region", "unknown key; did you mean regions?"
    ),
    "type in the singular": Bad(
        aws("instance_type: c5.large"), 3, "aws.instance_type", "did you mean instance_types?"
    ),
    "key of the original": Bad(
        aws("docker_image: me/mine"), 3, "aws.docker_image", "did you mean image?"
    ),
    "a tag of CloudBurst's": Bad(
        aws("tags: {project: mine}"), 3, "aws.tags.project", "CloudBurst sets this tag itself"
    ),
    "a tag of AWS's": Bad(aws("tags: {'aws:x': y}"), 3, "aws.tags.aws:x", "begin with aws:"),
    "no key of a tag": Bad(aws("tags: {'a#': b}"), 3, "aws.tags.a#", "a tag's key"),
    "a tag that no resource can have": Bad(
        aws("tags: {a: 'b#c'}"), 3, "aws.tags.a", "a tag's value"
    ),
    "a key by its id": Bad(aws("kms_key: 1234abcd"), 3, "aws.kms_key", "arn:aws:kms:"),
    "a key of another region": Bad(
        aws("regions: [us-west-2], kms_key: 'arn:aws:kms:us-east-1:123456789012:key/1'"),
        3,
        "aws.kms_key",
        "a key of us-east-1",
    ),
    "zone as region": Bad(
        aws("regions: [us-east-1a]"), 3, "aws.regions[0]", "expected a region such as us-east-1"
    ),
    "one region as text": Bad(aws("regions: us-east-1"), 3, "aws.regions", "expected a list"),
    "no regions": Bad(aws("regions: []"), 3, "aws.regions", "got an empty list; expected at least"),
    "region as zone": Bad(
        aws("zones: [us-east-1b, us-east-1]"),
        3,
        "aws.zones[1]",
        "got 'us-east-1'; expected an availability zone such as us-east-1a",
    ),
    "unknown form of type": Bad(
        aws("instance_types: [c5.2xlarge, huge]"),
        3,
        "aws.instance_types[1]",
        "got 'huge'; expected an instance type such as c5.2xlarge",
    ),
    "unknown market": Bad(
        aws("markets: [reserved]"),
        3,
        "aws.markets[0]",
        "got 'reserved'; expected one of: 'on-demand', 'spot'",
    ),
    "market twice": Bad(
        aws("markets: [spot, spot]"), 3, "aws.markets", "got spot, spot; expected each one once"
    ),
    "no market": Bad(aws("markets: []"), 3, "aws.markets", "got an empty list; expected at least"),
    "order without an axis": Bad(
        aws("order: [region, market, type]"), 3, "aws.order", "expected at least 4"
    ),
    "order with an axis twice": Bad(
        aws("order: [region, market, type, type]"),
        3,
        "aws.order",
        "got region, market, type, type; expected each one once",
    ),
    "order with an axis too many": Bad(
        aws("order: [region, market, type, zone, zone]"), 3, "aws.order", "got 5 items"
    ),
    "order with an unknown axis": Bad(
        aws("order: [region, market, type, price]"), 3, "aws.order[3]", "got 'price'"
    ),
    "ingress without a mask": Bad(
        aws("ingress: 203.0.113.7"),
        3,
        "aws.ingress",
        "got '203.0.113.7'; expected a CIDR block such as 203.0.113.7/32",
    ),
    "ingress with too long a mask": Bad(
        aws("ingress: 203.0.113.7/33"), 3, "aws.ingress", "expected a CIDR block"
    ),
    "ingress as a name": Bad(aws("ingress: everyone"), 3, "aws.ingress", "a CIDR block"),
    "disk smaller than the machine image": Bad(
        aws("disk_gb: 29"),
        3,
        "aws.disk_gb",
        "got 29; expected 30 or more, the size of Amazon's machine image",
    ),
    "tiny disk": Bad(
        aws("ami: ami-01234567, disk_gb: 7"), 3, "aws.disk_gb", "got 7; expected 8 or more"
    ),
    "part of a gigabyte": Bad(aws("disk_gb: 30.5"), 3, "aws.disk_gb", "a whole number"),
    "subnet in two regions": Bad(
        aws("regions: [us-east-1, us-west-2], subnet: subnet-01234567"),
        3,
        "aws.subnet",
        "got a subnet and 2 regions; expected one",
    ),
    "ami by name": Bad(aws("ami: ubuntu"), 3, "aws.ami", "expected an AMI such as ami-0"),
    "subnet by name": Bad(aws("subnet: public"), 3, "aws.subnet", "a subnet such as subnet-0"),
    "security group by name": Bad(
        aws("security_group: default"), 3, "aws.security_group", "a security group such as sg-0"
    ),
    "a security group twice": Bad(
        aws("security_groups: [sg-01234567, sg-01234567]"),
        3,
        "aws.security_groups",
        "expected each one once",
    ),
    "one of several security groups by name": Bad(
        aws("security_groups: [sg-01234567, default]"),
        3,
        "aws.security_groups[1]",
        "a security group such as sg-0",
    ),
    "both keys of security groups": Bad(
        aws("security_group: sg-01234567, security_groups: [sg-12345678]"),
        3,
        "aws.security_group",
        "got security_groups as well; expected one of the two",
    ),
    "security groups in two regions": Bad(
        aws("regions: [us-east-1, us-west-2], security_groups: [sg-01234567]"),
        3,
        "aws.security_groups",
        "got 2 regions; expected one: a security group is in one",
    ),
    "a wave of no launches": Bad(
        one(more="distribution: {launches_per_wave: 0}\n"),
        2,
        "distribution.launches_per_wave",
        "got 0; expected 1 or more",
    ),
    "a pause that ends before it begins": Bad(
        one(more="distribution: {launch_pause: -1}\n"),
        2,
        "distribution.launch_pause",
        "got -1; expected 0 or more",
    ),
    "container with a space": Bad(
        aws("image: me/mine 1"), 3, "aws.image", "expected a container image in small letters"
    ),
    "container as an option": Bad(aws("image: --privileged"), 3, "aws.image", "a container image"),
    "negative price": Bad(
        aws("price_per_hour: {c5.2xlarge: -0.1}"),
        3,
        "aws.price_per_hour.c5.2xlarge",
        "got -0.1; expected more than 0",
    ),
    "no price": Bad(
        aws("price_per_hour: {c5.2xlarge: 0}"), 3, "aws.price_per_hour.c5.2xlarge", "more than 0"
    ),
    "short lease": Bad(
        aws("lease_minutes: 4"), 3, "aws.lease_minutes", "got 4; expected 5 or more"
    ),
    "long lease": Bad(
        aws("lease_minutes: 1441"), 3, "aws.lease_minutes", "got 1441; expected 1440 or less"
    ),
    # a scene's shape
    "scene as text": Bad("version: 1\nscenes:\n  - s\n", 3, "scenes[0]", "expected a mapping"),
    "no name": Bad(one("image: p.png, audio: a.wav"), 3, "scenes[0].name", "missing"),
    "no image": Bad(one("name: s, audio: a.wav"), 3, "scenes[0].image", "missing"),
    "no audio": Bad(one("name: s, image: p.png"), 3, "scenes[0].audio", "missing"),
    "null as name": Bad(
        one("name: null, image: p.png, audio: a.wav"), 3, "scenes[0].name", "expected text"
    ),
    "null image": Bad(one("name: s, image: ~, audio: a.wav"), 3, "scenes[0].image", "got nothing"),
    "former scene key": Bad(scene("input_image: p.png"), 3, "scenes[0].input_image", "mean image?"),
    "unknown effect": Bad(scene("effects: [spin]"), 3, "scenes[0].effects[0]", "got 'spin'"),
    "effect as text": Bad(scene("effects: zoom_in"), 3, "scenes[0].effects", "expected a list"),
    "unknown language": Bad(scene("language: latin"), 3, "scenes[0].language", "got 'latin'"),
    "opacity over 1": Bad(
        scene("background_opacity: 1.5"), 3, "scenes[0].background_opacity", "1 or less"
    ),
    "opacity as text": Bad(
        scene("background_opacity: half"), 3, "scenes[0].background_opacity", "a number"
    ),
    "opacity not a number": Bad(
        scene('background_opacity: ".nan"'), 3, "scenes[0].background_opacity", "a number"
    ),
    "tiny font": Bad(scene("font_size: 1"), 3, "scenes[0].font_size", "8 or more"),
    "huge font": Bad(scene("font_size: 9999"), 3, "scenes[0].font_size", "400 or less"),
    "html colour": Bad(
        scene("outline_color: '#ff0000'"), 3, "scenes[0].outline_color", "an ASS colour"
    ),
    "box as word": Bad(
        scene("background_box: yes"), 3, "scenes[0].background_box", "got 'yes'; expected true"
    ),
    "portrait as number": Bad(scene("is_portrait: 1"), 3, "scenes[0].is_portrait", "true or false"),
    # names
    "empty name": Bad(named(""), 3, "scenes[0].name", "not empty"),
    "long name": Bad(named("x" * 1001), 3, "scenes[0].name", "at most 1000 characters"),
    "names of one file": Bad(
        one('name: "a/b", image: p.png, audio: a.wav')
        + '  - {name: "a:b", image: p.png, audio: a.wav}\n',
        4,
        "scenes[1].name",
        "line 3",
    ),
    "long names of one file": Bad(
        one(f"name: {'画' * 90}1, image: p.png, audio: a.wav")
        + f"  - {{name: {'画' * 90}2, image: p.png, audio: a.wav}}\n",
        4,
        "scenes[1].name",
        "line 3",
    ),
    "name twice": Bad(
        one() + "  - {name: s, image: p.png, audio: a.wav}\n", 4, "scenes[1].name", "line 3"
    ),
    "name twice but for case": Bad(
        one() + "  - {name: S, image: p.png, audio: a.wav}\n", 4, "scenes[1].name", "line 3"
    ),
    # files
    "image not found": Bad(
        one("name: s, image: no.png, audio: a.wav"), 3, "scenes[0].image", "file not found: no.png"
    ),
    "audio not found": Bad(
        one("name: s, image: p.png, audio: no.wav"), 3, "scenes[0].audio", "relative to scenes.yaml"
    ),
    "image is a folder": Bad(
        one("name: s, image: ., audio: a.wav"), 3, "scenes[0].image", "is a folder"
    ),
    "empty image": Bad(
        one("name: s, image: e.png, audio: a.wav"),
        3,
        "scenes[0].image",
        "is empty; expected a picture",
        lambda folder: (folder / "e.png").touch(),
    ),
    "sound as image": Bad(
        one("name: s, image: a.wav, audio: a.wav"), 3, "scenes[0].image", "it is a WAV file"
    ),
    "image as sound": Bad(
        one("name: s, image: p.png, audio: p.png"), 3, "scenes[0].audio", "expected an audio file"
    ),
    "text as sound": Bad(
        one("name: s, image: p.png, audio: s.srt"), 3, "scenes[0].audio", "expected an audio file"
    ),
    "text as image": Bad(
        one("name: s, image: s.srt, audio: a.wav"), 3, "scenes[0].image", "it is text: "
    ),
    "git-lfs pointer": Bad(
        one("name: s, image: l.png, audio: a.wav"),
        3,
        "scenes[0].image",
        "git lfs pull",
        lambda folder: (folder / "l.png").write_text("version https://git-lfs.github.com/spec/v1"),
    ),
    "picture too wide": Bad(
        one("name: s, image: wide.bmp, audio: a.wav"),
        3,
        "scenes[0].image",
        "70000x70000|decompression bomb",
        lambda folder: wide_bmp(folder / "wide.bmp"),
    ),
    "picture of one pixel": Bad(
        one("name: s, image: dot.png, audio: a.wav"),
        3,
        "scenes[0].image",
        "1x1 pixels",
        lambda folder: write_picture(folder / "dot.png", (1, 1)),
    ),
    "sound of no length": Bad(
        one("name: s, image: p.png, audio: short.wav"),
        3,
        "scenes[0].audio",
        "has no duration|0.00 s of audio",
        lambda folder: write_sound(folder / "short.wav", 0.0),
    ),
    "sound too long": Bad(
        one("name: s, image: p.png, audio: long.wav"),
        3,
        "scenes[0].audio",
        "the limits are 0.1 and 1800 s",
        lambda folder: write_sound(folder / "long.wav", 1900, rate=100),
    ),
    "srt without cues": Bad(
        scene("subtitle: no.srt"),
        3,
        "scenes[0].subtitle",
        "no cues found",
        lambda folder: (folder / "no.srt").write_text("just words\n"),
    ),
    "picture as srt": Bad(scene("subtitle: p.png"), 3, "scenes[0].subtitle", "expected subtitles"),
    "watermark not found": Bad(
        one(more="defaults: {watermark: no.png}\n"), 2, "defaults.watermark", "file not found"
    ),
    "path with a control character": Bad(
        one('name: s, image: "p\\0.png", audio: a.wav'), 3, "scenes[0].image", "write / instead"
    ),
    "path too long": Bad(
        one(f"name: s, image: {'x' * 300}.png, audio: a.wav"), 3, "scenes[0].image", "too long"
    ),
    "a fifo": Bad(
        one("name: s, image: fifo, audio: a.wav"),
        3,
        "scenes[0].image",
        "not a regular file",
        lambda folder: os.mkfifo(folder / "fifo"),
    ),
}


def problems(path: Path) -> list[tuple[int, str, str]]:
    with pytest.raises(BadInput) as caught:
        load_job(path)
    assert caught.value.exit_code == 2
    return [(one.line, one.field, one.message) for one in caught.value.problems]


@pytest.mark.parametrize("name", CASES)
def test_bad_file(name: str, job_file: Callable[..., Path], state: Path) -> None:
    bad = CASES[name]
    path = job_file(bad.text)
    bad.prepare(path.parent)
    found = problems(path)
    assert len(found) == 1, found
    line, field, message = found[0]
    assert (line, field) == (bad.line, bad.field), message
    assert any(words in message for words in bad.words.split("|")), message
    assert not state.exists(), "nothing was started"


def test_there_are_at_least_forty() -> None:
    assert len(CASES) >= 40


def test_not_utf8(job_file: Callable[..., Path]) -> None:
    path = job_file("")
    path.write_bytes(b"version: 1\nname: \xff\xfe\n")
    assert problems(path) == [(2, "", "not UTF-8; save the file as UTF-8")]


def test_no_such_file(tmp_path: Path) -> None:
    assert problems(tmp_path / "no.yaml")[0][2].startswith(
        "file not found; expected a scenes.yaml, a table (.csv), JSON Lines (.jsonl) or a folder"
    )
    assert problems(tmp_path)[0][2].startswith("no picture and sound that pair; got no files")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files(job_file: Callable[..., Path]) -> None:
    path = job_file(one())
    (path.parent / "p.png").chmod(0)
    ((line, field, message),) = problems(path)
    assert (line, field) == (3, "scenes[0].image")
    assert "Permission denied" in message


def test_all_problems_come_at_once_in_the_order_of_the_file(job_file: Callable[..., Path]) -> None:
    path = job_file("""version: 1
name: "bad name"
defaults:
  font_size: big
scenes:
  - name: a/b
    image: no.png
    audio: a.wav
  - name: ok
    image: p.png
    audio: no.wav
    colour: red
  - name: ok
    image: p.png
limits:
  attempts: 99
""")
    assert [(line, field) for line, field, _ in problems(path)] == [
        (2, "name"),
        (4, "defaults.font_size"),
        (7, "scenes[0].image"),
        (11, "scenes[1].audio"),
        (12, "scenes[1].colour"),
        (13, "scenes[2].audio"),
        (13, "scenes[2].name"),
        (16, "limits.attempts"),
    ]


def test_an_error_reads_well(
    job_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = job_file(one("name: s, image: p.png, audio: audio/intro.mp3"))
    monkeypatch.chdir(path.parent)
    with pytest.raises(BadInput) as caught:
        load_job("scenes.yaml")
    assert str(caught.value) == (
        "scenes.yaml:3: scenes[0].audio: file not found: audio/intro.mp3 "
        "(paths are relative to scenes.yaml)"
    )


def test_ten_thousand_scenes_load_in_bounded_memory(job_file: Callable[..., Path]) -> None:
    assert len(load_job(job_file(scenes_yaml(10_000))).scenes) == 10_000


def test_the_schema_names_every_case_once() -> None:
    assert len({(bad.text, bad.prepare) for bad in CASES.values()}) == len(CASES), "a case is twice"
