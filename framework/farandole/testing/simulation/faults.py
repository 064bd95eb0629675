"""How hostile a seed is: every rate is drawn from the seed itself (swarm testing).

Rates are per scheduling step unless said otherwise. A seed without a kind of fault is as
valuable as one with it: bugs hide where one masks another.
"""

import random
from dataclasses import dataclass

PHASE_STEPS = 2500
"""Scheduling steps with faults on: a run of eight steps takes about 300 when nothing goes wrong."""


@dataclass(frozen=True, slots=True)
class Faults:
    """`doubt` is per broker call: lost, or done and reported as lost, or (for the end of a transaction) late."""

    doubt: float
    crash: float
    pause: float
    leave: float
    leap: float
    late_marker: float
    error: float
    """Per request that reads: it is answered with an error."""

    @classmethod
    def drawn(cls, rng: random.Random) -> "Faults":
        """The rates of a seed."""
        return cls(
            doubt=rng.choice((0.0, 0.01, 0.05)),
            crash=rng.choice((0.0, 0.001, 0.004)),
            pause=rng.choice((0.0, 0.001, 0.004)),
            leave=rng.choice((0.0, 0.001, 0.003)),
            leap=rng.choice((0.0, 0.0005, 0.002)),
            late_marker=rng.choice((0.2, 0.6, 1.0)),
            error=rng.choice((0.0, 0.02)),
        )


NONE = Faults(0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""The second phase: the network is whole, nobody dies."""
