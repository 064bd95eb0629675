"""One home partition on its way to be ours: its stage, and what is known of it by then (R7, R12)."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from farandole.coordinator.home import Home
from farandole.events.topics import Topics
from farandole.kernel.place import Place
from farandole.transport.metadata import Metadata
from farandole.transport.port import TopicPartition

log = logging.getLogger("farandole.coordinator")


class Stage(Enum):
    """How far one home has come."""

    LAST_WRITER = "last_writer"
    FENCING = "fencing"
    POSITIONS = "positions"
    EPOCH = "epoch"
    ENDS = "ends"
    RESTORE = "restore"
    RUNNING = "running"
    STOPPED = "stopped"
    """An operator is needed: no start position, one whose records are gone, or metadata that we cannot read."""


WAITS_FOR = {
    Stage.LAST_WRITER: "the positions that its last owner left",
    Stage.FENCING: "what its last owner left open to be ended",
    Stage.POSITIONS: "its positions, on which a transaction is still open",
    Stage.EPOCH: "its epoch to be committed",
    Stage.ENDS: "the ends of its partitions",
    Stage.RESTORE: "its runs to be read",
}
"""What a home at a stage waits for, as people are told."""


@dataclass(slots=True)
class Claimed:
    """A home on its way to running."""

    home: Home
    stage: Stage = Stage.LAST_WRITER
    metadata: Metadata | None = None
    end: int = 0
    commands_end: int = 0
    """Where `commands` ended when `runs` did."""

    place: Place | None = None
    """Where the home stands as `runs` says it; None if it was not read, or says nothing of these topics."""

    went_back: bool = False
    """Whether its committed positions were behind that."""

    definitions: int = 0
    """Where `definitions` ended when nobody else could begin runs here any more: read that far before the runs are."""

    waiting: bool = False
    """Whether an answer is under way."""

    not_before: float = 0.0
    """When it may be asked for again, on the monotonic clock."""

    keeps_state: bool = False
    """Whether its state survived in memory, so that nothing is read again."""

    since: float | None = None
    """When it was first seen on its way, or when it was last told, on the monotonic clock."""

    why: str = ""
    """Why it is stopped, until its positions say that it need not be: told once."""

    refused: tuple[TopicPartition, int] | None = None
    """A position of which there are no records any more: the home is stopped for as long as the group has it."""

    looks_again: bool = False
    """Whether an operator can put it right beside us."""

    def folded_to(self, topics: Topics) -> dict[TopicPartition, int]:
        """How far it was folded, as far as that is known."""
        if self.stage in (Stage.EPOCH, Stage.ENDS, Stage.RESTORE):
            return self.home.places(topics)
        return {} if self.refused is None else dict([self.refused])

    def stop(self, why: str, *, again: bool = False) -> None:
        """An operator is needed; the other homes go on. `again`: it is looked at once more, and again."""
        self.stage, self.since, self.looks_again = Stage.STOPPED, None, again
        if self.why != why:
            self.why = why
            log.error("%s", why)

    def go_on(self, place: Place | None) -> None:
        """Go on from where `runs` says that the home stands, if its positions went back behind that."""
        home = self.home
        if place is None or not place.is_within(home.read_first, self.commands_end):
            return
        self.place, home.epoch, before = place, max(home.epoch, place.epoch + 1), home.at
        home.move(place.events_at, place.commands_at)
        if home.at == before:
            return
        self.went_back = True
        log.error(
            "home %d: its positions went back to %d of events and %d of commands: the broker has lost some of what it "
            "had been told. It goes on from %d and %d, where its state says that it stood. Agents may have lost "
            "theirs: ask `farandole doctor` before one of them is started anew",
            *(home.number, *before, *home.at),
        )

    @property
    def told_by_its_last_owner(self) -> datetime:
        """The instant that the home's last owner had told."""
        committed = (self.metadata.now_ms if self.metadata else 0) or 0
        placed = self.place.now_ms if self.place else 0
        return datetime.fromtimestamp(max(committed, placed) / 1000, tz=UTC)
