"""One handler called once: its input decoded, its result encoded, whatever goes wrong as a failure.

The same for every executor. Nothing escapes: an exception of the handler is data here, and what it sets
of its context (variables, decimal precision) is gone with it. Knows nothing of threads, processes or the log.
"""

import asyncio
import decimal
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextvars import copy_context
from datetime import timedelta

from msgspec.structs import replace

from farandole.definition.calling import arguments, result_plain
from farandole.definition.context import Context
from farandole.definition.spec import AgentSpec
from farandole.errors import DefinitionError, RecordError, RetryableStepError, TerminalStepError
from farandole.events.avro import Schema
from farandole.runtime.attempts import Call, Failed, Outcome, Succeeded
from farandole.runtime.context import AttemptContext
from farandole.runtime.handlers.storing import Payloads
from farandole.runtime.handlers.traces import place_of, trace_of
from farandole.runtime.writable import writable
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
    return copy_context().run(_run_plain, spec, call, context, payloads)


def _run_plain(spec: AgentSpec, call: Call, context: AttemptContext, payloads: Payloads) -> Outcome:
    # The decimal context is an object, which a copy of the variables shares.
    with decimal.localcontext():
        return _called(spec, call, context, payloads)


def _called(spec: AgentSpec, call: Call, context: AttemptContext, payloads: Payloads) -> Outcome:
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
    """Await an async function, in a task of its own. Its cancellation is passed on: nobody waits any more."""
    with decimal.localcontext():
        return await _awaited(spec, call, context, payloads)


async def _awaited(spec: AgentSpec, call: Call, context: AttemptContext, payloads: Payloads) -> Outcome:
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


def fetched(call: Call, payloads: Payloads) -> Call | Failed:
    """The call with its input as it is, for who hands it to another process; else what any executor says of it."""
    try:
        with _Failing(call):
            given = payloads.get(call.input)
    except _Bad as bad:
        return bad.failure
    return call if given is call.input else replace(call, input=given)


def cancelled_itself() -> Failed:
    """An attempt whose task was cancelled by nobody but its handler."""
    return Failed("exception", "CancelledError: the handler cancelled itself", fingerprint_of("CancelledError"))


def failure_of(error: BaseException) -> Failed:
    """What an exception of a handler says of its attempt; one of a group alone says what it would have said itself.

    The traceback is the group's, which has theirs: those that were only put into it were raised nowhere.
    """
    match tuple(_leaves(error)):
        case (only,):
            failure = _failure_of_one(only)
        case several:
            failure = _failure_of_all([_failure_of_one(each) for each in several])
    is_group = isinstance(error, BaseExceptionGroup)
    return replace(failure, trace=writable(trace_of(error))) if is_group and failure.trace else failure


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, as of `asyncio.TaskGroup`, and in groups of it; another is its own and only one."""
    open_groups = [error]
    while open_groups:
        match open_groups.pop():
            case BaseExceptionGroup(exceptions=inner):
                open_groups.extend(reversed(inner))
            case leaf:
                yield leaf


def _failure_of_all(failures: Sequence[Failed]) -> Failed:
    """One failure for several: worth another try if all are, when the last of them may be tried.

    Its fingerprint knows neither their order nor how often each came: that differs from attempt to attempt.
    """
    kinds = {each.kind for each in failures}
    kind = next(kind for kind in ("memory", "contract", "exception") if kind in kinds)
    waits = [each.retry_after for each in failures if each.retry_after is not None]
    shown = "; ".join(dict.fromkeys(each.error for each in failures))[:ERROR_MAX]
    causes = sorted({each.fingerprint for each in failures})
    fingerprint = causes[0] if len(causes) == 1 else _digest("\n".join(causes))
    trace = next((each.trace for each in failures if each.trace), "")  # whether there is one: that of the group is told
    retryable = all(each.retryable for each in failures)
    return Failed(kind, shown, fingerprint, retryable, max(waits, default=None), trace)


def _failure_of_one(error: BaseException) -> Failed:
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
    shown = writable(f"{name}: {text}"[: ERROR_MAX - 200] + (f" ({place[0]})" if place[0] else ""))
    trace = writable(trace_of(error))
    return Failed(kind, shown[:ERROR_MAX], fingerprint_of(name, text, place[1]), retryable, retry_after, trace)


def _said(error: BaseException) -> str:
    """What an exception says of itself; some cannot."""
    try:
        return str(error) or "(no message)"
    except Exception as worse:
        return f"(its text cannot be had: {type(worse).__name__})"


def timed_out(call: Call) -> Failed:
    """An attempt that took too long."""
    error = f"expected {call.step} to be done in {call.timeout_s:g} s, but it was not. The attempt is given up"
    return Failed("timeout", error, fingerprint_of("timeout", call.step))


def overtaken(call: Call) -> Failed:
    """An attempt that its step's deadline gave up, for whose step the next one has come."""
    error = f"expected {call.step} to be done by its deadline, but it was not, and another attempt was asked for"
    return Failed("timeout", f"{error}. The attempt is given up", fingerprint_of("timeout", call.step))


def fingerprint_of(*parts: str) -> str:
    """Groups failures of one cause: stable over processes, and over the numbers in a message."""
    normalised = "\n".join(_VARIABLE.sub("#", part) for part in parts)
    return _digest(normalised)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


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
            told = writable(f"input: {error}")[:ERROR_MAX]
            raise _Bad(Failed("undecodable", told, fingerprint, False)) from error
        if isinstance(error, Exception):
            # The artifact store is away, or a constructor of the user's failed in a way of its own.
            raise _Bad(failure_of(error)) from error


def _given(spec: AgentSpec, call: Call, context: Context, fetched: bytes) -> Mapping[str, object]:
    given = arguments(spec, Schema.parse(call.input_schema).decode_or_json(fetched), call.whole)
    if spec.context_parameter is not None:
        given[spec.context_parameter] = context
    return given


def _handle(spec: AgentSpec, given: Mapping[str, object]) -> object:
    try:
        return spec.handler(**given)
    except BaseException as error:
        raise _Bad(failure_of(error)) from error


def _encoded(spec: AgentSpec, call: Call, result: object) -> bytes:
    try:
        return _written(spec, call, result_plain(spec, result))
    except RecordError as bad:
        told = writable(str(bad))
        raise _Bad(Failed("contract", told[:ERROR_MAX], fingerprint_of("contract", told, call.step), False)) from bad
    except Exception as error:
        raise _Bad(failure_of(error)) from error


def _written(spec: AgentSpec, call: Call, plain: object) -> bytes:
    """A result as the run's definition describes it, whatever the agent's code has become since the run began.

    Where it does not fit as it is, it is what a reader of that schema finds in what the agent's own schema writes: a
    field that is new is left out, one that is gone has its default. That comes second, because it minds how types
    are called. A number where the other has an instant is neither's value, so that attempt fails, and may be replayed.
    """
    wanted = Schema.parse(call.output_schema)
    try:
        return wanted.encode(plain)
    except RecordError:
        if spec.output_schema == call.output_schema:
            raise
    own = Schema.parse(spec.output_schema)
    body = own.encode_body(plain)
    try:
        return wanted.encode(wanted.decode_version(body, own))
    except RecordError as bad:
        raise RecordError(f"result, of which the run's definition has another type: {bad}", reason="contract") from bad
