"""What befalls a world at its steps: who is struck, and what that does to it."""

import random
from dataclasses import dataclass, field
from datetime import timedelta

from farandole.clock import ManualClock
from farandole.testing.simulation.faults import Chaos
from farandole.testing.simulation.network import BROKERS, CUT_ROLES, CUT_SECONDS, CUTS, Network
from farandole.testing.simulation.process import Process
from farandole.testing.simulation.retention import Retention
from farandole.testing.simulation.sizes import Sizes
from farandole.testing.simulation.staff import Staff

BURST, BURST_STEPS = 10, 80
"""Misfortunes seldom come singly: how much likelier others are soon after one, and for how many steps."""

AT_STAKE = (1, 5, 30)
"""How much likelier a fault is by what is being committed: nothing, results, results of several partitions. Most
transactions tell of epochs and ends alone, and little can be lost of them."""

LOST_COMMITS = (0, 0, 0, 1, 1, 2, 3, 10, 40)
"""How many commits of its group a broker loses that begins anew: often none but its members, else the last
transactions of one home, or all that a world has done."""

BEGINS_DEAF = 0.7
"""How often a broker is not told of ends meanwhile: partitions go from who lives to others, without having been let go
of, while what was written there last has ended and is not marked."""

SICK = 0.5
"""How many faults strike whoever is sick."""


@dataclass
class Harm:
    """The faults of a seed that strike a process, a broker or time; those of calls are the network's."""

    chaos: Chaos
    sizes: Sizes
    clock: ManualClock
    network: Network
    retention: Retention
    staff: Staff
    processes: list[Process]
    """Of the world; a fault may add one, or take one away for good."""

    _added: int = field(default=0, init=False)
    _burst_until: int = field(default=0, init=False)

    def step(self, steps: int) -> None:
        """Whatever strikes at this step of the world, its `steps`-th."""
        if (keeper := self.chaos.strikes("keeper")) is not None:
            self.network.tell(self._lose(keeper[1]))
        if (marker := self.chaos.strikes("marker")) is not None:
            self.network.tell(self.network.forget(marker[1]))
        is_burst = steps < self._burst_until
        at_stake = AT_STAKE[max(process.stake for process in self.processes)]
        for _ in range(max(at_stake, BURST if is_burst else 1)):
            struck = self.chaos.strikes("step")
            if struck is None:
                continue
            if not is_burst:
                self._burst_until = steps + BURST_STEPS
            kind, how = struck
            if kind == "expire":
                told = self.retention.expire(how)
            elif kind == "scale":
                told = self._scale(how)
            else:
                told = self._hit(kind, self._victim(kind, how), how)
            self.network.tell(told)

    def _victim(self, kind: str, how: random.Random) -> Process:
        """Whoever is sick; or mostly one that has much to lose: in the midst of a transaction, or a coordinator."""
        sick = [process for process in self.processes if process.name == self.sizes.sick]
        if sick and how.random() < SICK:
            return sick[0]
        busy = [process for process in self.processes if process.is_committing]
        if busy and how.random() < (0.7 if kind == "cut" else 0.4):
            most = max(process.stake for process in busy)
            return how.choice([process for process in busy if process.stake == most])
        return how.choice(self.processes[: self.sizes.coordinators] if how.random() < 0.4 else self.processes)

    def _hit(self, kind: str, process: Process, how: random.Random) -> str:
        """Let a fault of a step strike a process, or time; in words."""
        match kind:
            case "crash":
                process.kill()
                return self._keep_away(process, how, "killed")
            case "pause":
                process.frozen_until = self.clock.monotonic() + (seconds := how.choice((1, 8, 25)))
                return f"{process.name}: frozen for {seconds} s"
            case "leave":
                process.leave()
                return self._keep_away(process, how, "told to end")
            case "skew":
                process.clock.skew = timedelta(seconds=(skew := how.choice((-3600, -5, 5, 3600))))
                return f"{process.name}: its wall clock is wrong by {skew} s"
            case "cut":
                role, seconds, fate = how.choice(CUT_ROLES), how.choice(CUT_SECONDS), how.choice(CUTS)
                process.cut_off(role, seconds, fate)
                return f"{process.name}: does not reach who keeps {role} for {seconds} s ({fate})"
            case "stall":
                self.network.stall(broker := how.randrange(BROKERS), seconds := how.choice((4, 10, 25)))
                return f"broker {broker}: is not told how transactions end for {seconds} s"
            case "deaf":
                process.deafen(seconds := how.choice((3, 10, 30)))
                return f"{process.name}: hears nothing of its group for {seconds} s"
            case _:
                self.clock.advance(timedelta(seconds=(leap := how.choice((2, 8, 30)))))
                self.network.hub.tick()
                return f"world: {leap} s in which nobody moves"

    def _lose(self, how: random.Random) -> str:
        """Who keeps the coordinators' group has only a beginning of its log, and none of its members; in words."""
        if how.random() < BEGINS_DEAF:
            self.network.stall(how.randrange(BROKERS), how.choice((4, 10)))
        lost = self.network.lose_positions(self.retention.topics.group("coordinator"), how.choice(LOST_COMMITS))
        return f"broker: the coordinators' positions are those of {lost} commits ago, and they are no members any more"

    def _scale(self, how: random.Random) -> str:
        """A process more, or the one that was added goes again; in words."""
        kind = how.choice(("coordinator", "agent"))
        added = next((each for each in self.processes if each.name.startswith(f"more-{kind}")), None)
        if added is None:
            self._added += 1
            name = f"more-{kind}-{self._added}"
            self.processes.append(self.staff.one(kind, name))
            return f"world: scaled, {name} is more"
        added.leave()
        self.processes.remove(added)
        return f"world: scaled, {added.name} is told to end, for good"

    def _keep_away(self, process: Process, how: random.Random, what: str) -> str:
        """It begins anew at once, or when others have taken over."""
        seconds = how.choice((0, 0, 3, 12))
        process.frozen_until = self.clock.monotonic() + seconds
        return f"{process.name}: {what}, and away for {seconds} s"
