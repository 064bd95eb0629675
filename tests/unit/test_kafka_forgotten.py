"""What a writer asks before it writes: a partition that cannot be asked is none in which nothing is open."""

from collections.abc import Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition as Place
from confluent_kafka import KafkaError

from farandole.errors import TransportError
from farandole.transport.kafka import KafkaSettings, asking, forgotten
from farandole.transport.kafka.forgotten import OFFSETS, _place_of, left_by
from farandole.transport.kafka.transactions import Transactor
from farandole.transport.port import TopicPartition

WRITER, GROUP = "ns.unit.0", "ns.unit"
OWN = _place_of(GROUP, 50)
SPEAKS = {61: (0, 0), 65: (0, 0), 66: (0, 0)}
AT = TopicPartition("ns.events", 0)


class Cluster:
    """What a broker knows of who leads; -1 is nobody."""

    def __init__(self, leaders: Mapping[TopicPartition, int]) -> None:
        self._leaders = leaders

    def topics(self, exclude_internal_topics: bool) -> set[str]:
        return {at.topic for at in self._leaders}

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {at.partition for at in self._leaders if at.topic == topic}

    def leader_for_partition(self, at: Place) -> int:
        return self._leaders[TopicPartition(at.topic, at.partition)]


class World:
    """One broker, and what leads at each look.

    `open_in`: where a transaction of `WRITER` is open that is over for its coordinator. `refused`: what a partition
    answers instead. `speaks`: the versions of the requests that the broker knows.
    """

    def __init__(
        self,
        *looks: Mapping[TopicPartition, int],
        open_in: frozenset[TopicPartition] = frozenset(),
        refused: Mapping[TopicPartition, int] | None = None,
        speaks: Mapping[int, tuple[int, int]] = SPEAKS,
    ) -> None:
        self.looks, self.open_in, self.refused, self.speaks = list(looks), open_in, refused or {}, speaks
        self.cluster = SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=1)])

    def client(self, **_: object) -> "World":
        return self

    async def bootstrap(self) -> None:
        return None

    async def close(self) -> None:
        return None

    async def fetch_all_metadata(self) -> Cluster:
        return Cluster(self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])

    async def send(self, node: int, request: Any) -> Any:
        asked = request.prepare(dict(self.speaks))
        match type(request).__name__:
            case "_DescribeProducers":
                return SimpleNamespace(topics=[self._producers(name, numbers) for name, numbers, _ in asked.topics])
            case "_ListTransactions":
                return SimpleNamespace(error_code=0, transaction_states=[(WRITER, 7, "Empty", {})])
            case _:
                state: Any = (0, WRITER, "Empty", 10_000, -1, 7, 3, [], {})
                return SimpleNamespace(transaction_states=[state])

    def _producers(self, topic: str, numbers: list[int]) -> Any:
        rows: list[Any] = []
        for number in numbers:
            at = TopicPartition(topic, number)
            is_open = at in self.open_in and at not in self.refused
            rows.append((number, self.refused.get(at, 0), "", [(7, 3, 0, 0, 0, 17, {})] if is_open else [], {}))
        return topic, rows, {}


def meet(world: World, patch: pytest.MonkeyPatch) -> KafkaSettings:
    """Settings of a process that meets this world."""
    patch.setattr(asking, "AIOKafkaClient", world.client)
    patch.setattr(forgotten, "CERTAIN_S", 0.0)
    return KafkaSettings("nowhere:1", call_timeout=timedelta(seconds=0.5))


def test_what_is_open_is_found_although_its_partition_has_no_leader_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The story: an only broker leaves out the markers of partitions that have no leader yet, in the second in which it
    starts. Who asked in that second passed over the same partitions, found nothing open, and wrote: what had been
    rolled back counted.
    """
    settings = meet(World({AT: -1}, {AT: -1}, {AT: 1}, open_in=frozenset({AT})), monkeypatch)

    assert [each.at for each in left_by(settings, WRITER)] == [AT]


def test_nothing_is_written_while_a_partition_has_no_leader_and_the_error_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = {TopicPartition("ns.events", number): -1 for number in range(7)}
    settings = meet(
        World({**dead, TopicPartition("ns.runs", 0): 1, TopicPartition("other.events", 0): -1}), monkeypatch
    )

    with pytest.raises(
        TransportError,
        match=r"ns\.unit\.0: .*not known yet: .*no answer in 0\.5 s: .*none of ns\.events/0, .*/4 and 2 more;.* again",
    ):
        Transactor(settings, WRITER)._require_alone()


def test_a_writer_waits_for_the_positions_of_its_own_group_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another group's may be away for days, where `__consumer_offsets` has one replica: no reason to stand still."""
    places = {TopicPartition(OFFSETS, number): -1 for number in range(50) if number != OWN}
    settings = meet(World({**places, TopicPartition(OFFSETS, OWN): 1}), monkeypatch)
    assert left_by(settings, WRITER) == []

    meet(World({**places, TopicPartition(OFFSETS, OWN): -1}), monkeypatch)

    with pytest.raises(TransportError, match=f"there is none of {OFFSETS}/{OWN};"):
        left_by(settings, WRITER)


def test_positions_are_not_passed_over_because_their_broker_has_just_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any error of `__consumer_offsets` was taken for a missing right, and few have that one."""
    own = TopicPartition(OFFSETS, 0)
    settings = meet(World({own: 1}, refused={own: KafkaError.TOPIC_AUTHORIZATION_FAILED}), monkeypatch)
    assert left_by(settings, WRITER) == []

    meet(World({own: 1}, refused={own: KafkaError.NOT_LEADER_FOR_PARTITION}), monkeypatch)

    with pytest.raises(TransportError, match=f"no answer in .*{OFFSETS}/0"):
        left_by(settings, WRITER)


def test_who_looks_a_cluster_over_is_told_what_is_open_beside_a_partition_without_a_leader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = meet(World({AT: 1, TopicPartition("ns.runs", 0): -1}, open_in=frozenset({AT})), monkeypatch)

    assert [each.at for each in forgotten.forgotten(settings, "ns.")] == [AT]


def test_in_positions_which_are_everybodys_only_writers_of_the_namespace_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What another one left open there holds back nobody of ours, and is not ours to end."""
    places = TopicPartition(OFFSETS, 0), TopicPartition("other.events", 0)
    settings = meet(World(dict.fromkeys(places, 1), open_in=frozenset(places)), monkeypatch)

    assert [each.at.topic for each in forgotten.forgotten(settings, "ns.")] == [OFFSETS]
    assert [each.at.topic for each in forgotten.forgotten(settings, "other.")] == ["other.events"]


def test_brokers_that_do_not_know_of_transactions_are_told_as_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka 2.8 passed for new enough. Under load no process began to write: aiokafka's error for a request that is
    unknown is of the kind after which one asks again, so that it was "no answer in 10 s", for ever.
    """
    settings = meet(World({AT: 1}, open_in=frozenset({AT}), speaks={61: (0, 0)}), monkeypatch)

    with pytest.raises(TransportError, match=r"expected brokers of Kafka 3\.0 or newer, .*_ListTransactions"):
        left_by(settings, WRITER)


@pytest.mark.parametrize(("group", "place"), [("hello", 22), ("", 0), ("polygenelubricants", 0), ("ns.unit", OWN)])
def test_place_of_a_groups_positions_is_that_of_javas_hash(group: str, place: int) -> None:
    """ "hello" has 99162322, and the third the one of which Java knows no absolute value."""
    assert _place_of(group, 50) == place
