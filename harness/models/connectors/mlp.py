"""Two linear layers a patch with a GELU between them: ``mlp2x_gelu`` of LLaVA 1.5."""

from __future__ import annotations

from torch import Tensor, nn

from harness.models.backbones.vision import VisionFeatures
from harness.models.connectors.base import Connector, Widths, all_patches
from harness.models.settings import ConnectorSettings


class MLPConnector(Connector):
    """d_v → d_l → GELU → d_l with biases; one token a patch."""

    def __init__(self, settings: ConnectorSettings, widths: Widths, grid: tuple[int, int]) -> None:
        super().__init__(settings, widths, grid)
        self.projection = two_layer_mlp(widths)

    def forward(self, features: VisionFeatures) -> Tensor:
        """[I, P, d_v] → [I, P, d_l]."""
        return self.projection(all_patches(features))


def two_layer_mlp(widths: Widths) -> nn.Sequential:
    """d_v → d_l → GELU → d_l with biases."""
    return nn.Sequential(
        nn.Linear(widths.vision, widths.language), nn.GELU(), nn.Linear(widths.language, widths.language)
    )
