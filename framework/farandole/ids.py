"""Names, ids and placement: who is called what, and on which partition it lives.

Deterministic throughout, except `generated_run_id`, which the shell calls with its own
instant and random bits. Knows nothing of records or Kafka clients.
"""

import hashlib
import re
from datetime import UTC, datetime
from typing import NewType
from uuid import UUID

RunId = NewType("RunId", str)
StepName = NewType("StepName", str)
DefinitionHash = NewType("DefinitionHash", str)

Uuid = UUID
"""The standard library's type, for the pure packages: those may read a UUID, and not import what can draw one."""

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z")
"""Pipelines, steps, agents, units, namespaces: at most 63 characters, safe in topic names, metrics and paths."""

TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}\Z")
"""Topics, on every log as on Kafka, which refuses `.` and `..` too. Source: org.apache.kafka.common.internals.Topic."""

TOPIC_RULE = "1 to 249 of A-Z a-z 0-9 . _ -, and neither . nor .."
"""`TOPIC` in words, for messages."""

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
"""Run ids: no `/` and no `#`, which separate the parts of keys; at most 128 characters."""

SLOT = re.compile(r"[A-Za-z0-9_-]{1,63}\Z")
"""Slots of processes: the last part of a transactional id, which is written beside every position in so much room."""

SLOT_RULE = "1 to 63 of A-Z a-z 0-9 _ -"
"""`SLOT` in words, for messages."""

NO_ITEM = -1
"""The item number of a step that is not mapped."""


def is_name(text: str) -> bool:
    """Whether `text` may name a pipeline, step, agent, unit or namespace."""
    return NAME.match(text) is not None


def is_topic(text: str) -> bool:
    """Whether `text` may name a topic."""
    return TOPIC.match(text) is not None and text not in (".", "..")


def is_run_id(text: str) -> bool:
    """Whether `text` may be a run id."""
    return RUN_ID.match(text) is not None


def is_slot(text: str) -> bool:
    """Whether `text` may tell a process from its peers."""
    return SLOT.match(text) is not None


def is_text(text: str) -> bool:
    """Whether UTF-8 can hold a text: not half of a surrogate pair, which a wrong byte of a command line becomes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def murmur2(data: bytes) -> int:
    """Java's `Utils.murmur2` as an unsigned 31-bit number (`toPositive`).

    Source: org.apache.kafka.common.utils.Utils.murmur2, seed 0x9747b28c.
    """
    m, length = 0x5BD1E995, len(data)
    h = 0x9747B28C ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & 0xFFFFFFFF
        k = (k ^ (k >> 24)) * m & 0xFFFFFFFF
        h = (h * m & 0xFFFFFFFF) ^ k
    if rest := length & 3:
        h = (h ^ int.from_bytes(data[whole : whole + rest], "little")) * m & 0xFFFFFFFF
    h = (h ^ (h >> 13)) * m & 0xFFFFFFFF
    return (h ^ (h >> 15)) & 0x7FFFFFFF


def partition_of(key: str | bytes, partitions: int) -> int:
    """Partition of a key among `partitions`, as Java's default partitioner places it."""
    return murmur2(key.encode() if isinstance(key, str) else key) % partitions


def inbox_key(run: str, step: str, item: int) -> str:
    """Key of a trigger: the run, or `run/step/item` for a map item."""
    return run if item == NO_ITEM else f"{run}/{step}/{item}"


def attempt_id(run: str, step: str, item: int, attempt: int) -> str:
    """`run/step/iteration/item/attempt`: names one try; iteration is 0 until loops exist."""
    return f"{run}/{step}/0/{item if item != NO_ITEM else '-'}/{attempt}"


def agent_fact_id(run: str, step: str, item: int, attempt: int, kind: str) -> str:
    """Id of a fact reported by an agent (DESIGN section 4)."""
    return f"{attempt_id(run, step, item, attempt)}/{kind}"


def consequence_id(cause: str, kind: str, n: int) -> str:
    """Id of anything that follows from `cause`: the n-th record of its kind."""
    return f"{cause}/{kind}/{n}"


def idempotency_key(run: str, step: str, item: int) -> str:
    """Stable over attempts and redeliveries of one unit of work."""
    return f"{run}:{step}:{item if item != NO_ITEM else '-'}"


def derived_run_id(topic: str, partition: int, offset: int) -> str:
    """Run id of a start command that names none: the place of the command, so that a reread finds the same run."""
    return f"{topic}.{partition}.{offset}"


def generated_run_id(instant: datetime, random_bits: int) -> str:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then `random_bits` (74 bits)."""
    ms = int(instant.timestamp() * 1000) & ((1 << 48) - 1)
    rand_a, rand_b = (random_bits >> 62) & 0xFFF, random_bits & ((1 << 62) - 1)
    return str(UUID(int=ms << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b))


def generated_at(run_id: str) -> datetime | None:
    """The instant inside a generated run id, or None if the id was chosen by a person."""
    try:
        uuid = UUID(run_id)
        if uuid.version != 7 or str(uuid) != run_id:
            return None
        return datetime.fromtimestamp((uuid.int >> 80) / 1000, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None  # no UUID, or of a year that no clock of ours has shown


def sha256(data: bytes) -> str:
    """Hex digest that names content: definitions, artifacts, params."""
    return hashlib.sha256(data).hexdigest()
