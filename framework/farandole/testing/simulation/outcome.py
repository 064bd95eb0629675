"""One seed from its beginning to its judgement; whatever it raises is a finding too."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from farandole.testing.simulation.checks import Finding, violations
from farandole.testing.simulation.world import World

STUCK = "every_run_ends_once_faults_are_over"
"""L1, by name."""

RAISED = "no_process_raises_what_it_does_not_announce"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed. `trace` is the same whenever the seed is lived under the same code."""

    seed: int
    findings: tuple[Finding, ...]
    rare: Counter[str]
    ended: Counter[str]
    steps: int
    trace: str
    schedule: tuple[str, ...] = field(default=())


def simulate(seed: int) -> Outcome:
    """Live a seed and judge it."""
    world = World(seed)
    try:
        findings = tuple(_lived(world))
    except Exception as error:  # whatever escapes a loop would end the process: a finding like any other
        findings = (Finding(RAISED, f"{type(error).__name__}: {error}"),)
    finally:
        world.close()
    return Outcome(seed, findings, world.rare, Counter(world.clients.ended.values()), world.steps, trace_of(world))


def _lived(world: World) -> list[Finding]:
    if not world.live():
        waiting = sorted(set(world.clients.runs) - set(world.clients.ended))
        return [Finding(STUCK, f"after {world.steps} steps {waiting or 'markers'} still wait"), *violations(world)]
    return violations(world)


def trace_of(world: World) -> str:
    """A fingerprint of all that happened: every draw, every event, every call of a handler."""
    told = [(r.partition, r.offset, event) for r, event in world.clients.events]
    lived = (told, world.executions, world.steps, world.rng.getstate())
    return hashlib.sha256(repr(lived).encode()).hexdigest()
