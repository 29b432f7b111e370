from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.cli import main

SMALL = ["train_scenes=6", "support_scenes=6", "validation_scenes=4", "test_scenes=4"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "world"
    assert main(["data", "microworld", "--out", str(path), "--processes", "1", *SMALL]) == 0
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def test_the_world_is_written_and_can_be_indexed(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "index", str(world)]) == 0
    out = capsys.readouterr().out
    assert "MANIFEST.json" in out
    for task in ("vqav2", "textvqa", "okvqa", "coco"):
        assert f"{task}: " in out
    assert "support" in out
    assert "training: 6 pairs" in out


def test_writing_into_a_full_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text("")
    assert main(["data", "microworld", "--out", str(tmp_path), *SMALL]) == 1
    assert "not empty" in capsys.readouterr().err


@pytest.mark.parametrize("prefix", ["", "data.microworld."])
def test_keys_are_written_as_in_the_command_or_as_in_a_sweep_file(
    prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = [f"{prefix}{size}" for size in SMALL]
    assert main(["data", "microworld", "--out", str(tmp_path / "world"), "--processes", "1", *sizes]) == 0
    assert "train_scenes=6" in capsys.readouterr().out


@pytest.mark.parametrize("override", ["train_scenes=0", "train_scenes=many", "scenes=5", "nonsense"])
def test_bad_sizes_are_bad_usage(tmp_path: Path, override: str) -> None:
    assert main(["data", "microworld", "--out", str(tmp_path / "w"), override]) == 2
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("damage", ["missing", "image", "truncated"])
def test_damaged_folders_are_named(
    world: Path, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    if damage != "missing":
        shutil.copytree(world, folder)
    if damage == "image":
        victim = sorted((folder / "coco" / "val2014").iterdir())[0]
        victim.unlink()
    if damage == "truncated":
        victim = next((folder / "coco").glob("captions_val2014.json"))
        victim.write_bytes(victim.read_bytes()[:-10])
    assert main(["data", "index", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert (victim.name if damage != "missing" else str(folder)) in err


def test_a_world_that_shares_nothing_passes_the_check(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(world), "--pixels"]) == 0
    out = capsys.readouterr().out
    assert "pictures: 6 train" in out
    assert "held out: okvqa test untaught_facts" in out
    assert "no picture, held-out sign or held-out fact is shared" in out


def test_a_shared_picture_is_found_and_named(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    shutil.copytree(world, folder)
    test, support = (sorted((folder / "coco" / name).iterdir())[0] for name in ("val2014", "train2014"))
    shutil.copy(test, support)
    assert main(["data", "check", str(folder)]) == 1  # not what was indexed, should the sizes differ
    (folder / "MANIFEST.json").unlink()
    assert main(["data", "check", str(folder)]) == 1
    err = capsys.readouterr().err
    assert "picture: " in err
    assert test.name in err


def test_doctor_says_what_is_there_and_what_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json", "--results", str(tmp_path)])
    findings = {each["what"]: each for each in json.loads(capsys.readouterr().out)}
    assert code == (1 if any(each["state"] == "missing" for each in findings.values()) else 0)
    for what in ("Python", "packages", "cores", "memory", "results folder", "cache folder", "Java", "Slurm", "zoo"):
        assert what in findings
    assert all(each["needed_for"] for each in findings.values() if each["state"] != "ok")


def test_doctor_finds_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.cli import doctor

    monkeypatch.setenv("PATH", str(tmp_path))
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("# pinned\nnumpy==0.0.1\nPyYAML==999 ; python_version > '3'\n")
    monkeypatch.setattr(doctor, "CONSTRAINTS", constraints)
    main(["doctor", "--results", str(tmp_path)])
    out = capsys.readouterr().out
    assert "known to work: 0.0.1" in out
    assert "known to work: 999" in out
    assert "needed for harness run --cluster slurm" in out


def test_doctor_reports_a_missing_package_as_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.cli import doctor

    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["no-such-package>=1", 'other; extra == "test"'])
    assert main(["doctor", "--results", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "no-such-package" in out
    assert "other " not in out
