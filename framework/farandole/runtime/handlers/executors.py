"""The executor of a whole unit: each agent's handler goes where its isolation says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from farandole.definition.spec import AgentSpec
from farandole.runtime.attempts import Attempt, Done
from farandole.runtime.handlers.coroutines import Coroutines
from farandole.runtime.handlers.environment import Environment
from farandole.runtime.handlers.threads import Threads
from farandole.runtime.settings import AgentSettings


class Place(Protocol):
    """One kind of place where handlers run."""

    @property
    def has_room(self) -> bool:
        """Whether another attempt would begin soon."""
        ...

    def submit(self, attempt: Attempt) -> None:
        """Run the handler when there is a place."""
        ...

    def call_off(self, attempt: Attempt) -> None:
        """Stop it if that is possible, and free its place."""
        ...

    def ended(self, attempt: Attempt) -> None:
        """The loop has the attempt's outcome."""
        ...

    @property
    def is_worn(self) -> bool:
        """Whether too much is stuck."""
        ...

    def close(self) -> None:
        """Give up what is running."""
        ...


class Executors:
    """Routes attempts by isolation. Child processes are begun ahead if any agent wants them: a start takes a second."""

    def __init__(
        self, environment: Environment, settings: AgentSettings, agents: Sequence[AgentSpec], unit_path: Path | None
    ) -> None:
        self._results = environment.results
        self._places: dict[str, Place] = {
            "loop": Coroutines(environment, settings.coroutines, settings.stuck_max),
            "thread": Threads(environment, settings.threads, settings.stuck_max),
        }
        if any(spec.isolation == "process" for spec in agents):
            from farandole.runtime.handlers.processes import Processes  # a third of what this package imports

            self._places["process"] = Processes(environment, settings.processes, unit_path)

    def has_room(self, spec: AgentSpec) -> bool:
        """Whether an attempt of this agent would begin soon."""
        return self._places[spec.isolation].has_room

    def submit(self, attempt: Attempt) -> None:
        """Run the handler in the place of its isolation."""
        self._places[attempt.spec.isolation].submit(attempt)

    def call_off(self, attempt: Attempt) -> None:
        """Stop it if that is possible, and free its place."""
        self._places[attempt.spec.isolation].call_off(attempt)

    def drain(self) -> Sequence[Done]:
        """What has ended since the last time."""
        ended = self._results.drain()
        for done in ended:
            self._places[done.attempt.spec.isolation].ended(done.attempt)
        return ended

    @property
    def is_worn(self) -> bool:
        """Whether so much is stuck that the process had better be replaced."""
        return any(place.is_worn for place in self._places.values())

    def close(self) -> None:
        """Give up what is running."""
        for place in self._places.values():
            place.close()
