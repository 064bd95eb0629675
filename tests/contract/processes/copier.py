"""A process that copies records exactly once: `copier.py LOG CLIENT`; it goes on until it is ended.

Everything of `in` goes to the same partition of `out`, with the position in the same transaction.
It prints a line when it has been assigned something.
"""

import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from farandole.transport.port import (
    Commit,
    Member,
    MemberSettings,
    NewRecord,
    Position,
    ReadPositions,
    Record,
    TopicPartition,
    Verdict,
)
from farandole.transport.sqlite import SqliteSettings, SqliteTransport

SESSION = timedelta(seconds=60)
"""So long that a take-over within a test is none at the end of a session."""


class Copier:
    """Starts where the last owner ended; whatever is refused is read again from there."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Go on from the committed positions."""
        self.restart(partitions)
        print(f"assigned {len(partitions)}", flush=True)

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        """Nothing is ever under way here."""
        return True

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Nothing is kept."""

    def restart(self, partitions: Sequence[TopicPartition]) -> None:
        """Read from the committed positions."""
        self._member.call(ReadPositions(partitions))
        (reply,) = self._member.replies(5.0)
        for at in partitions:
            position = reply.positions[at]
            self._member.seek(at, position.offset if position else 0)
        self._member.resume(partitions)

    def copy(self, records: Sequence[Record]) -> None:
        """One transaction."""
        written = [NewRecord("out", it.key, it.value, it.headers, it.partition) for it in records]
        positions = {it.at: Position(it.offset + 1) for it in records}
        self._member.call(Commit(written, positions, self._member.snapshot()))
        (reply,) = self._member.replies(5.0)
        if reply.verdict is not Verdict.COMMITTED:
            owned = self._member.assignment()
            self.restart([at for at in positions if at in owned])


def main(log: str, client: str) -> None:
    """Copy for ever."""
    transport = SqliteTransport(SqliteSettings(Path(log)))
    member = transport.member(MemberSettings("copiers", client, session_timeout=SESSION, poll_max_records=7))
    copier = Copier(member)
    member.subscribe(["in"], copier)
    while True:
        records = [each for each in member.poll(1.0) if isinstance(each, Record)]
        if records:
            copier.copy(records)


if __name__ == "__main__":
    main(*sys.argv[1:])
