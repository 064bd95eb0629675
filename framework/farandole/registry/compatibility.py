"""Whether two versions of a schema understand each other, by Apache avro's own checker.

Avro's rules as the reference implementation has them, then our own reader's, which also
refuses logical types that differ: a timestamp in microseconds read as milliseconds is a
value, only the wrong one. Nor does it take text for bytes, or the reverse, as Avro does:
an agent whose annotation says the one refuses the other.
"""

import warnings
from enum import Enum

import avro.compatibility
import avro.errors
import avro.schema

from farandole.errors import SchemaRefused
from farandole.events.avro import Schema


class Compatibility(Enum):
    """Who must be able to read whom. Source: the modes of Confluent's registry."""

    BACKWARD = "backward"
    """The new version reads what the old one wrote: consumers are upgraded first."""
    FORWARD = "forward"
    """The old version reads what the new one writes: producers are upgraded first."""
    FULL = "full"
    """Both."""


def problems(new: Schema, old: Schema, mode: Compatibility = Compatibility.BACKWARD) -> list[str]:
    """What keeps the versions from understanding each other, one line each; empty if nothing does.

    Raises:
        SchemaRefused: Apache avro takes one of them for no schema.
    """
    found: list[str] = []
    if mode is not Compatibility.FORWARD:
        found += [f"backward: {line}" for line in _unreadable(reader=new, writer=old)]
    if mode is not Compatibility.BACKWARD:
        found += [f"forward: {line}" for line in _unreadable(reader=old, writer=new)]
    return found


def check(new: Schema, old: Schema, mode: Compatibility = Compatibility.BACKWARD) -> None:
    """As `problems`, for who wants an error.

    Raises:
        SchemaRefused: there are problems; the message has them all.
    """
    if found := problems(new, old, mode):
        raise SchemaRefused(
            f"{new.name}: expected a version that is {mode.value} compatible with the one before, "
            f"but {'; '.join(found)}. It was not published"
        )


def _unreadable(*, reader: Schema, writer: Schema) -> list[str]:
    checker = avro.compatibility.ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(_parsed(reader), _parsed(writer))
    if result.compatibility is avro.compatibility.SchemaCompatibilityType.compatible:
        own = reader.cannot_read(writer)
        return [own] if own else []
    kinds = ", ".join(sorted({str(kind.value) for kind in result.incompatibilities}))
    where = ", ".join(sorted(place for place in result.locations if place != "/")) or "/"
    told = "; ".join(sorted(message for message in result.messages if message))
    own = reader.cannot_read(writer)
    return [f"{kinds} at {where}: {told}{f' ({own})' if own else ''}"]


def _parsed(schema: Schema) -> avro.schema.Schema:
    try:
        with warnings.catch_warnings():  # it warns of logical types that it does not know
            warnings.simplefilter("ignore")
            return avro.schema.parse(schema.text)
    except avro.errors.AvroException as bad:
        raise SchemaRefused(f"{schema.name}: expected a schema that Apache avro takes, but {bad}") from None
