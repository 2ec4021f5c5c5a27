"""YAML is read safely, with the line of every value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.job import yamltree
from cloudburst.job.tree import REPEATED_KEY

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
