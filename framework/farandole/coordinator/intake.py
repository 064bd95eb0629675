"""What is read of the homes that run: no more than they fold, and after a take-over `events` before `commands`.

Knows nothing of records: it moves, pauses and resumes the partitions of a member.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from farandole.coordinator.home import Home
from farandole.events.topics import Topics
from farandole.transport.port import Member, TopicPartition

BUFFER_MAX = 5_000
"""Records buffered per home before its partitions are paused: ten batches."""

BUFFER_BYTES_MAX = 16 * 2**20
"""Bytes of their values, likewise: a result that travels inline may have 256 KiB, and 5,000 of them a gigabyte. As much
as the client itself buffers (`queued.max.messages.kbytes`)."""


def halves(ours: Iterable[TopicPartition], topics: Topics) -> list[TopicPartition]:
    """Our partitions of `commands` and `events` whose other half is not ours, so that nobody serves their homes.

    Both topics have P partitions, and the group's assignor deals them out alike. It cannot if one of them was changed.
    """
    it = [at for at in ours if at.topic in (topics.commands, topics.events)]
    pairs = Counter(at.partition for at in it)
    return sorted(at for at in it if pairs[at.partition] == 1)


@dataclass(slots=True)
class Intake:
    """`full` homes are paused until half of what they have is folded; of those `behind`, `commands` is not read yet."""

    member: Member
    topics: Topics
    full: set[int] = field(default_factory=set)
    behind: set[int] = field(default_factory=set)

    def pair(self, number: int) -> list[TopicPartition]:
        """The `commands` and the `events` of a home."""
        return [TopicPartition(self.topics.commands, number), TopicPartition(self.topics.events, number)]

    def begin(self, home: Home) -> None:
        """Read a home from where it was folded."""
        commands, events = self.pair(home.number)
        self.member.seek(commands, home.commands_at)
        self.member.seek(events, home.events_at)
        if home.is_behind:
            self.behind.add(home.number)
        self.member.resume(self._wanted(home))

    def stop(self, number: int) -> None:
        """Read nothing more of a home, until it begins anew."""
        self.member.pause(self.pair(number))
        self.forget(number)

    def forget(self, number: int) -> None:
        """A home is another's."""
        self.full.discard(number)
        self.behind.discard(number)

    def throttle(self, homes: Iterable[Home], *, came: bool) -> None:
        """Pause what brings more than is folded, and go on with what was folded meanwhile. `came`: something has."""
        for home in homes:
            if home.number in self.full:
                if not _waits_for_more_than(home, BUFFER_MAX // 2, BUFFER_BYTES_MAX // 2):
                    self.full.discard(home.number)
                    self.member.resume(self._wanted(home))
            elif came and _waits_for_more_than(home, BUFFER_MAX, BUFFER_BYTES_MAX):
                self.full.add(home.number)
                self.member.pause(self.pair(home.number))

    def caught_up(self, homes: Mapping[int, Home]) -> bool:
        """Read the commands of homes that are not behind any more; whether there are such."""
        found = [number for number in self.behind if not homes[number].is_behind]
        self.behind.difference_update(found)
        for number in found:
            if number not in self.full:
                self.member.resume(self.pair(number))
        return bool(found)

    def _wanted(self, home: Home) -> list[TopicPartition]:
        """`events` alone while a run may stand there, unread, that a command is about."""
        commands, events = self.pair(home.number)
        return [events] if home.is_behind else [commands, events]


def _waits_for_more_than(home: Home, count: int, size: int) -> bool:
    """Whether more records are buffered than that, or more bytes of their values."""
    if len(home.events) + len(home.commands) > count:
        return True
    return sum(len(each.value or b"") for queue in (home.events, home.commands) for each in queue) > size
