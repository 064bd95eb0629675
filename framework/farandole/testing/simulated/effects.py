"""What handlers did to the world outside, as the stand-ins of a test tell it.

    class FakeBank:
        def charge(self, order: str, key: str) -> None:
            effect("charged", order=order, key=key)

Outside a simulated attempt `effect` does nothing, so that a stand-in can serve other tests too.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta

from farandole.definition.context import FencingToken


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing done: `fields` as the stand-in gave them, the rest is the attempt that did it.

    `at` is virtual time since the world began; `process` is who called the handler.
    """

    kind: str
    fields: Mapping[str, object]
    run: str
    step: str
    item: int
    attempt: int
    token: FencingToken
    process: str
    at: timedelta


Tell = Callable[[str, Mapping[str, object]], None]

_tell: ContextVar[Tell | None] = ContextVar("farandole_simulated_effect", default=None)

_under_way: list[Tell] = []
"""The attempt that is being called, for threads that a handler starts: `run_in_executor` and `threading.Thread` take no
context along. There is one at most, because a simulation calls one handler at a time."""


def effect(kind: str, **fields: object) -> None:
    """Something was done that cannot be taken back; invariants find it as `seen.of(kind)`.

    May be called from any thread that the handler waits for.
    """
    tell = _tell.get() or next(iter(_under_way), None)
    if tell is not None:
        tell(kind, fields)


@contextmanager
def telling(tell: Tell) -> Iterator[None]:
    """Effects within go to `tell`, also those of threads."""
    token = _tell.set(tell)
    _under_way.append(tell)
    try:
        yield
    finally:
        _under_way.clear()
        _tell.reset(token)
