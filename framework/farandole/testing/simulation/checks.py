"""What must be true of a simulated world when all has ended; each check is a named predicate.

The history checker looks at the topics as an outsider; here the kernel is also held against
itself: what `runs` holds must equal what `events` rebuilds (the replay law).
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from farandole.client.rebuilding import logged
from farandole.definition.graph import graph_of
from farandole.events import facts
from farandole.events.envelope import parse_envelope
from farandole.ids import NO_ITEM, partition_of
from farandole.kernel.place import place_in
from farandole.kernel.rebuild import rebuild
from farandole.kernel.snapshot import group_by_run, read_run
from farandole.kernel.state import Run
from farandole.testing.history import History, collect
from farandole.testing.history.cases import Docket, docket_of
from farandole.testing.history.check import judge
from farandole.testing.ledger import Execution
from farandole.testing.simulation.executor import OWN_TOPIC
from farandole.testing.simulation.faults import OLDER, kind_of
from farandole.testing.simulation.inputs import Inputs, letters_of, triggers_of
from farandole.testing.simulation.replays import committed
from farandole.testing.simulation.world import World
from farandole.transport.port import Isolation, Record, TopicPartition

MEANT = "division by zero"
"""The one error that drawn conditions have."""


class Finding(NamedTuple):
    """What is wrong with a world, and the predicate that says so."""

    predicate: str
    message: str

    def __str__(self) -> str:
        return f"{self.predicate}: {self.message}"


def violations(world: World) -> list[Finding]:
    """Everything that is wrong with a world that has ended, in words."""
    found = [Finding(check.__name__, told) for check in CHECKS for told in check(world)]
    docket = docket_of(history_of(world, is_over=True))
    found += [Finding(check.__name__, told) for check in OF_HISTORIES for told in check(world, docket)]
    return found + [Finding(each.predicate, str(each)) for each in judge(docket)]


def history_of(world: World, *, is_over: bool, isolation: Isolation = Isolation.UNCOMMITTED) -> History:
    """The history of a world in this moment. `is_over`: every run must have ended."""
    history = collect(world.transport, own=(OWN_TOPIC,), isolation=isolation, clock=world.clock)
    return dataclasses.replace(
        history,
        now=None,
        quiescent=is_over,
        executions=tuple(world.ledger.calls),
        acknowledged=frozenset(world.clients.acknowledged),
    )


def steps_are_given_what_they_ask_for(world: World, docket: Docket) -> Iterator[str]:
    """I3: every attempt is given what its step asks of params and results as they were, and the next what the first
    was given, unless a replay brings another; failures and dead letters hold the same."""
    inboxes = {world.topics.inbox(step.agent) for step in world.definition.steps.values()}
    given = triggers_of([*world.retention.expired, *(r for name in sorted(inboxes) for r in _read_all(world, name))])
    letters = {world.topics.dead(step.agent) for step in world.definition.steps.values()}
    dead = letters_of(record for name in sorted(letters) for record in _read_all(world, name))
    for case in docket.judged:
        yield from Inputs(case, given[case.run], dead[case.run]).wrong()


def starts_and_ends_are_unique(world: World) -> Iterator[str]:
    """I1, I2: a run starts once and ends once (here no start is repeated once its run may be forgotten)."""
    events = world.clients.events
    for kind in (facts.RunStarted, facts.RunSettled):
        counted = Counter(e.run for _, e in events if isinstance(e, kind))
        yield from (f"{kind.__name__} of {run}: {n} times" for run, n in counted.items() if n > 1)


def triggers(world: World) -> Iterator[tuple[str, str, int, int]]:
    """Every committed trigger: run, step, item, attempt."""
    inboxes = {world.topics.inbox(step.agent) for step in world.definition.steps.values()}
    expired = [record for record in world.retention.expired if record.topic in inboxes]
    for found in (expired, *(_read_all(world, name) for name in sorted(inboxes))):
        for record in found:
            it = parse_envelope(record.headers)
            yield it.run, it.step, it.item, it.attempt


def fused(world: World) -> Iterator[tuple[str, str, int, int]]:
    """Every attempt that ran at once after its parent's, as if it had been triggered."""
    for _, event in world.clients.events:
        if isinstance(event, facts.StepSucceeded):
            yield from ((event.run, child, NO_ITEM, 1) for child in event.fused)


def results_stand_under_the_highest_token(world: World) -> Iterator[str]:
    """I13: nothing was done under a fencing token above that of the result that stands, wherever it ran."""
    highest: dict[tuple[str, str, int, int], Execution] = {}
    for each in world.ledger.calls:
        key = each.run, each.step, each.item, each.attempt
        highest[key] = max(highest.get(key, each), each, key=lambda it: it.token)
    for record, event in world.clients.events:
        if not isinstance(event, facts.StepSucceeded):
            continue
        last = highest[event.run, event.step, event.item, event.attempt]
        place = parse_envelope(record.headers).input
        if last.note != place:
            yield f"{event.step} of {event.run} stands from {place}, but {last} has a higher token"


def what_clients_were_told_stands(world: World) -> Iterator[str]:
    """I2: a result that was handed out at a final fact is the run's."""
    ended = {event.run: event for _, event in world.clients.events if isinstance(event, facts.RunSettled)}
    for run, output in world.clients.told.items():
        end = ended.get(run)
        if end is None or (end.outcome, end.output) != ("succeeded", output):
            yield f"{run} was said to have succeeded, but it ended {end and end.outcome}"


def triggers_and_reports_are_paired(world: World) -> Iterator[str]:
    """I4, I5, I10: every attempt is triggered once and reports once."""
    sent = Counter([*triggers(world), *fused(world)])
    told = Counter(
        (e.run, e.step, e.item, e.attempt) for _, e in world.clients.events if isinstance(e, facts.AgentFact)
    )
    yield from (f"triggered {n} times: {key}" for key, n in sent.items() if n > 1)
    yield from (f"reported {n} times: {key}" for key, n in told.items() if n > 1)
    impatient = _impatient(world.clients.events)
    yield from (f"triggered, never reported: {key}" for key in sent if key not in told and key[0] not in impatient)
    yield from (f"reported, never triggered: {key}" for key in told if key not in sent)


def attempts_are_gapless(world: World) -> Iterator[str]:
    """I7: attempts count from one, without gaps."""
    attempts: dict[tuple[str, str, int], list[int]] = {}
    for run, step, item, attempt in sorted([*triggers(world), *fused(world)]):
        attempts.setdefault((run, step, item), []).append(attempt)
    yield from (
        f"attempts of {key} are {found}" for key, found in attempts.items() if found != list(range(1, len(found) + 1))
    )


def nothing_reports_after_the_end(world: World) -> Iterator[str]:
    """I2: no attempt reports after its run has settled, unless it was ended without waiting for all of them."""
    yield from reported_after_the_end(world.clients.events)


def reported_after_the_end(events: list[tuple[Record, facts.Event]]) -> Iterator[str]:
    """The reports of runs that had ended, and should have waited for them."""
    ended: set[str] = set()
    unwaiting = _impatient(events) | _ended_standing(events)
    for _, event in events:
        if isinstance(event, facts.RunSettled):
            ended.add(event.run)
        elif isinstance(event, facts.AgentFact) and event.run in ended and event.run not in unwaiting:
            yield f"reported after the end: {event}"


def _impatient(events: list[tuple[Record, facts.Event]]) -> set[str]:
    """Runs that did not wait for every attempt: `stop_max` passed."""
    return {e.run for _, e in events if isinstance(e, facts.DeadlinePassed) and e.scope == "stop"}


def _ended_standing(events: list[tuple[Record, facts.Event]]) -> set[str]:
    """Runs that a kernel error held when they were ended: reports to one are not folded, so none is waited for."""
    found: set[str] = set()
    standing: set[str] = set()
    for _, event in events:
        match event:
            case facts.RunHeld(reason="kernel_error"):
                standing.add(event.run)
            case facts.RunReleased(reason="kernel_error"):
                standing.discard(event.run)
            case facts.RunSettled() if event.run in standing:
                found.add(event.run)
            case _:
                pass
    return found


def the_kernel_makes_no_error(world: World) -> Iterator[str]:
    """No run is held because of an error of ours: only conditions that were drawn so cannot be evaluated, and
    definitions not be read by who is of an older version."""
    is_unread = any(kind_of(name) == OLDER for name in world.chaos.told)
    for _, event in world.clients.events:
        if not isinstance(event, facts.RunHeld) or event.reason != "kernel_error":
            continue
        if MEANT not in event.detail and not (is_unread and event.is_unread):
            yield f"kernel error: {event.detail}"


def bitmaps_keep_to_the_window(world: World) -> Iterator[str]:
    """I11, R9: no commit tells of offsets beyond the window above its base."""
    if world.network.widest > world.sizes.window:
        yield f"a commit told of {world.network.widest} offsets above its base, with a window of {world.sizes.window}"


def instants_never_go_back(world: World) -> Iterator[str]:
    """I8: the instants that coordinators persist for a home never go back, whoever owns it."""
    yield from world.network.persisted.instants_taken_back


def positions_never_go_back(world: World) -> Iterator[str]:
    """I11: no position of a group goes back, nor its owner's epoch: nobody else's is overwritten (R6)."""
    yield from world.network.persisted.taken_back


def agents_miss_no_positions(world: World) -> Iterator[str]:
    """R8: no agent stops for positions that went back, for those of agents are never lost here."""
    bodies = [process.body for process in world.processes if process.body is not None]
    counted = [body.counts().get("agent_missed_positions", 0) for body in bodies if body.counts is not None]
    if count := world.network.rare["agent_missed_positions"] + sum(counted):
        yield f"agents stopped {count} times for positions that, they said, the broker had lost"


def places_never_go_back(world: World) -> Iterator[str]:
    """I9, R12: the place, epoch and instant with which a home's state is written never go back, whatever its broker
    has lost: nothing that was folded into it is folded once more."""
    for number in range(world.sizes.partitions):
        yield from places_taken_back(_read_partition(world, TopicPartition(world.topics.runs, number)))


def places_taken_back(runs: Iterable[Record]) -> Iterator[str]:
    """The places in one partition of `runs` that are behind the one before."""
    found = ((record, place_in(record.headers)) for record in runs)
    for (_, before), (record, after) in pairwise((record, place) for record, place in found if place is not None):
        steps = zip(dataclasses.astuple(before), dataclasses.astuple(after), strict=True)
        if any(later < earlier for earlier, later in steps):
            yield f"home {record.partition}: {after} was written after {before}"


def timers_are_remembered(world: World) -> Iterator[str]:
    """I8: a coordinator at rest is reminded of every instant that its runs wait for, whatever was aborted before."""
    yield from world.reminders.lost


def cancels_of_live_runs_are_answered(world: World) -> Iterator[str]:
    """Section 8: who has seen a run begin, and not end, does not cancel it in vain."""
    yield from world.clients.cancels.lost(world.clients.events)


def what_was_published_follows_from_a_success(world: World) -> Iterator[str]:
    """I10: what handlers published is on its topic once for every success that stands, and for nothing else."""
    found = Counter(parse_envelope(record.headers).cause for record in _read_all(world, OWN_TOPIC))
    wanted = Counter(
        parse_envelope(record.headers).id
        for record, event in world.clients.events
        if isinstance(event, facts.StepSucceeded) and world.script.publishes(event.step)
    )
    yield from (f"published {n} times because of {cause}" for cause, n in found.items() if n != 1)
    yield from (f"published because of {cause}, which is no success" for cause in found.keys() - wanted.keys())
    yield from (f"not published, though {cause} stands" for cause in wanted.keys() - found.keys())


def rebuilt_runs_equal_state(world: World) -> Iterator[str]:
    """I9: what `events` rebuilds is what `runs` holds, while runs live (`replays.py`) and in the end."""
    yield from world.replays.differing
    graph = graph_of(world.definition)
    for number in range(world.sizes.partitions):
        log = [logged(record) for record, _ in world.clients.events if record.partition == number]
        rebuilt = rebuild(sorted(log, key=lambda it: it.offset), lambda _: graph)
        held = dict(_states(world, number))
        for run in sorted(rebuilt.keys() | held.keys()):
            if partition_of(run, world.sizes.partitions) != number:
                yield f"{run} lives on partition {number}, which is not its home"
            one, other = rebuilt.get(run), held.get(run)
            if other is None and one is not None and one.is_settled and world.sizes.forgets:
                continue
            if one is None or other is None or (one.head, one.chunks) != (other.head, other.chunks):
                yield f"{run}: events rebuild {one and one.head}, but runs holds {other and other.head}"


def _states(world: World, number: int) -> Iterator[tuple[str, Run]]:
    graph = graph_of(world.definition)
    latest: dict[str, bytes] = {}
    for record in _read_partition(world, TopicPartition(world.topics.runs, number)):
        key = (record.key or b"").decode()
        if record.value is None:
            latest.pop(key, None)
        else:
            latest[key] = record.value
    for run, parts in group_by_run(latest.items()).items():
        yield run, read_run(lambda _: graph, parts, run)


def _read_all(world: World, topic: str) -> Iterator[Record]:
    with world.hub as broker:
        count = broker.partitions(topic)
    for number in range(count):
        yield from _read_partition(world, TopicPartition(topic, number))


def _read_partition(world: World, at: TopicPartition) -> list[Record]:
    with world.hub as broker:
        return committed(broker, at)


CHECKS: tuple[Callable[[World], Iterator[str]], ...] = (
    starts_and_ends_are_unique,
    triggers_and_reports_are_paired,
    attempts_are_gapless,
    results_stand_under_the_highest_token,
    what_clients_were_told_stands,
    nothing_reports_after_the_end,
    rebuilt_runs_equal_state,
    the_kernel_makes_no_error,
    bitmaps_keep_to_the_window,
    instants_never_go_back,
    positions_never_go_back,
    agents_miss_no_positions,
    places_never_go_back,
    timers_are_remembered,
    cancels_of_live_runs_are_answered,
    what_was_published_follows_from_a_success,
)
"""Beside the history checker's: what only the whole world shows."""

OF_HISTORIES: tuple[Callable[[World, Docket], Iterator[str]], ...] = (steps_are_given_what_they_ask_for,)
"""What the stories of its runs show beside the values in a world's inboxes."""
