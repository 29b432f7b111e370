"""Visual tokens stand in the sequence like words (LLaVA, Idefics2 …)."""

from __future__ import annotations

from torch import Tensor

from harness.models.fusion.base import Fused, Fusion


class AutoregressiveFusion(Fusion):
    """Each visual token replaces the embedding of one placeholder."""

    @staticmethod
    def placeholders_per_image(num_tokens: int) -> int:
        """One a visual token."""
        return num_tokens

    def forward(self, embeddings: Tensor, placeholders: Tensor, tokens: Tensor) -> Fused:
        """Put the tokens, in order, at the placeholders."""
        return Fused(embeddings.index_copy(0, placeholders, tokens.flatten(0, 1).to(embeddings.dtype)))
