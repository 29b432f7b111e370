"""One tree out of recipe, scale, a cluster's profile, file and overrides, with the place of every value in it.

The files are merged by OmegaConf once; overrides, and later the levels of factors, are patches of plain values,
because OmegaConf takes tens of milliseconds a merge. OmegaConf never sees anything that it could resolve, import or
read: the files went through :mod:`harness.spec.document`, and every ``${`` in them was checked to be a plain
reference.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path as FilePath
from typing import Any, cast

from harness.errors import SpecError
from harness.spec.document import Document, load_file
from harness.spec.messages import fields_at
from harness.spec.overrides import Override, parse_overrides
from harness.spec.patches import assign
from harness.spec.place import Mark, Origins, Path, Place, child, fit, leaves, nodes
from harness.spec.profiles import load_profile
from harness.spec.references import Resolver, UnresolvedError, template
from harness.spec.report import Report, nearest, shown, shown_key, suggestion

FILE_LAYER = 3
"""Recipe, scale and profile are the weakest layers of every composition, in this order; what stands in the file, or in
an override after it, was set by the user for this sweep.
"""

MAX_PATH = 20

PACKAGED = FilePath(__file__).parent
"""Where the recipes and scales lie."""

_FOLDERS = {"recipe": "recipes", "scale": "scales"}


@dataclass(frozen=True)
class Composition:
    """The merged tree with its references unresolved, and where everything in it came from."""

    tree: dict[str, Any]
    origins: Origins

    def is_set_by_user(self, path: Path) -> bool:
        """Whether the file or an override wrote exactly this key (rather than the recipe or the scale)."""
        return self.origins.exact(path, skip=FILE_LAYER) is not None

    def is_overridden(self, path: Path) -> bool:
        """Whether an override wrote this key, or one below it."""
        overrides = self.origins.layers[FILE_LAYER + 1 :]
        return any(written[: len(path)] == path for layer in overrides for written in layer)

    def overridden_keys(self) -> Iterator[tuple[Path, Place]]:
        """Every key that an override wrote, mappings by their keys and lists as one, with the override's place."""
        for layer in self.origins.layers[FILE_LAYER + 1 :]:
            whole = {path for path, mark in layer.items() if not mark.is_mapping}
            for path in whole:
                if not any(path[:length] in whole for length in range(1, len(path))):
                    yield path, layer[path].value


def available(kind: str) -> list[str]:
    """The names of the recipes or scales (``kind`` is ``recipe`` or ``scale``) that ship with the package."""
    return sorted(path.stem for path in (PACKAGED / _FOLDERS[kind]).glob("*.yaml"))


def compose(path: str | os.PathLike[str], overrides: Sequence[str] = (), profile: str = "") -> Composition:
    """Read and merge everything that a sweep is made of; :class:`~harness.errors.SpecError` with all that is wrong.

    ``profile`` is the name or the file of a cluster's profile.
    """
    report = Report()
    parsed = parse_overrides(overrides, report)
    read = []
    for reader in (lambda: load_profile(profile) if profile else Document({}), lambda: load_file(path)):
        try:
            read.append(reader())
        except SpecError as error:
            report.absorb(error)
    if len(read) < 2:
        report.raise_if_any()
    return _compose(read[1], parsed, report, read[0])


def compose_values(values: dict[str, Any], name: str, overrides: Sequence[str] = ()) -> Composition:
    """As :func:`compose`, for a sweep given as plain values instead of a file."""
    report = Report()
    place = Place(name)
    marks = {here: Mark(place, place, isinstance(value, dict)) for here, value in nodes(values)}
    return _compose(Document(values, marks, place), parse_overrides(overrides, report), report)


def _compose(
    document: Document, overrides: list[Override], report: Report, profile: Document | None = None
) -> Composition:
    layers = [_packaged(kind, document, overrides, report) for kind in _FOLDERS]
    layers += [profile or Document({}), document]
    for layer in layers:
        _check_texts(layer, report)
    for override in overrides:
        _check_texts(Document(override.value, {}, override.place), report, override.path)
    for above in range(1, len(layers)):
        for below in range(above):
            _check_kinds(layers[below], layers[above], report)
    report.raise_if_any()

    tree = _merged(layers, report)
    origins = Origins([layer.marks for layer in layers], document.top)
    for override in overrides:
        tree = _apply(tree, override, origins, report)
    report.raise_if_any()
    return Composition(tree, origins)


def _packaged(kind: str, document: Document, overrides: list[Override], report: Report) -> Document:
    """The recipe or scale that the file or an override names."""
    value, place = document.value.get(kind), document.top
    if (kind,) in document.marks:
        place = document.marks[(kind,)].value
    for override in overrides:
        if override.path == (kind,):
            value, place = override.value, override.place
    names = available(kind)
    if value is None:
        written = {key: document.marks[key,].key for key in document.value if (key,) in document.marks}
        written |= {str(override.path[0]): override.place for override in overrides}
        known = fields_at(())
        meant = nearest(kind, [word for word in written if word not in known])
        if meant is not None:
            report.add(f"unknown key, and {kind} is missing", written[meant], meant, f"did you mean {kind}?")
        else:
            report.add(f"missing: which {kind} this is", place, kind, f"add `{kind}: NAME`, one of {', '.join(names)}")
    elif not isinstance(value, str):
        report.add(f"expected the name of a {kind}, found {shown(value)}", place, kind, f"one of {', '.join(names)}")
    elif value not in names:
        report.add(f"there is no {kind} {shown(value)}", place, kind, suggestion(value, names, f"{kind}s"))
    else:
        return _load_packaged(PACKAGED, f"{_FOLDERS[kind]}/{value}.yaml")
    return Document({})


@cache
def _load_packaged(folder: FilePath, name: str) -> Document:
    document = load_file(folder / name, name)
    value = {key: item for key, item in document.value.items() if key != "description"}
    return Document(value, document.marks, document.top)


def _check_texts(document: Document, report: Report, prefix: Path = ()) -> None:
    origins = Origins([document.marks], document.top)
    for path, text in leaves(document.value):
        if not isinstance(text, str):
            continue
        where = (origins.value(path), (*prefix, *path))
        if text == "???":
            report.add("??? stands for a value that is still missing", *where, "write the value")
        try:
            template(text)
        except ValueError as error:
            report.add(str(error), *where, "write the value itself, refer to another key as ${a.b}, or pass key=value")


def _check_kinds(below: Document, above: Document, report: Report) -> None:
    """Report mappings that meet lists: they have no merge."""

    def compare(low: Any, high: Any, path: Path) -> None:
        if isinstance(low, dict) and isinstance(high, dict):
            for key in low.keys() & high.keys():
                compare(low[key], high[key], (*path, key))
        elif {type(low), type(high)} == {dict, list}:
            place = Origins([above.marks], above.top).value(path)
            message = f"expected {shown(low)} as in {below.top.file}, found {shown(high)}"
            report.add(message, place, path, "write it in the same form")

    compare(below.value, above.value, ())


def _merged(layers: list[Document], report: Report) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    counts = Counter(key for layer in layers for key in layer.value)
    # What one layer alone has (factors, a list of thousands of variants) needs no merge, and OmegaConf is slow on it.
    alone = {key: value for layer in layers for key, value in layer.value.items() if counts[key] == 1}
    shared = [{key: value for key, value in layer.value.items() if counts[key] > 1} for layer in layers]
    try:
        merged = OmegaConf.merge(*map(OmegaConf.create, shared))
        container = OmegaConf.to_container(merged, resolve=False)
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines() or ["no reason given"]
        message = f"cannot be merged over the recipe and the scale: {shown_key(reason[0])}"
        report.add(message, layers[-1].top, remedy="write values in the form that the recipe and the scale use")
        report.raise_if_any()
        raise
    return alone | (cast(dict[str, Any], container) or {})


def _apply(tree: dict[str, Any], override: Override, origins: Origins, report: Report) -> dict[str, Any]:
    path = fit(tree, override.path)
    if len(path) > MAX_PATH:
        report.add(f"a key of more than {MAX_PATH} parts", override.place, remedy="check the key")
        return tree
    if not _entry_exists(tree, path, override, report):
        return tree
    try:
        patched = assign(tree, path, override.value, Resolver(tree))
    except UnresolvedError as error:
        report.add(error.message, origins.value(error.site), error.site, error.remedy)
        return tree
    except ValueError as error:
        report.add(str(error), override.place, path, "check the key")
        return tree
    # What stood nowhere before, `trainign` of `trainign.steps=5` say, was written by the override too.
    ancestors = [path[:length] for length in range(1, len(path))]
    new: dict[Path, Any] = {here: {} for here in ancestors if reduce(child, here, cast(Any, tree)) is None}
    written = new | {path: override.value} | dict(nodes(override.value, path))
    place = override.place
    origins.layers.append({here: Mark(place, place, isinstance(value, dict)) for here, value in written.items()})
    return dict(patched)


def _entry_exists(tree: dict[str, Any], path: Path, override: Override, report: Report) -> bool:
    """Refuse to reach into an entry that does not exist: ``phases.mian.steps=5`` would silently add a phase."""
    for mapping, noun in ((("phases",), "phase"), (("factors",), "factor"), (("sizes",), "size")):
        depth = len(mapping)
        reaches_in = len(path) > depth + (0 if noun == "size" else 1)
        entries = tree.get(noun + "s")
        if path[:depth] != mapping or not reaches_in or not isinstance(entries, dict) or path[depth] in entries:
            continue
        name = str(path[depth])
        report.add(f"there is no {noun} {shown(name)}", override.place, path, suggestion(name, entries, f"{noun}s"))
        return False
    return True
