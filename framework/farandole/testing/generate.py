"""Random pipelines, and what their steps come to, for tests that must hold for all of them.

Everything is drawn from the `random.Random` that is handed in: a seed names a pipeline for
ever, and hypothesis shrinks one that it drew. Conditions, joins, maps over lists and over
maps, ordering, retries, deadlines and every meaning of a dead letter occur. Knows nothing of
the kernel.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from farandole.definition.model import Definition
from farandole.definition.policy import Join, JoinKind, OnDeadLetter, Retry
from farandole.testing.sketch import ITEM, Node, define, framed

STEPS_MAX = 8
ITEMS_MAX = 4
ITEMS_MANY = 70
"""Now and then: more units than one state record holds."""

PAD_LARGE = 700
"""Now and then: a payload that has a state record of its own."""

ATTEMPTS_DOOMED = 3
"""Attempts after which every step succeeds, so that each replayed run comes to an end."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What may occur. `timed`: deadlines and retry budgets, whose effect depends on when things happen.

    `timeouts`: attempts that are given up. `fragile`: conditions that cannot be evaluated for some values.
    `impatient`: runs that do not wait long for what is under way when they stop. `judged`: steps that have a
    deadline, and are done without more often than not. `patient`: retries that wait long.
    """

    steps_max: int = STEPS_MAX
    timed: bool = True
    timeouts: bool = False
    fragile: bool = False
    impatient: bool = False
    judged: bool = False
    patient: bool = False


ANY = Shape()


def random_definition(rng: random.Random, shape: Shape = ANY) -> Definition:
    """A pipeline that `check` would let pass: acyclic, each expression of a fitting type."""
    nodes: list[Node] = []
    for number in range(rng.randint(1, shape.steps_max)):
        nodes.append(_Drawing(rng, shape, nodes).node(f"s{number}"))
    plain = [each.name for each in nodes if each.over is None]
    outputs = [None, rng.choice(nodes).name, *(f"{name}.n" for name in plain[-1:])]
    return define(
        *nodes,
        output=rng.choice(outputs),
        deadline=timedelta(seconds=rng.randint(5, 60)) if shape.timed and rng.random() < 0.2 else None,
        hold_max=timedelta(hours=1),
        stop_max=timedelta(seconds=rng.choice((1, 1, 5))) if shape.impatient else timedelta(minutes=1),
    )


def random_chain(rng: random.Random) -> Definition:
    """Steps in a row, each fired by the agent of the one before unless its condition or an error says otherwise."""
    nodes = [Node("s0", ("params.n",), retry=_retry(rng))]
    for number in range(1, rng.randint(2, 5)):
        above = nodes[-1].name
        when = rng.choice([f"{above}.n % 5 != 0", "params.n < 8"]) if rng.random() < 0.2 else None
        dead = rng.choice(list(OnDeadLetter))
        nodes.append(Node(f"s{number}", (above,), when=when, retry=_retry(rng), on_dead_letter=dead))
    deadline = timedelta(seconds=rng.randint(20, 60)) if rng.random() < 0.2 else None
    hold, stop = timedelta(hours=1), timedelta(minutes=1)
    return define(*nodes, output=nodes[-1].name, deadline=deadline, hold_max=hold, stop_max=stop)


def _retry(rng: random.Random) -> Retry:
    return Retry(rng.randint(1, 3), base=timedelta(milliseconds=rng.randint(1, 3000)))


def random_items(rng: random.Random) -> list[int]:
    """A list to run over: short, seldom long."""
    count = ITEMS_MANY if rng.random() < 0.02 else rng.randint(0, ITEMS_MAX)
    return [rng.randint(0, 9) for _ in range(count)]


def random_pad(rng: random.Random) -> str:
    """What makes a payload large, or not."""
    return "x" * PAD_LARGE if rng.random() < 0.2 else ""


@dataclass(frozen=True, slots=True)
class _Drawing:
    """One step in the making, below those that are there."""

    rng: random.Random
    shape: Shape
    above: Sequence[Node]

    def node(self, name: str) -> Node:
        """The step of that name."""
        parents = self._some(self.above, 3) if self.rng.random() < 0.85 else []
        over = self._over(parents)
        join = self._join(parents) if over is None else Join()
        inputs = [self._input(each, join) for each in parents if each.name != over]
        if over is not None:
            inputs.append(ITEM)
        if not inputs or self.rng.random() < 0.2:
            inputs.append("params.n")
        taken = {each.name for each in parents}
        return Node(
            name,
            tuple(inputs),
            when=self._when(parents, over) if join.kind is JoinKind.ALL_SUCCEEDED else None,
            over=over,
            after=tuple(each.name for each in self._some(self.above, 2) if each.name not in taken and self._seldom()),
            join=join,
            retry=self._retry(),
            deadline=self._deadline(),
            timeout=self._timeout(),
            on_dead_letter=self.rng.choices(list(OnDeadLetter), weights=(1, 1, 4) if self.shape.judged else (4, 1, 3))[
                0
            ],
        )

    def _some(self, nodes: Sequence[Node], most: int) -> list[Node]:
        count = self.rng.randint(0, min(most, len(nodes)))
        return sorted(self.rng.sample(list(nodes), count), key=lambda each: each.name)

    def _seldom(self) -> bool:
        return self.rng.random() < 0.25

    def _over(self, parents: Sequence[Node]) -> str | None:
        """What the step runs over, if it is mapped: params, a list that a step gives, or a mapped step item by item."""
        if self.rng.random() >= 0.35:
            return None
        lists = [each.name if each.over else f"{each.name}.items" for each in parents]
        return self.rng.choice([*lists, "params.items"])

    def _join(self, parents: Sequence[Node]) -> Join:
        if len(parents) < 2 or self.rng.random() < 0.5:
            return Join()
        kind = self.rng.choice(list(JoinKind))
        return Join(kind, self.rng.randint(1, len(parents)) if kind is JoinKind.N_OF else 0)

    def _input(self, parent: Node, join: Join) -> str:
        """A parent's output or its number; what a step may have to do without is optional."""
        text = f"{parent.name}.n" if parent.over is None and self._seldom() else parent.name
        optional = join.kind is not JoinKind.ALL_SUCCEEDED or self._seldom()
        return text + "?" * optional

    def _when(self, parents: Sequence[Node], over: str | None) -> str | None:
        if self.rng.random() >= (0.6 if self.shape.fragile else 0.3):
            return None
        element = f"{ITEM}.n" if any(each.name == over for each in parents) else ITEM
        told = [f"{each.name}.n % 3 != 0" for each in parents if each.over is None]
        told += [f"{element} % 2 == 0"] if over else []
        if self.shape.fragile:
            told += [f"100 / ({each.name}.n % 3) > 40" for each in parents if each.over is None]
            told += ["100 / params.n > 11"]
        return self.rng.choice([*told, "params.n < 7"])

    def _deadline(self) -> timedelta | None:
        often = 0.5 if self.shape.judged else 0.1
        longest = 8 if self.shape.judged else 20
        return (
            timedelta(seconds=self.rng.randint(1, longest)) if self.shape.timed and self.rng.random() < often else None
        )

    def _timeout(self) -> timedelta | None:
        if not self.shape.timeouts or self.rng.random() >= 0.1:
            return None
        return timedelta(milliseconds=self.rng.randint(200, 5000))

    def _retry(self) -> Retry:
        total = timedelta(seconds=self.rng.randint(1, 30)) if self.shape.timed and self._seldom() else None
        longest = 20_000 if self.shape.patient else 3_000
        return Retry(self.rng.randint(1, 3), base=timedelta(milliseconds=self.rng.randint(1, longest)), total=total)


@dataclass(frozen=True, slots=True)
class Result:
    """What an attempt comes to: a framed output, or a failure."""

    output: bytes | None
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class Script:
    """What each attempt of each step and item comes to: a function of the seed, in whatever order it is asked."""

    seed: int
    failing: float = 0.15
    """How often an attempt fails."""

    publishing: float = 0.0
    """How many of the steps also write to a topic of the user's."""

    slow: float = 0.0
    """How many of the attempts take seconds."""

    again: float | None = None
    """How often an attempt fails that has run before, for what it left behind; None: it comes to the same."""

    def duration(self, step: str, item: int, attempt: int) -> float:
        """How many seconds that attempt takes at least."""
        if not self.slow:
            return 0.0
        rng = random.Random(f"{self.seed}/{step}/{item}/{attempt}/duration")
        return rng.uniform(1, 20) if rng.random() < self.slow else 0.0

    def publishes(self, step: str) -> bool:
        """Whether that step does."""
        return random.Random(f"{self.seed}/{step}/publishes").random() < self.publishing

    def result(self, step: str, item: int, attempt: int, before: int = 0) -> Result:
        """What that attempt comes to when it runs after `before` others of itself; beyond the doomed it succeeds."""
        is_again = before > 0 and self.again is not None
        rng = random.Random(f"{self.seed}/{step}/{item}/{attempt}" + f"/again/{before}" * is_again)
        failing = self.again if is_again and self.again is not None else self.failing
        if attempt <= ATTEMPTS_DOOMED and rng.random() < failing:
            return Result(None, retryable=rng.random() < 0.7)
        return Result(self._value(step, item))

    def _value(self, step: str, item: int) -> bytes:
        """The same from every attempt."""
        rng = random.Random(f"{self.seed}/{step}/{item}")
        return framed(rng.randint(0, 9), random_items(rng), random_pad(rng))
