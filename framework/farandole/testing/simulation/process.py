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

    def finish(self) -> bool:
        """One attempt that is under way goes on; whether there was one."""
        ...

    def die(self) -> None:
        """The process is gone, and what ran in it."""
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

    def step(self) -> bool:
        """Go on: the loop, a call, a handler; whether anything moved."""
        if self.body is None:
            self.body = self.make(self)
            self.network.tell(f"{self.name}: begins")
        rng = self.network.rng
        try:
            kind = rng.random()
            if kind < 0.5:
                return self.body.loop.step(0.0)
            if kind < 0.85 or self.body.executor is None:
                calling = [member for member in self.body.transport.members if member.is_calling]
                for member in calling:
                    member.advance()
                return bool(calling)
            return self.body.executor.finish()
        except FarandoleError as error:
            self._exit(error)
            return True

    @property
    def is_committing(self) -> bool:
        """Whether it is in the midst of a transaction."""
        return self.body is not None and any(member.commits for member in self.body.transport.members)

    def deafen(self, seconds: float) -> None:
        """Nothing of its group's traffic passes for so long: it does not know that it is taken for dead."""
        if self.body is not None:
            for member in self.body.transport.members:
                member.deaf_until = self.network.hub.clock.monotonic() + seconds

    def kill(self) -> None:
        """kill -9: nothing is said to anybody."""
        if self.body is None:
            return
        for commit in (commit for member in self.body.transport.members for commit in member.commits):
            self.network.rare["crash_in_transaction"] += 1
            self.network.rare["offsets_only_interrupted"] += not commit.records
        if self.body.executor is not None:
            self.body.executor.die()
        self.body = None

    def leave(self) -> None:
        """SIGTERM: partitions are let go of in order."""
        if self.body is None:
            return
        try:
            self.body.loop.close()
        except FarandoleError as error:
            self._exit(error)
            return
        if self.body.executor is not None:
            self.body.executor.die()
        self.body = None

    def _exit(self, error: FarandoleError) -> None:
        """It says why it cannot go on, and ends; whoever supervises it begins it anew."""
        self.exits.append(f"{type(error).__name__}: {error}")
        self.network.rare["process_exit"] += 1
        self.network.tell(f"{self.name}: ends itself, {error}")
        self.kill()
