"""Record the topics of the reference pipelines as this version writes them: `python tests/golden/topics/make.py`.

Run once for each released version, before its first change; what is there is never recorded anew. The
runs: orders that succeed, that wait for a person, that wait for a retry; a month of flights.
"""

import os
import sys
import tempfile
from pathlib import Path

from farandole import TerminalStepError, __version__
from farandole.definition.loading import load_unit
from farandole.definition.pipelines import Pipeline
from farandole.testing.harness import Harness
from farandole.testing.recording import record

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
KINDS = ("commands", "events", "runs", "settled", "definitions", "schemas", "control", "telemetry")


def order(number: int, price: int) -> dict[str, object]:
    """Plain params of an order; above 1,000 it is reviewed."""
    lines = [{"sku": f"s{number}", "quantity": 2, "price": price}]
    return {"order": {"id": f"o-{number}", "customer": f"c{number}", "lines": lines, "total": 0}}


def record_orders() -> bytes:
    """Five runs in different states, the last two alive."""
    (pipeline,) = load_unit(REPOSITORY / "agents" / "orders").pipelines.values()
    with Harness(pipeline) as harness:
        types = {each.name: each.type for each in pipeline.parameters}
        for number, price in ((1, 100), (2, 2_000)):
            start(harness, types, order(number, price))
        harness.advance("1s")
        harness.fail("ship", 1)
        start(harness, types, order(3, 300))
        harness.advance("20m")
        harness.fail("charge", 1, TerminalStepError("the card was refused"))
        start(harness, types, order(4, 400))
        harness.advance("1s")
        harness.fail("reserve", 1)
        start(harness, types, order(5, 500))
        harness.advance("50ms")
        return recorded(harness, pipeline, ("payments.settled",))


def record_flights() -> bytes:
    """One report, from two maps over the days of a month."""
    unit = REPOSITORY / "agents" / "flights"
    (pipeline,) = load_unit(unit).pipelines.values()
    with tempfile.TemporaryDirectory() as home, Harness(pipeline) as harness:
        os.environ["FLIGHTS_HOME"] = home
        sys.path.insert(0, str(unit))
        import flights_files  # type: ignore[import-not-found]  # found through the unit, as its agents find it

        flights_files.prepare(Path(home), 1)
        run = harness.run(month=1)
        assert run.outcome == "succeeded", run.why
        return recorded(harness, pipeline, ())


def start(harness: Harness[..., object], types: dict[str, object], plain: dict[str, object]) -> None:
    """Start a run from plain params."""
    from farandole.definition.types import from_plain

    harness.start(**{name: from_plain(value, types[name]) for name, value in plain.items()})


def recorded(harness: Harness[..., object], pipeline: Pipeline[..., object], own: tuple[str, ...]) -> bytes:
    """Everything that stands on the harness's log."""
    stage = harness._stage
    names = sorted({spec.name for spec in pipeline.agents.values()})
    topics = [f"{stage.topics.namespace}.{kind}" for kind in KINDS]
    topics += [topic for name in names for topic in (stage.topics.inbox(name), stage.topics.dead(name))]
    groups = [stage.topics.group("coordinator"), stage.topics.group("harness")]
    note = f"farandole {__version__}: {pipeline.name}"
    return record(stage.transport, [*topics, *own], groups, now=stage.clock.now(), note=note)


if __name__ == "__main__":
    folder = HERE / __version__
    folder.mkdir(exist_ok=True)
    for name, make in (("orders", record_orders), ("flights", record_flights)):
        path = folder / f"{name}.jsonl.gz"
        if path.exists():
            print(f"{path} is there already: what an older version wrote is not written again")
            continue
        path.write_bytes(make())
        print(f"{path}: {path.stat().st_size} bytes")
