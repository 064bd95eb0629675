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


def effect(kind: str, **fields: object) -> None:
    """Something was done that cannot be taken back; invariants find it as `seen.of(kind)`."""
    tell = _tell.get()
    if tell is not None:
        tell(kind, fields)


@contextmanager
def telling(tell: Tell) -> Iterator[None]:
    """Effects within go to `tell`."""
    token = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(token)
