"""Who leads and who coordinates, by what several brokers say of it; one of them may be cut off from the others."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, LeaderNotAvailableError
from confluent_kafka import KafkaError

from farandole.errors import AccessDenied, TransportError
from farandole.transport.kafka import KafkaSettings, asking
from farandole.transport.kafka.ends import _brokers, _ends, read_ends
from farandole.transport.kafka.membership import _members
from farandole.transport.kafka.witnesses import Leader, Named, aware, coordinator, leaders
from farandole.transport.port import Isolation, TopicPartition

AT = TopicPartition("runs", 0)


class Brokers:
    """Three brokers, each with its own opinion on who coordinates: a node, an error code, or no answer."""

    def __init__(self, *opinions: int | KafkaError | None, host: str = "kafka") -> None:
        brokers = [SimpleNamespace(nodeId=n, host=host, port=9000 + n) for n in range(len(opinions))]
        self.cluster = SimpleNamespace(brokers=lambda: brokers, broker_metadata=lambda node: brokers[node])
        self.opinions = opinions

    async def send(self, node: int, request: object) -> Any:
        match self.opinions[node]:
            case None:
                await asyncio.sleep(3600)
            case KafkaError() as error:
                return SimpleNamespace(error_code=error.code(), coordinator_id=-1)
            case named:
                return SimpleNamespace(error_code=0, coordinator_id=named)


AWAY = KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE)


def client(it: object) -> AIOKafkaClient:
    """What stands for aiokafka's client."""
    return cast(AIOKafkaClient, it)


@pytest.mark.parametrize("opinions", [(1, 1, 1), (0, 1, 1), (1, 0, 1), (1, 1, None), (AWAY, 1, 1)])
def test_coordinator_is_whom_more_than_half_of_the_brokers_name(opinions: tuple[int | KafkaError | None, ...]) -> None:
    """One that is cut off names itself, with positions of before; the first that was asked was believed once."""
    brokers = client(Brokers(*opinions))

    assert {asyncio.run(coordinator(brokers, "g")).node for _ in range(20)} == {1}


@pytest.mark.parametrize("opinions", [(0, 0, 2, 2, 2), (0, 0, 0, 3, 3, 3, 3), (0, 0, 0, *[3] * 17)])
def test_brokers_that_are_cut_off_together_are_too_few_to_be_believed(opinions: tuple[int, ...]) -> None:
    """Three of five were asked, and both of those that were cut off were among them in three of ten questions."""
    brokers = client(Brokers(*opinions))

    assert {asyncio.run(coordinator(brokers, "g")).node for _ in range(50)} == {opinions[-1]}


@pytest.mark.parametrize("opinions", [(0, 1, 2), (1, AWAY, AWAY), (AWAY,)])
def test_nobody_coordinates_of_whom_the_brokers_disagree(opinions: tuple[int | KafkaError | None, ...]) -> None:
    with pytest.raises(GroupCoordinatorNotAvailableError):
        asyncio.run(coordinator(client(Brokers(*opinions)), "g"))


def test_group_that_we_may_not_see_is_told_as_such() -> None:
    """It was "no answer in 10.0 s": a broker that refused was as good as one that knew of nobody."""
    refused = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)

    with pytest.raises(AccessDenied, match=r"group g: .*farandole acls"):
        asyncio.run(coordinator(client(Brokers(refused, refused, refused)), "g"))


def test_only_broker_is_believed() -> None:
    assert asyncio.run(coordinator(client(Brokers(0)), "g")) == Named(0, (0,))


def test_brokers_that_agree_are_where_a_client_may_begin() -> None:
    """The one that is cut off names itself, and is no place to begin at."""
    brokers = client(Brokers(0, 1, 1))

    assert asyncio.run(coordinator(brokers, "g")).bootstrap(brokers) == "kafka:9001,kafka:9002"


def test_place_to_begin_at_that_is_an_ipv6_address_can_be_read_by_the_client() -> None:
    """It could not be resolved without brackets; the member that began there never joined again."""
    brokers = client(Brokers(1, 1, 0, host="::1"))

    assert asyncio.run(coordinator(brokers, "g")).bootstrap(brokers) == "[::1]:9000,[::1]:9001"


class Cluster:
    """Brokers that tell who leads `runs/0`, since which election, or not at all; and leaders that tell its end."""

    def __init__(self, *told: Leader | int | None, ends: dict[Leader, int] | None = None) -> None:
        self.told, self.ends = told, ends or {}
        self.asked: list[int] = []
        self.was_asked = asyncio.Event()
        brokers = [SimpleNamespace(nodeId=n, host="kafka", port=9000 + n) for n in range(len(told))]
        self.cluster = SimpleNamespace(brokers=lambda: brokers, broker_metadata=lambda node: brokers[node])

    async def force_metadata_update(self) -> None:
        return None

    async def send(self, node: int, request: Any) -> Any:
        if type(request).__name__ == "_Metadata":
            return await self._metadata(self.told[node])
        _, _, ((topic, ((number, epoch, _, _),), _),) = request._fields
        self.asked.append(node)
        self.was_asked.set()
        end = self.ends.get(Leader(node, epoch))
        code = KafkaError.FENCED_LEADER_EPOCH if end is None else 0
        return SimpleNamespace(topics=[(topic, [(number, code, -1, end, epoch, {})], {})])

    async def _metadata(self, told: Leader | int | None) -> Any:
        if told is None:
            await asyncio.sleep(3600)
        code = told if isinstance(told, int) else 0
        partitions: list[Any] = [(0, 0, told.node, told.epoch, [], [], [], {})] if isinstance(told, Leader) else []
        return SimpleNamespace(topics=[(code, "runs", False, partitions, 0, {})])


OLD, NEW = Leader(0, 4), Leader(1, 5)


@pytest.mark.parametrize(
    "told", [(OLD, NEW, NEW), (NEW, OLD, NEW), (NEW, NEW, None), (NEW, OLD, OLD), (OLD, OLD, NEW, None, None)]
)
def test_leader_is_the_one_of_the_latest_election_that_anybody_knows(told: tuple[Leader | None, ...]) -> None:
    assert asyncio.run(leaders(client(Cluster(*told)), ["runs"])) == {AT: NEW}


def test_answer_of_less_than_half_is_none() -> None:
    """It may be that of the one that is cut off, alone."""
    told = Cluster(OLD, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_OR_PART)

    async def failing(node: int, request: Any) -> Any:
        if node:
            raise ConnectionError("gone")
        return await Cluster.send(told, node, request)

    told.send = failing  # type: ignore[method-assign]
    with pytest.raises(LeaderNotAvailableError):
        asyncio.run(leaders(client(told), ["runs"]))


def test_partition_that_is_being_elected_for_has_no_leader() -> None:
    with pytest.raises(LeaderNotAvailableError):
        asyncio.run(leaders(client(Cluster(OLD, Leader(-1, 5), Leader(-1, 5))), ["runs"]))


def test_topic_that_nobody_knows_or_that_we_may_not_see_is_told() -> None:
    unknown, refused = KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED

    with pytest.raises(TransportError, match="runs"):
        asyncio.run(leaders(client(Cluster(unknown, unknown, unknown)), ["runs"]))
    with pytest.raises(AccessDenied, match="runs"):
        asyncio.run(leaders(client(Cluster(refused, refused, refused)), ["runs"]))


def test_end_is_that_of_the_real_leader() -> None:
    """The story: two records of state were committed at the new leader when a home was taken over; the one that was cut
    off, asked by a client that had used it last, told the end of before them."""
    cluster = Cluster(OLD, NEW, NEW, ends={OLD: 1114, NEW: 1116})

    assert asyncio.run(_ends(client(cluster), [AT], Isolation.UNCOMMITTED)) == {AT: 1116}
    assert cluster.asked == [1]


def test_leader_that_does_not_lead_any_more_is_looked_up_again() -> None:
    cluster = Cluster(OLD, OLD, OLD, ends={NEW: 1116})

    async def asked() -> object:
        question = asyncio.ensure_future(_ends(client(cluster), [AT], Isolation.COMMITTED))
        await cluster.was_asked.wait()
        cluster.told = (OLD, NEW, NEW)
        return await question

    assert asyncio.run(asked()) == {AT: 1116}


def test_reader_of_a_leader_that_is_cut_off_begins_anew_at_brokers_that_know_the_new_one() -> None:
    """The story: the group's coordinator was another, of which the one that was cut off told the same as the others. So
    it was one of those that agreed, and the client that began there was led to it again half of the time."""
    cluster = Cluster(OLD, NEW, NEW)

    assert asyncio.run(_brokers(client(cluster), [AT])) == "kafka:9001,kafka:9002"


def test_broker_that_does_not_know_of_one_of_the_elections_is_no_place_to_begin_at() -> None:
    assert aware([Leader(1, 5, (0, 1, 2)), Leader(2, 7, (1, 2))]) == (1, 2)
    assert aware([Leader(1, 5, (0, 1)), Leader(2, 7, (2,))]) == ()
    assert aware([]) == ()


class Old(Cluster):
    """Brokers of a version that knows no such question for an end."""

    def __init__(self, **_: object) -> None:
        super().__init__(NEW)

    async def bootstrap(self) -> None:
        return None

    async def close(self) -> None:
        return None

    async def send(self, node: int, request: Any) -> Any:
        if type(request).__name__ == "_ListOffsets":
            raise NotImplementedError("Support for _ListOffsets v0 has not yet been added")
        return await super().send(node, request)


def test_brokers_that_are_too_old_to_be_asked_are_told_with_the_version_that_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With 2.7 each restore failed with a traceback, and at once again, for ever."""
    monkeypatch.setattr(asking, "AIOKafkaClient", Old)

    with pytest.raises(TransportError, match=r"ends of runs: expected brokers of Kafka 3\.0 or newer, .*_ListOffsets"):
        read_ends(KafkaSettings("nowhere:1"), "us", [AT], Isolation.COMMITTED)


class Group(Brokers):
    """A group whose members each coordinator has for itself."""

    def __init__(self, *opinions: int, members: dict[int, list[tuple[str, str]]]) -> None:
        super().__init__(*opinions)
        self.members = members

    async def force_metadata_update(self) -> None:
        return None

    async def send(self, node: int, request: object) -> Any:
        if type(request).__name__ != "_DescribeGroups":
            return await super().send(node, request)
        rows: list[Any] = [(member, None, client, "/", b"", b"", {}) for client, member in self.members[node]]
        return SimpleNamespace(groups=[(0, "g", "Stable", "consumer", "range", rows, 0, {})])


def test_members_are_those_of_the_coordinator_that_more_than_half_of_the_brokers_name() -> None:
    """A member sat for five minutes in the group of a coordinator that was cut off, and heard of nothing."""
    group = Group(0, 1, 1, members={0: [("us", "us-1")], 1: [("them", "them-7")]})

    found = asyncio.run(_members(client(group), "g", "members of g"))

    assert found.ids == (("them", "them-7"),)
    assert found.bootstrap == "kafka:9001,kafka:9002"
