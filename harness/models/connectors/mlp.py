"""Two linear layers a patch with a GELU between them: ``mlp2x_gelu`` of LLaVA 1.5."""

from __future__ import annotations

from torch import Tensor, nn

from harness.models.backbones.vision import VisionFeatures
from harness.models.connectors.base import Connector, Widths, all_patches
from harness.models.settings import ConnectorSettings


class MLPConnector(Connector):
    """d_v → hidden → GELU → d_l with biases; one token a patch."""

    def __init__(self, settings: ConnectorSettings, widths: Widths, grid: tuple[int, int]) -> None:
        super().__init__(settings, widths, grid)
        self.projection = two_layer_mlp(settings, widths)

    def forward(self, features: VisionFeatures) -> Tensor:
        """[I, P, d_v] → [I, P, d_l]."""
        return self.norm(self.projection(all_patches(features)))


def two_layer_mlp(settings: ConnectorSettings, widths: Widths) -> nn.Sequential:
    """d_v → hidden → GELU → d_l with biases; the hidden layer is as wide as the language model unless set."""
    hidden = settings.hidden_size or widths.language
    return nn.Sequential(nn.Linear(widths.vision, hidden), nn.GELU(), nn.Linear(hidden, widths.language))
