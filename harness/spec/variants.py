"""From combinations of levels to validated configs, each distinct section validated once.

A variant differs from the composed tree in a handful of keys, so its sections are looked up by the levels of those
factors that can change them: by a patch, or because they refer to something that is patched. Ten thousand variants
cost their patches, not ten thousand validations of everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.spec.alignment import is_aligned, own_phases
from harness.spec.checks import CHECKS, JOINT_CHECKS
from harness.spec.compose import Composition
from harness.spec.designs import Combination
from harness.spec.factors import Factor, Level, Patch
from harness.spec.finding import Finding
from harness.spec.identity import canonical, identity_part, locations
from harness.spec.messages import add_violations
from harness.spec.patches import assign
from harness.spec.place import Path, Place, child
from harness.spec.references import Resolver, UnresolvedError, sites, template
from harness.spec.report import Report
from harness.spec.schema.base import Section
from harness.spec.schema.config import Config
from harness.spec.schema.data import DataConfig
from harness.spec.schema.evaluation import EvaluationConfig
from harness.spec.schema.execution import ClusterConfig, RuntimeConfig
from harness.spec.schema.model import ConnectorConfig, FusionConfig, ModelConfig
from harness.spec.schema.training import PhaseConfig, RandomnessConfig, TrainingConfig, merge
from harness.spec.unread import KindKeys
from harness.spec.unread_models import ExpertModelKeys
from harness.spec.unread_splitting import SplittingKeys

_PARTS = {"phases": ("phases", "training")}
"""What a section is made from, where that is more than itself."""

_IDENTITY = ("model", "phases", "data", "evaluation", "randomness")
"""The sections that decide a result."""

MAX_PROBLEMS = 200
"""Enough to show; a spec with one mistake in each of ten thousand variants need not be read to its end."""


@dataclass(frozen=True)
class BuiltSection:
    """A validated section and the text that is equal for sections with the same effect."""

    value: Any
    fingerprint: str


class VariantBuilder:
    """Builds the config of any combination; problems go to the report, at the place of the level that caused them."""

    def __init__(self, composition: Composition, factors: Sequence[Factor], report: Report) -> None:
        self._composition = composition
        self._factors = factors
        self._report = report
        self._adapters = _adapters()
        reach = _reach(composition.tree, factors)
        self._relevant = {
            section: tuple(
                position
                for position, factor in enumerate(factors)
                if any(patch.path[0] in reach[section] for level in factor.levels for patch in level.patches)
            )
            for section in self._adapters
        }
        self._static = {section for section in self._adapters if _is_static(composition.tree, factors, section)}
        self._resolved: dict[str, dict[str, Any]] = {}
        self._built: dict[tuple[str, Combination], BuiltSection | None] = {}
        self._own: dict[tuple[int, bool], BuiltSection] = {}
        self._checked: set[tuple[int, ...]] = set()
        self.keys_by_kind: list[KindKeys | ExpertModelKeys] = [
            KindKeys(composition, factors, "connector", ConnectorConfig),
            KindKeys(composition, factors, "fusion", FusionConfig),
            ExpertModelKeys(composition, factors),
        ]
        self.splitting_keys = SplittingKeys(composition, factors)

    def build(self, combination: Combination) -> tuple[Config, str] | None:
        """The config and its fingerprint; ``None`` if a section of it is wrong (reported)."""
        if len(self._report) > MAX_PROBLEMS:
            return None
        built = {section: self._section(section, combination) for section in self._adapters}
        model = built["model"]
        if model is not None:
            for keys in self.keys_by_kind:
                keys.note(getattr(model.value, keys.section), combination)
        if model is not None and (phases := built["phases"]) is not None:
            built["phases"] = self._own_phases(model, phases)
        for names in JOINT_CHECKS:
            self._check_together(names, built, combination)
        if any(section is None for section in built.values()):
            return None
        whole = {name: section for name, section in built.items() if section is not None}
        config = Config.model_construct(**{name: section.value for name, section in whole.items()})
        self.splitting_keys.note(config)
        return config, "\n".join(whole[name].fingerprint for name in _IDENTITY)

    def _own_phases(self, model: BuiltSection, phases: BuiltSection) -> BuiltSection:
        """Without the phases that train another model than this one."""
        own = own_phases(model.value, phases.value)
        if own is phases.value:
            return phases
        return self._own.setdefault((id(phases), is_aligned(model.value)), BuiltSection(own, _fingerprint(own)))

    def _section(self, name: str, combination: Combination) -> BuiltSection | None:
        key = (name, tuple(combination[position] for position in self._relevant[name]))
        if key not in self._built:
            levels = [self._factors[position].levels[combination[position]] for position in self._relevant[name]]
            self._built[key] = self._validate(name, levels)
        return self._built[key]

    def _validate(self, name: str, levels: Sequence[Level]) -> BuiltSection | None:
        patches = [patch for level in levels for patch in level.patches]
        try:
            tree = self._tree(name, patches)
        except UnresolvedError as error:
            place, path = self._locate(error.site, False, patches, self._composition.tree)
            self._report.add(error.message, place, path, error.remedy)
            return None
        try:
            value = self._adapters[name].validate_python(_complete(name, tree))
        except ValidationError as error:
            # Where the defaults of all phases are wrong, what the phases lack because of it is no mistake of its own.
            inherited = _keys(TrainingConfig) if name == "phases" and not self._is_valid("training", tree) else ()
            locate = partial(self._locate, patches=patches, tree=tree)
            add_violations(self._report, error, (name,), locate, inherited)
            return None
        before = len(self._report)
        for finding in CHECKS[name](value) if name in CHECKS else ():
            self._add(finding.below((name,)), patches, tree)
        if len(self._report) > before:
            return None
        return BuiltSection(value, _fingerprint(value) if name in _IDENTITY else "")

    def _is_valid(self, name: str, tree: Mapping[str, Any]) -> bool:
        try:
            self._adapters[name].validate_python(tree.get(name))
        except ValidationError:
            return False
        return True

    def _tree(self, name: str, patches: Sequence[Patch]) -> dict[str, Any]:
        """A tree in which ``name``, and what it is completed from, is patched and free of references."""
        parts = _PARTS.get(name, (name,))
        if name in self._static:
            if name not in self._resolved:
                whole = Resolver(self._composition.tree)
                self._resolved[name] = {
                    part: whole.resolve(self._composition.tree.get(part), (part,)) for part in parts
                }
            return _patched(self._resolved[name], [patch for patch in patches if patch.path[0] in parts])
        tree = _patched(self._composition.tree, patches)
        resolver = Resolver(tree)
        return tree | {part: resolver.resolve(tree.get(part), (part,)) for part in parts}

    def _locate(
        self, path: Path, of_key: bool, patches: Sequence[Patch], tree: Mapping[str, Any]
    ) -> tuple[Place, Path]:
        """Where the value at ``path`` of a variant was written, and as which key."""
        if path[0] == "phases" and len(path) > 2 and path[2] != "steps" and not _reaches(tree, path):
            path = ("training", *path[2:])  # the phase has it from the defaults
        for patch in reversed(patches):
            if path[: len(patch.path)] == patch.path:
                return patch.place if of_key else patch.value_place, path
        origins = self._composition.origins
        if origins.exact(path) is None:
            for patch in reversed(patches):
                if patch.path[: len(path)] == path:
                    return patch.place, path
        return origins.key(path) if of_key else origins.value(path), path

    def _add(self, finding: Finding, patches: Sequence[Patch], tree: Mapping[str, Any]) -> None:
        """Report a finding at that one of its keys which was written last, most likely by the user."""
        paths = (finding.path, *finding.others)
        found = [self._locate(path, finding.of_key, patches, tree) for path in paths]
        patched = [here for here in found if any(here[0] in (patch.place, patch.value_place) for patch in patches)]
        origins = self._composition.origins
        latest = patched[0] if patched else max(found, key=lambda here: (origins.rank(here[1]), len(here[1])))
        self._report.add(finding.message, *latest, finding.remedy)

    def _check_together(
        self, names: tuple[str, ...], built: Mapping[str, BuiltSection | None], combination: Combination
    ) -> None:
        sections = [section for name in names if (section := built[name]) is not None]
        together = tuple(map(id, sections))
        if len(sections) < len(names) or together in self._checked:
            return
        self._checked.add(together)
        chosen = [factor.levels[level] for factor, level in zip(self._factors, combination, strict=True)]
        patches = [patch for level in chosen for patch in level.patches]
        for finding in JOINT_CHECKS[names](*(section.value for section in sections)):
            self._add(finding, patches, self._composition.tree)


@cache
def _adapters() -> dict[str, TypeAdapter[Any]]:
    """The validator of each section of a config, in the order in which mistakes are best found."""
    return {
        "model": TypeAdapter(ModelConfig),
        "training": TypeAdapter(TrainingConfig),
        "phases": TypeAdapter(dict[str, PhaseConfig]),
        "data": TypeAdapter(DataConfig),
        "evaluation": TypeAdapter(EvaluationConfig),
        "randomness": TypeAdapter(RandomnessConfig),
        "runtime": TypeAdapter(RuntimeConfig),
        "cluster": TypeAdapter(ClusterConfig),
    }


def _reach(tree: Mapping[str, Any], factors: Sequence[Factor]) -> dict[str, set[str]]:
    """For each top-level key, itself and every top-level key that its references lead to."""
    direct: dict[str, set[str]] = {key: {key} for key in (*tree, *Config.model_fields)}
    for key, value in tree.items():
        direct[key] |= _targets(value)
    for factor in factors:
        for level in factor.levels:
            for patch in level.patches:
                direct[str(patch.path[0])] |= _targets(patch.value)
    direct["phases"].add("training")
    reach = {}
    for key in direct:
        seen, todo = set(), [key]
        while todo:
            here = todo.pop()
            if here not in seen:
                seen.add(here)
                todo.extend(direct.get(here, ()))
        reach[key] = seen
    return reach


def _targets(value: Any) -> set[str]:
    found = set()
    for _, text in sites(value):
        for part in template(text) or ():
            if isinstance(part, tuple):
                found.add(str(part[0]))
    return found


def _is_static(tree: Mapping[str, Any], factors: Sequence[Factor], section: str) -> bool:
    """Whether the section's references lead to the same values in every variant, so that they are followed once."""
    patches = [patch for factor in factors for level in factor.levels for patch in level.patches]
    if any(_targets(patch.value) for patch in patches):
        return False
    referenced: set[str] = set()
    todo = list(_PARTS.get(section, (section,)))
    while todo:
        new = _targets(tree.get(todo.pop())) - referenced
        referenced |= new
        todo.extend(new)
    return referenced.isdisjoint(str(patch.path[0]) for patch in patches)


def _patched(tree: dict[str, Any], patches: Sequence[Patch]) -> dict[str, Any]:
    resolver = Resolver(tree)
    for patch in patches:
        try:
            tree = assign(tree, patch.path, patch.value, resolver)
        except UnresolvedError:
            raise
        except ValueError as error:
            raise UnresolvedError(patch.path, str(error), "check the key that the level sets") from None
    return tree


def _complete(name: str, tree: Mapping[str, Any]) -> Any:
    """The section as the schema takes it: phases completed from the training defaults, removed entries left out."""
    raw = tree.get(name)
    if name == "phases" and isinstance(raw, dict):
        return {phase: merge(tree.get("training"), value) for phase, value in _without_nulls(raw).items()}
    if name == "evaluation" and isinstance(raw, dict) and isinstance(tasks := raw.get("tasks"), dict):
        return {**raw, "tasks": _without_nulls(tasks)}
    return {} if raw is None and name in {"randomness", "runtime", "cluster"} else raw


def _without_nulls(entries: dict[str, Any]) -> dict[str, Any]:
    """An entry of a mapping of named things (phases, tasks) is removed by setting it to null."""
    return {name: value for name, value in entries.items() if value is not None}


def _reaches(tree: Mapping[str, Any], path: Path) -> bool:
    node: Any = tree
    for segment in path[:-1]:
        node = child(node, segment)
    return isinstance(node, dict) and path[-1] in node


def _keys(section: type[Section]) -> set[str]:
    """The names of all fields of a section and of the sections in it."""
    names = set(section.model_fields)
    for field in section.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            names |= _keys(field.annotation)
    return names


def _fingerprint(value: Any) -> str:
    if isinstance(value, dict):
        return canonical([[name, identity_part(phase)] for name, phase in value.items()])
    return canonical([identity_part(value), locations(value)])
