"""The frame around a payload: which schema wrote it.

Avro single-object encoding (`C3 01`, then the CRC-64-AVRO fingerprint, little endian) inside
farandole and wherever no registry is configured; Confluent's (`00`, then the schema's id, big
endian) on topics of a deployment with a registry; bare JSON text from those who know
neither. The first byte tells them apart. Knows nothing of schemas.
"""

from dataclasses import dataclass
from enum import Enum

from farandole.errors import RecordError

SINGLE_OBJECT = b"\xc3\x01"
CONFLUENT = b"\x00"
FINGERPRINT_BYTES = 8
ID_BYTES = 4

_JSON_FIRST = frozenset(b'{["-0123456789tfn \t\r\n')


class Kind(Enum):
    """How a value names its schema."""

    SINGLE_OBJECT = "single-object"
    CONFLUENT = "confluent"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Frame:
    """A value taken apart; `id` is the fingerprint (8 bytes), the registry's id (int), or None for JSON."""

    kind: Kind
    id: bytes | int | None
    body: bytes


def unframe(value: bytes | None) -> Frame:
    """Take a value apart.

    Raises:
        RecordError: it is empty, cut short, or begins like none of the three.
    """
    if not value:
        raise RecordError("expected a framed payload or JSON, but the value is empty")
    if value[:2] == SINGLE_OBJECT:
        if len(value) < 2 + FINGERPRINT_BYTES:
            raise RecordError(f"expected a fingerprint of 8 bytes after C3 01, but only {len(value) - 2} follow")
        return Frame(Kind.SINGLE_OBJECT, value[2:10], value[10:])
    if value[:1] == CONFLUENT:
        if len(value) < 1 + ID_BYTES:
            raise RecordError(f"expected a schema id of 4 bytes after 00, but only {len(value) - 1} follow")
        return Frame(Kind.CONFLUENT, int.from_bytes(value[1:5], "big"), value[5:])
    if value[0] in _JSON_FIRST:
        return Frame(Kind.JSON, None, value)
    begin = value[:4].hex(" ").upper()
    raise RecordError(f"expected Avro (C3 01 or 00) or JSON, but the value begins with {begin}")


def single_object(fingerprint: bytes, body: bytes) -> bytes:
    """A body in Avro's single-object frame."""
    return SINGLE_OBJECT + fingerprint + body


def confluent(schema_id: int, body: bytes) -> bytes:
    """A body in Confluent's frame."""
    return CONFLUENT + schema_id.to_bytes(ID_BYTES, "big") + body
