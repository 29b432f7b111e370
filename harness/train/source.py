"""Where a phase's documents come from: records of the shards, tokenised for the model at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from harness.data.dataset import Dataset
from harness.data.documents import (
    Document,
    Encode,
    Example,
    page_example,
    pair_example,
    tokenise,
    tokenise_plain,
    with_views,
)
from harness.data.expert_maps import ExpertMaps
from harness.data.interleaved import InterleavedRecord
from harness.data.order import DocumentRef
from harness.data.prompts import CAPTION_PROMPT, TRANSCRIPTION_PROMPT, question_prompt
from harness.data.views import Splitting, Views
from harness.errors import HarnessError

if TYPE_CHECKING:
    from PIL import Image


class TrainingSource:
    """Documents by reference, their pictures split into views. ``counts`` says how many records each source has.

    ``captions``: whose captions of the pairs are read. ``questions_per_image``: solved questions on the picture of a
    pair, or on a page, at most; many supervised tokens an image are what makes a small VLM learn to look.
    ``text_tokens``: of a plain document, at most.
    """

    def __init__(
        self,
        dataset: Dataset,
        tokenizer: Any,
        examples_per_document: int,
        splitting: Splitting,
        captions: str = "human",
        questions_per_image: int = 6,
        text_tokens: int | None = None,
    ) -> None:
        self._dataset = dataset
        self._views = Views(splitting, dataset.image, dataset.image_shape)
        self._tokenizer = tokenizer
        self._ends = (tokenizer.bos_token_id, tokenizer.eos_token_id)
        self._examples = examples_per_document
        self._encode: Encode = lru_cache(maxsize=200_000)(self._encode_text)
        self._captions = captions
        self._questions = questions_per_image
        self._text_tokens = text_tokens
        self.counts = {
            "pairs": len(dataset.pairs),
            "interleaved": len(dataset.interleaved),
            "transcriptions": len(dataset.transcriptions),
            "document_questions": len(dataset.document_questions),
        }

    @classmethod
    def of_phase(
        cls, dataset: Dataset, tokenizer: Any, phase: Mapping[str, Any], splitting: Splitting
    ) -> TrainingSource:
        """The source of a phase, by its part of a stage's config. Raises HarnessError for a share of the mixture that
        the data has nothing for.
        """
        source = cls(
            dataset,
            tokenizer,
            phase["examples_per_document"],
            splitting,
            phase.get("captions", "human"),
            phase.get("questions_per_image", 6),
            phase.get("text_tokens_per_document"),
        )
        for name, share in phase["mixture"].items():
            if share and not source.counts[name]:
                raise HarnessError(
                    f"training.mixture.{name} is {share:g}, and {dataset.root} has no train/{name}-*.tar",
                    f"set training.mixture.{name}: 0, or add such shards (docs/data.md)",
                )
        return source

    def document(self, reference: DocumentRef, seed: int) -> Document:
        """The document of a reference: the same for every variant; captions and questions rotate over the passes."""
        names = (seed, reference.epoch, reference.index)
        if reference.source == "pairs":
            record = self._dataset.pairs[reference.index]
            captions = record.captions_of(self._captions)
            examples = [pair_example(record.image, captions, record.questions, self._questions, *names)]
        elif reference.source == "transcriptions":
            page = self._dataset.transcriptions[reference.index]
            examples = [Example(page.image, ((TRANSCRIPTION_PROMPT, page.text),))]
        elif reference.source == "document_questions":
            page = self._dataset.document_questions[reference.index]
            examples = [page_example(page.image, page.questions, max(1, self._questions), *names)]
        else:
            found = self._dataset.interleaved[reference.index]
            if not found.examples:
                limits = self._examples, self._text_tokens
                plain = tokenise_plain(found.images, found.texts, *limits, self._encode, *self._ends)
                return with_views(plain, self._views.of)
            examples = self._solved(found)
        return with_views(tokenise(examples, self._encode, *self._ends), self._views.of)

    def expert_maps(self, kinds: Sequence[str], noise: Mapping[str, float], size: int) -> ExpertMaps:
        """The label maps beside the pictures; pictures that are split have none."""
        return ExpertMaps(self._dataset.experts, kinds, noise, size)

    def picture(self, name: str) -> Image.Image:
        """What a view shows, as RGB."""
        return self._views.picture(name)

    def _solved(self, record: InterleavedRecord) -> list[Example]:
        examples = []
        for example in record.examples[: self._examples]:
            solved = tuple(
                (question_prompt(item.question) if item.question else CAPTION_PROMPT, item.answer)
                for item in example.solved[:1]
            )
            examples.append(Example(example.image, solved))
        return examples

    def _encode_text(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids
