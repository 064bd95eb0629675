"""Positions that wait for the end of a transaction which has ended: a broker keeps in memory what its log has settled.

A broker that becomes a group's coordinator twice within seconds, as an only one does when it starts after a crash, may
let the first load of the group's positions end in the second's place [Kafka 4.3.1: "Ignored load completion ...
because context is in ACTIVE state"; decision 0112]. A commit replayed over its own end would look so: whoever takes
such a partition waits for its position.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from aiokafka.client import AIOKafkaClient

from farandole.errors import TransportError
from farandole.transport.kafka.asking import ask
from farandole.transport.kafka.forgotten import CERTAIN_S, open_in_positions
from farandole.transport.kafka.inspection import CLIENT_ID
from farandole.transport.kafka.messages import UNSPOKEN
from farandole.transport.kafka.positions import fetched
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.kafka.witnesses import coordinator
from farandole.transport.port import Position, TopicPartition

LOOKS = 3
"""All must find it, each `CERTAIN_S` after the one before: what waits for a transaction waits for another by then."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Positions of a group that nobody will settle, and the broker that has them so."""

    group: str
    places: tuple[TopicPartition, ...]
    broker: int


def pending(settings: KafkaSettings, groups: Sequence[str]) -> list[Pending]:
    """Those of these groups. Blocking; some seconds longer where there are such.

    Raises:
        AccessDenied: we may not see a group.
        TransportError: the cluster cannot be reached, or does not tell.
    """

    async def asked(client: AIOKafkaClient) -> list[Pending]:
        return [each for group in groups for each in await _of_group(client, group)]

    try:
        return ask(settings, CLIENT_ID, asked) if groups else []
    except UNSPOKEN as error:
        raise TransportError(f"positions: {error}") from error


async def _of_group(client: AIOKafkaClient, group: str) -> list[Pending]:
    looks = [await _waiting(client, group)]
    while looks[-1].places and len(looks) < LOOKS:
        await asyncio.sleep(CERTAIN_S)
        looks.append(await _waiting(client, group))
    if any(one.open & other.open for one, other in pairwise(looks)):
        return []  # its end is what they wait for
    # A group at work has another transaction at each look, and its positions go on meanwhile.
    same = set.intersection(*(set(look.places.items()) for look in looks))
    places = tuple(sorted(at for at, _ in same))
    return [Pending(group, places, (await coordinator(client, group)).node)] if places else []


class _Look(NamedTuple):
    """Places on which a position is pending, with the one before it, and what is open on the log of positions."""

    places: Mapping[TopicPartition, Position | None]
    open: frozenset[tuple[int, int]]


async def _waiting(client: AIOKafkaClient, group: str) -> _Look:
    settled = await fetched(client, group, stable=True)
    known = await fetched(client, group, stable=False)
    found = {at: position for at, position in known.items() if at not in settled}
    return _Look(found, frozenset(await open_in_positions(client, group)) if found else frozenset())
