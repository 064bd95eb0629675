"""YAML, strictly: what is read is what stands there.

No aliases, anchors, tags or duplicate keys; scalars of the YAML 1.2 core schema, so that `NO` and
`12:30:45` are texts; bounds on bytes, depth and nodes. Every node knows its line and column.
Knows nothing of pipelines.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

import yaml
from yaml import events

from farandole.errors import DefinitionError
from farandole.ids import is_text

BYTES_MAX = 262_144
"""Largest file. A pipeline of 1,000 steps takes about half of it."""

DEPTH_MAX = 32
"""Mappings and lists inside each other."""

NODES_MAX = 20_000
"""Nodes of a file: 1,000 steps with twenty each."""

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class YamlNode:
    """A value with its place; of a mapping also the places of its keys."""

    value: "Scalar | list[YamlNode] | dict[str, YamlNode]"
    mark: Mark
    keys: Mapping[str, Mark] = field(default_factory=dict)

    def plain(self) -> object:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: each.plain() for key, each in self.value.items()}
        return [each.plain() for each in self.value] if isinstance(self.value, list) else self.value


_NULL = re.compile(r"(?:null|Null|NULL|~|)\Z")
_TRUE = re.compile(r"(?:true|True|TRUE)\Z")
_FALSE = re.compile(r"(?:false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]+\Z", re.ASCII)
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", re.ASCII)
_NOT_FINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")


def read_file(path: Path) -> bytes:
    """What `load_strict` is to read; of a file that it refuses for its size no more than shows that.

    Raises:
        DefinitionError: the file is too large.
    """
    with path.open("rb") as file:
        content = file.read(BYTES_MAX + 1)
    if len(content) > BYTES_MAX:
        raise DefinitionError(f"expected at most {BYTES_MAX:,} bytes, but found more", place=str(path))
    return content


def load_strict(content: bytes, file: str) -> YamlNode:
    """The one document of a file.

    Raises:
        DefinitionError: it is no YAML, or uses what is refused; placed at `file:line:column`.
    """
    if len(content) > BYTES_MAX:
        raise DefinitionError(f"expected at most {BYTES_MAX:,} bytes, but found {len(content):,}", place=file)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        raise DefinitionError(
            f"expected UTF-8, but found byte {content[bad.start]:#x} at {bad.start}", place=file
        ) from None
    try:
        return _Reader(text, file).document()
    except yaml.MarkedYAMLError as bad:
        mark = bad.problem_mark or bad.context_mark
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        raise DefinitionError(f"expected YAML, but {bad.problem or bad.context}", place=place) from None
    except yaml.reader.ReaderError as bad:
        line = text.count("\n", 0, bad.position) + 1
        raise DefinitionError(
            f"expected text, but found the character {bad.character!r}", place=f"{file}:{line}"
        ) from None
    except (ValueError, OverflowError) as bad:  # of PyYAML: an escape beyond Unicode, a version of thousands of digits
        raise DefinitionError(
            f"expected YAML, but found an escape or a version that is none: {bad!s:.200}", place=file
        ) from None


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._events: Iterator[events.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._nodes = 0

    def document(self) -> YamlNode:
        """The only document."""
        next(self._events)
        start = next(self._events)
        if isinstance(start, events.StreamEndEvent):
            raise self._problem(Mark(1, 1), "expected a mapping, but the file is empty")
        node = self._node(next(self._events), 1)
        next(self._events)
        after = next(self._events)
        if not isinstance(after, events.StreamEndEvent):
            raise self._problem(_mark(after), "expected one document, but found another one")
        return node

    def _problem(self, mark: Mark, fact: str) -> DefinitionError:
        return DefinitionError(fact, place=f"{self._file}:{mark.line}:{mark.column}")

    def _node(self, event: events.Event, depth: int) -> YamlNode:
        mark = _mark(event)
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise self._problem(mark, f"expected at most {NODES_MAX:,} values")
        if depth > DEPTH_MAX:
            raise self._problem(mark, f"expected at most {DEPTH_MAX} levels")
        self._refuse_sharing(event, mark)
        if isinstance(event, events.ScalarEvent):
            return YamlNode(self._scalar(event, mark), mark)
        if isinstance(event, events.SequenceStartEvent):
            return YamlNode(self._list(depth), mark)
        keys: dict[str, Mark] = {}
        return YamlNode(self._mapping(depth, keys), mark, keys)

    def _refuse_sharing(self, event: events.Event, mark: Mark) -> None:
        if isinstance(event, events.AliasEvent):
            raise self._problem(mark, f"expected no alias, but found *{event.anchor}")
        if isinstance(event, events.NodeEvent) and event.anchor is not None:
            raise self._problem(mark, f"expected no anchor, but found &{event.anchor}")
        if getattr(event, "tag", None) is not None:
            raise self._problem(mark, f"expected no tag, but found {getattr(event, 'tag', '')}")

    def _list(self, depth: int) -> list[YamlNode]:
        found: list[YamlNode] = []
        while not isinstance(event := next(self._events), events.SequenceEndEvent):
            found.append(self._node(event, depth + 1))
        return found

    def _mapping(self, depth: int, keys: dict[str, Mark]) -> dict[str, YamlNode]:
        found: dict[str, YamlNode] = {}
        while not isinstance(event := next(self._events), events.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key.value, str):
                raise self._problem(key.mark, f"expected a text as key, but found {key.plain()!r}")
            if key.value in found:
                before = keys[key.value].line
                raise self._problem(key.mark, f"expected each key once, but found {key.value!r} again (line {before})")
            keys[key.value] = key.mark
            found[key.value] = self._node(next(self._events), depth + 1)
        return found

    def _scalar(self, event: events.ScalarEvent, mark: Mark) -> Scalar:
        text: str = event.value
        if not is_text(text):
            raise self._problem(mark, f"expected a text that UTF-8 can hold, but found {text!r:.80}")
        if event.style is not None:
            return text
        if _NULL.match(text):
            return None
        if _TRUE.match(text) or _FALSE.match(text):
            return bool(_TRUE.match(text))
        if _INT.match(text) or _OCTAL.match(text) or _HEX.match(text):
            return self._int(text, mark)
        if _FLOAT.match(text) and isfinite(number := float(text)):
            return number
        if _FLOAT.match(text) or _NOT_FINITE.match(text):
            raise self._problem(mark, f"expected a finite number, but found {text:.40}")
        return text

    def _int(self, text: str, mark: Mark) -> int:
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        value = int(text[2:] if base != 10 else text, base) if len(text) <= 64 else 2**63
        if not -(2**63) <= value < 2**63:
            raise self._problem(mark, "expected an integer of 64 bits (quote it if it is a text)")
        return value


def _mark(event: events.Event) -> Mark:
    start = event.start_mark
    return Mark(start.line + 1, start.column + 1) if start is not None else Mark(1, 1)
