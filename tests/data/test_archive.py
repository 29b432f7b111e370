from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.archive import Archive, ArchiveWriter
from harness.errors import HarnessError

NAMES = st.text(
    st.characters(codec="ascii", exclude_characters="/\0", exclude_categories=["Cc"]), min_size=1, max_size=80
)


def _write(path: Path, members: dict[str, bytes]) -> Path:
    with ArchiveWriter(path) as archive:
        for name, data in members.items():
            archive.add(name, data)
    return path


@settings(max_examples=40, deadline=None)
@given(members=st.dictionaries(NAMES, st.binary(max_size=1500), max_size=6))
def test_what_is_written_is_read_by_us_and_by_tarfile(
    tmp_path_factory: pytest.TempPathFactory, members: dict[str, bytes]
) -> None:
    path = _write(tmp_path_factory.mktemp("tar") / "a.tar", members)
    ours = Archive(path)
    assert {name: ours.read(name) for name in ours.members} == members
    assert list(ours.members) == list(members)
    with tarfile.open(path) as tar:
        assert {member.name: tar.extractfile(member).read() for member in tar} == members


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_others_are_read(tmp_path: Path, form: int) -> None:
    long = "folder/" * 12 + "x" * (30 if form == tarfile.USTAR_FORMAT else 200) + ".json"
    contents = {"a.jpg": b"1" * 700, long: b"{}", "z.txt": b"ende"}
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as tar:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in contents.items():
            info = tarfile.TarInfo(f"./{name}" if name == "z.txt" else name)
            info.size = len(data)
            info.mtime = 1_700_000_000.5 if form == tarfile.PAX_FORMAT else 1_700_000_000
            tar.addfile(info, io.BytesIO(data))
    archive = Archive(tmp_path / "a.tar")
    assert {name: archive.read(name) for name in archive.members} == contents


def test_bytes_depend_on_names_and_contents_alone(tmp_path: Path) -> None:
    first = _write(tmp_path / "a.tar", {"a.jpg": b"1", "a.json": b"{}"})
    second = _write(tmp_path / "b.tar", {"a.jpg": b"1", "a.json": b"{}"})
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as tar:
        assert all((member.mtime, member.uid, member.uname) == (0, 0, "") for member in tar)


def test_a_tar_cut_anywhere_is_noticed(tmp_path: Path) -> None:
    whole = _write(tmp_path / "a.tar", {f"{index}.json": b"x" * 300 * index for index in range(4)}).read_bytes()
    cut = tmp_path / "cut.tar"
    content = len(whole.rstrip(b"\0"))  # what follows is padding
    for length in [*range(0, content, 97), 512, 1024, content]:
        cut.write_bytes(whole[:length])
        with pytest.raises(HarnessError, match=r"cut\.tar"):
            _ = Archive(cut).members


def test_damage_is_noticed(tmp_path: Path) -> None:
    data = bytearray(_write(tmp_path / "a.tar", {"a.json": b"{}", "b.json": b"{}"}).read_bytes())
    data[1024 + 3] ^= 1
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(HarnessError, match=r"damaged.* at byte 1,024"):
        _ = Archive(tmp_path / "a.tar").members
    for content in (b"", b"not a tar " * 200, b"\x1f\x8b" + b"0" * 600):
        (tmp_path / "b.tar").write_bytes(content)
        with pytest.raises(HarnessError, match=r"b\.tar"):
            _ = Archive(tmp_path / "b.tar").members


def test_equal_names_missing_members_and_missing_files_are_errors(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a.tar") as archive:
        archive.add("a.json", b"1")
        archive.add("a.json", b"2")
    with pytest.raises(HarnessError, match="two members"):
        _ = Archive(tmp_path / "a.tar").members
    good = Archive(_write(tmp_path / "b.tar", {"a.json": b"1"}))
    with pytest.raises(HarnessError, match=r"no member 'b.json'"):
        good.read("b.json")
    for path in (tmp_path / "none.tar", tmp_path):
        with pytest.raises(HarnessError, match="cannot be read"):
            _ = Archive(path).members


def test_an_archive_shrunk_after_it_was_opened_is_noticed(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tar", {"a.json": b"1" * 5000})
    archive = Archive(path)
    assert archive.members
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(HarnessError, match="ends within"):
        archive.read("a.json")


def test_archives_can_be_handed_to_another_process(tmp_path: Path) -> None:
    archive = Archive(_write(tmp_path / "a.tar", {"a.json": b"1"}))
    archive.read("a.json")
    assert pickle.loads(pickle.dumps(archive)).read("a.json") == b"1"


def test_a_failed_writer_leaves_no_archive_that_looks_whole(tmp_path: Path) -> None:
    archive = ArchiveWriter(tmp_path / "a.tar")
    archive.add("a.json", b"1")
    archive.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    with pytest.raises(HarnessError):
        _ = Archive(tmp_path / "a.tar").members
    with ArchiveWriter(tmp_path / "b.tar") as archive, pytest.raises(ValueError, match="100 bytes"):
        archive.add("x" * 101, b"")
