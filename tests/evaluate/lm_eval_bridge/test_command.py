from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.errors import HarnessError
from harness.evaluate import stage as executor
from harness.evaluate.lm_eval_bridge import main
from harness.evaluate.sample_logs import read_log
from harness.models import VLM
from harness.store import Store

from ..stages import evaluate_stage, keep_features, keep_model, location
from ..tiny import protocol

TASKS = ("textvqa", "coco")


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory, built: tuple[VLM, Any]) -> dict[str, Path]:
    """Finished evaluate stages of one model, by task."""
    root = tmp_path_factory.mktemp("root")
    store, where = Store(root / "store"), location(root / "cache")
    model = keep_model(store, *built)
    features = keep_features(store, *built, Path(where["data"]))
    directories = {}
    for task in TASKS:
        stage = evaluate_stage(protocol(task, samples=10), where, model, features)
        with store.open(stage) as workspace:
            executor.run(workspace)
            directories[task] = workspace.directory
    return directories


def results(folder: Path) -> dict[str, Any]:
    (file,) = folder.rglob("results*.json")
    found: dict[str, Any] = json.loads(file.read_bytes())
    return found


def test_scores_are_those_of_the_executor_to_the_last_digit(stages: dict[str, Path], tmp_path: Path) -> None:
    arguments = f"stage={':'.join(map(str, stages.values()))}"
    names = ",".join(f"harness_{task}" for task in stages)
    before = list(sys.argv)
    output = ["--output_path", str(tmp_path / "out"), "--log_samples"]
    code = main(["--model", "harness", "--model_args", arguments, "--tasks", names, "--batch_size", "3", *output])
    assert code == 0
    assert sys.argv == before
    found = results(tmp_path / "out")
    for task, directory in stages.items():
        summary = json.loads((directory / "summary.json").read_bytes())
        metric = protocol(task).metric
        assert found["results"][f"harness_{task}"][f"{metric},none"] == summary["conditions"]["intact"]["mean"]
        assert found["n-shot"][f"harness_{task}"] == 2

        rows = pd.read_parquet(directory / "scores.parquet")
        rows = rows[rows.condition == "intact"].set_index("sample_id")
        (log,) = (tmp_path / "out").rglob(f"samples_harness_{task}_*.jsonl")
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        assert len(lines) == len(rows)
        for line in lines:
            row = rows.loc[line["doc"]["sample_id"]]
            assert line["resps"] == [[row.text]]
            assert line[metric] == row.score
            assert line["doc"]["prompt_sha256"] == row.prompt_sha256
            assert line["doc"]["demonstration_ids"] == list(row.demonstration_ids)
        # The log is all that an import needs for the rows of the executor.
        for record in read_log(log).records:
            kept = rows.loc[record.sample_id]
            for key in (
                "image_id",
                "demonstration_set",
                "prompt_sha256",
                "text",
                "answer",
                "score",
                "metric",
                "subset",
            ):
                assert getattr(record, key) == kept[key], key
            assert list(record.demonstration_ids) == list(kept.demonstration_ids)
            assert (record.task, record.question_type) == (kept.task, kept.question_type)
        # Every image has its mark: the few-shot images of lm-eval itself go missing.
        prompt, _, more = lines[0]["arguments"]["gen_args_0"].values()
        assert prompt.count("<image>") == 3
        assert str(more).count(".jpg") == 3


def test_batches_are_those_of_the_executor_whatever_batch_size_says(
    stages: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.data.dataset import Dataset
    from harness.evaluate.batches import Batch, make_batches
    from harness.evaluate.decoding import Decoder
    from harness.evaluate.evaluation import Evaluation

    asked = protocol("textvqa", samples=10)
    _, stage = Store.of_spec(stages["textvqa"] / "stage.json")
    evaluation = Evaluation.prepare(asked, Dataset.open(Path(stage.location["data"])))
    expected = [batch.sha256 for batch in make_batches(evaluation.all_prompts, 4) if batch.condition == "intact"]
    decode, decoded = Decoder.decode, []

    def watched(self: Decoder, batch: Batch) -> list[str]:
        decoded.append(batch.sha256)
        return decode(self, batch)

    monkeypatch.setattr(Decoder, "decode", watched)
    arguments = f"stage={stage.id},results={stages['textvqa'].parents[2]}"
    given = ["--model_args", arguments, "--tasks", "harness_textvqa", "--batch_size", "1"]
    assert main(["--model", "harness", *given]) == 0
    assert decoded == expected


def test_no_image_is_opened_when_features_are_there(
    stages: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.data.dataset import Dataset
    from harness.evaluate.lm_eval_bridge import source

    def refuse(*_: Any) -> None:
        raise AssertionError("an image was opened")

    monkeypatch.setattr(source, "_SOURCES", {})
    monkeypatch.setattr(Dataset, "image", refuse)
    arguments = ["--model_args", f"stage={stages['textvqa']}", "--tasks", "harness_textvqa", "--limit", "2"]
    assert main(["--model", "harness", *arguments]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "harness_vqav2"], "no stage for harness_vqav2"),
        (["--tasks", "harness_textvqa", "--num_fewshot", "1"], "--num_fewshot 1"),
        (["--tasks", "harness_textvqa", "--gen_kwargs", "max_gen_toks=9"], "up to 6 tokens"),
        (["--tasks", "harness_nothing"], "Tasks not found: harness_nothing"),
    ],
)
def test_what_cannot_be_is_said(stages: dict[str, Path], arguments: list[str], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        main(["--model", "harness", "--model_args", f"stage={stages['textvqa']}", *arguments])


def test_folders_instead_of_a_stage(stages: dict[str, Path], tmp_path: Path) -> None:
    store, stage = Store.of_spec(stages["textvqa"] / "stage.json")
    model = store.outputs(stage.inputs["model"]).directory / "model"
    asked = protocol("textvqa", samples=10)
    arguments = [f"model={model}", f"data={stage.location['data']}", f"shots={asked.shots}", f"samples={asked.samples}"]
    arguments += [f"demonstration_sets={asked.demonstration_sets}", f"queries_per_batch={asked.batch_size}"]
    arguments += [f"max_new_tokens={asked.max_new_tokens}"]
    given = ["--model_args", ",".join(arguments), "--output_path", str(tmp_path / "out")]
    code = main(["--model", "harness", "--tasks", "harness_textvqa", *given])
    assert code == 0
    score = results(tmp_path / "out")["results"]["harness_textvqa"]["textvqa-m4c,none"]
    assert score == json.loads((stages["textvqa"] / "summary.json").read_bytes())["conditions"]["intact"]["mean"]


def test_answers_kept_by_lm_eval_are_used_again(
    stages: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.evaluate.decoding import Decoder

    given = ["--model_args", f"stage={stages['textvqa']}", "--tasks", "harness_textvqa", "--limit", "3"]
    given += ["--use_cache", str(tmp_path / "answers"), "--cache_requests"]
    assert main(["--model", "harness", *given, "--output_path", str(tmp_path / "first")]) == 0
    monkeypatch.setattr(Decoder, "decode", lambda *_: pytest.fail("decoded again"))
    assert main(["--model", "harness", *given, "--output_path", str(tmp_path / "second")]) == 0
    one, two = (results(tmp_path / name)["results"] for name in ("first", "second"))
    assert one == two


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["stage=a/b-tokens=9,pooling=average-12"], {"stage": "a/b-tokens=9,pooling=average-12"}),
        (["stage=x,y-1:x,z-2,results=r,s"], {"stage": "x,y-1:x,z-2", "results": "r,s"}),
        (["stage=8472e10234567890", "results=r"], {"stage": "8472e10234567890", "results": "r"}),
    ],
)
def test_names_of_stages_reach_us_whole(given: list[str], expected: dict[str, str]) -> None:
    from harness.evaluate.lm_eval_bridge.command import quote_stages

    words = quote_stages(["run", "--model_args", *given, "--tasks", "t"])
    assert [words[:2], json.loads(words[2]), words[3:]] == [["run", "--model_args"], expected, ["--tasks", "t"]]
    if len(given) == 1:
        assert quote_stages([f"--model_args={given[0]}", "-x"])[1:] == [words[2], "-x"]


def test_other_arguments_are_left_alone() -> None:
    from harness.evaluate.lm_eval_bridge.command import quote_stages

    words = ["--model_args", "model=a,data=b", "shots=2", "--tasks", "t"]
    assert quote_stages(words) == words


def test_exit_code_of_lm_eval(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--no-such-flag"]) == 2
    assert main(["--help"]) == 0
    assert "Language Model Evaluation Harness" in capsys.readouterr().out


def test_one_mark_stands_for_an_image_everywhere() -> None:
    from harness.evaluate.prompts import IMAGE_MARK
    from harness.models.processor import IMAGE_TOKEN

    assert IMAGE_MARK == IMAGE_TOKEN == "<image>"  # lm-eval's own, in its multimodal models
