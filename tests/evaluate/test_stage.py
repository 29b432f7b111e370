from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.errors import HarnessError
from harness.evaluate import stage as executor
from harness.evaluate.decoding import Decoder
from harness.models import VLM
from harness.store import Stage, Store

from .stages import evaluate_stage, keep_features, keep_model, location
from .tiny import protocol

COLUMNS = [
    *("task", "condition", "sample_id", "image_id", "demonstration_set", "demonstration_ids", "prompt_sha256", "text"),
    *("answer", "score", "metric", "training_seed", "demonstration_seed", "subset", "question_type", "visual_tokens"),
]


class Setting:
    """A store with a model and, at will, features."""

    def __init__(self, root: Path, where: dict[str, str], vlm: VLM, processor: Any) -> None:
        self.store, self.where = Store(root), where
        self.model = keep_model(self.store, vlm, processor)
        self.features = keep_features(self.store, vlm, processor, Path(where["data"]))

    def stage(self, task: str = "textvqa", features: bool = True, **changes: Any) -> Stage:
        return evaluate_stage(protocol(task, **changes), self.where, self.model, self.features if features else None)

    def run(self, stage: Stage) -> Path:
        with self.store.open(stage) as workspace:
            executor.run(workspace)
            return workspace.directory


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return location(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def setting(tmp_path: Path, where: dict[str, str], vlm: VLM, processor: Any) -> Setting:
    return Setting(tmp_path / "store", where, vlm, processor)


def test_records_and_summary(setting: Setting) -> None:
    directory = setting.run(setting.stage(samples=10))
    rows = pd.read_parquet(directory / "scores.parquet")
    summary = json.loads((directory / "summary.json").read_bytes())

    assert list(rows.columns) == COLUMNS
    scored = summary["samples"]["scored"]
    assert rows.groupby("condition").size().to_dict() == dict.fromkeys(
        ["intact", "withheld", "shuffled", "majority"], scored
    )
    assert not rows.duplicated(["condition", "sample_id"]).any()
    assert set(rows.training_seed) == {7}
    assert rows.score.between(0, 100).all()
    for condition, of in rows.groupby("condition"):
        assert summary["conditions"][condition]["mean"] == pytest.approx(of.score.mean(), abs=1e-12)
        unseen = of[of.subset == "unseen_signs"]
        assert 0 < len(unseen) < len(of)
        assert summary["conditions"][condition]["subsets"]["unseen_signs"]["n"] == len(unseen)
    controls = rows[rows.condition != "intact"].groupby("condition").score.mean()
    assert summary["blind"]["mean"] == pytest.approx(controls.max())
    assert summary["blind"]["condition"] in controls[controls == controls.max()].index
    assert set(rows[rows.condition == "intact"].visual_tokens) == {3 * 4}
    assert set(rows[rows.condition == "withheld"].visual_tokens) == {0}
    majority = rows[rows.condition == "majority"]
    assert set(majority.demonstration_set) == {-1}
    assert not majority.prompt_sha256.any()
    assert all(len(ids) == 2 for ids in rows[rows.condition == "shuffled"].demonstration_ids)
    assert summary["queries"] == 3 * scored
    assert not (directory / "scratch").exists()


def test_ranked_answers_come_from_the_list_that_the_stage_keeps(setting: Setting) -> None:
    directory = setting.run(setting.stage("vqav2", samples=6, answers="rank", candidates=5, shortlist=3))
    candidates = json.loads((directory / "candidates.json").read_bytes())
    rows = pd.read_parquet(directory / "scores.parquet")
    assert len(candidates) == 5
    assert set(rows[rows.condition != "majority"].text) <= set(candidates)
    assert json.loads((directory / "summary.json").read_bytes())["candidates"] == 5


def test_a_prompt_without_shots_shows_one_image(setting: Setting) -> None:
    directory = setting.run(setting.stage("vqav2", samples=4, shots=0, text_only_examples=2))
    rows = pd.read_parquet(directory / "scores.parquet")
    assert set(rows[rows.condition == "intact"].visual_tokens) == {4}
    assert set(rows[rows.condition == "intact"].demonstration_ids.map(len)) == {2}
    assert json.loads((directory / "summary.json").read_bytes())["visual_tokens_per_image"] == 4


def test_prompts_are_the_same_whatever_the_number_of_visual_tokens(
    setting: Setting, backbones: tuple[Path, Path], tmp_path: Path, where: dict[str, str]
) -> None:
    from .tiny import build

    other = Setting(tmp_path / "other", where, *build(*backbones, num_tokens=16))
    rows = [pd.read_parquet(each.run(each.stage(samples=5)) / "scores.parquet") for each in (setting, other)]
    assert list(rows[0].prompt_sha256) == list(rows[1].prompt_sha256)
    assert set(rows[0].visual_tokens) != set(rows[1].visual_tokens)
    assert list(rows[0].text) != list(rows[1].text)


def test_captions_average_to_the_corpus_score(setting: Setting) -> None:
    from harness.data.dataset import Dataset
    from harness.evaluate.metrics import DocumentFrequencies, cider_d

    directory = setting.run(setting.stage("coco", samples=7))
    rows = pd.read_parquet(directory / "scores.parquet")
    references = {
        str(each.sample_id): each.answers for each in Dataset.open(Path(setting.where["data"])).examples("coco", "test")
    }
    for condition in ("intact", "majority"):
        of = rows[rows.condition == condition]
        texts = dict(zip(of.sample_id, of.answer, strict=True))
        scored = {id: references[id] for id in texts}
        frequencies = DocumentFrequencies.from_references(references)
        corpus = cider_d(texts, scored, document_frequencies=frequencies)
        assert of.score.mean() == pytest.approx(100 * corpus.score, abs=1e-9)
    assert rows[rows.condition == "majority"].score.mean() > 0


def test_features_and_pixels_give_the_same_scores(setting: Setting) -> None:
    cached = setting.run(setting.stage("vqav2", samples=6))
    online = setting.run(setting.stage("vqav2", samples=6, features=False))
    columns = ["condition", "sample_id", "prompt_sha256", "text", "score"]
    assert pd.read_parquet(cached / "scores.parquet")[columns].equals(
        pd.read_parquet(online / "scores.parquet")[columns]
    )


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_kill_loses_at_most_one_batch_and_changes_no_byte(
    setting: Setting, tmp_path: Path, where: dict[str, str], vlm: VLM, processor: Any, after: int, monkeypatch: Any
) -> None:
    undisturbed = (setting.run(setting.stage()) / "scores.parquet").read_bytes()

    other = Setting(tmp_path / "other", where, vlm, processor)
    decoded: list[str] = []
    decode = Decoder.decode

    def dying(self: Decoder, batch: Any) -> list[str]:
        if len(decoded) == after:
            raise Killed
        decoded.append(batch.sha256)
        return decode(self, batch)

    monkeypatch.setattr(Decoder, "decode", dying)
    with pytest.raises(Killed):
        other.run(other.stage())
    before = list(decoded)
    assert len(before) == after

    after = -1
    directory = other.run(other.stage())
    assert len(decoded) == len(set(decoded)) > len(before)  # nothing finished was done twice
    assert (directory / "scores.parquet").read_bytes() == undisturbed


def test_a_damaged_part_is_decoded_again(setting: Setting, monkeypatch: Any) -> None:
    undisturbed = (setting.run(setting.stage(samples=6)) / "scores.parquet").read_bytes()
    stage = setting.stage(samples=6, seed=8)
    calls = 0
    decode = Decoder.decode

    def dying(self: Decoder, batch: Any) -> list[str]:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Killed
        return decode(self, batch)

    monkeypatch.setattr(Decoder, "decode", dying)
    with pytest.raises(Killed):
        setting.run(stage)
    parts = sorted((setting.store.path(stage) / "scratch" / "batches").iterdir())
    assert len(parts) == 3
    parts[0].write_bytes(parts[0].read_bytes()[:-9])
    part = json.loads(parts[1].read_bytes())
    parts[1].write_text(json.dumps({**part, "batch": "another", "texts": ["of another batch"] * len(part["texts"])}))
    part = json.loads(parts[2].read_bytes())
    parts[2].write_text(json.dumps({**part, "texts": [*part["texts"], "one more"]}))
    rows = pd.read_parquet(setting.run(stage) / "scores.parquet")
    rows["training_seed"] = 7
    import io

    assert rows.equals(pd.read_parquet(io.BytesIO(undisturbed)))


def test_a_leak_stops_the_run(setting: Setting, monkeypatch: Any) -> None:
    from harness.data.dataset import Dataset

    monkeypatch.setattr(Dataset, "manifest", property(lambda _: None))
    monkeypatch.setattr(Dataset, "image_bytes", lambda *_: b"the same picture everywhere")
    with pytest.raises(HarnessError, match=r"show the same image|only 1 different images"):
        setting.run(setting.stage(shots=1))


def test_a_metric_of_another_task_is_refused(setting: Setting) -> None:
    with pytest.raises(HarnessError, match="coco cannot be scored with 'vqa-always'"):
        setting.run(setting.stage("coco", metric="vqa-always"))


def test_the_stage_refuses_prompts_that_are_too_long(
    tmp_path: Path, where: dict[str, str], vlm: VLM, processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vlm.config.text_config, "max_position_embeddings", 20)  # the model is shared by all tests
    setting = Setting(tmp_path / "store", where, vlm, processor)
    with pytest.raises(HarnessError, match="is too long"):
        setting.run(setting.stage(samples=3))
