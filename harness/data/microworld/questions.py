"""Which questions the benchmarks ask: at most two an image, and no answer that can be guessed from how often it is
right.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.data.microworld.language import Question, fact_questions, text_questions, vqa_questions
from harness.data.microworld.scene import Scene

QUESTIONS_PER_IMAGE = 2
VQA_SHARES = {
    "what is at the": 0.28,
    "how many": 0.24,
    "is there": 0.20,
    "what color is the": 0.16,
    "where is the": 0.12,
}
FACT_SHARES = {"what kind of": 1 / 3, "where would you": 1 / 3, "who would": 1 / 3}
# How far ahead of the rarest answer of its type an answer may be; only for types with a closed list of answers.
_CLOSED = {"is there": ("yes", "no"), "how many": ("1", "2", "3", "4")}
_LEAD = 1


@dataclass(frozen=True)
class Asked:
    """A question of a benchmark about scene number ``scene`` of its pool."""

    scene: int
    question: Question


def scene_random(seed: int, purpose: str, split: str, index: int) -> random.Random:
    """The random numbers for one purpose (captions, questions, …) on one scene."""
    return random.Random(f"microworld {seed} {purpose} {split} {index}")


class _Balance:
    """Counts what was asked, to say which of an image's questions is wanted most."""

    def __init__(self, shares: Mapping[str, float]) -> None:
        self._shares = shares
        self._types: Counter[str] = Counter()
        self._answers: Counter[tuple[str, str]] = Counter()
        self._subsets: Counter[str] = Counter()

    def allows(self, question: Question) -> bool:
        """Whether the answer is not ahead of the others of its type."""
        closed = _CLOSED.get(question.type)
        if closed is None:
            return True
        rarest = min(self._answers[question.type, answer] for answer in closed)
        return self._answers[question.type, question.answer] < rarest + _LEAD

    def rank(self, question: Question) -> tuple[float, ...]:
        """Smaller is wanted more: the subset that lags, then the type that lags, then the rarer answer."""
        return (
            float(self._subsets[question.subset]),
            self._types[question.type] / self._shares[question.type],
            float(self._answers[question.type, question.answer]),
        )

    def count(self, question: Question) -> None:
        self._types[question.type] += 1
        self._answers[question.type, question.answer] += 1
        self._subsets[question.subset] += 1


def _select(candidates: Sequence[Sequence[Question]], shares: Mapping[str, float]) -> list[Asked]:
    """Up to two questions a scene, of different types; the balance is kept over all scenes."""
    balance = _Balance(shares)
    chosen: list[list[Question]] = [[] for _ in candidates]
    for _ in range(QUESTIONS_PER_IMAGE):
        for scene, questions in enumerate(candidates):
            taken = {question.type for question in chosen[scene]}
            free = [question for question in questions if question.type not in taken and balance.allows(question)]
            if free:
                best = min(free, key=lambda question: (*balance.rank(question), _lot(scene, question)))
                balance.count(best)
                chosen[scene].append(best)
    return [Asked(scene, question) for scene, questions in enumerate(chosen) for question in questions]


def _lot(scene: int, question: Question) -> bytes:
    return hashlib.sha256(f"{scene} {question.text} {question.answer}".encode()).digest()


def _candidates(
    seed: int, pool: str, scenes: Iterable[Scene], task: str, ask: Callable[[Scene, random.Random], list[Question]]
) -> list[list[Question]]:
    return [ask(scene, scene_random(seed, task, pool, index)) for index, scene in enumerate(scenes)]


def select_vqa(seed: int, pool: str, scenes: Sequence[Scene]) -> list[Asked]:
    """VQAv2: a fifth yes/no questions, half of them no; counts from 1 to 4 equally often."""
    return _select(_candidates(seed, pool, scenes, "vqav2", vqa_questions), VQA_SHARES)


def select_facts(seed: int, pool: str, scenes: Sequence[Scene]) -> list[Asked]:
    """OK-VQA: half of the questions on untaught facts; none in the support pool, demonstrations would teach them."""

    def ask(scene: Scene, _: random.Random) -> list[Question]:
        return [question for question in fact_questions(scene) if pool != "support" or not question.subset]

    return _select(_candidates(seed, pool, scenes, "okvqa", ask), FACT_SHARES)


def select_text(seed: int, pool: str, scenes: Sequence[Scene]) -> list[Asked]:
    """TextVQA: the one question about the sign of each scene."""
    asked = _candidates(seed, pool, scenes, "textvqa", text_questions)
    return [Asked(scene, question) for scene, questions in enumerate(asked) for question in questions]
