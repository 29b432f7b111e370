"""Connectors by kind. A new one is one file and one line here (and its matrix products in ``harness.models.flops``)."""

from __future__ import annotations

from harness.errors import HarnessError
from harness.models.connectors.average_pool import AveragePoolConnector
from harness.models.connectors.base import Connector, Widths
from harness.models.connectors.linear import LinearConnector
from harness.models.connectors.mlp import MLPConnector
from harness.models.connectors.perceiver import PerceiverConnector
from harness.models.connectors.pixel_shuffle import PixelShuffleConnector
from harness.models.settings import ConnectorSettings

CONNECTORS: dict[str, type[Connector]] = {
    "linear": LinearConnector,
    "mlp": MLPConnector,
    "average_pool": AveragePoolConnector,
    "perceiver": PerceiverConnector,
    "pixel_shuffle": PixelShuffleConnector,
}


def build_connector(settings: ConnectorSettings, widths: Widths, grid: tuple[int, int]) -> Connector:
    """The connector that the settings name."""
    if settings.kind not in CONNECTORS:
        raise HarnessError(f"unknown connector {settings.kind!r}", remedy=f"use one of {', '.join(CONNECTORS)}")
    return CONNECTORS[settings.kind](settings, widths, grid)
