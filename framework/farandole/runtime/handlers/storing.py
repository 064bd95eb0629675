"""Payloads on their way to the artifact store and back, while the store may be away or full (decision 0102).

A handler's work is not thrown away for it: who has a thread of its own tries again, with pauses that grow, for as long
as anybody waits for the attempt; where it reads, for a minute. Others fail at once, as the attempt does then.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from farandole.errors import StoreError

PAUSE_MIN_S, PAUSE_MAX_S = 0.1, 5.0
"""As a home's (decision 0051): Kafka's `retry.backoff.ms`, and what a person who has mended the store will wait."""

READ_MAX_S = 60.0
"""Longest that a read is tried: one payload that nobody can read must not stop a partition."""

log = logging.getLogger("farandole.runtime")

Payload = Callable[[bytes], bytes]


def _nobody() -> bool:
    return False


class Payloads(msgspec.Struct, frozen=True):
    """How large payloads leave the artifact store and get there. `is_awaited`: whether it is worth another try."""

    check_in: Payload
    check_out: Payload
    is_awaited: Callable[[], bool] = _nobody

    def put(self, output: bytes) -> bytes:
        """The output, or its claim once it is stored. Blocks.

        Raises:
            StoreError: it cannot be stored, and nobody waits for it.
        """
        try:
            return self.check_in(output)
        except StoreError as away:
            return self._again(partial(self.check_in, output), _pauses(None), away)

    def get(self, given: bytes) -> bytes:
        """What a claim stands for, or what was given. Blocks.

        Raises:
            StoreError: it cannot be read.
            RecordError: it is not what its claim says.
        """
        try:
            return self.check_out(given)
        except StoreError as away:
            return self._again(partial(self.check_out, given), _pauses(READ_MAX_S), away)

    async def put_async(self, output: bytes) -> bytes:
        """As `put`, on an event loop that others wait on too."""
        try:
            return self.check_in(output)
        except StoreError as away:
            return await self._again_async(partial(self.check_in, output), _pauses(None), away)

    async def get_async(self, given: bytes) -> bytes:
        """As `get`, on an event loop."""
        try:
            return self.check_out(given)
        except StoreError as away:
            return await self._again_async(partial(self.check_out, given), _pauses(READ_MAX_S), away)

    def _again(self, ask: Callable[[], bytes], pauses: Iterator[float], away: StoreError) -> bytes:
        while (pause := self._pause(pauses, away)) is not None:
            time.sleep(pause)
            try:
                return ask()
            except StoreError as still:
                away = still
        raise away

    async def _again_async(self, ask: Callable[[], bytes], pauses: Iterator[float], away: StoreError) -> bytes:
        while (pause := self._pause(pauses, away)) is not None:
            await asyncio.sleep(pause)
            try:
                return ask()
            except StoreError as still:
                away = still
        raise away

    def _pause(self, pauses: Iterator[float], away: StoreError) -> float | None:
        """How long to wait for the next try; None if there is to be none."""
        pause = next(pauses, None) if self.is_awaited() else None
        if pause == PAUSE_MIN_S:  # once for each that waits
            log.warning("a result or an input waits for the artifact store: %s; trying again", away)
        return pause


def _pauses(most: float | None) -> Iterator[float]:
    """They grow; all of them last `most` together, for ever if that is None."""
    pause, left = PAUSE_MIN_S, most
    while left is None or left > 0:
        yield pause
        left = None if left is None else left - pause
        pause = min(PAUSE_MAX_S, pause * 2)
