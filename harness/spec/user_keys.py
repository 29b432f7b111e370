"""Keys that the user set, rather than a recipe or a scale."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from harness.spec.compose import Composition
from harness.spec.factors import Factor
from harness.spec.place import Path, Place, leaves


def set_by_user(composition: Composition, factors: Sequence[Factor], paths: Collection[Path]) -> dict[Path, Place]:
    """Which of ``paths`` the file, an override or a level sets to something, and where."""
    places = {}
    for factor in factors:
        for level in factor.levels:
            for patch in level.patches:
                for path, value in leaves(patch.value, patch.path):
                    if path in paths and value is not None:
                        places[path] = patch.place
    for path in paths:
        if composition.is_set_by_user(path):
            places[path] = composition.origins.key(path)
    return places
