"""What a unit's process and its child processes say to each other, and how it is written.

Only bytes and text cross: inputs and outputs stay encoded, so that decoding, too, happens in
the child.

A call has a number, which every word about it repeats: what is said late, by a thread that an attempt left behind or by
a copy of the child, is never taken for the next one's.
"""

from datetime import datetime

import msgspec

from farandole.runtime.attempts import Call, Failed, Succeeded


class Setup(msgspec.Struct, tag=True, frozen=True):
    """The first word to a child: what to load. `progress_every_s` as in the settings."""

    unit: str
    parent: int
    progress_every_s: float


class Loaded(msgspec.Struct, tag=True, frozen=True):
    """The unit is loaded, or `error` says why not."""

    error: str = ""


class Run(msgspec.Struct, tag=True, frozen=True):
    """Call this agent's handler. `memory_limit`: bytes that it may take on top of what the child has now."""

    number: int
    agent: str
    call: Call
    memory_limit: int | None = None


class Began(msgspec.Struct, tag=True, frozen=True):
    """The handler's time runs from here."""

    number: int


class Progress(msgspec.Struct, tag=True, frozen=True):
    """As `Context.progress`."""

    number: int
    at: datetime
    done: float
    total: float | None
    note: str


class Line(msgspec.Struct, tag=True, frozen=True):
    """A log line of the child's: the unit's process writes it, as it writes its own. `fields` have plain values."""

    logger: str
    level: int
    text: str
    fields: dict[str, str | int | float | bool | None]


class Result(msgspec.Struct, tag=True, frozen=True):
    """The handler returned."""

    number: int
    outcome: Succeeded


class Failure(msgspec.Struct, tag=True, frozen=True):
    """The handler failed, in a way that left the child alive."""

    number: int
    outcome: Failed


Order = Setup | Run
Word = Loaded | Began | Progress | Line | Result | Failure

encode = msgspec.msgpack.Encoder().encode
_orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_words: msgspec.msgpack.Decoder[Word] = msgspec.msgpack.Decoder(Word)


def read_order(data: bytes) -> Order:
    """What the child was told."""
    return _orders.decode(data)


def read_word(data: bytes) -> Word:
    """What the child says."""
    return _words.decode(data)
