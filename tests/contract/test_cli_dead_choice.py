"""Which dead letters are meant, and how one is edited without a terminal: `--where`, `--input`, `$EDITOR`."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import Result

from farandole import Retry, agent, pipeline
from farandole.testing.inprocess import InProcess
from farandole.transport.memory import MemoryTransport

Typed = Callable[..., Result]


@dataclass(frozen=True)
class Order:
    """Has a total."""

    total: int


@dataclass(frozen=True)
class Day:
    """Has none."""

    day: int


@agent(retry=Retry(attempts=1))
def charge(order: Order) -> Order:
    """Never works."""
    raise ValueError("no money")


@agent(retry=Retry(attempts=1))
def plan(day: Day) -> Day:
    """Never works."""
    raise ValueError("no time")


@pipeline(owner="tests@example.org")
def orders(order: Order) -> Order:
    """Held at its only step."""
    return charge(order)


@pipeline(owner="tests@example.org")
def days(day: Day) -> Day:
    """Held at its only step."""
    return plan(day)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """A deployment of both."""
    folder = tmp_path_factory.mktemp("cli")
    with InProcess(MemoryTransport(), [orders, days], namespace="farandole", folder=folder) as it:
        yield it


def hold(farandole: Typed, run: str, pipeline: str = "orders", **params: dict[str, int]) -> str:
    """Start a run that is held; the place of its dead letter."""
    params = params or {"order": {"total": 7}}
    farandole("run", "start", pipeline, "--id", run, "--params", json.dumps(params), "--wait", code=11)
    groups = json.loads(farandole("dead", "list", "--run", run, "--json", code=0).stdout)
    place: str = groups[0]["letters"][0]["place"]
    return place


def test_letter_whose_input_lacks_the_field_is_not_meant_and_is_counted(farandole: Typed, unique: str) -> None:
    """The page's own example ended with `KeyError: 'total'` as long as any letter of any other agent was open."""
    for run, total in ((f"{unique}-small", 10), (f"{unique}-large", 2_000)):
        hold(farandole, run, order={"total": total})
    hold(farandole, f"{unique}-day", "days", day={"day": 3})

    listed = farandole("dead", "list", "--where", f'payload.total > 1000 && run.startsWith("{unique}")', code=0)
    again = farandole(
        "dead", "replay", "--where", f'run.startsWith("{unique}") && payload.day > 1', "--dry-run", code=0
    )

    assert f"{unique}-large" in listed.stdout
    assert f"{unique}-small" not in listed.stdout
    assert f"{unique}-day" not in listed.stdout
    assert "which have no total" in listed.stderr
    assert "would replay 1 dead letter" in again.stdout
    assert "which have no day" in again.stderr


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("payload.totl > 1000", "none of"),
        ('payload.total > "x"', "No such overload"),
        ("1 / 0 == 1", "division by zero"),
    ],
)
def test_expression_that_no_letter_has_a_value_for_is_refused_in_no_words_of_python(
    farandole: Typed, unique: str, where: str, told: str
) -> None:
    """What is misspelt would be a bulk of nothing, said nowhere."""
    hold(farandole, unique)

    refused = farandole("dead", "list", "--run", unique, "--where", where, code=2)

    assert told in refused.stderr
    assert "Error:" not in refused.stderr


def test_input_for_a_letter_that_is_closed_is_1_as_the_table_says(farandole: Typed, unique: str) -> None:
    """It was 2, as if the option were wrong: the letter had been replayed by somebody else in the meantime."""
    place = hold(farandole, unique)
    farandole("dead", "discard", place, "--yes", code=0)
    farandole("run", "result", unique, "--wait", code=12)

    by_place = farandole("dead", "replay", place, "--input", '{"total": 7}', code=1)
    by_run = farandole("dead", "replay", "--run", unique, "--input", '{"total": 7}', code=1)

    assert "it is closed" in by_place.stderr
    assert "none is meant" in by_run.stderr


def test_edit_without_a_terminal_and_without_an_editor_is_refused(
    farandole: Typed, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It started vi, which waited for ever for somebody at a terminal that was not there."""
    place = hold(farandole, unique)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.setenv("PATH", "")  # whatever would be started in spite of that

    refused = farandole("dead", "edit", place, "--json", code=2)

    assert "expected a terminal for an editor" in refused.stderr
    assert "dead replay --input" in refused.stderr
    assert refused.stdout == ""


def test_what_an_editor_prints_is_not_in_the_json(
    farandole: Typed, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An editor draws on standard output, and so stood before the document that a program was to read."""
    place = hold(farandole, unique)
    script = tmp_path / "edit.py"
    script.write_text(
        "import pathlib, sys\nprint('drawn by the editor')\npathlib.Path(sys.argv[1]).write_text('{\"total\": 8}')\n"
    )
    monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")

    edited = farandole("dead", "edit", place, "--json", code=0)

    assert json.loads(edited.stdout)["asked"] == "replay"
    assert "drawn" not in capfd.readouterr().out
