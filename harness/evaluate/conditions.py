"""What a model is shown besides the intact prompt: controls that tell whether images matter.

A score counts only against the best of three blind controls: images withheld, images of other samples, and the majority
answer of the question's type (which asks no model).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, get_args

from harness.errors import HarnessError
from harness.evaluate.demonstrations import ContentDigest

Condition = Literal["intact", "withheld", "shuffled", "majority"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)


def conditions(controls: Iterable[str]) -> tuple[Condition, ...]:
    """Intact and the controls asked for, in the order of ``CONDITIONS``."""
    asked = {"intact", *controls}
    unknown = sorted(asked - set(CONDITIONS))
    if unknown:
        raise HarnessError(f"unknown control {', '.join(unknown)}", remedy=f"controls: {', '.join(CONDITIONS[1:])}")
    return tuple(condition for condition in CONDITIONS if condition in asked)


class Derangement(Mapping[str, str]):
    """Every image of a pool → an image that shows something else.

    Images form one circle in the order given (first occurrences) and each is replaced by its successor, so different
    images stay different; a copy of the same picture is passed over. Giving the images in the order in which samples
    are selected makes nearly all successors images that are shown anyway. Contents are compared only where the circle
    is used. Raises HarnessError when a pool shows a single picture.
    """

    def __init__(self, images: Iterable[str], content: ContentDigest) -> None:
        self._circle = tuple(dict.fromkeys(images))
        self._place = {image: place for place, image in enumerate(self._circle)}
        self._content = content

    def __getitem__(self, image: str) -> str:
        own, place = self._content(image), self._place[image]
        for other in (*self._circle[place + 1 :], *self._circle[:place]):
            if self._content(other) != own:
                return other
        raise HarnessError(
            "images cannot be shuffled: the pool shows only one picture",
            remedy="leave shuffled out of evaluation.controls",
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._circle)

    def __len__(self) -> int:
        return len(self._circle)
