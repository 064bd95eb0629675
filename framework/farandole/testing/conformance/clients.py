"""Admin and plain producer; overlapping requests and the wake-up of a member."""

import threading
import time
from functools import partial

from farandole.errors import TransportError
from farandole.testing.conformance.case import cases, expect_error
from farandole.testing.conformance.kit import Kit
from farandole.transport.port import (
    Isolation,
    NewRecord,
    Position,
    ReadEnds,
    ReadPositions,
    TopicSpec,
)

# --- admin ------------------------------------------------------------------------------------


def creating_a_topic_twice_makes_it_once(kit: Kit) -> None:
    """The second is left alone, also if it was to be different; its config is told as it was set."""
    name = kit.name("made")
    spec = TopicSpec(name, 3, config={"retention.ms": "60000", "cleanup.policy": "compact"})

    first = kit.admin.create([spec])
    kit.until(lambda: name in kit.admin.topics([name]), "the topic to exist")
    again = kit.admin.create([TopicSpec(name, 5), TopicSpec(kit.name("other"), 1)])

    assert list(first) == [name]
    assert list(again) == [kit.name("other")]
    found = kit.admin.topics([name])[name]
    assert (found.partitions, dict(found.config)) == (3, dict(spec.config))


def topics_are_told_by_name_or_all_and_missing_ones_are_absent(kit: Kit) -> None:
    """An empty list of names asks for nothing, not for all."""
    name = kit.topic(partitions=2)

    named = kit.admin.topics([name, kit.name("nowhere")])

    assert set(named) == {name}
    assert named[name].name == name
    assert name in kit.admin.topics()
    assert kit.admin.topics([]) == {}


def configuring_a_topic_changes_only_what_is_named(kit: Kit) -> None:
    """What somebody else has set stays."""
    name = kit.topic(config={"retention.ms": "60000", "max.message.bytes": "2000000"})

    kit.admin.configure(name, {"retention.ms": "70000"})

    wanted = {"retention.ms": "70000", "max.message.bytes": "2000000"}
    kit.until(lambda: dict(kit.admin.topics([name])[name].config) == wanted, "the new configuration")
    expect_error(TransportError, lambda: kit.admin.configure(kit.name("nowhere"), {"retention.ms": "70000"}))


def a_topic_is_called_what_kafka_would_call_it(kit: Kit) -> None:
    """Or it is refused: a log that took an empty name could not be read any more, by anybody."""
    for name in ("", "..", kit.name("two words"), kit.name("x" * 249)):
        expect_error(TransportError, partial(kit.admin.create, [TopicSpec(name, 1)]))

    assert kit.admin.topics([kit.topic()])


# --- plain producer ---------------------------------------------------------------------------


def a_plain_producer_has_written_what_it_has_flushed(kit: Kit) -> None:
    """In the order in which it was sent."""
    (at,) = kit.topic_of([[]])
    producer = kit.producer()

    for number in range(100):
        producer.send(NewRecord(at.topic, None, b"%d" % number, (), 0))
    kit.until(lambda: producer.flush(5.0) == 0, "all to be acknowledged")

    assert kit.admin.ends([at], Isolation.COMMITTED) == {at: 100}
    kit.sees(at, [b"%d" % number for number in range(100)])


def a_plain_record_that_is_refused_is_told(kit: Kit) -> None:
    """By `send` or by the next `flush`; the producer goes on."""
    (at,) = kit.topic_of([[]])
    producer = kit.producer()

    def is_refused() -> bool:
        try:
            return producer.flush(1.0) < 0
        except TransportError:
            return True

    expect_error(TransportError, lambda: _send_and_flush(kit, NewRecord(at.topic, None, b"x" * 9_000_000, (), 0)))
    producer.send(NewRecord(kit.name("nowhere"), b"key", b"lost"))
    kit.until(is_refused, "the refusal")

    producer.send(NewRecord(at.topic, None, b"fine", (), 0))
    kit.until(lambda: producer.flush(1.0) == 0, "a later record to be acknowledged")
    kit.sees(at, [b"fine"])


def _send_and_flush(kit: Kit, record: NewRecord) -> None:
    producer = kit.producer()
    producer.send(record)
    kit.until(lambda: producer.flush(1.0) == 0, "the record to be acknowledged")


def a_plain_producer_serves_many_threads(kit: Kit) -> None:
    """Handlers report from theirs."""
    (at,) = kit.topic_of([[]])
    producer = kit.producer()

    def work() -> None:
        for _ in range(200):
            producer.send(NewRecord(at.topic, None, b"x", (), 0))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    kit.until(lambda: producer.flush(5.0) == 0, "all to be acknowledged")
    assert kit.admin.ends([at], Isolation.COMMITTED) == {at: 800}


# --- requests and waking ------------------------------------------------------------------------


def requests_overlap_and_replies_carry_their_tickets(kit: Kit) -> None:
    """Whichever is answered first."""
    (at,) = kit.topic_of([[b"x"]])
    member = kit.joined([at.topic])
    member.commits([], {at: Position(1)})
    member.positions([at])

    ends = member.member.call(ReadEnds([at], Isolation.COMMITTED))
    positions = member.member.call(ReadPositions([at]))

    assert ends != positions
    assert dict(member.reply_to(positions).positions) == {at: Position(1)}
    assert dict(member.reply_to(ends).ends) == {at: 1}


def a_wake_up_ends_a_wait_for_replies(kit: Kit) -> None:
    """A handler's result comes from another thread."""
    (at,) = kit.topic_of([[]])
    member = kit.joined([at.topic])
    waker = threading.Timer(0.2, member.member.wake)

    waker.start()
    began = time.monotonic()
    replies = member.member.replies(20.0)

    waker.join()
    assert list(replies) == []
    assert time.monotonic() - began < 10.0


def a_wake_up_before_the_wait_is_not_lost(kit: Kit) -> None:
    """Else a result that came a moment too early would wait for the next one."""
    (at,) = kit.topic_of([[]])
    member = kit.joined([at.topic])

    member.member.wake()
    began = time.monotonic()
    replies = member.member.replies(20.0)

    assert list(replies) == []
    assert time.monotonic() - began < 10.0


CASES = cases(
    creating_a_topic_twice_makes_it_once,
    topics_are_told_by_name_or_all_and_missing_ones_are_absent,
    configuring_a_topic_changes_only_what_is_named,
    a_topic_is_called_what_kafka_would_call_it,
    a_plain_producer_has_written_what_it_has_flushed,
    a_plain_record_that_is_refused_is_told,
    a_plain_producer_serves_many_threads,
    requests_overlap_and_replies_carry_their_tickets,
    a_wake_up_ends_a_wait_for_replies,
    a_wake_up_before_the_wait_is_not_lost,
)
