"""Our tasks as lm-eval's task objects."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task
from lm_eval.config.task import TaskConfig

from harness.errors import HarnessError
from harness.evaluate.lm_eval_bridge.source import PREFIX, TaskSource, source_of
from harness.evaluate.prompts import as_text
from harness.evaluate.scoring import mean
from harness.evaluate.tasks import Sample


class HarnessTask(Task):
    """A task with its demonstrations built in: lm-eval sees single prompts.

    A document is a query; its images are handed over as paths, so that nothing is opened before it is needed. The
    metric's name is that of the variant, its values are points.
    """

    VERSION = 1
    OUTPUT_TYPE = "generate_until"
    MULTIMODAL = True

    def __init__(self, name: str, arguments: Mapping[str, Any]) -> None:
        self._source: TaskSource = source_of(arguments).task(name)
        evaluation = self._source.evaluation
        self._samples = {query.id: query for query in evaluation.queries}
        self._scores: dict[str, float] = {}
        metric = evaluation.protocol.metric
        with _without_warnings("lm_eval.config.task"):  # about the empty config that is replaced at once
            super().__init__()
        self._config = TaskConfig(
            task=f"{PREFIX}{name}",
            output_type=self.OUTPUT_TYPE,
            num_fewshot=evaluation.protocol.shots,
            generation_kwargs={
                "until": ["\n"],
                "max_gen_toks": evaluation.protocol.max_new_tokens,
                "do_sample": False,
            },
            metric_list=[{"metric": metric, "higher_is_better": True}],
            metadata={"version": self.VERSION, **{key: str(value) for key, value in arguments.items()}},
        )

    def download(self, *_: Any, **__: Any) -> None:
        """Nothing: the data are the source's."""

    def has_training_docs(self) -> bool:
        """No: demonstrations are part of the prompt."""
        return False

    def has_validation_docs(self) -> bool:
        """Whether the queries come from the validation split."""
        return self._source.evaluation.protocol.split == "validation"

    def has_test_docs(self) -> bool:
        """Whether the queries come from the test split."""
        return not self.has_validation_docs()

    def validation_docs(self) -> list[dict[str, Any]]:
        """The queries."""
        return [self._document(query) for query in self._source.evaluation.queries]

    def test_docs(self) -> list[dict[str, Any]]:
        """The queries."""
        return self.validation_docs()

    def fewshot_context(self, doc: dict[str, Any], num_fewshot: int, *_: Any, **__: Any) -> str:
        """The prompt as text with a mark for each image; the end of an answer as a line break.

        Raises HarnessError when the command line asks for another number of shots than the model's arguments.
        """
        shots = self._source.evaluation.protocol.shots
        if num_fewshot != shots:
            raise HarnessError(
                f"--num_fewshot {num_fewshot}, but demonstrations are chosen for {shots} shots",
                remedy=f"leave it out or give shots={num_fewshot} among --model_args (not with a stage)",
            )
        return as_text(self._source.prompts[doc["sample_id"]])

    def doc_to_text(self, doc: dict[str, Any]) -> str:
        """The whole prompt as text."""
        return as_text(self._source.prompts[doc["sample_id"]])

    def doc_to_target(self, doc: dict[str, Any]) -> str:
        """What a demonstration would show."""
        return self._source.evaluation.task.demonstration_answer(self._samples[doc["sample_id"]])

    def doc_to_image(self, doc: dict[str, Any]) -> list[str]:
        """Paths of the images, demonstrations' first."""
        return [str(self._source.root / image) for image in self._source.prompts[doc["sample_id"]].images]

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> Instance:
        """One generation."""
        settings = dict(self.config.generation_kwargs or {})
        return Instance(
            request_type="generate_until",
            doc=doc,
            arguments=(ctx, settings, {"visual": self.doc_to_image(doc)}),
            idx=0,
            metadata=kwargs["metadata"],
        )

    def build_all_requests(self, **settings: Any) -> None:
        """As lm-eval's, but never from its cache of requests, which only goes by the name of a task."""
        super().build_all_requests(**{**settings, "cache_requests": False, "rewrite_requests_cache": False})

    def apply_filters(self) -> list[Instance] | None:
        """Score all answers at once: CIDEr-D needs the references of the whole pool."""
        super().apply_filters()
        evaluation = self._source.evaluation
        samples = [self._samples[instance.doc["sample_id"]] for instance in self.instances]
        answers = [evaluation.answer(instance.resps[0]) for instance in self.instances]
        scores = evaluation.scorer(samples, answers)
        self._scores = {sample.id: score for sample, score in zip(samples, scores, strict=True)}
        return self.instances

    def process_results(self, doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
        """The score of one query."""
        return {self._source.evaluation.protocol.metric: self._scores[doc["sample_id"]]}

    def aggregation(self) -> dict[str, Callable[[Sequence[float]], float]]:
        """The mean, exactly rounded as the executor's."""
        return {self._source.evaluation.protocol.metric: mean}

    def higher_is_better(self) -> dict[str, bool]:
        """Always."""
        return {self._source.evaluation.protocol.metric: True}

    def _document(self, query: Sample) -> dict[str, Any]:
        """With all that an import of the log needs to make the same rows as an evaluate stage, and to check them."""
        prompt = self._source.prompts[query.id]
        evaluation = self._source.evaluation
        return {
            "task": evaluation.task.name,
            "metric": evaluation.protocol.metric,
            "metric_version": evaluation.scorer.metric.identity,
            "samples": len(evaluation.queries),
            "demonstration_seed": evaluation.protocol.demonstration_seed,
            "sample_id": query.id,
            "image_id": query.image_id,
            "question": query.question,
            "answers": list(query.answers),
            "question_type": query.question_type,
            "subset": query.subset,
            "demonstration_set": prompt.demonstration_set,
            "demonstration_ids": list(prompt.demonstration_ids),
            "prompt": [[each.image, each.prompt, each.answer] for each in (*prompt.demonstrations, prompt.query)],
            "prompt_sha256": prompt.sha256,
        }


@contextmanager
def _without_warnings(logger: str) -> Iterator[None]:
    before = logging.getLogger(logger).disabled
    logging.getLogger(logger).disabled = True
    try:
        yield
    finally:
        logging.getLogger(logger).disabled = before
