"""Looks into coordinators while a world lives: every instant that a run waits for is in the heap of its home."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from farandole.coordinator import CoordinatorLoop
from farandole.kernel.timers import marker, timers
from farandole.testing.simulation.process import Process


@dataclass(slots=True)
class Reminders:
    """`lost`: what was missing, told once each. An instant whose marker stands unread on the log is not missing."""

    lost: dict[str, None] = field(default_factory=dict)

    def look(self, processes: Iterable[Process]) -> None:
        """Look at every coordinator that has nothing under way: what a batch has taken comes back or takes effect."""
        for process in processes:
            loop = process.body.loop if process.body is not None else None
            if isinstance(loop, CoordinatorLoop) and loop.is_idle:
                self._look_at(loop)

    def _look_at(self, loop: CoordinatorLoop) -> None:
        for home in loop.homes.values():
            if home.draft is not None:
                continue
            known = set(home.timers)
            for run in home.runs.values():
                for timer in timers(run):
                    became = marker(run, timer)
                    if timer not in known and became is not None and became not in home.marked:
                        self.lost[f"{loop.client_id}, home {home.number}: nobody is reminded of {timer}"] = None
