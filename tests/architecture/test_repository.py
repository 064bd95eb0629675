"""What must not stand in the repository: places of one machine, addresses of registries, packages that are none."""

import ast
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

# A user's or a machine's own folders. Not a part of a longer path: `framework/`, `docs/root/`.
MACHINE_PATH = re.compile(r"(?<![\w./~*$}-])/(?:home|Users|root|work)/")

# Written in parts, so that this file does not find itself.
REGISTRIES = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in [
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("repo", "maven", "apache", "org"),
            ("repo1", "maven", "org"),
            ("registry", "npmjs", "org"),
            ("crates", "io"),
            ("proxy", "golang", "org"),
            ("deb", "debian", "org"),
            ("registry-1", "docker", "io"),
            ("index", "docker", "io"),
            ("ghcr", "io"),
            ("quay", "io"),
        ]
    )
)


@pytest.fixture(scope="session")
def texts(repository: Path) -> Mapping[Path, str]:
    """Every text file that is tracked, or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found: dict[Path, str] = {}
    for name in filter(None, listed.split("\0")):
        path = repository / name
        if not path.is_file():
            continue
        content = path.read_bytes()
        if b"\0" not in content:
            found[Path(name)] = content.decode(errors="replace")
    return found


def places(texts: Mapping[Path, str], pattern: re.Pattern[str]) -> list[str]:
    """`file:line` of each line that the pattern finds something in."""
    return [
        f"{path}:{number}: {line.strip()[:80]}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_repository_names_no_path_of_one_machine(texts: Mapping[Path, str]) -> None:
    found = places({path: text for path, text in texts.items() if path != _this(texts)}, MACHINE_PATH)

    assert not found


def test_repository_names_no_registry(texts: Mapping[Path, str]) -> None:
    found = places(texts, REGISTRIES)

    assert not found


def _this(texts: Mapping[Path, str]) -> Path:
    return next(path for path in texts if path.name == Path(__file__).name)


def imports_agents(tree: ast.Module) -> bool:
    """Whether a module imports a folder of agents as if it were a package."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) if any(alias.name.split(".")[0] == "agents" for alias in names):
                return True
            case ast.ImportFrom(module=str(module), level=0) if module.split(".")[0] == "agents":
                return True
            case _:
                pass
    return False


def test_agents_are_never_imported_as_a_package(
    framework: Mapping[Path, ast.Module], agents: Mapping[Path, ast.Module], tests: Mapping[Path, ast.Module]
) -> None:
    importers = [str(path) for path, tree in {**framework, **agents, **tests}.items() if imports_agents(tree)]

    assert not importers, "agents are started by their path, as users start theirs"


@pytest.mark.parametrize("folder", ["agents", "framework", "tests"])
def test_source_roots_are_no_packages(repository: Path, folder: str) -> None:
    markers = (
        (repository / folder).glob("**/__init__.py") if folder != "framework" else [repository / folder / "__init__.py"]
    )

    found = [str(marker.relative_to(repository)) for marker in markers if marker.exists()]

    assert not found
