"""Choices by hash: what is chosen follows from names alone, never from an order, a rank or a random state."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def sha256(*values: Any) -> str:
    """Hexadecimal SHA-256 of the compact JSON of ``values``; JSON keeps ("a", "b") and ("ab",) apart."""
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def choice(count: int, *names: Any) -> int:
    """A number below ``count`` that is a pure function of ``names``."""
    return int(sha256(*names)[:16], 16) % count
