"""A sweep: one file, expanded to validated variants."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, get_args

from pydantic import ValidationError

from harness.spec.claims import Bound, Claim, PositiveControl, check_score, read_claims
from harness.spec.cluster_checks import check_who_sets_commands
from harness.spec.compose import Composition, compose, compose_values
from harness.spec.designs import Combination, Expansion, PatternReader, expand
from harness.spec.factors import Factor, FactorSet, read_factors
from harness.spec.identity import digest, identity_part
from harness.spec.messages import add_violations, at, unknown_key_remedy
from harness.spec.names import NAME_LENGTH, NAME_PATTERN
from harness.spec.place import Path, child
from harness.spec.prompts import check_prompts
from harness.spec.references import Resolver, UnresolvedError
from harness.spec.report import Report, shown
from harness.spec.schema.config import Config
from harness.spec.schema.evaluation import TaskName
from harness.spec.schema.execution import ClusterConfig, RuntimeConfig
from harness.spec.schema.sweep import AnalysisConfig, BudgetConfig, SweepKeys
from harness.spec.shadowed import check_overrides
from harness.spec.variants import VariantBuilder

MAX_NAME = 160


@dataclass(frozen=True)
class Variant:
    """One combination of levels.

    ``levels`` maps each factor to the name of its level, in the order of the factors. ``name`` is the same as a file
    name (``tokens=36,pooling=average``). ``digest`` is equal for configs that give the same result, whatever the
    sweep.
    """

    name: str
    levels: Mapping[str, str]
    config: Config
    is_baseline: bool
    digest: str


@dataclass(frozen=True)
class Sweep:
    """A sweep file with its recipe, scale and overrides, fully resolved.

    ``digest`` stands for what is run and how it is judged: variants, seeds, baseline, analysis, claims. It depends
    neither on the order in which mappings, exclusions or seeds are written, nor on the name, the question, ``runtime``,
    ``cluster`` or ``budget``. ``notes`` are for the user: claims that an override has made untestable.
    """

    name: str
    question: str
    recipe: str
    scale: str
    factors: tuple[Factor, ...]
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    analysis: AnalysisConfig
    claims: tuple[Claim, ...]
    positive_control: PositiveControl | None
    runtime: RuntimeConfig
    cluster: ClusterConfig
    budget: BudgetConfig
    digest: str
    notes: tuple[str, ...] = ()

    @property
    def baseline(self) -> Variant:
        """The variant that the others are compared with."""
        return next(variant for variant in self.variants if variant.is_baseline)


def load(path: str | os.PathLike[str], overrides: Sequence[str] = (), profile: str = "") -> Sweep:
    """Read, merge, expand and validate a sweep file.

    ``overrides`` are ``key=value`` texts with YAML values, applied in order over everything else; ``profile`` is the
    name or the file of a cluster's profile, which says what the file leaves open of the section ``cluster``. Raises
    :class:`~harness.errors.SpecError` with every problem found, each with its file, line, column, key and remedy. Reads
    nothing but these files, the package's recipes and scales, and the list of published claims; writes nothing.
    """
    return _sweep(compose(path, overrides, profile), PurePath(path).stem)


def config_of(recipe: str, scale: str, overrides: Sequence[str] = ()) -> Config:
    """The config of a recipe at a scale without any sweep file."""
    return load_values({"name": recipe, "recipe": recipe, "scale": scale}, overrides).baseline.config


def load_values(values: dict[str, Any], overrides: Sequence[str] = ()) -> Sweep:
    """As :func:`load`, for a sweep given as plain values (``yaml``-like mappings, lists and scalars)."""
    return _sweep(compose_values(values, "sweep", overrides), "sweep")


def _sweep(composition: Composition, default_name: str) -> Sweep:
    report = Report()
    tree, origins = composition.tree, composition.origins
    resolver = Resolver(tree)
    _check_top_level(composition, report)
    check_who_sets_commands(composition, report)
    keys = _sweep_keys(composition, resolver, default_name, report)
    factors = read_factors(composition, resolver, report)
    expansion = expand(keys, factors, origins, report)
    built: list[tuple[Combination, Config, str]] = []
    if expansion is not None:
        built = _build(composition, factors, expansion, report)
    reader = PatternReader(factors, origins, report)
    benchmarks = ["mean", *_tasks(built, tree)]
    check_score(keys.analysis.primary, benchmarks, ("analysis", "primary"), reader)
    check_prompts(keys.analysis, reader)
    bound = Bound()
    if expansion is not None:
        bound = read_claims(keys, composition, expansion.combinations, benchmarks, reader)
    report.raise_if_any()
    if expansion is None or not built:
        raise RuntimeError("a sweep without variants was not reported")

    variants = _variants(built, factors, expansion)
    judged = {
        "variants": sorted([sorted(variant.levels.items()), variant.digest] for variant in variants),
        "baseline": dict(sorted(next(v for v in variants if v.is_baseline).levels.items())),
        "seeds": sorted(keys.seeds),
        "analysis": identity_part(keys.analysis),
        "claims": sorted(repr(claim) for claim in bound.claims),
        "positive_control": repr(bound.control),
    }
    return Sweep(
        name=keys.name,
        question=keys.question,
        recipe=keys.recipe,
        scale=keys.scale,
        factors=factors.factors,
        variants=variants,
        seeds=keys.seeds,
        analysis=keys.analysis,
        claims=bound.claims,
        positive_control=bound.control,
        runtime=variants[0].config.runtime,
        cluster=variants[0].config.cluster,
        budget=keys.budget,
        digest=digest(judged),
        notes=bound.notes,
    )


def _tasks(built: Sequence[tuple[Combination, Config, str]], tree: Mapping[str, Any]) -> list[str]:
    """The tasks that every variant is evaluated on, or those written where no variant could be built."""
    if built:
        distinct = {id(config.evaluation): config.evaluation.tasks for _, config, _ in built}
        first, *others = distinct.values()
        return [task for task in first if all(task in tasks for tasks in others)]
    tasks = child(tree.get("evaluation"), "tasks")
    return list(tasks) if isinstance(tasks, dict) else list(get_args(TaskName))


def _check_top_level(composition: Composition, report: Report) -> None:
    for key in composition.tree.keys() - SweepKeys.model_fields.keys() - Config.model_fields.keys():
        path: Path = (key,)
        report.add("unknown key", composition.origins.key(path), path, unknown_key_remedy(path))


def _sweep_keys(composition: Composition, resolver: Resolver, default_name: str, report: Report) -> SweepKeys:
    """The sweep's own keys; where some are wrong (reported) the rest is returned with defaults in their stead."""
    tree, origins = composition.tree, composition.origins
    values: dict[str, Any] = {}
    for key in SweepKeys.model_fields:
        if key not in tree:
            continue
        try:
            values[key] = tree[key] if key == "factors" else resolver.resolve(tree[key], (key,))
        except UnresolvedError as error:
            report.add(error.message, origins.value(error.site), error.site, error.remedy)
    if isinstance(values.get("factors"), str):
        del values["factors"]  # a reference to a mapping of factors, which read_factors follows
    values.setdefault("name", default_name)
    try:
        keys = SweepKeys.model_validate(values)
    except ValidationError as error:
        add_violations(report, error, (), at(origins))
        wrong = {detail["loc"][0] for detail in error.errors(include_url=False)}
        safe = {"name": "unnamed", "recipe": "unknown", "scale": "unknown"}
        keys = SweepKeys.model_validate(safe | {key: value for key, value in values.items() if key not in wrong})
    _check_name(keys.name, composition, report)
    _check_seeds(keys.seeds, composition, report)
    return keys


def _check_name(name: str, composition: Composition, report: Report) -> None:
    place = composition.origins.key(("name",))
    remedy = "use letters, digits and . _ + -, starting with a letter or a digit"
    if any(part in name for part in ("/", "\\", "..")):
        report.add(f"the name {shown(name)} would leave the results folder", place, "name", remedy)
    elif len(name) > NAME_LENGTH:
        report.add(f"the name has {len(name)} characters", place, "name", f"use at most {NAME_LENGTH}")
    elif not re.fullmatch(NAME_PATTERN, name):
        report.add(f"{shown(name)} cannot name a folder of results", place, "name", remedy)


def _check_seeds(seeds: Sequence[int], composition: Composition, report: Report) -> None:
    for position, seed in enumerate(seeds):
        path: Path = ("seeds", position)
        if seed in seeds[:position]:
            report.add(
                f"the seed {seed} is given twice", composition.origins.value(path), path, "remove one of the two"
            )
        if seed >= 2**32:
            message = f"the seed {seed} is too large"
            report.add(message, composition.origins.value(path), path, "take a seed below 2^32")


def _build(
    composition: Composition, factors: FactorSet, expansion: Expansion, report: Report
) -> list[tuple[Combination, Config, str]]:
    builder = VariantBuilder(composition, factors.factors, report)
    built = []
    first: dict[str, Combination] = {}
    before = len(report)
    for combination in expansion.combinations:
        result = builder.build(combination)
        if result is None:
            continue
        config, fingerprint = result
        twin = first.setdefault(fingerprint, combination)
        if twin is not combination and not factors.broken and len(report) < before + 10:
            _report_twins(twin, combination, factors, composition, report)
        built.append((combination, config, fingerprint))
    if not factors.broken:
        check_overrides(composition, factors.factors, expansion.combinations, report)
    if len(report) == before and not factors.broken:
        for keys in (*builder.keys_by_kind, builder.splitting_keys):
            keys.check(report)
    return built


def _report_twins(
    one: Combination, other: Combination, factors: FactorSet, composition: Composition, report: Report
) -> None:
    differing = [f for f, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    factor = factors.factors[differing[-1]]
    level = factor.levels[other[differing[-1]]]
    names = " and ".join(f"{{{_described(combination, factors.factors)}}}" for combination in (one, other))
    message = f"the variants {names} are the same run"
    remedy = f"exclude one of the two: exclude: [{{{_described(other, factors.factors)}}}]"
    report.add(message, level.place, ("factors", factor.name), remedy)


def _described(combination: Combination, factors: Sequence[Factor]) -> str:
    return ", ".join(f"{f.name}: {f.levels[level].name}" for f, level in zip(factors, combination, strict=True))


def _variants(
    built: Sequence[tuple[Combination, Config, str]], factors: FactorSet, expansion: Expansion
) -> tuple[Variant, ...]:
    parts = [[f"{factor.name}={level.slug}" for level in factor.levels] for factor in factors.factors]
    names = [[(factor.name, level.name) for level in factor.levels] for factor in factors.factors]
    variants = []
    for combination, config, fingerprint in built:
        name = ",".join(parts[f][level] for f, level in enumerate(combination)) or "baseline"
        if len(name) > MAX_NAME:
            name = f"{name[: MAX_NAME - 9]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        levels = dict(names[f][level] for f, level in enumerate(combination))
        identity = hashlib.sha256(fingerprint.encode()).hexdigest()[:32]
        variants.append(Variant(name, levels, config, combination == expansion.baseline, identity))
    return tuple(variants)
