"""What an invariant may look at: effects of the handlers, how runs ended, what was published."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from farandole.events import facts
from farandole.testing.simulated.effects import Effect
from farandole.transport.port import Record


@dataclass(slots=True)
class SeenRun:
    """One run. `outcome` is None if it never ended; `result` is the pipeline's, None without one."""

    id: str
    params: Mapping[str, object]
    outcome: str | None = None
    result: object = None
    events: list[facts.Event] = field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        """Whether it ended as it should."""
        return self.outcome == "succeeded"


@dataclass(frozen=True, slots=True)
class Seen:
    """One world that has come to its end.

    `calls` counts calls of handlers; `repeated` are those of an attempt that had been called before.
    """

    runs: Sequence[SeenRun]
    effects: Sequence[Effect]
    calls: int
    repeated: int
    read: Callable[[str], Sequence[Record]]

    def of(self, kind: str) -> list[Effect]:
        """The effects of one kind, in the order in which they happened."""
        return [each for each in self.effects if each.kind == kind]

    def by(self, kind: str, name: str) -> dict[object, list[Effect]]:
        """The effects of one kind, grouped by one of their fields."""
        groups: dict[object, list[Effect]] = defaultdict(list)
        for each in self.of(kind):
            groups[each.fields[name]].append(each)
        return dict(groups)

    def published(self, topic: str) -> Sequence[Record]:
        """What stands on a topic of the user's that handlers publish to, as a read-committed consumer sees it."""
        return self.read(topic)
