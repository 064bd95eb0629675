"""The trace that a command belongs to: the caller's, as OpenTelemetry knows it.

Only the API is asked. Without an SDK there is no trace, and the command carries none.
"""

from opentelemetry import trace


def current_traceparent() -> str:
    """The W3C `traceparent` of the caller's current span; empty if there is none."""
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return ""
    return f"00-{trace.format_trace_id(span.trace_id)}-{trace.format_span_id(span.span_id)}-{span.trace_flags:02x}"
