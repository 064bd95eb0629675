"""A span for each attempt that calls a handler, from its turn to its outcome; what follows from it is its child.

Made by the loop, wherever the handler runs: a handler in a child process, or one that was given up, has its span too.
An attempt that is repeated after a crash has a span each time: what happened twice is seen twice.
"""

from msgspec.structs import replace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from farandole.ids import NO_ITEM
from farandole.runtime.attempts import Attempt, Outcome, Succeeded
from farandole.telemetry.tracing import parent, traceparent_of

ERROR_MAX = 500
"""Characters of an error on its span; its fact has all of it."""


class Spans:
    """The open spans of a process, by attempt."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._open: dict[Attempt, Span] = {}

    def begin(self, attempt: Attempt) -> None:
        """An attempt has its turn: its handler, its facts and its triggers carry on the context of its span."""
        call, before = attempt.call, attempt.envelope.traceparent
        span = self._tracer.start_span(
            f"{call.pipeline}/{call.step}", parent(before), SpanKind.CONSUMER, _attributes(attempt)
        )
        self._open[attempt] = span
        if told := traceparent_of(span):
            attempt.call = replace(call, traceparent=told)
            attempt.envelope = replace(attempt.envelope, traceparent=told)

    def end(self, attempt: Attempt, outcome: Outcome | None) -> None:
        """It is over; None if nobody waits for its outcome any more, because its partition went to another process."""
        span = self._open.pop(attempt, None)
        if span is None:
            return
        if outcome is None:
            span.set_attribute("farandole.outcome", "dropped")
        elif isinstance(outcome, Succeeded):
            span.set_attribute("farandole.outcome", "succeeded")
        else:
            span.set_attribute("farandole.outcome", outcome.kind)
            span.set_attribute("farandole.fingerprint", outcome.fingerprint)
            span.set_status(Status(StatusCode.ERROR, outcome.error[:ERROR_MAX]))
        span.end()


def _attributes(attempt: Attempt) -> dict[str, str | int]:
    call = attempt.call
    found: dict[str, str | int] = {
        "farandole.run": call.run,
        "farandole.pipeline": call.pipeline,
        "farandole.step": call.step,
        "farandole.agent": attempt.spec.name,
        "farandole.attempt": call.attempt,
        "farandole.epoch": call.epoch,
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": call.topic,
        "messaging.destination.partition.id": str(call.partition),
        "messaging.kafka.offset": call.offset,
    }
    if call.item != NO_ITEM:
        found["farandole.item"] = call.item
    return found
