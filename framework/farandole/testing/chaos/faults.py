"""The faults by name, after the matrix of docs/reliability.md. Each is injected into a stage under load."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from farandole.testing.chaos.clocks import wrong_clocks
from farandole.testing.chaos.counting import POISON
from farandole.testing.chaos.crowds import CROWDED, crowd
from farandole.testing.chaos.damage import DAMAGED, FORGOTTEN, damage, lose_positions
from farandole.testing.chaos.definitions import change_definitions
from farandole.testing.chaos.disks import DISKS, full_disks
from farandole.testing.chaos.dying import COMMIT_PATH, HANDLER, PRODUCED, RESTORING, order
from farandole.testing.chaos.injection import PROXIED, Fault, Hit
from farandole.testing.chaos.late_end import Aftermath, late_end
from farandole.testing.chaos.replicated import REPLICATED, cut_off, lose_leaders
from farandole.testing.chaos.report import Report
from farandole.testing.chaos.stage import Actor, Stage, pause
from farandole.testing.chaos.starting import starts
from farandole.testing.chaos.states import damage_states
from farandole.testing.proxy import (
    END_TXN,
    FETCH,
    HEARTBEAT,
    INIT_PRODUCER_ID,
    PRODUCE,
    TXN_OFFSET_COMMIT,
    Fate,
    KafkaProxy,
)

MANY = 1_000_000
"""Requests: all of them while a fault lasts."""


def kill_agents(stage: Stage) -> Iterator[Hit]:
    """F1: at every place of the commit path; every second time its slot stays empty until all is well again."""
    for n, place in enumerate((HANDLER, *COMMIT_PATH)):
        yield from kill(stage, stage.actors["a1"], place, waits=n % 2 == 0)


def kill_coordinators(stage: Stage) -> Iterator[Hit]:
    """F2: at the same places, and while its heir restores."""
    for n, place in enumerate(COMMIT_PATH):
        yield from kill(stage, stage.actors["c1"], place, waits=n % 2 == 0)
    heir, victim = stage.actors["c1"], stage.actors["c2"]
    order(heir.orders, RESTORING)
    is_open = stage.die(victim, PRODUCED)
    stage.await_death(heir, RESTORING)
    since = time.monotonic()
    for actor in (heir, victim):
        actor.process.restart()
    yield Hit(since, is_open)


def kill(stage: Stage, victim: Actor, place: str, *, waits: bool) -> Iterator[Hit]:
    """Let a process die at a place; its slot is filled again at once, or (`waits`) when all is well without it."""
    is_open = stage.die(victim, place)
    since = time.monotonic()
    if not waits:
        victim.process.restart()
    yield Hit(since, is_open)
    if waits:
        victim.process.restart()
        stage.await_members([victim])


def freeze(stage: Stage) -> Iterator[Hit]:
    """F3: half a session, one and a half; agents and coordinators; counted from when it may go on."""
    for slot in ("a1", "c1"):
        for share in (0.5, 1.5):
            victim = stage.actors[slot]
            victim.process.sigstop()
            is_open = stage.is_open(victim)
            pause(share * stage.plan.session_s)
            victim.process.sigcont()
            yield Hit(time.monotonic(), is_open)


def freeze_long(stage: Stage) -> Iterator[Hit]:
    """F3: ten sessions, counted from the beginning: others go on meanwhile."""
    victim, since = stage.actors["a1"], time.monotonic()
    victim.process.sigstop()
    yield Hit(since, stage.is_open(victim))
    pause(max(0.0, since + 10 * stage.plan.session_s - time.monotonic()))
    victim.process.sigcont()


def break_broker(stage: Stage) -> Iterator[Hit]:
    """F4: kill -9, and started again; at once, and after some seconds."""
    for seconds in (0.0, 8.0):
        stage.broker.kill()
        pause(seconds)
        stage.restart_broker()
        yield Hit(time.monotonic())
    stage.restart_broker()
    yield Hit(time.monotonic())


def lose_replies(stage: Stage) -> Iterator[Hit]:
    """F6: the broker does it, and the client never hears; of an agent and of a coordinator."""
    for slot in ("a1", "c1"):
        for api in (END_TXN, TXN_OFFSET_COMMIT, PRODUCE, INIT_PRODUCER_ID):
            yield from lose_reply(stage, stage.actors[slot], api)


def lose_reply(stage: Stage, victim: Actor, api: int) -> Iterator[Hit]:
    """The reply to its next request of this kind is lost: the broker gave it, and the client waits for it."""
    proxy = _proxy(victim)
    before = proxy.lost[api]
    proxy.meddle(api, Fate.LOSE_REPLY)
    if api == INIT_PRODUCER_ID:  # asked for only after doubt
        proxy.meddle(END_TXN, Fate.LOSE_REPLY)
    stage.until(lambda: proxy.lost[api] > before, f"a reply of API {api} to be lost")
    yield Hit(time.monotonic(), stage.is_open(victim))


def bad_network(stage: Stage) -> Iterator[Hit]:
    """F7: heartbeats lost, fetches lost, everything late, connections cut; counted from when it is over."""
    for slot in ("a1", "c1"):
        proxy = _proxy(stage.actors[slot])
        for apis, fate, seconds in (
            ((HEARTBEAT,), Fate.LOSE_REQUEST, 0.0),
            ((FETCH,), Fate.LOSE_REQUEST, 0.0),
            ((PRODUCE, FETCH, TXN_OFFSET_COMMIT, END_TXN), Fate.STALL, 0.2),
        ):
            for api in apis:
                proxy.meddle(api, fate, times=MANY, seconds=seconds)
            pause(1.3 * stage.plan.session_s)
            proxy.leave_alone()
            yield Hit(time.monotonic())
        proxy.cut(lambda: True)
        yield Hit(time.monotonic())


def swizzle(stage: Stage) -> Iterator[Hit]:
    """F8: some are cut off one by one and come back in another order."""
    for _ in range(2):
        chosen = stage.dice.sample(sorted(stage.actors), k=3)
        for slot in chosen:
            _proxy(stage.actors[slot]).go_away()
            pause(stage.dice.uniform(0, 2))
        stage.dice.shuffle(chosen)
        for slot in chosen:
            pause(stage.dice.uniform(0, 3))
            _proxy(stage.actors[slot]).come_back()
        yield Hit(time.monotonic())


def late_ends(bootstrap: str, report: Report) -> None:
    """F5: with the guard, nothing is torn; without it, the same is, or this proves nothing."""
    for is_guarded in (True, True, True, False):
        judge_late_end(report, late_end(bootstrap, is_guarded=is_guarded), is_guarded=is_guarded)


def judge_late_end(report: Report, after: Aftermath, *, is_guarded: bool) -> None:
    """Count one; it proves something only if an end was held and repeated, and its transaction committed."""
    report.injected += after.held
    report.hit = (report.hit or 0) + after.held
    report.doubled = (report.doubled or 0) + (is_guarded and after.is_torn)
    if (after.held, after.verdict) != (1, "committed"):
        report.trouble = f"expected one end that was held and a transaction that committed, but found {after}"
    elif not is_guarded and not after.is_torn:
        report.trouble = f"expected it to be torn without the guard, but found {after}"


def storm(stage: Stage) -> Iterator[Hit]:
    """F12: an agent's process joins and is gone again, by kill or in order, so often; runs end all the while."""
    before, began = len(stage.settled), datetime.now(UTC)
    guest = stage.add("a9")
    for n in range(JOINS):
        _await_join(stage, guest, began, n + 1)
        pause(stage.dice.uniform(0, 2))
        if stage.dice.random() < 0.5:
            guest.process.kill9()
        else:
            stage.stop([guest])
        guest.process.restart()
    assert len(stage.settled) > before, "expected runs to end during the storm, but none did"
    stage.notes.append(f"a process took partitions over and left {JOINS} times")
    yield Hit(time.monotonic())


JOINS = 8


def _await_join(stage: Stage, guest: Actor, began: datetime, number: int) -> None:
    """Wait until so many of its lives have taken partitions over: a group lists the dead too, until it misses them."""
    log = guest.process.log
    stage.until(lambda: len(list(starts(log.read_text(), began))) >= number, f"{guest.slot} to join {number} times")


def poison(stage: Stage) -> Iterator[Hit]:
    """F13: handlers that raise, abort, exit, hang and eat memory, in processes of their own; neighbours go on.

    That each of these runs fails with a dead letter, and no other does, is counted in the end.
    """
    assert stage.load is not None
    since = time.monotonic()
    yield Hit(since, runs=tuple(stage.load.start(10, POISON)))


def open_transaction(stage: Stage) -> Iterator[Hit]:
    """F15: somebody opens a transaction on `events` and walks away; all readers wait for the broker to end it."""
    stage.open_on_events()
    yield Hit(time.monotonic(), is_open=True)


def start_twice(stage: Stage) -> Iterator[Hit]:
    """F19: a client that hears nothing starts each run again: the same id, one run. All so far, and all to come."""
    load = stage.load
    assert load is not None
    load.double()
    yield Hit(time.monotonic())
    sent = set(load.acknowledged)
    stage.until(lambda: sent <= load.repeated, f"all of {len(sent)} starts to be acknowledged twice")
    stage.notes.append(f"{len(sent)} starts of {len(sent)} were acknowledged twice by then")


def start_again(stage: Stage, most: int = 40) -> Iterator[Hit]:
    """A client starts its last runs again, so many at most."""
    load = stage.load
    assert load is not None
    for run in list(load.acknowledged)[-most:]:
        load.again(run)
    yield Hit(time.monotonic())


def _proxy(actor: Actor) -> KafkaProxy:
    assert actor.proxy is not None, "expected a stage with proxies"
    return actor.proxy


LEADERS = "recovery counts from the kill, and the killed one stays away until all is well"
MINORITY = "clients reach the one that is cut off as before; recovery counts from the fault, and again from its end"
SPACE = "recovery counts from when there is space again, and the broker is back"
DAMAGE = "recovery counts from when a person has done what the processes ask for"
CLOCKS = "recovery counts from the step; from its end where the broker takes nothing from the future"
CHANGE = "recovery counts from the start of the thousand: it is their time, and there is no outage in it"
CROWD = "recovery counts from the crowd's start; nothing is broken"
STATE = "recovery counts from when the coordinators start again"
LATE = "three times with the guard, nothing torn; once without it, torn: its records committed, its position not"

FAULTS: Mapping[str, Fault] = {
    "F1": Fault("kill -9 of an agent on its way through a commit", kill_agents),
    "F2": Fault("kill -9 of a coordinator there, and during restore", kill_coordinators),
    "F3": Fault("SIGSTOP for 0.5 and 1.5 sessions", freeze, note="recovery counts from SIGCONT"),
    "F3L": Fault("SIGSTOP of an agent for 10 sessions", freeze_long),
    "F4": Fault("kill -9 and restart of the broker", break_broker, note="recovery counts from the broker's answer"),
    "F4R": Fault("three brokers: leaders killed, all restarted in turn", lose_leaders, REPLICATED, LEADERS),
    "F4C": Fault("three brokers: one cut off from the others, one frozen", cut_off, REPLICATED, MINORITY),
    "F5": Fault("a late EndTxn released inside the next transaction", None, alone=late_ends, note=LATE),
    "F6": Fault("lost replies of EndTxn, TxnOffsetCommit, Produce, InitProducerId", lose_replies, PROXIED),
    "F7": Fault("heartbeats lost, fetches lost, all late, cut", bad_network, PROXIED, "recovery counts from its end"),
    "F8": Fault("some cut off one by one", swizzle, PROXIED, "recovery counts from the last return"),
    "F9": Fault("full disks of broker and artifact store, then no store", full_disks, DISKS, SPACE),
    "F10": Fault("state of live runs overwritten, and restored", damage_states, note=STATE),
    "F11": Fault("clocks of processes step, swing, and are wrong at a start", wrong_clocks, note=CLOCKS),
    "F12": Fault("a storm of rebalances", storm, note="recovery counts from its end"),
    "F13": Fault("poison", poison),
    "F14": Fault("crowds: a hot run, wide maps, timers all at once", crowd, CROWDED, CROWD),
    "F15": Fault("a transaction left open on `events`", open_transaction),
    "F16": Fault("inboxes deleted, replaced, grown, emptied", damage, DAMAGED, DAMAGE),
    "F16P": Fault("all positions of a unit lost", lose_positions, FORGOTTEN, DAMAGE),
    "F17": Fault("definitions change over a thousand runs", change_definitions, note=CHANGE),
    "F19": Fault("every start sent twice", start_twice),
}
