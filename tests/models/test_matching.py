"""Connectors whose width follows from the number of parameters they shall have."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.models import VLM, load_vlm
from harness.models.connectors import descriptions
from harness.models.connectors.descriptions import parameters_of
from harness.models.connectors.matching import TOLERANCE, matched
from harness.models.flops import Tuned, VLMCosts
from harness.models.settings import ConnectorSettings, Tuning
from harness.spec.connectors import CONNECTORS

from .tiny import model_section

WIDTHS, GRID = (96, 128, 256), (4, 4)
FREE = [kind for kind, known in CONNECTORS.items() if known.free_width]
FULL = Tuning("frozen", "full", "frozen")


def settings(kind: str, **changes: Any) -> ConnectorSettings:
    sizes = {"num_tokens": 4, "depth": 2, "num_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    return ConnectorSettings(kind, **{**sizes, **changes})


def widths_to_try(kind: str, found: int) -> Iterable[int]:
    """All widths up to twice the one that was found; of a kind that is traced, 10 ms a width, those near it and near
    the widths around the connector, and a few further away.
    """
    if kind in descriptions.DESCRIPTIONS:
        return range(1, 2 * found + 2)
    near = {width for place in (found, *WIDTHS[:2]) for width in range(place - 5, place + 6)}
    return {width for width in near | {2 * found * step // 20 for step in range(21)} if width >= 1}


@pytest.mark.parametrize("wanted", [150_000, 1_000_000, 12_345_678])
@pytest.mark.parametrize("kind", FREE)
def test_the_nearest_of_all_widths_is_found(kind: str, wanted: float) -> None:
    found = matched(settings(kind, parameters=wanted), WIDTHS, GRID)
    key = CONNECTORS[kind].free_width
    assert found.parameters is None
    every = widths_to_try(kind, getattr(found, key))
    counts = [parameters_of(settings(kind, **{key: width}), WIDTHS, GRID) for width in every]
    best = min(abs(count - wanted) for count in counts)
    assert abs(parameters_of(found, WIDTHS, GRID) - wanted) == best
    assert best <= TOLERANCE * wanted


def test_a_kind_that_is_traced_gets_the_same_width(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [matched(settings("mlp", parameters=wanted), WIDTHS, GRID) for wanted in (150_000, 12_345_678)]
    matched.cache_clear()
    monkeypatch.delitem(descriptions.DESCRIPTIONS, "mlp")
    for found, wanted in zip(known, (150_000, 12_345_678), strict=True):
        test_the_nearest_of_all_widths_is_found("mlp", wanted)
        assert matched(settings("mlp", parameters=wanted), WIDTHS, GRID) == found


@pytest.mark.parametrize("kind", FREE)
def test_every_width_is_found_from_its_own_parameters(kind: str) -> None:
    """Also where a projection is spared because the width is a neighbour's."""
    key = CONNECTORS[kind].free_width
    for width in (60, 95, 96, 97, 127, 128, 129, 300):
        count = parameters_of(settings(kind, **{key: width}), WIDTHS, GRID)
        found = matched(settings(kind, parameters=count), WIDTHS, GRID)
        assert parameters_of(found, WIDTHS, GRID) == count


def test_without_parameters_nothing_changes() -> None:
    for kind in CONNECTORS:
        assert matched(settings(kind), WIDTHS, GRID) == settings(kind)


def test_what_cannot_be_matched_is_explained() -> None:
    with pytest.raises(HarnessError, match=r"the nearest, 1, gives 353") as raised:
        matched(settings("mlp", parameters=100), WIDTHS, GRID)
    assert "connector.parameters: 353" in str(raised.value.remedy)
    with pytest.raises(HarnessError, match="no free width"):
        matched(settings("perceiver", parameters=1e6), WIDTHS, GRID)
    with pytest.raises(HarnessError, match="nearest"):
        matched(settings("mlp", parameters=1e12), WIDTHS, GRID)
    one_layer = settings("average_pool", mlp_depth=1, parameters=1e6)
    with pytest.raises(HarnessError, match="nearest"):
        matched(one_layer, WIDTHS, GRID)


@pytest.mark.parametrize("kind", FREE)
def test_model_counter_and_checkpoint_agree(kind: str, backbones: tuple[Path, Path], tmp_path: Path) -> None:
    section = model_section(kind)
    section["connector"] |= {"parameters": 200_000}
    vlm = load_vlm(section, 0, *backbones)
    real = sum(parameter.numel() for parameter in vlm.connector.parameters())
    assert real == pytest.approx(200_000, rel=TOLERANCE)
    configs = [json.loads((path / "config.json").read_text()) for path in backbones]
    costs = VLMCosts.of(section, *configs)
    assert costs.parameters(Tuned(FULL)).trainable.connector == real
    vlm.save_pretrained(tmp_path)
    again = VLM.from_pretrained(tmp_path)
    assert again.config.connector.get("parameters") is None
    assert again.config.connector[CONNECTORS[kind].free_width] > 0
    assert sum(parameter.numel() for parameter in again.connector.parameters()) == real
