"""Where an exception of a handler came from: the place that travels with its failure, and the traceback for the log.

Frames of ours say nothing to whoever wrote the handler, and are left out of both.
"""

import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import PurePath

from farandole.errors import RetryableStepError, TerminalStepError

TRACE_MAX = 16_000
"""Characters of a traceback in the log, its end: some eighty frames, with their lines of code."""

FRAMES_MAX = 50
"""Frames of each exception, the innermost: an endless recursion has a thousand that say the same."""

_OURS = str(PurePath(__file__).parents[2])
_INSTALLED = tuple({sysconfig.get_path(each) for each in ("stdlib", "platstdlib", "purelib", "platlib")})
"""Folders of the interpreter and of what pip installs: a mistake is rarely theirs."""


def place_of(error: BaseException) -> tuple[str, str]:
    """Where it was raised, for people (file:line in function) and for the fingerprint (file:function).

    People are told the last line of the project's own code, which called what raised. The fingerprint has where it was
    raised: it groups failures across versions of ours, and did so before people were told better.
    """
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_OURS)]
    if not frames:
        return "", ""
    last = frames[-1]
    own = next((f for f in reversed(frames) if not f.filename.startswith((*_INSTALLED, "<frozen "))), last)
    return f"{PurePath(own.filename).name}:{own.lineno} in {own.name}", f"{PurePath(last.filename).name}:{last.name}"


def trace_of(error: BaseException) -> str:
    """Its traceback with those of its causes; empty for what a handler says on purpose, which says enough."""
    is_said = isinstance(error, TerminalStepError | RetryableStepError)
    if is_said and error.__cause__ is None and error.__context__ is None:
        return ""
    try:
        told = traceback.TracebackException.from_exception(error, limit=-FRAMES_MAX)
        for each in _chained(told):
            each.stack = traceback.StackSummary.from_list([_plain(frame) for frame in each.stack if _is_theirs(frame)])
        text = "".join(told.format()).rstrip()
    except Exception as worse:  # code of the user's: its exceptions may not even be printable
        return f"(its traceback cannot be had: {type(worse).__name__})"
    return text if len(text) <= TRACE_MAX else f"… {text[-TRACE_MAX:]}"


def _is_theirs(frame: traceback.FrameSummary) -> bool:
    return not frame.filename.startswith(_OURS)


def _plain(frame: traceback.FrameSummary) -> traceback.FrameSummary:
    """Without columns: to draw carets Python parses the line, which two threads cannot do at once.

    Source: CPython issue 106905, `SystemError: AST constructor recursion depth mismatch`, met on 3.11.7.
    """
    return traceback.FrameSummary(frame.filename, frame.lineno, frame.name, line=frame.line)


def _chained(told: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    waiting = [told]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += [
            other for other in (each.__cause__, each.__context__, *(each.exceptions or ())) if other is not None
        ]
