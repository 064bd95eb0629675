"""What a live run takes in memory: a coordinator keeps all of them."""

import gc
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from farandole.definition.graph import graph_of
from farandole.events import facts
from farandole.events.catalogue import decode, encode
from farandole.ids import sha256
from farandole.kernel.decide import follow
from farandole.kernel.decision import Moment
from farandole.kernel.evolve import start
from farandole.kernel.snapshot import group_by_run, read_run, state_records
from farandole.kernel.state import Run
from farandole.kernel.values import Values
from farandole.testing.sketch import define, framed, node

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHAIN = define(node("a"), node("b", "a"), node("c", "b"))
GRAPH = graph_of(CHAIN)
RUNS = 500
BYTES_MAX = 2_000
"""Of one live run of three steps with 300 bytes of params. Source: issue 6, point 5."""


def lived(run: str) -> Run:
    """A run as the facts on the log make it, its first step done."""
    params = framed(pad="v" * 280)
    begun = decode(encode(facts.RunStarted(run, CHAIN.name, CHAIN.hash, params, sha256(params), NOW)))
    done = decode(encode(facts.StepSucceeded(run, "a", 1, framed(pad="v" * 280), ("b",))))
    assert isinstance(begun, facts.RunStarted)
    assert isinstance(done, facts.StepSucceeded)
    moment, values = Moment(NOW), Values()
    return follow(follow(start(GRAPH, begun), begun, moment, values).run, done, moment, values).run


def restored(run: str) -> Run:
    """The same run, read back from its state records."""
    records = [(key, value) for key, value in state_records(None, lived(run), NOW) if value is not None]
    return read_run(lambda _: GRAPH, group_by_run(records)[run], run)


@pytest.mark.parametrize("make", [lived, restored])
def test_live_run_of_three_steps_takes_at_most_two_kilobytes(make: Callable[[str], Run]) -> None:
    make("019b7a10-0000-7abc-8def-000000000000")
    tracemalloc.start()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]

    kept = {run.id: run for run in (make(f"019b7a10-0000-7abc-8def-{n:012}") for n in range(RUNS))}
    gc.collect()
    took = (tracemalloc.get_traced_memory()[0] - before) / RUNS
    tracemalloc.stop()

    assert len(kept) == RUNS
    assert took <= BYTES_MAX


def test_texts_of_a_definition_stand_once_in_memory_for_all_its_runs() -> None:
    # Each run brought its own copy of pipeline and hash, and restore one of every pending unit: 400 bytes a run.
    one, other, back = lived("r-1"), lived("r-2"), restored("r-3")

    assert one.head.definition is other.head.definition is back.head.definition
    assert one.head.pipeline is other.head.pipeline is back.head.pipeline
    assert back.step("c") is one.step("c")
