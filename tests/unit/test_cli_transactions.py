"""`farandole transactions`: what is listed, what is ended, and what is left to a person."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from farandole.cli.main import app
from farandole.errors import AccessDenied
from farandole.transport.kafka import KafkaSettings
from farandole.transport.kafka.endings import Ending
from farandole.transport.kafka.forgotten import Forgotten
from farandole.transport.kafka.markers import Answer
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import TopicPartition, TopicSpec

COMMITTED = Forgotten(TopicPartition("ns.events", 3), 17, "ns.orders.0", "CompleteCommit", 7, 1, 2, Ending.COMMITTED)
ABORTED = Forgotten(TopicPartition("ns.runs", 0), 5, "ns.coordinator.0", "CompleteAbort", 8, 1, 2, Ending.ABORTED)
UNKNOWN = Forgotten(TopicPartition("ns.runs", 1), 9, "ns.coordinator.1", "Empty", 9, 1, 2, Ending.UNKNOWN)


class Log:
    """What is forgotten on it, and what was ended; `answers` are those of what is not done as it is asked."""

    def __init__(self, *found: Forgotten, answers: dict[Forgotten, Answer] | None = None) -> None:
        self.found, self.answers = found, answers or {}
        self.ended: list[tuple[Forgotten, str]] = []

    def forgotten(self, settings: KafkaSettings, prefix: str) -> Sequence[Forgotten]:
        """Those of the namespace that was given."""
        assert (settings.bootstrap, prefix) == ("kafka:1", "ns.")
        return self.found

    def end(self, settings: KafkaSettings, it: Forgotten, *, abort_unknown: bool) -> Answer:
        """Take note of it."""
        if it in self.answers:
            return self.answers[it]
        if it.ending is Ending.UNKNOWN and not abort_unknown:
            return Answer.LEFT
        answer = Answer.COMMITTED if it.ending is Ending.COMMITTED else Answer.ABORTED
        self.ended.append((it, answer.value))
        return answer


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without settings."""
    monkeypatch.chdir(tmp_path)


def on(log: Log, patch: pytest.MonkeyPatch) -> Log:
    """The log of every command."""
    patch.setattr("farandole.transport.kafka.forgotten.forgotten", log.forgotten)
    patch.setattr("farandole.transport.kafka.markers.end", log.end)
    return log


def transactions(*words: str, said: str | None = None) -> Result:
    """Run a command of the group on it."""
    return CliRunner().invoke(app, ["transactions", *words, "-b", "kafka:1", "--namespace", "ns"], input=said)


def test_list_tells_where_each_is_open_and_how_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    on(Log(COMMITTED, UNKNOWN), monkeypatch)

    ran, told = transactions("list"), transactions("list", "--json")

    assert (ran.exit_code, told.exit_code) == (0, 0)
    assert [line.split() for line in ran.stdout.splitlines()[1:]] == [
        ["ns.events/3/17", "ns.orders.0", "CompleteCommit", "committed"],
        ["ns.runs/1/9", "ns.coordinator.1", "Empty", "unknown"],
    ]
    assert json.loads(told.stdout)[0] == {
        "topic": "ns.events",
        "partition": 3,
        "start": 17,
        "transactional_id": "ns.orders.0",
        "producer_id": 7,
        "producer_epoch": 1,
        "state": "CompleteCommit",
        "outcome": "committed",
    }


def test_each_is_ended_as_its_coordinator_ended_it_and_what_is_unknown_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    log = on(Log(COMMITTED, ABORTED, UNKNOWN), monkeypatch)

    ran = transactions("end", "--yes")

    assert log.ended == [(COMMITTED, "committed"), (ABORTED, "aborted")]
    assert ran.exit_code == 1
    assert "ns.events/3/17 of ns.orders.0: committed" in ran.stdout
    assert "ns.runs/1/9 of ns.coordinator.1: left: " in ran.stdout
    assert "--abort-unknown" in ran.stdout


def test_what_is_unknown_is_aborted_where_somebody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    log = on(Log(COMMITTED, UNKNOWN), monkeypatch)

    ran = transactions("end", "--abort-unknown", "--yes", "--json")

    told = json.loads(ran.stdout)
    assert (ran.exit_code, told["done"]) == (0, True)
    assert [each["answer"] for each in told["transactions"]] == ["committed", "aborted"]
    assert log.ended == [(COMMITTED, "committed"), (UNKNOWN, "aborted")]


def test_nothing_is_ended_before_somebody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    log = on(Log(COMMITTED, ABORTED, UNKNOWN), monkeypatch)

    refused, alone, rehearsed = (transactions("end", said="n\n"), transactions("end"), transactions("end", "--dry-run"))
    told = json.loads(transactions("end", "--dry-run", "--json").stdout)

    assert "commit 1 and abort 1 of them" in refused.stderr
    assert [each.exit_code for each in (refused, alone, rehearsed)] == [1, 1, 0]
    assert "expected an answer or --yes" in alone.stderr
    assert "--dry-run: nothing was changed" in rehearsed.stdout
    assert ([each["answer"] for each in told["transactions"]], told["done"]) == ([None] * 3, False)
    assert log.ended == []


@pytest.mark.parametrize("verb", ["list", "end"])
def test_where_nothing_is_forgotten_that_is_told(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    on(Log(), monkeypatch)
    transport = MemoryTransport()
    monkeypatch.setattr("farandole.cli.connect.transport_of", lambda settings: transport)
    transport.admin().create([TopicSpec("ns.events", 1)])

    ran, told = transactions(verb), transactions(verb, "--json")

    assert (ran.exit_code, ran.stdout) == (0, "namespace ns: no transaction is forgotten\n")
    assert json.loads(told.stdout) == ([] if verb == "list" else {"transactions": [], "done": False})


@pytest.mark.parametrize("verb", ["list", "end"])
def test_a_namespace_that_was_never_applied_is_none_in_which_nothing_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    on(Log(), monkeypatch)
    monkeypatch.setattr("farandole.cli.connect.transport_of", lambda settings: MemoryTransport())

    ran = transactions(verb)

    assert ran.exit_code == 2
    assert "ns.events: expected the topic to exist" in ran.stderr


def test_what_is_no_more_as_it_was_is_left_alone_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    on(Log(COMMITTED, ABORTED, answers={COMMITTED: Answer.OVER}), monkeypatch)
    over = transactions("end", "--yes")

    on(Log(COMMITTED, answers={COMMITTED: Answer.CHANGED}), monkeypatch)
    changed = transactions("end", "--yes")

    assert (over.exit_code, changed.exit_code) == (0, 1)
    assert "nothing to do: it has ended, or its writer goes on with it" in over.stdout
    assert "look again" in changed.stdout


def test_a_missing_right_is_an_error_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(settings: KafkaSettings, it: Forgotten, *, abort_unknown: bool) -> Answer:
        raise AccessDenied("expected to be allowed, but CLUSTER_AUTHORIZATION_FAILED")

    on(Log(COMMITTED), monkeypatch)
    monkeypatch.setattr("farandole.transport.kafka.markers.end", refuses)

    ran = transactions("end", "--yes")

    assert ran.exit_code == 3
    assert "CLUSTER_AUTHORIZATION_FAILED" in ran.stderr
    assert "Traceback" not in ran.output


@pytest.mark.parametrize("verb", ["list", "end"])
def test_the_embedded_log_has_no_such_thing(verb: str) -> None:
    ran = CliRunner().invoke(app, ["transactions", verb])

    assert ran.exit_code == 2
    assert "the log is the embedded one, which has no such thing" in ran.stderr
    assert not Path(".farandole").exists()
