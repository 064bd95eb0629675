"""F16: topics and positions are damaged under running processes, as a person with an admin tool can.

Nothing may be passed over in silence: an agent stands still where it cannot know, and says what is to be done; a
trigger that was deleted shows as a run that is held, and so does one that had no inbox to be written to. A person ends
the former, which count as ended, and releases the latter, which succeed.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from farandole.testing.chaos.injection import Hit
from farandole.testing.chaos.operator import Operator, apply, reposition, stop_agents
from farandole.testing.chaos.stage import Plan, Stage, pause

DAMAGED = Plan(
    per_second=8,
    variables=(("FARANDOLE_COORDINATOR__WATCH_EVERY", "5s"),),
    excused=("outcomes_have_records", "consumed_records_have_one_outcome"),
)
"""The watchdog looks more often than every minute. Where a topic was made anew, another record stands at the place that
an outcome names."""

FORGOTTEN = Plan(per_second=4)
"""Nothing is excused: what is read again stands twice on the log, but `agent reposition` says there what may."""

AGENTS = ("begin", "left", "right", "meet", "last", "swell", "weigh", "spread", "touch", "gather", "tardy", "poisoned")
"""All of the canary's unit."""

AWAY_S = 10.0
"""How long an inbox is not there."""

CALL_S = 20.0


def damage(stage: Stage) -> Iterator[Hit]:
    """F16: an inbox is deleted, another deleted and made anew, one given more partitions, one emptied."""
    with Operator(stage) as operator:
        for injure in (_delete, _replace, _grow, _empty):
            injure(stage)
            yield Hit(time.monotonic())
    stage.notes.append(f"{len(operator.ended)} runs whose triggers were deleted were held, and ended by a person")
    stage.notes.append(
        f"{len(operator.released)} runs that met no inbox to write to were held, and released by a person"
    )


def lose_positions(stage: Stage) -> Iterator[Hit]:
    """F16P: all positions of the unit expire while it stands still, and it goes on from the beginning."""
    _forget(stage)
    yield Hit(time.monotonic())


def _delete(stage: Stage) -> None:
    """An inbox is gone for a while, until somebody applies the unit again."""
    topic = stage.damaged("left")
    _result(stage, lambda admin: admin.delete_topics([topic]))
    pause(AWAY_S)
    apply(stage)


def _replace(stage: Stage) -> None:
    """An inbox is deleted and made anew at once, so that positions of the old one look like positions of the new."""
    topic = stage.damaged("right")
    _result(stage, lambda admin: admin.delete_topics([topic]))
    until = time.monotonic() + CALL_S
    while True:
        try:
            _result(stage, lambda admin: admin.create_topics([NewTopic(topic, stage.plan.partitions, 1)]))
            break
        except KafkaException:
            if time.monotonic() > until:
                raise
            pause(0.05)
    pause(AWAY_S)
    agents = stop_agents(stage)
    apply(stage)
    reposition(stage, ["right"])
    for actor in agents:
        actor.process.restart()


def _grow(stage: Stage) -> None:
    """An inbox gets two partitions more."""
    topic, wanted = stage.topics.inbox("meet"), stage.plan.partitions + 2
    _result(stage, lambda admin: admin.create_partitions([NewPartitions(topic, wanted)]))
    apply(stage)


def _empty(stage: Stage) -> None:
    """Retention takes what no agent has seen yet, while all of them stand still."""
    topic = stage.damaged("begin")
    agents = [actor for actor in stage.actors.values() if actor.slot.startswith("a")]
    for actor in agents:
        actor.process.sigstop()
    pause(stage.plan.session_s / 2)
    places = [KafkaPartition(topic, n, -1) for n in range(stage.plan.partitions)]  # -1: up to the end
    _result(stage, lambda admin: admin.delete_records(places))
    for actor in agents:
        actor.process.sigcont()
    pause(AWAY_S)
    stop_agents(stage)
    reposition(stage, ["begin"])
    for actor in agents:
        actor.process.restart()


def _forget(stage: Stage) -> None:
    """The unit's positions expire while it stands still: it does not go on by itself, and then from the beginning."""
    group = stage.topics.group("canary")
    agents = stop_agents(stage)
    _result(stage, lambda admin: admin.delete_consumer_groups([group]))
    for actor in agents:
        actor.process.restart()
    stage.await_members(agents)
    pause(AWAY_S)
    with closing(stage.transport.admin()) as admin:
        went_on = admin.positions(group)
    assert not went_on, f"expected agents without positions to stand still, but they committed {went_on}"
    stop_agents(stage)
    reposition(stage, AGENTS)
    for actor in agents:
        actor.process.restart()


def _result(stage: Stage, ask: Callable[[AdminClient], Mapping[Any, "Future[Any]"]]) -> None:
    """Ask, and wait; the client must live until it is answered."""
    admin = AdminClient({"bootstrap.servers": stage.broker.bootstrap, "log_level": 0})
    for future in ask(admin).values():
        future.result(CALL_S)
