"""A member on a disk that fills up, and is given room: `full_disk.py FOLDER`, a tmpfs of 1 MiB that may be remounted.

Prints as JSON the verdicts, the errors, and how many records were committed and are there in the end.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from farandole.transport.port import (
    Commit,
    Member,
    MemberSettings,
    NewRecord,
    Position,
    ReadPositions,
    Record,
    RenewProducer,
    Reply,
    Request,
    TopicPartition,
    TopicSpec,
)
from farandole.transport.sqlite import SqliteSettings, SqliteTransport

AT = TopicPartition("t", 0)
COMMITS = 40


class Still:
    """Has its partition and reads nothing."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Good."""

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        """At once."""
        return True

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Good."""


def ask(member: Member, request: Request) -> Reply:
    """A request and its reply."""
    member.call(request)
    (reply,) = member.replies(5.0)
    return reply


def commit(member: Member, number: int) -> Reply:
    """One transaction."""
    record = NewRecord(AT.topic, None, b"%d:" % number + b"x" * 30_000, (), 0)
    return ask(member, Commit([record], {AT: Position(number)}, member.snapshot()))


def main(folder: str) -> None:
    """Fill it, make room, go on."""
    transport = SqliteTransport(SqliteSettings(Path(folder) / "log.db"))
    admin = transport.admin()
    admin.create([TopicSpec(AT.topic, 1)])
    member = transport.member(MemberSettings("g", "c"))
    member.subscribe([AT.topic], Still())
    while not member.assignment():
        member.poll(1.0)
    replies = [commit(member, number) for number in range(COMMITS)]
    subprocess.run(["mount", "-o", "remount,size=20m", folder], check=True)
    ask(member, RenewProducer())
    judged = ask(member, ReadPositions([AT])).positions[AT]
    after = commit(member, COMMITS)
    reader = transport.reader("r")
    reader.assign({AT: 0})
    found: list[int] = []
    while polled := reader.poll(0):
        found += [int((each.value or b"").split(b":")[0]) for each in polled if isinstance(each, Record)]
    for part in (reader, member, admin):
        part.close()
    verdicts = [reply.verdict.value for reply in (*replies, after) if reply.verdict]
    errors = [str(reply.error) for reply in replies if reply.error]
    print(json.dumps({"verdicts": verdicts, "errors": errors, "found": found, "position": judged and judged.offset}))


if __name__ == "__main__":
    main(*sys.argv[1:])
