"""What an author hands to a `Simulation` by mistake is named, and never passes for a world in which all is well."""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from farandole import agent, pipeline
from farandole.cli.main import app
from farandole.errors import DefinitionError
from farandole.testing.simulated import Seen, Simulation


@agent
def keep(number: int) -> int:
    """Does nothing."""
    return number


@pipeline(owner="tests@example.org")
def numbers(number: int) -> int:
    """One step."""
    return keep(number)


def fails(*_: object) -> dict[str, object]:
    """As a stand-in for a database that is not there."""
    raise ValueError("the database is away")


def leaves(*_: object) -> dict[str, object]:
    """As a script that is imported for its parts, and ends when it has nothing to do."""
    sys.exit()


def yields(draw: random.Random) -> Iterator[object]:
    """Of which a call runs nothing."""
    yield draw


def test_invariant_that_ends_the_process_does_not_hold() -> None:
    """`farandole simulate` said nothing and ended with 0."""
    simulation = Simulation(numbers)

    @simulation.invariant
    def nothing_is_wrong(seen: Seen) -> None:
        sys.exit(0)

    report = simulation.check(1)

    assert report.failure is not None
    assert report.failure.error.startswith("SystemExit: 0 (test_simulated_by_slips.py:")


@pytest.mark.parametrize("given", [fails, leaves], ids=["error", "exit"])
def test_reset_that_fails_is_named_with_its_error(given: Callable[[], object]) -> None:
    """A traceback that began in our own files; after an exit nothing at all, and the exit code 0."""
    simulation = Simulation(numbers)
    simulation.before(given)

    with pytest.raises(DefinitionError, match=rf"expected {given.__name__} to do its part, but it raised \w+") as told:
        simulation.check(1)

    assert "test_simulated_by_slips.py" in str(told.value)


@pytest.mark.parametrize("given", [fails, leaves], ids=["error", "exit"])
def test_params_that_cannot_be_drawn_are_named_with_their_error(given: Any) -> None:
    simulation = Simulation(numbers, params=given)

    with pytest.raises(DefinitionError, match=rf"expected {given.__name__} to do its part, but it raised \w+"):
        simulation.check(1)


def test_params_that_are_no_arguments_by_name_are_refused() -> None:
    simulation = Simulation(numbers, params=lambda draw: None)  # type: ignore[arg-type,return-value]

    with pytest.raises(DefinitionError, match="expected arguments by name, but it returned None"):
        simulation.check(1)


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ((keep,), TypeError, "expected a pipeline"),
        ((numbers, {"number": 1}), TypeError, "params: expected a function"),
        ((numbers, yields), DefinitionError, "expected yields to be a plain function, but found a generator"),
        ((numbers, None, 0), ValueError, "runs_max: expected at least 1, but found 0"),
    ],
    ids=["agent", "params", "generator", "runs"],
)
def test_simulation_of_what_cannot_be_lived_is_refused_where_it_is_written(
    given: tuple[Any, ...], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        Simulation(*given)


def test_command_names_the_slip_and_fails(tmp_path: Path) -> None:
    (tmp_path / "shop_of_slips.py").write_text(
        "from farandole import agent, pipeline\n\n\n@agent\ndef one(x: int) -> int:\n    return x\n\n\n"
        '@pipeline(owner="a@example.org")\ndef shop(x: int) -> int:\n    return one(x)\n'
    )
    (tmp_path / "test_simulated_shop_of_slips.py").write_text(
        "import sys\nfrom shop_of_slips import shop\nfrom farandole.testing.simulated import Simulation\n"
        "it = Simulation(shop)\n\n\n@it.before\ndef reset():\n    sys.exit(0)\n"
    )

    done = CliRunner().invoke(app, ["simulate", str(tmp_path), "--seeds", "1"])

    assert done.exit_code == 2
    assert "expected reset to do its part, but it raised SystemExit: 0" in done.output
