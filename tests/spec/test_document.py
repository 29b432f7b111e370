from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import Problem, SpecError
from harness.spec import document
from harness.spec.document import MAX_BYTES, load_file, parse
from harness.spec.place import Place


def refused(text: str) -> list[Problem]:
    with pytest.raises(SpecError) as caught:
        parse(text, "f.yaml")
    return list(caught.value.problems)


def at(problem: Problem) -> tuple[int, int, str]:
    return problem.line, problem.column, problem.key


@pytest.fixture(params=["libyaml", "pure"])
def _loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "libyaml" and not yaml.__with_libyaml__:
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(document, "_LOADER", yaml.CBaseLoader if request.param == "libyaml" else yaml.BaseLoader)


pytestmark = pytest.mark.usefixtures("_loader")


def test_values_and_the_place_of_every_key_and_value() -> None:
    read = parse("a: 1e-3\nb:\n  - no\n  - {c: on, 4: 'x'}\nd: |\n  text\n", "f.yaml")
    assert read.value == {"a": 1e-3, "b": ["no", {"c": "on", "4": "x"}], "d": "text\n"}
    assert {path: (m.key.line, m.key.column, m.value.line, m.value.column) for path, m in read.marks.items()} == {
        ("a",): (1, 1, 1, 4),
        ("b",): (2, 1, 3, 3),
        ("b", 0): (3, 5, 3, 5),
        ("b", 1): (4, 5, 4, 5),
        ("b", 1, "c"): (4, 6, 4, 9),
        ("b", 1, "4"): (4, 13, 4, 16),
        ("d",): (5, 1, 5, 4),
    }
    assert {m.key.file for m in read.marks.values()} == {"f.yaml"}


def test_quoted_scalars_are_text_and_keys_are_always_text() -> None:
    assert parse("'1': '2'\n1.5: y\nno: 'null'", "f").value == {"1": "2", "1.5": "y", "no": "null"}


def test_aliases_are_copies() -> None:
    value = parse("a: &x [1, {b: 2}]\nc: *x\n", "f").value
    assert value == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}
    assert value["a"][1] is not value["c"][1]


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!!binary", "!!timestamp", "!!str", "!x", "!"]
)
@pytest.mark.parametrize("value", ["[ls]", "{a: 1}", "ls"])
def test_tags_are_refused(tag: str, value: str) -> None:
    (problem,) = refused(f"a:\n  b: {tag} {value}\n")
    assert at(problem)[0] == 2
    assert problem.key == "a.b"
    assert "tag" in problem.message
    assert "remove the tag" in problem.remedy


def test_a_tag_on_a_key_is_refused() -> None:
    (problem,) = refused("!!python/name:os.system a: 1\n")
    assert "tag" in problem.message


def test_a_duplicate_key_is_named_with_both_places() -> None:
    problems = refused("a:\n  b: 1\n  c: 2\n  b: 3\nc: 1\nc: 2\n")
    assert [at(problem) for problem in problems] == [(4, 3, "a.b"), (6, 1, "c")]
    assert "line 2" in problems[0].message
    assert problems[0].remedy


def test_a_reference_cycle_of_aliases_is_refused() -> None:
    (problem,) = refused("a: &x\n  b: [1, *x]\n")
    assert at(problem) == (2, 10, "a.b[1]")
    assert "cycle" in problem.message


def test_an_alias_without_anchor_is_refused() -> None:
    (problem,) = refused("a: *x\n")
    assert at(problem) == (1, 4, "a")
    assert problem.remedy


def test_a_bomb_of_aliases_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (problem,) = refused("\n".join(lines))
    assert problem.line == 5
    assert "100,000" in problem.message


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 5_000, "- " * 5_000, "a: " + "[" * 200 + "]" * 200])
def test_deep_nesting_is_refused(text: str) -> None:
    (problem,) = refused(text)
    assert "deeper" in problem.message
    assert problem.line == 1


def test_a_very_wide_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_NODES", 1_000)
    parse("[" + "1," * 999 + "]", "f")
    (problem,) = refused("[" + "1," * 1_000 + "]")
    assert "1,000" in problem.message


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("<<: {a: 1}", 1, 1),
        ("a: 1\n? [x]\n: 1", 2, 3),
        ("a: 1\n? {x: 1}\n: 1", 2, 3),
        ("a: &k 1\n*k : 1", 2, 1),
        ("a: 1\n'': 2", 2, 1),
    ],
)
def test_keys_that_are_no_words_are_refused(text: str, line: int, column: int) -> None:
    (problem,) = refused(text)
    assert (problem.line, problem.column) == (line, column)
    assert problem.remedy


def test_a_second_document_is_refused() -> None:
    (problem,) = refused("a: 1\n---\nb: 2\n")
    assert problem.line == 2
    assert "second document" in problem.message


@pytest.mark.parametrize("text", ["a: [1\n", "a: b: c\n", "a: 'x\n", "\ta: 1\n", "a: @x\n", "a: %x\n- b\n", "{a: 1]\n"])
def test_what_is_no_yaml_is_refused_with_its_place(text: str) -> None:
    (problem,) = refused(text)
    assert problem.message.startswith("not valid YAML")
    assert problem.line >= 1
    assert problem.column >= 1


@pytest.mark.parametrize("escape", ["\\e[31m", "\\0", "\\x07", "\\u202e", "\\x85", "\\uFFFF"])
def test_control_characters_in_texts_are_refused(escape: str) -> None:
    (problem,) = refused(f'a: 1\nb: "x{escape}"\n')
    assert problem.line == 2
    assert "\x1b" not in str(problem)


def test_lone_surrogates_are_refused() -> None:
    assert refused('a: "\\ud800"\n')
    assert refused("a: \ud800\n")


def test_all_problems_are_found_at_once() -> None:
    problems = refused("a: 1\na: 2\nb: !x 1\nc: 012\nd: *q\n")
    assert [problem.line for problem in problems] == [2, 3, 4, 5]


def test_an_override_stands_at_one_place() -> None:
    place = Place("override")
    read = parse("{a: [1, 2]}", "x", place)
    assert {mark.key for mark in read.marks.values()} == {place}
    with pytest.raises(SpecError) as caught:
        parse("[1", "x", place)
    assert str(caught.value).startswith("override: not valid")


# Files


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    for content in [b"", b"\n", b"# nothing\n", b"---\n", b"\xef\xbb\xbf"]:
        (tmp_path / "s.yaml").write_bytes(content)
        with pytest.raises(SpecError, match="empty"):
            load_file(tmp_path / "s.yaml")


@pytest.mark.parametrize("content", [b"- a\n", b"word\n", b"3\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.yaml").write_bytes(content)
    with pytest.raises(SpecError, match="expected a mapping") as caught:
        load_file(tmp_path / "s.yaml")
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (1, 1)


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [
        (b"name: x\nb: \xff\n", 2, 4),
        ("näme: x\n".encode("utf-16"), 1, 1),
        (b"\x89PNG\r\n\x1a\n\x00", 1, 1),
        (b"name: x\n\x00\x01", 2, 1),
        (b"PK\x03\x04", 1, 3),
        (b"a: \x1b[31m", 1, 4),
    ],
)
def test_a_binary_file_is_refused_with_the_place(tmp_path: Path, content: bytes, line: int, column: int) -> None:
    (tmp_path / "s.yaml").write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_file(tmp_path / "s.yaml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (line, column)
    assert "UTF-8" in problem.remedy


def test_a_byte_order_mark_and_windows_lines_are_fine(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: x\r\n")
    assert load_file(tmp_path / "s.yaml").value == {"a": 1, "b": "x"}


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "token_pooling.yaml").write_text("a: 1")
    with pytest.raises(SpecError, match="no such file") as caught:
        load_file(tmp_path / "token_poling.yaml")
    assert "token_pooling.yaml" in caught.value.problems[0].remedy
    with pytest.raises(SpecError, match="does not exist either"):
        load_file(tmp_path / "no" / "such.yaml")
    with pytest.raises(SpecError, match="no such file"):
        load_file(tmp_path / "token_pooling.yaml" / "x.yaml")


def test_a_directory_names_the_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: 1")
    with pytest.raises(SpecError, match="directory") as caught:
        load_file(tmp_path)
    assert "a.yaml" in caught.value.problems[0].remedy


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(SpecError, match="regular file"):
        load_file(tmp_path / "pipe.yaml")


def test_an_endless_device_is_refused() -> None:
    with pytest.raises(SpecError, match="regular file"):
        load_file("/dev/zero")


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "s.yaml").open("wb") as file:
        file.truncate(100 * MAX_BYTES)
    with pytest.raises(SpecError, match="larger than"):
        load_file(tmp_path / "s.yaml")


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, ""])
def test_impossible_file_names_are_refused(name: str) -> None:
    with pytest.raises(SpecError):
        load_file(name)


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(SpecError, match="permission denied"):
        load_file(tmp_path / "s.yaml")


# Anything at all


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_spec_errors(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.yaml"
    path.write_bytes(content)
    with suppress(SpecError):
        document.load_file(path)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab:-[]{}&*!|>%@`'\"#,? \n\t${}.\\01e<"), max_size=60))
def test_random_yaml_punctuation_raises_nothing_but_spec_errors(text: str) -> None:
    with suppress(SpecError):
        parse(text, "f")


_scalars = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(st.characters(categories=["L", "N", "P"]))
_values = st.recursive(
    _scalars,
    lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text("abc", min_size=1, max_size=3), v),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(_values)
def test_json_is_read_as_it_is(value: object) -> None:
    assert parse(json.dumps(value, ensure_ascii=False), "f").value == value
