"""What a person did to positions: rows of `definitions` that say it to whoever judges the log later.

An agent's positions are not on the log, only what came of them. Where they are given anew, records are read again that
were answered before, and so stand twice on the log on purpose. The act says which may, and all others still may not.
A reader that does not know the kind passes over its rows, as over every key with a colon.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from farandole.errors import RecordError

REPOSITION = "reposition:"
"""Prefix of the keys; agent and instant follow, so that compaction keeps every act."""

LATE = timedelta(seconds=30)
"""How far the clocks of writers may be apart: what says that it was written later than an act and this, was."""


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """Records of a partition that may have been answered before the act, and are read after it.

    Those with `begin` <= offset < `end`. `stale` is the position that they had been read up to, where there was one.
    """

    partition: int
    begin: int
    end: int
    stale: int | None = None


@dataclass(frozen=True, slots=True)
class Repositioned:
    """`farandole agent reposition`: an inbox is read from other positions on than its unit had, or had lost."""

    agent: str
    unit: str
    at: datetime
    partitions: tuple[ReadAgain, ...] = ()

    @property
    def key(self) -> str:
        """Of its row."""
        return f"{REPOSITION}{self.agent}/{round(self.at.timestamp() * 1000)}"

    def text(self) -> str:
        """Its row: JSON."""
        return msgspec.json.encode(self).decode()


def read_repositioned(text: bytes) -> Repositioned:
    """What `text` wrote.

    Raises:
        RecordError: it is not that.
    """
    try:
        return msgspec.json.decode(text, type=Repositioned)
    except msgspec.MsgspecError as bad:
        raise RecordError(f"expected an act on positions, but found {text[:80]!r}: {bad}") from bad
