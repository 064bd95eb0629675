"""One seed from its beginning to its judgement; whatever it raises is a finding too."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from farandole.testing.simulation.checks import CHECKS, Finding, violations
from farandole.testing.simulation.coverage import coverage_of
from farandole.testing.simulation.world import WHOLE, Part, World

STUCK = "every_run_ends_once_faults_are_over"
"""L1, by name."""

RAISED = "nothing_escapes_a_process"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed, or of a part of it. `trace` is the same whenever it is lived under the same code.

    `faults` are those that struck, `runs` those that were started: together the part that was lived.
    """

    seed: int
    findings: tuple[Finding, ...]
    rare: Counter[str]
    ended: Counter[str]
    steps: int
    trace: str
    faults: tuple[str, ...]
    runs: tuple[str, ...]

    @property
    def predicates(self) -> tuple[str, ...]:
        """What was violated, each once."""
        return tuple(dict.fromkeys(each.predicate for each in self.findings))


def simulate(seed: int, part: Part = WHOLE, told: Callable[[str], None] | None = None) -> Outcome:
    """Live a seed and judge it."""
    world = World(seed, part, told)
    try:
        findings = tuple(_lived(world))
    except Exception as error:  # whatever escapes a loop would end the process: a finding like any other
        findings = (Finding(RAISED, f"{type(error).__name__}: {error}"),)
    finally:
        world.close()
    return Outcome(
        seed,
        findings,
        coverage_of(world),
        Counter(world.clients.ended.values()),
        world.steps,
        _trace_of(world),
        tuple(world.chaos.told),
        tuple(world.clients.runs),
    )


def _lived(world: World) -> list[Finding]:
    if world.live():
        return violations(world)
    waiting = sorted(set(world.clients.runs) - set(world.clients.ended))
    stuck = f"after {world.steps} steps {', '.join(waiting) or 'a position, or a marker,'} still waits"
    # The history checker waits for the end of open transactions, and here nothing goes on.
    return [Finding(STUCK, stuck), *(Finding(check.__name__, found) for check in CHECKS for found in check(world))]


def _trace_of(world: World) -> str:
    """A fingerprint of all that happened: every draw, every event, every call of a handler."""
    told = [(r.partition, r.offset, event) for r, event in world.clients.events]
    lived = (told, world.ledger.calls, world.steps, world.rng.getstate(), world.chaos.told)
    return hashlib.sha256(repr(lived).encode()).hexdigest()
