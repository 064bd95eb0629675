"""A member on Kafka: the consumer belongs to the loop's thread, every call that may block to a helper thread.

The writing helper has the transactional producer, the reading one a client of aiokafka for each question; so a
transaction and a question may be under way at once. Rebalance callbacks run inside `poll` and `close`, on the loop's
thread, and never ask the broker anything by themselves.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import count

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as KafkaPartition

from farandole.errors import FatalTransportError, NotJoined, TransportError
from farandole.transport.kafka.arrival import Arrival, Namesakes
from farandole.transport.kafka.cursors import Cursors
from farandole.transport.kafka.departed import Departed
from farandole.transport.kafka.errors import CLIENT_ERRORS, told
from farandole.transport.kafka.helper import Helper, Replies
from farandole.transport.kafka.polling import Outage, polled, read
from farandole.transport.kafka.queries import Queries
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.kafka.standstill import Standstill
from farandole.transport.kafka.transactions import Snapshot, Transactor, snapshot_of
from farandole.transport.port import (
    Commit,
    FenceWriter,
    Isolation,
    ListMembers,
    MemberSettings,
    Polled,
    ReadEnds,
    ReadPositions,
    Rebalance,
    RenewProducer,
    Reply,
    Request,
    TopicPartition,
    Verdict,
)

log = logging.getLogger("farandole.transport")

RELEASE_BUDGET = timedelta(seconds=10)
"""Longest that the loop may take to let go of partitions: a transaction has ended by then, one way or the other."""

RELEASE_PAUSE = 0.002
"""Least seconds between two calls of `releasing`: a loop that has nothing to wait for must not spin."""

SLICE = 0.05
"""Longest that one call of the client waits, seconds: it does not return after a rebalance by itself."""

CLOSE_PATIENCE = 2.0
"""Longest that `close` waits for each helper; what hangs then ends with the process."""


class KafkaMember:
    """Implements `Member`."""

    def __init__(self, settings: KafkaSettings, member: MemberSettings) -> None:
        self._settings = settings
        self._member = member
        self._outage = Outage(member.client_id)
        self._consumer, self._cursors = self._client()
        self._transactor = Transactor(settings, member.client_id, member.transaction_timeout)
        self._queries = Queries(settings, member.client_id)
        self._departed = Departed(settings, member.client_id, member.group, self._living)
        self._namesakes = Namesakes(settings, member.client_id, member.group, self._queries.true_members)
        self._standstill = Standstill(
            lambda asked: self._queries.true_ends(asked, Isolation.COMMITTED), self._queries.true_brokers
        )
        self._replies = Replies()
        self._writing = self._new_writing()
        self._written: dict[int, Request] = {}
        """Requests under way with the writing helper, by ticket: each is answered, whatever becomes of it."""

        self._reading = Helper(f"{member.client_id}.reading", self._replies)
        self._tickets = count(1)
        self._rebalance: Rebalance | None = None
        self._arrival: Arrival | None = None
        """Before the first join."""

        self._is_lost = False
        self._is_closed = False

    @property
    def client_id(self) -> str:
        """Client id and transactional id."""
        return self._member.client_id

    # --- reading --------------------------------------------------------------------------

    def subscribe(self, topics: Sequence[str], rebalance: Rebalance) -> None:
        """Join the group, in the polls that follow."""
        self._require_open()
        if self._rebalance is None:
            self._arrive()
            self._reading.submit(self._queries.prepare)
            # Takes 60 to 500 ms, while the group makes room for us: not to be waited for by the first transaction.
            self._writing.submit(self._prepare)
        self._rebalance, self._topics = rebalance, topics
        if self._arrival is None:
            self._subscribe(topics)

    def _client(self, bootstrap: str = "") -> tuple[Consumer, Cursors]:
        config = {**self._settings.member(self._member), "error_cb": self._outage}
        if bootstrap:
            config["bootstrap.servers"] = bootstrap
        consumer = Consumer(config)
        return consumer, Cursors(consumer, cooperative=self._member.assignor == "cooperative-sticky")

    def _arrive(self) -> None:
        """Join once a predecessor is out of the group."""
        self._arrival = arrival = Arrival()
        self._reading.submit(lambda: self._namesakes.succeed(arrival))

    def _join_anew(self, why: str, bootstrap: str) -> None:
        """With another client: this one waits for minutes for an answer to its join that does not come, or believes a
        broker that is cut off, so that the other one begins at brokers that know better (anywhere, if there are none).
        """
        log.warning("%s: %s: it joins anew", self.client_id, why)
        self._is_lost = True
        self._forget(sorted(self._cursors.owned), lost=True)
        old = self._consumer
        self._consumer, self._cursors = self._client(bootstrap)
        threading.Thread(target=old.close, name=f"{self.client_id}.leaving", daemon=True).start()
        self._arrive()
        self._namesakes.disturbed()

    def _subscribe(self, topics: Sequence[str]) -> None:
        self._consumer.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def poll(self, timeout: float) -> Sequence[Polled]:
        """Records, ends and troubles; rebalances happen in here, and end the wait."""
        self._require_open()
        until = time.monotonic() + timeout
        if self._arrival is not None:
            if not self._arrival.is_over(timeout):
                return ()
            self._arrival = None
            self._subscribe(self._topics)
        if self._namesakes.step(self._consumer.memberid, self._reading.submit, is_in=not self._is_lost):
            self._join_anew(f"{self._member.group} does not know of its join", self._namesakes.bootstrap)
            return ()
        if self._standstill.step(self._cursors.wanted, self._reading.submit):
            why = "there is more to read than comes, as of a leader that is cut off"
            self._join_anew(why, self._standstill.bootstrap)
            return ()
        while True:
            wait = self._cursors.prepare(max(0.0, min(until - time.monotonic(), SLICE)))
            messages = read(self._consumer, wait, self._member.poll_max_records)
            found = (polled(message, self._outage) for message in messages)
            out = self._cursors.deliver(each for each in found if each is not None)
            for trouble in self._outage.troubles():
                out.append(trouble)
                self._namesakes.disturbed()
            if out or self._cursors.has_moved or time.monotonic() >= until:
                return out

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Deliver nothing more."""
        self._cursors.pause(partitions)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Deliver again."""
        self._cursors.resume(partitions)

    def seek(self, at: TopicPartition, position: int) -> None:
        """Go on from there; a partition that has gone meanwhile is left alone."""
        self._cursors.seek(at, position)

    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions that are ours."""
        return self._cursors.owned

    # --- asking ---------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The group's view of this member, refused unless it has joined (R3)."""
        self._require_open()
        snapshot = snapshot_of(self._consumer.consumer_group_metadata())
        if self._is_lost or not snapshot.has_joined:
            raise NotJoined(
                f"{self._member.group}: expected {self.client_id} to have joined, but it has no member id or "
                "generation now. Nothing was sent: without them the broker would not fence a zombie (R3)"
            )
        return snapshot

    def call(self, request: Request) -> int:
        """Hand a request to a helper thread."""
        self._require_open()
        if isinstance(request, Commit):
            _check(request, self.client_id)
        ticket = next(self._tickets)
        helper = self._reading
        if isinstance(request, Commit | RenewProducer | FenceWriter):
            helper = self._writing
            self._written[ticket] = request
        transactor = self._transactor
        helper.submit(lambda: self._perform(ticket, request, transactor))
        return ticket

    def replies(self, timeout: float) -> Sequence[Reply]:
        """What has been answered."""
        self._look_after_the_writing()
        found = self._replies.take(timeout)
        for reply in found:
            if self._written.pop(reply.ticket, None) is not None and reply.error is not None:
                self._namesakes.suspected()
        return found

    def wake(self) -> None:
        """End a wait in `replies`."""
        self._replies.wake()

    def close(self) -> None:
        """Leave the group; callbacks run. Doing it twice is harmless."""
        if self._is_closed:
            return
        self._consumer.close()
        self._is_closed = True
        self._writing.close(CLOSE_PATIENCE)
        self._reading.close(CLOSE_PATIENCE)

    def _new_writing(self) -> Helper:
        return Helper(f"{self._member.client_id}.writing", self._replies, self._transactor.rest)

    def _look_after_the_writing(self) -> None:
        """Give up a helper that does not come back from a call of its client, and its producer with it."""
        lasted, written = self._transactor.calls.overdue, list(self._written.items())
        if not lasted or not written or not self._writing.dismiss():
            return
        self._transactor.calls.give_up()
        self._transactor = Transactor(self._settings, self.client_id, self._member.transaction_timeout, is_spent=True)
        self._writing = self._new_writing()
        told = f"the client did not come back from a call for {lasted:.0f} s, and was given up (librdkafka issue 5456)"
        for ticket, request in written:
            verdict = Verdict.DOUBT if isinstance(request, Commit) else None
            self._replies.put(Reply(ticket, request, verdict, error=TransportError(f"{self.client_id}: {told}")))

    def _require_open(self) -> None:
        if self._is_closed:
            raise FatalTransportError(f"{self.client_id}: expected an open member, but it was closed")

    # --- on the helper threads ------------------------------------------------------------

    def _prepare(self) -> None:
        try:
            self._transactor.prepare()
        except TransportError as error:
            log.info("%s; the first transaction tries it again", error)

    def _perform(self, ticket: int, request: Request, transactor: Transactor) -> Reply:
        verdict = Verdict.DOUBT if isinstance(request, Commit) else None
        try:
            return self._answer(ticket, request, transactor)
        except TransportError as error:
            return Reply(ticket, request, verdict, error=error)
        except CLIENT_ERRORS as error:
            return Reply(ticket, request, verdict, error=TransportError(f"{self.client_id}: {told(error)}"))
        except Exception as error:
            log.exception("%s failed in a way of its own", type(request).__name__)
            return Reply(ticket, request, verdict, error=TransportError(f"{self.client_id}: {error!r}"))

    def _answer(self, ticket: int, request: Request, transactor: Transactor) -> Reply:
        match request:
            case Commit(records=records, positions=positions, snapshot=snapshot):
                assert isinstance(snapshot, Snapshot)
                outcome = transactor.commit(records, positions, snapshot)
                return Reply(ticket, request, outcome.verdict, error=outcome.error)
            case RenewProducer():
                transactor.renew()
                return Reply(ticket, request)
            case FenceWriter(transactional_id=other):
                from farandole.transport.kafka.succession import fence  # aiokafka, which nothing else needs here

                fence(self._settings, other)
                return Reply(ticket, request)
            case ReadPositions(partitions=asked, stable=stable, group=group):
                found = self._queries.positions(group or self._member.group, asked, stable=stable)
                if stable and not group:
                    self._departed.read(is_pending=len(found) < len(set(asked)))
                return Reply(ticket, request, positions=found)
            case ReadEnds(partitions=asked, isolation=isolation):
                return Reply(ticket, request, ends=self._queries.true_ends(asked, isolation))
            case ListMembers():
                return Reply(ticket, request, members=self._living())

    def _living(self) -> frozenset[str]:
        return frozenset(client for client, _ in self._queries.true_members(self._member.group).ids)

    # --- rebalance callbacks, inside poll and close ----------------------------------------

    def _assigned(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        if consumer is not self._consumer:
            return  # it was replaced, and is being closed on a thread of its own
        self._is_lost = False
        ours = _places(partitions)
        self._cursors.add(ours)
        if self._rebalance is not None and ours:
            self._rebalance.assigned(ours)

    def _revoked(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        if consumer is not self._consumer:
            return
        leaving = _places(partitions)
        if self._rebalance is not None and leaving:
            self._release(self._rebalance.releasing, leaving)
        self._forget(leaving, lost=False)

    def _lost(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        if consumer is not self._consumer:
            return
        self._is_lost = True
        self._namesakes.suspected()
        self._forget(_places(partitions), lost=True)

    def _release(self, releasing: Callable[[Sequence[TopicPartition]], bool], leaving: list[TopicPartition]) -> None:
        until = time.monotonic() + RELEASE_BUDGET.total_seconds()
        while True:
            began = time.monotonic()
            if releasing(leaving):
                return
            if time.monotonic() > until:
                log.warning(
                    "%s: partitions were not released in %s; they go as they are", self.client_id, RELEASE_BUDGET
                )
                return
            time.sleep(max(0.0, began + RELEASE_PAUSE - time.monotonic()))

    def _forget(self, gone: list[TopicPartition], *, lost: bool) -> None:
        self._cursors.drop(gone)
        if self._rebalance is not None and gone:
            self._rebalance.gone(gone, lost=lost)


def _places(partitions: list[KafkaPartition]) -> list[TopicPartition]:
    return [TopicPartition(each.topic, each.partition) for each in partitions]


def _check(request: Commit, client_id: str) -> None:
    if not request.positions:
        raise ValueError(f"{client_id}: expected a position with every transaction, but there is none (R3)")
    for at, position in request.positions.items():
        if position.offset < 0:
            raise ValueError(f"{client_id}: expected a position to commit for {at}, but it is {position.offset} (R3)")
    snapshot = request.snapshot
    if not isinstance(snapshot, Snapshot):
        raise ValueError(f"{client_id}: expected a snapshot of this transport, but it is {snapshot!r}")
    if not snapshot.has_joined:
        raise NotJoined(f"{client_id}: the snapshot was taken before joining; nothing was sent (R3)")
