"""What models answered to a few samples, beside the picture: what the numbers of the table stand for."""

from __future__ import annotations

import base64
import hashlib
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis.samples.scores import FILE, INTACT
from harness.analysis.tables.table import Table
from harness.errors import HarnessError
from harness.report import cells
from harness.store import Stage, Store

if TYPE_CHECKING:
    from harness.data.dataset import Dataset
    from harness.evaluate.tasks import Sample

THUMBNAIL = 144  # pixels a side
SHOWN_ANSWERS = 3
SHOWN_LETTERS = 200


@dataclass(frozen=True)
class Answer:
    """What the model of a variant answered, and its score in points."""

    variant: str
    text: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """A sample with the answers of all variants; ``picture`` is a small JPEG, or ``None`` when the data is not here."""

    task: str
    sample_id: str
    question: str
    references: tuple[str, ...]
    subset: str
    picture: bytes | None
    answers: tuple[Answer, ...]


def read_predictions(table: Table, store: Store, per_task: int = 2) -> list[Prediction]:
    """A few samples of every task that all finished variants have answered, with their first complete seed.

    Samples are chosen by a hash of their ids, never by their scores.
    """
    found = []
    for task in table.sweep.tasks:
        answers: dict[str, list[Answer]] = {}
        subsets: dict[str, str] = {}
        folder, split = None, "test"
        for row in table.rows:
            run = next((run for run in row.runs if task in run.scores), None)
            if run is None:
                continue
            stage_id = run.entry.evaluate[task]
            stage = table.sweep.stages[stage_id]
            folder, split = _folder(stage), stage.config.get("split", split)
            for sample_id, text, score, subset in _rows(store, stage_id):
                answers.setdefault(sample_id, []).append(Answer(row.variant.name, text, score))
                subsets[sample_id] = subset
        most = max((len(given) for given in answers.values()), default=0)
        shared = [sample_id for sample_id, given in answers.items() if len(given) == most]
        chosen = sorted(shared, key=lambda sample_id: hashlib.sha256(f"{task} {sample_id}".encode()).digest())
        source = _Source.open(folder, task, str(split))
        for sample_id in chosen[:per_task]:
            sample = source.samples.get(sample_id)
            found.append(
                Prediction(
                    task=task,
                    sample_id=sample_id,
                    question=sample.question if sample else "",
                    references=_references(sample),
                    subset=subsets[sample_id],
                    picture=source.picture(sample),
                    answers=tuple(answers[sample_id]),
                )
            )
    return found


def to_html(predictions: Sequence[Prediction]) -> str:
    """The predictions as one HTML table; every text is escaped, pictures are embedded."""
    if not predictions:
        return "<p>There are no predictions yet.</p>"
    rows = [_html_row(prediction) for prediction in predictions]
    style = "border-collapse:collapse;font-family:sans-serif;font-size:13px"
    return f'<table style="{style}">\n' + "\n".join(rows) + "\n</table>"


def _html_row(prediction: Prediction) -> str:
    picture = "<i>no picture</i>"
    if prediction.picture is not None:
        data = base64.b64encode(prediction.picture).decode("ascii")
        picture = f'<img alt="" width="{THUMBNAIL}" src="data:image/jpeg;base64,{data}">'
    part = f" ({prediction.subset})" if prediction.subset else ""
    answers = "".join(
        f"<tr><td>{_text(answer.variant)}</td><td><b>{_text(answer.text)}</b></td>"
        f'<td style="text-align:right">{cells.points(answer.score)}</td></tr>'
        for answer in prediction.answers
    )
    return (
        f'<tr style="border-top:1px solid #ccc"><td style="vertical-align:top">{picture}</td>'
        f'<td style="vertical-align:top;text-align:left"><div>{_text(cells.title(prediction.task) + part)}</div>'
        f"<div><b>{_text(prediction.question or 'caption')}</b></div>"
        f"<div>references: {_text('; '.join(prediction.references) or 'unknown')}</div>"
        f"<table><tr><th>variant</th><th>answer</th><th>points</th></tr>{answers}</table></td></tr>"
    )


def _text(value: str) -> str:
    shown = value if len(value) <= SHOWN_LETTERS else value[:SHOWN_LETTERS] + "…"
    return html.escape(shown, quote=True)


def _folder(stage: Stage) -> str | None:
    """Where the data of a stage lies: saved sweeps do not say, since that depends on the machine."""
    from harness.data.microworld import find_world
    from harness.plan import cache_folder

    found = stage.location.get("data") or find_world(stage.digests.get("data", "?"), cache_folder())
    return None if found is None else str(found)


def _rows(store: Store, stage_id: str) -> list[tuple[str, str, float, str]]:
    from pyarrow import parquet

    path = store.outputs(stage_id).path(FILE)
    names = ["sample_id", "answer", "score", "subset"]
    columns = parquet.read_table(path, columns=names, filters=[("condition", "==", INTACT)]).to_pydict()
    return list(zip(*(columns[name] for name in names), strict=True))


def _references(sample: Sample | None) -> tuple[str, ...]:
    """The most frequent answers, the first of equals first."""
    if sample is None:
        return ()
    counts: dict[str, int] = {}
    for answer in sample.answers:
        counts[answer] = counts.get(answer, 0) + 1
    return tuple(sorted(counts, key=lambda answer: -counts[answer])[:SHOWN_ANSWERS])


class _Source:
    """Questions and pictures, when the data is on this machine."""

    def __init__(self, dataset: Dataset | None, samples: dict[str, Sample]) -> None:
        self._dataset = dataset
        self.samples = samples

    @classmethod
    def open(cls, folder: str | None, task: str, split: str) -> _Source:
        """The data of a task; empty when it is not here."""
        if folder is None or not Path(folder).is_dir():
            return cls(None, {})
        from harness.data.dataset import Dataset
        from harness.evaluate.tasks import get_task

        try:
            dataset = Dataset.open(Path(folder))
            pool = get_task(task).read(dataset, split)
        except HarnessError:
            return cls(None, {})
        return cls(dataset, {sample.id: sample for sample in pool.samples})

    def picture(self, sample: Sample | None) -> bytes | None:
        """A thumbnail as JPEG."""
        if self._dataset is None or sample is None:
            return None
        try:
            image = self._dataset.image(sample.image)
        except HarnessError:
            return None
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=80)
        return buffer.getvalue()
