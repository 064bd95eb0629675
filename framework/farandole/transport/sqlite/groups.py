"""Consumer groups on the log: the same group as in memory, loaded, changed and stored in one transaction.

A member says that it lives once in a while (`beat`), and whoever says so looks after the others:
one whose session is over is removed, and one whose process is dead at once, which its bell tells
(`Bells.is_dead`). A member that is removed wrongly is merely slowed down: its commits are
refused from then on, and it joins again.
"""

import secrets
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from farandole.transport.memory.groups import Assigned, Group, Groups, Join, Seat, Standing
from farandole.transport.port import TopicPartition
from farandole.transport.sqlite import machine
from farandole.transport.sqlite.bell import Bells
from farandole.transport.sqlite.catalog import Catalog
from farandole.transport.sqlite.file import File

BEAT_MAX_S = 1.0
"""Between two signs of life: a write of 100 µs, and how late the death of a process is noticed."""

BEATS_PER_SESSION = 4
"""At least: a sign may be late without anybody being taken for dead."""

_encode = msgspec.msgpack.Encoder().encode
_join_of = msgspec.msgpack.Decoder(Join).decode
_share_of = msgspec.msgpack.Decoder(frozenset[TopicPartition]).decode
_divided_of = msgspec.msgpack.Decoder(dict[str, int]).decode

_STANDING = (
    "SELECT g.generation, g.rebalancing, m.rejoined, m.share FROM members m JOIN groups g ON g.name = m.grp "
    "WHERE m.grp = ? AND m.member = ?"
)


@dataclass(slots=True)
class Hall:
    """A group as loaded, with what the log knows of its members beside their seats: boot and bell."""

    group: Group
    marks: dict[str, tuple[str, str]]


def load(db: sqlite3.Connection, name: str) -> Hall:
    """A group; an empty one if there never was one. A member whose lease is over was last seen before all time."""
    row = db.execute("SELECT generation, rebalancing, divided FROM groups WHERE name = ?", (name,)).fetchone()
    hall = Hall(Group() if row is None else Group(row[0], bool(row[1]), divided=_divided_of(row[2])), {})
    rows = db.execute("SELECT member, seen, boot, bell, joined, rejoined, share FROM members WHERE grp = ?", (name,))
    for member, seen, boot, bell, joined, rejoined, share in rows:
        join = _join_of(joined)
        is_over = machine.is_over((seen, join.session, boot), machine.monotonic())
        hall.group.members[member] = Seat(join, float("-inf") if is_over else seen, bool(rejoined), _share_of(share))
        hall.marks[member] = (boot, bell)
    return hall


def store(db: sqlite3.Connection, name: str, hall: Hall) -> None:
    """Write a group back."""
    it = hall.group
    db.execute(
        "INSERT OR REPLACE INTO groups VALUES (?, ?, ?, ?)",
        (name, it.generation, it.is_rebalancing, _encode(it.divided)),
    )
    db.execute("DELETE FROM members WHERE grp = ?", (name,))
    db.executemany(
        "INSERT INTO members VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                name,
                member,
                seat.seen,
                seat.join.session,
                *hall.marks[member],
                _encode(seat.join),
                seat.has_rejoined,
                _encode(seat.partitions),
            )
            for member, seat in it.members.items()
        ],
    )


def client_ids(db: sqlite3.Connection, group: str, bells: Bells) -> frozenset[str]:
    """Client ids of the members, those left out whose session is over or whose process is dead."""
    rows = db.execute("SELECT joined, bell, seen, session, boot FROM members WHERE grp = ?", (group,)).fetchall()
    now = machine.monotonic()  # not before: who was seen in between would be from the future
    return frozenset(
        _join_of(joined).client_id
        for joined, bell, *lease in rows
        if not machine.is_over((lease[0], lease[1], lease[2]), now) and not bells.is_dead(bell)
    )


def topics_read(db: sqlite3.Connection, group: str, bells: Bells) -> frozenset[str] | None:
    """Topics of which a member that lives has partitions; None while they are divided anew."""
    hall = load(db, group)
    for member, (_, bell) in hall.marks.items():
        if hall.group.members[member].seen == float("-inf") or bells.is_dead(bell):
            del hall.group.members[member]
    return hall.group.topics_read


class SqliteMeeting:
    """Implements `Meeting` for one member."""

    def __init__(self, file: File, catalog: Catalog, bells: Bells, bell: str) -> None:
        self._file = file
        self._catalog = catalog
        self._bells = bells
        self._bell = bell
        self._moves = -1
        self._beat_at = 0.0
        self._beat_s = BEAT_MAX_S
        self._catalog_at = 0
        self._told: tuple[Standing, Assigned | None] = (Standing.UNKNOWN, None)
        self._read = (b"", frozenset[TopicPartition]())

    @property
    def beat_at(self) -> float:
        """When the next sign of life is due."""
        return self._beat_at

    def standing(self, group: str, member_id: str) -> tuple[Standing, Assigned | None]:
        """What a member has to do, from the log if it has moved; with a sign of life when one is due."""
        if not member_id:
            return Standing.UNKNOWN, None
        if machine.monotonic() >= self._beat_at or self._catalog.version != self._catalog_at:
            self._beat(group, member_id)
        if self._moves != self._file.moves:
            self._moves = self._file.moves
            with self._file.reading as db:
                self._told = self._look(db, group, member_id)
        return self._told

    def join(self, group: str, join: Join) -> str:
        """Join, or join again."""

        def act(groups: Groups, hall: Hall, now: float) -> str:
            member_id = groups.join(group, join, now)
            hall.marks[member_id] = (machine.boot(), self._bell)
            return member_id

        self._beat_s = min(BEAT_MAX_S, join.session / BEATS_PER_SESSION)
        return self._change(group, act)

    def leave(self, group: str, member_id: str) -> None:
        """Leave."""
        if member_id:
            self._change(group, lambda groups, hall, now: groups.leave(group, member_id))

    def monotonic(self) -> float:
        """The boot's clock."""
        return machine.monotonic()

    def pause(self, seconds: float) -> bool:
        """Let time pass."""
        time.sleep(seconds)
        self._file.observe()
        return True

    def _look(self, db: sqlite3.Connection, group: str, member_id: str) -> tuple[Standing, Assigned | None]:
        row = db.execute(_STANDING, (group, member_id)).fetchone()
        if row is None:
            return Standing.UNKNOWN, None
        generation, is_rebalancing, has_rejoined, share = row
        if is_rebalancing:
            return (Standing.WAITING if has_rejoined else Standing.REJOIN), None
        if self._read[0] != share:
            self._read = (share, _share_of(share))
        return Standing.ASSIGNED, Assigned(generation, self._read[1])

    def _beat(self, group: str, member_id: str) -> None:
        """Say that we live; if somebody else does not, or a topic has grown, the group is changed by it."""
        self._file.require_in_place()
        with self._file.writing as db:
            now = machine.monotonic()  # not before: others are seen while we wait to write
            db.execute("UPDATE members SET seen = ? WHERE grp = ? AND member = ?", (now, group, member_id))
            others = db.execute(
                "SELECT seen, session, boot, bell FROM members WHERE grp = ? AND member <> ?", (group, member_id)
            ).fetchall()
        self._beat_at = now + self._beat_s
        has_grown = self._catalog.version != self._catalog_at
        if has_grown or any(
            machine.is_over((seen, session, boot), now) or self._is_dead(bell) for seen, session, boot, bell in others
        ):
            self._change(group, lambda groups, hall, now: groups.heartbeat(group, member_id, now))
            self._catalog_at = self._catalog.version

    def _change(self, group: str, act: Callable[[Groups, Hall, float], str | Standing | None]) -> str:
        """Load the group, remove the dead, act, store it, and tell everybody."""
        with self._file.writing as db:
            now = machine.monotonic()
            self._catalog.refresh(db)
            hall = load(db, group)
            for member, (_, bell) in hall.marks.items():
                if self._is_dead(bell):
                    hall.group.members[member].seen = float("-inf")
            groups = Groups(self._catalog.count, {group: hall.group}, _named)
            groups.expire(now)
            done = act(groups, hall, now)
            store(db, group, hall)
        self._catalog_at = self._catalog.version
        self._beat_at = now + self._beat_s
        self._bells.ring(self._bell)
        return done if isinstance(done, str) else ""

    def _is_dead(self, bell: str) -> bool:
        return bell != self._bell and self._bells.is_dead(bell)


def _named(client_id: str) -> str:
    return f"{client_id}-{secrets.token_hex(6)}"
