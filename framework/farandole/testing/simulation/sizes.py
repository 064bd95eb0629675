"""How large a world is, drawn from its seed: many small worlds find more than few large ones."""

import random
from dataclasses import dataclass
from datetime import timedelta

from farandole.coordinator import CoordinatorSettings
from farandole.kernel.decision import DEDUPE_WINDOW, STOPPED_WINDOW
from farandole.runtime.settings import AgentSettings
from farandole.testing.generate import Shape
from farandole.transport.metadata import WINDOW

SESSION = timedelta(seconds=6)
SOON = timedelta(seconds=8)

COOPERATIVE = "cooperative-sticky"

ELASTIC = 0.25
"""How many worlds are of the kind that autoscalers make: there partitions move while their owner is out of reach."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """`phase`: how long faults are on, and `peace`: after how long they begin (in `World.progress`); to form groups
    takes about 80, a run of five steps 120 when nothing goes wrong.

    `elastic`: much to do at once, for processes of which one comes and goes, on a network that fails and with brokers
    that are not told of ends; nothing else fails. `sick`: whom every other fault strikes, if anybody. `assignor`: of
    agents, eager or cooperative. `forgets`: ended runs are forgotten after seconds, not a day, so that late facts find
    no run. `crowd`: all runs begin at
    about the same time. `insistent`: people ask for everything again and again.
    """

    partitions: int
    coordinators: int
    agents: int
    runs: int
    crowd: bool
    phase: int
    peace: int
    window: int
    poll_records: int
    batch_records: int
    assignor: str
    forgets: bool
    late_marker: float
    shape: Shape
    insistent: bool
    sick: str
    elastic: bool

    @classmethod
    def drawn(cls, rng: random.Random) -> "Sizes":
        """The sizes of a seed."""
        elastic = rng.random() < ELASTIC
        narrow = rng.random() < 0.5 and not elastic  # where little goes at a time, no transaction has much in it
        return cls(
            elastic=elastic,
            partitions=rng.choice((2, 3) if elastic else (1, 2, 2, 3)),
            coordinators=rng.choice((1, 2) if elastic else (1, 2, 2, 2, 3)),
            agents=rng.choice((1, 2) if elastic else (1, 2, 2, 2, 3)),
            runs=rng.choice((10, 14) if elastic else (1, 2, 3, 4, 4, 7)),
            crowd=rng.random() < 0.5 or elastic,
            phase=rng.choice((600, 800) if elastic else (300, 400, 600, 800)),
            peace=rng.choice((0, 50, 100, 100)),
            window=rng.choice((1, 2, WINDOW)) if narrow else WINDOW,
            poll_records=rng.choice((1, 3, 500)) if narrow else 500,
            batch_records=rng.choice((1, 2, 500)) if narrow else 500,
            assignor=COOPERATIVE if elastic else rng.choice(("range", COOPERATIVE, COOPERATIVE)),
            forgets=rng.random() < 0.25,
            late_marker=rng.choice((0.1, 0.3, 0.6, 1.0)),
            shape=Shape(
                steps_max=rng.choice((2, 5, 5)),
                timeouts=True,
                fragile=rng.random() < 0.2,
                impatient=rng.random() < 0.5,
                judged=rng.random() < 0.3,
                patient=rng.random() < 0.25,
            ),
            insistent=rng.random() < 0.3,
            sick=rng.choice(("", "", "agent-0", "coordinator-0")),
        )

    def coordinator(self, slot: str) -> CoordinatorSettings:
        """Settings of a coordinator."""
        return CoordinatorSettings(
            slot=slot,
            session_timeout=SESSION,
            batch_records=self.batch_records,
            watch_every=timedelta(seconds=5),
            dedupe_window=SOON if self.forgets else DEDUPE_WINDOW,
            stopped_window=SOON if self.forgets else STOPPED_WINDOW,
        )

    def agent(self, slot: str) -> AgentSettings:
        """Settings of an agent process."""
        return AgentSettings("unit", slot=slot, session_timeout=SESSION, window=self.window)
