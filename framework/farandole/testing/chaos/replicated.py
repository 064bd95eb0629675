"""Faults of a cluster of three: leaders that die, a minority that is cut off, a broker that stands still.

Two of three are enough: work must go on while the third is away, so recovery counts from the
fault and not from its end. Each of the three is the victim once: so the one that leads the
quorum of controllers, those that coordinate the groups and the transactions, and the leaders of
`events` are all among them.
"""

import time
from collections.abc import Iterator
from datetime import timedelta

from farandole.testing.chaos.injection import Hit
from farandole.testing.chaos.stage import Plan, Stage, pause

REPLICATED = Plan(per_second=4, is_replicated=True, settle_max=timedelta(seconds=300))
"""Three brokers and four processes share what one broker has elsewhere: on two busy cores ten runs a second pile up."""

CUT_SESSIONS = 2.0
"""Longest at which members on the wrong side are still believed to be alive by their own broker alone."""


def lose_leaders(stage: Stage) -> Iterator[Hit]:
    """F4R: each killed in turn; the leader of `events` killed and started at once; all restarted in order."""
    for number in stage.quorum.nodes:
        since = time.monotonic()
        stage.quorum.kill_node(number)
        yield Hit(since)
        stage.quorum.restart_node(number)
    since = time.monotonic()
    leader = stage.quorum.leader_of(stage.topics.events, 0)
    stage.quorum.kill_node(leader)
    stage.quorum.restart_node(leader)
    yield Hit(since)
    for number in stage.quorum.nodes:
        stage.quorum.restart_node(number)
    yield Hit(time.monotonic())


def cut_off(stage: Stage) -> Iterator[Hit]:
    """F4C: each cut off from the other two in turn, while clients still reach all three; then one stands still."""
    for number in stage.quorum.nodes:
        since = time.monotonic()
        stage.quorum.cut_off(number)
        pause(CUT_SESSIONS * stage.plan.session_s)
        yield Hit(since)
        stage.quorum.heal()
        yield Hit(time.monotonic())
        stage.quorum.await_in_sync()
    leader = stage.quorum.leader_of(stage.topics.events, 0)
    since = time.monotonic()
    stage.quorum.freeze(leader)
    yield Hit(since)
    stage.quorum.thaw(leader)
    yield Hit(time.monotonic())
