"""From what a user names, two variants, stages, files or imports, to what is compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.analysis.samples.scores import FILE as SCORES
from harness.analysis.samples.scores import TaskScores, read_scores
from harness.analysis.stored.reader import ScoreReader
from harness.analysis.stored.runs import Run, read_runs
from harness.analysis.stored.sweeps import SavedSweep, VariantEntry
from harness.analysis.tables.comparison import Rules, Side
from harness.analysis.tables.imported import ELSEWHERE, ImportedModel, read_folder, read_imported
from harness.errors import HarnessError, SpecError
from harness.evaluate.imports import FILE as IMPORT
from harness.evaluate.imports import FOLDER as IMPORTED
from harness.plan import sweeps
from harness.report.sources import open_sweep
from harness.spec.schema.sweep import AnalysisConfig
from harness.store import Store, is_stage_id

SUMMARY = "summary.json"
BASELINE = "baseline"


def find_sides(
    names: Sequence[str], sweep: str, overrides: Sequence[str], results: Path
) -> tuple[tuple[Side, ...], Rules]:
    """What the names stand for, each one of

    * a file of scores, the folder of an evaluate stage, or the folder of an import;
    * the id of an evaluate stage, or of the last train stage of a run (all its benchmarks);
    * the name of an import;
    * a variant of the sweep: its name, ``baseline``, or parts of its name that no other one has.

    and the rules of the sweep, or the defaults of a sweep file where none is given. Without ``sweep`` variants are
    those of the only sweep that was run. Raises ``SpecError`` for names that are none of it, or not one thing only.
    """
    if overrides and not sweep:
        raise SpecError(f"{overrides[0]}: keys belong to a sweep file", "Give it with --sweep FILE.")
    finder = _Finder(sweep, overrides, results)
    sides = tuple(finder.find(name) for name in names)
    return sides, finder.rules


class _Finder:
    def __init__(self, sweep: str, overrides: Sequence[str], results: Path) -> None:
        self._results = results
        self._store = Store(results)
        self._reader = ScoreReader(self._store)
        self._sweep: SavedSweep | None = open_sweep(sweep, overrides, results)[0] if sweep else None

    @property
    def rules(self) -> Rules:
        """Those of the sweep that was used, if any was."""
        if self._sweep is not None:
            sweep = self._sweep
            return Rules(sweep.min_effect, sweep.confidence, sweep.power, sweep.seed_noise)
        usual = AnalysisConfig()
        return Rules(usual.min_effect, usual.confidence, usual.power, {})

    def find(self, name: str) -> Side:
        path = Path(name).expanduser()
        if path.suffix == ".jsonl":
            raise SpecError(f"{name} is a log, not scores", f"Import it first: harness import {name} --name NAME")
        if path.is_file():
            return self._of_file(path, name)
        if path.is_dir() and (path / IMPORT).is_file():
            return _of_import(read_folder(path))
        if path.is_dir() and (path / SCORES).is_file():
            return self._of_file(path / SCORES, name)
        if is_stage_id(name) and self._store.find(name) is not None:
            return self._of_stage(name)
        if name and "/" not in name and (self._results / IMPORTED / name / IMPORT).is_file():
            return _of_import(read_imported(self._results, name))
        return self._of_variant(name)

    def _of_file(self, path: Path, name: str) -> Side:
        scores = read_scores(path)
        task = scores.questions.task
        return Side(name, {ELSEWHERE: {task: scores}}, {ELSEWHERE: {task: path}}, _version(path, task))

    def _of_stage(self, stage_id: str) -> Side:
        stage = self._store.stage(stage_id)
        evaluations = [stage_id]
        if stage.kind == "train":
            runs = [run for run in _saved_runs(self._results) if run.get("train", [])[-1:] == [stage_id]]
            evaluations = list(dict.fromkeys(found for run in runs for found in run["evaluate"].values()))
        elif stage.kind != "evaluate":
            raise SpecError(
                f"the stage {stage_id} is of the kind {stage.kind}",
                "Give an evaluate stage, or the train stage of a run.",
            )
        scores: dict[str, TaskScores] = {}
        files: dict[str, Path] = {}
        versions: dict[str, str] = {}
        missing = []
        for found in evaluations:
            if not self._store.is_done(found):
                missing.append(found)
                continue
            path = self._store.outputs(found).path(SCORES)
            score = self._reader.read(found)
            task = score.questions.task
            scores[task], files[task] = score, path
            versions |= _version(path, task)
        if not scores:
            raise HarnessError(f"{stage.name} has no scores", "Run the sweep to its end, or give another stage.")
        remark = f"evaluations that are not there: {', '.join(missing)}" if missing else ""
        return Side(stage.name, {ELSEWHERE: scores}, {ELSEWHERE: files}, versions, remark)

    def _of_variant(self, name: str) -> Side:
        sweep = self._the_sweep(name)
        variant = _variant(sweep, name)
        runs = [run for run in sweep.runs if run.variant == variant.name]
        stages = sweep.stages.only(dict.fromkeys(stage_id for run in runs for stage_id in run.stages))
        found = read_runs(replace(sweep, runs=tuple(runs), stages=stages), self._store, self._reader)
        complete = [run for run in found if run.status == "complete"]
        missing = [run for run in found if run.status != "complete"]
        # As in the table: complete runs, and until there is one the benchmarks that are done.
        shown = complete or [run for run in found if run.scores]
        if not shown:
            detail = "; ".join(f"seed {run.entry.seed}: {run.status}" for run in found)
            raise HarnessError(
                f"{variant.name} of {sweep.name} has no scores ({detail})", f"harness status {sweep.name}"
            )
        remark = "; ".join(f"seed {run.entry.seed} is {run.status}" for run in missing)
        files = {run.entry.seed: self._files(run) for run in shown}
        versions: dict[str, str] = {}
        for of_run in files.values():
            for task, path in of_run.items():
                versions |= _version(path, task)
        label = f"{variant.name} (baseline)" if variant.is_baseline else variant.name
        scores = {run.entry.seed: run.scores for run in shown}
        return Side(label, scores, files, versions, remark, sweep.asked(variant.name))

    def _files(self, run: Run) -> dict[str, Path]:
        return {task: self._store.outputs(run.entry.evaluate[task]).path(SCORES) for task in run.scores}

    def _the_sweep(self, name: str) -> SavedSweep:
        if self._sweep is None:
            known = sorted(path.parent.name for path in (self._results / sweeps.FOLDER).glob(f"*/{sweeps.FILE}"))
            if len(known) != 1:
                there = f"one of {', '.join(known)}" if known else "a sweep file"
                raise SpecError(
                    f"{name} is no file, stage or import in {self._results}; is it a variant?",
                    f"Say of which sweep: --sweep NAME ({there})",
                )
            self._sweep = open_sweep(known[0], (), self._results)[0]
        return self._sweep


def _variant(sweep: SavedSweep, name: str) -> VariantEntry:
    if name == BASELINE:
        return sweep.baseline
    exact = [variant for variant in sweep.variants if variant.name == name]
    parts = [part.strip() for part in name.split(",") if part.strip()]
    # A whole level first: tokens=4 is not also tokens=49.
    whole = [v for v in sweep.variants if parts and all(_is_level(part, v) for part in parts)]
    some = [v for v in sweep.variants if parts and all(part in v.name for part in parts)]
    found = exact or whole or some
    if len(found) == 1:
        return found[0]
    names = [variant.name for variant in (found or sweep.variants)]
    listed = ", ".join(names[:8]) + (f", … ({len(names)} in all)" if len(names) > 8 else "")
    if found:
        raise SpecError(f"{name} is not one variant of {sweep.name}", f"Which of {listed}?")
    raise SpecError(f"{sweep.name} has no variant {name}, and it is no file, stage or import", f"Variants: {listed}.")


def _is_level(part: str, variant: VariantEntry) -> bool:
    return any(part in (level, f"{factor}={level}") for factor, level in variant.levels.items())


def _of_import(model: ImportedModel) -> Side:
    return Side(f"{model.name} (imported)", {ELSEWHERE: model.scores}, {ELSEWHERE: model.files}, model.versions)


def _version(scores: Path, task: str) -> dict[str, str]:
    """The version of the metric, from the summary beside the scores; nothing where there is none."""
    try:
        version = json.loads((scores.parent / SUMMARY).read_bytes())["metric_version"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {task: str(version)}


def _saved_runs(results: Path) -> Iterator[dict[str, Any]]:
    for record in sweeps.saved_sweeps(results):
        yield from (run for run in record.get("runs", []) if isinstance(run, dict))
