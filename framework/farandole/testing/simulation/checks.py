"""What must be true of a simulated world when all has ended; each check is a named predicate.

The history checker looks at the topics as an outsider; here the kernel is also held against
itself: what `runs` holds must equal what `events` rebuilds (the replay law).
"""

from collections import Counter
from collections.abc import Iterator

from farandole.definition.graph import graph_of
from farandole.events import facts
from farandole.events.envelope import parse_envelope
from farandole.ids import NO_ITEM, partition_of
from farandole.kernel.rebuild import Logged, rebuild
from farandole.kernel.snapshot import group_by_run, read_run
from farandole.kernel.state import Run
from farandole.testing.simulation.executor import Execution
from farandole.testing.simulation.world import World
from farandole.transport.port import Isolation, Record, TopicPartition


def violations(world: World) -> list[str]:
    """Everything that is wrong, in words."""
    events = world.clients.events
    return [
        *_one_start_and_end(events),
        *_one_trigger_and_report(world),
        *_gapless(world),
        *_nothing_after_the_end(events),
        *_rebuild_equals_state(world),
        *_no_kernel_error(events),
        *_tokens_rise(world),
        *world.clients.torn,
    ]


def _one_start_and_end(events: list[tuple[Record, facts.Event]]) -> Iterator[str]:
    for kind in (facts.RunStarted, facts.RunSettled):
        counted = Counter(e.run for _, e in events if isinstance(e, kind))
        yield from (f"{kind.__name__} of {run}: {n} times" for run, n in counted.items() if n > 1)


def triggers(world: World) -> Iterator[tuple[str, str, int, int]]:
    """Every committed trigger: run, step, item, attempt."""
    for step in world.definition.steps.values():
        for record in _read_all(world, world.topics.inbox(step.agent)):
            it = parse_envelope(record.headers)
            yield it.run, it.step, it.item, it.attempt


def _fused(world: World) -> Iterator[tuple[str, str, int, int]]:
    """Every attempt that ran at once after its parent's, as if it had been triggered."""
    for _, event in world.clients.events:
        if isinstance(event, facts.StepSucceeded):
            yield from ((event.run, child, NO_ITEM, 1) for child in event.fused)


def _tokens_rise(world: World) -> Iterator[str]:
    """The result that stands was worked for under the highest fencing token of its attempt."""
    highest: dict[tuple[str, str, int, int], Execution] = {}
    for each in world.executions:
        key = each.run, each.step, each.item, each.attempt
        highest[key] = max(highest.get(key, each), each, key=lambda it: it.epoch)
    for record, event in world.clients.events:
        if not isinstance(event, facts.StepSucceeded):
            continue
        last = highest[event.run, event.step, event.item, event.attempt]
        place = parse_envelope(record.headers).input
        if last.place != place:
            yield f"{event.step} of {event.run} stands from {place}, but {last} has a higher token"


def _one_trigger_and_report(world: World) -> Iterator[str]:
    sent = Counter([*triggers(world), *_fused(world)])
    told = Counter(
        (e.run, e.step, e.item, e.attempt) for _, e in world.clients.events if isinstance(e, facts.AgentFact)
    )
    yield from (f"triggered {n} times: {key}" for key, n in sent.items() if n > 1)
    yield from (f"reported {n} times: {key}" for key, n in told.items() if n > 1)
    impatient = _impatient(world.clients.events)
    yield from (f"triggered, never reported: {key}" for key in sent if key not in told and key[0] not in impatient)
    yield from (f"reported, never triggered: {key}" for key in told if key not in sent)


def _gapless(world: World) -> Iterator[str]:
    attempts: dict[tuple[str, str, int], list[int]] = {}
    for run, step, item, attempt in sorted([*triggers(world), *_fused(world)]):
        attempts.setdefault((run, step, item), []).append(attempt)
    yield from (
        f"attempts of {key} are {found}" for key, found in attempts.items() if found != list(range(1, len(found) + 1))
    )


def _nothing_after_the_end(events: list[tuple[Record, facts.Event]]) -> Iterator[str]:
    """No attempt reports after its run has settled, unless patience (`stop_max`) or a kernel error ended it."""
    ended: set[str] = set()
    impatient = _impatient(events)
    for _, event in events:
        if isinstance(event, facts.RunSettled):
            ended.add(event.run)
        elif isinstance(event, facts.AgentFact) and event.run in ended and event.run not in impatient:
            yield f"reported after the end: {event}"


def _impatient(events: list[tuple[Record, facts.Event]]) -> set[str]:
    """Runs that did not wait for every attempt: `stop_max` passed."""
    return {e.run for _, e in events if isinstance(e, facts.DeadlinePassed) and e.scope == "stop"}


def _no_kernel_error(events: list[tuple[Record, facts.Event]]) -> Iterator[str]:
    for _, event in events:
        if isinstance(event, facts.RunHeld) and event.reason == "kernel_error":
            yield f"kernel error: {event.detail}"


def _rebuild_equals_state(world: World) -> Iterator[str]:
    graph = graph_of(world.definition)
    for number in range(world.partitions):
        log = [_logged(record, event) for record, event in world.clients.events if record.partition == number]
        rebuilt = rebuild(sorted(log, key=lambda it: it.offset), lambda _: graph)
        held = dict(_states(world, number))
        for run in sorted(rebuilt.keys() | held.keys()):
            if partition_of(run, world.partitions) != number:
                yield f"{run} lives on partition {number}, which is not its home"
            one, other = rebuilt.get(run), held.get(run)
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


def _logged(record: Record, event: facts.Event) -> Logged:
    folded = next((value.decode() for name, value in record.headers if name == "ce_folded"), None)
    return Logged(record.offset, event, int(folded.partition("/")[2]) if folded else None)


def _read_all(world: World, topic: str) -> Iterator[Record]:
    with world.hub as broker:
        count = broker.partitions(topic)
    for number in range(count):
        yield from _read_partition(world, TopicPartition(topic, number))


def _read_partition(world: World, at: TopicPartition) -> list[Record]:
    out: list[Record] = []
    position = 0
    with world.hub as broker:
        while True:
            found, after = broker.read(at, position, 1000, Isolation.COMMITTED)
            out += found
            if after == position:
                return out
            position = after
