"""The executor of ``check`` stages: does a trained model do what every design has to do, whatever its scores?

For the smoke check of a sweep's variants (``harness check``): the loss moved, what was declared trainable is what
changed, the parameters are as many as a plan counts, the weights on disk are those that were trained and load again as
they are, packed documents are read as they are alone, and a cache gives what reading at once gives. All of it on the
device of the training; where that computes in bfloat16 also in this precision, in which another kernel may be at work.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from harness.data.located import open_stage_data
from harness.data.order import document_order
from harness.data.packing import pack
from harness.data.views import Splitting
from harness.errors import HarnessError
from harness.models import VLM, KeyValueCache, ModelInputs
from harness.models.audit import count_problems, weights_digest
from harness.models.inputs import IGNORED, TokenInputs
from harness.models.kernels import attention_kernel
from harness.models.quiet import quiet_transformers
from harness.store import Workspace
from harness.train.execution import Execution, active_device
from harness.train.inputs import to_model_inputs
from harness.train.source import TrainingSource

TOLERANCE = 1e-4
"""Largest difference of two logits, as a share of the largest logit, that counts as rounding."""

HALF_TOLERANCE = 5e-2
"""The same in bfloat16, whose numbers have eight bits: what a dozen layers make of that."""

DOCUMENTS = 4


def run(workspace: Workspace) -> None:
    """Check the model of a run and the records of its phases; a model that fails makes the stage fail."""
    phases = {role: workspace.input(role) for role in workspace.stage.inputs if role.startswith("phase.")}
    problems = [f"{role.removeprefix('phase.')}: {each}" for role, folder in phases.items() for each in _of(folder)]
    vlm, processor = _load(workspace.input("model") / "model")
    audit = json.loads((workspace.input("model") / "audit.json").read_text(encoding="utf-8"))
    if weights_digest(vlm) != audit["weights_sha256"]:
        problems.append("the weights on disk are not those that were trained")
    backbones = (Path(workspace.stage.location[name]) / "config.json" for name in ("vision", "language"))
    problems += count_problems(vlm, *(json.loads(path.read_bytes()) for path in backbones))
    _open_gates(vlm)
    execution, precision = Execution.of(workspace.stage), workspace.stage.config["phase"]["precision"]
    torch.set_float32_matmul_precision("highest")  # a training in this process may have left another behind
    with torch.inference_mode(), attention_kernel("sdpa"), TemporaryDirectory() as folder:
        with quiet_transformers():
            vlm.save_pretrained(folder)
        documents = _documents(workspace, vlm, processor)
        again, _ = _load(Path(folder), processor)
        measured = {
            "saved": _distance(_logits(again, documents[0]), _logits(vlm, documents[0])),
            "packed": _packed(vlm, documents),
            "cached": _cached(vlm, max(documents, key=lambda document: len(_tokens(document)))),
        }
    allowed = {"saved": 0.0, "packed": TOLERANCE, "cached": TOLERANCE}
    names = {"saved": "saved and loaded again", "packed": "packed with others", "cached": "read through a cache"}
    if precision == "bfloat16":
        with torch.inference_mode():
            measured |= _in_half_precision(vlm, documents, execution.attention)
        allowed |= {"packed_bfloat16": HALF_TOLERANCE, "kernel": HALF_TOLERANCE}
        names |= {"packed_bfloat16": "packed with others in bfloat16", "kernel": "with the kernel of the training"}
    for name, distance in measured.items():
        if not distance <= allowed[name]:
            problems.append(f"{names[name]} it gives other logits: they differ by {distance:.2g} of the largest")
    if problems:
        raise HarnessError("; ".join(problems))
    workspace.write_json("check.json", measured)
    workspace.finish(summary=measured)


def _in_half_precision(vlm: VLM, documents: Sequence[ModelInputs], attention: str) -> dict[str, float]:
    """As a training in bfloat16 computes: packed against alone, and its kernel against the one that runs anywhere."""
    with torch.autocast(vlm.device.type, torch.bfloat16):
        with attention_kernel(attention):
            packed, own = _packed(vlm, documents), _logits(vlm, documents[0])
        with attention_kernel("sdpa"):
            anywhere = _logits(vlm, documents[0])
    return {"packed_bfloat16": packed, "kernel": _distance(own, anywhere)}


def _of(folder: Path) -> list[str]:
    """What is wrong with a finished phase."""
    import pyarrow.parquet as pq

    problems = []
    losses = pq.read_table(folder / "telemetry.parquet", columns=["loss"]).column("loss").to_pylist()
    if not all(map(math.isfinite, losses)):
        problems.append("the loss is not finite")
    elif len(losses) > 1 and len(set(losses)) == 1:
        problems.append("the loss did not move")
    audit = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    if audit["problems"] or audit["declared"] != audit["changed"] or not audit["declared"]:
        problems += audit["problems"][:3] or ["what was declared trainable is not what changed"]
    return problems


def _load(folder: Path, processor: Any = None) -> tuple[VLM, Any]:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    with quiet_transformers():
        vlm: Any = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True)
        processor = processor or AutoProcessor.from_pretrained(folder, local_files_only=True)
    vlm.to(active_device())
    return vlm.eval(), processor


def _open_gates(vlm: VLM) -> None:
    """Let cross-attention matter to the logits: after two steps its gates are as good as closed, and hide mistakes."""
    with torch.no_grad():
        for name, parameter in vlm.named_parameters():
            if name.endswith(("_gate", ".gate")):
                parameter.fill_(0.5)


def _documents(workspace: Workspace, vlm: VLM, processor: Any) -> list[ModelInputs]:
    """The first documents that the last phase was trained on, each as a row, with its visual tokens."""
    config = workspace.stage.config
    phase, seed = config["phase"], config["seed"]
    splitting = Splitting.of(phase.get("splitting"), vlm.config.image_size, seed)
    dataset = open_stage_data(workspace.stage, workspace.input)
    source = TrainingSource.of_phase(dataset, processor.tokenizer, phase, splitting)
    order = document_order(seed, config["name"], phase["mixture"], source.counts, DOCUMENTS, 1)

    experts = vlm.config.experts_settings
    maps = source.expert_maps(experts.kinds, experts.noise, vlm.config.image_size)

    def images(keys: Sequence[str]) -> TokenInputs:
        pictures = processor.prepare([source.picture(key) for key in keys]).with_experts(maps.of(keys))
        return TokenInputs(vlm.visual_tokens(pictures.to(vlm.device)))

    rows = []
    for reference in order[0]:
        document = source.document(reference, seed)
        packed = pack([document], vlm.placeholders_per_image, vlm.config.image_token_id, phase["max_length"])
        inputs = to_model_inputs(packed, images)
        assert inputs.labels is not None
        rows.append(replace(inputs, labels=None, prompts=inputs.labels == IGNORED).to(vlm.device))
    return rows


def _tokens(document: ModelInputs) -> Tensor:
    return document.input_ids[0]


def _logits(vlm: VLM, inputs: ModelInputs) -> Tensor:
    logits = vlm(inputs).logits
    assert logits is not None
    return logits


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def _packed(vlm: VLM, documents: Sequence[ModelInputs]) -> float:
    """All documents in one row, against each alone."""
    numbers = [torch.full_like(document.document_ids, number) for number, document in enumerate(documents, 1)]
    together = ModelInputs(
        torch.cat([document.input_ids for document in documents], 1),
        torch.cat([document.position_ids for document in documents], 1),
        torch.cat(numbers, 1),
        TokenInputs(torch.cat([_visual(document) for document in documents])),
        prompts=torch.cat([document.in_prompt for document in documents], 1),
    )
    alone = torch.cat([_logits(vlm, document) for document in documents], 1)
    return _distance(_logits(vlm, together), alone)


def _cached(vlm: VLM, document: ModelInputs) -> float:
    """A document in two parts through a cache, cut before its last image or, if it has only one, after it.

    Of a model that reads prompts in both directions, where a prompt after the first answer begins: none is cut in two.
    """
    is_image = (_tokens(document) == vlm.config.image_token_id).nonzero().squeeze(-1)
    size, count = vlm.placeholders_per_image, len(_visual(document))
    first = max(count - 1, 1)
    cut = int(is_image[first * size]) if count > 1 else int(is_image[size - 1]) + 1
    if vlm.config.objective == "prefix":
        asked = document.in_prompt[0]
        begins = (asked[1:] & ~asked[:-1]).nonzero().squeeze(-1) + 1
        cut = int(begins[-1]) if len(begins) else int(asked.sum())  # with one answer, before that
        first = int((is_image < cut).sum()) // size
    cache = KeyValueCache()
    parts = []
    for span, shown in ((slice(0, cut), slice(0, first)), (slice(cut, None), slice(first, None))):
        part = ModelInputs(
            document.input_ids[:, span],
            document.position_ids[:, span],
            document.document_ids[:, span],
            TokenInputs(_visual(document)[shown]),
            prompts=document.in_prompt[:, span],
        )
        logits = vlm(part, cache=cache).logits
        assert logits is not None
        parts.append(logits)
    return _distance(torch.cat(parts, 1), _logits(vlm, document))


def _visual(document: ModelInputs) -> Tensor:
    assert isinstance(document.images, TokenInputs)
    return document.images.tokens
