"""STYLE section 2: modules of at most 400 lines, functions of at most 50, lines of at most 120.

A ratchet: what is too large today is listed with its size, may shrink, never grow, and
leaves the list when it fits.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
LINE_CHARACTERS_MAX = 120

# "path" or "path::function": its lines. May only shrink.
EXCEPTIONS: Mapping[str, int] = {}


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Name and length of each function, methods and nested ones included, decorators left out."""
    for node in ast.iter_child_nodes(tree):
        name = prefix
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}{node.name}"
            if not isinstance(node, ast.ClassDef):
                yield name, (node.end_lineno or node.lineno) - node.lineno + 1
            name += "."
        yield from functions(node, name)


@pytest.fixture(scope="session")
def sizes(
    repository: Path, framework: Mapping[Path, ast.Module], agents: Mapping[Path, ast.Module]
) -> Mapping[str, tuple[int, int]]:
    """Size and limit of everything that has one."""
    found: dict[str, tuple[int, int]] = {}
    for path, tree in {**framework, **agents}.items():
        found[str(path)] = (len((repository / path).read_text().splitlines()), MODULE_LINES_MAX)
        found.update({f"{path}::{name}": (lines, FUNCTION_LINES_MAX) for name, lines in functions(tree)})
    return found


def test_modules_and_functions_stay_within_their_limits(sizes: Mapping[str, tuple[int, int]]) -> None:
    too_large = {
        name: f"{lines} lines, at most {EXCEPTIONS.get(name, limit)}"
        for name, (lines, limit) in sizes.items()
        if lines > EXCEPTIONS.get(name, limit)
    }

    assert not too_large, "cut these by concept"


def test_exceptions_that_shrank_are_lowered_or_removed(sizes: Mapping[str, tuple[int, int]]) -> None:
    loose = {
        name: f"is listed with {listed}, has {sizes.get(name, (0, 0))[0]}"
        for name, listed in EXCEPTIONS.items()
        if name not in sizes or sizes[name][0] < listed or sizes[name][0] <= sizes[name][1]
    }

    assert not loose, "the ratchet of EXCEPTIONS has to follow"


def test_lines_are_no_longer_than_120_characters(
    repository: Path, framework: Mapping[Path, ast.Module], agents: Mapping[Path, ast.Module]
) -> None:
    too_long = [
        f"{path}:{number}"
        for path in [*framework, *agents]
        for number, line in enumerate((repository / path).read_text().splitlines(), start=1)
        if len(line) > LINE_CHARACTERS_MAX
    ]

    assert not too_long
