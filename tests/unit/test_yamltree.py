"""YAML is read safely, with the line of every value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.job import yamltree
from cloudburst.job.tree import ANY_KEY, REPEATED_KEY, Shape

CASES = {
    "a: 1\nb: [x, 2.5, true, ~]\n": {"a": 1, "b": ["x", 2.5, True, None]},
    "a: no\nb: 12:30\nc: 0x1F\nd: 0o17\ne: 1e3\n": {
        "a": "no",
        "b": "12:30",
        "c": 31,
        "d": 15,
        "e": 1000.0,
    },
    "a: '1'\nb: \"true\"\nc: |\n  x\n": {"a": "1", "b": "true", "c": "x\n"},
    "a: &x {k: 1}\nb: *x\n": {"a": {"k": 1}, "b": {"k": 1}},
    "- 1\n- - 2\n": [1, [2]],
}


@pytest.mark.parametrize("text", CASES)
def test_values(text: str) -> None:
    assert yamltree.parse(text).value == CASES[text]


MERGED = {
    "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n": {"x": 1, "y": 3},
    "a: &a {x: 1, y: 2}\nb: {y: 3, <<: *a}\n": {"x": 1, "y": 3},
    "a: &a {x: 1}\nc: &c {x: 2, y: 2}\nb: {<<: [*a, *c]}\n": {"x": 1, "y": 2},
    "a: &a {x: 1}\nc: &c {<<: *a, y: 2}\nb: {<<: *c, z: 3}\n": {"x": 1, "y": 2, "z": 3},
    "b: {<<: {x: 1}, y: 2}\n": {"x": 1, "y": 2},
    "b: {<<: []}\n": {},
    "b: {'<<': 1}\n": {"<<": 1},
}


@pytest.mark.parametrize("text", MERGED)
def test_merge_keys(text: str) -> None:
    tree = yamltree.parse(text)
    assert isinstance(tree.value, dict)
    assert tree.value["b"] == MERGED[text]
    assert tree.faults == []


@pytest.mark.parametrize("value", ["5", "[1]", "text", "~", "[[{}]]"])
def test_a_merge_key_of_no_mapping_is_noted(value: str) -> None:
    (fault,) = yamltree.parse(f"a: 1\nb:\n  <<: {value}\n").faults
    assert (fault.path, fault.line) == (("b", "<<"), 3)
    assert "expected a mapping" in fault.message


def test_a_merge_bomb_is_refused_before_it_grows() -> None:
    keys = ", ".join(f"k{number}: 1" for number in range(1000))
    merges = "".join(f"  - {{<<: *a, n: {number}}}\n" for number in range(1000))
    with pytest.raises(yamltree.YamlError, match="including those of aliases"):
        yamltree.parse(f"a: &a {{{keys}}}\nb:\n{merges}")


def test_text_is_what_is_written() -> None:
    shape: Shape = {"name": str, "list": [{"name": str}], "any": {ANY_KEY: str}}
    text = (
        "name: 0x1F\nlist: [{name: 001, size: 001}, 1e3]\nany: {k: true, n: ~}\nmore: {name: 1.0}\n"
    )
    assert yamltree.parse(text, shape).value == {
        "name": "0x1F",
        "list": [{"name": "001", "size": 1}, 1000.0],
        "any": {"k": "true", "n": None},
        "more": {"name": 1.0},
    }


def test_an_alias_is_read_by_its_place() -> None:
    shape: Shape = {"name": str}
    assert yamltree.parse("size: &n 007\nname: *n\n", shape).value == {"size": 7, "name": "007"}


def test_deep_aliases_are_no_recursion() -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} {'[' * 15}*a{n - 1}{']' * 15}" for n in range(1, 150)]
    assert yamltree.parse("\n".join(lines), {"a1": [str]}).faults == []


def test_lines() -> None:
    tree = yamltree.parse("a: 1\nb:\n  - x: 1\n    y:\n      2\n  - z\n")
    assert tree.line(("a",)) == 1
    assert tree.line(("b", 0, "y")) == 4
    assert tree.line(("b", 1)) == 6
    assert tree.line(("b", 0, "missing")) == 3


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 9):
        repeated = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{repeated}]")
    return "\n".join(lines)


REFUSED = {
    "a: !!python/object/apply:os.system [ls]\n": (1, "tag"),
    "a: 1\nb: !custom x\n": (2, "tag"),
    "a: [1\nb: 2\n": (2, "invalid YAML"),
    "a: &x [*x]\n": (1, "alias"),
    "a: *nowhere\n": (1, "alias"),
    "a: 1\n---\nb: 2\n": (2, "second document"),
    "? [a, b]\n: 1\n": (1, "key"),
    "[" * 100_000: (1, "deep"),
    "a: \x07\n": (1, "invalid YAML"),
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_refused(text: str) -> None:
    line, words = REFUSED[text]
    with pytest.raises(yamltree.YamlError, match=words) as caught:
        yamltree.parse(text)
    assert caught.value.line == line


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    with pytest.raises(yamltree.YamlError, match="including those of aliases"):
        yamltree.parse(bomb())


def test_duplicate_keys_are_noted() -> None:
    assert yamltree.parse("a: 1\nb: 2\na: 3\n").faults == [(("a",), 3, REPEATED_KEY)]


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
    | st.sampled_from(["no", "0o17", "1e3", "0x1F", "~", "-", "- a", "a: b", "# c", "2026-01-01"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(PLAIN)
def test_what_is_written_is_read_back(value: object) -> None:
    assert yamltree.parse(yamltree.dump(value)).value == value


def test_yaml_is_written_for_people() -> None:
    value = {"name": "画", "effects": ["zoom_in"], "scenes": [{"name": "no", "image": "1.png"}]}
    assert yamltree.dump(value) == (
        "name: 画\neffects: [zoom_in]\nscenes:\n  - name: 'no'\n    image: 1.png\n"
    )
