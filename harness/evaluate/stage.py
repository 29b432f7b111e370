"""The executor of evaluate stages: one task for one trained model."""

from __future__ import annotations

import time
from collections.abc import Mapping

from harness.data.features import open_features
from harness.data.located import open_stage_data
from harness.evaluate.batches import Batch, make_batches
from harness.evaluate.checkpoint import Checkpoint
from harness.evaluate.conditions import Condition
from harness.evaluate.evaluation import Evaluation
from harness.evaluate.parts import Part, Parts
from harness.evaluate.protocol import Protocol
from harness.evaluate.records import make_records, to_parquet
from harness.evaluate.summary import summarise
from harness.store import Workspace

SCORES = "scores.parquet"
SUMMARY = "summary.json"
CANDIDATES = "candidates.json"


def run(workspace: Workspace) -> None:
    """Decode every batch that is not done, score, and write ``scores.parquet`` and ``summary.json``, and where answers
    are ranked the list of them in ``candidates.json``.

    Finished batches lie in small files, so a kill at any moment loses at most one; what is decoded later does not
    depend on what was decoded before, so the scores are the same, to the byte.
    """
    protocol = Protocol.of(workspace.stage.config)
    dataset = open_stage_data(workspace.stage, workspace.input)
    evaluation = Evaluation.prepare(protocol, dataset)
    checkpoint = Checkpoint.load(workspace.input("model") / protocol.model)
    prompts = evaluation.all_prompts
    inputs = workspace.stage.inputs
    tiles = workspace.input("tile_features") if "tile_features" in inputs else None
    features = open_features(workspace.input("features"), tiles) if "features" in inputs else None
    decoder = checkpoint.decoder(evaluation, features)
    decoder.refuse_too_long(prompts)

    batches = make_batches(prompts, workspace.within_memory(protocol.batch_size))
    parts = Parts(workspace)
    done: dict[Batch, Part] = {}
    for number, batch in enumerate(batches):
        workspace.report(step=number, steps=len(batches), task=protocol.task, condition=batch.condition)
        part = parts.load(batch)
        if part is None:
            began = time.perf_counter()
            texts = tuple(decoder.decode(batch))
            part = Part(texts, time.perf_counter() - began)
            parts.keep(batch, part)
        done[batch] = part

    tokens, views = checkpoint.vlm.connector.num_tokens, evaluation.views(checkpoint.vlm.config.image_size)
    records = make_records(evaluation, _texts(done), lambda image: tokens * len(views.of(image)))
    summary = summarise(evaluation, records, seconds=sum(part.seconds for part in done.values()))
    workspace.write_bytes(SCORES, to_parquet(records))
    workspace.write_json(SUMMARY, summary)
    if evaluation.candidates:
        workspace.write_json(CANDIDATES, list(evaluation.candidates))
    workspace.finish(summary=summary)


def _texts(done: Mapping[Batch, Part]) -> dict[Condition, dict[str, str]]:
    """Condition → sample id → text."""
    texts: dict[Condition, dict[str, str]] = {}
    for batch, part in done.items():
        written = zip(batch.prompts, part.texts, strict=True)
        texts.setdefault(batch.condition, {}).update({prompt.sample_id: text for prompt, text in written})
    return texts
