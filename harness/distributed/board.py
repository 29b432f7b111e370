"""What the processes of a job tell each other: values by name, at the host, sealed with a key that they share.

Torch's ``TCPStore`` asks nobody who they are, and lists its names to whoever reaches its port. So the key is in no
name, and what is not sealed with it has not been said.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from contextlib import suppress
from typing import Any

import torch.distributed as dist


class Board:
    """JSON values by name in a ``store``; what others wrote there without the key is not seen."""

    def __init__(self, store: Any, key: str) -> None:
        self._store = dist.PrefixStore("board", store)
        self._key = key.encode()

    def tell(self, name: str, value: Any = None) -> None:
        """Puts a value there. Raises ``DistError`` when the host has gone."""
        text = json.dumps(value)
        self._store.set(name, f"{self._seal(name, text)} {text}")

    def has(self, name: str) -> bool:
        """Whether a value is there. Raises ``DistError`` when the host has gone."""
        return self._text(name) is not None

    def read(self, name: str) -> Any:
        """A value that is there. Raises ``KeyError`` for one that is not, ``DistError`` when the host has gone."""
        text = self._text(name)
        if text is None:
            raise KeyError(name)
        return json.loads(text)

    def _text(self, name: str) -> str | None:
        if not self._store.check([name]):
            return None
        with suppress(UnicodeDecodeError):
            seal, _, text = self._store.get(name).decode().partition(" ")
            if hmac.compare_digest(seal.encode(), self._seal(name, text).encode()):
                return text
        return None

    def _seal(self, name: str, text: str) -> str:
        return hmac.new(self._key, f"{name}\0{text}".encode(), hashlib.sha256).hexdigest()
