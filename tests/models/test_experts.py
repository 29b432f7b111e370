"""Experts: Prismer's stems and resampler, and their tokens among the patches of every family of encoders."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.errors import HarnessError
from harness.models import VLM, PixelInputs, load_vlm
from harness.models.audit import audit_tuning, parameter_digests
from harness.models.experts.experts import Experts
from harness.models.experts.settings import ExpertsSettings
from harness.models.flops import Tuned, VLMCosts
from harness.models.settings import COMPONENTS, AdaptorSettings, LoraSettings, Tuning
from harness.models.tuning import set_tuning
from harness.spec.experts import EXPERTS
from harness.train import checkpoint

from . import test_flops
from .tiny import images, maps, model_section, pack, pixels, vision_configs, with_image, words, write_vision

LORA = LoraSettings(rank=3)
RESAMPLERS = ("experts", "full", "dual", "random")
SIZES = {"num_latents": 5, "depth": 2, "num_heads": 4}


def section(resampler: str = "experts", kinds: tuple[str, ...] = EXPERTS, connector: str = "linear") -> dict[str, Any]:
    return model_section(connector, experts={"kinds": list(kinds), "resampler": resampler, **SIZES})


def documents(vlm: VLM) -> list[Tensor]:
    return [with_image(vlm.placeholders_per_image, document) for document in words(9, 6)]


def train(vlm: VLM, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        vlm.train()(pack([documents(vlm)], images(2), labelled=True)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def test_stems_and_resampler_are_prismers() -> None:
    reference = load_file(Path(__file__).parent / "fixtures" / "prismer_experts.safetensors")
    kinds = {"depth": "depth", "normals": "normal", "segmentation": "seg", "objects": "obj_detection"}
    experts = Experts(ExpertsSettings(tuple(kinds), "experts", 5, 2, 4), 16).eval()
    theirs = {key.removeprefix("weights."): value for key, value in reference.items() if key.startswith("weights.")}
    ours = experts.state_dict()
    for kind, name in kinds.items():
        for number in range(4):
            ours[f"stems.{kind}.convolutions.{number}.weight"] = theirs[f"conv1.{name}.{1 + 3 * number}.weight"]
            for part in ("weight", "bias", "running_mean", "running_var"):
                ours[f"stems.{kind}.norms.{number}.{part}"] = theirs[f"conv1.{name}.{2 + 3 * number}.{part}"]
        ours[f"stems.{kind}.projection.weight"] = theirs[f"conv1.{name}.13.weight"]
    for kind in ("segmentation", "objects"):
        ours[f"stems.{kind}.labels"][:4] = reference["table"]
    ours["stems.objects.instances"][:3] = theirs["instance_embedding"]
    ours["resamplers.experts.latents"] = theirs["resampler.latents"]
    for number in range(2):
        block, own = f"resampler.perceiver_blocks.{number}", f"resamplers.experts.layers.{number}"
        for part in ("weight", "bias"):
            for name, matrix in zip("qkv", theirs[f"{block}.attn.in_proj_{part}"].chunk(3), strict=True):
                ours[f"{own}.attention.{name}_proj.{part}"] = matrix
            for name, other in (
                ("attention.o_proj", "attn.out_proj"),
                ("latent_norm", "ln_1"),
                ("token_norm", "ln_2"),
                ("norm", "ln_ff"),
                ("up_proj", "mlp.c_fc"),
                ("down_proj", "mlp.c_proj"),
            ):
                ours[f"{own}.{name}.{part}"] = theirs[f"{block}.{other}.{part}"]
    experts.load_state_dict(ours)
    positions = theirs["positional_embedding"]
    with torch.no_grad():
        patches = torch.nn.functional.conv2d(reference["rgb"], theirs["conv1.rgb.weight"], stride=8)
        patches = patches.flatten(2).transpose(1, 2) + positions
        given = {kind: reference[kind] for kind in kinds}
        tokens = torch.cat([stem(given[kind], (4, 4)) + positions for kind, stem in experts.stems.items()], 1)
        torch.testing.assert_close(tokens, reference["tokens"], atol=1e-5, rtol=1e-5)
        output = experts(patches, positions, (4, 4), given)
    torch.testing.assert_close(output, reference["output"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", vision_configs())
def test_tokens_join_before_the_first_norm_in_every_family(
    family: str, backbones: tuple[Path, Path], tmp_path: Path
) -> None:
    vision = write_vision(tmp_path, vision_configs()[family])
    plain = load_vlm(model_section("linear"), 0, vision, backbones[1])
    vlm = load_vlm(section(), 0, vision, backbones[1])
    assert set(plain.state_dict()) == {name for name in vlm.state_dict() if not name.startswith("experts.")}
    seen: list[tuple[Tensor, Tensor]] = []

    def among(patches: Tensor, positions: Tensor, grid: tuple[int, int]) -> Tensor:
        assert grid == (4, 4)
        seen.append((patches, positions))
        return patches

    with torch.no_grad():
        assert torch.equal(vlm.vision(pixels(2), None, among).values, plain.vision(pixels(2)).values)
        vlm.vision(pixels(2, seed=1), None, among)
        (first, positions), (second, others) = seen
        assert positions.abs().sum() > 0
        assert torch.equal(positions, others)  # whatever the image
        patch = next(module for module in vlm.vision.modules() if isinstance(module, torch.nn.Conv2d))
        own = patch(pixels(2)).flatten(2).transpose(1, 2)
        torch.testing.assert_close(first - positions, own)
        assert not torch.equal(first, second)
        # What is put among the patches is seen by the patches.
        before = vlm.vision(pixels(1), None, lambda patches, *_: torch.cat([patches, patches[:, :1]], 1)).values
        after = vlm.vision(pixels(1), None, lambda patches, *_: torch.cat([patches, patches[:, 1:2]], 1)).values
    assert before.shape[1] == 17
    assert not torch.allclose(before[:, :16], after[:, :16])


@pytest.mark.parametrize("resampler", RESAMPLERS)
@pytest.mark.parametrize("connector", ["linear", "mlp", "perceiver", "resampler", "attention_pool", "mapping_network"])
def test_every_connector_that_keeps_no_grid_takes_them(
    resampler: str, connector: str, backbones: tuple[Path, Path]
) -> None:
    model = section(resampler, connector=connector)
    vlm = load_vlm(model, 0, *backbones)
    tokens = {"experts": 21, "full": 5, "dual": 10, "random": 21}[resampler]
    with torch.no_grad():
        features = vlm.encode(images(2))
        assert features.features.shape[1] == tokens == features.grid[1]
        assert torch.equal(vlm.visual_tokens(features), vlm.visual_tokens(images(2)))
        assert vlm.visual_tokens(features).shape[1] == vlm.connector.num_tokens
    assert test_flops.costs_of(model, *backbones).visual_tokens == vlm.connector.num_tokens


@pytest.mark.parametrize("kind", EXPERTS)
def test_every_expert_is_seen(kind: str, backbones: tuple[Path, Path]) -> None:
    vlm = load_vlm(section(), 0, *backbones)
    changed = {**maps(2), kind: maps(2, seed=1)[kind]}
    with torch.no_grad():
        assert not torch.allclose(
            vlm.visual_tokens(images(2)), vlm.visual_tokens(PixelInputs(pixels(2), experts=changed)), atol=1e-6
        )


def test_missing_maps_are_named(backbones: tuple[Path, Path]) -> None:
    vlm = load_vlm(section(kinds=("depth", "edges")), 0, *backbones)
    for given in (None, {"depth": maps(1)["depth"]}):
        with pytest.raises(HarnessError, match="edges are missing"):
            vlm.encode(PixelInputs(pixels(1), experts=given))


TUNINGS = [
    Tuning("frozen", "frozen", "frozen", experts="frozen"),
    Tuning("frozen", "frozen", "frozen", experts="full"),
    Tuning("frozen", "full", "frozen", experts="frozen"),
    Tuning("full", "full", "full", experts="frozen"),
    Tuning("lora", "full", "frozen", experts="full"),
    Tuning("full", "full", "full", experts="full"),
]


@pytest.fixture
def torch_counts_whole_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_flops.architecture, "_visible_pairs", lambda length, window: length * length)


@pytest.mark.parametrize("resampler", RESAMPLERS)
@pytest.mark.parametrize("tuning", TUNINGS, ids=lambda tuning: "-".join(tuning[name] for name in COMPONENTS))
@pytest.mark.usefixtures("torch_counts_whole_squares")
def test_parameters_and_flops_are_torchs(resampler: str, tuning: Tuning, backbones: tuple[Path, Path]) -> None:
    model = section(resampler)
    vlm = load_vlm(model, 0, *backbones)
    set_tuning(vlm, tuning, LORA, 0)
    test_flops.check(vlm, test_flops.costs_of(model, *backbones), tuning)


@pytest.mark.parametrize("family", ["clip", "dinov2"])
@pytest.mark.usefixtures("torch_counts_whole_squares")
def test_counts_of_other_families_and_of_adaptors(family: str, backbones: tuple[Path, Path], tmp_path: Path) -> None:
    model = section(connector="perceiver")
    vision = write_vision(tmp_path, vision_configs()[family])
    vlm = load_vlm(model, 0, vision, backbones[1])
    tuning, adaptor = Tuning("adaptor", "full", "adaptor"), AdaptorSettings(0.5, "both")
    set_tuning(vlm, tuning, LORA, 0, adaptor)
    test_flops.check(vlm, test_flops.costs_of(model, vision, backbones[1]), tuning, adaptor)


def test_gradients_reach_experts_through_a_frozen_encoder(backbones: tuple[Path, Path]) -> None:
    vlm = load_vlm(section("dual"), 0, *backbones)
    tuning, adaptor = Tuning("adaptor", "full", "frozen"), AdaptorSettings(0.5)
    set_tuning(vlm, tuning, LORA, 0, adaptor)
    before = parameter_digests(vlm)
    optimizer = torch.optim.AdamW([p for _, _, p in vlm.trainable_parameters()], lr=1e-2)
    train(vlm, optimizer, 2)
    audit = audit_tuning(vlm, before, tuning, optimizer)
    assert audit.problems == ()
    assert any(name.startswith("experts.stems.depth.") for name in audit.changed)


def test_frozen_experts_stand_still(backbones: tuple[Path, Path]) -> None:
    vlm = load_vlm(section(), 0, *backbones)
    set_tuning(vlm, Tuning("frozen", "full", "full", experts="frozen"), LORA, 0)
    before = {name: value.clone() for name, value in vlm.experts.state_dict().items()}
    train(vlm, torch.optim.AdamW([p for _, _, p in vlm.trainable_parameters()], lr=1e-2), 2)
    assert all(torch.equal(before[name], value) for name, value in vlm.experts.state_dict().items())
    with pytest.raises(HarnessError, match="frozen, full"):
        Tuning("frozen", "full", "full", experts="lora")


def test_saved_and_loaded_with_running_statistics(backbones: tuple[Path, Path], tmp_path: Path) -> None:
    vlm = load_vlm(section(), 0, *backbones)
    set_tuning(vlm, Tuning("adaptor", "full", "full"), LORA, 0)
    train(vlm, torch.optim.AdamW([p for _, _, p in vlm.trainable_parameters()], lr=1e-2), 2)
    vlm.eval()
    vlm.save_pretrained(tmp_path)
    loaded = VLM.from_pretrained(tmp_path)
    with torch.no_grad():
        batch = pack([documents(vlm)], images(2))
        assert torch.equal(loaded(batch).logits, vlm(batch).logits)
        copied = deepcopy(vlm)
        copied.experts.stems["depth"].projection.weight.mul_(-3)
        assert not torch.allclose(copied(batch).logits, vlm(batch).logits)
        assert torch.equal(loaded(batch).logits, vlm(batch).logits)


@pytest.mark.parametrize("resampler", ["experts", "random"])
def test_a_resumed_run_is_the_same_to_the_bit(resampler: str, backbones: tuple[Path, Path], tmp_path: Path) -> None:
    def fresh() -> tuple[VLM, torch.optim.Optimizer]:
        vlm = load_vlm(section(resampler), 0, *backbones)
        set_tuning(vlm, Tuning("frozen", "full", "frozen"), LORA, 0)
        return vlm, torch.optim.AdamW([p for _, _, p in vlm.trainable_parameters()], lr=1e-2)

    torch.manual_seed(0)
    whole, optimizer = fresh()
    train(whole, optimizer, 2)
    checkpoint.save(tmp_path, whole, optimizer)
    train(whole, optimizer, 2)
    torch.manual_seed(1)
    resumed, optimizer = fresh()
    checkpoint.load(tmp_path, resumed, optimizer)
    train(resumed, optimizer, 2)
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())


@pytest.mark.parametrize("training", [False, True])
def test_packed_is_unpacked(training: bool, backbones: tuple[Path, Path]) -> None:
    vlm = load_vlm(section(), 0, *backbones).train(training)
    first, second = documents(vlm)
    with torch.no_grad():
        packed = vlm(pack([[first, second]], images(2), labelled=True)).loss
        apart = vlm(pack([[first], [second]], images(2), labelled=True)).loss
    torch.testing.assert_close(packed, apart)


def test_a_seed_changes_every_fresh_parameter_and_the_order_of_kinds_none(backbones: tuple[Path, Path]) -> None:
    one, other = (load_vlm(section(kinds=kinds), 0, *backbones) for kinds in (EXPERTS, tuple(reversed(EXPERTS))))
    second = load_vlm(section(), 1, *backbones).experts.state_dict()
    for name, value in one.experts.named_parameters():
        assert torch.equal(value, other.experts.get_parameter(name))
        if not ("norm" in name or name.endswith("bias")):
            assert not torch.equal(value, second[name]), name


def test_random_tokens_are_the_same_in_evaluation_and_differ_in_training(backbones: tuple[Path, Path]) -> None:
    vlm = load_vlm(section("random"), 0, *backbones).eval()
    with torch.no_grad():
        assert torch.equal(vlm.visual_tokens(images(2)), vlm.visual_tokens(images(2)))
    places = [vlm.experts.train()._places(112).tolist() for _ in range(2)]
    assert places[0] != places[1]
    assert all(len(set(drawn)) == 5 for drawn in places)


def test_prismer_base_has_the_published_size() -> None:
    """Table 3: Base has 980 M parameters, 654 M of them in the experts' own networks, trains 160 M; Z 275 M, 105 M.

    RoBERTa-base's sizes stand in an OPT config; our linear connector is there besides. What is trained was counted by
    building the published code (NVlabs/prismer at 4f27ab3, `freeze_lang_vision`): 157.36 M and 104.23 M. It tells by
    names what is frozen, "encoder.layer" and "transformer.resblocks", so that a thirteenth decoder layer, added at
    random ("encoder.output_layer"), both models' embeddings and the head learn too; ours, by section 3.3, do not.
    """
    vision = {"model_type": "clip_vision_model", "hidden_size": 768, "patch_size": 16, "num_hidden_layers": 12}
    vision |= {"intermediate_size": 3072, "image_size": 224}
    language = {"model_type": "opt", "hidden_size": 768, "word_embed_proj_dim": 768, "ffn_dim": 3072}
    language |= {"num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 50265, "enable_bias": True}
    language |= {"max_position_embeddings": 512, "layer_norm_elementwise_affine": True}
    language |= {"do_layer_norm_before": False}
    fusion = {"kind": "cross_attention", "cross_attn_every": 1, "num_heads": 12, "head_dim": 64}
    fusion |= {"feed_forward": False, "memory_width": "vision"}
    counts = []
    for kinds in ((), tuple(kind for kind in EXPERTS if kind != "noise")):
        model = {"image": {"size": 224}, "connector": {"kind": "linear"}, "fusion": fusion}
        model["experts"] = {"kinds": kinds}
        costs = VLMCosts.of(model, vision, language)
        counts.append(costs.parameters(Tuned.of(Tuning("adaptor", "full", "adaptor"))))
    without, six = counts
    assert without.all.total == pytest.approx(275e6, rel=0.03)
    assert six.all.total + 654e6 == pytest.approx(980e6, rel=0.01)
    assert six.trainable.total - without.trainable.total == six.trainable.experts == pytest.approx(55e6, rel=0.04)
    width, words = 768, 50265
    norm, square = 2 * width, width * width + width
    layer = 4 * square + 2 * 4 * width * width + 5 * width + 2 * norm
    embeddings = (words + 514 + 1) * width + norm
    head = square + norm + words
    patches = 16 * 16 * 3 * width + 14 * 14 * width + 2 * norm
    cross_attention = 12 * (4 * square + norm)
    ours = without.trainable
    published = ours.vision + ours.language + cross_attention + layer + embeddings + head + patches
    assert published == 104_226_393
    assert ours.fusion == pytest.approx(cross_attention, rel=0.002)  # ours has gates and no biases
    labels = 3 * 256 * 64  # embeddings of labels, learned here
    assert six.trainable.experts - labels == 157_359_801 - published
