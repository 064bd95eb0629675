"""Planted bugs: the quick ones are hunted here, all of them by `make mutants`; each must fit the product's text."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


pytestmark = [
    pytest.mark.xdist_group("seeds"),
    pytest.mark.timeout(900),
]  # as `test_simulation`: it hunts in processes of its own


@pytest.fixture(scope="module")
def mutation() -> ModuleType:
    """The program beside this file."""
    spec = importlib.util.spec_from_file_location("mutation", HERE / "mutation.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutation"] = module
    spec.loader.exec_module(module)
    return module


def test_every_planted_bug_fits_the_product(mutation: ModuleType) -> None:
    mutants, later = mutation.load()

    assert len(mutants) >= 30
    assert all(each.reason for each in later)
    for each in mutants:
        for file, text in each.texts().items():
            compile(text, file, "exec")


@pytest.mark.timeout(900)
def test_the_quick_ones_are_found(mutation: ModuleType) -> None:
    told = subprocess.run(
        [sys.executable, str(HERE / "mutation.py"), "--quick"], capture_output=True, text=True, check=False
    )

    assert told.returncode == 0, told.stdout + told.stderr
    quick = [each.name for each in mutation.load()[0] if each.quick]
    assert f"{len(quick)} of {len(quick)} found" in told.stdout


def test_text_that_the_product_no_longer_has_is_an_error(mutation: ModuleType) -> None:
    stale = mutation.Mutant("stale", "R0", "", (mutation.Edit("kernel/advance.py", "no such text", "x"),))

    with pytest.raises(mutation.BadMutants, match="found it 0 times"):
        stale.texts()


def test_text_that_occurs_twice_is_an_error(mutation: ModuleType) -> None:
    vague = mutation.Mutant("vague", "R0", "", (mutation.Edit("kernel/advance.py", "Ready.WAIT", "x"),))

    with pytest.raises(mutation.BadMutants, match="expected its text once"):
        vague.texts()


def test_a_bug_that_changes_nothing_lives(mutation: ModuleType) -> None:
    """The gate can fail: what is no bug is not found."""
    harmless = mutation.Mutant(
        "harmless",
        "R0",
        "",
        (mutation.Edit("kernel/settle.py", '"""How runs stop and end.', '"""How a run stops and ends.'),),
    )
    program = (
        "import importlib.util, sys; sys.path.insert(0, {here!r}); import mutation as m; "
        "print(m.hunt(m.Mutant('x', 'R0', '', (m.Edit({file!r}, {old!r}, {new!r}),)), range(3))['seed'])"
    )
    edit = harmless.edits[0]

    told = subprocess.run(
        [sys.executable, "-c", program.format(here=str(HERE), file=edit.file, old=edit.old, new=edit.new)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout.strip() == "None"


def test_a_name_that_stands_twice_is_an_error(mutation: ModuleType, tmp_path: Path) -> None:
    one = '[[later]]\nname = "a"\nrule = "R1"\nreason = "none"\n'
    (tmp_path / "a.toml").write_text(one)
    (tmp_path / "b.toml").write_text(one)

    with pytest.raises(mutation.BadMutants, match="found twice: a"):
        mutation.load(tmp_path)
