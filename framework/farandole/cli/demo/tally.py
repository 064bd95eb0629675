"""What the demo counts of a run's events: units of work done and still to come, attempts, dead letters, replays.

Pure: events in, numbers out.
"""

from dataclasses import dataclass, field

from farandole.definition.model import Definition
from farandole.events import facts


@dataclass(slots=True)
class Tally:
    """`known`: steps and items that the run is known to have; a mapped step counts as its items."""

    definition: Definition
    done: set[tuple[str, int]] = field(default_factory=set)
    expanded: dict[str, int] = field(default_factory=dict)
    attempts: int = 0
    dead_letters: int = 0
    replayed: int = 0
    last: str = ""
    """The step that was worked on last."""

    @property
    def total(self) -> int:
        """Steps and items, as far as they are known."""
        plain = sum(not step.is_mapped for step in self.definition.steps.values())
        return plain + sum(self.expanded.values())

    def take(self, event: facts.Event) -> None:
        """Count one event."""
        match event:
            case facts.StepSucceeded(step=step, item=item):
                self.attempts += 1
                self.done.add((step, item))
                self.last = step
            case facts.StepFailed(step=step):
                self.attempts += 1
                self.last = step
            case facts.StepExpanded(step=step, items=items):
                self.expanded[step] = items
            case facts.StepDeadLettered():
                self.dead_letters += 1
            case facts.StepScheduled(fresh_budget=True):
                self.replayed += 1
            case _:
                pass
