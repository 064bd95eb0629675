"""What the tail tells about one run until it ends: whether it is known, how often it was held, and how it ended.

Decodes only what can end a wait; whether a run is still held is for the tables to say. A refusal counts only if our own
command caused it: a conflicting start by somebody else leaves the run, and us, untouched. And an end counts for a start
under a chosen id only if the run is the one that was asked for: that of a run with other params
may stand before our refusal, for a coordinator folds events before it answers commands.
"""

import asyncio
from dataclasses import dataclass

from farandole.client.final import FinalWatch
from farandole.client.scan import header, header_text
from farandole.errors import FarandoleError, RecordError
from farandole.events.catalogue import decode, type_name
from farandole.events.commands import StartRun
from farandole.events.facts import RunHeld, RunRefused, RunSettled, RunStarted
from farandole.ids import sha256
from farandole.transport.port import Record

_STARTED = type_name(RunStarted).encode()
_SETTLED = type_name(RunSettled).encode()
_REFUSED = type_name(RunRefused).encode()
_HELD = type_name(RunHeld).encode()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended. `outcome` is that of `RunSettled`, or `refused`; `definition` is the hash it ran under."""

    outcome: str
    reason: str = ""
    output: bytes | None = None
    definition: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """A start that we send. `is_new`: its id was generated here, so that the run cannot have ended before."""

    command: StartRun
    command_id: str
    """The id that a refusal names: of the command, or of what the first agent says of a direct start."""

    is_new: bool
    is_direct: bool = False
    """Whether it is its first step's trigger, of which nobody knows until that step's agent has taken it."""


class Following:
    """Our knowledge of a run; `start` is the start that we sent for it, if any."""

    def __init__(self, start: Start | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._start = start
        self._command = start.command_id.encode() if start else b""
        self._ending: asyncio.Future[Ending] = loop.create_future()
        self._known = asyncio.Event()
        self._result: asyncio.Future[Ending] = loop.create_future()
        self._final = FinalWatch()
        self._ours = asyncio.Event()
        if start is None or start.is_new:
            self._ours.set()
        self._doubt: asyncio.Future[Ending] = loop.create_future()
        self._next_hold: asyncio.Future[None] = loop.create_future()
        self.holds = 0
        """How often it was seen to be held."""

        self.has_begun = False
        """Whether the run's very beginning was seen here, so that nothing of it lies before."""

    @property
    def ending(self) -> Ending | None:
        """How the run ended, if that is known."""
        return self._ending.result() if self._ending.done() and self._ending.exception() is None else None

    async def wait(self, holds: int | None = None) -> Ending | None:
        """Wait for the end; None where the tables must say more.

        That is an end of which it is not clear whether it is ours (`is_in_doubt`, `judge`), or that the run was held
        more often than `holds` (None: never mind).
        """
        return await self._first(self._ending, holds)

    async def wait_for_result(self, holds: int | None = None) -> Ending | None:
        """As `wait`, or for the fact that makes the end certain: a result may be had a little before it."""
        return await self._first(self._result, holds)

    async def _first(self, told: asyncio.Future[Ending], holds: int | None) -> Ending | None:
        while not told.done():
            if self.is_in_doubt or (holds is not None and self.holds > holds and self._ours.is_set()):
                return None
            await asyncio.wait((told, self._doubt, self._next_hold), return_when=asyncio.FIRST_COMPLETED)
        return told.result()

    @property
    def is_in_doubt(self) -> bool:
        """Whether there is an end of which the tables must say whether it is ours."""
        return self._doubt.done()

    def hold(self) -> None:
        """Note that it was held."""
        self.holds += 1
        held, self._next_hold = self._next_hold, asyncio.get_running_loop().create_future()
        if not held.done():
            held.set_result(None)

    async def is_known(self, within: float) -> bool:
        """Whether an event of the run is seen in so many seconds."""
        return await _is_set(self._known, within)

    async def is_ours(self, within: float) -> bool:
        """Whether in so many seconds it is clear that all that comes is about our start, or that it was refused."""
        return await _is_set(self._ours, within)

    def judge(self, is_ours: bool) -> None:
        """What the tables say: whether the run under our id is the one that we asked for."""
        if is_ours:
            self._ours.set()
        if not self._doubt.done():
            return
        ending, self._doubt = self._doubt.result(), asyncio.get_running_loop().create_future()
        if is_ours:
            self.end(ending)

    def end(self, ending: Ending) -> None:
        """Note the end; the first one stands, for terminal is terminal."""
        self._known.set()
        self._ours.set()
        if not self._ending.done():
            self._ending.set_result(ending)
        self._tell(ending)

    def lose(self, error: FarandoleError) -> None:
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
            if self.is_answer(record):
                fact = decode(record.value or b"")
                assert isinstance(fact, RunRefused)
                self.end(Ending("refused", f"{fact.reason}: {fact.detail}"))
            return
        self._known.set()
        self.has_begun |= kind == _STARTED
        if kind == _STARTED and not self._ours.is_set() and self.is_begun_by_us(record):
            self._ours.set()
        if kind == _HELD:
            self.hold()
        last = self._final.take(record)
        if last is not None and self._ours.is_set():
            self._tell(Ending("succeeded", "", last.output, header_text(record, "ce_definition")))
        if kind == _SETTLED:
            fact = decode(record.value or b"")
            assert isinstance(fact, RunSettled)
            self._settle(Ending(fact.outcome, fact.reason, fact.output, header_text(record, "ce_definition")))

    def _settle(self, ending: Ending) -> None:
        if self._ours.is_set():
            self.end(ending)
        elif not self._doubt.done():
            self._doubt.set_result(ending)

    def is_begun_by_us(self, beginning: Record) -> bool:
        """Whether a run begins by our command, or just as we asked for it."""
        if self._start is None or self.is_answer(beginning):
            return True
        try:
            fact = decode(beginning.value or b"")
        except RecordError:
            return False  # a newer coordinator's; the tables will tell
        assert isinstance(fact, RunStarted)
        asked = self._start.command
        return (fact.pipeline, fact.params_hash) == (asked.pipeline, sha256(asked.params))

    def is_answer(self, record: Record) -> bool:
        """Whether a refusal, or a beginning, answers the command that we sent."""
        return bool(self._command) and header(record, "ce_cause") == self._command


async def _is_set(event: asyncio.Event, within: float) -> bool:
    if event.is_set():
        return True
    try:
        async with asyncio.timeout(within):  # not `wait_for`, which may swallow a cancellation before Python 3.12
            await event.wait()
    except TimeoutError:
        return False
    return True
