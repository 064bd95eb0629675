"""F10: records of `runs` are overwritten with what nobody can read, and whoever restores them finds that.

What a coordinator keeps is in memory, restored from `runs`; there is no store of its own on a disk. While agents stand
still and no coordinator lives, a stranger overwrites the state of runs that are under way.
"""

import time
from collections.abc import Iterator

from confluent_kafka import Producer

from farandole.ids import partition_of
from farandole.testing.chaos.injection import Hit
from farandole.testing.chaos.stage import COORDINATOR, Stage, pause

OVERWRITTEN_MAX = 50
GATHER_S = 4.0
"""How long runs gather while the agents stand still."""

ROUNDS = 2
FLUSH_S = 30.0


def damage_states(stage: Stage) -> Iterator[Hit]:
    """F10: twice; all coordinators die, and restore what was overwritten."""
    overwritten = 0
    for _ in range(ROUNDS):
        agents = [actor for actor in stage.actors.values() if actor.unit != COORDINATOR]
        coordinators = [actor for actor in stage.actors.values() if actor.unit == COORDINATOR]
        for actor in agents:
            actor.process.sigstop()
        pause(GATHER_S)
        for actor in coordinators:
            actor.process.kill9()
        is_open = any(stage.is_open(actor) for actor in coordinators)
        overwritten += _overwrite(stage)
        since = time.monotonic()
        for actor in coordinators:
            actor.process.restart()
        for actor in agents:
            actor.process.sigcont()
        yield Hit(since, is_open)
    stage.notes.append(f"the state of {overwritten} runs was overwritten")


def _overwrite(stage: Stage) -> int:
    """Write nonsense over the state of runs that were acknowledged and have not ended."""
    assert stage.load is not None
    chosen = sorted(stage.load.waiting())[:OVERWRITTEN_MAX]
    stranger = Producer({"bootstrap.servers": stage.broker.bootstrap, "log_level": 0})
    for run in chosen:
        stranger.produce(stage.topics.runs, b"\0nonsense", run, partition=partition_of(run, stage.plan.partitions))
    assert stranger.flush(FLUSH_S) == 0, "expected the broker to take them"
    return len(chosen)
