"""Attention by documents equals every family's own attention on each document alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, BloomConfig, FalconConfig, PreTrainedModel

from harness.errors import HarnessError
from harness.models.attention import CachedLayout, DocumentLayout
from harness.models.backbones.language import LanguageBackbone
from harness.models.cache import KeyValueCache

from .tiny import WINDOW, language_configs, sharpen, words

FAMILIES = list(language_configs())
WINDOWED = ["mistral", "qwen2", "gemma2", "gemma3"]
TOLERANCE = {"atol": 3e-5, "rtol": 1e-5}


def models_of(family: str) -> tuple[LanguageBackbone, PreTrainedModel]:
    """A language backbone, and the same weights with transformers' own eager attention."""
    torch.manual_seed(0)
    ours = LanguageBackbone.from_config(language_configs()[family]).eval()
    sharpen(ours)
    theirs = AutoModelForCausalLM.from_config(language_configs()[family], attn_implementation="eager").eval()
    theirs.load_state_dict(ours.model.state_dict())
    return ours, theirs


def alone(model: PreTrainedModel, document: Tensor) -> Tensor:
    """Logits [T, V] of one document, by transformers, without cache."""
    with torch.no_grad():
        return model(input_ids=document[None], use_cache=False).logits[0]


def row_of(documents: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    ids = torch.cat(documents)[None]
    positions = torch.cat([torch.arange(len(document)) for document in documents])[None]
    numbers = torch.cat([torch.full((len(document),), index) for index, document in enumerate(documents, 1)])[None]
    return ids, positions, numbers


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lengths", [(7, 12, 3, 9, 1), (6, 6, 6)])
def test_packed_documents_equal_documents_alone(family: str, lengths: tuple[int, ...]) -> None:
    ours, theirs = models_of(family)
    documents = words(*lengths)
    ids, positions, numbers = row_of(documents)
    with torch.no_grad():
        packed = ours(ours.embed(ids), positions, DocumentLayout(numbers))[0]
    for logits, document in zip(packed.split(list(lengths)), documents, strict=True):
        torch.testing.assert_close(logits, alone(theirs, document), **TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_a_pack_are_those_of_its_documents(family: str) -> None:
    ours, theirs = models_of(family)
    documents = words(9, 4, 8)
    ids, positions, numbers = row_of(documents)
    packed = ours.embed(ids).detach().requires_grad_()
    ours(packed, positions, DocumentLayout(numbers)).logsumexp(-1).sum().backward()
    for gradient, document in zip(packed.grad[0].split([9, 4, 8]), documents, strict=True):
        single = ours.embed(document[None]).detach().requires_grad_()
        theirs(inputs_embeds=single, use_cache=False).logits.logsumexp(-1).sum().backward()
        torch.testing.assert_close(gradient, single.grad[0], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("family", WINDOWED)
def test_the_window_of_the_tests_matters(family: str) -> None:
    """Or the comparisons above would also pass when windows are ignored."""
    _, theirs = models_of(family)
    (document,) = words(12)
    other = document.clone()
    other[0] = (other[0] - 3) % 60 + 4
    change = (alone(theirs, document) - alone(theirs, other)).abs().amax(-1)
    layers = sum(kind != "full_attention" for kind in getattr(theirs.config, "layer_types", None) or ["sliding"] * 3)
    if layers == 3:
        assert change[1:WINDOW].max() > 0
        assert change[3 * WINDOW :].sum() == 0
    wide = AutoModelForCausalLM.from_config(language_configs()[family], attn_implementation="eager").eval()
    wide.load_state_dict(theirs.state_dict())
    wide.config.sliding_window = 1_000
    for module in wide.modules():
        if getattr(module, "sliding_window", None):
            module.sliding_window = 1_000
    assert (alone(wide, document)[WINDOW:] - alone(theirs, document)[WINDOW:]).abs().max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_prefix_shared_by_continuations_of_unequal_length_equals_no_cache(family: str) -> None:
    ours, theirs = models_of(family)
    prefix, long, short = words(8, 3, 2)
    first, second = words(1, 1, seed=1)

    def step(cache: KeyValueCache, ids: Tensor, positions: Tensor, numbers: Tensor) -> Tensor:
        cache.extend(positions, numbers)
        layout = CachedLayout(positions, numbers, cache.key_positions(), cache.key_documents(), cache.prefix)
        return ours(ours.embed(ids), positions, layout, 0, cache)

    with torch.no_grad():
        cache = KeyValueCache()
        of_prefix = step(cache, prefix[None], torch.arange(8)[None], torch.ones(1, 8, dtype=torch.long))
        shared = cache.expand()
        # The short row is padded between prefix and continuation: columns and positions differ from there on.
        ids = torch.stack([long, torch.cat([torch.tensor([0]), short])])
        positions, numbers = torch.tensor([[8, 9, 10], [0, 8, 9]]), torch.tensor([[1, 1, 1], [0, 1, 1]])
        of_rows = step(shared, ids, positions, numbers)
        of_next = step(
            shared, torch.stack([first, second]), torch.tensor([[11], [10]]), torch.ones(2, 1, dtype=torch.long)
        )
        kept = shared.select(torch.tensor([1]))
        of_kept = step(kept, first[None], torch.tensor([[11]]), torch.ones(1, 1, dtype=torch.long))

    expected = alone(theirs, torch.cat([prefix, long, first]))
    torch.testing.assert_close(of_prefix[0], expected[:8], **TOLERANCE)
    torch.testing.assert_close(of_rows[0], expected[8:11], **TOLERANCE)
    torch.testing.assert_close(of_next[0, 0], expected[11], **TOLERANCE)
    expected = alone(theirs, torch.cat([prefix, short, second, first]))
    torch.testing.assert_close(of_rows[1, 1:], expected[8:10], **TOLERANCE)
    torch.testing.assert_close(of_next[1, 0], expected[10], **TOLERANCE)
    torch.testing.assert_close(of_kept[0, 0], expected[11], **TOLERANCE)


@pytest.mark.parametrize("config", [BloomConfig(n_layer=1, hidden_size=8, n_head=2), FalconConfig(hidden_size=8)])
def test_families_with_their_own_attention_are_refused(config: object) -> None:
    with pytest.raises(HarnessError, match="attention is not exchangeable"):
        LanguageBackbone.from_config(config)


def test_a_model_that_bypasses_the_layout_is_found_out() -> None:
    ours, _ = models_of("llama")
    ours.model.set_attn_implementation("sdpa")
    ids, positions, numbers = row_of(words(4, 4))
    with pytest.raises(HarnessError, match="attention interface"):
        ours(ours.embed(ids), positions, DocumentLayout(numbers))


def test_a_cache_with_gradients_is_refused() -> None:
    ours, _ = models_of("llama")
    cache = KeyValueCache()
    positions, numbers = torch.arange(3)[None], torch.ones(1, 3, dtype=torch.long)
    cache.extend(positions, numbers)
    layout = CachedLayout(positions, numbers, cache.key_positions(), cache.key_documents())
    with pytest.raises(RuntimeError, match="no_grad"):
        ours(ours.embed(words(3)[0][None]), positions, layout, 0, cache)
