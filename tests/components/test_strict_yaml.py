"""Strict YAML: what is written is read as the same, and no text ends in another exception."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.strict_yaml import dump, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300)
@given(VALUES)
@example("12e45")
@example("012345678901")
@example({"2024-01-01": "10:20", "0x1F": "1_000"})
@example("no")
def test_what_is_written_is_read_again(values: object) -> None:
    text = dump(values)
    assert parse("f", text) == (values, ())
    assert yaml.safe_load(text) == values


@settings(max_examples=300)
@given(st.text(max_size=60) | st.lists(st.sampled_from("[]{}:,-?&*!|>'\"%@`#\n\t ae1"), max_size=40).map("".join))
def test_any_text_is_values_or_faults(text: str) -> None:
    _, faults = parse("f", text)
    assert all(fault.file == "f" and "line" in fault.key for fault in faults)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("2026-11-23", "2026-11-23"),
        ("10:20", "10:20"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("15", 15),
        ("-1", -1),
        ("1e3", 1000.0),
        ("10.10", 10.1),
        ("9" * 40, "9" * 40),
        ("no", False),
        ("~", None),
        ("", None),
        ("!!str 5", "5"),
    ],
)
def test_bare_words_are_read_as_pulumi_reads_them_or_refused_where_they_stand(text: str, values: object) -> None:
    assert parse("f", text) == (values, ())


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        ("a: 1\nb: 2\na: 3\n", "a (line 3)", "the same key a second time"),
        ("config:\n  understudy:x: {a: 1, a: 2}\n", "x.a (line 2)", "the same key a second time"),
        ("a: [", "the file (line 1)", "expected the node content"),
        ("a:\n\tb: 1\n", "the file (line 2)", r"'\t'"),
        ("a: 1\n\x00", "the file (line 2)", r"\u0000"),
        ("[" * 2000, "the file (line 1)", "nested hundreds deep"),
        ("a: &x 1\nb: *x\n", "the file (line 2)", "the alias *x"),
        ("a: 1\n---\nb: 2\n", "the file (line 2)", "another document"),
        ("? [a]\n: b\n", "the file (line 1)", "a key that is a list or mapping"),
        ("a: !!int x\n", "a (line 1)", "the tag"),
        ("a: !!bool maybe\n", "a (line 1)", "the tag"),
        ("a: !!python/object/apply:os.system [id]\n", "a (line 1)", "os.system"),
        ("a: !!set {b, c}\n", "a (line 1)", "the tag"),
        ("x" * 1_000_001, "the file (line 1)", "1000001 characters"),
    ],
)
def test_what_is_no_plain_yaml(text: str, key: str, found: str) -> None:
    _, faults = parse("f", text)
    assert faults
    assert faults[0].key == key
    assert found in faults[0].found
