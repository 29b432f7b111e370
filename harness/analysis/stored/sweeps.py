"""A sweep as analysis sees it: read from the record that ``harness run`` leaves, whoever made it and wherever."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from harness.analysis.statistics.power import Noise
from harness.errors import HarnessError
from harness.spec.names import CLAIM_TYPES
from harness.store import Record, Stage, Store, is_stage_id

FORMAT = 2


@dataclass(frozen=True)
class VariantEntry:
    """A variant with what is known of it before it has run."""

    name: str
    levels: Mapping[str, str]
    is_baseline: bool
    parameters: int
    trainable: int
    visual_tokens: int
    train_flops: int


@dataclass(frozen=True)
class RunEntry:
    """A variant with a training seed and the ids of its stages; ``evaluate`` maps a task to its stage.

    ``curve`` maps steps of training to the stages that evaluated the model as it was then.
    """

    variant: str
    seed: int
    features: tuple[str, ...]
    train: tuple[str, ...]
    evaluate: Mapping[str, str]
    curve: Mapping[int, Mapping[str, str]] = field(default_factory=dict)

    @property
    def evaluations(self) -> tuple[str, ...]:
        """All evaluate stages, those of the trained model first."""
        earlier = (stage_id for evaluate in self.curve.values() for stage_id in evaluate.values())
        return (*self.evaluate.values(), *earlier)

    @property
    def stages(self) -> tuple[str, ...]:
        """All stage ids, those of the inputs first."""
        return (*self.features, *self.train, *self.evaluations)


@dataclass(frozen=True)
class ContrastEntry:
    """The second level of each factor against the first, all else equal, over the variants that ``where`` picks.

    More than two levels are steps, each against the one before.
    """

    levels: Mapping[str, tuple[str, ...]]
    where: Mapping[str, str]
    benchmark: str

    @property
    def steps(self) -> int:
        """How many levels are contrasted, less one."""
        return min((len(ladder) for ladder in self.levels.values()), default=1) - 1


@dataclass(frozen=True)
class ClaimEntry:
    """A claim of the literature bound to a contrast, as :class:`harness.spec.claims.Claim` describes it."""

    id: str
    contrast: ContrastEntry
    expect: str
    between: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bound: float | None = None
    cost: str = ""

    @property
    def type(self) -> str:
        """``sign``, ``equivalence``, ``order``, ``saturation``, ``interaction``, ``stability`` or ``efficiency``."""
        return CLAIM_TYPES[self.expect]


class SavedStages(Mapping[str, Stage]):
    """The stages of a sweep by id. Tens of thousands are listed in no time; one is built, and checked, when asked for.

    ``entries`` have at least ``id``, ``digest`` and ``slug``; where they have no more, ``whole`` gives the record that
    has. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for entries that are none.
    """

    def __init__(
        self,
        entries: Sequence[Mapping[str, Any]],
        source: str,
        whole: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self._entries = {entry["id"]: entry for entry in entries}
        self._source = source
        self._whole = whole
        self._stages: dict[str, Stage] = {}
        for stage_id, entry in self._entries.items():
            if not is_stage_id(stage_id) or not entry["digest"].startswith(stage_id) or type(entry["slug"]) is not str:
                raise ValueError(f"{stage_id!r} does not name a stage")

    def __getitem__(self, stage_id: str) -> Stage:
        if stage_id not in self._stages:
            entry = self._entries[stage_id]
            try:
                if "config" not in entry and self._whole is not None:
                    self._entries = {found["id"]: found for found in self._whole()["stages"]}
                    entry = self._entries[stage_id]
                self._stages[stage_id] = Stage.from_json(entry)
            except (KeyError, TypeError, ValueError, OSError) as error:
                raise _damaged(self._source, error) from error
        return self._stages[stage_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def only(self, stage_ids: Iterable[str]) -> SavedStages:
        """Some of them."""
        return SavedStages([self._entries[stage_id] for stage_id in stage_ids], self._source, self._whole)

    def slug(self, stage_id: str) -> str:
        """The name of a stage for people."""
        return str(self._entries[stage_id]["slug"])

    def flops(self, stage_id: str) -> int:
        """The FLOPs that the plan estimated for a stage; 0 where it did not."""
        return int(self._entries[stage_id].get("flops") or 0)

    def digest(self, stage_id: str) -> str:
        """The digest that a stage must have."""
        return str(self._entries[stage_id]["digest"])

    def record(self, store: Store, stage_id: str) -> Record | None:
        """The record of a stage, ``None`` while it is not finished.

        Raises ``DamagedStage``, showing the difference, when the stored stage is another one than the sweep's.
        """
        found = store.record(stage_id)
        if found is not None and found.digest != self._entries[stage_id]["digest"]:
            return store.record(self[stage_id])
        return found


@dataclass(frozen=True)
class SavedSweep:
    """What was run and how it is judged."""

    name: str
    question: str
    digest: str
    factors: Mapping[str, tuple[str, ...]]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    primary: str
    min_effect: float
    confidence: float
    correction: Literal["holm", "max-t", "none"]
    power: float
    seed_noise: Mapping[str, Noise]
    ceilings: Mapping[str, float]
    recipe: str
    scale: str
    variants: tuple[VariantEntry, ...]
    runs: tuple[RunEntry, ...]
    claims: tuple[ClaimEntry, ...]
    control: ContrastEntry | None
    notes: tuple[str, ...]
    stages: SavedStages
    prompts_differ_by: tuple[str, ...] = ()

    def asked(self, variant: str) -> str:
        """A variant's levels of the factors that change the prompts by declaration; empty where there are none."""
        if not self.prompts_differ_by:
            return ""
        levels = self._levels[variant]
        return ", ".join(f"{factor}={levels[factor]}" for factor in self.prompts_differ_by)

    @cached_property
    def _levels(self) -> dict[str, Mapping[str, str]]:
        return {variant.name: variant.levels for variant in self.variants}

    @property
    def baseline(self) -> VariantEntry:
        """The variant that the others are compared with."""
        return next(variant for variant in self.variants if variant.is_baseline)

    @classmethod
    def of(
        cls,
        value: Mapping[str, Any],
        source: str = "the record of the sweep",
        whole: Callable[[], Mapping[str, Any]] | None = None,
    ) -> SavedSweep:
        """From the JSON values of a record. Raises ``HarnessError`` when they are not those of a sweep.

        ``whole`` gives the whole record where ``value`` is an excerpt of it.
        """
        try:
            if value["format"] != FORMAT:
                remedy = (
                    "Update the harness." if value["format"] > FORMAT else "Run the sweep again: nothing is redone."
                )
                raise HarnessError(
                    f"{source} was written in format {value['format']}, this version reads {FORMAT}", remedy
                )
            return cls(
                name=str(value["name"]),
                question=str(value["question"]),
                digest=str(value["digest"]),
                factors={name: tuple(levels) for name, levels in value["factors"].items()},
                tasks=tuple(value["tasks"]),
                seeds=tuple(value["seeds"]),
                primary=str(value["analysis"]["primary"]),
                min_effect=float(value["analysis"]["min_effect"]),
                confidence=float(value["analysis"]["confidence"]),
                correction=value["analysis"]["correction"],
                power=float(value["analysis"]["power"]),
                seed_noise=_noise(value["analysis"]["seed_noise"]),
                ceilings=_numbers(value["analysis"]["ceilings"]),
                recipe=str(value["recipe"]),
                scale=str(value["scale"]),
                variants=tuple(_variant(entry) for entry in value["variants"]),
                runs=tuple(_run(entry) for entry in value["runs"]),
                claims=tuple(_claim(entry) for entry in value["claims"]),
                control=_contrast(value["positive_control"]) if value["positive_control"] else None,
                notes=tuple(value["notes"]),
                stages=SavedStages(value["stages"], source, whole),
                prompts_differ_by=tuple(value["analysis"].get("prompts_differ_by", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(source, error) from error


def _damaged(source: str, error: Exception) -> HarnessError:
    return HarnessError(
        f"{source} is damaged ({type(error).__name__}: {error})", "Run the sweep again; finished stages are reused."
    )


def _numbers(entry: Mapping[str, Any] | None) -> dict[str, float]:
    return {name: float(value) for name, value in (entry or {}).items() if value is not None}


def _noise(entry: Mapping[str, Any] | None) -> dict[str, Noise]:
    degrees = int(entry["degrees"]) if entry else 0
    return {name: Noise(value, degrees) for name, value in _numbers(entry).items() if name != "degrees"}


def _variant(entry: Mapping[str, Any]) -> VariantEntry:
    return VariantEntry(
        name=str(entry["name"]),
        levels={str(factor): str(level) for factor, level in entry["levels"].items()},
        is_baseline=bool(entry["baseline"]),
        parameters=int(entry["parameters"]["total"]),
        trainable=int(entry["parameters"]["trainable"]),
        visual_tokens=int(entry["visual_tokens"]),
        train_flops=int(entry["train_flops"]),
    )


def _run(entry: Mapping[str, Any]) -> RunEntry:
    return RunEntry(
        variant=str(entry["variant"]),
        seed=int(entry["seed"]),
        features=tuple(entry["features"]),
        train=tuple(entry["train"]),
        evaluate=dict(entry["evaluate"]),
        curve={int(step): dict(tasks) for step, tasks in entry.get("curve", {}).items()},
    )


def _claim(entry: Mapping[str, Any]) -> ClaimEntry:
    bound = entry["bound"]
    claim = ClaimEntry(
        id=str(entry["id"]),
        contrast=_contrast(entry),
        expect=str(entry["expect"]),
        between=_ladders(entry["between"]),
        bound=None if bound is None else float(bound),
        cost=str(entry["cost"]),
    )
    if claim.contrast.steps < (0 if claim.type == "stability" else 1):
        raise ValueError(f"the claim {claim.id} contrasts nothing")
    return claim


def _contrast(entry: Mapping[str, Any]) -> ContrastEntry:
    return ContrastEntry(_ladders(entry["contrast"]), dict(entry["where"]), str(entry["benchmark"]))


def _ladders(entry: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {str(factor): tuple(str(level) for level in levels) for factor, levels in entry.items()}


def trains_adapter(stage: Stage) -> bool:
    """Whether a stage is a phase that aligns an adapter, which is another model than that of its run."""
    return stage.kind == "train" and bool(stage.config.get("phase", {}).get("trains") == "adapter")
