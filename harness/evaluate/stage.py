"""The executor of evaluate stages: one task for one trained model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from harness.data.features import open_features
from harness.data.located import open_stage_data
from harness.distributed.ranks import Ranks
from harness.evaluate.batches import Batch, make_batches
from harness.evaluate.checkpoint import Checkpoint
from harness.evaluate.conditions import Condition
from harness.evaluate.decoding import Decoder
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
    depend on what was decoded before, so the scores are the same, to the byte. Ranks decode different batches, and rank
    0 keeps what they say: the number of ranks decides nothing either.
    """
    protocol, ranks = Protocol.of(workspace.stage.config), Ranks.current()
    dataset = open_stage_data(workspace.stage, workspace.input)
    evaluation = Evaluation.prepare(protocol, dataset)
    checkpoint = Checkpoint.load(workspace.input("model") / protocol.model)
    prompts = evaluation.all_prompts
    inputs = workspace.stage.inputs
    tiles = workspace.input("tile_features") if "tile_features" in inputs else None
    features = open_features(workspace.input("features"), tiles) if "features" in inputs else None
    decoder = checkpoint.decoder(evaluation, features)
    decoder.refuse_too_long(prompts)

    batches = make_batches(prompts, ranks.agree(lambda: workspace.within_memory(protocol.batch_size)))
    done = _decode(workspace, protocol.task, batches, decoder, ranks)
    if not ranks.leads:
        return
    tokens, views = checkpoint.vlm.connector.num_tokens, evaluation.views(checkpoint.vlm.config.image_size)
    records = make_records(evaluation, _texts(done), lambda image: tokens * len(views.of(image)))
    summary = summarise(evaluation, records, seconds=sum(part.seconds for part in done.values()))
    workspace.write_bytes(SCORES, to_parquet(records))
    workspace.write_json(SUMMARY, summary)
    if evaluation.candidates:
        workspace.write_json(CANDIDATES, list(evaluation.candidates))
    workspace.finish(summary={**summary, "ranks": ranks.world_size})


def _decode(
    workspace: Workspace, task: str, batches: Sequence[Batch], decoder: Decoder, ranks: Ranks
) -> Mapping[Batch, Part]:
    """What all batches say, on rank 0: those without a part are decoded, each by one rank, in rounds of one a rank."""
    parts = Parts(workspace)
    done: dict[Batch, Part] = {}
    for batch in batches if ranks.leads else ():
        part = parts.load(batch)
        if part is not None:
            done[batch] = part
    missing = ranks.agree(lambda: [number for number, batch in enumerate(batches) if batch not in done])
    for start in range(0, len(missing), ranks.world_size):
        numbers = missing[start : start + ranks.world_size]
        if ranks.leads:
            condition = batches[numbers[0]].condition
            workspace.report(step=len(done), steps=len(batches), task=task, condition=condition)
        said: tuple[list[str], float] = [], 0.0
        if ranks.rank < len(numbers):
            began = time.perf_counter()
            texts = list(decoder.decode(batches[numbers[ranks.rank]]))
            said = texts, time.perf_counter() - began
        for number, (texts, seconds) in zip(numbers, ranks.gather(said), strict=False):
            part = Part(tuple(texts), seconds)
            parts.keep(batches[number], part)
            done[batches[number]] = part
    return done


def _texts(done: Mapping[Batch, Part]) -> dict[Condition, dict[str, str]]:
    """Condition → sample id → text."""
    texts: dict[Condition, dict[str, str]] = {}
    for batch, part in done.items():
        written = zip(batch.prompts, part.texts, strict=True)
        texts.setdefault(batch.condition, {}).update({prompt.sample_id: text for prompt, text in written})
    return texts
