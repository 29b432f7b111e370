from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import stream
from harness.data.stream import read_document
from harness.errors import HarnessError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def _keep(index: int, value: Any) -> tuple[int, Any]:
    return index, value


@settings(max_examples=100, deadline=None)
@given(
    elements=st.lists(VALUES, max_size=12),
    before=st.dictionaries(st.text(max_size=5).filter(lambda key: key != "data"), VALUES, max_size=3),
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
)
def test_it_reads_what_json_reads_however_the_file_falls_into_chunks(
    tmp_path_factory: pytest.TempPathFactory,
    elements: list[Any],
    before: dict[str, Any],
    chunk: int,
    indent: int | None,
    ascii_only: bool,
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    document = {**before, "data": elements}
    path.write_text(
        json.dumps(document, indent=indent, ensure_ascii=ascii_only), encoding="utf-8", errors="surrogatepass"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "_CHUNK", chunk)
        members, found = read_document(path, "data", _keep)
    assert found == list(enumerate(elements))
    assert members == {key: value for key, value in before.items() if not isinstance(value, list)}


def test_a_number_that_ends_at_a_chunk_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_CHUNK", 1)
    (tmp_path / "a.json").write_text('{"n": 0.5, "data": [12, 345.25, -6e2, true]}')
    assert read_document(tmp_path / "a.json", "data", _keep) == (
        {"n": 0.5},
        [(0, 12), (1, 345.25), (2, -600.0), (3, True)],
    )


def test_a_file_cut_anywhere_is_noticed(tmp_path: Path) -> None:
    whole = json.dumps({"info": {"a": [1, 2]}, "skipped": [1, {"b": 2}], "data": [{"x": "yz"}, 3, [4.5]]})
    path = tmp_path / "cut.json"
    for length in range(len(whole)):
        path.write_text(whole[:length])
        with pytest.raises(HarnessError, match=r"cut\.json .*(truncated|not JSON)") as caught:
            read_document(path, "data", _keep)
        assert "download" in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2]", r"'\{' expected at character 0, not '\['"),
        (b"", "truncated"),
        (b"\x00\x01\xff", "not JSON|not UTF-8"),
        (b'{"data": [1, 2]} x', "goes on"),
        (b'{"data": {"a": 1}}', "no list 'data'"),
        (b'{"other": [1]}', "no list 'data'"),
        (b'{"data": [1 2]}', "not JSON"),
        (b'{"data": [nope]}', "not JSON"),
        (b"{data: []}", "not JSON"),
        (b'{"data": ["\xff"]}', "not UTF-8"),
        (b'{"a": ' + b"[" * 10, "truncated"),
        (b'{"a": ' + b'{"b":' * 200_000, "nested too deeply|truncated"),
    ],
)
def test_what_is_no_official_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(HarnessError, match=message):
        read_document(tmp_path / "a.json", "data", _keep)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(HarnessError, match="cannot be read"):
            read_document(path, "data", _keep)
