"""Payloads on their way to the artifact store and back, while the store may be away or full (decision 0102).

A handler's work is not thrown away for it: who has a thread of its own tries again, with pauses that grow, for as long
as anybody waits for the attempt; where it reads, for a minute. Others fail at once, as the attempt does then.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from farandole.errors import StoreError

PAUSE_MIN_S, PAUSE_MAX_S = 0.1, 5.0
"""As a home's (decision 0051): Kafka's `retry.backoff.ms`, and what a person who has mended the store will wait."""

READ_MAX_S = 60.0
"""Longest that a read is tried: one payload that nobody can read must not stop a partition."""

log = logging.getLogger("farandole.runtime")

Payload = Callable[[bytes], bytes]


def _nobody() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Payloads:
    """How large payloads leave the artifact store and get there. `is_awaited`: whether it is worth another try."""

    check_in: Payload
    check_out: Payload
    is_awaited: Callable[[], bool] = _nobody

    def put(self, output: bytes) -> bytes:
        """The output, or its claim once it is stored. Blocks.

        Raises:
            StoreError: it cannot be stored, and nobody waits for it.
        """
        return self._patiently(partial(self.check_in, output), None)

    def get(self, given: bytes) -> bytes:
        """What a claim stands for, or what was given. Blocks.

        Raises:
            StoreError: it cannot be read.
            RecordError: it is not what its claim says.
        """
        return self._patiently(partial(self.check_out, given), READ_MAX_S)

    async def put_async(self, output: bytes) -> bytes:
        """As `put`, on an event loop that others wait on too."""
        return await self._patiently_async(partial(self.check_in, output), None)

    async def get_async(self, given: bytes) -> bytes:
        """As `get`, on an event loop."""
        return await self._patiently_async(partial(self.check_out, given), READ_MAX_S)

    def _patiently(self, ask: Callable[[], bytes], most: float | None) -> bytes:
        for pause in self._tries(most):
            try:
                return ask()
            except StoreError as away:
                if not pause or not self.is_awaited():
                    raise
                _tell(away, pause)
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def _patiently_async(self, ask: Callable[[], bytes], most: float | None) -> bytes:
        for pause in self._tries(most):
            try:
                return ask()
            except StoreError as away:
                if not pause or not self.is_awaited():
                    raise
                _tell(away, pause)
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _tries(self, most: float | None) -> Iterator[float]:
        """The pause after each try; 0 after the last."""
        pause, left = PAUSE_MIN_S, most
        while left is None or left > 0:
            yield pause
            left = None if left is None else left - pause
            pause = min(PAUSE_MAX_S, pause * 2)
        yield 0.0


def _tell(away: StoreError, pause: float) -> None:
    """Once for each that waits."""
    if pause == PAUSE_MIN_S:
        log.warning("a result or an input waits for the artifact store: %s; trying again", away)
