"""The text that the language models of the zoo are pretrained on.

Four kinds of documents, each a list of (text, supervised) pieces:

* *maps*: a scene written as a small table of words, as plain text describes pictures, followed by captions and solved
  questions, or several tables in a row, which teaches reading from context;
* *facts*: what is known about the objects, in loose sentences and as questions;
* *copies*: rows of random words and codes, repeated;
* *captions*: sentences about scenes without the scene.

Scenes are from the training split, so no held-out sign occurs. Without ``all_facts`` the facts of untaught objects are
left out: the control without facts is trained on the same documents but for those.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

from harness.data.microworld.language import (
    FACT_QUESTIONS,
    Question,
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
CELLS = (6, 6, 6, 6, 6, 6, 4, 3, 3, 2)  # as many as an image has visual tokens a side, mostly
EXAMPLES = 5
DIGITS, LETTERS = "0123456789", "abcdefghjkmnpqrstuvwxyz"

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
    """A scene as ``cells`` × ``cells`` words, row by row: what lies under a cell's centre, else the background.

    A sign takes the cells it covers in one row: a word as it is, a number digit by digit and without spaces, for a
    digit is a token of its own. Where the cells are small enough a map has as many tokens as cells, like an image.
    """
    objects = load_objects()
    words = [f" {COLORS[scene.background]}"] * (cells * cells)
    side = CANVAS / cells
    for index in range(cells * cells):
        x, y = (index % cells + 0.5) * side, (index // cells + 0.5) * side
        for item in scene.objects:
            if item.x <= x < item.x + item.size and item.y <= y < item.y + item.size:
                words[index] = f" {objects[item.object].name}"
    shown = set(words)
    for item in scene.objects:  # an object between two centres is still somewhere
        if f" {objects[item.object].name}" not in shown:
            column, row = int((item.x + item.size / 2) // side), int((item.y + item.size / 2) // side)
            words[row * cells + column] = f" {objects[item.object].name}"
    if scene.sign:
        row = int((scene.sign.y + SIGN_HEIGHT / 2) // side)
        first, last = int(scene.sign.x // side), int((scene.sign.x + SIGN_WIDTH - 1) // side)
        parts = _spread(scene.sign.text, last - first + 1)
        words[row * cells + first : row * cells + last + 1] = parts
    return "".join(words)


def text_scene(split: str, index: int, rng: random.Random) -> Scene:
    """A scene as texts know it: of the numbers on its signs most are replaced by longer ones and by codes such as 7k.

    There are only some fifty two-digit numbers that are not held out. Who sees no others learns which digits follow one
    another instead of copying what is there.
    """
    scene = sample_scene(WORLD_SEED, split, index)
    if scene.sign is None or not scene.sign.text.isdigit():
        return scene
    draw = rng.random()
    digit, letter = pick(rng, DIGITS), pick(rng, LETTERS)
    if draw < 0.35:
        text = str(1000 + int(rng.random() * 99000))
    elif draw < 0.7:
        text = pick(rng, (digit + letter, letter + digit))
    else:
        return scene
    return replace(scene, sign=replace(scene.sign, text=text))


def _spread(text: str, cells: int) -> list[str]:
    """The text of a sign over so many cells: a character each, the rest in the last; or a word and then ``sign``."""
    if text.isalpha():
        return [f" {text.lower()}", *[" sign"] * (cells - 1)]
    characters = [text[0] if text[0].isdigit() else f" {text[0]}", *text[1:]]
    return [*characters[: cells - 1], "".join(characters[cells - 1 :])]


def _knows(item: WorldObject, all_facts: bool) -> bool:
    return all_facts or item.taught


def _solved(scene: Scene, rng: random.Random, all_facts: bool, limit: int) -> list[Piece]:
    seen = sorted(_questions(scene, rng, all_facts, "vqav2"), key=lambda _: rng.random())
    facts = sorted(_questions(scene, rng, all_facts, "okvqa"), key=lambda _: rng.random())
    questions = [*seen[: limit - limit // 4], *facts[: limit // 4], *_questions(scene, rng, all_facts, "textvqa")]
    return [piece for question in sorted(questions, key=lambda _: rng.random()) for piece in _prompt(question)]


def _map_document(rng: random.Random, index: int, all_facts: bool) -> list[Piece]:
    """One table with everything there is to say about it, or five with one solved prompt each, all of a kind."""
    cells = pick(rng, CELLS)
    if rng.random() < 0.5:
        scene = text_scene("train", index * EXAMPLES, rng)
        pieces = [(map_words(scene, cells), False), (" Caption:", False), (f" {caption(scene, rng)}{END}", True)]
        return pieces + _solved(scene, rng, all_facts, 8)
    kind = pick(rng, ("vqav2", "textvqa", "okvqa", "coco"))
    pieces = []
    for example in range(EXAMPLES):
        scene = text_scene("train", index * EXAMPLES + example, rng)
        if kind == "coco":
            pieces += [(map_words(scene, cells), False), (" Caption:", False), (f" {caption(scene, rng)}{END}", True)]
            continue
        questions = _questions(scene, rng, all_facts, kind)
        if questions:
            pieces += [(map_words(scene, cells), False), *_prompt(pick(rng, questions))]
    return pieces


def solved_table(split: str, index: int, task: str, all_facts: bool = True) -> list[Piece]:
    """Five tables of a split with one solved prompt of ``task`` each: the text-only twin of a 4-shot evaluation."""
    rng = random.Random(f"solved {split} {index} {task}")
    pieces: list[Piece] = []
    scenes = (sample_scene(WORLD_SEED, split, number) for number in itertools.count(index * 1000))
    while len(pieces) < 3 * EXAMPLES:
        scene = next(scenes)
        questions = _questions(scene, rng, all_facts, task)
        if questions:
            pieces += [(map_words(scene, CELLS[0]), False), *_prompt(pick(rng, questions))]
    return pieces


def _questions(scene: Scene, rng: random.Random, all_facts: bool, task: str) -> list[Question]:
    if task == "vqav2":
        return vqa_questions(scene, rng)
    if task == "textvqa":
        return text_questions(scene, rng)
    return [item for item in fact_questions(scene) if all_facts or item.subset != "untaught_facts"]


def _prompt(question: Question) -> list[Piece]:
    return [(f" Question: {question.text} Answer:", False), (f" {question.answer}{END}", True)]


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


def _copy_document(rng: random.Random) -> list[Piece]:
    """A row of random words, digits and letters, again and again: nothing can be guessed, all can be copied."""
    words = [f" {item.name}" for item in load_objects()] + [f" {color}" for color in COLORS]
    row = "".join(
        pick(rng, words) if rng.random() < 0.5 else f" {pick(rng, LETTERS)}{pick(rng, DIGITS)}" for _ in range(12)
    )
    return [(row, False), (END, False), (f"{row}{END}", True), (f"{row}{END}", True)]


def document(seed: int, index: int, all_facts: bool = True) -> list[Piece]:
    """Document number ``index`` of the corpus: pieces of text with whether they are supervised."""
    rng = random.Random(f"corpus {seed} {index}")
    draw = rng.random()
    if draw < 0.65:
        return _map_document(rng, index, all_facts)
    if draw < 0.75:
        return _copy_document(rng)
    if draw < 0.95:
        return _fact_document(rng, all_facts)
    scene = text_scene("train", index * EXAMPLES, rng)
    return [(f" {caption(scene, rng)}{END}", True)]


def texts(seed: int, count: int) -> Iterator[str]:
    """The first ``count`` documents as plain text, for training tokenizers."""
    for index in range(count):
        yield "".join(text for text, _ in document(seed, index))
