from __future__ import annotations

import errno
import json
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.store import StorageFull, atomic, is_storage_full, replace_directory, write_bytes, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"old")
    write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(tmp_path / "a", b"old")

    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, fail)
            with pytest.raises(StorageFull, match="full"):
                write_bytes(tmp_path / "a", b"new")
        assert (tmp_path / "a").read_bytes() == b"old"
        assert names(tmp_path) == ["a"]


WRITER = """
import sys
from pathlib import Path
from harness.store import write_bytes
print("ready", flush=True)
number = 0
while True:
    number += 1
    write_bytes(Path(sys.argv[1]), b"%d " % number * 20000)
"""


def test_a_kill_never_leaves_a_torn_file(tmp_path: Path, script: Any) -> None:
    target = tmp_path / "a"
    for seed in range(5):
        process = script(WRITER, target)
        time.sleep(random.Random(seed).uniform(0.01, 0.2))
        process.kill()
        process.wait()
        if target.exists():
            words = target.read_bytes().split()
            assert len(words) == 20000
            assert len(set(words)) == 1
    atomic.recover(tmp_path)
    assert names(tmp_path) in ([], ["a"])


def test_json_is_readable_by_strict_readers(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"loss": float("nan"), "word": "é\ud800"})
    text = (tmp_path / "a.json").read_bytes().decode("utf-8", errors="surrogatepass")
    assert json.loads(text, parse_constant=pytest.fail) == {"loss": None, "word": "é\ud800"}


def test_of_many_creators_one_wins(tmp_path: Path) -> None:
    for number in range(20):
        won: list[bytes] = []
        barrier = threading.Barrier(8)

        def race(data: bytes, path: Path, won: list[bytes], barrier: threading.Barrier) -> None:
            barrier.wait()
            if atomic.create(path, data):
                won.append(data)

        path = tmp_path / str(number)
        threads = [threading.Thread(target=race, args=(b"%d" % index, path, won, barrier)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert path.read_bytes() == won[0]
    assert len(names(tmp_path)) == 20


def fill(folder: Path, word: str) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "weights").write_text(word)
    (folder / word).touch()


def content(folder: Path) -> list[str]:
    return [*names(folder), (folder / "inner" / "weights").read_text()]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for word in ("one", "two"):
        with replace_directory(tmp_path / "model") as folder:
            fill(folder, word)
    assert content(tmp_path / "model") == ["inner", "two", "two"]
    assert names(tmp_path) == ["model"]


def test_an_error_while_filling_leaves_the_old_folder(tmp_path: Path) -> None:
    with replace_directory(tmp_path / "model") as folder:
        fill(folder, "one")
    with pytest.raises(ZeroDivisionError), replace_directory(tmp_path / "model") as folder:  # noqa: PT012
        fill(folder, "two")
        raise ZeroDivisionError
    assert content(tmp_path / "model") == ["inner", "one", "one"]
    assert names(tmp_path) == ["model"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("kill_at", [1, 2, 3])
def test_a_kill_between_the_renames_is_recovered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int, before: bool
) -> None:
    """Before the first rename the old folder stays; from then on the new one, which is complete, takes its place."""
    if before:
        with replace_directory(tmp_path / "model") as folder:
            fill(folder, "one")
    rename, calls = os.rename, 0

    def dying(source: Any, target: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == kill_at:
            raise Killed
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", dying)
        patch.setattr(atomic.shutil, "rmtree", lambda *arguments, **options: None)  # the dead do not tidy up
        with pytest.raises(Killed), replace_directory(tmp_path / "model") as folder:
            fill(folder, "two")

    atomic.recover(tmp_path)

    if kill_at == 1:
        assert names(tmp_path) == (["model"] if before else [])
        assert not before or content(tmp_path / "model") == ["inner", "one", "one"]
    else:
        assert content(tmp_path / "model") == ["inner", "two", "two"]
        assert names(tmp_path) == ["model"]


def test_recovery_spares_specs_that_others_may_be_writing(tmp_path: Path) -> None:
    for name in (".stage.json.abc.tmp", ".x.abc.tmp", ".hidden", "y.tmp"):
        (tmp_path / name).touch()
    atomic.recover(tmp_path)
    assert names(tmp_path) == [".hidden", ".stage.json.abc.tmp", "y.tmp"]


def test_a_full_disk_is_said_clearly_and_leaves_the_old_content(small_disk: Path) -> None:
    target = small_disk / "a"
    write_bytes(target, b"old")
    with pytest.raises(StorageFull, match=r"full \(\d+\.\d MB left\)") as caught:
        write_bytes(target, b"x" * 1_000_000)
    assert caught.value.remedy
    assert target.read_bytes() == b"old"
    assert names(small_disk) == ["a"]
    with pytest.raises(StorageFull), replace_directory(small_disk / "model") as folder:
        (folder / "weights").write_bytes(b"x" * 1_000_000)
    assert names(small_disk) == ["a"]
    write_bytes(target, b"new")


def test_a_full_disk_is_recognised_through_other_libraries(small_disk: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    safetensors = pytest.importorskip("safetensors.numpy")
    numpy = pytest.importorskip("numpy")
    values = numpy.random.default_rng(0).random(200_000)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it raises
        parquet.write_table(pyarrow.table({"a": values}), small_disk / "a.parquet")
    assert is_storage_full(caught.value)
    (small_disk / "a.parquet").unlink(missing_ok=True)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        safetensors.save_file({"a": values}, small_disk / "a.safetensors")
    assert is_storage_full(caught.value)


def test_other_errors_are_no_full_disk() -> None:
    assert not is_storage_full(ValueError("no"))
    assert not is_storage_full(OSError(errno.EIO, "input/output error"))


def test_a_full_quota_is_recognised_as_a_cause() -> None:
    error = RuntimeError("could not save")
    error.__cause__ = OSError(errno.EDQUOT, "Disk quota exceeded")
    assert is_storage_full(error)


def test_a_file_in_the_place_of_a_folder_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(HarnessError, match="is a file where"):
        write_bytes(tmp_path / "a" / "b", b"")
