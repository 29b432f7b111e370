"""The axes of a sweep: each factor has named levels, each level sets one or several keys of the config."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.spec import scalars
from harness.spec.cluster_checks import may_vary
from harness.spec.compose import Composition
from harness.spec.messages import all_keys, complete_key, fields_at, unknown_key_remedy
from harness.spec.names import NAME_PATTERN
from harness.spec.place import Path, Place, dotted, parse_key
from harness.spec.references import Resolver, UnresolvedError
from harness.spec.report import Report, nearest, shown, suggestion

PATCHABLE = ("model", "training", "phases", "data", "evaluation", "randomness")
"""The sections that make a level: ``runtime`` and ``cluster`` cannot change a result, but a level may set what it needs
of them (``cluster.memory_gb``) beside them.
"""

_FACTOR_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,59}")
_LEVEL_NAME = re.compile(NAME_PATTERN)
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


@dataclass(frozen=True)
class Patch:
    """One key that a level sets; references in ``value`` are followed when the level is applied."""

    path: Path
    value: Any
    place: Place
    value_place: Place


@dataclass(frozen=True)
class Level:
    """A value of a factor, known by its name (``36``, ``perceiver``)."""

    name: str
    patches: tuple[Patch, ...]
    place: Place

    @cached_property
    def slug(self) -> str:
        """The name as part of a file name; distinct names have distinct slugs."""
        slug = _UNSAFE.sub("-", self.name).strip("-.")[:60]
        return slug if slug == self.name else f"{slug}-{hashlib.sha256(self.name.encode()).hexdigest()[:6]}".strip("-")


@dataclass(frozen=True)
class Factor:
    """An axis of the ablation."""

    name: str
    levels: tuple[Level, ...]
    place: Place

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each level by its name."""
        return {level.name: position for position, level in enumerate(self.levels)}


@dataclass(frozen=True)
class FactorSet:
    """The factors that could be read, and the names of those that could not (nothing else complains of them)."""

    factors: tuple[Factor, ...]
    broken: frozenset[str] = frozenset()
    overridden: frozenset[str] = frozenset()
    """Factors whose levels an override changed or removed: what the file says of the missing levels does not apply."""

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each factor by its name."""
        return {factor.name: position for position, factor in enumerate(self.factors)}


def read_factors(composition: Composition, resolver: Resolver, report: Report) -> FactorSet:
    """The factors of a composed sweep; what is wrong with them goes to the report."""
    reader = _Reader(composition, resolver, report)
    definitions = reader.resolve(composition.tree.get("factors"), ("factors",))
    if not isinstance(definitions, dict):
        return FactorSet(())  # the schema says what is wrong with it
    factors, broken, overridden = [], set(), set()
    for name, definition in definitions.items():
        place = composition.origins.key(("factors", name))
        if composition.is_overridden(("factors", name)):
            overridden.add(name)
        if definition is None and place.line == 0:
            continue  # removed by an override
        before = len(report)
        factor = reader.factor(name, definition)
        if factor is not None:
            factors.append(factor)
        if factor is None or len(report) > before:
            broken.add(name)
    broken |= _check_overlaps(factors, report)
    return FactorSet(tuple(factors), frozenset(broken), frozenset(overridden))


class _Reader:
    def __init__(self, composition: Composition, resolver: Resolver, report: Report) -> None:
        self.tree = composition.tree
        self.origins = composition.origins
        self.resolver = resolver
        self.report = report

    def resolve(self, value: Any, path: Path) -> Any:
        """The value behind a reference; mappings and lists keep the references inside them."""
        if not isinstance(value, str):
            return value
        return self._resolve_whole(value, path)

    def _resolve_whole(self, value: Any, path: Path) -> Any:
        try:
            return self.resolver.resolve(value, path)
        except UnresolvedError as error:
            self.report.add(error.message, self.origins.value(error.site), error.site, error.remedy)
            return None

    def factor(self, name: str, definition: Any) -> Factor | None:
        path: Path = ("factors", name)
        place = self.origins.key(path)
        before = len(self.report)
        if not _FACTOR_NAME.fullmatch(name):
            self.report.add(
                "a factor's name is a letter and then letters, digits, - or _", place, path, "rename the factor"
            )
        definition = self.resolve(definition, path)
        if not isinstance(definition, dict):
            if len(self.report) == before:
                self._no_levels(name, definition)
            return None
        for key in definition.keys() - {"key", "levels"}:
            here = (*path, key)
            remedy = suggestion(key, ("key", "levels"), "keys of a factor")
            self.report.add("unknown key", self.origins.key(here), here, remedy)
        key = self._key(definition, path) if definition.get("key") is not None else None
        raw = definition.get("levels")
        levels = self._resolve_whole(raw, (*path, "levels")) if isinstance(raw, str | list) else raw
        if raw is not None and levels is None:
            return None
        if not levels:
            self._no_levels(name, levels)
            return None
        if definition.get("key") is not None and key is None:
            return None
        if isinstance(levels, dict):
            read = self._named_levels(levels, key, path)
        elif isinstance(levels, list) and key is not None:
            read = self._listed_levels(levels, key, path)
        else:
            self._misshapen(levels, path)
            return None
        return Factor(name, tuple(read), place) if read else None

    def _no_levels(self, name: str, found: Any) -> None:
        path: Path = ("factors", name, "levels")
        empty = found is None or found in ([], {})
        message = f"the factor {shown(name)} has no levels" if empty else f"expected levels, found {shown(found)}"
        example = "levels: [4, 36] with key: model.connector.num_tokens"
        self.report.add(
            message, self.origins.key(path), path[:2] if found is None else path, f"give it levels, such as {example}"
        )

    def _misshapen(self, levels: Any, path: Path) -> None:
        where = (*path, "levels")
        if not isinstance(levels, list):
            message = f"expected a list or a mapping of levels, found {shown(levels)}"
            remedy = f"write [{shown(levels)}]" if scalars.name(levels) is not None else "write a list"
        else:
            others = [name for name in self.tree.get("factors", {}) if name != path[1]]
            match = nearest(str(path[1]), others)
            message = "a list of levels needs the `key` that they set"
            meant = f" (or did you mean factors.{match}?)" if match else ""
            remedy = f"add `key: model.…` beside `levels`, or name the levels{meant}"
        place = self.origins.key(where) if isinstance(levels, list) else self.origins.value(where)
        self.report.add(message, place, where, remedy)

    def _key(self, definition: dict[str, Any], path: Path) -> tuple[Path, Place, Place] | None:
        where = (*path, "key")
        place = self.origins.value(where)
        text = self.resolve(definition["key"], where)
        if not isinstance(text, str):
            if text is not None:
                self.report.add(
                    f"expected a dotted key, found {shown(text)}", place, where, "such as model.connector.num_tokens"
                )
            return None
        target = self._target(text, place)
        if target is not None and target[0] not in PATCHABLE:
            message = f"{target[0]} cannot change a result, so it cannot be varied"
            remedy = "name the levels; a level may set it beside keys that make its difference"
            self.report.add(message, place, text, remedy)
            return None
        return (target, self.origins.key(where), place) if target is not None else None

    def _target(self, text: str, place: Place) -> Path | None:
        """The path that a dotted key names, if it is a key of the config that may be varied."""
        try:
            path = parse_key(text)
        except ValueError as error:
            self.report.add(str(error), place, text, "write a dotted key, such as model.connector.num_tokens")
            return None
        top = path[0]
        if top in {"runtime", "cluster"} and may_vary(path):
            return path
        if top in {"runtime", "cluster"}:
            message = f"{top} cannot change a result, so it cannot be varied"
            self.report.add(message, place, text, "set it once, outside the factors")
            return None
        if top not in PATCHABLE:
            known = complete_key(dotted(path)) or nearest(text, all_keys())
            remedy = f"did you mean {known}?" if known else f"a level may set keys of {', '.join(PATCHABLE)}"
            self.report.add("unknown key: levels set keys of the config", place, text, remedy)
            return None
        if top == "phases" and len(path) > 2 and path[1] not in (phases := self.tree.get("phases") or {}):
            remedy = suggestion(str(path[1]), phases, "phases")
            self.report.add(f"there is no phase {shown(path[1])}", place, text, remedy)
            return None
        for length in range(1, len(path)):
            known_keys = fields_at(path[:length])
            segment = path[length]
            if known_keys and segment not in known_keys:
                remedy = unknown_key_remedy(path[: length + 1], path[length + 1 :])
                self.report.add("unknown key", place, text, remedy)
                return None
            if not known_keys and isinstance(segment, str) and length > 1 and not _is_open(path[:length]):
                self.report.add(
                    f"{dotted(path[:length])} is a single value", place, text, f"set {dotted(path[:length])} itself"
                )
                return None
        return path

    def _listed_levels(self, values: list[Any], key: tuple[Path, Place, Place], path: Path) -> list[Level]:
        levels: list[Level] = []
        names: set[str] = set()
        for position, value in enumerate(values):
            where = (*path, "levels", position)
            place = self.origins.value(where)
            name = scalars.name(value)
            if name is None:
                message = f"a level that is {shown(value)} needs a name"
                self.report.add(message, place, where, "write levels as a mapping: levels: {name: value}")
            elif not name or not name.isprintable() or len(name) > 200:
                self.report.add(f"{shown(name)} cannot name a level", place, where, "write levels as {name: value}")
            elif name in names:
                self.report.add(f"the level {name} is given twice", place, where, "remove one of the two")
            else:
                names.add(name)
                levels.append(Level(name, (Patch(key[0], value, place, place),), place))
        return levels

    def _named_levels(self, values: dict[str, Any], key: tuple[Path, Place, Place] | None, path: Path) -> list[Level]:
        levels = []
        for name, value in values.items():
            where = (*path, "levels", name)
            place = self.origins.key(where)
            if not _LEVEL_NAME.fullmatch(name):
                message = f"{shown(name)} cannot name a level: use letters, digits and . _ + -"
                self.report.add(message, place, where, "rename the level")
                continue
            if key is not None:
                levels.append(Level(name, (Patch(key[0], value, place, self.origins.value(where)),), place))
                continue
            if value is None and place.line == 0:
                continue  # removed by an override
            patches = self._patches(self.resolve(value, where), where)
            if patches is not None:
                levels.append(Level(name, patches, place))
        return levels

    def _patches(self, values: Any, where: Path) -> tuple[Patch, ...] | None:
        if not isinstance(values, dict):
            message = f"expected the keys that this level sets, found {shown(values)}"
            remedy = "write {model.connector.kind: perceiver}, or {} for a level that changes nothing"
            self.report.add(message, self.origins.value(where), where, remedy)
            return None
        patches: list[Patch] = []
        for key, value in values.items():
            here = (*where, key)
            place = self.origins.key(here)
            target = self._target(key, place)
            if target is None:
                continue
            for other in patches:
                if _overlap(other.path, target):
                    message = f"this level sets {dotted(other.path)} as well, which contradicts it"
                    self.report.add(message, place, key, "keep one of the two")
            patches.append(Patch(target, value, place, self.origins.value(here)))
        return tuple(patches)


def _is_open(path: Path) -> bool:
    return path[:1] == ("phases",) and len(path) == 1


def _overlap(one: Path, other: Path) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _check_overlaps(factors: list[Factor], report: Report) -> set[str]:
    """Two factors that set the same key contradict each other: the later would silently win. Returns their names."""
    contradicting = set()
    owners: dict[Path, tuple[Factor, Place]] = {}
    for factor in factors:
        mine: dict[Path, Place] = {}
        for level in factor.levels:
            for patch in level.patches:
                mine.setdefault(patch.path, patch.place)
        for path, place in mine.items():
            for other_path, (other, other_place) in owners.items():
                if _overlap(path, other_path):
                    where = f" (line {other_place.line})" if other_place.line else ""
                    message = f"the factor {other.name} sets {dotted(other_path)} too{where}: their levels contradict"
                    remedy = "let one factor set the key, or join the two into one factor whose levels set both keys"
                    report.add(message, place, path, remedy)
                    contradicting |= {factor.name, other.name}
                    break
        owners.update({path: (factor, place) for path, place in mine.items()})
    return contradicting
