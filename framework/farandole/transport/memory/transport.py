"""The log in memory of one process: `MemoryTransport`."""

from farandole.clock import Clock, SystemClock
from farandole.transport.memory.admin import MemoryAdmin
from farandole.transport.memory.edge import MemoryEdge
from farandole.transport.memory.hub import Hub
from farandole.transport.memory.member import MemoryMember
from farandole.transport.memory.producer import MemoryProducer
from farandole.transport.memory.reader import MemoryReader
from farandole.transport.port import MemberSettings


class MemoryTransport:
    """A log that lives as long as this object; all parts that it makes share it.

    With a clock other than the machine's own nothing ever blocks, whatever the time-out: one
    thread can drive everything. Time in which nobody calls counts for at most a second (`hub`),
    so a member is silent only while others are not: to let one die, advance in small steps and
    poll the others between them.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.hub = Hub(clock or SystemClock())
        """The lock and the broker, for tests and simulators that look behind the port."""

    def member(self, settings: MemberSettings) -> MemoryMember:
        """A new member."""
        return MemoryMember(self.hub, settings)

    def reader(self, client_id: str) -> MemoryReader:
        """A new reader."""
        return MemoryReader(self.hub, client_id)

    def producer(self, client_id: str) -> MemoryProducer:
        """A new plain producer."""
        return MemoryProducer(self.hub, client_id)

    def admin(self) -> MemoryAdmin:
        """A new admin client."""
        return MemoryAdmin(self.hub)

    def edge(self, client_id: str) -> MemoryEdge:
        """A new asyncio edge; call it inside a running event loop."""
        return MemoryEdge(self.hub, client_id)
