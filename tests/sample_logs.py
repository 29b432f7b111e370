"""Sample logs as lm-eval writes them of our tasks, for the same samples as ``synthetic_scores.rows``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.evaluate.metrics import find_metric
from harness.evaluate.prompts import Prompt, Segment, as_text
from tests.synthetic_scores import METRICS, Row, Scorer, rows

Line = dict[str, Any]


def prompt_of(task: str, number: int) -> Prompt:
    return Prompt(
        sample_id=f"{task}-{number:04d}",
        condition="intact",
        demonstration_set=number % 2,
        demonstration_ids=("a", "b"),
        demonstrations=tuple(Segment(f"{name}.jpg", f"What is {name}? Answer:", name) for name in "ab"),
        query=Segment(f"image-{number // 2}.jpg", f"What is {number}? Answer:"),
    )


def prompt_digests(task: str, samples: int = 12) -> list[str]:
    return [prompt_of(task, number).sha256 for number in range(samples)]


def asked(content: Sequence[Row]) -> list[Row]:
    """Rows of an evaluation that asked the prompts of the logs."""
    digests = {task: prompt_digests(task) for task in METRICS}
    return [{**row, "prompt_sha256": digests[row["task"]][int(row["sample_id"][-4:])]} for row in content]


def lines(task: str, scorer: Scorer, name: str = "elsewhere", samples: int = 12) -> list[Line]:
    found = []
    for row in rows(name, task, 0, scorer, samples, ("intact",)):
        number = int(row["sample_id"][-4:])
        prompt = prompt_of(task, number)
        doc = {
            "task": task,
            "metric": METRICS[task],
            "metric_version": find_metric(METRICS[task]).identity,
            "samples": samples,
            "demonstration_seed": 0,
            "sample_id": prompt.sample_id,
            "image_id": row["image_id"],
            "question": f"What is {number}?",
            "answers": ["ä"],
            "question_type": row["question_type"],
            "subset": row["subset"],
            "demonstration_set": prompt.demonstration_set,
            "demonstration_ids": list(prompt.demonstration_ids),
            "prompt": [[each.image, each.prompt, each.answer] for each in (*prompt.demonstrations, prompt.query)],
            "prompt_sha256": prompt.sha256,
        }
        found.append(
            signed(
                {
                    "doc_id": number,
                    "doc": doc,
                    "target": "ä",
                    "arguments": {"gen_args_0": {"arg_0": as_text(prompt), "arg_1": {}, "arg_2": {"visual": []}}},
                    "resps": [[f" {row['answer']}\n"]],
                    "filtered_resps": [f" {row['answer']}\n"],
                    "filter": "none",
                    "metrics": [METRICS[task]],
                    METRICS[task]: row["score"],
                }
            )
        )
    return found


def signed(line: Line) -> Line:
    """With the digests that lm-eval adds."""
    doc = json.dumps(line["doc"], indent=2, ensure_ascii=False)
    text = line["arguments"]["gen_args_0"]["arg_0"]
    digests = {key: hashlib.sha256(of.encode()).hexdigest() for key, of in (("doc_hash", doc), ("prompt_hash", text))}
    return {**line, **digests}


def write(path: Path, content: Sequence[Line]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in content), encoding="utf-8")
    return path
