"""DESIGN section 11, and the rules of STYLE that say what code of a layer must not touch."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

# Settings are read in one module, for the command line and for clients that are not told everything. The command line
# also hands its environment to children, and the test broker has variables of its own.
READS_ENVIRONMENT = (
    Path("framework/farandole/settings/reading.py"),
    Path("framework/farandole/cli"),
    Path("framework/farandole/testing/broker"),
)

# Calls that fail by themselves when a claim does not hold.
ASSERTING_PREFIXES = ("assert_", "check_", "expect_")
ASSERTING_CALLS = {"pytest.raises", "pytest.warns", "pytest.fail", "raises", "run_state_machine_as_test"}


def test_imports_go_down_the_layers_only(repository: Path) -> None:
    # Beside the interpreter: tests may run without the environment's `bin` on the PATH.
    linter = Path(sys.executable).with_name("lint-imports")

    ran = subprocess.run([linter], cwd=repository, capture_output=True, text=True, timeout=100, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an expression made of names, else what of it can be named."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{dotted(value)}.{name}"
        case ast.Call(func=function):
            return dotted(function)
        case _:
            return "?"


def environment_reads(tree: ast.Module) -> Iterator[int]:
    """Lines that look at the environment, directly or as settings that do so by themselves."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute() if dotted(node) in {"os.environ", "os.environb", "os.getenv"}:
                yield node.lineno
            case ast.ImportFrom(module="os", names=names) if {"environ", "environb", "getenv"} & {
                n.name for n in names
            }:
                yield node.lineno
            case ast.ClassDef(bases=bases) if any(dotted(base).endswith("BaseSettings") for base in bases):
                yield node.lineno
            case _:
                pass


def test_environment_is_read_by_settings_and_the_command_line_alone(framework: Mapping[Path, ast.Module]) -> None:
    readers = [
        f"{path}:{line}"
        for path, tree in framework.items()
        if not any(path.is_relative_to(allowed) for allowed in READS_ENVIRONMENT)
        for line in environment_reads(tree)
    ]

    assert not readers, "settings are built once and handed down"


def asserts_something(test: ast.FunctionDef | ast.AsyncFunctionDef, helpers: frozenset[str]) -> bool:
    """Whether a test, or a helper of its module that it calls, can fail for its claim."""
    for node in ast.walk(test):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in ASSERTING_CALLS or name in helpers or name.split(".")[-1].startswith(ASSERTING_PREFIXES):
                return True
    return False


def test_every_test_asserts(tests: Mapping[Path, ast.Module]) -> None:
    silent: list[str] = []
    for path, tree in tests.items():
        defined = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        helpers = frozenset(
            each.name for each in defined if not each.name.startswith("test_") and asserts_something(each, frozenset())
        )
        silent += [
            f"{path}:{each.lineno} {each.name}"
            for each in defined
            if each.name.startswith("test_") and not asserts_something(each, helpers)
        ]

    assert not silent
