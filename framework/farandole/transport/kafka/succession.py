"""A process in the slot of one that died takes its predecessor out of the group, instead of waiting for its session.

In the classic protocol a newcomer's join waits for every member that is known, and the dead one is
known until its session is over: 6 to 15 s in which nobody has its partitions. Nobody else has its
client id (R7), so that a member of that name is a predecessor, or a process that should not be there:
that one hears of it at its next heartbeat, joins again, and is fenced by the producer's id.

Blocking, for a helper thread, before the first join; without it the group only waits longer.
"""

import asyncio
import contextlib

from aiokafka import errors as aio
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.protocol.group import LeaveGroupRequest

from farandole.errors import TransportError
from farandole.transport.kafka.security import for_aiokafka
from farandole.transport.kafka.settings import KafkaSettings


def leave(settings: KafkaSettings, group: str, members: list[str]) -> None:
    """Say for these members (by member id) that they leave the group; one that has left already is no error.

    Raises:
        TransportError: the group's coordinator cannot be reached.
    """
    asyncio.run(_leave(settings, group, members))


async def _leave(settings: KafkaSettings, group: str, members: list[str]) -> None:
    client = AIOKafkaClient(
        bootstrap_servers=settings.bootstrap,
        client_id="farandole.succession",
        request_timeout_ms=round(settings.patience * 1000),
        **for_aiokafka(settings.extra),
    )
    try:
        async with asyncio.timeout(settings.patience):
            await client.bootstrap()
            node = await client.coordinator_lookup(CoordinationType.GROUP, group)
            if not await client.ready(node, group=ConnectionGroup.COORDINATION):
                raise aio.NodeNotReadyError(f"node {node}")
            for member in members:
                await client.send(node, LeaveGroupRequest(group, member), group=ConnectionGroup.COORDINATION)
    except (aio.KafkaError, OSError, TimeoutError) as error:
        raise TransportError(f"{group}: its coordinator cannot be reached: {error!r}") from error
    finally:
        with contextlib.suppress(aio.KafkaError, OSError):
            await client.close()
