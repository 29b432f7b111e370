"""Backbones of families that the harness knows: others are refused by the plan, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import HarnessError
from harness.plan.weights import Backbone


def of_known_family(backbone: Backbone, family_of: Callable[[Mapping[str, Any]], object]) -> Backbone:
    """The backbone. Raises HarnessError where ``family_of`` its config is not registered, and says where to do it."""
    try:
        family_of(backbone.config)
    except HarnessError as error:
        raise HarnessError(f"the model {backbone.name} cannot be used: {error.message}", error.remedy) from error
    return backbone
