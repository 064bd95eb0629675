"""The events of one run in the order in which they took effect, which is not quite the log's.

A fact counts where it stands. A consequence counts where the coordinator had got to when it
wrote it (`ce_folded`), which is before facts that slipped in between. What a run missed while
an error held it counts at its release, each fact before what followed from it.

Written from DESIGN section 8 alone: the kernel's own rebuild is code under test.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from farandole.events import facts
from farandole.lineage.entries import Entry


def folded_at(entry: Entry) -> tuple[int, int] | None:
    """Partition and position of `ce_folded`; None if there is none or it cannot be read."""
    if entry.envelope is None:
        return None
    partition, _, position = entry.envelope.folded.partition("/")
    return (int(partition), int(position)) if partition.isdigit() and position.isdigit() else None


def story(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The events of one run, all of one partition, in the order of their effect."""
    return tuple(_Telling().tell(list(_merged(entries))))


def _merged(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Facts at their offset, each consequence before the first fact that its writer had not yet folded."""
    told = sorted((e for e in entries if not e.is_consequence), key=lambda e: e.offset)
    followed = sorted((e for e in entries if e.is_consequence), key=lambda e: (_position(e), e.offset))
    at = 0
    for fact in told:
        while at < len(followed) and _position(followed[at]) <= fact.offset:
            yield followed[at]
            at += 1
        yield fact
    yield from followed[at:]


def _position(entry: Entry) -> int:
    folded = folded_at(entry)
    return folded[1] if folded is not None else entry.offset


@dataclass(slots=True)
class _Telling:
    """Puts off what was missed. `told` is the story so far; `missed` waits for the release."""

    told: list[Entry] = field(default_factory=list)
    missed: list[Entry] = field(default_factory=list)
    is_standing: bool = False
    is_unread: bool = False
    """Whether it stands because its coordinator could not read its definition."""

    released_at: int = -1
    """Position up to which the release was folded: what was missed is told among the consequences of it."""

    def tell(self, entries: Sequence[Entry]) -> list[Entry]:
        for entry in entries:
            if self.released_at >= 0:
                self._catch_up(entry)
            self._take(entry)
        if not self.is_standing:
            self._tell_missed(len(self.missed))
        return self.told

    def _take(self, entry: Entry) -> None:
        fact = entry.fact
        if isinstance(fact, facts.RunHeld) and fact.reason == "kernel_error":
            self._hold(fact)
            self.told.append(entry)
        elif isinstance(fact, facts.RunReleased) and fact.reason == "kernel_error":
            self.is_standing, self.released_at = False, _position(entry)
            self.told.append(entry)
        elif self.is_standing and not entry.is_consequence and not self._is_answered(fact):
            self.missed.append(entry)
        else:
            self.told.append(entry)

    def _is_answered(self, fact: facts.Event | None) -> bool:
        """Whether a fact is answered although an error holds the run.

        A final success, which a client may know, is the end of a run whose definition could not be read, whatever
        was asked after it and before somebody could.
        """
        if isinstance(fact, facts.ReleaseRequested):
            return True
        is_end = isinstance(fact, facts.DeadlinePassed) and fact.scope == "hold" and not fact.step
        is_final = self.is_unread and any(isinstance(e.fact, facts.StepSucceeded) and e.fact.final for e in self.missed)
        return (is_end or isinstance(fact, facts.CancelRequested)) and not is_final

    def _hold(self, held: facts.RunHeld) -> None:
        """The fact at which the run stopped was not folded, nor was anything after it."""
        self.is_standing, self.released_at = True, -1
        self.is_unread = held.is_unread
        while self.told and held.offset >= 0 and self.told[-1].offset >= held.offset:
            if self.told[-1].is_consequence:
                break
            self.missed.insert(0, self.told.pop())

    def _catch_up(self, entry: Entry) -> None:
        """Tell what was missed up to the fact that `entry` follows from; all of it once the release is behind."""
        if not entry.is_consequence or _position(entry) > self.released_at:
            self._tell_missed(len(self.missed))
            self.released_at = -1
            return
        for n, fact in enumerate(self.missed):
            if entry.cause == fact.id:
                self._tell_missed(n + 1)
                return

    def _tell_missed(self, count: int) -> None:
        self.told.extend(self.missed[:count])
        del self.missed[:count]
