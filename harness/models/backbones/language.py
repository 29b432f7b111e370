"""Language models: embeddings → next-token logits, document by document."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from harness.errors import HarnessError
from harness.models.attention import ATTENTION, Layout
from harness.models.backbones.source import layers_of, load_config, load_weights
from harness.models.families import LANGUAGE
from harness.models.fast_paths import use_fast_paths
from harness.models.seeding import seeded


class LanguageBackbone(nn.Module):
    """Any Hugging Face causal language model whose class announces transformers' attention interface.

    That is ``_supports_attention_backend``: attention goes through the interface and is handed the keyword arguments of
    the model's forward. So it is ours (``harness.models.attention``), and packing, padding, sliding windows and caches
    behave alike in all families.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        table = model.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        self.width = table.embedding_dim
        self.vocabulary = table.num_embeddings
        use_fast_paths(model)

    @classmethod
    def from_config(cls, config: PreTrainedConfig) -> LanguageBackbone:
        """A language model without pretrained weights (they are about to be loaded)."""
        _require_attention_interface(config)
        return cls(AutoModelForCausalLM.from_config(deepcopy(config), attn_implementation=ATTENTION))

    @classmethod
    def from_pretrained(cls, source: str | Path) -> LanguageBackbone:
        """A language model from a directory or hub id."""
        config = load_config(source)
        _require_attention_interface(config)
        return cls(load_weights(AutoModelForCausalLM, source, config, attn_implementation=ATTENTION))

    @classmethod
    def random(cls, source: str | Path, seed: int) -> LanguageBackbone:
        """The architecture of ``source`` with random weights drawn from ``seed`` alone."""
        config = load_config(source)
        config.dtype = torch.float32
        with seeded(seed, "language"):
            return cls.from_config(config)

    @property
    def intermediate_size(self) -> int:
        """Width of the feed-forward blocks."""
        config = self.model.config
        return getattr(config, "intermediate_size", None) or getattr(config, "ffn_dim", None) or 4 * self.width

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder's layers, in order."""
        return layers_of(self.model)

    @property
    def heads(self) -> tuple[int, int]:
        """Number and size of the attention heads."""
        config = self.model.config
        return config.num_attention_heads, getattr(config, "head_dim", None) or (
            config.hidden_size // config.num_attention_heads
        )

    @property
    def all_tied_weights_keys(self) -> dict[str, str]:
        """transformers looks for tied weights on the direct children of a model: those of the model inside."""
        return {f"model.{target}": f"model.{source}" for target, source in self.model.all_tied_weights_keys.items()}

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids [...] → embeddings [..., d_l], scaled as the family scales them."""
        return self.model.get_input_embeddings()(ids)

    def forward(
        self,
        embeddings: Tensor,
        position_ids: Tensor,
        layout: Layout,
        logits_to_keep: Tensor | int = 0,
        cache: Any = None,
        **decoder_arguments: Any,
    ) -> Tensor:
        """Embeddings [B, T, d_l] → logits [B, T, V], or only at the positions ``logits_to_keep`` (as transformers)."""
        logits = self.model(
            inputs_embeds=embeddings,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=False,
            logits_to_keep=logits_to_keep,
            layout=layout,
            **decoder_arguments,
        ).logits
        if layout.calls == 0:
            raise HarnessError(
                f"{type(self.model).__name__} does not use transformers' attention interface",
                remedy=f"use a language model of one of the families {', '.join(LANGUAGE)}",
            )
        return logits


def _require_attention_interface(config: PreTrainedConfig) -> None:
    """Refuse families that build their own attention: they would ignore where documents end."""
    why = "transformers has no causal language model with such a config"
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(deepcopy(config))
    except ValueError:
        pass
    else:
        if model._supports_attention_backend:
            return
        why = f"{type(model).__name__}._supports_attention_backend is false (transformers {transformers.__version__})"
    others = ", ".join(name for name in LANGUAGE if name != config.model_type)
    raise HarnessError(
        f"language models of type {config.model_type} cannot be used, their attention is not exchangeable: {why}",
        remedy=f"use a language model of one of the families {others}",
    )
