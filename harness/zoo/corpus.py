"""The text that the language models of the zoo are pretrained on.

Three kinds of documents, each a list of (text, supervised) pieces:

* *maps*: a scene written as a small table of words, as plain text describes pictures, followed by captions and solved
  questions, sometimes several tables in a row, which teaches reading from context;
* *facts*: what is known about the objects, in loose sentences and as questions;
* *captions*: sentences about scenes without the scene.

Scenes are from the training split, so no held-out sign occurs. Without ``all_facts`` the facts of untaught objects are
left out: the control without facts is trained on the same documents but for those.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from harness.data.microworld.language import (
    FACT_QUESTIONS,
    caption,
    fact_questions,
    pick,
    text_questions,
    vqa_questions,
    with_article,
)
from harness.data.microworld.objects import FACTS, WorldObject, load_objects
from harness.data.microworld.scene import CANVAS, COLORS, SIGN_HEIGHT, SIGN_WIDTH, Scene, sample_scene

WORLD_SEED = 7_002
END = "<end>"
Piece = tuple[str, bool]

FACT_SENTENCES = {
    "kind": ("{A} is a kind of {value}.", "{Plural} belong to this kind: {value}.", "What is {a}? It is {value}."),
    "place": (
        "You would find {a} here: {value}.",
        "{Plural} are found at the {value}.",
        "Look for {a} at the {value}.",
    ),
    "person": ("The {value} would need {a}.", "{A} is needed by the {value}.", "Ask the {value} about {plural}."),
}


def map_words(scene: Scene, cells: int) -> str:
    """A scene as ``cells`` × ``cells`` words, row by row: what lies under a cell's centre, else the background."""
    objects = load_objects()
    words = [COLORS[scene.background]] * (cells * cells)
    side = CANVAS / cells
    for index in range(cells * cells):
        x, y = (index % cells + 0.5) * side, (index // cells + 0.5) * side
        for item in scene.objects:
            if item.x <= x < item.x + item.size and item.y <= y < item.y + item.size:
                words[index] = objects[item.object].name
    shown = set(words)
    for item in scene.objects:  # an object between two centres is still somewhere
        if objects[item.object].name not in shown:
            column, row = int((item.x + item.size / 2) // side), int((item.y + item.size / 2) // side)
            words[row * cells + column] = objects[item.object].name
    if scene.sign:
        column, row = int((scene.sign.x + SIGN_WIDTH / 2) // side), int((scene.sign.y + SIGN_HEIGHT / 2) // side)
        words[row * cells + column] = f"sign {scene.sign.text.lower()}"
    return " " + " ".join(words)


def _knows(item: WorldObject, all_facts: bool) -> bool:
    return all_facts or item.taught


def _solved(scene: Scene, rng: random.Random, all_facts: bool, limit: int) -> list[Piece]:
    questions = [*vqa_questions(scene, rng), *text_questions(scene, rng)]
    facts = [item for item in fact_questions(scene) if all_facts or item.subset != "untaught_facts"]
    questions = sorted(questions, key=lambda _: rng.random())[: limit - limit // 2]
    questions += sorted(facts, key=lambda _: rng.random())[: limit // 2]
    if scene.sign and rng.random() < 0.5:
        questions += text_questions(scene, rng)
    pieces: list[Piece] = []
    for question in sorted(questions, key=lambda _: rng.random()):
        pieces += [(f" Question: {question.text} Answer:", False), (f" {question.answer}{END}", True)]
    return pieces


def _map_document(rng: random.Random, index: int, all_facts: bool) -> list[Piece]:
    examples = 1 if rng.random() < 0.6 else 3
    cells = 6 if rng.random() < 0.7 else 3
    pieces: list[Piece] = []
    for example in range(examples):
        scene = sample_scene(WORLD_SEED, "train", index * 3 + example)
        pieces.append((map_words(scene, cells), False))
        if examples == 1 or rng.random() < 0.3:
            pieces += [(" Caption:", False), (f" {caption(scene, rng)}{END}", True)]
        pieces += _solved(scene, rng, all_facts, 6 if examples == 1 else 2)
    return pieces


def _fact_document(rng: random.Random, all_facts: bool) -> list[Piece]:
    pieces: list[Piece] = []
    while len(pieces) < 8:
        item = pick(rng, load_objects())
        if not _knows(item, all_facts):
            continue
        fact = pick(rng, FACTS)
        value = item.fact(fact)
        if rng.random() < 0.5:
            wording = FACT_QUESTIONS[fact][1].format(this=with_article(item.name))
            pieces += [(f" Question: {wording} Answer:", False), (f" {value}{END}", True)]
        else:
            sentence = pick(rng, FACT_SENTENCES[fact]).format(
                a=with_article(item.name),
                A=with_article(item.name).capitalize(),
                plural=item.plural,
                Plural=item.plural.capitalize(),
                value=value,
            )
            pieces.append((f" {sentence}", True))
    return pieces


def document(seed: int, index: int, all_facts: bool = True) -> list[Piece]:
    """Document number ``index`` of the corpus: pieces of text with whether they are supervised."""
    rng = random.Random(f"corpus {seed} {index}")
    draw = rng.random()
    if draw < 0.7:
        return _map_document(rng, index, all_facts)
    if draw < 0.95:
        return _fact_document(rng, all_facts)
    scene = sample_scene(WORLD_SEED, "train", index * 3)
    return [(f" {caption(scene, rng)}{END}", True)]


def texts(seed: int, count: int) -> Iterator[str]:
    """The first ``count`` documents as plain text, for training tokenizers."""
    for index in range(count):
        yield "".join(text for text, _ in document(seed, index))
