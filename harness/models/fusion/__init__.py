"""Fusion schemes by kind. A new one is one file and one line here."""

from __future__ import annotations

from harness.errors import HarnessError
from harness.models.fusion.autoregressive import AutoregressiveFusion
from harness.models.fusion.base import Fused, Fusion

FUSIONS: dict[str, type[Fusion]] = {
    "autoregressive": AutoregressiveFusion,
}


def build_fusion(kind: str) -> Fusion:
    """The fusion scheme of that name."""
    if kind not in FUSIONS:
        raise HarnessError(f"unknown fusion {kind!r}", remedy=f"use one of {', '.join(FUSIONS)}")
    return FUSIONS[kind]()


__all__ = ["FUSIONS", "Fused", "Fusion", "build_fusion"]
