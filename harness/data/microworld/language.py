"""What people say and ask about a scene: captions, questions and their true answers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.data.microworld.objects import FACTS, WorldObject, load_objects
from harness.data.microworld.scene import COLORS, POSITIONS, Scene, sign_pool

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """A question with its true answer.

    ``task`` names the benchmark it belongs to, ``type`` the official question type (its opening words), ``subset`` what
    the benchmark reports apart (``unseen_signs``, ``untaught_facts`` or nothing).
    """

    task: str
    type: str
    text: str
    answer: str
    answer_type: str
    subset: str = ""


def pick(rng: random.Random, items: Sequence[T]) -> T:
    """One of ``items``; unlike ``random.choice`` the same in every Python version."""
    return items[int(rng.random() * len(items))]


def with_article(noun: str) -> str:
    """``a dog``, ``an apple``."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def _quantity(item: WorldObject, count: int) -> str:
    return f"{NUMBERS[count]} {item.plural}" if count > 1 else with_article(item.name)


def _listing(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def caption(scene: Scene, rng: random.Random) -> str:
    """One caption in a random wording; all wordings name the objects, most the background, some the sign."""
    objects = load_objects()
    things = _listing([_quantity(objects[index], count) for index, count in scene.counts.items()])
    color = COLORS[scene.background]
    sign = f" and a sign that says {scene.sign.text.lower()}" if scene.sign and rng.random() < 0.7 else ""
    wordings = (
        f"{things} on a {color} background{sign}.",
        f"there is {things} on {color}{sign}.",
        f"a picture of {things}{sign}.",
        f"{with_article(color)} picture with {things}{sign}.",
        f"{things}{sign} in front of {color}.",
    )
    text = pick(rng, wordings)
    return text[0].upper() + text[1:]


def _thing_questions(scene: Scene) -> list[Question]:
    objects = load_objects()
    counts = scene.counts
    questions = []
    for index, count in counts.items():
        questions.append(
            Question("vqav2", "how many", f"How many {objects[index].plural} are there?", str(count), "number")
        )
    for item in scene.objects:
        name = objects[item.object].name
        position = POSITIONS[item.cell]
        questions.append(Question("vqav2", "what is at the", f"What is at the {position}?", name, "other"))
        if counts[item.object] == 1:
            questions.append(Question("vqav2", "where is the", f"Where is the {name}?", position, "other"))
    return questions


def vqa_questions(scene: Scene, rng: random.Random) -> list[Question]:
    """All VQAv2 questions a scene allows; one yes and one no question among them."""
    objects, counts = load_objects(), scene.counts
    present = pick(rng, list(counts))
    absent = pick(rng, [item.index for item in objects if item.index not in counts])
    return [
        *_thing_questions(scene),
        Question("vqav2", "what color is the", "What color is the background?", COLORS[scene.background], "other"),
        Question("vqav2", "is there", f"Is there {with_article(objects[present].name)}?", "yes", "yes/no"),
        Question("vqav2", "is there", f"Is there {with_article(objects[absent].name)}?", "no", "yes/no"),
    ]


def text_questions(scene: Scene, rng: random.Random) -> list[Question]:
    """The TextVQA question of a scene with a sign."""
    if not scene.sign:
        return []
    wordings = ["What does the sign say?", "What is written on the sign?"]
    if scene.sign.text.isdigit():
        wordings.append("What number is on the sign?")
    subset = "" if sign_pool(scene.sign.text) == "train" else "unseen_signs"
    return [Question("textvqa", "what", pick(rng, wordings), scene.sign.text.lower(), "other", subset)]


FACT_QUESTIONS = {
    "kind": ("what kind of", "What kind of thing is {this}?"),
    "place": ("where would you", "Where would you find {this}?"),
    "person": ("who would", "Who would need {this}?"),
}


def fact_questions(scene: Scene) -> list[Question]:
    """The OK-VQA questions of a scene: facts about the object that is shown, or that stands at a named position."""
    objects = load_objects()
    single = len(scene.counts) == 1
    questions = []
    for item in scene.objects[:1] if single else scene.objects:
        known = objects[item.object]
        this = "this" if single else f"the thing at the {POSITIONS[item.cell]}"
        for fact in FACTS:
            opening, wording = FACT_QUESTIONS[fact]
            subset = "" if known.taught else "untaught_facts"
            questions.append(Question("okvqa", opening, wording.format(this=this), known.fact(fact), "other", subset))
    return questions
