"""One decision in the making: what was emitted so far, and the run with all of it folded in."""

from collections import deque
from datetime import UTC, datetime, timedelta

import msgspec

from farandole.events.facts import Event
from farandole.kernel.evolve import evolve
from farandole.kernel.state import Run
from farandole.kernel.values import Values

DEDUPE_WINDOW = timedelta(hours=24)
"""How long the id of an ended run answers a second start (DESIGN section 6)."""

STOPPED_WINDOW = timedelta(days=7)
"""The same for a run that was stopped: longer than an inbox keeps a trigger, so that a late one is answered, not run.

Source: Kafka's default `retention.ms`.
"""

_LAST = datetime.max.replace(tzinfo=UTC)


class Moment(msgspec.Struct, frozen=True):
    """What the shell adds to a fact: the instant, its draw for the jitter in [0, 1), and how long stubs are kept.

    `wall` is what the machine's own clock says, where that is asked: `now` may lag behind it, for it does not leap.
    """

    now: datetime
    luck: float = 0.0
    dedupe_window: timedelta = DEDUPE_WINDOW
    stopped_window: timedelta = STOPPED_WINDOW
    wall: datetime | None = None

    def after(self, wait: timedelta) -> datetime:
        """The instant that much later, or the last that there is: what holds or stops a run must never fail."""
        return self.now + min(wait, _LAST - self.now)


class Decision:
    """Facts emitted so far, each with the run as it was before it."""

    __slots__ = ("moment", "run", "steps", "todo", "values")

    def __init__(self, run: Run, moment: Moment, values: Values) -> None:
        self.run = run
        self.moment = moment
        self.values = values
        self.steps: list[tuple[Run, Event]] = []
        self.todo: deque[tuple[str, int]] = deque()
        """Units that ended and whose successors have not been looked at."""

    @property
    def now(self) -> datetime:
        """The instant of the decision."""
        return self.moment.now

    @property
    def events(self) -> list[Event]:
        """What follows, in order."""
        return [event for _, event in self.steps]

    def emit(self, event: Event) -> None:
        """Add a consequence and fold it."""
        self.steps.append((self.run, event))
        self.run = evolve(self.run, event)

    def ended(self, step: str, item: int) -> None:
        """Remember that a unit ended."""
        self.todo.append((step, item))
