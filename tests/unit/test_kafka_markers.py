"""Ending what a broker has forgotten: as its coordinator ended it, and only while it still is so."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition as Place
from confluent_kafka import KafkaError

from farandole.errors import AccessDenied, NotReady, TransportError
from farandole.transport.kafka import KafkaSettings, asking
from farandole.transport.kafka.endings import Ending
from farandole.transport.kafka.forgotten import Forgotten
from farandole.transport.kafka.markers import Answer, end
from farandole.transport.port import TopicPartition

AT, WRITER = TopicPartition("ns.events", 3), "ns.orders.0"
STARTED_MS = 1_800_000_000_000
COMMITTED = Forgotten(AT, 17, WRITER, "CompleteCommit", 7, 3, 5, Ending.COMMITTED)
ABORTED = replace(COMMITTED, state="CompleteAbort", ending=Ending.ABORTED)
UNKNOWN = replace(COMMITTED, state="Empty", ending=Ending.UNKNOWN)
NOWHERE = KafkaSettings("nowhere:1")


class World:
    """One broker: what its coordinator says of the writer, and what is open in one partition, while it is.

    `places` are those of a transaction under way. `answer` is that of the partition to a marker; `speaks` the requests
    that the broker knows.
    """

    def __init__(
        self,
        state: str = "CompleteCommit",
        *,
        start: int = 17,
        leader: int = 1,
        answer: int = 0,
        places: bool = False,
        speaks: tuple[int, ...] = (27, 61, 65, 66),
    ) -> None:
        self.state, self.start, self.leader, self.answer, self.speaks = state, start, leader, answer, speaks
        self.places: list[Any] = [(AT.topic, [AT.partition], {})] if places else []
        self.markers: list[tuple[Any, ...]] = []
        self.cluster = SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=1)])

    def client(self, **_: object) -> "World":
        return self

    async def bootstrap(self) -> None:
        return None

    async def close(self) -> None:
        return None

    async def fetch_all_metadata(self) -> Any:
        def leader(at: Place) -> int:
            return self.leader

        return SimpleNamespace(leader_for_partition=leader)

    async def send(self, node: int, request: Any) -> Any:
        asked = request.prepare(dict.fromkeys(self.speaks, (0, 9)))
        row: Any
        match type(request).__name__:
            case "_DescribeProducers":
                row = (AT.partition, 0, "", [(7, 3, 0, STARTED_MS - 4, 5, self.start, {})], {})
                return SimpleNamespace(topics=[(AT.topic, [row], {})])
            case "_ListTransactions":
                return SimpleNamespace(error_code=0, transaction_states=[(WRITER, 7, self.state, {})])
            case "_DescribeTransactions":
                row = (0, WRITER, self.state, 10_000, STARTED_MS, 7, 3, self.places, {})
                return SimpleNamespace(transaction_states=[row])
            case _:
                self.markers += asked.markers
                return SimpleNamespace(markers=[(7, [(AT.topic, [(AT.partition, self.answer, {})], {})], {})])


def meet(world: World, patch: pytest.MonkeyPatch) -> World:
    """The world that is asked from now on."""
    patch.setattr(asking, "AIOKafkaClient", world.client)
    return world


@pytest.mark.parametrize(
    ("it", "is_commit", "answer"),
    [(COMMITTED, True, Answer.COMMITTED), (ABORTED, False, Answer.ABORTED), (UNKNOWN, False, Answer.ABORTED)],
    ids=["committed", "aborted", "unknown"],
)
def test_the_marker_says_what_the_coordinator_said(
    monkeypatch: pytest.MonkeyPatch, it: Forgotten, is_commit: bool, answer: Answer
) -> None:
    """The story: a transaction that its writer was told is committed was aborted in the one partition that had no
    leader, as `doctor` said. What it had written there was lost.
    """
    world = meet(World(it.state), monkeypatch)

    assert end(NOWHERE, it, abort_unknown=True) is answer

    assert world.markers == [(7, 3, is_commit, [(AT.topic, [AT.partition], {})], 5, {})]


def test_a_partition_that_took_no_marker_of_the_producer_yet_is_told_the_first_epoch_of_a_coordinator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = meet(World(), monkeypatch)
    monkeypatch.setattr("farandole.transport.kafka.markers.looked_again", _as_it_was)

    end(NOWHERE, replace(COMMITTED, coordinator_epoch=-1), abort_unknown=False)

    assert [each[4] for each in world.markers] == [0]


async def _as_it_was(client: object, it: Forgotten) -> Forgotten:
    return it


def test_what_nobody_can_tell_is_left_without_being_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = meet(World("Empty"), monkeypatch)

    assert end(NOWHERE, UNKNOWN, abort_unknown=False) is Answer.LEFT
    assert world.markers == []


@pytest.mark.parametrize(
    ("world", "answer"),
    [
        (World(start=18), Answer.OVER),  # what is open now is another
        (World("Ongoing", places=True), Answer.OVER),  # its writer goes on with it, and will end it
        (World("Ongoing"), Answer.CHANGED),  # its writer has begun another elsewhere
        (World("Empty"), Answer.CHANGED),
        (World("CompleteAbort"), Answer.CHANGED),
    ],
    ids=["another", "under way", "begun anew", "initialised", "aborted"],
)
def test_nothing_is_ended_that_is_not_as_it_was_seen(
    monkeypatch: pytest.MonkeyPatch, world: World, answer: Answer
) -> None:
    meet(world, monkeypatch)

    assert end(NOWHERE, COMMITTED, abort_unknown=True) is answer
    assert world.markers == []


def test_a_missing_right_is_told_with_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    meet(World(answer=KafkaError.CLUSTER_AUTHORIZATION_FAILED), monkeypatch)

    with pytest.raises(
        AccessDenied,
        match=r"the end of the transaction of ns\.orders\.0 in ns\.events/3: .*CLUSTER_AUTHORIZATION_FAILED.*acls",
    ):
        end(NOWHERE, COMMITTED, abort_unknown=False)


def test_a_partition_that_refuses_the_marker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    meet(World(answer=KafkaError.INVALID_PRODUCER_EPOCH), monkeypatch)
    with pytest.raises(TransportError, match=r"ns\.events/3: .*epoch"):
        end(NOWHERE, COMMITTED, abort_unknown=False)

    meet(World(leader=-1), monkeypatch)
    with pytest.raises(NotReady, match=r"there is none of ns\.events/3"):
        end(NOWHERE, COMMITTED, abort_unknown=False)

    meet(World(speaks=(61, 65, 66)), monkeypatch)
    with pytest.raises(TransportError, match="_WriteTxnMarkers"):
        end(NOWHERE, COMMITTED, abort_unknown=False)
