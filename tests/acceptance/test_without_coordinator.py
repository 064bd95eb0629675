"""Kill every coordinator, and chains keep running: agents fire what only they need to know."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farandole.events.catalogue import decode
from farandole.events.facts import RunStarted, StepSucceeded
from farandole.testing.history import check_history

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cluster

RUNS = 1_000
PARTITIONS = 12


@pytest.mark.slow
def test_chains_reach_their_last_step_while_every_coordinator_is_dead(
    cluster: "Cluster", units: Path, tmp_path: Path
) -> None:
    cluster.apply(units / "steps", PARTITIONS)
    gate = tmp_path / "gate"
    coordinators = [cluster.coordinator("c1"), cluster.coordinator("c2")]
    agents = cluster.agents("a1", units / "steps")
    cluster.start("line", {f"r-{n}": {"gate": str(gate)} for n in range(RUNS)})
    # A trigger is written in the same transaction as the admission of its run.
    admitted = cluster.tally(cluster.topics.inbox("first"), lambda key, value: key.decode())
    admitted.reaches(RUNS, "every run to be admitted", 40)
    for each in coordinators:
        each.kill()

    gate.touch()
    cluster.tally(cluster.topics.events, last_step).reaches(RUNS, "every run to do its last step", 60)
    history = cluster.history(quiescent=False)
    done = Counter(each.fact.step for each in history.events if isinstance(each.fact, StepSucceeded))
    assert done == {"first": RUNS, "second": RUNS, "third": RUNS}
    assert sum(isinstance(each.fact, RunStarted) for each in history.events) == RUNS
    assert not history.settled
    fired = {each.source for each in history.inboxes if each.unit[0] in ("second", "third")}
    assert fired == {agents.source}
    admitting = {each.source for each in history.inboxes if each.unit[0] == "first"}
    assert admitting <= {each.transactional_id for each in coordinators}

    for each in coordinators:
        each.start()
    outcomes = cluster.outcomes(RUNS, 40)
    cluster.check()
    cluster.await_quiet()
    assert Counter(map(tuple, outcomes.values())) == {("succeeded",): RUNS}
    history = cluster.history()
    assert Counter(each.unit[0] for each in history.inboxes) == {"first": RUNS, "second": RUNS, "third": RUNS}
    violations = check_history(history)
    assert not violations, "\n".join(str(each) for each in violations[:20])


def last_step(key: bytes, value: bytes) -> str | None:
    """The run whose last step a result tells of."""
    fact = decode(value)
    return fact.run if isinstance(fact, StepSucceeded) and fact.step == "third" else None
