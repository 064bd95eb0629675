"""CPU per record of what agents and coordinators do, row by row: the pure part of each, without a log.

    python benchmarks/rows.py

The least of five rounds, in microseconds of CPU. What these rows leave of a run's CPU (see `bench.py`) is the
Kafka client's: a record with thirteen headers costs it some 5 to 10 each way.
"""

import gc
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from loops import spent

from farandole.client.direct import start_trigger
from farandole.definition.graph import graph_of
from farandole.definition.loading import load_unit
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.catalogue import decode, encode
from farandole.events.commands import StartRun
from farandole.events.envelope import parse_envelope
from farandole.events.outgoing import Origin, Trigger, event_record, trigger_record
from farandole.events.topics import Topics
from farandole.kernel.admission import admit
from farandole.kernel.decide import follow
from farandole.kernel.decision import Moment
from farandole.kernel.evolve import start
from farandole.kernel.outbox import Cause, outbox
from farandole.kernel.snapshot import state_records
from farandole.kernel.values import Values
from farandole.transport.outgoing import new_records

CHAIN = Path(__file__).parent / "chain" / "chain.py"
ROUNDS, TIMES = 5, 2_000
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = "019b7a10-0000-7abc-8def-0123456789ab"
TOPICS = Topics("rows")

Row = tuple[str, Callable[[], object]]


def main() -> None:
    """Print the table."""
    gc.freeze()
    for what, work in (*_records(), *_kernel()):
        print(f"{what:56}{_cpu_us(work):8.1f}")
    for way, fusion in (("three fused hops, started directly", True), ("three hops, started by command", False)):
        agent, coordinator = spent(fusion=fusion)
        print(f"{'loop: agent, ' + way:56}{agent:8.1f}\n{'loop: coordinator, ' + way:56}{coordinator:8.1f}")


def _cpu_us(work: Callable[[], object]) -> float:
    work()
    rounds: list[float] = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(TIMES):
            work()
        rounds.append(time.process_time() - began)
    return min(rounds) / TIMES * 1e6


def _records() -> Iterator[Row]:
    chain = load_unit(CHAIN).pipelines["chain"].definition
    schema = Schema.parse(chain.steps["first"].output_schema)
    plain = {"name": "bench", "number": 1, "body": "v" * 280}
    payload = schema.encode(plain)
    fact = facts.StepSucceeded(RUN, "first", 1, payload, ("second",))
    origin = Origin("rows/chain/0", NOW, chain.hash, "rows.inbox.first/3/123", "first")
    record = event_record(TOPICS, fact, event_id=f"{RUN}/first/0/-/1/StepSucceeded", cause="cause", origin=origin)
    trigger = Trigger(RUN, "second", "second", 1, payload)
    yield "decode: payload of 300 bytes", lambda: schema.decode(payload)
    yield "decode: envelope", lambda: parse_envelope(record.headers)
    yield "decode: fact", lambda: decode(record.value or b"")
    yield "encode: payload", lambda: schema.encode(plain)
    yield "encode: fact", lambda: encode(fact)
    yield (
        "encode: fact with envelope",
        lambda: event_record(TOPICS, fact, event_id="id", cause="cause", origin=origin),
    )
    yield "encode: trigger with envelope", lambda: trigger_record(TOPICS, trigger, cause="cause", origin=origin)
    yield "place: one record", lambda: new_records([record], 12)
    params = Schema.parse(chain.params_schema).encode({"parcel": plain})
    yield "client: trigger of a direct start", lambda: start_trigger(chain, params, RUN, NOW)


def _kernel() -> Iterator[Row]:
    chain = load_unit(CHAIN).pipelines["chain"].definition
    graph, moment, values = graph_of(chain), Moment(NOW), Values()
    plain = {"name": "bench", "number": 1, "body": "v" * 280}
    params = Schema.parse(chain.params_schema).encode({"parcel": plain})
    payload = Schema.parse(chain.steps["first"].output_schema).encode(plain)
    command = StartRun("chain", params, RUN)
    begun = facts.RunStarted(RUN, "chain", chain.hash, params, "ab" * 32, NOW)
    first = facts.StepSucceeded(RUN, "first", 1, payload, ("second",))
    second = facts.StepSucceeded(RUN, "second", 1, payload, ("third",))
    third = facts.StepSucceeded(RUN, "third", 1, payload)
    cause = Cause("cause", Origin("rows.coordinator.0", NOW))
    fresh = start(graph, begun)
    admitted = follow(fresh, begun, moment, values)
    later = follow(follow(admitted.run, first, moment, values).run, second, moment, values).run
    ended = follow(later, third, moment, values)
    yield "fold: start, admitted", lambda: admit(command, RUN, chain, None, moment)
    yield "fold: start", lambda: follow(fresh, begun, moment, values)
    yield "fold: success in the midst of a chain", lambda: follow(admitted.run, first, moment, values)
    yield "fold: success that ends the run", lambda: follow(later, third, moment, values)
    yield "outbox: start, two records", lambda: outbox(admitted.steps, cause, TOPICS, values)
    yield "outbox: end, two records", lambda: outbox(ended.steps, cause, TOPICS, values)
    yield "snapshot: a live run", lambda: list(state_records(None, later, NOW))
    yield "snapshot: a stub, two tombstones at most", lambda: list(state_records(later, ended.run, NOW))


if __name__ == "__main__":
    main()
