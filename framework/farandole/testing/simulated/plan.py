"""What befalls one world, drawn from its seed and made of parts that can be left out one by one.

Shrinking takes parts away and keeps the seed: what happens to an attempt depends on the seed
and the attempt alone, so that fewer crashes leave the other mishaps where they were.
"""

import random
from dataclasses import dataclass, replace
from enum import Enum

FAULT_STEPS = 900
"""Steps of the world within which processes are harmed; a run of five steps takes about 200."""

STRIKE_WITHIN = 500
"""Steps from which a blow may fall: later, most runs have ended."""

FREEZES = (150, 500, 900)
"""Steps that a frozen process stands still: shorter, about as long, and longer than a session (6 s, 300 steps)."""

DOOMED = 3
"""Attempts that may be made to fail; later ones are left alone, so that every run can end."""


class Kind(Enum):
    """What may happen to attempts and calls; a seed has some of them."""

    FAIL = "fail"
    """An attempt raises before its handler is called."""

    FAIL_LATE = "fail_late"
    """The handler does its work, and the attempt fails after it: a lost answer, a full disk."""

    LATE = "late"
    """The handler is slow: it begins late, when its process may no longer be the owner."""

    POISON = "poison"
    """An attempt fails for good, as one does whose input cannot be used; the dead letter is replayed later."""

    DOUBT = "doubt"
    """Calls of the broker are lost, or done and reported as lost."""

    LEAP = "leap"
    """Nothing happens for long: sessions and time-outs pass."""

    CLOCK = "clock"
    """Wall clocks of processes are wrong and step."""


class Harm(Enum):
    """What is done to a process."""

    KILL = "kill"
    FREEZE = "freeze"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Blow:
    """One harm: from which step of the world on, to which process, for how many steps (a freeze).

    An aimed one waits until the process has an attempt under way: what a random instant seldom meets.
    """

    step: int
    process: int
    harm: Harm
    steps: int = 0
    aimed: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a world is made from, beside the pipeline."""

    seed: int
    runs: int
    kinds: frozenset[Kind]
    blows: tuple[Blow, ...]

    @property
    def size(self) -> int:
        """Mishaps and runs, for comparing before and after shrinking."""
        return len(self.kinds) + len(self.blows)

    def without(self, part: "Kind | Blow") -> "Plan":
        """The plan with one part left out."""
        if isinstance(part, Kind):
            return replace(self, kinds=self.kinds - {part})
        return replace(self, blows=tuple(each for each in self.blows if each is not part))

    def attempt_rng(self, run: str, step: str, item: int, attempt: int) -> random.Random:
        """The draws of one attempt: the same whatever else is left out."""
        return random.Random(f"{self.seed}/{run}/{step}/{item}/{attempt}")


def drawn(seed: int, runs_max: int, processes: int) -> Plan:
    """The plan of a seed (swarm testing: each seed has its own mix)."""
    rng = random.Random(f"plan/{seed}")
    kinds = frozenset(kind for kind in Kind if rng.random() < 0.4)
    blows = sorted((_blow(rng, processes) for _ in range(rng.choice((0, 1, 1, 2, 3, 6)))), key=lambda blow: blow.step)
    return Plan(seed, rng.randint(1, runs_max), kinds, tuple(blows))


def _blow(rng: random.Random, processes: int) -> Blow:
    harm = rng.choices(list(Harm), weights=(4, 4, 1))[0]
    step, process = rng.randrange(20, STRIKE_WITHIN), rng.randrange(processes)
    return Blow(step, process, harm, rng.choice(FREEZES), aimed=rng.random() < 0.7)
