"""Spans and trace context, through OpenTelemetry's API alone: where no SDK was set up, nothing is made.

Contexts travel as W3C `traceparent`. Knows nothing of attempts, records or settings.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, Tracer

NAME = "farandole"
"""Of the instrumentation."""

FLAGS_CHARACTERS = 2
"""Hexadecimal. Source: W3C Trace Context, version 00."""


def tracer() -> Tracer | None:
    """What makes spans in this process; None where no SDK was set up, by code or by `opentelemetry-instrument`."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    return provider.get_tracer(NAME)


def current_traceparent() -> str:
    """The context of the caller's current span; empty if there is none."""
    return traceparent_of(trace.get_current_span())


def traceparent_of(span: Span) -> str:
    """The context of a span; empty if it is none."""
    it = span.get_span_context()
    if not it.is_valid:
        return ""
    return f"00-{trace.format_trace_id(it.trace_id)}-{trace.format_span_id(it.span_id)}-{it.trace_flags:02x}"


def parent(traceparent: str) -> context.Context:
    """A context in which a span is a child of `traceparent`, or begins a trace where that is empty or malformed."""
    try:
        _, trace_id, span_id, flags = traceparent.split("-")[:4]
        it = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    except ValueError:
        return context.Context()
    if len(flags) != FLAGS_CHARACTERS:  # ours would have as many, and what reads them refuses that
        return context.Context()
    return trace.set_span_in_context(NonRecordingSpan(it), context.Context())


def within(traceparent: str) -> AbstractContextManager[None]:
    """While it is entered, what this thread or task begins is a child of `traceparent`."""
    return nullcontext() if not traceparent or tracer() is None else _attached(traceparent)


@contextmanager
def _attached(traceparent: str) -> Iterator[None]:
    token = context.attach(parent(traceparent))
    try:
        yield
    finally:
        context.detach(token)
