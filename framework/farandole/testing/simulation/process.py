"""One simulated process: a coordinator or an agent that can be stepped, frozen, killed and begun anew."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from farandole.errors import FarandoleError
from farandole.testing.simulation.network import Network
from farandole.testing.simulation.transport import SimTransport, SkewedClock

SKIPPED_WHEN_IDLE = 0.9
"""How many looks of a process with nothing to do are left out while nothing that it reads has changed: half of a
world's steps were such looks. The others are for what time alone brings, and for sessions."""


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

    def has_ended(self) -> bool:
        """Whether an attempt that is under way could go on now."""
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
    counts: Callable[[], Mapping[str, int]] | None = None
    """What it has counted of itself for the coverage goals."""


@dataclass(slots=True)
class Process:
    """`make` begins it; `frozen_until` is when a paused one goes on, as its world counts."""

    name: str
    network: Network
    clock: SkewedClock
    make: Callable[["Process"], Body]
    body: Body | None = None
    frozen_until: float = 0
    is_idle: bool = False
    """Whether its loop found nothing to do when it looked, and nothing of it has moved since."""

    exits: list[str] = field(default_factory=list)

    def step(self) -> bool:
        """Go on: the loop, a call, a handler; whether anything moved."""
        if self.body is None:
            self.body, self.is_idle = self.make(self), False
            self.network.hub.listeners.add(self.body.transport)
            self.network.tell(f"{self.name}: begins")
        rng = self.network.rng
        kind = rng.random()
        try:
            if kind < 0.5 and not (self._has_nothing_new(self.body) and rng.random() < SKIPPED_WHEN_IDLE):
                return self._look(self.body)
            moved = self._advance() if kind < 0.85 else self._finish()
            return moved or self._advance() or self._finish()
        except FarandoleError as error:
            self._exit(error)
            return True

    def _look(self, body: Body) -> bool:
        """One step of the loop; whether it did anything."""
        body.transport.has_news = False
        did = body.loop.step(0.0)
        self.is_idle = not did
        return did

    def _has_nothing_new(self, body: Body) -> bool:
        return self.is_idle and not body.transport.has_news

    def _advance(self) -> bool:
        """One piece of a call; whether one could go on."""
        assert self.body is not None
        moved = False
        for member in self.body.transport.members:
            moved |= member.advance()
        self.is_idle &= not moved
        return moved

    def _finish(self) -> bool:
        """An attempt goes on; whether one could."""
        assert self.body is not None
        moved = self.body.executor is not None and self.body.executor.finish()
        self.is_idle &= not moved
        return moved

    @property
    def is_resting(self) -> bool:
        """Whether only time can bring it anything to do, as far as anybody knows."""
        if self.body is None or not self._has_nothing_new(self.body):
            return False
        for member in self.body.transport.members:
            if member.is_calling:
                return False
        return self.body.executor is None or not self.body.executor.has_ended()

    @property
    def is_committing(self) -> bool:
        """Whether it is in the midst of a transaction."""
        return self.body is not None and any(member.commits for member in self.body.transport.members)

    @property
    def stake(self) -> int:
        """How many positions a transaction under way moves together with results."""
        if self.body is None:
            return 0
        least = 1 if self.body.executor is not None else 2
        commits = (commit for member in self.body.transport.members for commit in member.commits)
        return max((1 + (len(commit.positions) > least) for commit in commits if commit.records), default=0)

    def deafen(self, seconds: float) -> None:
        """Nothing of its group's traffic passes for so long: it does not know that it is taken for dead."""
        if self.body is not None:
            for member in self.body.transport.members:
                member.deaf_until = self.network.hub.clock.monotonic() + seconds

    def cut_off(self, role: str, seconds: float, how: str) -> None:
        """Nothing of its calls to one role passes for so long."""
        if self.body is not None:
            for member in self.body.transport.members:
                self.network.cut(member.client_id, role, seconds, how)

    def kill(self) -> None:
        """kill -9: nothing is said to anybody."""
        if self.body is None:
            return
        for commit in (commit for member in self.body.transport.members for commit in member.commits):
            self.network.rare["crash_in_transaction"] += 1
            self.network.rare["offsets_only_interrupted"] += not commit.records
        if self.body.executor is not None:
            self.body.executor.die()
        self._forget()

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
        self._forget()

    def _forget(self) -> None:
        assert self.body is not None
        if self.body.counts is not None:
            self.network.rare.update(self.body.counts())
        self.network.hub.listeners.discard(self.body.transport)
        self.body = None

    def _exit(self, error: FarandoleError) -> None:
        """It says why it cannot go on, and ends; whoever supervises it begins it anew."""
        self.exits.append(f"{type(error).__name__}: {error}")
        self.network.rare["process_exit"] += 1
        self.network.tell(f"{self.name}: ends itself, {error}")
        self.kill()
