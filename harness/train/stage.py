"""The executor of ``train`` stages: one phase of one run, from its inputs to a saved model with its audit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from harness.data.documents import Document
from harness.data.features import open_features
from harness.data.located import open_stage_data
from harness.data.order import DocumentRef, document_order, order_digest, shard
from harness.data.packing import PackedRows, pack
from harness.data.views import Splitting
from harness.distributed.ranks import Ranks
from harness.errors import HarnessError
from harness.models.architecture import Workload
from harness.models.audit import audit_tuning, input_problems, optimizer_problems, parameter_digests, weights_digest
from harness.models.checkpointing import gradient_checkpointing
from harness.models.flops import Tuned, VLMCosts
from harness.models.inputs import FeatureInputs, PixelInputs
from harness.models.kernels import attention_kernel
from harness.models.loading import load_vlm
from harness.models.processor import load_processor
from harness.models.quiet import quiet_transformers
from harness.models.settings import AdaptorSettings, LoraSettings, Tuning
from harness.models.sharding import Shards
from harness.models.tuning import set_tuning
from harness.models.vlm import VLM
from harness.store import Outcome, Workspace
from harness.train import checkpoint
from harness.train.execution import Execution, active_device, device_name
from harness.train.inputs import to_model_inputs
from harness.train.loop import Diverged, Step, run_steps
from harness.train.memory import keep_freed_memory
from harness.train.optimizer import build_optimizer, peak_rates
from harness.train.passes import alike, find_filler
from harness.train.source import TrainingSource
from harness.train.telemetry import Telemetry, matrix_product_rate, peak_memory_bytes

CHECKPOINT = "checkpoint"
TELEMETRY = "telemetry.jsonl"
SNAPSHOTS = "snapshots"
"""Below it the models after some of the steps, by their numbers (``harness.plan.milestones``)."""


def run(workspace: Workspace) -> None:
    """Train a phase; resumes from the checkpoint in the stage's scratch folder.

    On all ranks alike; what is read from and written to the stage's folder is rank 0's.
    """
    keep_freed_memory()
    stage, ranks = workspace.stage, Ranks.current()
    phase, seed = stage.config["phase"], stage.config["seed"]
    execution = Execution.of(stage)
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision(phase["matmul_precision"])
    vlm, processor = _start(workspace)
    size = phase.get("image_size") or stage.config["model"]["image"]["size"]
    if size != vlm.config.image_size:
        vlm.set_image_size(size)
        processor.set_image_size(size)
    splits = execution.sharding == "shard" and ranks.world_size > 1
    if not splits:  # else each rank's device gets its part alone
        vlm.to(active_device())  # type: ignore[arg-type]
    lora, adaptor = LoraSettings.of(phase.get("lora", {})), AdaptorSettings.of(phase.get("adaptor", {}))
    set_tuning(vlm, Tuning.of(phase["tuning"]), lora, seed, adaptor)
    refuse_batch_norm(vlm, ranks)
    splitting = Splitting.of(phase.get("splitting"), vlm.config.image_size, seed)
    dataset = open_stage_data(stage, workspace.input)
    source = TrainingSource.of_phase(dataset, processor.tokenizer, phase, splitting)
    vlm.config.objective = phase.get("objective", "causal")
    images = _images(workspace, source, vlm, processor)
    order = document_order(
        seed, stage.config["name"], phase["mixture"], source.counts, phase["batch_size"], phase["steps"]
    )
    flops = _flops(vlm, phase, "features" in stage.inputs)
    micro_batch = ranks.agree(lambda: workspace.within_memory(phase["micro_batch_size"]))
    work = _work(vlm, source, phase, order, seed, flops, micro_batch, ranks, splits)
    before = parameter_digests(vlm) if ranks.leads else {}

    saved = workspace.directory / "scratch" / CHECKPOINT
    telemetry = Telemetry(ranks.agree(lambda: Telemetry.load(saved / TELEMETRY).rows if saved.is_dir() else []))
    if not telemetry.rows:
        own = _work(vlm, source, phase, order, seed, flops, micro_batch, ranks)(0).micro_batches
        problems = [each for found in ranks.gather(_input_problems(vlm, own, images)) for each in found]
        if problems:
            raise HarnessError("the first batch is wrong: " + "; ".join(problems))
    shards = Shards(vlm) if splits else None
    optimizer = build_optimizer(vlm.trainable_parameters(), peak_rates(phase["learning_rate"]), phase["optimizer"])
    if telemetry.rows:
        checkpoint.load(saved if ranks.leads else None, vlm, optimizer, ranks)

    @contextmanager
    def whole() -> Iterator[VLM]:
        """The model on rank 0, whatever is elsewhere."""
        yield (shards.gather() if shards else None) or vlm
        if shards:
            shards.release()

    last_save = time.monotonic()

    def after_step(step: int) -> None:
        nonlocal last_save
        row = telemetry.rows[-1]
        if ranks.leads:
            workspace.report(step=step + 1, steps=phase["steps"], loss=row["loss"], phase=stage.config["name"])
        if step + 1 in stage.config.get("snapshots", ()):  # before a checkpoint that lies behind it
            with whole() as model:
                if ranks.leads:
                    _save(workspace, f"{SNAPSHOTS}/{step + 1}", model, processor)
        if ranks.agree(lambda: time.monotonic() - last_save > execution.checkpoint_seconds):
            if ranks.leads:
                with workspace.replace_directory(saved) as folder:
                    checkpoint.save(folder, vlm, optimizer)
                    telemetry.save(folder / TELEMETRY)
            else:
                checkpoint.save(None, vlm, optimizer)
            last_save = time.monotonic()

    outcome: Outcome = "complete"
    ran: set[str] = set()
    divergence: dict[str, Any] = {}
    try:
        with (
            gradient_checkpointing(vlm, execution.gradient_checkpointing),
            attention_kernel(execution.attention) as ran,
        ):
            run_steps(vlm, optimizer, phase, work, images, telemetry, after_step, ranks, seed)
    except Diverged as error:
        outcome, divergence = "diverged", {"step": error.step, "what": error.what}
    vlm.eval()
    with whole() as model:
        if not ranks.leads:
            return
        audit = audit_tuning(model, before, Tuning.of(phase["tuning"]))
        audit = replace(audit, problems=(*audit.problems, *optimizer_problems(vlm, optimizer)))
        digests = {"document_order_sha256": order_digest(order), "weights_sha256": weights_digest(model)}
        workspace.write_json("audit.json", {**audit.as_json(), **digests})
        if outcome == "complete" and audit.problems:
            raise HarnessError("the audit of the run failed: " + "; ".join(audit.problems[:5]))
        workspace.write_bytes("telemetry.parquet", telemetry.parquet())
        _save(workspace, "model", model, processor)
    carried_out = {
        "device": device_name(vlm.device),
        "ranks": ranks.world_size,
        "sharding": "shard" if splits else "replicate",
        "attention_kernels": sorted(ran),
        "gradient_checkpointing": execution.gradient_checkpointing,
    }
    workspace.finish(outcome, {**_summary(vlm, phase, telemetry), **carried_out, **divergence})


def refuse_batch_norm(vlm: VLM, ranks: Ranks) -> None:
    """Raise HarnessError where a rank would normalise by the images that happen to be its own."""
    trained = any(
        isinstance(module, _BatchNorm) and any(parameter.requires_grad for parameter in module.parameters())
        for module in vlm.modules()
    )
    if trained and ranks.world_size > 1:
        raise HarnessError(
            f"{ranks.world_size} ranks would train this model to other results than one: it has batch "
            "normalisation, whose statistics would be those of each rank's images",
            remedy="set runtime.ranks to 1 for this variant, or freeze what has batch normalisation",
        )


def _save(workspace: Workspace, name: str, vlm: VLM, processor: Any) -> None:
    with quiet_transformers(), workspace.replace_directory(name) as folder:
        vlm.save_pretrained(folder)
        processor.save_pretrained(folder)


def _start(workspace: Workspace) -> tuple[VLM, Any]:
    """The model that the phase begins with: of the previous phase, or assembled from the pretrained backbones."""
    stage = workspace.stage
    if "previous" in stage.inputs:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        folder = workspace.input("previous") / "model"
        vlm: VLM = AutoModelForImageTextToText.from_pretrained(folder)  # type: ignore[assignment]
        return vlm, AutoProcessor.from_pretrained(folder)
    vision, language = stage.location["vision"], stage.location["language"]
    fresh = load_vlm(
        stage.config["model"],
        stage.config["seed"],
        vision,
        language,
        stage.location.get("adapter"),
        workspace.input("adapter") / "model" if "adapter" in stage.inputs else None,
    )
    return fresh, load_processor(fresh, vision, language)


def _images(workspace: Workspace, source: TrainingSource, vlm: VLM, processor: Any) -> Any:
    """Image keys → model inputs: of a frozen encoder its features, from their table when there is one; else pixels."""
    inputs = workspace.stage.inputs
    if "features" in inputs:
        table = open_features(
            workspace.input("features"), workspace.input("tile_features") if "tile_features" in inputs else None
        )
        return lambda keys: FeatureInputs.of_arrays(table.rows(keys), table.grid, table.mask(keys))

    experts = vlm.config.experts_settings
    maps = source.expert_maps(experts.kinds, experts.noise, vlm.config.image_size)

    def pixels(keys: Sequence[str]) -> PixelInputs:
        prepared: PixelInputs = processor.prepare([source.picture(key) for key in keys])
        return prepared.with_experts(maps.of(keys))

    def features(keys: Sequence[str]) -> FeatureInputs:
        with torch.no_grad():
            return vlm.encode(pixels(keys).to(vlm.device)).as_stored()

    tuning = Tuning.of(workspace.stage.config["phase"]["tuning"])
    fixed = tuning.vision == "frozen" and (not experts.kinds or tuning.experts == "frozen")
    return features if fixed else pixels


def _work(
    vlm: VLM,
    source: TrainingSource,
    phase: Mapping[str, Any],
    order: Sequence[Sequence[DocumentRef]],
    seed: int,
    flops: Callable[[PackedRows], int],
    size: int,
    ranks: Ranks,
    alike_on_all_ranks: bool = False,
) -> Callable[[int], Step]:
    """Step number → the micro-batches of this rank, each of ``size`` documents.

    ``alike_on_all_ranks``: with as many passes on all, through the same components; then calls are collectives.
    """
    placeholders, image_id = vlm.placeholders_per_image, vlm.config.image_token_id

    def packed(documents: Sequence[Document]) -> PackedRows:
        return pack(documents, placeholders, image_id, phase["max_length"])

    @cache
    def filler() -> Document:
        return find_filler(source.document(reference, seed) for batch in order for reference in batch)

    def work(step: int) -> Step:
        references = shard(order[step], ranks.rank, ranks.world_size)
        chunks = [
            [source.document(reference, seed) for reference in references[start : start + size]]
            for start in range(0, len(references), size)
        ]
        own = [packed(chunk) for chunk in chunks]
        passes = alike(chunks, filler(), packed, ranks) if alike_on_all_ranks else ()
        return Step(own, sum(flops(rows) for rows in own), passes)

    return work


def _flops(vlm: VLM, phase: Mapping[str, Any], cached_features: bool) -> Callable[[PackedRows], int]:
    """Rows → FLOPs of training on them (``harness.models.flops``)."""
    config = vlm.config
    costs = VLMCosts(
        config.vision_config.to_dict(),
        config.text_config.to_dict(),
        config.connector_settings,
        config.fusion_settings,
        config.image_size,
        config.experts_settings,
    )
    tuned = Tuned.of(Tuning.of(phase["tuning"]), before=config.adapter_settings)

    def flops(rows: PackedRows) -> int:
        prompts = rows.prompts if config.objective == "prefix" else ()
        workload = Workload(rows.lengths, len(rows.images), rows.supervised, prompts)
        return costs.training_flops(workload, tuned, cached_features).total

    return flops


def matrix_shapes(vlm: VLM, rows: int = 4096) -> dict[str, tuple[int, int, int]]:
    """The language model's products on a batch of ``rows`` tokens: (rows, inputs, outputs) of each linear layer."""
    return {
        name: (rows, module.in_features, module.out_features)
        for name, module in vlm.language.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def _input_problems(vlm: VLM, batches: Sequence[PackedRows], images: Any) -> list[str]:
    return [problem for rows in batches for problem in input_problems(vlm, to_model_inputs(rows, images))]


def _visual_tokens_per_image(vlm: VLM, telemetry: Telemetry) -> int | float:
    """Of all views of an image together, as a mean over the phase; a whole number where all have as many."""
    images = telemetry.total("images")
    if not images:
        return vlm.connector.num_tokens
    mean = telemetry.total("visual_tokens") / images
    return int(mean) if mean == int(mean) else round(mean, 2)


def _summary(vlm: VLM, phase: Mapping[str, Any], telemetry: Telemetry) -> dict[str, Any]:
    """What tables need of a phase."""
    seconds = telemetry.total("seconds")
    parameters = list(vlm.parameters())
    return {
        "steps": len(telemetry.rows),
        "parameters": {
            "total": sum(parameter.numel() for parameter in parameters),
            "trainable": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        },
        "train_flops": telemetry.total("flops"),
        "train_seconds": seconds,
        "flops_per_second": telemetry.total("flops") / seconds if seconds else 0.0,
        "matrix_product_rate": matrix_product_rate(matrix_shapes(vlm), device=vlm.device, precision=phase["precision"]),
        "tokens_per_second": telemetry.total("tokens") / seconds if seconds else 0.0,
        "images": int(telemetry.total("images")),
        "text_tokens": int(telemetry.total("text_tokens")),
        "visual_tokens": int(telemetry.total("visual_tokens")),
        "supervised_tokens": int(telemetry.total("supervised_tokens")),
        "visual_tokens_per_image": _visual_tokens_per_image(vlm, telemetry),
        "peak_memory_bytes": peak_memory_bytes(vlm.device),
        "final_loss": telemetry.rows[-1]["loss"] if telemetry.rows else None,
    }
