"""A run as its caller holds it: wait for the result, watch, cancel, ask how it stands.

Waiting costs nothing but a place in the shared tail. Only where a run may have ended before
we began to follow it (an id chosen by the caller, a run somebody else started) the tables are
read once: all that was committed before is in them, all that comes later is on the tail.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing, closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Literal, TypeVar

from farandole.client.arguments import limit_of, require_when_held
from farandole.client.following import Ending, Following, Start
from farandole.client.lookup import RunStatus, head_of, is_answered, settled_of, state_of, status_of
from farandole.client.query import goes_on
from farandole.client.scan import BEGINNING, header, scan, span
from farandole.client.session import Session
from farandole.client.tail import Subscription
from farandole.definition.policy import duration_text
from farandole.errors import (
    FarandoleError,
    RecordError,
    RunCancelled,
    RunError,
    RunFailed,
    RunHeld,
    RunNotFound,
    RunRefused,
    RunTimedOut,
    WaitTimedOut,
)
from farandole.events.catalogue import decode, type_name
from farandole.events.commands import CancelRun
from farandole.events.facts import Event, RunSettled, RunStarted
from farandole.events.facts import RunRefused as Refusal
from farandole.kernel.state import Run as State
from farandole.transport.port import Record, TopicPartition

R = TypeVar("R")
T = TypeVar("T")

WhenHeld = Literal["raise", "wait"]
"""What who waits for a run does when it is held: be told at once, or wait for what a person makes of it."""

GRACE = 0.25
"""How long a start under a chosen id may stay unanswered before the tables are read, seconds.

A coordinator answers in some 10 ms, and reading a partition costs more than that.
"""

LOOK = 1.0
"""How long it may take to tell whose time-out has passed how the run stands, seconds.

Reading a table takes up to half a second on Kafka.
"""

TAKEN = 10.0
"""How long a cancellation waits until a run that was started directly is known, seconds: an agent's take-over."""

_ERRORS: dict[str, type[RunError]] = {
    "refused": RunRefused,
    "failed": RunFailed,
    "cancelled": RunCancelled,
    "timed_out": RunTimedOut,
}
_Wait = Callable[[int | None], Awaitable[Ending | None]]
_STARTED = type_name(RunStarted).encode()
_SETTLED = type_name(RunSettled).encode()
_REFUSED = type_name(Refusal).encode()


@dataclass(frozen=True, slots=True)
class Followed:
    """A run and how we follow it; `start` if it is ours."""

    run: str
    home: int
    following: Following
    subscription: Subscription
    start: Start | None

    @property
    def is_new(self) -> bool:
        """Whether nothing of the run can lie before we followed it."""
        return self.start is not None and self.start.is_new


async def follow(session: Session, run_id: str, start: Start | None = None) -> Followed:
    """Follow a run from now on; before its start command is sent, so that nothing is missed."""
    home = await session.home(run_id)
    following = Following(start)
    subscription = await session.tail.follow(run_id, home, following.take, following.lose)
    return Followed(run_id, home, following, subscription, start)


class Run(Generic[R]):
    """One run of a pipeline whose result is an `R`; made by `Client.start` and `Client.run`."""

    def __init__(
        self,
        session: Session,
        followed: Followed,
        read: Callable[[Ending], Awaitable[R]],
        *,
        ends_early: bool = False,
    ) -> None:
        self.id = followed.run
        self._session = session
        self._followed = followed
        self._read = read
        self._ends_early = ends_early
        self._looked_up = False
        self._holds_told = 0

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    async def result(self, timeout: str | timedelta | None = None, *, held: WhenHeld = "raise") -> R:
        """Wait for the end and return the pipeline's result.

        None where the pipeline has no result, or the step that gives it was skipped (which a type `T | None`
        tells, and a dead letter with `on_dead_letter: skip` may cause in a `partial` run).

        Raises:
            RunRefused, RunFailed, RunCancelled, RunTimedOut: so it ended, with the reason.
            RunHeld: it waits for a person, at the latest `hold_max` of its pipeline. With `held="wait"` the wait goes
                on; so it does where it is asked again, until the run ends or is held once more.
            WaitTimedOut: `timeout` passed, and the run goes on, or its result could not be read by then.
            RunNotFound: nothing is known of a run that was not started here.
            RecordError: its end is a record that this client cannot read; a newer coordinator wrote it.
            TransportError: the client was closed meanwhile, or the log is lost to this process.
            TypeError, ValueError: `timeout` is no text such as `10s` and no timedelta, or `held` is another word.
        """
        return await self._within(timeout, self._result(held))

    async def _result(self, held: WhenHeld) -> R:
        following = self._followed.following
        ending = await self._ended(following.wait_for_result if self._ends_early else following.wait, held)
        if ending.outcome in _ERRORS:
            text = f"run {self.id}: expected a result, but it {_told(ending)}"
            raise _ERRORS[ending.outcome](text, run_id=self.id)
        return await self._read(ending)

    async def ended(self, timeout: str | timedelta | None = None, *, held: WhenHeld = "raise") -> Ending:
        """Wait for the end, whatever it is.

        Raises:
            RunHeld: it waits for a person; as `result`.
            WaitTimedOut: `timeout` passed; the run goes on.
            TypeError, ValueError: as `result`.
            RunNotFound: nothing is known of a run that was not started here.
            RecordError: its end is a record that this client cannot read; a newer coordinator wrote it.
            TransportError: the client was closed meanwhile, or the log is lost to this process.
        """
        return await self._within(timeout, self._ended(self._followed.following.wait, held))

    async def _within(self, timeout: str | timedelta | None, work: Coroutine[object, object, T]) -> T:
        with closing(work):  # a wrong `timeout` leaves it unasked
            limit = limit_of(timeout)
            clock = asyncio.timeout(limit.total_seconds() if limit else None)
            try:
                async with clock:
                    return await work
            except TimeoutError:
                if limit is None or not clock.expired():
                    raise  # somebody else's: of a store of artifacts, say
                raise WaitTimedOut(await self._waited(duration_text(limit)), run_id=self.id) from None

    async def _waited(self, limit: str) -> str:
        if self._followed.following.ending is not None:
            return f"run {self.id}: expected its result within {limit}, but it was not read by then; it has ended"
        return f"run {self.id}: expected it to end within {limit}, but it did not; {await self._standing()}"

    async def _standing(self) -> str:
        """How it stands, for who has waited in vain and shall not wait much longer for that."""
        try:
            async with asyncio.timeout(LOOK):
                status = await status_of(self._session, self.id)
        except (TimeoutError, FarandoleError):
            return "it goes on"
        if status is None:
            is_known = await self._followed.following.is_known(0)
            return "it goes on" if is_known else "it has not begun; `farandole lag` says whether anybody serves it"
        return "it goes on" if status.status == "running" else f"it is {_standing_text(status)}"

    async def watch(self) -> AsyncGenerator[Event, None]:
        """Every event of the run in the order of the log, from its beginning to its end.

        Raises:
            TransportError: the client was closed meanwhile, or the log is lost to this process.
            RunNotFound: nothing is known of a run that was not started here.
            RecordError: an event that this client cannot read; a newer coordinator wrote it.
        """
        seen = 0
        async with aclosing(self.watch_records()) as records:
            async for record in records:
                seen += 1
                yield _event(record)
        if not seen:
            raise self._not_found()

    async def watch_records(self) -> AsyncGenerator[Record, None]:
        """As `watch`, as records with their headers; empty for a run of which nothing is known."""
        queue: asyncio.Queue[Record | FarandoleError] = asyncio.Queue()
        session, home = self._session, self._followed.home
        live = await session.tail.follow(self.id, home, queue.put_nowait, queue.put_nowait)
        try:
            seen = False
            for record in await self._past(live.position):
                seen |= header(record, "ce_type") != _REFUSED  # of a command that came to nothing, there is no run
                yield record
                if self._is_last(record):
                    return
            while seen or self._followed.start is not None:
                told = await queue.get()
                if isinstance(told, FarandoleError):
                    raise told
                yield told
                if self._is_last(told):
                    return
        finally:
            session.tail.unfollow(live)

    async def cancel(self, reason: str = "") -> None:
        """Ask that the run stop: it fires nothing more, and ends when every attempt has reported.

        Raises:
            RunNotFound: it was started directly, and for 10 s no agent has taken it: there is no run to stop yet.
        """
        start = self._followed.start
        if start is not None and start.is_direct and not await self._followed.following.is_known(TAKEN):
            raise RunNotFound(
                f"run {self.id}: expected its first agent to have taken it, but for {TAKEN:g} s none has. It was not "
                "cancelled; ask again",
                run_id=self.id,
            )
        await self._session.send(CancelRun(self.id, reason))

    async def status(self) -> RunStatus:
        """How it stands, from the tables.

        Raises:
            RunNotFound: they know nothing of it (yet, where it was just started).
        """
        found = await status_of(self._session, self.id)
        if found is None:
            raise self._not_found()
        return found

    async def _ended(self, wait: _Wait, held: WhenHeld) -> Ending:
        """The end, unless it is held and that was not said yet."""
        require_when_held(held)
        holds = None if held == "wait" else self._holds_told
        following = self._followed.following
        if not self._followed.is_new and not self._looked_up and following.ending is None:
            await self._look_back()
        while (ending := await wait(holds)) is None:
            if following.is_in_doubt:
                following.judge(await self._is_ours(await state_of(self._session, self.id)))
            elif holds is not None:
                holds = following.holds
                await self._require_not_held(holds)
        return ending

    async def _require_not_held(self, holds: int) -> None:
        """A hold may be over by now, and there may be several: how it stands is in the tables.

        Raises:
            RunHeld: it is held. Whoever asks again waits for what comes after that.
        """
        status = await status_of(self._session, self.id)
        self._holds_told = max(self._holds_told, holds)
        if status is not None and status.status == "held":
            expected = f"run {self.id}: expected it to end, but it is {_standing_text(status)}"
            raise RunHeld(f"{expected}. `farandole run show {self.id}` says what would release it", run_id=self.id)

    async def _look_back(self) -> None:
        """Did it end before we followed it? Answered once: what comes later is on the tail.

        A look that failed, was cut short or found nothing is no answer: who waits again looks again.
        """
        start, following = self._followed.start, self._followed.following
        known = start is not None and await following.is_ours(GRACE)
        try:
            state = None if known else await state_of(self._session, self.id)
        except RunNotFound:
            # Its definition is not on the log: where its coordinator holds it for that, it has not ended.
            if start is not None or not await self._is_held():
                raise
            following.hold()
            known, state = True, None
        if not known and await self._is_ours(state):
            following.judge(is_ours=True)
            if state is not None and state.is_held:
                following.hold()
            if following.ending is None and (state is None or state.is_settled):
                await self._look_for_the_end(state)
        # else it was not answered yet, or its id was forgotten and begins anew; or its refusal is on its way
        self._looked_up = True

    async def _is_held(self) -> bool:
        status = await status_of(self._session, self.id)
        return status is not None and status.status == "held"

    async def _is_ours(self, state: State | None) -> bool:
        """Whether the run that the tables know by our id is the one that was asked for."""
        start = self._followed.start
        if start is None:
            return True
        if state is not None:
            return await is_answered(self._session, state, start.command)
        return self._followed.following.is_in_doubt and await self._has_begun_as_asked()

    async def _has_begun_as_asked(self) -> bool:
        """Of a run that ended after we began to follow it and is forgotten since: `events` has its beginning."""
        at = TopicPartition(self._session.topics.events, self._followed.home)
        begun: Record | None = None
        async with self._session.looking.turn(), aclosing(scan(self._session.edge, [at])) as records:
            async for record in records:
                if header(record, "ce_run") == self.id.encode() and header(record, "ce_type") == _STARTED:
                    begun = record
        return begun is not None and self._followed.following.is_begun_by_us(begun)

    async def _look_for_the_end(self, state: State | None) -> None:
        following = self._followed.following
        final = await settled_of(self._session, self.id)
        if final is not None:
            following.end(Ending(final.outcome, final.reason, final.output, final.definition))
        elif state is not None:
            following.end(Ending(state.head.outcome, state.head.reason, None, state.head.definition))
        elif following.ending is None:
            past = await self._past(self._followed.subscription.position)
            if not following.has_begun and not goes_on(past):
                raise self._not_found()

    async def _past(self, until: int) -> list[Record]:
        """The run's events before the live ones; of an id that was used again, those of its latest run."""
        followed = self._followed
        if followed.start is not None and not followed.is_new:
            await followed.following.is_known(GRACE)
        is_whole = followed.is_new or followed.following.has_begun
        begin = followed.subscription.position if is_whole else BEGINNING
        at = TopicPartition(self._session.topics.events, followed.home)
        past: list[Record] = []
        has_ended = False
        looking, edge = self._session.looking, self._session.edge
        async with looking.turn(), aclosing(span(edge, {at: begin}, {at: until})) as records:
            async for record in records:
                if header(record, "ce_run") != self.id.encode():
                    continue
                kind = header(record, "ce_type")
                if kind == _STARTED and has_ended:  # a chosen id begins anew once it was forgotten
                    past, has_ended = [], False
                has_ended |= kind == _SETTLED
                past.append(record)
        return past if is_whole or not has_ended or not await self._begins_anew() else []

    async def _begins_anew(self) -> bool:
        """Whether our start, of which nothing is seen yet, makes a new run of an id that had one before."""
        followed = self._followed
        if followed.start is None or followed.following.has_begun:
            return False
        return await head_of(self._session, self.id) is None

    def _is_last(self, record: Record) -> bool:
        kind = header(record, "ce_type")
        return kind == _SETTLED or (kind == _REFUSED and self._followed.following.is_answer(record))

    def _not_found(self) -> RunNotFound:
        return RunNotFound(
            f"run {self.id}: expected a run in {self._session.topics.namespace!r}, but nothing is known of it",
            run_id=self.id,
        )


def _told(ending: Ending) -> str:
    verb = {"refused": "was refused", "cancelled": "was cancelled", "timed_out": "timed out"}
    said = verb.get(ending.outcome, ending.outcome)
    return f"{said}: {ending.reason}" if ending.reason else said


def _standing_text(status: RunStatus) -> str:
    return f"{status.status}: {status.waiting}" if status.waiting else status.status


def _event(record: Record) -> Event:
    try:
        fact = decode(record.value or b"")
    except RecordError as error:
        raise RecordError(f"{record.place}: expected an event, but {error}", reason=error.reason) from error
    assert isinstance(fact, Event)
    return fact
