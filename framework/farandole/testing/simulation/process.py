"""One simulated process: a coordinator or an agent that can be stepped, frozen, killed and begun anew."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from farandole.errors import FarandoleError
from farandole.testing.simulation.network import Network
from farandole.testing.simulation.transport import SimTransport, SkewedClock


class Loop(Protocol):
    """What both kinds of loop have in common."""

    def step(self, wait: float) -> bool:
        """Do what can be done."""
        ...

    def close(self) -> None:
        """Leave in order."""
        ...


class Finishing(Protocol):
    """What the world asks of an executor."""

    def finish(self) -> None:
        """One attempt that is under way goes on."""
        ...


@dataclass(slots=True)
class Body:
    """What a process has in memory: all of it is gone when it dies."""

    loop: Loop
    transport: SimTransport
    executor: Finishing | None = None


@dataclass(slots=True)
class Process:
    """`make` begins it; `frozen_until` is the step of the world at which a paused one goes on."""

    name: str
    network: Network
    clock: SkewedClock
    make: Callable[["Process"], Body]
    body: Body | None = None
    frozen_until: int = 0
    exits: list[str] = field(default_factory=list)

    def step(self) -> None:
        """Go on: the loop, a call, a handler."""
        if self.body is None:
            self.body = self.make(self)
        rng = self.network.rng
        try:
            kind = rng.random()
            if kind < 0.5:
                self.body.loop.step(0.0)
            elif kind < 0.85 or self.body.executor is None:
                for member in self.body.transport.members:
                    member.advance()
            else:
                self.body.executor.finish()
        except FarandoleError as error:
            self.exits.append(f"{type(error).__name__}: {error}")
            self.network.rare["process_exit"] += 1
            self.kill()

    def kill(self) -> None:
        """kill -9: nothing is said to anybody."""
        if self.body is None:
            return
        if any(member.is_in_transaction for member in self.body.transport.members):
            self.network.rare["crash_in_transaction"] += 1
        self.body = None

    def leave(self) -> None:
        """SIGTERM: partitions are let go of in order."""
        if self.body is not None:
            self.body.loop.close()
            self.body = None
