"""The CloudEvents envelope that every record carries in its headers (binary mode).

Attributes are CloudEvents 1.0.2's; the extensions are ours (DESIGN section 4). The value
is left alone, so that an inbox is plain data for Connect, Flink or kcat. Knows nothing of
the value's encoding.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from farandole.errors import RecordError
from farandole.ids import NO_ITEM

SPEC_VERSION = "1.0"
AVRO = "application/avro"
JSON = "application/json"

TRACE_CHARACTERS_MAX = 128
"""Longest trace context that is taken: W3C's has 55, a stranger may send anything, and all that follows repeats it."""

Headers = Sequence[tuple[str, bytes]]
"""Kafka record headers: ordered, values as bytes."""


class Envelope(msgspec.Struct, frozen=True):
    """Who wrote a record, of what type, about which run, because of what.

    `input` names the consumed record (`topic/partition/offset`), `cause` the id of the fact it
    follows from; `folded` is `partition/position` (see the coordinator), `home` the home partition
    where the key would place the record elsewhere; `params` are the projected params (base64), `start` the whole
    ones of a run that this trigger starts. `epoch`: what the
    owner's epoch is added to in the fencing token of a trigger's attempt (docs/decisions/0071).
    """

    id: str
    type: str
    source: str
    time: datetime
    run: str = ""
    step: str = ""
    iteration: int = 0
    item: int = NO_ITEM
    attempt: int = 0
    epoch: int = 0
    definition: str = ""
    cause: str = ""
    input: str = ""
    agent: str = ""
    params: str = ""
    start: str = ""
    home: str = ""
    folded: str = ""
    traceparent: str = ""
    content_type: str = AVRO

    def headers(self) -> list[tuple[str, bytes]]:
        """As Kafka headers: required attributes first, extensions only where set."""
        out = [
            _SPECIFICATION,
            ("ce_id", self.id.encode()),
            ("ce_source", self.source.encode()),
            ("ce_type", self.type.encode()),
            ("ce_time", rfc3339(self.time).encode()),
            ("content-type", self.content_type.encode()),
        ]
        if self.run:
            out.append(("ce_subject", self.run.encode()))
        for name, field in _TEXT:
            if text := getattr(self, field):
                out.append((name, text.encode()))
        if self.step:
            out.append(("ce_iteration", b"%d" % self.iteration))
        if self.item != NO_ITEM:
            out.append(("ce_item", b"%d" % self.item))
        if self.attempt:
            out.append(("ce_attempt", b"%d" % self.attempt))
        if self.epoch:
            out.append(("ce_epoch", b"%d" % self.epoch))
        if self.traceparent:
            out.append(("traceparent", self.traceparent.encode()))
        return out


_SPECIFICATION = ("ce_specversion", SPEC_VERSION.encode())
_EXTENSIONS = ("run", "step", "definition", "cause", "input", "agent", "params", "start", "home", "folded")
_TEXT = tuple(("ce_" + field, field) for field in _EXTENSIONS)


@lru_cache(maxsize=64)
def rfc3339(instant: datetime) -> str:
    """An aware instant as RFC 3339 text in UTC with milliseconds, as CloudEvents asks of `time`."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant_of(timestamp_ms: int) -> datetime:
    """The instant of a log's timestamp; the epoch where it has none, or one that no calendar has (any producer may
    write one)."""
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, tz=UTC)


def trace_id(traceparent: str) -> str:
    """The trace of a W3C `traceparent`; empty if there is none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= 4 else ""


def parse_envelope(headers: Headers) -> Envelope:
    """The envelope in a record's headers; unknown headers are ignored, the first of a repeated name counts.

    A trace context that is too long to be one is no reason to refuse a record: it is left out.

    Raises:
        RecordError: a required attribute is missing or a number, an instant or the text is malformed
            (an instant without an offset, a number over 64 bits).
    """
    given: dict[str, Any] = {}
    try:
        for name, value in reversed(headers):
            if name in _READ:
                field, read = _READ[name]
                given[field] = read(value)
    except (ValueError, OverflowError, TypeError, AttributeError) as bad:
        fact = f"one is malformed: {str(bad)[:500]}"  # it quotes a number or an instant whole
        raise RecordError(f"expected CloudEvents headers, but {fact}", reason="bad_envelope") from None
    try:
        return Envelope(**given)
    except TypeError:
        missing = next(name for name in _REQUIRED if _READ[name][0] not in given)
        raise RecordError(f"expected CloudEvents headers, but {missing} is missing", reason="no_envelope") from None


def _instant(value: bytes) -> datetime:
    """In UTC here already, so that one which UTC cannot say is refused with its record, and not in what follows."""
    instant = datetime.fromisoformat(value.decode())
    if instant.tzinfo is None:
        raise ValueError(f"expected an instant with its offset, but found {value[:80]!r}")
    return instant.astimezone(UTC)


def _integer(value: bytes) -> int:
    """Of 64 bits: what a fact says of an attempt is Avro's `long`, and must fit whatever comes of the attempt."""
    number = int(value)
    if number not in _INT64:
        raise ValueError(f"expected an integer of 64 bits, but found one of {len(value)} digits")
    return number


def _trace(value: bytes) -> str:
    return value.decode() if len(value) <= TRACE_CHARACTERS_MAX else ""


_INT64 = range(-(2**63), 2**63)

_REQUIRED = ("ce_id", "ce_type", "ce_source", "ce_time")
_READ: Mapping[str, tuple[str, Callable[[bytes], object]]] = {
    **{name: (field, bytes.decode) for name, field in _TEXT},
    **{"ce_" + field: (field, bytes.decode) for field in ("id", "type", "source")},
    **{"ce_" + field: (field, _integer) for field in ("iteration", "item", "attempt", "epoch")},
    "ce_time": ("time", _instant),
    "content-type": ("content_type", bytes.decode),
    "traceparent": ("traceparent", _trace),
}
"""The field that a header becomes, and how. Only what is there is read: of twenty headers a record has ten."""
