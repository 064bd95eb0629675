"""What the tail tells about one run until it ends: whether it is known, and how it ended.

Decodes only what can end a wait. A refusal counts only if our own command caused it: a
conflicting start by somebody else leaves the run, and us, untouched.
"""

import asyncio
from dataclasses import dataclass

from farandole.client.final import FinalWatch
from farandole.client.scan import header
from farandole.errors import TransportError
from farandole.events.catalogue import decode, type_name
from farandole.events.facts import RunRefused, RunSettled, RunStarted
from farandole.transport.port import Record

_STARTED = type_name(RunStarted).encode()
_SETTLED = type_name(RunSettled).encode()
_REFUSED = type_name(RunRefused).encode()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended. `outcome` is that of `RunSettled`, or `refused`; `definition` is the hash it ran under."""

    outcome: str
    reason: str = ""
    output: bytes | None = None
    definition: str = ""


class Following:
    """Our knowledge of a run; `command` is the id of the start command that we sent for it, if any."""

    def __init__(self, command: str = "") -> None:
        self._command = command.encode()
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._known = asyncio.Event()
        self._result: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._final = FinalWatch()
        self.has_begun = False
        """Whether the run's very beginning was seen here, so that nothing of it lies before."""

    @property
    def ending(self) -> Ending | None:
        """How the run ended, if that is known."""
        return self._ending.result() if self._ending.done() and self._ending.exception() is None else None

    async def wait(self) -> Ending:
        """Wait for the end."""
        return await asyncio.shield(self._ending)

    async def wait_for_result(self) -> Ending:
        """Wait for the end, or for the fact that makes it certain: a result may be had a little before the end."""
        return await asyncio.shield(self._result)

    async def is_known(self, within: float) -> bool:
        """Whether an event of the run is seen in so many seconds."""
        if self._known.is_set():
            return True
        try:
            async with asyncio.timeout(within):  # not `wait_for`, which may swallow a cancellation before Python 3.12
                await self._known.wait()
        except TimeoutError:
            return False
        return True

    def end(self, ending: Ending) -> None:
        """Note the end; the first one stands, for terminal is terminal."""
        self._known.set()
        if not self._ending.done():
            self._ending.set_result(ending)
        self._tell(ending)

    def lose(self, error: TransportError) -> None:
        """Nobody will tell how it ends: whoever waits for that is told so."""
        for future in (self._ending, self._result):
            if not future.done():
                future.set_exception(error)
                future.exception()  # seen, even if nobody waits

    def _tell(self, ending: Ending) -> None:
        if not self._result.done():
            self._result.set_result(ending)

    def take(self, record: Record) -> None:
        """Take in a record of `events` about the run."""
        kind = header(record, "ce_type")
        if kind == _REFUSED:
            if self.is_ours(record):
                fact = decode(record.value or b"")
                assert isinstance(fact, RunRefused)
                self.end(Ending("refused", f"{fact.reason}: {fact.detail}"))
            return
        self._known.set()
        self.has_begun |= kind == _STARTED
        if (last := self._final.take(record)) is not None:
            self._tell(Ending("succeeded", "", last.output, header(record, "ce_definition").decode()))
        if kind == _SETTLED:
            fact = decode(record.value or b"")
            assert isinstance(fact, RunSettled)
            self.end(Ending(fact.outcome, fact.reason, fact.output, header(record, "ce_definition").decode()))

    def is_ours(self, refusal: Record) -> bool:
        """Whether a refusal answers the command that we sent."""
        return bool(self._command) and header(refusal, "ce_cause") == self._command
