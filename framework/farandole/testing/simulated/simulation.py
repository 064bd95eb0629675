"""`Simulation`: a pipeline, what its runs are started with, and what must be true of every world."""

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from farandole.definition.pipelines import Pipeline, require_pipeline
from farandole.errors import DefinitionError
from farandole.events.avro import Schema
from farandole.kernel.settle import WITH_OUTPUT
from farandole.runtime.handlers.inline import without_a_loop
from farandole.testing.simulated.executor import HandlerWaitsForEver
from farandole.testing.simulated.invariants import (
    Invariant,
    asked,
    broken,
    every_run_ends,
    name_of,
    refuse_pending,
    refuse_unrun,
)
from farandole.testing.simulated.plan import Plan, drawn
from farandole.testing.simulated.sample import params_of
from farandole.testing.simulated.seen import Seen
from farandole.testing.simulated.shrink import shrunk
from farandole.testing.simulated.story import Story, shown
from farandole.testing.simulated.world import NAMES, PipelineWorld

F = TypeVar("F", bound=Callable[..., object])

RUNS_MAX = 3
"""Runs of a world: enough that they get into each other's way."""

SEEDS = 100
"""Seeds unless told otherwise: some seconds."""

NOTHING_SHOWN = "no run came to its end: give `params=` that the handlers take, or see why they fail"
"""What a report says of worlds in which every run was refused or given up."""

NOT_REPEATED = (
    "it did not fail when it was lived again: something is no part of the seed, such as what `before` does not make "
    "new, the clock or a thread. The story is that of the first time"
)
"""What a failure says of a world that cannot be shrunk or lived again, because it is not the seed's alone."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that breaks an invariant, and the story of its smallest world."""

    pipeline: str
    seed: int
    invariant: str
    error: str
    found: Plan
    smallest: Plan
    tries: int
    story: tuple[str, ...]
    repeats: bool = True
    """Whether its smallest world failed when it was lived again; else story and mishaps are the first world's."""

    @property
    def mishaps(self) -> tuple[str, ...]:
        """What it takes to fail."""
        kinds = [each.value for each in sorted(self.smallest.kinds, key=str)]
        return (*kinds, *(f"{each.harm.value} {NAMES[each.process]}" for each in self.smallest.blows))

    def __str__(self) -> str:
        return "\n".join(
            (
                f"{self.pipeline}, seed {self.seed}: {self.invariant}",
                f"  {self.error}",
                *(() if self.repeats else (f"  {NOT_REPEATED}",)),
                f"  shrunk from {_count(self.found)} to {_count(self.smallest)} ({', '.join(self.mishaps) or 'none'})"
                f" in {self.tries} tries:",
                "",
                *self.story,
            )
        )


@dataclass(slots=True)
class Report:
    """What was lived through. `failure` is that of the first seed that failed."""

    pipeline: str
    seeds: int = 0
    calls: int = 0
    effects: int = 0
    repeated: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failure: Failure | None = None

    @property
    def came_to_an_end(self) -> bool:
        """Whether any run did its work; of invariants that saw none, all clear says nothing."""
        return any(self.outcomes[outcome] for outcome in WITH_OUTPUT)

    def __str__(self) -> str:
        ends = ", ".join(f"{n} {outcome}" for outcome, n in sorted(self.outcomes.items()))
        lived = (
            f"{self.pipeline}: {self.seeds} seeds, {self.calls} calls of handlers ({self.repeated} repeated), "
            f"{self.effects} effects; runs: {ends or 'none'}"
        )
        return lived if self.came_to_an_end else f"{lived}\n  {NOTHING_SHOWN}"


@dataclass
class Simulation:
    """`params` draws the arguments of one run by name; without it they are drawn from the pipeline's schema.

    Invariants raise, or return False, when they do not hold. That every run ends is always checked.

    Raises:
        TypeError: it is no pipeline, or `params` is no function.
        ValueError: `runs_max` is below 1.
        DefinitionError: `params` is a coroutine function or a generator.
    """

    pipeline: Pipeline[..., object]
    params: Callable[[random.Random], Mapping[str, object]] | None = None
    runs_max: int = RUNS_MAX
    _invariants: list[Invariant] = field(default_factory=list)
    _before: list[Callable[[], object]] = field(default_factory=list)
    _seed: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        require_pipeline(self.pipeline)
        if self.runs_max < 1:
            raise ValueError(f"runs_max: expected at least 1, but found {self.runs_max}: nothing would be started")
        if self.params is not None:
            if not callable(self.params):
                raise TypeError(f"params: expected a function that draws them, but found {shown(repr(self.params))}")
            refuse_unrun(self.params)

    @property
    def seed(self) -> int | None:
        """The seed at work, for another thread that wants to know; None where none is."""
        return self._seed

    @property
    def invariants(self) -> tuple[str, ...]:
        """Names of what was registered."""
        return tuple(name_of(check) for check in self._invariants)

    def invariant(self, check: F) -> F:
        """Register what must be true of every world at its end (a decorator).

        Raises:
            DefinitionError: a coroutine function or a generator, which a call would not run.
        """
        refuse_unrun(check)
        self._invariants.append(check)
        return check

    def before(self, reset: F) -> F:
        """Register what makes the world outside new, before each world (a decorator).

        Raises:
            DefinitionError: a coroutine function or a generator, which a call would not run.
        """
        refuse_unrun(reset)
        self._before.append(reset)
        return reset

    def check(self, seeds: int = SEEDS, start: int = 0) -> Report:
        """Live through seeds until one fails; the report says what happened.

        Raises:
            ValueError: `seeds` is below 1.
            ContractError: `params` gave something that the pipeline does not take.
            DefinitionError: an invariant returned something that has yet to be run, `params` or what `before` was
                given raised something, or a handler without a time-out waits for ever.
        """
        if seeds < 1:
            raise ValueError(f"expected at least 1 seed, but found {seeds}: nothing would be lived")
        report = Report(self.pipeline.name)
        try:
            with _quiet():
                without_a_loop(lambda: self._live_through(range(start, start + seeds), report))
        finally:
            self._seed = None
        return report

    def _live_through(self, seeds: range, report: Report) -> None:
        for self._seed in seeds:
            plan = drawn(self._seed, self.runs_max, len(NAMES))
            seen, found, story = self._lived(plan)
            _count_in(report, seen)
            if found is not None:
                report.failure = self._failure(plan, found, story)
                return

    def verify(self, seeds: int = SEEDS, start: int = 0) -> Report:
        """As `check`, for tests.

        Raises:
            AssertionError: a seed failed; the message is the story.
        """
        report = self.check(seeds, start)
        if report.failure is not None:
            again = f"pytest --simulate-from {report.failure.seed} --simulate-seeds 1"
            raise AssertionError(f"\n{report.failure}\n\nagain: {again}")
        return report

    def _lived(self, plan: Plan) -> tuple[Seen, tuple[str, str] | None, Story]:
        """One world: what was seen, the broken invariant with its error, the story."""
        with _seeded(plan.seed):
            for reset in self._before:
                refuse_pending(reset, asked(reset))
            world = PipelineWorld(self.pipeline, plan, self._drawn_params)
            try:
                seen = world.live()
            except HandlerWaitsForEver as error:
                raise DefinitionError(str(error), place=error.place) from None
            finally:
                world.close()
        checks = (every_run_ends, *self._invariants)
        return seen, next((found for check in checks if (found := broken(check, seen))), None), world.story

    def _failure(self, plan: Plan, first: tuple[str, str], first_story: Story) -> Failure:
        invariant, error = first

        def fails(smaller: Plan) -> bool:
            found = self._lived(smaller)[1]
            return found is not None and found[0] == invariant

        smallest, tries = shrunk(plan, fails)
        _, found, story = self._lived(smallest)
        repeats = found is not None and found[0] == invariant
        if found is None or not repeats:
            smallest, story = plan, first_story
        else:
            error = found[1]
        lines = tuple(story.lines())
        return Failure(self.pipeline.name, plan.seed, invariant, error, plan, smallest, tries, lines, repeats)

    def _drawn_params(self, rng: random.Random) -> tuple[Mapping[str, object], bytes]:
        if self.params is not None:
            given = asked(self.params, rng)
            if not isinstance(given, Mapping):
                found = shown(repr(given))
                raise DefinitionError(f"{name_of(self.params)}: expected arguments by name, but it returned {found}")
            return dict(given), self.pipeline.encode_params(**given)
        schema = self.pipeline.definition.params_schema
        plain = params_of(schema, rng)
        assert isinstance(plain, dict)
        return plain, Schema.parse(schema).encode(plain)


def _count(plan: Plan) -> str:
    return f"{plan.runs} run{'s' * (plan.runs != 1)} and {plan.size} mishap{'s' * (plan.size != 1)}"


def _count_in(report: Report, seen: Seen) -> None:
    report.seeds += 1
    report.calls += seen.calls
    report.effects += len(seen.effects)
    report.repeated += seen.repeated
    report.outcomes.update(run.outcome or "stuck" for run in seen.runs)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """What draws from the global generator within, handlers and `before` alike, is part of the seed."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


@contextmanager
def _quiet() -> Iterator[None]:
    """What goes wrong here is meant to: nothing of it is logged."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
