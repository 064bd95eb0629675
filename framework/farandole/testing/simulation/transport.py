"""The log that one simulated process sees: shared broker, calls in pieces, a clock of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from msgspec import structs

from farandole.clock import ManualClock
from farandole.testing.simulation.member import SimMember
from farandole.testing.simulation.network import Network
from farandole.transport.memory.admin import MemoryAdmin
from farandole.transport.memory.broker import Changes
from farandole.transport.memory.edge import MemoryEdge
from farandole.transport.memory.producer import MemoryProducer
from farandole.transport.memory.reader import MemoryReader
from farandole.transport.port import MemberSettings, Polled, Record


@dataclass(slots=True)
class SkewedClock:
    """The world's time as a process sees it: the wall may be wrong and may step, the monotonic clock never does."""

    world: ManualClock
    skew: timedelta = timedelta()

    def now(self) -> datetime:
        """What this machine's wall clock shows."""
        return self.world.now() + self.skew

    def monotonic(self) -> float:
        """The same everywhere but for a constant, which nobody can see."""
        return self.world.monotonic() + 1.0


class SimReader(MemoryReader):
    """A reader whose fetches take their time and bring little."""

    def __init__(self, network: Network, client_id: str, poll_records: int, unread: str) -> None:
        super().__init__(network.hub, client_id)
        self._network = network
        self._poll_records = poll_records
        self._unread = unread

    def is_concerned(self, changes: Changes) -> bool:
        """Whether anything of it is read here."""
        return self._watch.concerns(changes)

    def poll(self, timeout: float) -> Sequence[Polled]:
        """Records, ends and troubles; nothing while a fetch is under way."""
        if self._network.chaos.strikes("fetch") is not None:
            return ()
        with self._network.hub as broker:
            found = self._cursors.fetch(broker, self._poll_records)
        return [self._as_read(each) for each in found] if self._unread else found

    def _as_read(self, polled: Polled) -> Polled:
        """A record as this version sees it."""
        if isinstance(polled, Record) and polled.topic == self._unread and b":" not in (polled.key or b":"):
            return structs.replace(polled, value=b'{"version": 1000}')
        return polled


@dataclass(slots=True, eq=False)
class SimTransport:
    """`members` made here, so that the world can advance their calls, and forget them with their process.

    `assignor`: in place of the one that a member asks for, if it is set. `unread`: a table whose rows by hash are of a
    version that this process does not know (none: empty). `has_news`: something that is read here, or
    its group, has changed since its process looked.
    """

    network: Network
    poll_records: int = 500
    assignor: str = ""
    unread: str = ""
    members: list[SimMember] = field(default_factory=list)
    readers: list[SimReader] = field(default_factory=list)
    has_news: bool = True

    def hear(self, changes: Changes) -> None:
        """Something has changed on the log."""
        read: list[SimMember | SimReader] = [*self.members, *self.readers]
        self.has_news |= any(each.is_concerned(changes) for each in read)

    def member(self, settings: MemberSettings) -> SimMember:
        """A member."""
        assignor = self.assignor or settings.assignor
        made = SimMember(self.network, replace(settings, poll_max_records=self.poll_records, assignor=assignor))
        self.members.append(made)
        return made

    def reader(self, client_id: str) -> SimReader:
        """A reader."""
        self.readers.append(SimReader(self.network, client_id, self.poll_records, self.unread))
        return self.readers[-1]

    def producer(self, client_id: str) -> MemoryProducer:
        """A plain producer."""
        return MemoryProducer(self.network.hub, client_id)

    def admin(self) -> MemoryAdmin:
        """An admin client."""
        return MemoryAdmin(self.network.hub)

    def edge(self, client_id: str) -> MemoryEdge:
        """Nobody uses asyncio here."""
        return MemoryEdge(self.network.hub, client_id)
