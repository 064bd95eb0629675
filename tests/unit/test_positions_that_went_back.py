"""`agent reposition` on positions that went back: what was answered is found on the log; only that is passed over."""

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from farandole.client import placing, stretches
from farandole.client.answered import Answers
from farandole.client.placing import looked_again, settled
from farandole.client.repositioning import Reposition, carry_out, fresh_position, plan_reposition
from farandole.clock import SystemClock
from farandole.errors import ConfigError, TransportError
from farandole.events.acts import REPOSITION, ReadAgain, read_repositioned
from farandole.events.envelope import Envelope
from farandole.events.facts import RunStarted, StepSucceeded
from farandole.events.outgoing import DEAD_LETTER, Origin, Trigger, event_record, trigger_record
from farandole.events.topics import Topics
from farandole.ids import NO_ITEM, attempt_id, partition_of
from farandole.runtime.offsets import Admission, OffsetMap
from farandole.transport.memory import MemoryTransport
from farandole.transport.metadata import WINDOW, Metadata, decode, encode
from farandole.transport.port import Isolation, NewRecord, Position, TopicPartition, TopicSpec

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AGENT, UNIT = "score", "bank"


@pytest.fixture(autouse=True)
def _certain_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker starts here, so that nobody need wait before a second look."""
    monkeypatch.setattr(placing, "CERTAIN_S", 0.0)


@dataclass
class Log:
    """A namespace with one agent, whose unit stands still: written record by record."""

    partitions: int = 1
    transport: MemoryTransport = field(default_factory=MemoryTransport)
    topics: Topics = field(default_factory=Topics)

    def __post_init__(self) -> None:
        self.group, self.inbox = self.topics.group(UNIT), self.topics.inbox(AGENT)
        specs = {self.topics.events: 2, self.topics.definitions: 1, self.inbox: self.partitions}
        specs |= {self.topics.dead(AGENT): 1}
        self.transport.admin().create([TopicSpec(name, count) for name, count in specs.items()])
        self.producer = self.transport.producer("tests")
        self.write(self.topics.definitions, b"inbox:" + AGENT.encode(), UNIT.encode(), [], 0)

    def write(
        self, topic: str, key: bytes, value: bytes | None, headers: list[tuple[str, bytes]], partition: int
    ) -> None:
        self.producer.send(NewRecord(topic, key, value, headers, partition))

    def triggers(self, count: int, partition: int = 0, generation: str = "") -> None:
        """So many records of the inbox, of a run each."""
        for n in range(count):
            trigger = Trigger(f"r-{partition}-{n}{generation}", "score", AGENT, 1, b"input")
            it = trigger_record(self.topics, trigger, cause="c", origin=Origin("x", NOW))
            self.write(self.inbox, it.key.encode(), it.value, list(it.headers), partition)

    def answered(self, *offsets: int, partition: int = 0, generation: str = "") -> None:
        """Facts that name these records."""
        for n in offsets:
            run = f"r-{partition}-{n}{generation}"
            self.fact(f"{self.inbox}/{partition}/{n}", trigger_id(run), run)

    def elsewhere(self, offset: int) -> None:
        """A fact in the home that is not that of the record's run."""
        home = partition_of(f"r-0-{offset}", 2)
        run = next(f"other-{n}" for n in range(99) if partition_of(f"other-{n}", 2) != home)
        self.fact("elsewhere/0/0", "c", run)

    def forget_first_facts(self) -> None:
        """Retention takes the first record of each home of `events`."""
        with self.transport.hub as broker:
            for home in range(2):
                broker.truncate_before(TopicPartition(self.topics.events, home), 1)

    def fact(self, consumed: str, cause: str, run: str, *, is_start: bool = False) -> None:
        origin = Origin("farandole/bank/0", NOW, input=consumed, agent=AGENT)
        fact = RunStarted(run, "p", "h", b"", "", NOW) if is_start else StepSucceeded(run, "score", 1, b"output")
        it = event_record(self.topics, fact, event_id="e", cause=cause, origin=origin)
        self.write(self.topics.events, run.encode(), it.value, list(it.headers), partition_of(run, 2))

    def quarantined(self, offset: int, value: bytes) -> None:
        """The dead letter of a record that is not ours."""
        place = f"{self.inbox}/0/{offset}"
        envelope = Envelope(f"{place}/dead", DEAD_LETTER, "farandole/bank/0", NOW, input=place, agent=AGENT)
        headers = [*envelope.headers(), ("farandole_reason", b"no_envelope"), ("original_by", b"kcat")]
        self.write(self.topics.dead(AGENT), b"k", value, headers, 0)

    def stands(
        self, position: int, *done: int, partition: int = 0, epoch: int = 3, clean: bool = True
    ) -> TopicPartition:
        """What the broker says of a partition."""
        at = TopicPartition(self.inbox, partition)
        metadata = encode(Metadata("farandole.bank.0", 1, epoch, clean, bitmap=bits(position, *done)))
        with self.transport.hub as broker:
            broker.restore_position(self.group, at, Position(position, metadata))
        return at

    def plan(self) -> Reposition:
        return plan_reposition(self.transport, self.topics, AGENT)

    def acts(self) -> list[tuple[ReadAgain, ...]]:
        """What the log says of positions that were given anew."""
        with self.transport.hub as broker:
            records, _ = broker.read(TopicPartition(self.topics.definitions, 0), 0, 100)
        rows = [(each.key or b"", each.value or b"") for each in records]
        return [read_repositioned(value).partitions for key, value in rows if key.startswith(REPOSITION.encode())]


def trigger_id(run: str) -> str:
    """Of the inbox record."""
    return attempt_id(run, "score", NO_ITEM, 1) + "/trigger"


def bits(position: int, *done: int) -> bytes:
    """A bitmap in which these offsets are done."""
    return sum(1 << (offset - position) for offset in done).to_bytes(WINDOW // 8, "little").rstrip(b"\0")


def found(it: Reposition) -> dict[int, tuple[int, bytes]]:
    """The new positions by partition, with their bitmaps."""
    return {at.partition: (each.offset, decode(each.metadata).bitmap) for at, each in it.fresh.items()}


def test_position_that_went_back_is_given_anew_where_it_stood_with_its_holes() -> None:
    log = Log()
    log.triggers(20)
    log.answered(*range(10), 11, 13, 14)
    at = log.stands(2, 4)

    it = log.plan()

    assert found(it) == {0: (10, bits(10, 11, 13, 14))}
    assert (it.stale, it.back, it.answered) == ({at: 2}, {at: 14}, {})
    assert it.waiting == 20 - 10 - 3


def test_position_that_went_back_in_a_sound_stretch_goes_on_behind_the_last_answer() -> None:
    log = Log()
    log.triggers(20)
    log.answered(*range(12))
    log.stands(5)

    assert found(log.plan()) == {0: (12, b"")}


def test_records_below_one_that_is_done_are_read_also_behind_the_last_that_the_position_does_not_have() -> None:
    log = Log()
    log.triggers(20)
    log.answered(*range(6), 9)
    log.stands(2, 9)

    assert found(log.plan()) == {0: (6, bits(6, 9))}


def test_log_that_is_sound_has_nothing_to_do() -> None:
    log = Log(partitions=2)
    log.triggers(20)
    log.triggers(5, partition=1)
    log.answered(*range(6), 8, 9)
    log.answered(*range(5), partition=1)
    log.stands(6, 8, 9)
    log.stands(5, partition=1)

    assert found(log.plan()) == {}


def test_of_several_partitions_only_the_one_that_went_back_is_touched() -> None:
    log = Log(partitions=3)
    for partition in range(3):
        log.triggers(10, partition)
        log.answered(*range(8), partition=partition)
    log.stands(8)
    at = log.stands(3, partition=1)
    log.stands(9, partition=2)

    it = log.plan()

    assert found(it) == {1: (8, b"")}
    assert it.back == {at: 7}


def test_every_record_that_an_agent_may_have_left_open_is_read_again() -> None:
    """The window is as wide as it can be: an agent that answered all that it could take in, but the lowest one."""
    offsets = OffsetMap(0)
    taken = [n for n in range(WINDOW + 100) if offsets.admit(n) is Admission.ADMITTED]
    log = Log()
    log.triggers(WINDOW + 100)
    log.answered(*taken[1:])
    log.stands(0)

    assert found(log.plan()) == {0: (0, bits(0, *range(1, WINDOW)))}


def test_record_farther_below_the_last_answer_than_the_window_was_finished_whatever_it_left() -> None:
    log = Log()
    last = WINDOW + 40
    log.triggers(last + 10)
    log.answered(*(n for n in range(5, last + 1) if n not in (39, 40, 41, 60)))
    log.stands(0)

    it = log.plan()

    assert found(it) == {0: (41, bits(41, *(n for n in range(42, last + 1) if n != 60)))}


def test_records_that_were_never_answered_are_not_passed_over_by_those_of_a_topic_that_was_made_anew() -> None:
    # An inbox was deleted and made anew: what is on `events` of the old one names offsets that new records have.
    log = Log()
    log.triggers(20, generation="-new")
    log.answered(*range(18))
    log.stands(4)

    assert found(log.plan()) == {}


def test_position_goes_back_in_a_topic_that_was_made_anew_and_only_answers_of_that_one_count() -> None:
    log = Log()
    log.triggers(20, generation="-new")
    log.answered(*range(18))
    log.answered(*range(7), generation="-new")
    log.stands(4)

    assert found(log.plan()) == {0: (7, b"")}


def test_facts_of_steps_that_ran_at_once_and_of_starts_name_the_record_in_hand() -> None:
    log = Log()
    log.triggers(10)
    place = f"{log.inbox}/0/6"
    log.fact(place, trigger_id("r-0-6"), "r-0-6", is_start=True)
    log.fact(place, trigger_id("r-0-6"), "r-0-6")
    log.fact(place, "r-0-6/score/1/StepSucceeded", "r-0-6")
    sound = log.stands(3, 6), log.plan().fresh
    log.stands(3)

    assert sound[1] == {}
    assert found(log.plan()) == {0: (3, bits(3, 6))}


def test_record_whose_only_answer_is_a_dead_letter_is_not_dead_lettered_again() -> None:
    log = Log()
    log.triggers(2)
    for value in (b"?", b"other"):
        log.write(log.inbox, b"k", value, [("by", b"kcat")], 0)
    log.triggers(6)  # again, as their ids have it: only one of the two is answered
    log.fact(f"{log.inbox}/0/4", trigger_id("r-0-0"), "r-0-0")
    log.quarantined(2, b"?")
    log.quarantined(3, b"of a topic that was made anew")
    at = log.stands(2)

    it = log.plan()

    assert found(it) == {0: (3, bits(3, 4))}
    assert it.answered == {at: 4}, "it cannot be told from one that was dead-lettered"


def test_dead_letter_behind_the_last_fact_spares_its_record_and_no_other() -> None:
    log = Log()
    log.triggers(4)
    log.write(log.inbox, b"k", b"?", [("by", b"kcat")], 0)
    log.triggers(1)
    log.write(log.inbox, b"k", b"?", [("by", b"kcat")], 0)
    log.answered(*range(4))
    log.quarantined(4, b"?")
    log.quarantined(6, b"?")
    log.stands(2)

    assert found(log.plan()) == {0: (5, bits(5, 6))}


def test_log_on_which_nothing_but_another_topic_of_that_name_is_behind_is_sound() -> None:
    """Its positions came a moment late, and what was answered in the topic before goes on behind them."""
    log = Log()
    log.triggers(20, generation="-new")
    log.answered(*range(18))
    log.answered(*range(6), 8, generation="-new")
    log.stands(4)

    def commit(*_: object) -> None:
        log.stands(6, 8)

    assert found(plan_reposition(log.transport, log.topics, AGENT, commit)) == {}


def test_names_that_are_none_are_passed_over() -> None:
    log = Log()
    log.triggers(5)
    for place in (
        "",
        "x",
        f"{log.inbox}/0",
        f"{log.inbox}/0/-1",
        f"{log.inbox}/7/3",
        f"{log.inbox}/0/9999999",
        "a/0/3",
    ):
        log.fact(place, trigger_id("r-0-3"), "r-0-3")
    log.fact(f"{log.inbox}/0/3", trigger_id("r-0-4"), "r-0-4")
    log.stands(1)

    assert found(log.plan()) == {}


def test_where_inboxes_were_read_again_on_purpose_they_go_on_behind_what_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A unit was repositioned to the beginning, and stopped before it had answered everything again."""
    log = Log()
    log.triggers(20)
    log.answered(*range(15))
    with monkeypatch.context() as before:  # as long as no answers were looked for where a position is missing
        before.setattr(Answers, "named", lambda self, done: {})
        carry_out(log.transport, log.plan())
    log.answered(*range(3))
    log.stands(3, epoch=1_800_000_000)

    it = log.plan()

    assert log.acts() == [(ReadAgain(0, 0, 20),)]
    assert found(it) == {0: (15, b"")}


def test_what_is_committed_is_unclean_and_rises_above_every_epoch_that_was() -> None:
    log = Log()
    log.triggers(9)
    log.answered(*range(5))
    at = log.stands(2)

    carry_out(log.transport, log.plan())

    position = log.transport.admin().positions(log.group, [at])[at]
    metadata = decode(position.metadata)
    assert (position.offset, metadata.clean, metadata.writer) == (5, False, "farandole.bank.0")
    assert 1_700_000_000 < metadata.epoch < 1 << 32
    assert log.acts() == []
    assert log.plan().fresh == {}


def test_epoch_that_is_above_the_seconds_already_goes_on_rising() -> None:
    log = Log()
    log.triggers(9)
    log.answered(*range(5))
    at = log.stands(2, epoch=4_000_000_000)

    assert decode(log.plan().fresh[at].metadata).epoch == 4_000_000_001


def test_records_whose_answers_may_be_deleted_are_written_down_if_they_are_read_again() -> None:
    log = Log()
    log.triggers(10)
    log.answered(3)
    log.elsewhere(3)
    log.answered(4, 5, 7)
    log.forget_first_facts()  # that of 3, and another home's
    log.stands(2)

    carry_out(log.transport, log.plan())

    assert log.acts() == [(ReadAgain(0, 2, 7, 2),)]


def test_position_below_the_log_that_went_back_goes_on_where_it_stood() -> None:
    log = Log()
    log.triggers(20)
    log.answered(*range(12))
    with log.transport.hub as broker:
        broker.truncate_before(TopicPartition(log.inbox, 0), 8)
    log.stands(2)

    it = log.plan()

    assert found(it) == {0: (12, b"")}
    assert it.answered == {}


def test_positions_of_which_nothing_is_told_are_given_anew_at_the_beginning_beside_those_that_went_back() -> None:
    log = Log(partitions=2)
    log.triggers(10)
    log.triggers(10, partition=1)
    log.answered(*range(8))
    log.answered(*range(8), partition=1, generation="-of-a-topic-before")
    at = log.stands(3)

    carry_out(log.transport, it := log.plan())

    assert {each.partition: position.offset for each, position in it.fresh.items()} == {0: 8, 1: 0}
    assert it.back == {at: 7}
    assert log.acts() == [(ReadAgain(1, 0, 10),)]
    assert log.plan().fresh == {}, "the second time there is nothing to do"


def test_position_that_is_missing_is_given_anew_where_it_stood() -> None:
    # A broker whose load was cut short has none of a group that began later; `events` knew, and an hour was done again.
    log = Log()
    log.triggers(50)
    log.answered(*range(45), 47)

    carry_out(log.transport, it := log.plan())

    at = TopicPartition(log.inbox, 0)
    position = log.transport.admin().positions(log.group, [at])[at]
    metadata = decode(position.metadata)
    assert (position.offset, metadata.bitmap, metadata.clean) == (45, bits(45, 47), False)
    assert 1_700_000_000 < metadata.epoch < 1 << 32
    assert (it.stale, it.back, it.answered, it.waiting) == ({at: None}, {at: 47}, {}, 4)
    assert log.acts() == []
    assert log.plan().fresh == {}


def test_position_that_nobody_can_read_is_given_anew_where_it_stood_and_left_alone_where_nothing_is_told() -> None:
    log = Log(partitions=2)
    for partition in range(2):
        log.triggers(20, partition)
        with log.transport.hub as broker:
            broker.restore_position(log.group, TopicPartition(log.inbox, partition), Position(3, "another program's"))
    log.answered(*range(12))

    carry_out(log.transport, it := log.plan())

    assert found(it) == {0: (12, b"")}
    assert log.plan().fresh == {}


def test_what_was_done_above_a_position_below_the_log_is_not_read_again() -> None:
    """It was given anew at the beginning without its bitmap, and a second time, since it had gone back by that."""
    log = Log()
    log.triggers(20)
    log.answered(*range(5), 10)
    log.stands(5, 10)
    with log.transport.hub as broker:
        broker.truncate_before(TopicPartition(log.inbox, 0), 8)

    carry_out(log.transport, it := log.plan())

    assert found(it) == {0: (8, bits(8, 10))}
    assert log.plan().fresh == {}


@pytest.mark.parametrize("agent", [AGENT, "another"])
def test_position_that_is_missing_for_a_moment_is_believed_to_be_there(agent: str) -> None:
    # A broker that had just started said for a second or two that there were no positions; the answer became true.
    log = Log()
    log.triggers(9)
    for n in range(7):
        log.fact(f"{log.topics.inbox(agent)}/0/{n}", trigger_id(f"r-0-{n}"), f"r-0-{n}")

    def loaded(*_: object) -> None:
        log.stands(7)

    assert plan_reposition(log.transport, log.topics, AGENT, loaded).fresh == {}


def test_second_look_comes_later_than_a_broker_needs_to_load_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    log, naps = Log(), list[float]()
    at = log.stands(2)
    monkeypatch.setattr(placing, "CERTAIN_S", 5.0)
    monkeypatch.setattr(time, "sleep", naps.append)
    now = SystemClock().monotonic()

    known = looked_again(log.transport, log.group, [at], now - 3.0)

    assert 1.5 < naps[0] <= 2.0
    assert known[at].offset == 2


def test_positions_that_come_a_moment_after_what_their_transaction_wrote_did_not_go_back() -> None:
    log = Log()
    log.triggers(9)
    log.answered(*range(7))
    log.stands(4)

    def commit(*_: object) -> None:
        log.stands(7)

    it = plan_reposition(log.transport, log.topics, AGENT, commit)

    assert it.fresh == {}


def test_how_far_events_are_read_is_told() -> None:
    log, heard = Log(), list[tuple[str, int, int]]()
    log.triggers(9)
    log.answered(*range(7))
    log.stands(7)

    plan_reposition(log.transport, log.topics, AGENT, lambda *said: heard.append(said))

    assert heard[-1] == (log.topics.events, 7, 7)


def test_position_that_moved_since_it_was_looked_at_is_left_alone() -> None:
    log = Log()
    log.triggers(9)
    log.answered(*range(5))
    log.stands(2)
    it = log.plan()
    at = log.stands(6)

    with pytest.raises(ConfigError, match="it ran while its positions were looked at"):
        carry_out(log.transport, it)

    assert log.transport.admin().positions(log.group, [at])[at].offset == 6


def test_answers_that_came_above_a_position_that_stayed_are_not_forgotten() -> None:
    # Offsets alone were compared: while the question waited, some were answered above one that hung, and lost.
    log = Log()
    log.triggers(30)
    log.answered(*range(20))
    log.stands(2)
    it = log.plan()
    log.answered(*range(20, 26))
    at = log.stands(2, *range(3, 26), epoch=4)

    with pytest.raises(ConfigError, match="it ran while its positions were looked at"):
        carry_out(log.transport, it)

    assert decode(log.transport.admin().positions(log.group, [at])[at].metadata).bitmap == bits(2, *range(3, 26))


def test_records_without_an_answer_that_are_passed_over_are_counted() -> None:
    # Somebody skipped a backlog, and set the position back to do it after all: it was skipped for good, in silence.
    log, last = Log(partitions=2), 5 * WINDOW
    for partition in range(2):
        log.triggers(last + 10, partition)
        log.answered(*range(100), *range(last - 20, last + 1), partition=partition)
    log.answered(*range(100, 120), generation="-of-a-topic-before")
    for partition in range(2):
        log.stands(100, partition=partition)

    it = log.plan()

    first = last - WINDOW + 1
    assert {at.partition: position.offset for at, position in it.fresh.items()} == {0: first, 1: first}
    assert {at.partition: count for at, count in it.unanswered.items()} == {0: first - 100, 1: first - 100}


def test_home_whose_facts_are_all_deleted_excuses_its_own_runs_alone() -> None:
    """One idle home was emptied by retention, and whatever was skipped anywhere was taken for answered long ago."""
    log, last = Log(), 2 * WINDOW
    log.triggers(last + 10)
    log.answered(*range(100), *range(last - 20, last + 1))
    with log.transport.hub as broker:
        at = TopicPartition(log.topics.events, 1)
        broker.truncate_before(at, broker.end(at, Isolation.COMMITTED))
    log.stands(100)

    it = log.plan()

    passed_over = range(100, last - WINDOW + 1)
    owed = sum(partition_of(f"r-0-{n}", 2) == 0 for n in passed_over)
    assert {at.partition: count for at, count in it.unanswered.items()} == {0: owed}
    assert 3_000 < owed < len(passed_over)


def test_records_that_are_read_again_or_whose_answers_may_be_deleted_are_not_counted_as_passed_over() -> None:
    log, last = Log(partitions=2), WINDOW + 40
    for partition in range(2):
        log.triggers(last + 5, partition)
    log.answered(3)
    log.elsewhere(3)
    log.answered(*range(last - 10, last + 1))
    log.answered(*range(41), 45, last, partition=1)
    log.forget_first_facts()  # that of 3, and another home's
    log.stands(0)
    log.stands(0, partition=1)

    assert log.plan().unanswered == {}


def test_dead_letter_that_does_not_tell_its_record_is_no_reason_to_count_it() -> None:
    log, last = Log(), WINDOW + 10
    log.triggers(2)
    log.write(log.inbox, b"k", b"?", [("by", b"kcat")], 0)
    log.triggers(last)
    log.fact(f"{log.inbox}/0/{last}", trigger_id(f"r-0-{last - 3}"), f"r-0-{last - 3}")
    log.quarantined(2, b"")
    log.stands(0)

    assert list(log.plan().unanswered.values()) == [last - WINDOW]


@pytest.mark.parametrize("is_busy", [False, True], ids=["quiet", "busy"])
def test_transaction_that_nobody_ends_is_told_although_others_write_on(
    is_busy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any record of any partition was a sign of life, so that on a busy log the command waited for ever."""
    monkeypatch.setattr(stretches, "SILENCE_MAX_S", 1.0)
    log, stopped, told = Log(), threading.Event(), list[Exception]()
    log.triggers(9)
    log.answered(*range(5))
    log.stands(1)
    with log.transport.hub as broker:
        broker.append_in(broker.init("w", 600.0), NewRecord(log.topics.events, b"k", b"v", partition=0))

    def write() -> None:
        while not stopped.wait(0.1):
            log.write(log.topics.events, b"k", b"v", [], 1)

    def look() -> None:
        try:
            log.plan()
        except TransportError as bad:
            told.append(bad)

    threads = [threading.Thread(target=each, daemon=True) for each in ((write, look) if is_busy else (look,))]
    for each in threads:
        each.start()
    threads[-1].join(30)
    stopped.set()

    assert ["events/0" in str(each) and "farandole doctor" in str(each) for each in told] == [True]


def test_transaction_that_stays_pending_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    at = log.stands(2)
    with log.transport.hub as broker:
        broker._positions.stage("farandole.bank.0", log.group, {at: Position(5)})
    monkeypatch.setattr(placing, "JOIN_WAIT_S", 0.3)

    with pytest.raises(TransportError, match="a transaction is pending"):
        settled(log.transport, log.group, [at])


def test_fresh_position_is_told_from_the_one_before_by_its_epoch() -> None:
    stale = Position(40, encode(Metadata("w", 7, epoch=5, clean=True, bitmap=b"\x06")))

    assert fresh_position(stale, 3, NOW) == Position(3, encode(Metadata("w", 7, epoch=6, clean=True)))
    assert decode(fresh_position(None, 3, NOW).metadata).epoch == int(NOW.timestamp())


def test_hour_of_records_is_looked_through_with_those_of_two_windows_in_hand() -> None:
    last = 4 * WINDOW + 100
    log = Log(partitions=3)
    log.triggers(last + 5)
    log.answered(*(n for n in range(last + 1) if n != last - 3))
    log.stands(0)
    log.triggers(last + 5, partition=1)
    log.answered(last, partition=1)
    log.stands(0, partition=1)
    log.triggers(last + 5, partition=2)
    log.answered(*(n for n in range(101) if n != 50), partition=2)
    log.answered(last, partition=2, generation="-of-a-topic-before")
    log.stands(0, partition=2)

    assert found(log.plan()) == {
        0: (last - 3, bits(last - 3, last - 2, last - 1, last)),
        1: (last - WINDOW + 1, bits(last - WINDOW + 1, last)),
        2: (50, bits(50, *range(51, 101))),
    }
