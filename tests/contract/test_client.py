"""The client against a running deployment, on every log: each promise of `Client` and of the queries."""

import asyncio
import contextlib
import threading
import uuid
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, assert_type, cast

import pytest

from farandole import (
    Client,
    ConfigError,
    Pipeline,
    Retry,
    RunCancelled,
    RunFailed,
    RunHeld,
    RunNotFound,
    RunRefused,
    SyncClient,
    TransportError,
    WaitTimedOut,
    pipeline,
)
from farandole import agent as declare
from farandole.client import lookup
from farandole.client.applying import apply, plan
from farandole.client.dead import dead_record, grouped, input_of, list_dead
from farandole.client.planning import Deployment
from farandole.client.query import list_runs, run_detail
from farandole.client.run import Run
from farandole.client.session import Session
from farandole.client.trail import trail_of
from farandole.errors import ClaimBroken, FatalTransportError, StoreError
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.commands import StartRun
from farandole.events.topics import Topics
from farandole.ids import generated_run_id
from farandole.testing.inprocess import InProcess
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import NewRecord, Transport
from farandole.transport.sqlite import SqliteSettings, SqliteTransport


@dataclass(frozen=True)
class Number:
    """What travels."""

    n: int


BROKEN = {13}
"""Numbers that `double` cannot do; a test repairs the world by taking one out."""

GATE = threading.Event()
"""Closed: `wait` waits."""


@declare(retry=Retry(attempts=2, base="10ms"))
def double(number: Number) -> Number:
    """Fails for what is broken."""
    if number.n in BROKEN:
        raise ValueError(f"{number.n} is broken")
    return Number(2 * number.n)


@declare
async def add_one(number: Number) -> Number:
    """One more."""
    return Number(number.n + 1)


@declare
def wait(number: Number) -> Number:
    """Waits for the test."""
    GATE.wait(30)
    return number


@declare
def inflate(number: Number) -> str:
    """A result too large to travel."""
    return "x" * number.n


@pipeline(owner="tests@example.org")
def calculate(number: Number) -> Number:
    """Twice and one more."""
    return add_one(double(number))


@pipeline(owner="tests@example.org")
def stand(number: Number) -> Number:
    """Waits until the test lets it go."""
    return add_one(wait(number))


@pipeline(owner="tests@example.org")
def strict(number: Number) -> Number:
    """A dead letter ends it."""
    return double.options(on_dead_letter="fail")(number)


@pipeline(owner="tests@example.org")
def beside(number: Number) -> Number:
    """A step that may be broken, beside one that waits until the test lets it go."""
    double(number)
    return wait(number)


@pipeline(owner="tests@example.org")
def large(number: Number) -> str:
    """Its result is a claim."""
    return inflate(number)


@pytest.fixture(scope="module", params=["memory", "sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def transport(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Transport:
    """The log."""
    if request.param == "sqlite":
        return SqliteTransport(SqliteSettings(tmp_path_factory.mktemp("log") / "log.db"))
    if request.param == "memory":
        return MemoryTransport()
    return KafkaTransport(KafkaSettings(request.getfixturevalue("kafka")))


@pytest.fixture(scope="module")
def cluster(transport: Transport, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """A deployment of all pipelines above."""
    folder = tmp_path_factory.mktemp("client")
    namespace = f"t{uuid.uuid4().hex[:8]}"
    with InProcess(transport, [calculate, stand, strict, beside, large], namespace=namespace, folder=folder) as it:
        yield it


@pytest.fixture
def client(cluster: InProcess) -> Iterator[SyncClient]:
    """A blocking client of the deployment."""
    with SyncClient(cluster.transport, cluster.namespace, artifacts=cluster.artifacts) as it:
        yield it


@pytest.fixture(autouse=True)
def gate() -> Iterator[threading.Event]:
    """The gate, closed; opened at the end, so that no handler outlives its test."""
    GATE.clear()
    yield GATE
    GATE.set()


async def _connected(cluster: InProcess) -> Client:
    return Client(cluster.transport, cluster.namespace, artifacts=cluster.artifacts)


def test_start_of_a_pipeline_gives_its_typed_result(client: SyncClient) -> None:
    run = client.start(calculate, Number(4))

    result = run.result("20s")

    assert_type(result, Number)  # for mypy: the pipeline's own type
    assert result == Number(9)


@pytest.mark.parametrize(
    ("args", "named", "told"),
    [
        (({"number": {"n": 4}},), {}, "the arguments are a positional one"),
        ((), {"number": {"n": 4}}, "the arguments are number="),
        ((), {"params": {}, "number": 4}, "the arguments are params=, number="),
        ((), {"params": 4}, "the arguments are params="),
    ],
)
def test_start_by_name_with_other_arguments_says_how_they_are_given(
    client: SyncClient, args: tuple[Any, ...], named: dict[str, Any], told: str
) -> None:
    with pytest.raises(TypeError, match=f"^calculate: a pipeline by name is started with params=.*{told}"):
        client.start("calculate", *args, **named)


def test_start_by_name_gives_plain_values(client: SyncClient) -> None:
    from_values = client.start("calculate", params={"number": {"n": 4}})
    from_text = client.start("calculate", params='{"number": {"n": 5}}')

    assert from_values.result("20s") == {"n": 9}
    assert from_text.result("20s") == {"n": 11}


def test_same_id_and_params_twice_are_one_run(client: SyncClient, cluster: InProcess, unique: str) -> None:
    first = client.start(calculate, Number(4), run_id=unique).result("20s")

    again = client.start(calculate, Number(4), run_id=unique)

    assert again.result("20s") == first
    with SyncClient(cluster.transport, cluster.namespace) as other:
        events = list(other.run(unique).watch())
    assert sum(isinstance(event, facts.RunStarted) for event in events) == 1


def test_same_id_with_other_params_is_refused_and_leaves_the_run_alone(client: SyncClient, unique: str) -> None:
    run = client.start(stand, Number(4), run_id=unique)

    other = client.start(stand, Number(5), run_id=unique)

    with pytest.raises(RunRefused, match="conflict"):
        other.result("20s")
    GATE.set()
    assert run.result("20s") == Number(5)


def test_conflict_on_an_ended_run_is_refused_and_never_gives_its_result(client: SyncClient, unique: str) -> None:
    client.start(calculate, Number(4), run_id=unique).result("20s")

    other = client.start(calculate, Number(5), run_id=unique)

    with pytest.raises(RunRefused, match="conflict"):
        other.result("20s")


def test_clients_of_both_versions_start_and_find_the_same_runs_after_a_pipeline_got_one_more_param(
    cluster: InProcess, unique: str
) -> None:
    """The story: a param with a default was added and applied. Services that were not replaced yet had every start
    refused, and who asked again for a run of the other version was told of a conflict, where it is the same run.
    """

    @pipeline(owner="tests@example.org", name="growing")
    def before(number: Number) -> Number:
        return double(number)

    @pipeline(owner="tests@example.org", name="growing")
    def after(number: Number, times: int = 2) -> Number:
        return double(number)

    def applied(it: Pipeline[..., Number]) -> None:
        deployment = Deployment("tests", tuple(cluster.agents), (), (it.definition,))
        apply(cluster.transport, plan(cluster.transport, cluster.topics, deployment))

    applied(before)
    log, namespace = cluster.transport, cluster.namespace
    with SyncClient(log, namespace) as old, SyncClient(log, namespace) as new:
        old.start(before, Number(4), run_id=f"{unique}-1").result("20s")
        old.start("growing", params={"number": {"n": 4}}).result("20s")

        applied(after)
        new.start(after, Number(4), run_id=f"{unique}-2").result("20s")
        found = [
            old.start(before, Number(4)),
            old.start(before, Number(4), run_id=f"{unique}-1"),
            old.start(before, Number(4), run_id=f"{unique}-2"),
            new.start(after, Number(4), run_id=f"{unique}-1"),
        ]
        by_name = old.start("growing", params={"number": {"n": 4}})
        other = new.start(after, Number(5), run_id=f"{unique}-1")

        assert [run.result("20s") for run in found] == [Number(8)] * 4
        assert by_name.result("20s") == {"n": 8}
        with pytest.raises(RunRefused, match="conflict"):
            other.result("20s")


def test_start_with_other_params_is_refused_also_if_the_run_ends_before_the_answer(
    cluster: InProcess, monkeypatch: pytest.MonkeyPatch, unique: str
) -> None:
    """It got the result of the other run: the end stood before the refusal, and was taken for its own."""
    with pytest.raises(RunRefused, match="conflict"):
        asyncio.run(_started_as_it_ends(cluster, monkeypatch, unique, Number(5)))


def test_same_start_as_its_run_ends_gives_the_result(
    cluster: InProcess, monkeypatch: pytest.MonkeyPatch, unique: str
) -> None:
    assert asyncio.run(_started_as_it_ends(cluster, monkeypatch, unique, Number(4))) == Number(5)


async def _started_as_it_ends(
    cluster: InProcess, monkeypatch: pytest.MonkeyPatch, run_id: str, number: Number
) -> Number:
    """The result of a start with `number`, whose command is written when the run of `Number(4)` has ended."""
    sent = Session.send
    async with await _connected(cluster) as client, await _connected(cluster) as other:
        run = await client.start(stand, Number(4), run_id=run_id)

        async def send_after_the_end(session: Session, *command: Any, **named: Any) -> None:
            GATE.set()
            await run.result("20s")
            await sent(session, *command, **named)

        monkeypatch.setattr(Session, "send", send_after_the_end)
        return await (await other.start(stand, number, run_id=run_id)).result("20s")


def test_params_of_another_type_are_refused_before_anything_is_sent(client: SyncClient) -> None:
    with pytest.raises(RunRefused, match="number"):
        client.start(calculate, "four")


def test_malformed_id_is_refused_before_anything_is_sent(client: SyncClient) -> None:
    with pytest.raises(RunRefused, match="run id"):
        client.start(calculate, Number(1), run_id="no/slash")


class Windowed(InProcess):
    """A deployment of `calculate` that remembers ended runs for as long as it is told."""

    def __init__(self, transport: Transport, window: timedelta, *, folder: Path, namespace: str = "again") -> None:
        super().__init__(transport, [calculate], namespace=namespace, folder=folder, dedupe_window=window)


def test_uuid_of_ones_own_that_looks_like_an_old_generated_id_is_refused_at_the_start(client: SyncClient) -> None:
    # An order of the day before yesterday had a UUIDv7: its run was started, it seemed, and its result never came.
    order = generated_run_id(datetime.now(UTC) - timedelta(days=2), uuid.uuid4().int >> 64)
    assert client.start(calculate, Number(1)).result("20s") == Number(3)  # a start waits for the answer a moment only

    with pytest.raises(RunRefused, match=r"expired_id: the id is a UUIDv7 of .* with a word before it"):
        client.start(calculate, Number(1), run_id=order)

    assert client.start(calculate, Number(1), run_id=f"order-{order}").result("20s") == Number(3)


def test_old_uuid_begins_a_run_where_the_coordinators_window_is_longer(tmp_path: Path) -> None:
    transport = MemoryTransport()
    order = generated_run_id(datetime.now(UTC) - timedelta(days=2), 5)

    with (
        Windowed(transport, timedelta(days=3), folder=tmp_path, namespace="wide"),
        SyncClient(transport, "wide") as client,
    ):
        run = client.start(calculate, Number(1), run_id=order)

        assert run.result("20s") == Number(3)


def test_result_that_takes_longer_than_the_wait_times_out_and_the_run_goes_on(client: SyncClient) -> None:
    run = client.start(stand, Number(4))

    with pytest.raises(WaitTimedOut, match="goes on"):
        run.result("100ms")

    GATE.set()
    assert run.result("20s") == Number(5)


def test_wait_with_a_wrong_limit_or_word_is_refused_in_its_own_words(client: SyncClient) -> None:
    """`timeout=5` was a wrong pipeline (`DefinitionError`), and `held="wiat"` was taken for "raise"."""
    run, wrong = client.start(stand, Number(4)), cast(Any, 5)

    for ask in (run.result, run.ended):
        with pytest.raises(TypeError, match=r"timeout: .*timedelta\(seconds=5\) is one"):
            ask(wrong)
        with pytest.raises(ValueError, match="timeout: expected a duration"):
            ask("5")
        with pytest.raises(ValueError, match="held: expected 'raise' or 'wait', but found 'wiat'"):
            ask("20s", held=cast(Any, "wiat"))

    GATE.set()
    assert run.result("20s") == Number(5)


@pytest.mark.parametrize("direct", [False, True], ids=["asked for", "started directly"])
def test_held_run_raises_at_once_and_can_be_waited_for_again(cluster: InProcess, direct: bool) -> None:
    """A first exception of a new user's handler looked like a hang, and the error said that the run went on."""

    async def repair() -> tuple[str, str, Number]:
        async with Client(cluster.transport, cluster.namespace, direct=direct) as client:
            run = await client.start(calculate, Number(13))
            with pytest.raises(RunHeld) as held:
                await run.result("20s")
            again = asyncio.create_task(run.result("20s"))
            (letter,) = await list_dead(client.session, run_id=run.id)
            await client.replay(letter.place, letter.run, letter.step, letter.attempt, input={"n": 13})
            with pytest.raises(RunHeld) as once_more:
                await again
            (letter,) = await list_dead(client.session, run_id=run.id)
            await client.replay(letter.place, letter.run, letter.step, letter.attempt, input={"n": 14})
            return str(held.value), str(once_more.value), await run.result("20s")

    held, once_more, result = asyncio.run(repair())

    assert "it is held: dead letter at double: ValueError: 13 is broken" in held
    assert "`farandole run show " in held
    assert "13 is broken" in once_more
    assert result == Number(29)


@pytest.mark.parametrize("ask", ["result", "ended"])
def test_run_that_was_held_before_it_was_followed_raises_too(
    client: SyncClient, cluster: InProcess, unique: str, ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farandole.client.run.LOOK", 20.0)
    with pytest.raises(RunHeld):
        client.start(calculate, Number(13), run_id=unique).result("20s")

    with SyncClient(cluster.transport, cluster.namespace) as other:
        for run in (other.run(unique, calculate), other.start(calculate, Number(13), run_id=unique)):
            with pytest.raises(RunHeld, match="13 is broken"):
                getattr(run, ask)("20s")
            with pytest.raises(WaitTimedOut, match="it is held: dead letter at double"):  # nothing has changed since
                getattr(run, ask)("300ms")


def test_wait_for_a_repair_goes_on_while_the_run_is_held(client: SyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farandole.client.run.LOOK", 20.0)
    started = client.start(calculate, Number(13))
    with pytest.raises(RunHeld):
        started.result("20s")
    run = client.run(started.id)

    with pytest.raises(WaitTimedOut, match="it is held"):
        run.result("100ms", held="wait")
    with pytest.raises(RunHeld):
        run.result("20s")


def test_hold_that_is_over_when_it_is_heard_of_ends_no_wait(
    client: SyncClient, cluster: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How it stands is in the tables; what the tail tells of may be long past."""
    status_of = lookup.status_of

    async def released(session: Session, run_id: str) -> lookup.RunStatus | None:
        found = await status_of(session, run_id)
        return replace(found, status="running", waiting="") if found is not None else None

    monkeypatch.setattr("farandole.client.run.status_of", released)
    run = client.start(calculate, Number(13))

    with pytest.raises(WaitTimedOut, match="goes on"):
        run.result("1s")


def test_run_held_for_want_of_its_definition_is_told_as_held(
    client: SyncClient, cluster: InProcess, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state cannot be read here either; it had not been found, for who had not started it."""
    with pytest.raises(RunHeld):
        client.start(calculate, Number(13), run_id=unique).result("20s")

    async def gone(session: Session, run_id: str) -> None:
        raise RunNotFound("expected its definition")

    monkeypatch.setattr("farandole.client.run.state_of", gone)
    with SyncClient(cluster.transport, cluster.namespace) as other:
        run = other.run(unique)

        with pytest.raises(RunHeld):
            run.result("20s")
        with pytest.raises(WaitTimedOut):
            run.result("100ms", held="wait")


def test_wait_for_a_run_that_nobody_serves_says_that_it_has_not_begun(unique: str) -> None:
    transport = MemoryTransport()
    deployment = Deployment("unit", ("double", "add_one"), (), (calculate.definition,))
    apply(transport, plan(transport, Topics(unique), deployment, partitions=1))

    with SyncClient(transport, unique) as client:
        run = client.start(calculate, Number(1))
        with pytest.raises(TimeoutError, match="it has not begun") as late:
            run.result("100ms")

    assert isinstance(late.value, WaitTimedOut)
    assert late.value.run_id == run.id


def test_pipeline_of_a_name_that_was_never_applied_is_refused_as_a_run_and_as_a_setting(client: SyncClient) -> None:
    """Only the latter, which `except RunError` let through; the pages said that `result` tells of it."""
    with pytest.raises(RunRefused, match="'nope': expected one that was applied") as refused:
        client.start("nope", params={})

    assert isinstance(refused.value, ConfigError), "and so the command line's exit code is that of a mistake"
    assert refused.value.run_id


def test_start_in_a_namespace_to_which_nothing_was_applied_is_no_refusal_of_a_run(cluster: InProcess) -> None:
    with SyncClient(cluster.transport, "elsewhere") as client, pytest.raises(ConfigError) as refused:
        client.start("nope", params={})

    assert not isinstance(refused.value, RunRefused)


@pytest.mark.parametrize("given", [double, len, None], ids=["agent", "function", "nothing"])
def test_what_is_no_pipeline_is_told_as_such(client: SyncClient, given: Any) -> None:
    """An agent ended in a bare AttributeError."""
    with pytest.raises(TypeError, match=r"expected a pipeline.* or the name of one, but found"):
        client.start(given, Number(1))
    if given is not None:
        with pytest.raises(TypeError, match="expected a pipeline"):
            client.run("r", given)


def test_failed_run_raises_with_its_reason(client: SyncClient) -> None:
    run = client.start(strict, Number(13))

    with pytest.raises(RunFailed, match="double"):
        run.result("20s")


def test_cancelled_run_raises_with_the_reason_given(client: SyncClient) -> None:
    run = client.start(stand, Number(4))
    _until(run.watch(), facts.StepScheduled)

    run.cancel("changed my mind")
    _until(run.watch(), facts.RunStopping)
    GATE.set()

    with pytest.raises(RunCancelled, match="changed my mind"):
        run.result("20s")


def test_run_of_somebody_else_is_found_again_by_its_id(client: SyncClient, cluster: InProcess, unique: str) -> None:
    client.start(calculate, Number(4), run_id=unique).result("20s")

    with SyncClient(cluster.transport, cluster.namespace) as other:
        found = other.run(unique, calculate)

        assert found.result("20s") == Number(9)
        assert found.status().status == "succeeded"


def test_wait_after_one_that_could_not_look_up_an_ended_run_looks_again(
    cluster: InProcess, monkeypatch: pytest.MonkeyPatch, unique: str
) -> None:
    """It waited for ever: the look-up counted as done although it had failed, and no more events were to come."""
    settled_of, hangs = lookup.settled_of, asyncio.Event()

    async def fail(session: Session, run_id: str) -> None:
        raise TransportError("the broker is away")

    async def hang(session: Session, run_id: str) -> None:
        await hangs.wait()

    async def wait_again(run: Run[Number], broken: Any, error: type[Exception], limit: str) -> Number:
        monkeypatch.setattr("farandole.client.run.settled_of", broken)
        with pytest.raises(error):
            await run.result(limit)
        monkeypatch.setattr("farandole.client.run.settled_of", settled_of)
        return await run.result("20s")

    async def look() -> list[Number]:
        async with await _connected(cluster) as client, await _connected(cluster) as other:
            await (await client.start(calculate, Number(4), run_id=unique)).result("20s")
            failed = await wait_again(await other.run(unique, calculate), fail, TransportError, "20s")
            cut_short = await wait_again(await other.run(unique, calculate), hang, WaitTimedOut, "100ms")
            return [failed, cut_short]

    assert asyncio.run(look()) == [Number(9), Number(9)]


def test_rerun_is_a_new_run_with_the_params_of_the_ended_one_or_others(client: SyncClient, unique: str) -> None:
    ended = client.start(calculate, Number(4))
    ended.result("20s")

    again = client.rerun(ended.id)
    other = client.rerun(ended.id, params={"number": {"n": 5}}, new_id=unique)

    assert again.id != ended.id
    assert again.result("20s") == {"n": 9}
    assert (other.id, other.result("20s")) == (unique, {"n": 11})


def test_rerun_under_the_id_of_the_ended_run_is_refused(client: SyncClient) -> None:
    """It started nothing, and told the old outcome as if it were that of the new run."""
    ended = client.start(strict, Number(13))
    with pytest.raises(RunFailed):
        ended.result("20s")

    with pytest.raises(RunRefused, match=r"expected another id .* Nothing was started"):
        client.rerun(ended.id, new_id=ended.id)


def test_unknown_run_is_not_found(client: SyncClient, unique: str) -> None:
    run = client.run(unique)

    with pytest.raises(RunNotFound):
        run.result("20s")
    with pytest.raises(RunNotFound):  # it waited for ever, for the first look had been all there was
        run.result("20s")
    with pytest.raises(RunNotFound):
        list(run.watch())
    with pytest.raises(RunNotFound):
        run.status()


def test_watch_tells_every_event_from_beginning_to_end(client: SyncClient) -> None:
    run = client.start(calculate, Number(4))

    events = list(run.watch())

    kinds = [type(event) for event in events]
    assert kinds == [
        facts.RunStarted, facts.StepScheduled, facts.StepSucceeded, facts.StepSucceeded, facts.RunSettled,
    ]  # fmt: skip
    assert list(run.watch()) == events


def test_watch_of_an_id_that_is_used_again_tells_its_latest_run(tmp_path: Path) -> None:
    # `events` keeps 90 days and an id is free after one: watching today's "nightly" told that of yesterday, and ended.
    transport = MemoryTransport()
    with Windowed(transport, timedelta(seconds=1), folder=tmp_path):
        with SyncClient(transport, "again") as client:
            client.start(calculate, Number(4), run_id="nightly").result("20s")
            _until_forgotten(transport, "nightly")

            second = client.start(calculate, Number(5), run_id="nightly")
            seen = list(second.watch())
            result = second.result("20s")

        with SyncClient(transport, "again") as client:
            later = list(client.run("nightly").watch())

    assert result == Number(11)
    assert seen == later
    assert [type(event) for event in seen].count(facts.RunStarted) == 1
    assert isinstance(seen[-1], facts.RunSettled)
    assert seen[-1].output == Schema.parse(calculate.definition.output_schema or "").encode({"n": 11})


def test_watch_of_an_id_that_is_used_again_waits_for_its_start(tmp_path: Path) -> None:
    # Nobody had answered the second start yet, so that the log held the first run alone: its events were told for it.
    transport = MemoryTransport()
    with (
        Windowed(transport, timedelta(seconds=1), folder=tmp_path),
        SyncClient(transport, "again") as client,
    ):
        client.start(calculate, Number(4), run_id="nightly").result("20s")
        _until_forgotten(transport, "nightly")
    with SyncClient(transport, "again") as client:
        second = client.start(calculate, Number(5), run_id="nightly")
        told: list[list[facts.Event]] = []
        watching = threading.Thread(target=lambda: told.append(list(second.watch())))
        watching.start()
        watching.join(1.0)
        assert told == [], "nobody has answered the start"
        with Windowed(transport, timedelta(seconds=1), folder=tmp_path):
            watching.join(20.0)

    (events,) = told
    assert isinstance(events[-1], facts.RunSettled)
    assert events[-1].output == Schema.parse(calculate.definition.output_schema or "").encode({"n": 11})


def _until_forgotten(transport: Transport, run_id: str) -> None:
    async def ask() -> None:
        async with Client(transport, "again") as client:
            for _ in range(400):
                if await lookup.head_of(client.session, run_id) is None:
                    return
                await asyncio.sleep(0.05)
        raise AssertionError("the id is not forgotten")

    asyncio.run(ask())


def test_result_above_the_inline_limit_is_fetched_from_the_store(client: SyncClient) -> None:
    run = client.start(large, Number(400_000))

    assert run.result("20s") == "x" * 400_000


def test_result_that_is_in_another_store_than_the_settings_name_says_which_is_meant(
    client: SyncClient, cluster: InProcess, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page on large payloads quotes both; it told of a client without any store, which there is not."""
    client.start(large, Number(400_001), run_id=unique).result("20s")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FARANDOLE_ARTIFACTS", str(tmp_path / "share"))

    with SyncClient(cluster.transport, cluster.namespace) as other:
        run = other.run(unique, large)
        with pytest.raises(StoreError, match=r"the folder .*share is not there"):
            run.result("20s")
        (tmp_path / "share").mkdir()
        with pytest.raises(ClaimBroken, match="it is missing; `artifacts` must be the same folder for all processes"):
            run.result("20s")


def test_hundred_waiters_share_one_tail(cluster: InProcess) -> None:
    async def start_all() -> list[Number]:
        async with await _connected(cluster) as client:
            runs = await asyncio.gather(*(client.start(calculate, Number(n + 100)) for n in range(100)))
            return await asyncio.gather(*(run.result("30s") for run in runs))

    results = asyncio.run(start_all())

    assert results == [Number(2 * (n + 100) + 1) for n in range(100)]


def test_dead_letter_is_listed_and_closes_when_it_is_replayed(cluster: InProcess, unique: str) -> None:
    async def repair() -> None:
        async with await _connected(cluster) as client:
            run = await client.start(calculate, Number(13), run_id=unique)
            async with aclosing(run.watch()) as events:
                async for event in events:
                    if isinstance(event, facts.RunHeld):
                        break
            (letter,) = await list_dead(client.session, run_id=unique)
            assert (letter.state, letter.step, letter.attempt) == ("open", "double", 2)
            assert "13 is broken" in letter.error
            assert len(grouped([letter])) == 1
            found, record = await dead_record(client.session, letter.place)
            assert await input_of(client.session, found, record) == {"n": 13}
            detail = await run_detail(client.session, unique)
            assert detail.status.status == "held"
            assert detail.waits[0].kind == "dead_letter"

            await client.replay(letter.place, letter.run, letter.step, letter.attempt, input={"n": 14})

            assert await run.result("20s", held="wait") == Number(29)
            assert await list_dead(client.session, run_id=unique) == []
            (closed,) = await list_dead(client.session, run_id=unique, closed=True)
            assert closed.state == "closed"

    asyncio.run(repair())


def test_dead_letter_of_a_run_that_is_stopping_is_closed(cluster: InProcess, unique: str) -> None:
    """It stayed open while another step was waited for; `dead replay` said "asked", and nothing came of it."""

    async def stop() -> None:
        async with await _connected(cluster) as client:
            run = await client.start(beside, Number(13), run_id=unique)
            async with aclosing(run.watch()) as events:
                async for event in events:
                    if isinstance(event, facts.RunHeld):
                        (letter,) = await list_dead(client.session, run_id=unique)
                        assert letter.state == "open"
                        await run.cancel()
                    if isinstance(event, facts.RunStopping):
                        break

            assert await list_dead(client.session, run_id=unique) == []
            detail = await run_detail(client.session, unique)
            assert [(each.kind, each.step, each.then) for each in detail.waits] == [("agent", "wait", "cancelled")]
            GATE.set()
            assert (await run.ended("20s")).outcome == "cancelled"

    asyncio.run(stop())


def test_letter_whose_run_is_no_text_is_listed_beside_the_others(cluster: InProcess) -> None:
    """One such record, which anybody may write who may write there, took `dead list` away from everybody."""
    topic = cluster.topics.dead("wait")
    stranger = cluster.transport.producer("stranger")
    stranger.send(NewRecord(topic, b"k", b"?", [("ce_run", b"\xff"), ("farandole_reason", b"odd")], 0))
    assert stranger.flush(5.0) == 0
    stranger.close()

    async def listed() -> list[tuple[str, str]]:
        async with await _connected(cluster) as client:
            (letter,) = await list_dead(client.session, run_id="\ufffd")
            again, _ = await dead_record(client.session, letter.place)
            return [(each.state, each.reason) for each in (letter, again)]

    assert asyncio.run(listed()) == [("quarantined", "odd")] * 2


def test_run_is_shown_although_a_stranger_wrote_what_is_no_text_about_it(cluster: InProcess, unique: str) -> None:
    """One record on `events` under its key, and `run show` of that run ended in a traceback until that was deleted."""
    odd = [("ce_run", unique.encode()), ("ce_step", b"\xff"), ("ce_item", b"\xb2"), ("ce_folded", b"\xff/x")]

    async def shown() -> tuple[str, set[str]]:
        async with await _connected(cluster) as client:
            await (await client.start(calculate, Number(1), run_id=unique)).result("20s")
            home = await client.session.at_home(cluster.topics.events, unique)
            stranger = cluster.transport.producer("stranger")
            stranger.send(NewRecord(home.topic, unique.encode(), b"?", odd, home.partition))
            assert stranger.flush(5.0) == 0
            stranger.close()
            detail = await run_detail(client.session, unique)
            return detail.status.status, {each.step for each in detail.steps}

    status, steps = asyncio.run(shown())

    assert status == "succeeded"
    assert "double" in steps


def test_replay_with_an_input_of_another_type_is_refused(cluster: InProcess, unique: str) -> None:
    async def replay() -> None:
        async with await _connected(cluster) as client:
            run = await client.start(stand, Number(1), run_id=unique)
            async with aclosing(run.watch()) as events:
                await anext(aiter(events))
            await client.replay("nowhere/0/0", unique, "wait", 1, input={"n": "one"})

    with pytest.raises(RunRefused, match="wait"):
        asyncio.run(replay())


def test_list_of_runs_tells_live_and_ended_ones(cluster: InProcess, unique: str) -> None:
    async def look() -> tuple[dict[str, str], str]:
        async with await _connected(cluster) as client:
            live = await client.start(stand, Number(1), run_id=f"{unique}-live")
            done = await client.start(calculate, Number(1), run_id=f"{unique}-done")
            await done.result("20s")
            async with aclosing(live.watch()) as events:
                await anext(aiter(events))
            rows = {row.run: row.status for row in await list_runs(client.session)}
            (first, *_) = await list_runs(client.session, pipeline="calculate", status="succeeded", limit=1)
            return rows, first.pipeline

    rows, pipeline_of_first = asyncio.run(look())

    assert rows[f"{unique}-live"] == "running"
    assert rows[f"{unique}-done"] == "succeeded"
    assert pipeline_of_first == "calculate"


def test_trail_of_a_run_holds_its_command_facts_and_triggers(cluster: InProcess, unique: str) -> None:
    async def trail() -> dict[str, int]:
        async with await _connected(cluster) as client:
            await (await client.start(calculate, Number(1), run_id=unique)).result("20s")
            entries, definition = await trail_of(client.session, unique)
            assert definition == calculate.definition
            topics: dict[str, int] = {}
            for entry in entries:
                topics[entry.topic] = topics.get(entry.topic, 0) + 1
            return topics

    found = asyncio.run(trail())

    names = cluster.topics
    assert found == {names.commands: 1, names.events: 5, names.inbox("double"): 1, names.inbox("add_one"): 1}


def test_namespace_that_was_never_applied_is_an_error_with_a_way_out(transport: Transport, unique: str) -> None:
    with SyncClient(transport, unique) as client, pytest.raises(ConfigError, match="farandole apply"):
        client.start("calculate", params={})


def test_closed_client_says_so(cluster: InProcess) -> None:
    client = SyncClient(cluster.transport, cluster.namespace)
    client.close()

    with pytest.raises(TransportError, match="closed"):
        client.start(calculate, Number(4))


def test_who_waits_for_a_run_is_told_when_the_client_is_closed(cluster: InProcess) -> None:
    """They waited for ever: nobody reads the events any more that would end it."""

    async def closed() -> list[BaseException]:
        async with await _connected(cluster) as client:
            run = await client.start(stand, Number(4))
            seen = asyncio.Event()
            waiting = [asyncio.ensure_future(work) for work in (run.result(), run.ended(), _watched(run, seen))]
            await seen.wait()
        late = [run.result(), run.ended(), _watched(run)]
        async with asyncio.timeout(20):
            found = await asyncio.gather(*waiting, *late, return_exceptions=True)
        return [each for each in found if isinstance(each, BaseException)]

    told = asyncio.run(closed())

    assert [type(each) for each in told] == [TransportError] * 6
    assert all("closed" in str(each) for each in told)


def test_who_waits_or_watches_is_told_when_the_log_is_removed(tmp_path: Path) -> None:
    """The tail tried again for ever, although no process on a log that was removed can go on."""

    async def removed() -> list[object]:
        async with Client(transport, "removed") as client:
            run = await client.start(stand, Number(4))
            waiting = [asyncio.ensure_future(work) for work in (run.result(), run.ended(), _watched(run))]
            log.unlink()
            async with asyncio.timeout(20):
                told = await asyncio.gather(*waiting, return_exceptions=True)
                with pytest.raises(FatalTransportError):
                    await client.run(run.id)
            return list(told)

    log, topics = tmp_path / "log.db", Topics("removed")
    transport = SqliteTransport(SqliteSettings(log))
    apply(
        transport, plan(transport, topics, Deployment("u", tuple(stand.agents), (), (stand.definition,)), partitions=1)
    )

    told = asyncio.run(removed())

    assert [type(each) for each in told] == [FatalTransportError] * 3


def test_start_under_way_when_the_client_is_closed_is_told_so_and_not_cancelled(cluster: InProcess) -> None:
    """It was cancelled although nobody had cancelled it, so that a task group took it for done.

    Whoever resumed just after the end followed a tail that nobody reads, and waited for ever.
    """

    async def closed_after(turns: int) -> BaseException | None:
        client = await _connected(cluster)
        starting = asyncio.ensure_future(client.start(stand, Number(4)))
        for _ in range(turns):
            await asyncio.sleep(0)
        await client.close()
        async with asyncio.timeout(20):
            try:
                await (await starting).result()
            except (TransportError, asyncio.CancelledError) as told:
                return told
        return None

    for turns in range(12):
        told = asyncio.run(closed_after(turns))
        assert isinstance(told, TransportError), turns
        assert "closed" in str(told)


async def _watched(run: Run[Any], seen: asyncio.Event | None = None) -> list[facts.Event]:
    """All events of a run; `seen` is set with the first."""
    events = []
    async for event in run.watch():
        events.append(event)
        if seen is not None:
            seen.set()
    return events


def test_client_that_is_closed_by_one_thread_leaves_no_other_waiting(cluster: InProcess) -> None:
    """What was handed over between the last cancellation and the end of the loop was never answered."""
    for is_connected in [False, True] * 5:
        client, started = SyncClient(cluster.transport, cluster.namespace), threading.Event()
        threads = [threading.Thread(target=_start_until_closed, args=(client, started), daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert not is_connected or started.wait(20)

        client.close()
        client.close()

        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)


def _start_until_closed(client: SyncClient, started: threading.Event) -> None:
    with contextlib.suppress(TransportError):
        while True:
            client.start(calculate, Number(1))
            started.set()


def test_watching_what_was_refused_comes_to_an_end(cluster: InProcess, unique: str) -> None:
    """It waited for the end of a run that there never was."""

    async def watched() -> list[facts.Event]:
        async with await _connected(cluster) as client, asyncio.timeout(20):
            await client.session.send(StartRun("nobody-has-it", b"{}", unique))
            while True:
                with contextlib.suppress(RunNotFound):  # not answered yet
                    return await _watched(await client.run(unique))
                await asyncio.sleep(0.05)

    (event,) = asyncio.run(watched())

    assert isinstance(event, facts.RunRefused)


def _until(events: Iterator[facts.Event], kind: type[facts.Event]) -> None:
    for event in events:
        if isinstance(event, kind):
            return
