"""Official JSON files, element by element: VQAv2's annotations are 400 MB of text and several GB as Python objects."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import HarnessError

_CHUNK = 1 << 20
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()

_NUMBER = "0123456789.eE+-"

T = TypeVar("T")


class _Reader:
    """The text of a file from ``position`` on; what was consumed is forgotten."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "rb")  # noqa: SIM115
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._position = 0
        self._consumed = 0
        self._ended = False

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _more(self) -> bool:
        if self._ended:
            return False
        data = self._file.read(max(_CHUNK, len(self._text)))
        self._ended = not data
        try:
            fresh = self._decode.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            raise self.broken(f"is not UTF-8 text ({error.reason})") from None
        self._consumed += self._position
        self._text = self._text[self._position :] + fresh
        self._position = 0
        return True

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            match = _SPACE.match(self._text, self._position)
            assert match is not None  # the pattern matches nothing, too
            self._position = match.end()
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._more():
                return ""

    def take(self, allowed: str) -> str:
        """The next character, which has to be one of ``allowed``."""
        found = self.peek()
        if not found:
            raise self.truncated()
        if found not in allowed:
            expected = " or ".join(repr(character) for character in allowed)
            raise self.broken(
                f"is not JSON: {expected} expected at character {self._consumed + self._position:,}, not {found!r}"
            )
        self._position += 1
        return found

    def value(self) -> Any:
        """The next JSON value, whole."""
        if not self.peek():
            raise self.truncated()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                if self._more():
                    continue
                if error.pos >= len(self._text.rstrip()) or "Unterminated" in error.msg:
                    raise self.truncated() from None
                raise self.broken(f"is not JSON: {error.msg} at character {self._consumed + error.pos:,}") from None
            except RecursionError:
                raise self.broken("is nested too deeply") from None
            # A number may go on in the next chunk: of ``0.5`` only ``0.`` may be here.
            if isinstance(value, int | float) and not self._text[end:].strip(_NUMBER) and self._more():
                continue
            self._position = end
            return value

    def broken(self, what: str) -> HarnessError:
        return HarnessError(f"{self.path} {what}", "copy or download the file again")

    def truncated(self) -> HarnessError:
        return self.broken("ends in the middle: it is truncated")


def read_document(path: Path, array: str, parse: Callable[[int, Any], T]) -> tuple[dict[str, Any], list[T]]:
    """A JSON object whose member ``array`` is a long list: its short members, and ``parse(index, element)`` of each
    element.

    Lists other than ``array`` are skipped, element by element. Raises HarnessError when the file is missing, truncated,
    no JSON object, or has no such list.
    """
    members: dict[str, Any] = {}
    parsed: list[T] | None = None
    try:
        with _Reader(path) as reader:
            for key in _keys(reader):
                if reader.peek() == "[":
                    elements = _elements(reader)
                    if key == array:
                        parsed = [parse(index, element) for index, element in enumerate(elements)]
                    else:
                        for _ in elements:
                            pass
                else:
                    members[key] = reader.value()
            if reader.peek():
                raise reader.broken("goes on after the end of its JSON object")
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error.strerror}", "check the path and its permissions") from error
    if parsed is None:
        raise HarnessError(f"{path} has no list {array!r}", "is it the official file? see docs/data.md")
    return members, parsed


def _keys(reader: _Reader) -> Iterator[str]:
    reader.take("{")
    if reader.peek() == "}":
        reader.take("}")
        return
    while True:
        key = reader.value() if reader.peek() == '"' else reader.take('"')
        reader.take(":")
        yield key
        if reader.take(",}") == "}":
            return


def _elements(reader: _Reader) -> Iterator[Any]:
    reader.take("[")
    if reader.peek() == "]":
        reader.take("]")
        return
    while True:
        yield reader.value()
        if reader.take(",]") == "]":
            return
