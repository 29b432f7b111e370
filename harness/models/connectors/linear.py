"""One linear layer a patch, as in the first LLaVA."""

from __future__ import annotations

from torch import Tensor, nn

from harness.models.backbones.vision import VisionFeatures
from harness.models.connectors.base import Connector, Widths, all_patches
from harness.models.settings import ConnectorSettings


class LinearConnector(Connector):
    """d_v → d_l with bias; one token a patch."""

    def __init__(self, settings: ConnectorSettings, widths: Widths, grid: tuple[int, int]) -> None:
        super().__init__(settings, widths, grid)
        self.projection = nn.Linear(widths.vision, widths.language)

    def forward(self, features: VisionFeatures) -> Tensor:
        """[I, P, d_v] → [I, P, d_l]."""
        return self.norm(self.projection(all_patches(features)))
