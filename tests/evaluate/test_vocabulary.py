from __future__ import annotations

from copy import deepcopy
from typing import Any

from tokenizers import processors

from harness.evaluate.vocabulary import Vocabulary


def test_pieces_are_tokenised_without_special_tokens(processor: Any) -> None:
    plain = processor.tokenizer
    opening = deepcopy(plain)  # opens every text with its begin token, as Llama's does
    opening.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", opening.bos_token_id)]
    )
    assert opening(" Caption:")["input_ids"][0] == opening.bos_token_id
    expected = plain.encode(" Caption:", add_special_tokens=False)
    assert Vocabulary.of(opening, 3, 4).encode(" Caption:") == expected
