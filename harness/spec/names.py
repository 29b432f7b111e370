"""Names that results need too: how a sweep may be called, and which types of claims there are.

The schema takes long to import, and reading results needs none of it.
"""

from __future__ import annotations

from collections.abc import Mapping

NAME_LENGTH = 100
NAME_PATTERN = rf"[A-Za-z0-9][A-Za-z0-9._+-]{{0,{NAME_LENGTH - 1}}}"
"""A sweep's name is that of a folder of results."""

CLAIM_TYPES: Mapping[str, str] = {
    "better": "sign",
    "worse": "sign",
    "equivalent": "equivalence",
    "increasing": "order",
    "decreasing": "order",
    "saturating": "saturation",
    "larger": "interaction",
    "smaller": "interaction",
    "flips": "interaction",
    "stable": "stability",
    "diverges": "stability",
    "cheaper": "efficiency",
}
"""What kind of statement an expectation is, which decides what else a claim says and by which rule it is judged."""
