"""An event loop on which waiting costs nothing: instead of sleeping it moves its own clock.

`await asyncio.sleep(30)` in a handler ends at once. Waiting for threads or sockets without a
time-out still waits; with one, the time-out comes first.
"""

import asyncio
import selectors
from collections.abc import Callable


class _Jumping(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.jump: Callable[[float], None] = lambda _: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self.jump(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is the machine's, plus all that was not waited for."""

    def __init__(self) -> None:
        selector = _Jumping()
        self._saved = 0.0
        super().__init__(selector)
        selector.jump = self._jump

    def time(self) -> float:
        """Seconds that never go back."""
        return super().time() + self._saved

    def _jump(self, by: float) -> None:
        self._saved += by
