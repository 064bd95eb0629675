"""Kill every coordinator, and chains keep running: agents fire what only they need to know."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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
    cluster.until(lambda: len(started(cluster)) == RUNS, "every run to be admitted", 40, 0.3)
    for each in coordinators:
        each.kill()

    gate.touch()
    cluster.until(lambda: answered(cluster, "third") == RUNS, "every run to do its last step", 60, 0.5)
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


def started(cluster: "Cluster") -> set[str]:
    """Runs that were admitted, with their first trigger written in the same transaction."""
    history = cluster.history(quiescent=False)
    return {each.run for each in history.inboxes if each.unit[0] == "first"}


def answered(cluster: "Cluster", step: str) -> int:
    """How many results of a step are on the log."""
    events = cluster.history(quiescent=False).events
    return sum(isinstance(each.fact, StepSucceeded) and each.fact.step == step for each in events)
