from __future__ import annotations

import json
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.spec.identity import canonical, digest, identity_part, locations
from harness.spec.schema import Config, ConnectorConfig, ModelConfig, PhaseConfig
from harness.spec.schema.base import ADDITION, Location, Section
from harness.spec.sweep import config_of


def micro(*overrides: str) -> Config:
    return config_of("idefics2", "micro", overrides)


def test_identities_are_json_and_are_validated_again() -> None:
    for phase in micro().phases.values():
        part = identity_part(phase)
        again = PhaseConfig.model_validate(json.loads(json.dumps(part)))
        assert identity_part(again) == part
    part = identity_part(micro().model)
    assert identity_part(ModelConfig.model_validate(part)) == part
    assert identity_part(micro()).keys() == {"model", "phases", "data", "evaluation", "randomness"}


RUNTIME = [
    "runtime.processes=3", "runtime.threads=2", "runtime.feature_cache=off", "runtime.feature_cache_gb=1.5",
    "runtime.gradient_checkpointing=true", "runtime.attention=sdpa", "runtime.checkpoint_seconds=60",
    "runtime.ranks=2", "runtime.sharding=shard",
    "cluster.partition=gpu", "cluster.account=me", "cluster.qos=low", "cluster.time_minutes=3", "cluster.memory_gb=9",
    "cluster.cpus=8", "cluster.gpus=1", "cluster.gpu_type=a100", "cluster.setup=[module load x]",
    "cluster.requeue=false", "cluster.exclude=[n1]", "cluster.sbatch={constraint: a100}",
    "cluster.stages={train: {gpus: 2}}",
    "cluster.snapshot=false", "cluster.python=[apptainer, exec, a.sif, python]", "cluster.srun=[--mpi=none]",
    "cluster.scratch=$TMPDIR",
]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.sets(st.sampled_from(RUNTIME), min_size=1))
def test_how_the_work_is_carried_out_is_no_part_of_it(overrides: set[str]) -> None:
    config = micro(*overrides)
    assert config != micro()
    assert identity_part(config) == identity_part(micro())


def test_every_key_of_runtime_and_cluster_is_tried_above() -> None:
    keys = {f"runtime.{key}" for key in type(micro().runtime).model_fields}
    keys |= {f"cluster.{key}" for key in type(micro().cluster).model_fields}
    assert keys == {override.split("=")[0] for override in RUNTIME}


@pytest.mark.parametrize(
    "override",
    [
        "model.vision.backbone=zoo/vision-weak", "model.language.initialization=random", "model.connector.depth=2",
        "training.batch_size=64", "training.micro_batch_size=16", "training.precision=bfloat16",
        "training.matmul_precision=high",
        "training.learning_rate.language=0.5", "phases.main.steps=301", "data.microworld.seed=1", "evaluation.shots=3",
        "evaluation.batch_size=32", "evaluation.demonstration_seed=1", "evaluation.tasks.coco.samples=3",
        "randomness.replicate=1",
    ],
)  # fmt: skip
def test_what_can_change_a_result_or_its_last_bits_is_part_of_it(override: str) -> None:
    assert identity_part(micro(override)) != identity_part(micro())


def test_the_width_of_a_connector_is_no_part_of_it_where_its_parameters_set_it() -> None:
    asked = {"kind": "average_pool", "num_tokens": 36, "parameters": 4e5}
    one, other = (ConnectorConfig.model_validate({**asked, "hidden_size": size}) for size in (8, 9))
    assert identity_part(one) == identity_part(other)
    connector = identity_part(one)
    assert connector["parameters"] == 400_000
    assert type(connector["parameters"]) is int
    assert "hidden_size" not in connector
    assert identity_part(micro("model.connector.kind=average_pool"))["model"]["connector"].keys() == {
        "kind", "num_tokens", "hidden_size", "output_norm",
    }  # fmt: skip


def test_unread_keys_are_no_part_of_it() -> None:
    for override in ["training.lora.rank=4", "training.learning_rate.vision=0.5"]:
        assert identity_part(micro(override)) == identity_part(micro())
    rate = micro("training.learning_rate.language=0.5")
    was, now = micro().phases, rate.phases
    assert identity_part(now["align"]) == identity_part(was["align"]), "frozen while aligning"
    assert identity_part(now["main"]) != identity_part(was["main"])
    later = micro("training.schedule.delay_of.language=50", "training.optimizer.weight_decay_of.language=0.5").phases
    assert identity_part(later["align"]) == identity_part(was["align"]), "what is frozen is not delayed"
    assert identity_part(later["main"]) != identity_part(was["main"])
    lora = "training.tuning.language=lora"
    assert identity_part(micro(lora, "training.lora.rank=4")) != identity_part(micro(lora))


def test_paths_are_replaced_and_listed_names_stay() -> None:
    moved = micro("data.root=/data/here", "model.vision.backbone=./towers/siglip", "model.language.backbone=org/lm")
    elsewhere = micro("data.root=/data/there", "model.vision.backbone=~/siglip", "model.language.backbone=org/lm")
    assert identity_part(moved) == identity_part(elsewhere)
    assert identity_part(moved.model)["vision"] == {"backbone": Location.PLACEHOLDER}
    assert identity_part(moved.model)["language"]["backbone"] == "org/lm"
    assert identity_part(moved.data)["root"] == Location.PLACEHOLDER
    assert identity_part(micro().data)["root"] == "microworld"
    assert locations(moved) == {
        "model.vision.backbone": "./towers/siglip", "model.language.backbone": "org/lm", "data.root": "/data/here",
    }  # fmt: skip
    assert locations(micro().model) == {"vision.backbone": "zoo/vision-base", "language.backbone": "zoo/language-base"}


def test_canonical_text_is_independent_of_order_and_refuses_nan() -> None:
    assert canonical({"b": 1, "a": [1.0, "ä"]}) == canonical({"a": [1.0, "ä"], "b": 1}) == '{"a":[1.0,"ä"],"b":1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical(float("nan"))
    assert len(digest({})) == 32
    assert digest([1]) != digest([2])


def test_a_field_that_was_added_later_keeps_old_ids_while_it_stands_at_its_default() -> None:
    class Old(Section):
        size: int

    class Added(Section):
        share: float = 0.5

    class New(Old):
        mirrored: Annotated[bool, ADDITION] = False
        extra: Annotated[Added, ADDITION] = Added()

    assert identity_part(New(size=1)) == identity_part(Old(size=1))
    assert identity_part(New(size=1, mirrored=True)) == {"size": 1, "mirrored": True}
    assert identity_part(New(size=1, extra=Added(share=0.25))) == {"size": 1, "extra": {"share": 0.25}}
