"""Who is in a group, as the broker says that more than half of the brokers take for its coordinator.

A coordinator that is cut off has members of its own: whoever has not heard of the cut is in its group, holds partitions
there that others have, and can commit nothing.
"""

import asyncio
from typing import Any, NamedTuple

from aiokafka import errors as aio
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.types import Boolean, CompactArray, CompactBytes, Int16, Int32, Schema
from confluent_kafka import KafkaError

from farandole.errors import TransportError
from farandole.transport.kafka.access import UNAUTHORIZED, unauthorized
from farandole.transport.kafka.asking import ask_patiently
from farandole.transport.kafka.messages import TAGS, TEXT, message
from farandole.transport.kafka.positions import MOVING, RETRY_S
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.kafka.witnesses import coordinator


class Members(NamedTuple):
    """Client id and member id of each member; `bootstrap`: the brokers that agree on who coordinates the group."""

    ids: tuple[tuple[str, str], ...]
    bootstrap: str


def read_members(settings: KafkaSettings, client_id: str, group: str) -> Members:
    """The members of a group; none if nobody knows it.

    Raises:
        AccessDenied: we may not see the group.
        TransportError: there was no answer.
    """
    about = f"members of {group}"
    return ask_patiently(settings, client_id, about, lambda client: _members(client, group, about))


async def _members(client: AIOKafkaClient, group: str, about: str) -> Members:
    while True:
        try:
            named = await coordinator(client, group)
            answer = await client.send(named.node, _DescribeGroups([group], False))
            ((code, *_, members, _, _),) = answer.groups
            if code in UNAUTHORIZED:
                raise unauthorized(KafkaError(code), about)
            if not code:
                return Members(_ids(members), named.bootstrap(client))
            if code not in MOVING:
                raise TransportError(f"{about}: {KafkaError(code).str()}")
        except (aio.KafkaError, OSError):
            await client.force_metadata_update()
        await asyncio.sleep(RETRY_S)


def _ids(members: Any) -> tuple[tuple[str, str], ...]:
    return tuple((client, member) for member, _, client, *_ in members)


_DescribeGroups = message(
    "_DescribeGroups",
    15,
    5,
    Schema(("groups", CompactArray(TEXT)), ("include_authorized_operations", Boolean), TAGS),
    Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            CompactArray(
                ("error_code", Int16),
                ("group_id", TEXT),
                ("group_state", TEXT),
                ("protocol_type", TEXT),
                ("protocol_data", TEXT),
                (
                    "members",
                    CompactArray(
                        ("member_id", TEXT),
                        ("group_instance_id", TEXT),
                        ("client_id", TEXT),
                        ("client_host", TEXT),
                        ("member_metadata", CompactBytes),
                        ("member_assignment", CompactBytes),
                        TAGS,
                    ),
                ),
                ("authorized_operations", Int32),
                TAGS,
            ),
        ),
        TAGS,
    ),
)
