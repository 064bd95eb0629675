"""Functions that a simulation is given: which can be registered, and whether an invariant holds of a world.

One that would be called and never run is refused by name: of a check that checks nothing, all clear is a lie.
"""

import inspect
import traceback
from collections.abc import Callable
from pathlib import PurePath
from typing import NoReturn

from farandole.errors import DefinitionError, FarandoleError
from farandole.testing.simulated.seen import Seen
from farandole.testing.simulated.story import shown

Invariant = Callable[[Seen], object]


def refuse_unrun(given: Callable[..., object]) -> None:
    """See that calling a function runs it.

    Raises:
        DefinitionError: it is a coroutine function or a generator: a call of it makes an object, and runs nothing.
    """
    for is_one, kind in (
        (inspect.iscoroutinefunction, "an async one"),
        (inspect.isasyncgenfunction, "an async generator"),
        (inspect.isgeneratorfunction, "a generator"),
    ):
        if is_one(given):
            _refuse(given, kind)


def refuse_pending(given: Callable[..., object], result: object) -> None:
    """See that what a function returned has been run.

    Raises:
        DefinitionError: it has not, as with a callable whose `__call__` is async.
    """
    if inspect.iscoroutine(result):
        result.close()  # else Python warns that it was never awaited
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        _refuse(given, f"one that returns a {type(result).__name__}")


def asked(given: Callable[..., object], *arguments: object) -> object:
    """What a function of the author's returns that checks nothing: one that fails says nothing of the handlers.

    Raises:
        DefinitionError: it raised something, an exit included, which would end a command as if all were well.
    """
    try:
        return given(*arguments)
    except FarandoleError:
        raise
    except (Exception, SystemExit) as error:
        expected = f"expected {name_of(given)} to do its part, but it raised {_told(given, error)}"
        raise DefinitionError(f"{expected}. Nothing more was lived", place=_place(given)) from error


def broken(check: Invariant, seen: Seen) -> tuple[str, str] | None:
    """The invariant's name and what it says, if it does not hold.

    Whatever it raises says so: what `pytest.fail` and `pytest.skip` raise is no `Exception`, and a skipped test is
    green, as is a command that `sys.exit()` has ended.

    Raises:
        DefinitionError: it returned something that has yet to be run.
    """
    name = name_of(check)
    try:
        held = check(seen)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return name, _told(check, error)
    refuse_pending(check, held)
    return (name, "it returned False") if held is False else None


def every_run_ends(seen: Seen) -> None:
    """The invariant that each simulation has."""
    stuck = [run.id for run in seen.runs if run.outcome is None]
    assert not stuck, f"{', '.join(stuck)} never ended, though faults had"


def name_of(check: Callable[..., object]) -> str:
    """As a failure names it."""
    return str(getattr(check, "__name__", repr(check))).lstrip("_")


def _told(check: Callable[..., object], error: BaseException) -> str:
    """What was raised, and where: a bare `assert x` says nothing more, and one name may have five of them."""
    text = shown(str(error).strip().partition("\n")[0])
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if check is every_run_ends:
        return told
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first one is ours
    code = getattr(check, "__code__", None)
    own = [frame for frame in frames if code is not None and frame.filename == code.co_filename] or frames
    return f"{told} ({PurePath(own[-1].filename).name}:{own[-1].lineno})" if own else told


def _refuse(given: Callable[..., object], kind: str) -> NoReturn:
    expected = f"expected {name_of(given)} to be a plain function, but found {kind}"
    raise DefinitionError(f"{expected}, of which nothing would be run", place=_place(given))


def _place(given: Callable[..., object]) -> str:
    code = getattr(given, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
