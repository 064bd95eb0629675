"""What a watcher knows of a run: its events folded as a coordinator folds them, and when each step was busy.

Pure but for the definition, which is handed in. The fold is `kernel.rebuild`, so that the picture
is the run's true state even where facts and consequences stand out of order on the log.
"""

from dataclasses import dataclass, field
from datetime import datetime

from farandole.client.query import event_of
from farandole.client.rebuilding import logged
from farandole.client.waiting import Wait, waits
from farandole.definition.graph import Graph, graph_of
from farandole.definition.model import Definition
from farandole.events import facts
from farandole.events.envelope import instant_of
from farandole.ids import NO_ITEM
from farandole.kernel.rebuild import Logged, rebuild
from farandole.kernel.state import Run
from farandole.transport.port import Record


@dataclass(slots=True)
class RunView:
    """One run as seen so far. `begun` and `changed`: when a step was first and last heard of."""

    run_id: str
    log: list[Logged] = field(default_factory=list)
    begun: dict[str, datetime] = field(default_factory=dict)
    changed: dict[tuple[str, int], datetime] = field(default_factory=dict)
    started: datetime | None = None
    settled: facts.RunSettled | None = None
    graph: Graph | None = None
    _state: Run | None = None
    _folded: int = 0

    def take(self, record: Record, definition: Definition | None) -> facts.Event:
        """Take in the next event; the definition is that of the run, from its start on.

        Raises:
            RecordError: it cannot be read; it is left out then, as a coordinator does.
        """
        event, at = event_of(record), instant_of(record.timestamp_ms)
        if isinstance(event, facts.RunStarted):
            self.log, self.settled, self.started = [], None, at
            self.graph = graph_of(definition) if definition is not None else None
            self.begun, self.changed, self._state, self._folded = {}, {}, None, 0
        self._note(event, at)
        if isinstance(event, facts.RunSettled):
            self.settled = event  # not folded: of an ended run only a stub would be left to look at
        else:
            self.log.append(logged(record))
        return event

    def _note(self, event: facts.Event, at: datetime) -> None:
        step, item = getattr(event, "step", ""), getattr(event, "item", NO_ITEM)
        if step:
            self.begun.setdefault(step, at)
            self.changed[step, item] = at
        for child in event.fired if isinstance(event, facts.StepSucceeded) else ():
            self.begun.setdefault(child, at)
            self.changed.setdefault((child, NO_ITEM), at)

    @property
    def state(self) -> Run | None:
        """The run as its events make it, before its end; None until its start was seen."""
        graph = self.graph
        if graph is not None and self._folded < len(self.log):
            self._state = rebuild(self.log, lambda _: graph).get(self.run_id)
            self._folded = len(self.log)
        return self._state

    @property
    def waits(self) -> list[Wait]:
        """What it waits for."""
        state = self.state
        return waits(state, self.changed) if state is not None and self.settled is None else []

    @property
    def status(self) -> str:
        """`running`, `held`, `stopping`, or its outcome."""
        if self.settled is not None:
            return self.settled.outcome
        state = self.state
        if state is None:
            return "not begun"
        return "held" if state.is_held else "stopping" if state.head.phase else "running"

    def last(self, step: str) -> datetime | None:
        """When a step or one of its items was last heard of."""
        return max((at for (name, _), at in self.changed.items() if name == step), default=None)
