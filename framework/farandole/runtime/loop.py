"""The agent process of one unit, as a loop that can be stepped by hand, by a thread or by a simulator.

Each step takes replies, polls, moves take-overs on, works, and submits the next transaction if
none is in flight. Nothing here blocks but `poll` and `replies`, no longer than it is told: with
nothing in flight it waits for records, else for results and replies, and polls in between.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from farandole.definition.spec import AgentSpec
from farandole.runtime.assembly import Surrounding, Unit, assemble
from farandole.runtime.partition import Stage
from farandole.runtime.planner import Flight
from farandole.runtime.settings import AgentSettings
from farandole.runtime.view import View
from farandole.transport.port import Reply, Request, TopicPartition, Verdict

__all__ = ["AgentLoop", "Surrounding"]

WAIT_MIN_S, WAIT_MAX_S = 0.001, 0.02
"""Wait for a result or a reply between two polls; it doubles while nothing happens, and new records wait that long."""

TABLES_EVERY_S = 0.02
"""How stale `control` may be while records keep coming."""

log = logging.getLogger("farandole.runtime")

group_log = logging.getLogger("farandole.group")
"""What this process has to do with its group: apart, for whom a terminal has other things to say."""


class AgentLoop:
    """One process's share of a unit's inboxes. Every method belongs to one thread, except `wake`."""

    def __init__(
        self,
        agents: Mapping[str, AgentSpec],
        given: Surrounding,
        settings: AgentSettings,
        unit_path: Path | None = None,
    ) -> None:
        self._settings = settings
        self._clock = given.clock
        self._agents = {settings.topics.inbox(spec.name): spec for spec in agents.values()}
        self._publishes = frozenset(topic for spec in agents.values() for topic in spec.publishes)
        self._asked: dict[int, Callable[[Reply], None]] = {}
        self._member = given.transport.member(settings.member())
        unit = Unit(self._agents, given, settings, unit_path)
        parts = assemble(unit, self._member, self._ask, self._committed)
        self.counts = parts.counts
        self.ownership = parts.ownership
        self._troubles = parts.troubles
        self._signals = parts.signals
        self._executor = parts.executor
        self._tables = parts.tables
        self._committer = parts.committer
        self._recheck = parts.recheck
        self._work = parts.work
        self._intake = parts.intake
        self.view = View(self.counts, self.ownership, self._tables, self._work, self._intake, self._member)
        self._is_subscribed = False
        self._is_closed = False
        self._patience = WAIT_MIN_S
        self._tables_at = -TABLES_EVERY_S

    # --- one step -------------------------------------------------------------------------

    def step(self, wait: float) -> bool:
        """Do what can be done now, waiting at most `wait` seconds for something to do; whether anything was done.

        Raises:
            ConfigError: an inbox is another unit's (R8).
            FatalTransportError: this process must be started anew.
        """
        if not self._is_subscribed:
            return self._begin(wait)
        under_way = bool(self._asked) or not self._work.is_idle
        did = self._hear(self._short(wait) if under_way else 0.0)
        polled = self._member.poll(0.0 if did or under_way else self._until_due(wait))
        self._intake.take(polled)
        did |= bool(polled)
        did |= self._look_at_tables(is_busy=did)
        did |= self.ownership.step(self._clock.monotonic(), may_fence=self._committer.is_free)
        self.ownership.tell_slow(self._clock.monotonic())
        did |= self._recheck.step(self._clock.monotonic())
        if self.ownership.has_anew:
            self.ownership.has_anew = False
            self._let_go()
        did |= self._work.step()
        self._intake.throttle()
        did |= self._committer.submit()
        self._patience = WAIT_MIN_S if did else min(WAIT_MAX_S, self._patience * 2)
        self.counts.fenced_writers, self.counts.partitions_stopped = self.ownership.fenced, self.ownership.stopped
        self.counts.signals_dropped = self._signals.dropped
        return did

    def next_due(self) -> datetime | None:
        """When time alone gives `step` something to do: a time-out, a pause, an end to commit over."""
        due = self._due()
        return None if due is None else self._clock.now() + timedelta(seconds=max(0.0, due - self._clock.monotonic()))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way or waiting; what only time brings is in `next_due`."""
        return (
            self._is_subscribed
            and not self._asked
            and self._work.is_idle
            and self._committer.is_free
            and not self._committer.planner.has_answers
            and self.ownership.is_settled
        )

    @property
    def is_worn(self) -> bool:
        """Whether the process had better be replaced: too many handlers are stuck."""
        return self._executor.is_worn

    def monotonic(self) -> float:
        """The loop's own clock."""
        return self._clock.monotonic()

    def wake(self) -> None:
        """End a wait in `step` soon; the one method that other threads and signal handlers may call."""
        self._member.wake()

    # --- the end --------------------------------------------------------------------------

    def drain(self) -> None:
        """Take no more; go on stepping until `is_drained`, then `close`. What waits in a lane stays in its inbox."""
        if self._intake.is_open:
            self._intake.shut()
            self._work.fusion.is_open = False
            self._work.forget_queued(lambda partition: True)

    @property
    def is_drained(self) -> bool:
        """Whether every handler that had begun is done and committed."""
        is_done = self._work.is_idle and self._committer.is_free and not self._committer.planner.has_answers
        return not self._intake.is_open and is_done

    def close(self) -> None:
        """Let go of every partition, clean, leave the group and free everything."""
        if self._is_closed:
            return
        self._is_closed = True
        self._intake.shut()
        self._member.close()
        self._executor.close()
        self._tables.close()
        self._signals.close()

    # --- Rebalance: partitions come and go --------------------------------------------------

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Take them over; nothing of them is read before our epoch is committed (R6)."""
        self.ownership.assigned(partitions)

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        """Let what has begun end, commit it and that the partitions are clean (R6, R11)."""
        if self._committer.is_dead:
            return True  # nothing can be committed any more: whoever is next need not wait for that
        leaving = [p for at in partitions if (p := self.ownership.partitions.get(at)) is not None]
        now = self._clock.monotonic()
        fresh = [p for p in leaving if p.release_until is None]
        for p in fresh:
            p.release_until = now + self._settings.release_wait.total_seconds()
            p.stage = Stage.RELEASING if p.stage is Stage.RUNNING else Stage.STOPPED
            p.later.clear()
        if fresh:
            self._work.forget_queued(lambda partition: partition.release_until is not None)
        self._hear(WAIT_MIN_S)
        self._work.step()
        waiting = [p for p in leaving if p.stage is Stage.RELEASING and not p.is_released]
        self._recheck.step(now)
        ready = [p for p in waiting if p.out == 0 or (p.release_until or now) <= now]
        self._committer.submit(ready)
        touched = self._committer.flight.touched if self._committer.flight is not None else {}
        return not waiting and not any(at in touched for at in partitions)

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Drop everything of theirs that is not committed."""
        for p in self.ownership.gone(partitions):
            p.later.clear()
        self._let_go()
        if lost:
            log.warning("%d partitions were lost: others may have had them for a while", len(partitions))

    # --- inside ---------------------------------------------------------------------------

    def _let_go(self) -> None:
        """Drop what is under way of partitions that are no longer ours, or that were begun anew."""
        self._work.forget_queued(lambda partition: not self.ownership.is_current(partition))
        self._work.give_up_lost()
        self._committer.forget(self.ownership.is_current)

    def _begin(self, wait: float) -> bool:
        """Join only once both tables are read to their end (R13), and only if the inboxes are ours (R8)."""
        took = self._tables.step(wait)
        if self._tables.is_ready:
            self._tables.check_unit(self._settings.unit, [spec.name for spec in self._agents.values()])
            self._member.subscribe(sorted(self._agents), self)
            self._is_subscribed = True
            group_log.info("joining %s as %s", self._settings.group, self._member.client_id)
            return True
        return took

    def _ask(self, request: Request, then: Callable[[Reply], None]) -> None:
        self._asked[self._member.call(request)] = then

    def _hear(self, wait: float) -> bool:
        replies = self._member.replies(wait)
        for reply in replies:
            if reply.error is not None and reply.verdict in (None, Verdict.ABORTED):
                what = type(reply.request).__name__
                how = "was not answered" if reply.verdict is None else "had no effect"
                self._troubles.tell(what, self._clock.monotonic(), f"{what} {how}: {reply.error}; trying again")
            then = self._asked.pop(reply.ticket, None)
            if then is not None:
                then(reply)
        return bool(replies)

    def _committed(self, flight: Flight) -> None:
        if self._publishes:
            self.counts.published += sum(record.topic in self._publishes for record in flight.records)
        if flight.opening:
            group_log.info("took over %d partitions, has %d", len(flight.opening), len(self.ownership.partitions))
        for p in flight.opening:
            if self.ownership.is_current(p) and p.stage is Stage.RUNNING:
                self._intake.begin(p)
        self._intake.settle(p for p in flight.touched.values() if p.later and p.stage is Stage.RUNNING)

    def _look_at_tables(self, *, is_busy: bool) -> bool:
        """Follow the tables: at each idle step, and often enough between records."""
        now = self._clock.monotonic()
        if is_busy and now - self._tables_at < TABLES_EVERY_S and not self._tables.is_wanted:
            return False
        self._tables_at = now
        came = self._tables.step()
        if came:
            self._work.control_changed()
        return came

    def _short(self, wait: float) -> float:
        return min(self._until_due(wait), self._patience)

    def _until_due(self, wait: float) -> float:
        """How long a wait may be: not past the next thing that time brings."""
        if self._committer.is_due or not self.ownership.is_settled:
            wait = min(wait, WAIT_MAX_S)
        due = self._due()
        return wait if due is None else max(0.0, min(wait, due - self._clock.monotonic()))

    def _due(self) -> float | None:
        taking_over = self.ownership.next_due(may_fence=self._committer.is_free)
        dues = (self._work.next_due(), self._committer.next_due(), self._recheck.next_due, taking_over)
        return min((each for each in dues if each is not None), default=None)
