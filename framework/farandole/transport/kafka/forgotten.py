"""Transactions that have ended for their coordinator and are open in a partition: nobody ends them any more (KIP-664).

A broker that starts after a crash rolls back what it finds unfinished, and finishes what was being committed. For
partitions that have no leader at that moment, as those of an only broker have none for a second, it takes it that
they were deleted, and leaves their marker out [Kafka 4.3.1: "Couldn't find leader endpoint for partitions ... likely
deleted already and hence can be skipped"; in 2 of 4 kills, which the next moment mostly put right]. Readers of
committed records stand before such a transaction for ever. How its coordinator ended it can be told mostly (`endings`);
`markers` ends it so. A person decides the rest: aborted, it is torn if its other partitions have it committed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import errors as aio
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from confluent_kafka import KafkaError

from farandole.errors import TransportError
from farandole.transport.kafka.access import UNAUTHORIZED, refusal
from farandole.transport.kafka.asking import ask, ask_patiently
from farandole.transport.kafka.endings import Ending, ending_of
from farandole.transport.kafka.ends import RETRY_S
from farandole.transport.kafka.inspection import CLIENT_ID, Described, described, is_under_way
from farandole.transport.kafka.messages import UNSPOKEN
from farandole.transport.kafka.producers import Open, leader_of, open_in, unled
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.port import TopicPartition

CERTAIN_S = 1.0
"""Seconds between the two looks of which both must find it: a transaction that ends meanwhile is none of them."""

OFFSETS = "__consumer_offsets"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A transaction of ours that is open in a partition from `start` on, and what its coordinator says of its writer.

    `coordinator_epoch` is the one under which the partition took its last marker of this producer; -1: none yet.
    `ending` is what became of it for its coordinator, and of what it wrote to other partitions. `is_of_last_epoch`: the
    coordinator's last transaction had the epoch of this one.
    """

    at: TopicPartition
    start: int
    transactional_id: str
    state: str
    producer_id: int
    producer_epoch: int
    coordinator_epoch: int
    ending: Ending
    is_of_last_epoch: bool = True


def forgotten(settings: KafkaSettings, prefix: str) -> list[Forgotten]:
    """Those in partitions of topics that begin with `prefix`, and in groups' positions, where we may look. Blocking.

    Only writers whose transactional ids we may see: another's may be under way without our being told. In positions,
    which are everybody's, only writers whose ids begin so. Partitions without a leader are passed over: what there is
    in the others is to be told all the same.

    Raises:
        AccessDenied: we may not look at one of the topics.
        TransportError: the cluster cannot be reached, or does not tell.
    """
    try:
        found = ask(settings, CLIENT_ID, lambda client: _certainly(client, prefix, is_whole=True))
    except UNSPOKEN as error:
        raise TransportError(f"producers: {error}") from error
    return [each for each in found if each.at.topic != OFFSETS or each.transactional_id.startswith(prefix)]


def left_by(settings: KafkaSettings, transactional_id: str, *, is_patient: bool = True) -> list[Forgotten]:
    """Such transactions of one writer, in its namespace and as far as we may look, in order of place. Blocking.

    Asked until each partition has answered: of a topic that was just made not every broker knows the leader yet, and
    a partition without one may be what its broker has left the marker out of a moment ago. Unless `is_patient` each is
    asked once, and those without a leader are passed over.

    Raises:
        TransportError: the cluster cannot be reached or is too old, or there was no answer; with what was missing.
    """
    namespace, unit, *_ = f"{transactional_id}.".split(".")
    prefix, missing = f"{namespace}.", ""

    async def asked(client: AIOKafkaClient) -> list[Forgotten]:
        nonlocal missing
        while True:
            try:
                return await _certainly(client, prefix, is_whole=False, group=prefix + unit, writer=transactional_id)
            except (TransportError, aio.KafkaError, OSError) as error:
                missing = f": {error}"
                await asyncio.sleep(RETRY_S)

    async def asked_once(client: AIOKafkaClient) -> list[Forgotten]:
        return await _certainly(
            client, prefix, is_whole=False, group=prefix + unit, writer=transactional_id, passes_over=True
        )

    try:
        if is_patient:
            found = ask_patiently(settings, CLIENT_ID, f"producers of {prefix}*", asked)
        else:
            found = ask(settings, CLIENT_ID, asked_once)
    except UNSPOKEN as error:
        raise TransportError(f"producers of {prefix}*: {error}") from error
    except TransportError as error:
        raise type(error)(f"{error}{missing}") from error
    return sorted(found, key=lambda it: (it.at, it.start))


async def open_in_positions(client: AIOKafkaClient, group: str) -> set[tuple[int, int]]:
    """Producer id and first offset of what is open where the positions of a group are, which has others' too.

    Raises:
        AccessDenied: we may not look there.
        TransportError: it has no leader, or another error.
    """
    cluster = await client.fetch_all_metadata()
    count = len(cluster.partitions_for_topic(OFFSETS) or ())
    at = TopicPartition(OFFSETS, _place_of(group, count) if count else 0)
    return {(each.producer_id, each.start) for each in await _open_at(client, cluster, at)}


async def looked_again(client: AIOKafkaClient, it: Forgotten) -> Forgotten | None:
    """What there is of one now; None: it has ended there, or its writer goes on with it.

    Raises:
        AccessDenied: we may not look there.
        TransportError: its partition has no leader, or another error.
    """
    opened = await _open_at(client, await client.fetch_all_metadata(), it.at)
    same = [each for each in opened if (each.start, each.producer_id) == (it.start, it.producer_id)]
    return next(iter(await _over(client, same)), None)


async def _open_at(client: AIOKafkaClient, cluster: ClusterMetadata, at: TopicPartition) -> list[Open]:
    leader = leader_of(cluster, at)
    if leader is None:
        raise unled([at])
    ((_, error, opened),) = await open_in(client, leader, {at.topic: [at.partition]})
    if error:
        raise refusal(KafkaError(error), f"producers of {at.topic}/{at.partition}")
    return opened


async def _certainly(
    client: AIOKafkaClient,
    prefix: str,
    is_whole: bool,
    group: str = "",
    *,
    writer: str = "",
    passes_over: bool = False,
) -> list[Forgotten]:
    """As `forgotten` if `is_whole`. Else of one `writer` of this group: what it may not look at is passed over, and
    what cannot be asked now is an error, unless it `passes_over` that. Under load some transaction of another always
    ends between two questions: it is no reason for a second look."""

    async def found() -> list[Forgotten]:
        told = await _over(client, await _open(client, prefix, is_whole, group, passes_over=passes_over))
        return [each for each in told if writer in ("", each.transactional_id)]

    first = await found()
    if not first:
        return []
    await asyncio.sleep(CERTAIN_S)
    again = {(each.at, each.start, each.producer_id) for each in await found()}
    return [each for each in first if (each.at, each.start, each.producer_id) in again]


async def _over(client: AIOKafkaClient, opened: Sequence[Open]) -> list[Forgotten]:
    """What of it is not under way for its coordinator, which is asked now: after the partitions."""
    writers: dict[int, list[Described]] = {}
    if opened:
        for each in await described(client, sorted({each.producer_id for each in opened})):
            writers.setdefault(each.producer_id, []).append(each)
    return [
        _of(it, known[0])
        for it in opened
        if (known := writers.get(it.producer_id))
        and not any(is_under_way(each, it.producer_epoch, it.at) for each in known)
    ]


def _of(it: Open, known: Described) -> Forgotten:
    return Forgotten(
        it.at,
        it.start,
        known.transactional_id,
        known.state,
        it.producer_id,
        it.producer_epoch,
        it.coordinator_epoch,
        ending_of(known, it.producer_epoch, it.last_ms),
        known.producer_epoch == it.producer_epoch,
    )


async def _open(
    client: AIOKafkaClient, prefix: str, is_whole: bool, group: str, *, passes_over: bool = False
) -> list[Open]:
    """Each transaction that is open in a partition."""
    cluster = await client.fetch_all_metadata()
    asked: dict[int, dict[str, list[int]]] = {}
    leaderless: list[TopicPartition] = []
    for at in _places(cluster, prefix, group):
        leader = leader_of(cluster, at)
        if leader is not None:
            asked.setdefault(leader, {}).setdefault(at.topic, []).append(at.partition)
        else:
            leaderless.append(at)
    if leaderless and not (is_whole or passes_over):
        raise unled(leaderless)
    found = []
    for leader, topics in asked.items():
        for at, error, opened in await open_in(client, leader, topics):
            # The positions of all groups are what few may read.
            if error and (at.topic != OFFSETS if is_whole else error not in UNAUTHORIZED):
                raise refusal(KafkaError(error), f"producers of {at.topic}/{at.partition}")
            found += opened
    return found


def _places(cluster: ClusterMetadata, prefix: str, group: str) -> list[TopicPartition]:
    """Partitions of topics that begin with `prefix`, and those of the positions: of this group, or of all."""
    found = []
    for topic in sorted(cluster.topics(exclude_internal_topics=False)):
        numbers = sorted(cluster.partitions_for_topic(topic) or ())
        if topic == OFFSETS and group and numbers:
            numbers = [_place_of(group, len(numbers))]
        if topic == OFFSETS or topic.startswith(prefix):
            found += [TopicPartition(topic, number) for number in numbers]
    return found


def _place_of(group: str, partitions: int) -> int:
    """The partition of `OFFSETS` that has a group's positions.

    Source: Kafka's `GroupCoordinatorService.partitionFor`, `Utils.abs(groupId.hashCode()) % partitions`.
    """
    hashed = 0
    for letter in group:  # ASCII, so that these are Java's letters too
        hashed = (31 * hashed + ord(letter)) % 2**32
    return min(hashed, 2**32 - hashed) % 2**31 % partitions
