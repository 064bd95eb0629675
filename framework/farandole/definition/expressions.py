"""Expressions: the Common Expression Language over the values of a run.

A plain path (`validate.order`) is looked up; anything else is compiled by the package
`common-expression-language`, which is imported only then: importing it takes 0.2 to 0.5 s.
Text is read by our own parser first, within bounds. Knows nothing of steps or runs.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Protocol

from farandole.definition.cel_copies import COPIED_MAX, copied
from farandole.definition.cel_macros import Outcomes, going_on, may_be_decided
from farandole.definition.cel_nodes import Node, free_paths, null_checks, renamed
from farandole.definition.cel_package import Ours, adapted
from farandole.definition.cel_parser import CHARACTERS_MAX, parse
from farandole.definition.cel_text import written
from farandole.definition.cel_tokens import KEYWORDS, RESERVED_WORDS, SyntaxProblem
from farandole.definition.cel_work import entries_max, excess, has_nan
from farandole.errors import RecordError

_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*\Z", re.ASCII)
_RESULTS = (bool, int, float, str, datetime, list, dict, type(None), bytes)
_SHOWN_MAX = 200


class ExpressionError(RecordError):
    """An expression cannot be read or evaluated; `expression` is its text."""

    def __init__(self, message: str, *, expression: str = "") -> None:
        super().__init__(message, reason="expression")
        self.expression = expression


class _Program(Protocol):
    def execute(self, context: dict[str, object]) -> object: ...


_Tree = dict[str, "_Tree | None"]
"""Which fields of a value are read; None: the whole value."""


class Expression:
    """One expression, read once and used by many threads."""

    def __init__(self, text: str) -> None:
        """Read the text.

        Raises:
            ExpressionError: it is no expression, or exceeds a bound.
        """
        self.text = text
        self._path = _plain_path(text)
        paths = [self._path] if self._path else list(free_paths(self.node))
        self.roots: frozenset[str] = frozenset(path[0] for path in paths)
        self.paths: frozenset[tuple[str, ...]] = frozenset(path[:2] for path in paths)
        self._read = _tree(paths)

    @property
    def is_path(self) -> bool:
        """Whether it only names a value, so that any type may pass."""
        return self._path is not None

    @cached_property
    def node(self) -> Node:
        """The tree of the expression."""
        try:
            return parse(self.text)
        except SyntaxProblem as bad:
            shown = _shown(self.text)
            raise ExpressionError(
                f"expression {shown}, character {bad.at + 1}: {bad.message}", expression=self.text
            ) from None

    @cached_property
    def asked_for_null(self) -> frozenset[str]:
        """The roots that it compares with null: it has an answer for a step that was skipped."""
        return frozenset() if self._path else self.roots & {name for name, _ in null_checks(self.node)}

    @cached_property
    def canonical(self) -> str:
        """The same expression in its one canonical spelling."""
        return self.text if self._path else written(self.node)

    def renamed(self, old: str, new: str) -> str:
        """Its canonical text with the free name `old` called `new`."""
        return written(renamed(self.node, old, new)) if old in self.roots else self.canonical

    def evaluate(self, env: Mapping[str, object]) -> object:
        """Its value, given those of its roots.

        Raises:
            ExpressionError: a value is missing, of a wrong type or too large to go through, or the operation has no
                result.
        """
        if self._path is not None:
            return self._look_up(self._path, env)
        for root in self.roots:
            if root not in env:
                raise self._error(f"{root!r} has no value")
        read = {root: _pruned(env[root], self._read[root]) for root in self.roots}
        self._check_work(read)
        found = self._executed(read)
        if not isinstance(found, _RESULTS):
            raise self._error(f"it gave a {type(found).__name__}, which is no value of ours")
        try:
            return _ordered(found)
        except OverflowError as bad:
            raise self._error(str(bad)) from None

    def check_compiles(self) -> None:
        """Have the package compile it, which happens at the first evaluation otherwise.

        Raises:
            ExpressionError: the package does not accept it.
        """
        if self._path is None:
            _ = self._program

    def _executed(self, read: dict[str, object]) -> object:
        ours = Ours()
        try:
            found = self._program.execute({**ours.functions, **read} if self._is_adapted else read)
        except Exception as bad:
            if may_be_decided(self.node) and not ours.failed:
                with suppress(Exception):
                    found = self._going_on.execute({**ours.functions, **Outcomes().functions, **read})
                    if not ours.failed:
                        return found
            if not ours.failed and "No such overload" in str(bad) and any(map(has_nan, read.values())):
                raise self._error("NaN cannot be compared with < <= > >= (`x == x` says whether it is one)") from bad
            raise self._error(ours.failed or f"{type(bad).__name__}: {bad}") from bad
        if ours.failed:
            raise self._error(ours.failed)
        return found

    @cached_property
    def _adapted(self) -> Node:
        return adapted(self.node)

    @cached_property
    def _is_adapted(self) -> bool:
        return self._adapted != self.node

    @cached_property
    def _program(self) -> _Program:
        return self._compiled(written(self._adapted) if self._is_adapted else self.text)

    @cached_property
    def _going_on(self) -> _Program:
        return self._compiled(written(going_on(self._adapted)))

    def _compiled(self, text: str) -> _Program:
        import cel

        try:
            return cel.compile(text)
        except Exception as bad:
            raise self._error(f"{type(bad).__name__}: {bad}") from bad

    def _check_work(self, read: Mapping[str, object]) -> None:
        most = self._entries_max
        if most is None:
            return
        for value in read.values():
            if found := excess(value, most):
                raise self._error(f"expected lists of at most {most:,} entries, but found one of {found:,}")
        if (found := copied(self.node, read)) > COPIED_MAX:
            raise self._error(
                f"expected at most {COPIED_MAX:,} values to be copied on the way (what is compared counts too), "
                f"but it may be {found:,}: "
                "the lists are too long for what their entries hold, or for the texts that are read with each"
            )

    @cached_property
    def _entries_max(self) -> int | None:
        return entries_max(self.node)

    def _look_up(self, path: tuple[str, ...], env: Mapping[str, object]) -> object:
        value: object = env
        for n, part in enumerate(path):
            if not isinstance(value, Mapping):
                raise self._error(f"expected a record at {'.'.join(path[:n])!r}, but found {type(value).__name__}")
            if part not in value:
                raise self._error(f"{'.'.join(path[: n + 1])!r} has no value")
            value = value[part]
        return value

    def _error(self, fact: str) -> ExpressionError:
        return ExpressionError(f"expression {_shown(self.text)}: {fact}", expression=self.text)


@lru_cache(maxsize=8192)
def compile_expression(text: str) -> Expression:
    """The expression of that text, read once.

    Raises:
        ExpressionError: it is no expression, or exceeds a bound.
    """
    return Expression(text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…")


def _plain_path(text: str) -> tuple[str, ...] | None:
    if len(text) > CHARACTERS_MAX or not _PATH.match(text):
        return None
    parts = tuple(text.split("."))
    if parts[0] in RESERVED_WORDS or not KEYWORDS.isdisjoint(parts):
        return None
    return parts


def _tree(paths: list[tuple[str, ...]]) -> _Tree:
    """What the paths read, so that no more of a large value is handed to the package."""
    tree: _Tree = {}
    for path in sorted(paths, key=len):
        below = tree
        for part in path[:-1]:
            inner = below.setdefault(part, {})
            if inner is None:
                break
            below = inner
        else:
            below[path[-1]] = None
    return tree


def _pruned(value: object, tree: _Tree | None) -> object:
    if tree is None or not isinstance(value, Mapping):
        return value
    return {part: _pruned(value[part], below) for part, below in tree.items() if part in value}


def _ordered(value: object) -> object:
    """The package gives maps in an order of its own, another one in each process; ours must not differ.

    And instants with the offset that their text had; ours are UTC.
    """
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value)}
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo is not None else value
    return [_ordered(each) for each in value] if isinstance(value, list) else value
