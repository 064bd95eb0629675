"""What goes wrong for one run stays with it, and nothing is needed that may have expired."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from farandole.events import facts
from farandole.ids import partition_of
from farandole.testing.history import check_history

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cluster

PARTITIONS = 3


def saw(cluster: "Cluster", kind: type[object], run: str) -> bool:
    """Whether a run has an event of that kind."""
    return any(isinstance(each.fact, kind) and each.run == run for each in cluster.history(quiescent=False).events)


def expire(cluster: "Cluster", topic: str) -> None:
    """Delete every record of a topic, as retention would."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    count = len(admin.list_topics(topic, 10).topics[topic].partitions)
    everything = [TopicPartition(topic, number, -1) for number in range(count)]
    for future in admin.delete_records(everything).values():
        future.result(10)


@pytest.mark.slow
def test_retry_after_a_coordinator_restart_needs_no_inbox_record(cluster: "Cluster", units: Path) -> None:
    cluster.apply(units / "faults", PARTITIONS)
    cluster.agents("a1", units / "faults")
    coordinator = cluster.coordinator()
    cluster.start("stumbling", {"s-1": {"number": 41}})
    cluster.until(lambda: saw(cluster, facts.RetryScheduled, "s-1"), "the retry to be scheduled", 30, 0.2)

    coordinator.kill()
    expire(cluster, cluster.topics.inbox("stumble"))
    coordinator.start()
    outcomes = cluster.outcomes(1, 40)

    assert outcomes == {"s-1": ["succeeded"]}
    cluster.check()
    cluster.await_quiet()
    history = cluster.history()
    assert [each.attempt for each in history.inboxes] == [2]
    violations = check_history(history)
    assert not violations, "\n".join(map(str, violations))


@pytest.mark.slow
def test_run_whose_condition_raises_is_held_alone_and_can_be_cancelled(cluster: "Cluster", units: Path) -> None:
    cluster.apply(units / "faults", PARTITIONS)
    cluster.agents("a1", units / "faults")
    cluster.coordinator()
    home = partition_of("bad", PARTITIONS)
    others = [run for run in (f"o-{n}" for n in range(60)) if partition_of(run, PARTITIONS) == home]

    cluster.start("dividing", {"bad": {"number": 0}, **{run: {"number": 4} for run in others}})
    outcomes = cluster.outcomes(len(others), 40)
    cluster.until(lambda: saw(cluster, facts.RunHeld, "bad"), "the run to be held", 20, 0.2)
    cluster.start("dividing", {"later": {"number": 2}})
    assert "later" in cluster.outcomes(len(others) + 1, 20)
    held = next(each.fact for each in cluster.history(quiescent=False).events if isinstance(each.fact, facts.RunHeld))
    with cluster.client() as client:
        client.run("bad").cancel()
    ended = cluster.outcomes(len(others) + 2, 20)

    assert Counter(map(tuple, outcomes.values())) == {("succeeded",): len(others)}
    assert held.reason == "kernel_error"
    assert ended["bad"] == ["cancelled"]
    cluster.check()
    cluster.await_quiet()
    violations = check_history(cluster.history())
    assert not violations, "\n".join(map(str, violations))


@pytest.mark.slow
def test_map_of_a_thousand_items_is_shared_by_two_processes(cluster: "Cluster", units: Path) -> None:
    cluster.apply(units / "faults")
    agents = [cluster.agents("a1", units / "faults"), cluster.agents("a2", units / "faults")]
    cluster.coordinator()
    cluster.await_members("faults", agents)
    inbox, writers = cluster.topics.inbox("square"), {each.transactional_id for each in agents}
    # Whoever takes a partition over commits its epoch: the writer of the position is the owner.
    cluster.until(
        lambda: writers == {each.writer for each in cluster.history(quiescent=False).committed if each.topic == inbox},
        "both processes to own partitions of the mapped agent's inbox",
        20,
        0.3,
    )

    cluster.start("wide", {"w-1": {"count": 1_000}})
    outcomes = cluster.outcomes(1, 40)

    assert outcomes == {"w-1": ["succeeded"]}
    cluster.check()
    cluster.await_quiet()
    history = cluster.history()
    done = Counter(
        each.source for each in history.events if isinstance(each.fact, facts.StepSucceeded) and each.fact.item >= 0
    )
    assert sum(done.values()) == 1_000
    assert min(done[each.source] for each in agents) >= 250, done
    violations = check_history(history)
    assert not violations, "\n".join(map(str, violations))
