"""What users may import from the top level: exactly what `exports.txt` lists, so that a change is seen."""

import importlib.util
from pathlib import Path

import farandole

EXPORTS = [
    line.strip()
    for line in Path(__file__).with_name("exports.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]


def test_exports_are_exactly_those_listed() -> None:
    exported = list(getattr(farandole, "__all__", []))

    assert sorted(exported) == EXPORTS, "exports.txt is sorted, and changes together with farandole.__all__"


def test_exports_all_exist() -> None:
    missing = [name for name in EXPORTS if not hasattr(farandole, name)]

    assert not missing


def test_no_export_is_both_an_object_and_a_module() -> None:
    both = [name for name in EXPORTS if importlib.util.find_spec(f"farandole.{name}") is not None]

    assert not both, "importing the module would replace the object of that name"
