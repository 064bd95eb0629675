"""Ending the affairs of the dead: their place in the group, and the transaction that they left open.

In the classic protocol a newcomer's join waits for every member that is known, and the dead one is
known until its session is over: 6 to 15 s in which nobody has its partitions. So a process in the slot
of one that died takes its predecessor out. Nobody else has its client id (R7), so that a member of that
name is a predecessor, or a process that should not be there: that one hears of it at its next heartbeat,
joins again, and is fenced by the producer's id.

An open transaction is ended by whoever takes the partitions over, by initialising its id (R7). librdkafka
could do that too, but while the broker is ending the transaction it asks again only every 500 ms.

Blocking, for helper threads. Imported when somebody has died: aiokafka takes a while.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aiokafka import errors as aio
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from farandole.errors import AccessDenied, TransportError
from farandole.transport.kafka.leftovers import forbidden
from farandole.transport.kafka.markers import end_own
from farandole.transport.kafka.security import for_aiokafka
from farandole.transport.kafka.settings import TRANSACTION_MAX, KafkaSettings
from farandole.transport.kafka.witnesses import coordinator

T = TypeVar("T")

log = logging.getLogger("farandole.transport")

AGAIN: Final = 0.02
"""Seconds before the broker is asked again for an id whose transaction it is ending: that takes it 5 to 50 ms."""

UNDER_WAY: Final = (
    aio.ConcurrentTransactions,
    aio.CoordinatorLoadInProgressError,
    aio.CoordinatorNotAvailableError,
    aio.NotCoordinatorError,
)
"""What it answers meanwhile, or while the id's coordinator changes."""


def leave(settings: KafkaSettings, group: str, members: list[str]) -> list[str]:
    """Say for these members (by member id) that they leave the group; one that has left already is no error.

    Returns those that the group's coordinator knew.

    Raises:
        TransportError: the group's coordinator cannot be reached.
    """

    async def say(client: AIOKafkaClient) -> list[str]:
        node = await _ready(client, (await coordinator(client, group)).node)
        gone = []
        for member in members:
            answer = await client.send(node, LeaveGroupRequest(group, member), group=ConnectionGroup.COORDINATION)
            if answer.error_code == 0:
                gone.append(member)
        return gone

    return _run(settings, f"{group}: its coordinator cannot be reached", say)


def fence(settings: KafkaSettings, transactional_id: str) -> None:
    """Initialise another's id: what it left open is aborted, and it can write nothing more (R7).

    What a broker has forgotten of it is ended first as it had been, if we may: after that nobody could tell how.

    Raises:
        TransportError: it could not be initialised; ask again.
    """

    async def initialise(client: AIOKafkaClient) -> None:
        request = InitProducerIdRequest(transactional_id, round(TRANSACTION_MAX.total_seconds() * 1000))
        while True:
            try:
                node = await _coordinator(client, CoordinationType.TRANSACTION, transactional_id)
                answer = await client.send(node, request, group=ConnectionGroup.COORDINATION)
                if answer.error_code == 0:
                    return
                raise aio.for_code(answer.error_code)()
            except UNDER_WAY:
                await asyncio.sleep(AGAIN)

    try:
        end_own(settings, transactional_id, is_patient=False)
    except AccessDenied as error:
        raise forbidden(transactional_id, error) from error
    except TransportError as error:
        log.info("%s: what a broker may have forgotten of it is not known: %s", transactional_id, error)
    _run(settings, f"{transactional_id}: it was not fenced", initialise)


def _run(settings: KafkaSettings, failed: str, ask: Callable[[AIOKafkaClient], Awaitable[T]]) -> T:
    return asyncio.run(_with_client(settings, failed, ask))


async def _with_client(settings: KafkaSettings, failed: str, ask: Callable[[AIOKafkaClient], Awaitable[T]]) -> T:
    client = AIOKafkaClient(
        bootstrap_servers=settings.bootstrap,
        client_id="farandole.succession",
        request_timeout_ms=round(settings.patience * 1000),
        **for_aiokafka(settings.extra),
    )
    try:
        async with asyncio.timeout(settings.patience):
            await client.bootstrap()
            return await ask(client)
    except (aio.KafkaError, OSError, TimeoutError) as error:
        raise TransportError(f"{failed}: {error!r}") from error
    finally:
        with contextlib.suppress(aio.KafkaError, OSError):
            await client.close()


async def _coordinator(client: AIOKafkaClient, kind: int, key: str) -> int:
    """The broker that is responsible, connected to."""
    return await _ready(client, await client.coordinator_lookup(kind, key))


async def _ready(client: AIOKafkaClient, node: int) -> int:
    if not await client.ready(node, group=ConnectionGroup.COORDINATION):
        raise aio.NodeNotReadyError(f"node {node}")
    return node
