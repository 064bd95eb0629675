"""Every public module, class and function of the package says in a sentence what its name does not."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path


def undocumented(path: Path, tree: ast.Module) -> Iterator[str]:
    """Public names of the module's top level without a docstring, the module itself included."""
    if not ast.get_docstring(tree):
        yield str(path)
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node) and not is_overload(node):
            yield f"{path}:{node.lineno} {node.name}"


def is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """An overload is documented where it is implemented."""
    return any(ast.unparse(each) in {"overload", "typing.overload"} for each in node.decorator_list)


def test_every_public_name_of_the_package_is_documented(framework: Mapping[Path, ast.Module]) -> None:
    missing = [
        name
        for path, tree in framework.items()
        if not any(part == "tests" or (part.startswith("_") and part != "__init__.py") for part in path.parts)
        for name in undocumented(path, tree)
    ]

    assert not missing
