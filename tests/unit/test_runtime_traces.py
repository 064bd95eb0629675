"""Where a failure of a handler came from, for people, for its fingerprint and for the log."""

import ast
import json
import traceback
from pathlib import Path

import pytest

from farandole.definition.loading import load_module
from farandole.errors import RetryableStepError, TerminalStepError
from farandole.runtime.handlers.calls import failure_of
from farandole.runtime.handlers.traces import FRAMES_MAX, TRACE_MAX, place_of, trace_of


def raised(work: object) -> BaseException:
    assert callable(work)
    try:
        work()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def test_place_is_the_last_line_of_the_project_s_own_code(tmp_path: Path, unique: str) -> None:
    (tmp_path / f"unit_{unique}.py").write_text("import json\n\ndef read():\n    return json.loads('{')\n")
    module = load_module(tmp_path / f"unit_{unique}.py")

    error = raised(vars(module)["read"])

    assert place_of(error)[0] == f"unit_{unique}.py:4 in read"


def test_fingerprint_has_where_it_was_raised_as_in_earlier_versions() -> None:
    """Failures on a log from before an upgrade and after it are of one group."""
    error = raised(lambda: json.loads("{"))

    assert place_of(error)[1] == "decoder.py:raw_decode"
    assert failure_of(error).fingerprint == "148c9f3aacd1d8ab"


def test_traceback_of_the_cause_is_there_and_no_frame_of_ours() -> None:
    def wraps() -> None:
        try:
            load_module(Path("/nowhere/at_all.py"))
        except Exception as cause:
            raise ValueError("no such day") from cause

    told = trace_of(raised(wraps))

    assert "FileNotFoundError" in told
    assert told.endswith("ValueError: no such day")
    assert "in wraps" in told
    assert "loading.py" not in told


def test_traceback_parses_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Carets are drawn by `ast`, which met itself in another thread: a command ended with a SystemError."""
    parsed: list[object] = []
    monkeypatch.setattr(ast, "parse", lambda *words, **more: parsed.append(words))

    told = trace_of(raised(lambda: json.loads("{")))

    assert "in raw_decode" in told
    assert not parsed
    assert "^" not in told


@pytest.mark.parametrize("kind", [TerminalStepError, RetryableStepError])
def test_what_a_handler_says_on_purpose_needs_no_traceback(kind: type[Exception]) -> None:
    def refuses() -> None:
        raise kind("expected a name")

    assert trace_of(raised(refuses)) == ""


def test_endless_recursion_is_told_within_bounds() -> None:
    def again(text: str) -> str:
        return again(text + "x")

    told = trace_of(raised(lambda: again("")))

    assert "RecursionError" in told
    assert told.count("File ") <= FRAMES_MAX
    assert len(trace_of(raised(lambda: int("7" * 2 * TRACE_MAX + "x")))) <= TRACE_MAX + 2


def test_exception_that_cannot_be_printed_costs_the_traceback_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise LookupError

    monkeypatch.setattr(traceback.TracebackException, "from_exception", broken)

    assert "LookupError" in trace_of(ValueError("x"))


def test_traceback_of_a_group_has_where_it_was_raised_and_where_each_of_it_was() -> None:
    """Exceptions that were put into a group without being raised left a log line without a single frame."""

    def fails() -> None:
        raise LookupError("raised")

    def raises_group() -> None:
        caught = [raised(fails), ValueError("only put into it")]
        raise BaseExceptionGroup("several", caught)

    def raises_one() -> None:
        raise ExceptionGroup("one", [ValueError("only put into it")])

    told, of_one = failure_of(raised(raises_group)), failure_of(raised(raises_one))

    assert "in raises_group" in told.trace
    assert "in fails" in told.trace
    assert "ValueError: only put into it" in told.trace
    assert told.error.startswith("LookupError: raised")
    assert "in raises_one" in of_one.trace


def test_group_of_what_a_handler_says_on_purpose_needs_no_traceback() -> None:
    def refuses() -> None:
        raise ExceptionGroup("both", [TerminalStepError("no name"), RetryableStepError("busy")])

    assert failure_of(raised(refuses)).trace == ""
