"""A log in the memory of one process, with what bites in Kafka: stable offsets, gaps, fencing, generations.

`broker` and all that it is made of is a deterministic core without threads or clocks; `hub` gives
it to one thread at a time; the rest are thin shells that implement the port.
"""

from farandole.transport.memory.transport import MemoryTransport

__all__ = ["MemoryTransport"]
