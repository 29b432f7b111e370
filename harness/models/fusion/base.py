"""How visual tokens reach the language model.

Only this interface is seen by the rest: the packer asks how many placeholders an image takes, the model hands over
embeddings and visual tokens and passes what comes back to the language model. Neither knows which scheme it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Fused:
    """Input ``embeddings`` [..., d_l] of the language model, and keyword arguments for its decoder layers."""

    embeddings: Tensor
    decoder_arguments: dict[str, Any] = field(default_factory=dict)


class Fusion(nn.Module, ABC):
    """A fusion scheme; it may own parameters."""

    @staticmethod
    @abstractmethod
    def placeholders_per_image(num_tokens: int) -> int:
        """Placeholders that an image of ``num_tokens`` visual tokens takes in the sequence."""

    @abstractmethod
    def forward(self, embeddings: Tensor, placeholders: Tensor, tokens: Tensor) -> Fused:
        """``embeddings`` [S, d_l] of all positions, indices of ``placeholders`` [K], ``tokens`` [I, M, d_l]."""
