"""Reading YAML that may come from strangers into plain values, with the place of every key and value.

Built on PyYAML's parser events, not on its constructors: nothing but mappings with text keys, lists and scalars can
come out, whatever the file says. The rules are YAML 1.2's (``no`` is a word, ``1e-3`` a number). Refused, each with
its place: tags, duplicate keys, merge keys, undefined aliases and reference cycles, several documents in one file,
control characters, and anything larger, deeper or wider than a spec can sensibly be; aliases count as what they
expand to.
"""

from __future__ import annotations

import copy
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

import yaml

from harness.errors import Problem, SpecError
from harness.spec import scalars
from harness.spec.place import Mark, Path, Place, dotted, nodes
from harness.spec.report import Report, nearest, shown, shown_key

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_NODES = 100_000

_LOADER: Any = getattr(
    yaml, "CBaseLoader", yaml.BaseLoader
)  # libyaml is some ten times faster; the events are the same
_DIRECTION_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass
class Document:
    """One parsed file or override: its plain value and the marks of every path in it."""

    value: Any
    marks: dict[Path, Mark] = field(default_factory=dict)
    top: Place = field(default_factory=lambda: Place(""))


def load_file(path: str | os.PathLike[str], name: str | None = None) -> Document:
    """The mapping in a YAML file; :class:`SpecError` with every problem found if it cannot be read safely."""
    name = os.fspath(path) if name is None else name
    document = parse(_read(FilePath(path), name), name)
    if document.value is None:
        raise _refuse("the file is empty", name, "write at least `recipe`, `scale` and `factors`")
    if not isinstance(document.value, dict):
        message = f"expected a mapping of keys to values, found {shown(document.value)}"
        raise SpecError([Problem(message, name, document.top.line, document.top.column, remedy="start with `name: …`")])
    return document


def parse(text: str, name: str, place: Place | None = None) -> Document:
    """The value of YAML text; ``place``, if given, stands for every position in it (an override has no lines)."""
    return _Builder(name, place).build(text)


def _refuse(message: str, name: str, remedy: str) -> SpecError:
    return SpecError([Problem(message, shown_key(name), remedy=remedy)])


def _read(path: FilePath, name: str) -> str:
    try:
        # Without O_NONBLOCK opening a named pipe would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (FileNotFoundError, NotADirectoryError):
        raise _refuse("there is no such file", name, _neighbours(path)) from None
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise _refuse(f"the file cannot be opened ({reason})", name, "check the path and its permissions") from None
    except ValueError:
        raise _refuse("this is not a file name", name, "give the path of a YAML file") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise _refuse("this is a directory, not a file", name, _neighbours(path / "x"))
        if not stat.S_ISREG(mode):
            raise _refuse("this is not a regular file", name, "give the path of a YAML file")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise _refuse(f"the file cannot be read ({reason})", name, "check the disk it is on") from None
    finally:
        os.close(descriptor)
    if len(data) > MAX_BYTES:
        raise _refuse(
            f"the file is larger than {MAX_BYTES:,} bytes", name, "a spec is a page or two: is this the right file?"
        )
    return _decode(data, name)


def _neighbours(path: FilePath) -> str:
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix in {".yaml", ".yml"})
    except OSError:
        return (
            f"the folder {shown_key(str(path.parent))} does not exist either"
            if not path.parent.exists()
            else "check the path"
        )
    match = nearest(path.name, names)
    if match is not None:
        return f"did you mean {path.parent / match}?"
    return f"YAML files in that folder: {', '.join(names[:8])}" if names else "there is no YAML file in that folder"


def _decode(data: bytes, name: str) -> str:
    remedy = "save it as UTF-8 text"
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        message = f"byte 0x{data[error.start]:02x} is not UTF-8: the file is binary or in another encoding"
        raise SpecError([Problem(message, name, line, column, remedy=remedy)]) from None
    for line, content in enumerate(text.split("\n"), 1):
        for column, character in enumerate(content.removesuffix("\r"), 1):
            if _is_control(character) and character != "\x85":
                message = f"control character U+{ord(character):04X}: the file is binary or damaged"
                raise SpecError([Problem(message, name, line, column, remedy=remedy)])
    return text


def _is_control(character: str) -> bool:
    code = ord(character)
    if 0x20 <= code < 0x7F:
        return False
    return (
        (code < 0x20 and character not in "\t\n\r")
        or 0x7F <= code < 0xA0
        or 0xD800 <= code < 0xE000
        or code & 0xFFFE == 0xFFFE
        or character in _DIRECTION_CONTROLS
    )


@dataclass
class _Anchor:
    value: Any = None
    nodes: int = 0
    is_open: bool = True


class _Builder:
    """Turns the events of one document into plain values; recursion is bounded by :data:`MAX_DEPTH`."""

    def __init__(self, name: str, place: Place | None) -> None:
        self.name = name
        self.place = place
        self.report = Report()
        self.marks: dict[Path, Mark] = {}
        self.anchors: dict[str, _Anchor] = {}
        self.nodes = 0
        self.events: Iterator[Any] = iter(())

    def build(self, text: str) -> Document:
        top = self.place or Place(self.name, 1, 1)
        value = None
        try:
            self.events = iter(yaml.parse(text, Loader=_LOADER))
            documents = 0
            for event in self.events:
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        self._fatal("a second document starts here", event.start_mark, (), "keep one document a file")
                    first = next(self.events)
                    top = self._at(first.start_mark)
                    value = self._node(first, (), 0)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = " ".join(part for part in (error.problem, error.context) if part) or "this is not YAML"
            place = self._at(mark) if mark is not None else top
            self.report.add(f"not valid YAML: {said}", place, remedy="check quotes, brackets, colons and indentation")
        except yaml.YAMLError as error:
            position = getattr(error, "position", 0) or 0
            line = text.count("\n", 0, position) + 1
            column = position - text.rfind("\n", 0, position)
            place = self.place or Place(self.name, line, column)
            self.report.add(
                f"not valid YAML: {getattr(error, 'reason', 'unreadable')}", place, remedy="save it as UTF-8 text"
            )
        except UnicodeError:
            self.report.add("this is not text that can be written as UTF-8", top, remedy="remove the stray surrogates")
        self.report.raise_if_any()
        return Document(value, self.marks, top)

    def _at(self, mark: Any) -> Place:
        return self.place or Place(self.name, mark.line + 1, mark.column + 1)

    def _fatal(self, message: str, mark: Any, path: Path, remedy: str) -> None:
        self.report.add(message, self._at(mark), path, remedy)
        self.report.raise_if_any()

    def _count(self, nodes: int, mark: Any, path: Path) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            message = f"more than {MAX_NODES:,} values (aliases count as what they expand to)"
            self._fatal(message, mark, path, "a spec is a page or two: is this the right file?")

    def _node(self, event: Any, path: Path, depth: int) -> Any:
        if depth > MAX_DEPTH:
            self._fatal(f"nested deeper than {MAX_DEPTH} levels", event.start_mark, (), "flatten it")
        self._count(1, event.start_mark, path)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        if event.tag:
            message = f"the tag {shown_key(event.tag)} is not allowed: a spec holds plain values only"
            self.report.add(
                message, self._at(event.start_mark), path, "remove the tag; quote a value that is meant as text"
            )
        anchor = _Anchor()
        before = self.nodes
        if event.anchor:
            self.anchors[event.anchor] = anchor
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._list(path, depth)
        else:
            value = self._mapping(path, depth)
        anchor.value, anchor.nodes, anchor.is_open = value, self.nodes - before + 1, False
        return value

    def _alias(self, event: Any, path: Path) -> Any:
        anchor = self.anchors.get(event.anchor)
        if anchor is None:
            message = f"the alias *{shown_key(event.anchor)} has no anchor before it"
            remedy = f"quote it, if it is meant as text: '*{shown_key(event.anchor)}'"
            self.report.add(message, self._at(event.start_mark), path, remedy)
            return None
        if anchor.is_open:
            message = f"reference cycle: the alias *{shown_key(event.anchor)} contains itself"
            self._fatal(message, event.start_mark, path, "write the value out")
        self._count(anchor.nodes, event.start_mark, path)
        place = self._at(event.start_mark)
        for here, value in nodes(anchor.value, path):
            self.marks[here] = Mark(place, place, is_mapping=isinstance(value, dict))
        return copy.deepcopy(anchor.value)

    def _scalar(self, event: Any, path: Path) -> Any:
        text: str = event.value
        self._check_text(text, event.start_mark, path)
        if event.style in ("'", '"', "|", ">") or not event.implicit[0]:
            return text
        try:
            return scalars.plain(text)
        except scalars.UnclearError as error:
            self.report.add(error.message, self._at(event.start_mark), path, error.remedy)
            return None

    def _check_text(self, text: str, mark: Any, path: Path) -> None:
        bad = next((c for c in text if _is_control(c)), None) if not (text.isascii() and text.isprintable()) else None
        if bad is not None:
            self.report.add(f"control character U+{ord(bad):04X} in a text", self._at(mark), path, "remove it")

    def _list(self, path: Path, depth: int) -> list[Any]:
        items: list[Any] = []
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            here = (*path, len(items))
            place = self._at(event.start_mark)
            items.append(self._node(event, here, depth + 1))
            self.marks[here] = Mark(place, place, is_mapping=isinstance(items[-1], dict))
        return items

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, path, mapping)
            value = next(self.events)
            here = (*path, key)
            is_new = key not in mapping
            if is_new:
                self.marks[here] = Mark(self._at(event.start_mark), self._at(value.start_mark))
            parsed = self._node(value, here, depth + 1)
            if is_new:
                mapping[key] = parsed
                if isinstance(parsed, dict):
                    self.marks[here] = replace(self.marks[here], is_mapping=True)
        return mapping

    def _key(self, event: Any, path: Path, mapping: dict[str, Any]) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._fatal(
                "a key has to be a word, not a list, a mapping or an alias", event.start_mark, path, "name the key"
            )
        self._count(1, event.start_mark, path)
        key: str = event.value
        here = (*path, key)
        place = self._at(event.start_mark)
        self._check_text(key, event.start_mark, here)
        if event.tag:
            self.report.add(f"the tag {shown_key(event.tag)} is not allowed", place, here, "remove the tag")
        if not key:
            self.report.add("a key is empty", place, path, "write a key before the colon")
        if key == "<<":
            self.report.add(
                "merge keys (<<) are not read", place, path, "write the keys out, or refer to them as ${a.b}"
            )
        if key in mapping:
            first = self.marks[here].key
            where = f" (first on line {first.line})" if first.line else ""
            self.report.add(f"the key {dotted(here)!r} is given twice{where}", place, here, "keep one of the two")
        return key
