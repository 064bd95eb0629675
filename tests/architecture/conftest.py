"""The sources that the architecture tests look at, parsed once."""

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest


def _parsed(root: Path, *folders: str) -> Mapping[Path, ast.Module]:
    paths = sorted(path for folder in folders for path in (root / folder).rglob("*.py"))
    return {path.relative_to(root): ast.parse(path.read_text(), filename=str(path)) for path in paths}


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working copy."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def framework(repository: Path) -> Mapping[Path, ast.Module]:
    """Every module of the package, by its path from the root."""
    return _parsed(repository, "framework")


@pytest.fixture(scope="session")
def agents(repository: Path) -> Mapping[Path, ast.Module]:
    """Every module of the reference pipelines."""
    return _parsed(repository, "agents")


@pytest.fixture(scope="session")
def tests(repository: Path) -> Mapping[Path, ast.Module]:
    """Every module of the tests."""
    return _parsed(repository, "tests")
