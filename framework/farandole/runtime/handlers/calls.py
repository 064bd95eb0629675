"""One handler called once: its input decoded, its result encoded, whatever goes wrong as a failure.

The same for every executor. Nothing escapes: an exception of the handler is data here. Knows
nothing of threads, processes or the log.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from datetime import timedelta

from farandole.definition.calling import arguments, result_plain
from farandole.definition.context import Context
from farandole.definition.spec import AgentSpec
from farandole.errors import DefinitionError, RecordError, RetryableStepError, TerminalStepError
from farandole.events.avro import Schema, SchemaBook
from farandole.events.framing import SINGLE_OBJECT
from farandole.runtime.attempts import Call, Failed, Outcome, Succeeded
from farandole.runtime.context import AttemptContext
from farandole.runtime.handlers.storing import Payloads
from farandole.runtime.handlers.traces import place_of, trace_of
from farandole.telemetry.tracing import within

ERROR_MAX = 4_000
"""Characters of an error that travel with a failure."""

_VARIABLE = re.compile(r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\d+")
"""What differs from one failure to the next of the same cause: addresses, UUIDs, numbers."""


class _Bad(Exception):
    """Carries a failure out of the steps before and after the handler."""

    def __init__(self, failure: Failed) -> None:
        super().__init__(failure.error)
        self.failure = failure


def run_plain(spec: AgentSpec, call: Call, context: AttemptContext, payloads: Payloads) -> Outcome:
    """Call a plain function."""
    try:
        with _Failing(call):
            given = _given(spec, call, context, payloads.get(call.input))
        with within(call.traceparent):
            result = _handle(spec, given)
        output = _encoded(spec, call, result)
        with _Failing(call):
            return Succeeded(payloads.put(output), tuple(context.published))
    except _Bad as bad:
        return bad.failure
    except BaseException as error:  # an exit that a constructor of the user's asks for, say: its thread goes on
        return failure_of(error)


async def run_async(spec: AgentSpec, call: Call, context: AttemptContext, payloads: Payloads) -> Outcome:
    """Await an async function. Cancellation of the task is passed on: it means that nobody waits any more."""
    try:
        with _Failing(call):
            given = _given(spec, call, context, await payloads.get_async(call.input))
        try:
            with within(call.traceparent):
                result = await spec.handler(**given)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return cancelled_itself()
        except BaseException as error:
            return failure_of(error)
        output = _encoded(spec, call, result)
        with _Failing(call):
            return Succeeded(await payloads.put_async(output), tuple(context.published))
    except _Bad as bad:
        return bad.failure
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return failure_of(error)


def cancelled_itself() -> Failed:
    """An attempt whose task was cancelled by nobody but its handler."""
    return Failed("exception", "CancelledError: the handler cancelled itself", fingerprint_of("CancelledError"))


def failure_of(error: BaseException) -> Failed:
    """What an exception of a handler says of its attempt."""
    kind, retryable, retry_after = "exception", True, None
    match error:
        case TerminalStepError():
            retryable = False
        case RetryableStepError(retry_after=timedelta() as after):
            retry_after = after
        case MemoryError():
            kind = "memory"
        case DefinitionError():
            kind, retryable = "contract", False
        case _:
            pass
    name, place = type(error).__qualname__, place_of(error)
    text = _said(error)
    shown = _writable(f"{name}: {text}"[: ERROR_MAX - 200] + (f" ({place[0]})" if place[0] else ""))
    trace = _writable(trace_of(error))
    return Failed(kind, shown[:ERROR_MAX], fingerprint_of(name, text, place[1]), retryable, retry_after, trace)


def _said(error: BaseException) -> str:
    """What an exception says of itself; some cannot."""
    try:
        return str(error) or "(no message)"
    except Exception as worse:
        return f"(its text cannot be had: {type(worse).__name__})"


def _writable(text: str) -> str:
    """Text that has a form in UTF-8: halves of surrogate pairs, as of a truncated emoji in JSON, are written out."""
    return text.encode(errors="backslashreplace").decode()


def timed_out(call: Call) -> Failed:
    """An attempt that took too long."""
    error = f"expected {call.step} to be done in {call.timeout_s:g} s, but it was not. The attempt is given up"
    return Failed("timeout", error, fingerprint_of("timeout", call.step))


def fingerprint_of(*parts: str) -> str:
    """Groups failures of one cause: stable over processes, and over the numbers in a message."""
    normalised = "\n".join(_VARIABLE.sub("#", part) for part in parts)
    return hashlib.sha256(normalised.encode(errors="replace")).hexdigest()[:16]


class _Failing:
    """What goes wrong on the way to the handler or from it to the store is a failure of the attempt.

    A class, because a generator as context manager costs three times as much, and this is entered twice per attempt.
    """

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, RecordError):
            fingerprint = fingerprint_of("undecodable", error.reason, self._call.step)
            told = _writable(f"input: {error}")[:ERROR_MAX]
            raise _Bad(Failed("undecodable", told, fingerprint, False)) from error
        if isinstance(error, Exception):
            # The artifact store is away, or a constructor of the user's failed in a way of its own.
            raise _Bad(failure_of(error)) from error


def _given(spec: AgentSpec, call: Call, context: Context, fetched: bytes) -> Mapping[str, object]:
    given = arguments(spec, _decoded(call.input_schema, fetched))
    if spec.context_parameter is not None:
        given[spec.context_parameter] = context
    return given


def _decoded(schema: str, value: bytes) -> object:
    """The plain input: framed Avro, or the JSON of somebody who repaired it."""
    known = Schema.parse(schema)
    return known.decode(value) if value.startswith(SINGLE_OBJECT) else SchemaBook([known]).decode_as(known, value)


def _handle(spec: AgentSpec, given: Mapping[str, object]) -> object:
    try:
        return spec.handler(**given)
    except BaseException as error:
        raise _Bad(failure_of(error)) from error


def _encoded(spec: AgentSpec, call: Call, result: object) -> bytes:
    try:
        return Schema.parse(call.output_schema).encode(result_plain(spec, result))
    except RecordError as bad:
        told = _writable(str(bad))
        raise _Bad(Failed("contract", told[:ERROR_MAX], fingerprint_of("contract", told, call.step), False)) from bad
    except Exception as error:
        raise _Bad(failure_of(error)) from error
