from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from harness.train.source import TrainingSource


class Opening:
    """A tokenizer that opens every text with its begin token, as Llama's does, unless told not to."""

    bos_token_id, eos_token_id = 1, 2

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, Any]:
        return {"input_ids": [self.bos_token_id] * add_special_tokens + [ord(letter) for letter in text]}


def test_pieces_are_tokenised_without_special_tokens() -> None:
    dataset: Any = SimpleNamespace(pairs=[_record()], interleaved=[])
    source = TrainingSource(dataset, Opening(), 4)
    document = source.document(SimpleNamespace(source="pairs", index=0, epoch=0), seed=0)  # type: ignore[arg-type]
    assert document.ids.count(1) == 1


def _record() -> Any:
    return SimpleNamespace(image="a.png", captions=("a cat",), questions=())
