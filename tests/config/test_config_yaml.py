"""YAML that would hang, overflow or lie is refused in one line, in bounded time."""

import time

import pytest

from arcticdl.config import load_config
from arcticdl.config.safe_yaml import MAX_BYTES, parse_yaml, write_yaml
from arcticdl.errors import ConfigError


def bomb(levels: int, width: int = 9) -> str:
    """Lists of aliases of lists: ``width ** levels`` values in few bytes."""
    lines = ["a0: &a0 [x]"]
    for level in range(1, levels):
        aliases = ", ".join([f"*a{level - 1}"] * width)
        lines.append(f"a{level}: &a{level} [{aliases}]")
    return "\n".join(lines)


def merge_bomb(levels: int) -> str:
    """The same by merge keys, which PyYAML follows while it builds."""
    lines = ["a0: &a0 {k: v}"]
    for level in range(1, levels):
        aliases = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} {{<<: [{aliases}]}}")
    return "\n".join(lines)


HAZARDS = {
    "aliases of aliases": (bomb(30), "more than 20000 values"),
    "merges of merges": (merge_bomb(30), "more than 20000 values"),
    "an alias in itself": ("a: &a [*a]", "inside of what it stands for"),
    "a mapping in itself": ("a: &a {b: *a}", "inside of what it stands for"),
    "brackets without end": ("a: " + "[" * 50_000, "more than 50 levels"),
    "braces without end": ("a: " + "{b: " * 20_000, "more than 50 levels"),
    "a repeated key": ("a: 1\nb: 2\na: 3\n", "the key 'a' twice.*line 3"),
    "a repeated key below": ("t:\n  a: 1\n  a: 2\n", "the key 'a' twice.*line 3"),
    "a number too long": ("a: " + "9" * 9_000, "not YAML"),
    "a number in base 60": ("a: " + ":".join(["1"] * 20_000), "10000 characters"),
    "a day that is none": ("a: 2024-02-31", "not YAML"),
    "a tag that builds": ("a: !!python/object/apply:os.getcwd []", "not YAML"),
    "an unfinished list": ("a: [1,", "not YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", "not YAML"),
    "a control character": ("a: \x00", "not YAML"),
    "a list as a key": ("? [1]\n: 2\n", "not YAML"),
}


@pytest.mark.parametrize("hazard", HAZARDS)
def test_a_hazard_is_refused_in_one_line_within_two_seconds(tmp_path, hazard):
    text, message = HAZARDS[hazard]
    path = tmp_path / "hazard.yaml"
    path.write_text(text)
    begun = time.process_time()
    with pytest.raises(ConfigError, match=message) as refused:
        load_config(path)
    assert time.process_time() - begun < 2
    assert str(path) in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 500


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(5_000_000_000)  # sparse: five gigabytes of nothing
    begun = time.process_time()
    with pytest.raises(ConfigError, match="larger than 256 kB"):
        load_config(path)
    assert time.process_time() - begun < 1


def test_the_largest_file_is_read_in_bounded_time():
    line = "- {name: gain, p: 0.5}\n"
    with pytest.raises(ConfigError, match="more than 20000 values"):
        parse_yaml(line * (MAX_BYTES // len(line)))


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: Sverdrup gletsjer på\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"not YAML: it is not UTF-8"):
        load_config(path)


def test_an_override_is_under_the_same_limits(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("name: x\n")
    with pytest.raises(ConfigError, match=r"--set.*levels deep"):
        load_config(path, ("train.augment=" + "[" * 100,))


def test_anchors_and_merges_serve_their_purpose():
    text = "base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\nlist: [*base, *base]\n"
    assert parse_yaml(text) == {
        "base": {"a": 1, "b": 2},
        "other": {"a": 1, "b": 3},
        "list": [{"a": 1, "b": 2}, {"a": 1, "b": 2}],
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("2E5", 200000.0),
        ("-1.5e2", -150.0),
        (".5e1", 5.0),
        ("1.0e-3", 0.001),
        ("1e", "1e"),
        ("e3", "e3"),
    ],
)
def test_powers_of_ten_are_numbers_as_in_yaml_1_2(text, value):
    assert parse_yaml(f"a: {text}") == {"a": value}


@pytest.mark.parametrize("text", ["12e4", "1e-3", "0x1f", "yes", "12:30", "", "~"])
def test_texts_that_look_like_something_else_survive_a_round_trip(text):
    tree = {"group": text, text: 1}
    assert parse_yaml(write_yaml(tree)) == tree
