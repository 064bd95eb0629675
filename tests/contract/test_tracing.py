"""Traces, seen by a provider that keeps its spans: one for each attempt, in one trace from caller to last step."""

import asyncio
import itertools
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from farandole import Context, Retry, SyncClient, TerminalStepError, agent, pipeline
from farandole.events.facts import RetryScheduled, StepSucceeded
from farandole.runtime.attempts import Done
from farandole.runtime.working import Workplace
from farandole.telemetry import tracing
from farandole.testing.cluster import wait_until
from farandole.testing.history import check_history, collect
from farandole.testing.inprocess import InProcess
from farandole.transport.memory import MemoryTransport

GATE = threading.Event()
"""Lets `gated` end."""

SEEN: list[tuple[str, str]] = []
"""What handlers saw as their current trace and span."""

WITHIN = timedelta(seconds=30)
ANOTHER = "00-0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f-0aaaaaaaaaaaaaaa-01"
CALLER = "00-000102030405060708090a0b0c0d0e0f-0001020304050607-01"
NUMBERS = itertools.count(1)


class KeptSpan(NonRecordingSpan):
    """A span that remembers what it was told."""

    def __init__(self, name: str, parent: SpanContext, kind: SpanKind, attributes: Mapping[str, Any]) -> None:
        number = next(NUMBERS)
        super().__init__(SpanContext(parent.trace_id or number, number, is_remote=False, trace_flags=TraceFlags(1)))
        self.name, self.parent, self.kind = name, parent, kind
        self.attributes = dict(attributes)
        self.status = StatusCode.UNSET
        self.said = ""
        self.ends = 0

    def set_attribute(self, key: str, value: Any) -> None:
        self.attributes[key] = value

    def set_status(self, status: Any, description: str | None = None) -> None:
        assert isinstance(status, Status)
        self.status, self.said = status.status_code, status.description or ""

    def end(self, end_time: int | None = None) -> None:
        self.ends += 1


@dataclass
class Provider(trace.TracerProvider):
    """As an SDK's, with a list in the place of an exporter."""

    spans: list[KeptSpan] = field(default_factory=list)

    def get_tracer(self, *about: Any, **more: Any) -> trace.Tracer:
        return cast(trace.Tracer, self)

    def start_span(
        self, name: str, context: context.Context, kind: SpanKind, attributes: Mapping[str, Any]
    ) -> KeptSpan:
        self.spans.append(KeptSpan(name, trace.get_current_span(context).get_span_context(), kind, attributes))
        return self.spans[-1]


@agent(retry=Retry(attempts=3, base="10ms"))
def parse(text: str) -> int:
    """Fails once for `again`, for good for `bad`."""
    here = trace.get_current_span().get_span_context()
    SEEN.append((trace.format_trace_id(here.trace_id), trace.format_span_id(here.span_id)))
    if text == "bad":
        raise TerminalStepError("it is bad")
    if text == "again" and len(SEEN) == 1:
        raise ValueError("not yet")
    return len(text)


@agent(timeout="5s")
async def left(size: int) -> int:
    """One of two."""
    here = trace.get_current_span().get_span_context()
    SEEN.append((trace.format_trace_id(here.trace_id), trace.format_span_id(here.span_id)))
    return size


@agent(timeout="5s")
async def right(size: int) -> int:
    """The other."""
    return size


@agent
def join(one: int, other: int) -> int:
    """Fired by the coordinator."""
    return one + other


@pipeline(owner="tests@example.org")
def measured(text: str) -> int:
    """A retry, a fork and a join: every way in which a trigger comes about."""
    size = parse.options(on_dead_letter="fail")(text)
    return join(left(size), right(size))


@agent(retry=Retry(attempts=2, base="2s"))
def later(ctx: Context, number: int) -> int:
    """Fails once."""
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return number


@pipeline(owner="tests@example.org")
def patient(number: int) -> int:
    """One step that waits."""
    return later(number)


@agent(timeout="5s")
async def gated(number: int) -> int:
    """Ends when the test lets it."""
    while not GATE.is_set():  # noqa: ASYNC110 - a thread of the test opens it
        await asyncio.sleep(0.01)
    return number


@pipeline(owner="tests@example.org")
def beside(number: int) -> int:
    """A step that waits for its retry, and one that ends meanwhile."""
    return join(later(number), gated(number))


def written(transport: MemoryTransport, kind: type) -> bool:
    """Whether a fact of that kind is on the log."""
    return any(isinstance(each.fact, kind) for each in collect(transport).events)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    """What an SDK would have set up, before the agents start."""
    made = Provider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: made)
    SEEN.clear()
    return made


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[InProcess]:
    """A deployment of the pipeline, which looks for a provider when its agents start."""
    with InProcess(MemoryTransport(), [measured], namespace="farandole", folder=tmp_path) as it:
        yield it


def run_of(cluster: InProcess, text: str, run_id: str) -> None:
    """Run it to its end, or until it is held, as a child of `CALLER`."""
    token = context.attach(tracing.parent(CALLER))
    try:
        with SyncClient(cluster.transport, cluster.namespace, artifacts=cluster.artifacts) as client:
            client.start(measured, text, run_id=run_id).ended("30s")
    finally:
        context.detach(token)


def test_every_attempt_has_a_span_in_the_trace_of_its_caller(provider: Provider, cluster: InProcess) -> None:
    run_of(cluster, "again", "r-1")

    spans = {(each.attributes["farandole.step"], each.attributes["farandole.attempt"]): each for each in provider.spans}
    assert sorted(spans) == [("join", 1), ("left", 1), ("parse", 1), ("parse", 2), ("right", 1)]
    caller = trace.get_current_span(tracing.parent(CALLER)).get_span_context()
    assert {each.get_span_context().trace_id for each in provider.spans} == {caller.trace_id}
    assert {each.ends for each in provider.spans} == {1}
    first, second = spans["parse", 1], spans["parse", 2]
    assert first.parent.span_id == caller.span_id
    assert second.parent.span_id == first.get_span_context().span_id, "a retry follows from what failed"
    assert spans["left", 1].parent.span_id == second.get_span_context().span_id
    assert spans["join", 1].parent.span_id in {
        spans[step, 1].get_span_context().span_id for step in ("left", "right")
    }, "whichever came last"
    assert first.name == "measured/parse"
    assert first.kind is SpanKind.CONSUMER
    assert first.attributes["farandole.run"] == "r-1"
    assert first.attributes["messaging.destination.name"] == "farandole.inbox.parse"


def test_retry_that_waited_while_a_coordinator_was_replaced_stays_in_its_trace(
    provider: Provider, tmp_path: Path
) -> None:
    """Its context was in the memory of the one before, and the attempt began a trace of its own."""
    transport = MemoryTransport()
    with InProcess(transport, [patient], namespace="farandole", folder=tmp_path) as before:
        token = context.attach(tracing.parent(CALLER))
        try:
            with SyncClient(transport, "farandole", artifacts=before.artifacts) as client:
                client.start(patient, 1, run_id="r-1")
        finally:
            context.detach(token)
        wait_until(lambda: written(transport, RetryScheduled), WITHIN, "the retry to be set")
    with (
        InProcess(transport, [patient], namespace="farandole", folder=tmp_path) as after,
        SyncClient(transport, "farandole", artifacts=after.artifacts) as client,
    ):
        client.run("r-1").ended("30s")

    first, second = sorted(provider.spans, key=lambda each: int(each.attributes["farandole.attempt"]))
    assert second.parent.span_id == first.get_span_context().span_id
    assert second.get_span_context().trace_id == first.get_span_context().trace_id
    assert check_history(collect(transport)) == []


def test_retry_is_a_child_of_what_failed_whatever_else_is_read_meanwhile(provider: Provider, tmp_path: Path) -> None:
    """It became a child of the step that ended last, and went into the trace of who asked for the same run again."""
    GATE.clear()
    transport = MemoryTransport()
    with (
        InProcess(transport, [beside], namespace="farandole", folder=tmp_path) as cluster,
        SyncClient(transport, "farandole", artifacts=cluster.artifacts) as client,
    ):
        with tracing.within(CALLER):
            run = client.start(beside, 1, run_id="r-1")
        wait_until(lambda: written(transport, RetryScheduled), WITHIN, "the retry to be set")
        GATE.set()
        wait_until(lambda: written(transport, StepSucceeded), WITHIN, "the other step to end")
        with tracing.within(ANOTHER):
            client.start(beside, 1, run_id="r-1")
        run.ended("30s")

    spans = {(each.attributes["farandole.step"], each.attributes["farandole.attempt"]): each for each in provider.spans}
    first, second = spans["later", 1], spans["later", 2]
    assert second.parent.span_id == first.get_span_context().span_id
    assert {each.get_span_context().trace_id for each in provider.spans} == {first.get_span_context().trace_id}


def test_span_says_how_its_attempt_ended(provider: Provider, cluster: InProcess) -> None:
    run_of(cluster, "again", "r-1")
    run_of(cluster, "bad", "r-2")

    told = [
        (each.attributes["farandole.outcome"], each.status)
        for each in provider.spans
        if each.attributes["farandole.step"] == "parse"
    ]
    assert told == [
        ("exception", StatusCode.ERROR),
        ("succeeded", StatusCode.UNSET),
        ("exception", StatusCode.ERROR),
    ]
    assert "it is bad" in [each for each in provider.spans if each.said][-1].said


def test_span_of_a_result_that_is_dropped_does_not_say_succeeded(
    provider: Provider, cluster: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The partition was released while its handler ran: another process does the work anew, and both had succeeded."""
    react = Workplace._react

    def late(working: Workplace, done: Done) -> None:
        done.attempt.partition.is_released = True  # as the planner does when the release is committed
        react(working, done)

    monkeypatch.setattr(Workplace, "_react", late)
    with SyncClient(cluster.transport, cluster.namespace, artifacts=cluster.artifacts) as client:
        client.start(measured, "text", run_id="r-1")
        wait_until(lambda: [each for each in provider.spans if each.ends], WITHIN, "the attempt to end")

    assert [each.attributes["farandole.outcome"] for each in provider.spans] == ["dropped"]


def test_what_a_handler_begins_is_a_child_of_its_attempt(provider: Provider, cluster: InProcess) -> None:
    run_of(cluster, "again", "r-1")

    ours = [
        (trace.format_trace_id(each.get_span_context().trace_id), trace.format_span_id(each.get_span_context().span_id))
        for each in provider.spans
        if each.attributes["farandole.step"] in ("parse", "left")
    ]
    assert ours == SEEN
    assert not trace.get_current_span().get_span_context().is_valid


def test_without_a_provider_nothing_is_made_and_the_callers_context_travels_on(cluster: InProcess) -> None:
    SEEN.clear()

    run_of(cluster, "again", "r-1")

    assert tracing.tracer() is None
    assert SEEN
    assert set(SEEN) == {("0" * 32, "0" * 16)}


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "00-xyz-1-01", f"00-{'0' * 32}-{'0' * 16}-01", f"00-{'a' * 32}-{'b' * 16}-fff"],
)
def test_context_that_is_none_begins_a_trace(text: str) -> None:
    assert not trace.get_current_span(tracing.parent(text)).get_span_context().is_valid


def test_context_goes_through_its_text_unchanged() -> None:
    assert tracing.traceparent_of(trace.get_current_span(tracing.parent(CALLER))) == CALLER
