"""`farandole transactions`: what is listed, what is ended, and what is left to a person."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition as Place
from confluent_kafka import KafkaError
from typer.testing import CliRunner, Result

from farandole.cli.main import app
from farandole.errors import AccessDenied, NotReady, TransportError
from farandole.transport.kafka import KafkaSettings, asking
from farandole.transport.kafka.endings import Ending
from farandole.transport.kafka.forgotten import OFFSETS, Forgotten
from farandole.transport.kafka.markers import Answer
from farandole.transport.kafka.producers import unasked
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import TopicPartition, TopicSpec

COMMITTED = Forgotten(TopicPartition("ns.events", 3), 17, "ns.orders.0", "CompleteCommit", 7, 1, 2, Ending.COMMITTED)
ABORTED = Forgotten(TopicPartition("ns.runs", 0), 5, "ns.coordinator.0", "CompleteAbort", 8, 1, 2, Ending.ABORTED)
UNKNOWN = Forgotten(TopicPartition("ns.runs", 1), 9, "ns.coordinator.1", "Empty", 9, 1, 2, Ending.UNKNOWN)


class Log:
    """What is forgotten on it, and what was ended; `answers` are those of what is not done as it is asked.

    `unasked` is what cannot be asked, at each look; `sees_positions`: we may look at them.
    """

    def __init__(
        self,
        *found: Forgotten,
        answers: Mapping[Forgotten, Answer | TransportError] | None = None,
        unasked: Sequence[Sequence[TopicPartition]] = ((),),
        sees_positions: bool = True,
    ) -> None:
        self.found, self.answers, self.sees_positions = found, answers or {}, sees_positions
        self.looks = list(unasked)
        self.ended: list[tuple[Forgotten, str]] = []

    def unasked(
        self, settings: KafkaSettings, client_id: str, prefix: str, shared: str
    ) -> tuple[Sequence[TopicPartition], bool]:
        """The next look at who leads."""
        assert (settings.bootstrap, prefix, shared) == ("kafka:1", "ns.", OFFSETS)
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0], self.sees_positions

    def forgotten(self, settings: KafkaSettings, prefix: str) -> Sequence[Forgotten]:
        """Those of the namespace that was given."""
        assert (settings.bootstrap, prefix) == ("kafka:1", "ns.")
        return self.found

    def end(self, settings: KafkaSettings, it: Forgotten, *, abort_unknown: bool) -> Answer:
        """Take note of it."""
        answer = self.answers.get(it)
        if isinstance(answer, TransportError):
            raise answer
        if answer is not None:
            return answer
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
    patch.setattr("farandole.transport.kafka.producers.unasked", log.unasked)
    return log


def applied(patch: pytest.MonkeyPatch) -> None:
    """The namespace has its topics."""
    transport = MemoryTransport()
    transport.admin().create([TopicSpec("ns.events", 1)])
    patch.setattr("farandole.cli.connect.transport_of", lambda settings: transport)


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
    assert json.loads(told.stdout)["transactions"][0] == {
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

    assert "commit 1 and abort 1, each in its partition?" in refused.stderr
    assert [each.exit_code for each in (refused, alone, rehearsed)] == [1, 1, 1]
    assert "expected an answer or --yes" in alone.stderr
    assert "--dry-run: nothing was changed; it would leave 1" in rehearsed.stdout
    assert ([each["answer"] for each in told["transactions"]], told["done"]) == ([None] * 3, False)
    assert log.ended == []


@pytest.mark.parametrize("verb", ["list", "end"])
def test_where_nothing_is_forgotten_that_is_told(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    on(Log(), monkeypatch)
    applied(monkeypatch)

    ran, told = transactions(verb), transactions(verb, "--json")

    assert (ran.exit_code, ran.stdout) == (0, "namespace ns: no transaction is forgotten\n")
    gaps: dict[str, object] = {"not_asked": [], "not_allowed": []}
    done = {} if verb == "list" else {"done": False}
    assert json.loads(told.stdout) == {"transactions": [], **gaps, **done}


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


@pytest.mark.parametrize("words", [(), ("--abort-unknown",)])
def test_who_is_asked_is_told_how_many_of_the_aborted_are_unknown(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """They were counted as any other abort, and nobody had said so of them."""
    on(Log(COMMITTED, ABORTED, UNKNOWN), monkeypatch)

    asked = transactions("end", *words, said="n\n").stderr

    assert ("abort 2 (1 of them unknown), each" if words else "abort 1, each") in asked


@pytest.mark.parametrize(
    ("found", "words", "code"),
    [
        ((COMMITTED, ABORTED), (), 0),
        ((COMMITTED, UNKNOWN), ("--abort-unknown",), 0),
        ((COMMITTED, UNKNOWN), (), 1),
        ((UNKNOWN,), (), 1),
    ],
)
def test_a_rehearsal_ends_as_the_deed_would(
    monkeypatch: pytest.MonkeyPatch, found: tuple[Forgotten, ...], words: tuple[str, ...], code: int
) -> None:
    on(Log(*found), monkeypatch)

    text, told = transactions("end", "--dry-run", *words), transactions("end", "--dry-run", "--json", *words)

    assert (text.exit_code, told.exit_code) == (code, code)
    assert ("would leave 1" in text.stdout) == bool(code)
    assert transactions("end", "--yes", *words).exit_code == code


def test_a_missing_right_is_an_error_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    denied = AccessDenied(
        "expected to be allowed, but CLUSTER_AUTHORIZATION_FAILED. `farandole acls` prints the rights"
    )
    on(Log(COMMITTED, answers={COMMITTED: denied}), monkeypatch)

    ran = transactions("end", "--yes")

    assert ran.exit_code == 1
    assert f"ns.events/3/17 of ns.orders.0: failed: {denied}" in ran.stdout
    assert "Traceback" not in ran.output


def test_a_marker_that_fails_takes_neither_the_others_nor_the_answer_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One error, and `--json` printed nothing of the markers that had been written before it."""
    answers = {ABORTED: NotReady("ns.runs/0: \x1b[2J no leader")}

    log = on(Log(COMMITTED, ABORTED, UNKNOWN, answers=answers), monkeypatch)
    ran = transactions("end", "--yes", "--json", "--abort-unknown")
    text = transactions("end", "--yes", "--abort-unknown")

    told = json.loads(ran.stdout)
    assert (ran.exit_code, text.exit_code, told["done"]) == (1, 1, True)
    assert [each["answer"] for each in told["transactions"]] == ["committed", "failed", "aborted"]
    assert [each.get("error") for each in told["transactions"]] == [None, "ns.runs/0: \x1b[2J no leader", None]
    assert "ns.runs/0/5 of ns.coordinator.0: failed: ns.runs/0: \\x1b[2J no leader\n" in text.stdout
    assert log.ended == [(COMMITTED, "committed"), (UNKNOWN, "aborted")] * 2


@pytest.mark.parametrize("verb", ["list", "end"])
def test_partitions_that_were_not_asked_are_told_and_nothing_is_no_success_then(
    monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """The story: after a broker's restart none of its partitions had a leader, "no transaction is forgotten" was the
    answer, with exit code 0, and readers stood before one of them for ever.
    """
    applied(monkeypatch)
    away = [TopicPartition("ns.events", number) for number in range(7)]
    on(Log(unasked=[away]), monkeypatch)

    ran, told = transactions(verb), transactions(verb, "--json")

    assert (ran.exit_code, told.exit_code) == (1, 1)
    assert "namespace ns: no transaction is forgotten where we could look\n" in ran.stdout
    assert "ns.events/3, ns.events/4 and 2 more" in ran.stdout
    assert json.loads(told.stdout)["not_asked"] == [{"topic": "ns.events", "partition": each} for each in range(7)]


@pytest.mark.parametrize("looks", [([TopicPartition("ns.runs", 2)], []), ([], [TopicPartition("ns.runs", 2)])])
def test_what_was_found_is_ended_beside_partitions_that_were_not_asked(
    monkeypatch: pytest.MonkeyPatch, looks: Sequence[Sequence[TopicPartition]]
) -> None:
    """Without a leader before the question or after it: it may have been passed over."""
    log = on(Log(COMMITTED, unasked=looks), monkeypatch)

    ran = transactions("end", "--yes", "--json")

    told = json.loads(ran.stdout)
    assert ran.exit_code == 1
    assert log.ended == [(COMMITTED, "committed")]
    assert (told["done"], told["not_asked"]) == (True, [{"topic": "ns.runs", "partition": 2}])


@pytest.mark.parametrize("verb", ["list", "end"])
def test_positions_that_we_may_not_look_at_are_told(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    applied(monkeypatch)
    on(Log(sees_positions=False), monkeypatch)

    ran, told = transactions(verb), transactions(verb, "--json")

    assert (ran.exit_code, told.exit_code) == (0, 0)
    assert "no transaction is forgotten where we could look\n" in ran.stdout
    assert f"we may not read it: {OFFSETS}" in ran.stdout
    assert "farandole acls transactions" in ran.stdout
    assert json.loads(told.stdout)["not_allowed"] == [OFFSETS]


class Broker:
    """The only one: who leads (-1: nobody), and what a partition answers instead of what is open in it."""

    def __init__(self, leaders: Mapping[TopicPartition, int], refused: Mapping[TopicPartition, int]) -> None:
        self.leaders, self.refused = leaders, refused
        self.asked: list[tuple[str, list[int]]] = []

    def client(self, **_: object) -> "Broker":
        return self

    async def bootstrap(self) -> None:
        return None

    async def close(self) -> None:
        return None

    async def fetch_all_metadata(self) -> "Broker":
        return self

    def brokers(self) -> list[Any]:
        return [SimpleNamespace(nodeId=1)]

    def topics(self, exclude_internal_topics: bool) -> set[str]:
        return {at.topic for at in self.leaders}

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return {at.partition for at in self.leaders if at.topic == topic} or None

    def leader_for_partition(self, at: Place) -> int:
        return self.leaders[TopicPartition(at.topic, at.partition)]

    async def send(self, node: int, request: Any) -> Any:
        assert node == 1
        topics = request.prepare({61: (0, 0)}).topics
        self.asked += [(name, numbers) for name, numbers, _ in topics]
        return SimpleNamespace(
            topics=[
                (name, [(n, self.refused.get(TopicPartition(name, n), 0), "", [], {}) for n in numbers], {})
                for name, numbers, _ in topics
            ]
        )


POSITIONS = TopicPartition(OFFSETS, 0), TopicPartition(OFFSETS, 1)
EVENTS, FOREIGN = TopicPartition("ns.events", 0), TopicPartition("other.events", 0)
HIDDEN = dict.fromkeys(POSITIONS, KafkaError.TOPIC_AUTHORIZATION_FAILED)


@pytest.mark.parametrize(
    ("leaders", "refused", "missing", "sees_positions"),
    [
        ({EVENTS: 1, POSITIONS[0]: 1, POSITIONS[1]: 1}, {}, [], True),
        ({EVENTS: -1, FOREIGN: -1, POSITIONS[0]: 1, POSITIONS[1]: -1}, {}, [POSITIONS[1], EVENTS], True),
        ({EVENTS: 1, POSITIONS[0]: 1}, {POSITIONS[0]: KafkaError.NOT_LEADER_FOR_PARTITION}, [POSITIONS[0]], True),
        ({EVENTS: -1, POSITIONS[0]: 1, POSITIONS[1]: -1}, HIDDEN, [EVENTS], False),
        ({EVENTS: 1}, HIDDEN, [], False),
        ({EVENTS: 1}, {POSITIONS[0]: KafkaError.UNKNOWN_TOPIC_OR_PART}, [], True),
    ],
    ids=["all asked", "no leader", "a leader no more", "not to be read", "not to be seen", "none yet"],
)
def test_what_is_not_asked_is_what_has_no_leader_that_answers_and_positions_are_seen_or_not(
    monkeypatch: pytest.MonkeyPatch,
    leaders: Mapping[TopicPartition, int],
    refused: Mapping[TopicPartition, int],
    missing: list[TopicPartition],
    sees_positions: bool,
) -> None:
    """Who may not see a topic is told by the metadata that there is none."""
    broker = Broker(leaders, refused)
    monkeypatch.setattr(asking, "AIOKafkaClient", broker.client)

    told = unasked(KafkaSettings("nowhere:1"), "tests", "ns.", OFFSETS)

    assert told == (missing, sees_positions)
    assert {name for name, _ in broker.asked} == {OFFSETS}


@pytest.mark.parametrize("verb", ["list", "end"])
def test_the_embedded_log_has_no_such_thing(verb: str) -> None:
    ran = CliRunner().invoke(app, ["transactions", verb])

    assert ran.exit_code == 2
    assert "the log is the embedded one, which has no such thing" in ran.stderr
    assert not Path(".farandole").exists()
