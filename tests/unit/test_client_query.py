"""The list of runs, from rows as they stand on the log: what cannot be read costs nobody else anything."""

import asyncio
import logging
import uuid
from datetime import UTC, datetime

import pytest

from farandole.client.applying import apply, plan
from farandole.client.lookup import head_of, settled_of, states_of
from farandole.client.planning import Deployment
from farandole.client.query import GivenUp, StepRow, _with_errors, list_runs
from farandole.client.session import Session
from farandole.errors import RecordError
from farandole.events.catalogue import encode
from farandole.events.tables import RunControl, RunHead, SettledRun
from farandole.events.topics import Topics
from farandole.ids import NO_ITEM
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import NewRecord

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ENDED = encode(SettledRun("ended", "orders", "d" * 64, "succeeded", "", T0, T0, ()))
LIVE = encode(RunHead("live", "orders", "d" * 64, "running", T0, T0, "", "", b""))
STRANGE = encode(RunControl("live", "stopping"))


def log_of(namespace: str, *rows: tuple[str, bytes, bytes]) -> MemoryTransport:
    """A namespace of one home, with rows of topic kind, key and value."""
    transport, topics = MemoryTransport(), Topics(namespace)
    apply(transport, plan(transport, topics, Deployment("shop"), partitions=1))
    producer = transport.producer("tests")
    for kind, key, value in rows:
        producer.send(NewRecord(f"{namespace}.{kind}", key, value, partition=0))
    producer.flush(1.0)
    return transport


def listed(transport: MemoryTransport, namespace: str) -> dict[str, str]:
    """Status by run, of a client of its own."""

    async def ask() -> dict[str, str]:
        session = Session(transport.edge("tests"), Topics(namespace), "tests")
        try:
            return {row.run: row.status for row in await list_runs(session)}
        finally:
            await session.close()

    return asyncio.run(asyncio.wait_for(ask(), 30))


@pytest.mark.parametrize("junk", [b"junk", b"", STRANGE], ids=["no record", "nothing", "another record"])
@pytest.mark.parametrize("kind", ["settled", "runs"])
def test_row_that_cannot_be_read_is_left_out_of_the_list_and_told_with_its_place_once(
    kind: str, junk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """One record `junk` under any key of `settled`, and no run was listed any more, for as long as retention kept it;
    the error did not say where it stood.
    """
    namespace = f"n{uuid.uuid4().hex[:8]}"
    transport = log_of(namespace, ("settled", b"ended", ENDED), ("runs", b"live", LIVE), (kind, b"somebody", junk))

    with caplog.at_level(logging.WARNING, "farandole.client"):
        lists = [listed(transport, namespace) for _ in range(3)]

    assert lists == [{"ended": "succeeded", "live": "running"}] * 3
    (told,) = caplog.messages
    assert told.startswith(f"{namespace}.{kind}/0/1: expected a ")
    assert told.endswith(". It was left out")


def test_ended_run_of_which_the_final_state_cannot_be_read_is_listed_from_its_stub() -> None:
    stub = encode(RunHead("ended", "orders", "d" * 64, "settled", T0, T0, "succeeded", "", b""))
    transport = log_of("stubs", ("settled", b"ended", b"junk"), ("runs", b"ended", stub))

    assert listed(transport, "stubs") == {"ended": "succeeded"}


@pytest.mark.parametrize("kind", ["settled", "runs"])
def test_look_up_of_a_row_that_cannot_be_read_says_where_it_stands(kind: str) -> None:
    transport = log_of("alone", (kind, b"one", b"junk"))

    async def ask() -> None:
        session = Session(transport.edge("tests"), Topics("alone"), "tests")
        try:
            await (settled_of if kind == "settled" else head_of)(session, "one")
        finally:
            await session.close()

    with pytest.raises(RecordError, match=rf"alone\.{kind}/0/0: expected a \w+, but expected Avro") as told:
        asyncio.run(asyncio.wait_for(ask(), 30))
    assert told.value.reason == "undecodable"


def test_states_of_several_runs_leave_out_one_that_cannot_be_read() -> None:
    """One junk head under the id of a run with a dead letter, and no dead letter was listed any more."""
    transport = log_of("states", ("runs", b"somebody", b"junk"))

    async def ask() -> int:
        session = Session(transport.edge("tests"), Topics("states"), "tests")
        try:
            return len(await states_of(session, {"somebody"}))
        finally:
            await session.close()

    assert asyncio.run(asyncio.wait_for(ask(), 30)) == 0


def test_step_with_several_items_given_up_on_tells_how_many_there_are_beside_the_first() -> None:
    """Of three, `run show` told "item 0" alone, as if the others had gone well."""
    rows = [StepRow(step, "a", "dead", 3, 3, 0, None) for step in ("three", "one", "whole")]
    gone = {("three", n): GivenUp(1, "too large", "") for n in (0, 1, 2)}
    gone |= {("one", 4): GivenUp(1, "too large", ""), ("whole", NO_ITEM): GivenUp(1, "too large", "")}

    assert [row.error for row in _with_errors(rows, gone)] == [
        "item 0 and 2 more: dead letter: too large",
        "item 4: dead letter: too large",
        "dead letter: too large",
    ]
