from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.errors import HarnessError, SpecError
from harness.evaluate.imports import import_logs
from harness.evaluate.sample_logs import UNKNOWN, read_log
from tests.sample_logs import Line, lines, prompt_of, signed, write
from tests.synthetic_scores import random_scores, rows

SCORER = random_scores()


def change_doc(line: Line, **values: Any) -> Line:
    """A line whose document says something else, with digests that hold."""
    return signed({**line, "doc": {**line["doc"], **values}})


def test_a_log_gives_the_rows_of_an_evaluation(tmp_path: Path) -> None:
    log = read_log(write(tmp_path / "log.jsonl", lines("textvqa", SCORER)))
    assert (log.task, log.metric, log.metric_version) == ("textvqa", "textvqa-m4c", "textvqa-m4c@1")
    expected = rows("elsewhere", "textvqa", 0, SCORER, conditions=("intact",))
    for record, row in zip(log.records, expected, strict=True):
        for key in ("sample_id", "image_id", "demonstration_set", "score", "metric", "subset", "question_type", "text"):
            assert getattr(record, key) == row[key], key
        assert record.condition == "intact"
        assert record.demonstration_ids == ("a", "b")
        assert record.prompt_sha256 == prompt_of("textvqa", int(record.sample_id[-4:])).sha256
        assert record.answer == row["answer"]  # as the task reads it out of the text
        assert record.training_seed == record.visual_tokens == UNKNOWN


def test_the_order_of_lines_does_not_matter(tmp_path: Path) -> None:
    content = lines("coco", SCORER)
    there, back = (read_log(write(tmp_path / f"{n}.jsonl", each)) for n, each in enumerate((content, content[::-1])))
    assert there.records == back.records


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (3, lambda line: change_doc(line, prompt_sha256="0" * 64), "does not have the digest prompt_sha256"),
        (3, lambda line: change_doc(line, demonstration_ids=["a", "c"]), "does not have the digest prompt_sha256"),
        (2, lambda line: {**line, "doc": {**line["doc"], "image_id": "other"}}, "doc_hash does not hold"),
        (2, lambda line: {**line, "prompt_hash": "0"}, "prompt_hash does not hold"),
        (4, lambda line: signed({**line, "arguments": {"gen_args_0": {"arg_0": "What?"}}}), "given another prompt"),
        (4, lambda line: {**line, "arguments": None}, "given another prompt"),
        (5, lambda line: {**line, "textvqa-m4c": float("nan")}, "the score textvqa-m4c is nan"),
        (5, lambda line: {**line, "textvqa-m4c": float("inf")}, "the score textvqa-m4c is inf"),
        (5, lambda line: {**line, "textvqa-m4c": 101.0}, "no number of points"),
        (5, lambda line: {**line, "textvqa-m4c": None}, "no score textvqa-m4c"),
        (5, lambda line: {**line, "textvqa-m4c": True}, "no score textvqa-m4c"),
        (6, lambda line: {**line, "resps": [[]]}, "one answer"),
        (6, lambda line: {**line, "resps": [[None]]}, "no text"),
        (7, lambda line: change_doc(line, metric_version="textvqa-m4c@0"), "scored by textvqa-m4c@0, this version has"),
        (7, lambda line: change_doc(line, task="mmlu"), "none of ours"),
        (7, lambda line: change_doc(line, samples=13), "this line is of textvqa"),
        (8, lambda line: change_doc(line, prompt=None), "no prompt in parts"),
        (8, lambda line: change_doc(line, subset=None), "no subset"),
        (8, lambda line: change_doc(line, demonstration_set=True), "no demonstration_set"),
        (9, lambda line: {"sample": 1}, "no line of a sample log"),
    ],
)
def test_what_does_not_hold_is_refused_with_its_line(
    tmp_path: Path, number: int, change: Callable[[Line], Line], message: str
) -> None:
    content = lines("textvqa", SCORER)
    content[number - 1] = change(content[number - 1])
    path = write(tmp_path / "log.jsonl", content)
    with pytest.raises(HarnessError, match=message) as caught:
        read_log(path)
    assert str(caught.value).startswith(f"{path}:{number}: ")


def test_duplicates_name_both_lines(tmp_path: Path) -> None:
    content = lines("textvqa", SCORER)
    path = write(tmp_path / "log.jsonl", [*content[:4], content[1], *content[4:]])
    with pytest.raises(HarnessError, match=r"log\.jsonl:5: the sample textvqa-0001 is there twice \(first in line 2\)"):
        read_log(path)


def test_a_part_is_no_whole(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"log\.jsonl:7: the log ends after 7 of 12 samples"):
        read_log(write(tmp_path / "log.jsonl", lines("textvqa", SCORER)[:7]))
    path = write(tmp_path / "cut.jsonl", lines("textvqa", SCORER))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(HarnessError, match=r"cut\.jsonl:12: the file is cut off here"):
        read_log(path)
    path.write_bytes(b"")
    with pytest.raises(HarnessError, match="holds no samples"):
        read_log(path)
    path.write_bytes(b"\xff\xfe{}\n")
    with pytest.raises(HarnessError, match=r"cut\.jsonl:1: this is no JSON"):
        read_log(path)
    with pytest.raises(HarnessError, match="cannot be read"):
        read_log(tmp_path / "nothing.jsonl")


def test_an_import_is_kept_once(tmp_path: Path) -> None:
    logs = [write(tmp_path / f"{task}.jsonl", lines(task, SCORER)) for task in ("textvqa", "coco")]
    folder, found = import_logs(logs, "model", tmp_path / "results")
    assert sorted(path.name for path in folder.iterdir()) == ["coco.parquet", "import.json", "textvqa.parquet"]
    assert len(pd.read_parquet(folder / "coco.parquet")) == len(found[1].records) == 12
    assert json.loads((folder / "import.json").read_bytes())["tasks"]["coco"]["samples"] == 12
    assert import_logs(logs[::-1], "model", tmp_path / "results")[0] == folder
    with pytest.raises(HarnessError, match="holds another import"):
        import_logs(logs[:1], "model", tmp_path / "results")
    (folder / "import.json").unlink()  # killed before its end
    import_logs(logs[:1], "model", tmp_path / "results")


def test_two_logs_of_a_task_and_bad_names_are_refused(tmp_path: Path) -> None:
    log = write(tmp_path / "a.jsonl", lines("textvqa", SCORER))
    with pytest.raises(HarnessError, match="are both of textvqa"):
        import_logs([log, log], "model", tmp_path)
    for name in ("../x", "a/b", "", ".."):
        with pytest.raises(SpecError, match="not a name"):
            import_logs([log], name, tmp_path)
    assert not (tmp_path / "imported").exists()
