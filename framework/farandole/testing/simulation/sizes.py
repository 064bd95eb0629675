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


@dataclass(frozen=True, slots=True)
class Sizes:
    """`phase`: how long faults are on, and `peace`: after how long they begin (in `World.progress`); to form groups
    takes about 80, a run of five steps 120 when nothing goes wrong.

    `assignor`: of agents, eager or cooperative. `forgets`: ended runs are forgotten after seconds, not a day, so that
    late facts find no run. `crowd`: all runs begin at about the same time. `insistent`: people ask
    for everything again and again.
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

    @classmethod
    def drawn(cls, rng: random.Random) -> "Sizes":
        """The sizes of a seed."""
        return cls(
            partitions=rng.choice((1, 2, 2, 3)),
            coordinators=rng.choice((1, 2, 2, 2, 3)),
            agents=rng.choice((1, 2, 2, 2, 3)),
            runs=rng.choice((1, 2, 3, 4, 4, 7)),
            crowd=rng.random() < 0.4,
            phase=rng.choice((200, 400, 400, 800)),
            peace=rng.choice((0, 50, 100)),
            window=rng.choice((1, 2, WINDOW, WINDOW)),
            poll_records=rng.choice((1, 3, 500, 500)),
            batch_records=rng.choice((1, 2, 500, 500)),
            assignor=rng.choice(("range", "cooperative-sticky")),
            forgets=rng.random() < 0.25,
            late_marker=rng.choice((0.04, 0.2, 0.6, 1.0)),
            shape=Shape(
                steps_max=rng.choice((2, 5, 5)),
                timeouts=True,
                fragile=rng.random() < 0.2,
                impatient=rng.random() < 0.5,
                judged=rng.random() < 0.25,
                patient=rng.random() < 0.25,
            ),
            insistent=rng.random() < 0.3,
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
