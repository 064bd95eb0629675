"""What a Tab offers: names that are there; nothing, in time and without a word, where they cannot be told."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import Result

from farandole import agent, pipeline
from farandole.cli import completing
from farandole.testing.inprocess import InProcess
from farandole.transport.memory import MemoryTransport

Typed = Callable[..., Result]
NOTHING_GIVEN: Any = SimpleNamespace(params={})


@agent
def double(number: int) -> int:
    """An agent."""
    return 2 * number


@pipeline(owner="tests@example.org")
def twice(number: int) -> int:
    """A pipeline."""
    return double(number)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """A deployment of the pipeline above."""
    folder = tmp_path_factory.mktemp("cli")
    with InProcess(MemoryTransport(), [twice], namespace="farandole", folder=folder) as it:
        yield it


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is offered is looked at here, not how soon on a busy machine."""
    monkeypatch.setattr(completing, "WITHIN_S", 20.0)


def test_names_that_are_there_are_offered(farandole: Typed, unique: str, patient: None) -> None:
    for n in range(3):
        farandole("run", "start", "twice", "--id", f"{unique}-{n}", "--params", '{"number": 1}', "--wait", code=0)

    assert sorted(completing.run_ids(NOTHING_GIVEN, unique)) == [f"{unique}-{n}" for n in range(3)]
    assert completing.pipelines(NOTHING_GIVEN, "tw") == ["twice"]
    assert completing.pipelines(NOTHING_GIVEN, "x") == []
    assert completing.agents(NOTHING_GIVEN, "") == ["double"]
    assert completing.topics(NOTHING_GIVEN, "farandole.e") == ["farandole.events"]


def test_no_more_are_offered_than_a_screen_holds(
    farandole: Typed, unique: str, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completing, "OFFERED_MAX", 2)

    assert len(completing.topics(NOTHING_GIVEN, "farandole.")) == 2


@pytest.mark.parametrize("ask", [completing.run_ids, completing.topics, completing.pipelines, completing.agents])
def test_nothing_is_offered_or_said_or_made_where_there_is_no_project(
    ask: Callable[[Any, str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    patient: None,
) -> None:
    monkeypatch.chdir(tmp_path)

    assert ask(NOTHING_GIVEN, "") == []
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_log_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    away: Any = SimpleNamespace(params={"bootstrap": "127.0.0.1:1"})
    began = time.monotonic()

    assert completing.run_ids(away, "o") == []
    assert time.monotonic() - began < 8, "a call of the client would wait for ten seconds"
    assert capfd.readouterr() == ("", "")


def test_settings_that_are_wrong_are_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "farandole.toml").write_text("nonsense = [")

    assert completing.topics(NOTHING_GIVEN, "") == []
