"""What several brokers say of who leads a partition and who coordinates a group; who is believed.

A broker that is cut off from the others, and not from us, goes on answering: it leads what it led, coordinates what it
coordinated, and knows nothing of what was written since. librdkafka does not find out by itself: it asks the broker
that it used last (`rd_kafka_broker_weight_usable`), and so, again and again, the one that it is wrong about (0104).

Of a partition's leaders the one with the highest epoch is right; of a group's coordinators the one whom more than half
of the brokers name. Either needs answers of more than half, so that one of them is not cut off.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from aiokafka import errors as aio
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.types import Boolean, CompactArray, Int16, Int32, Schema
from confluent_kafka import KafkaError

from farandole.errors import TransportError
from farandole.transport.kafka.access import UNAUTHORIZED, unauthorized
from farandole.transport.kafka.messages import TAGS, TEXT, message
from farandole.transport.port import TopicPartition

WITNESSES = 7
"""Most brokers that are asked: of a usual cluster all, so that more than half of them are more than are cut off
together, wherever it is cut. Of a larger one three may be cut off."""

STRAGGLERS_S = 0.5
"""How long those are waited for who have not answered when more than half have, where the others may know less."""


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads a partition, since which election, and the brokers that know of that one."""

    node: int
    epoch: int
    by: tuple[int, ...] = field(default=(), compare=False)


class Named(NamedTuple):
    """Who coordinates a group, and the brokers that say so."""

    node: int
    by: tuple[int, ...]

    def bootstrap(self, client: AIOKafkaClient) -> str:
        """Addresses of those brokers: whoever asks them alone is not led to a coordinator that is cut off."""
        return addresses(client, self.by)


def addresses(client: AIOKafkaClient, nodes: Iterable[int]) -> str:
    """Of these brokers, for a client to begin at."""
    brokers = [client.cluster.broker_metadata(node) for node in nodes]
    return ",".join(_address(it.host, it.port) for it in brokers if it is not None)


def _address(host: str, port: int) -> str:
    """As librdkafka takes it: a literal IPv6 address has brackets there, and none in what a broker tells of itself."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def coordinator(client: AIOKafkaClient, group: str) -> Named:
    """Who coordinates the group, as more than half of those say who are asked.

    Raises:
        AccessDenied: we may not see the group.
        GroupCoordinatorNotAvailableError: they disagree, or do not answer.
    """
    named: dict[int, list[int]] = {}

    def settled(asked: int) -> bool:
        return any(len(by) * 2 > asked for by in named.values())

    def take(node: int, answer: Any) -> None:
        if answer.error_code in UNAUTHORIZED:
            raise unauthorized(KafkaError(answer.error_code), f"group {group}")
        if not answer.error_code:
            named.setdefault(int(answer.coordinator_id), []).append(node)

    asked = await _ask(client, lambda: FindCoordinatorRequest(group, 0), take, settled)
    for node, by in named.items():
        if len(by) * 2 > asked:
            return Named(node, tuple(sorted(by)))
    told = {node: len(by) for node, by in named.items()}
    raise aio.GroupCoordinatorNotAvailableError(f"{group}: {told} of {asked} brokers")


async def leaders(client: AIOKafkaClient, topics: Collection[str]) -> Mapping[TopicPartition, Leader]:
    """Who leads the partitions of these topics, by the latest election of which anybody knows.

    Raises:
        AccessDenied: we may not see one of the topics.
        TransportError: nobody knows one of them.
        LeaderNotAvailableError: fewer than half of the brokers answer, or one of the partitions has no leader now.
    """
    answers: list[tuple[int, Any]] = []

    def take(node: int, answer: Any) -> None:
        answers.append((node, answer))

    asked = await _ask(client, lambda: _Metadata([(name, {}) for name in topics], False, False, False), take)
    if len(answers) * 2 <= asked:
        raise aio.LeaderNotAvailableError(f"{len(answers)} of {asked} brokers answer")
    found: dict[TopicPartition, Leader] = {}
    unknown = Counter[str]()
    for teller, answer in answers:
        for code, name, _, partitions, _, _ in answer.topics:
            if code in UNAUTHORIZED:
                raise unauthorized(KafkaError(code), f"topic {name}")
            unknown[name] += code == KafkaError.UNKNOWN_TOPIC_OR_PART
            for _, number, node, epoch, *_ in partitions:
                at = TopicPartition(name, number)
                if at not in found or found[at].epoch < epoch:
                    found[at] = Leader(node, epoch, (teller,))
                elif found[at].epoch == epoch:
                    found[at] = replace(found[at], by=(*found[at].by, teller))
    if missing := [name for name, said in unknown.items() if said == len(answers)]:
        raise TransportError(f"topic {missing[0]}: {KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART).str()}")
    if leaderless := [at for at, leader in found.items() if leader.node < 0]:
        raise aio.LeaderNotAvailableError(f"{leaderless[0].topic}/{leaderless[0].partition}")
    return found


def aware(leaders: Iterable[Leader]) -> tuple[int, ...]:
    """The brokers that know of the election of each of these: of none that led one of the partitions and is cut off."""
    known = [set(each.by) for each in leaders]
    return tuple(sorted(set.intersection(*known))) if known else ()


async def _ask(
    client: AIOKafkaClient,
    request: Callable[[], Any],
    take: Callable[[int, Any], None],
    settled: Callable[[int], bool] = lambda _: False,
) -> int:
    """Hand over the answers of some brokers as they come, until it is `settled`; how many were asked.

    Once more than half have answered, the others are waited for a little only: one that stands still answers never.
    """
    nodes = [each.nodeId for each in client.cluster.brokers()]
    asked = random.sample(nodes, min(WITNESSES, len(nodes)))
    under_way = {asyncio.ensure_future(client.send(node, request())): node for node in asked}
    heard, pending = 0, set(under_way)
    try:
        while pending and not settled(len(asked)):
            patience = STRAGGLERS_S if heard * 2 > len(asked) else None
            done, pending = await asyncio.wait(pending, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
            for each in done:
                if isinstance(error := each.exception(), aio.KafkaError | OSError):
                    continue
                if error is not None:
                    raise error
                heard += 1
                take(under_way[each], each.result())
    finally:
        for each in pending:
            each.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
    return len(asked)


_Metadata = message(
    "_Metadata",
    3,
    9,
    Schema(
        ("topics", CompactArray(("name", TEXT), TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        TAGS,
    ),
    Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node_id", Int32), ("host", TEXT), ("port", Int32), ("rack", TEXT), TAGS)),
        ("cluster_id", TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", TEXT),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition_index", Int32),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("replica_nodes", CompactArray(Int32)),
                        ("isr_nodes", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        TAGS,
                    ),
                ),
                ("topic_authorized_operations", Int32),
                TAGS,
            ),
        ),
        ("cluster_authorized_operations", Int32),
        TAGS,
    ),
)
