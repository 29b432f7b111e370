"""Pretrain a small language model on text about the microworld.

``python -m harness.zoo.language_pretraining --steps 1600 OUT``

A plain Llama with a subword tokenizer that is trained on the same corpus (see ``harness.zoo.corpus``).
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from harness.data.microworld.objects import FACTS, load_objects
from harness.zoo.corpus import END, FACT_QUESTIONS, document, solved_table, texts, with_article

CORPUS_SEED = 11
HELD_OUT = 10_000_000  # documents from this index on are for measuring


@dataclass(frozen=True)
class LanguageRecipe:
    """How one language model is made; everything that decides its weights."""

    steps: int
    tokenizer: str = "byte_level_bpe"  # or sentencepiece
    all_facts: bool = True
    rows: int = 16
    row: int = 256
    learning_rate: float = 2e-3
    warmup_steps: int = 200
    weight_decay: float = 0.05
    seed: int = 0
    vocabulary: int = 1024
    hidden_size: int = 128
    intermediate_size: int = 384
    layers: int = 4
    heads: int = 4


def train_tokenizer(kind: str, vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, or one like SentencePiece's (unigrams, ``▁`` for a space); digits stand alone."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    special = ["<pad>", "<bos>", END]
    if kind == "byte_level_bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        tokenizer.decoder = decoders.ByteLevel()
        trainer: trainers.Trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    elif kind == "sentencepiece":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.Replace(Regex(r"[^\S ]"), " ")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(prepend_scheme="never"), digits])
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
        trainer = trainers.UnigramTrainer(
            vocab_size=vocabulary, special_tokens=[*special, "<unk>"], unk_token="<unk>", show_progress=False
        )
    else:
        raise ValueError(f"unknown tokenizer {kind!r}: byte_level_bpe or sentencepiece")
    tokenizer.train_from_iterator(texts(CORPUS_SEED, 20_000), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token=END, pad_token="<pad>")


@dataclass(frozen=True)
class Encoded:
    """A document as token ids with a flag for each supervised one."""

    ids: list[int]
    supervised: list[bool]


def encode(tokenizer: PreTrainedTokenizerFast, index: int, all_facts: bool) -> Encoded:
    """Document ``index`` in tokens, ``<bos>`` first."""
    ids, supervised = [tokenizer.bos_token_id], [False]
    for text, flag in document(CORPUS_SEED, index, all_facts):
        piece = tokenizer.encode(text, add_special_tokens=False)
        ids += piece
        supervised += [flag] * len(piece)
    return Encoded(ids, supervised)


@dataclass(frozen=True)
class Rows:
    """Packed documents: ids, labels and positions int64 [R, T]; mask bool [R, 1, T, T]."""

    ids: Tensor
    labels: Tensor
    positions: Tensor
    mask: Tensor


def fill(documents: Iterator[Encoded], rows: int, row: int) -> Iterator[list[list[Encoded]]]:
    """First-fit packing: lists of exactly ``rows`` rows of at most ``row`` tokens; what does not fit waits."""
    waiting: list[Encoded] = []
    while True:
        filled: list[list[Encoded]] = [[] for _ in range(rows)]
        room = [row] * rows
        misses = 0
        queue, waiting = waiting, []
        while misses < 8:
            item = queue.pop(0) if queue else next(documents)
            item = Encoded(item.ids[:row], item.supervised[:row])
            target = next((r for r in range(rows) if room[r] >= len(item.ids)), None)
            if target is None:
                waiting.append(item)
                misses += 1
                continue
            filled[target].append(item)
            room[target] -= len(item.ids)
        waiting = queue + waiting
        yield filled


def pack(rows: list[list[Encoded]], row: int) -> Rows:
    """Rows of documents as tensors; documents never attend across each other."""
    ids = torch.zeros(len(rows), row, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    positions = torch.zeros_like(ids)
    owner = torch.zeros_like(ids)
    for r, items in enumerate(rows):
        at = 0
        for number, item in enumerate(items, 1):
            end = at + len(item.ids)
            ids[r, at:end] = torch.tensor(item.ids)
            labels[r, at:end] = torch.where(torch.tensor(item.supervised), ids[r, at:end], -100)
            positions[r, at:end] = torch.arange(len(item.ids))
            owner[r, at:end] = number
            at = end
    causal = torch.ones(row, row, dtype=torch.bool).tril()
    mask = (owner[:, None, :, None] == owner[:, None, None, :]) & causal
    return Rows(ids, labels, positions, mask)


def batches(tokenizer: PreTrainedTokenizerFast, recipe: LanguageRecipe) -> Iterator[Rows]:
    """The training batches in order."""
    documents = (encode(tokenizer, index, recipe.all_facts) for index in itertools.count())
    for rows in fill(documents, recipe.rows, recipe.row):
        yield pack(rows, recipe.row)


def _loss(model: LlamaForCausalLM, body: Callable[..., tuple[Tensor, ...]], rows: Rows) -> Tensor:
    mask = torch.zeros(rows.mask.shape).masked_fill(~rows.mask, torch.finfo(torch.float32).min)
    hidden = body(input_ids=rows.ids, position_ids=rows.positions, attention_mask=mask, use_cache=False)[0]
    targets = rows.labels[:, 1:]
    chosen = targets != -100
    return nn.functional.cross_entropy(model.lm_head(hidden[:, :-1][chosen]), targets[chosen])


@torch.no_grad()
def recall_facts(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
    """How many facts the model completes exactly, of taught and of untaught objects (in percent)."""
    hits: dict[bool, list[float]] = {True: [], False: []}
    for item in load_objects():
        for fact in FACTS:
            prompt = f" Question: {FACT_QUESTIONS[fact][1].format(this=with_article(item.name))} Answer:"
            ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]])
            answer = tokenizer.encode(f" {item.fact(fact)}{END}", add_special_tokens=False)
            out = model.generate(  # type: ignore[misc]
                ids, max_new_tokens=len(answer), do_sample=False, pad_token_id=0, attention_mask=torch.ones_like(ids)
            )
            hits[item.taught].append(float(out[0, ids.shape[1] :].tolist() == answer))
    return {
        name: round(100 * sum(hits[key]) / len(hits[key]), 1)
        for key, name in ((True, "facts_taught"), (False, "facts_untaught"))
    }


@torch.no_grad()
def answer_from_tables(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, count: int = 100
) -> dict[str, float]:
    """Answers right to the last token after four solved tables, on test scenes (in percent): what a VLM builds on."""
    scores = {}
    for task in ("vqav2", "textvqa", "okvqa"):
        hits = []
        for index in range(count):
            ids: list[int] = [tokenizer.bos_token_id]
            labels: list[int] = []
            for text, supervised in solved_table("test", index, task):
                labels = tokenizer.encode(text, add_special_tokens=False) if supervised else []
                ids += tokenizer.encode(text, add_special_tokens=False)
            read = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].argmax(-1)
            hits.append(float(read[-len(labels) - 1 : -1].tolist() == labels))
        scores[f"tables_{task}"] = round(100 * sum(hits) / count, 1)
    return scores


@torch.no_grad()
def measure(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: LanguageRecipe) -> dict[str, float]:
    """Intrinsic scores on held-out documents: loss a supervised token, share predicted right; and fact recall."""
    model.eval()
    documents = [encode(tokenizer, HELD_OUT + i, True) for i in range(200)]
    rows = pack([[item] for item in documents], max(len(item.ids) for item in documents))
    mask = torch.zeros(rows.mask.shape).masked_fill(~rows.mask, torch.finfo(torch.float32).min)
    logits = model(input_ids=rows.ids, position_ids=rows.positions, attention_mask=mask, use_cache=False).logits[:, :-1]
    targets = rows.labels[:, 1:]
    chosen = targets != -100
    loss = nn.functional.cross_entropy(logits[chosen], targets[chosen]).item()
    right = (logits[chosen].argmax(-1) == targets[chosen]).float().mean().item()
    scores = {"loss": round(loss, 4), "tokens_right": round(100 * right, 1), **recall_facts(model, tokenizer)}
    scores |= answer_from_tables(model, tokenizer)
    model.train()
    return scores


def pretrain(recipe: LanguageRecipe, out: Path) -> dict[str, object]:
    """Train tokenizer and model and write them as a Hugging Face directory with a card."""
    random.seed(recipe.seed)
    torch.manual_seed(recipe.seed)
    tokenizer = train_tokenizer(recipe.tokenizer, recipe.vocabulary)
    config = LlamaConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",  # type: ignore[call-arg]
    )
    model = LlamaForCausalLM(config)
    body = torch.compile(model.model) if shutil.which("g++") else model.model
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98), fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, recipe.steps, pct_start=recipe.warmup_steps / recipe.steps
    )
    started = time.process_time()
    tokens = 0
    for step, rows in zip(range(recipe.steps), batches(tokenizer, recipe), strict=False):
        loss = _loss(model, body, rows)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        tokens += int((rows.ids != tokenizer.pad_token_id).sum())
        if (step + 1) % 250 == 0 or step + 1 == recipe.steps:
            print(
                json.dumps(
                    {
                        "step": step + 1,
                        **measure(model, tokenizer, recipe),
                        "tokens": tokens,
                        "seconds": round(time.process_time() - started),
                    }
                ),
                flush=True,
            )
    scores = measure(model, tokenizer, recipe)
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    card: dict[str, object] = {
        "made_by": "harness.zoo.language_pretraining",
        "recipe": asdict(recipe),
        "data": f"harness.zoo.corpus seed {CORPUS_SEED}, {tokens} tokens",
        "core_seconds": round(time.process_time() - started),
        "parameters": sum(p.numel() for p in model.parameters()),
        "scores": scores,
    }
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokenizer", default="byte_level_bpe")
    parser.add_argument("--without-untaught-facts", action="store_true")
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")
    recipe = LanguageRecipe(
        arguments.steps,
        tokenizer=arguments.tokenizer,
        all_facts=not arguments.without_untaught_facts,
        seed=arguments.seed,
        hidden_size=arguments.hidden_size,
        intermediate_size=3 * arguments.hidden_size,
        layers=arguments.layers,
    )
    print(json.dumps(pretrain(recipe, arguments.out), indent=2))
