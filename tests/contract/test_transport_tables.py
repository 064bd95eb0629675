"""Tables over compacted topics: read to their end, followed, and one bad row hides no other (R13)."""

from farandole.clock import ManualClock
from farandole.errors import RecordError
from farandole.events.outgoing import Outgoing
from farandole.ids import partition_of
from farandole.transport.memory import MemoryTransport
from farandole.transport.memory.log import PartitionLog
from farandole.transport.outgoing import new_record, size_of
from farandole.transport.port import Isolation, NewRecord, Record, TopicPartition, TopicSpec, Trouble
from farandole.transport.tables import Follower, Table


def row(record: Record) -> str:
    text = (record.value or b"").decode()
    if text == "bad":
        raise RecordError("it is bad")
    return text


class Log:
    """A topic of two partitions, and a follower of it."""

    def __init__(self) -> None:
        self.transport = MemoryTransport(ManualClock())
        self.admin = self.transport.admin()
        self.admin.create([TopicSpec("t", 2), TopicSpec("empty", 1)])
        self.table: Table[str] = Table("t", 2, row)
        self.empty: Table[str] = Table("empty", 1, row)
        self.producer = self.transport.producer("p")

    def follow(self) -> Follower:
        return Follower(self.transport.reader("r"), [self.table, self.empty])

    def write(self, key: str, value: str | None) -> None:
        self.producer.send(NewRecord("t", key.encode(), None if value is None else value.encode()))
        self.producer.flush(1.0)


def test_table_holds_the_latest_row_of_each_key_and_forgets_what_was_removed() -> None:
    log = Log()
    for key, value in (("a", "1"), ("b", "1"), ("a", "2"), ("b", None)):
        log.write(key, value)
    follower = log.follow()

    while not follower.at_end:
        follower.follow()

    assert log.table.rows == {"a": "2"}


def test_row_that_cannot_be_read_is_told_and_left_out_and_others_are_read() -> None:
    log = Log()
    for key, value in (("a", "1"), ("a", "bad"), ("b", "2")):
        log.write(key, value)
    follower = log.follow()

    while not follower.at_end:
        follower.follow()

    assert log.table.rows == {"a": "1", "b": "2"}
    assert len(follower.troubles) == 1
    assert "it is bad" in str(follower.troubles[0])


def test_table_says_whether_it_has_reached_an_end_that_the_log_told() -> None:
    log = Log()
    follower = log.follow()
    while not follower.at_end:
        follower.follow()
    log.write("a", "1")
    places = [TopicPartition("t", 0), TopicPartition("t", 1), TopicPartition("empty", 0)]
    ends = log.admin.ends(places, Isolation.UNCOMMITTED)

    assert not follower.has_reached(ends)
    follower.follow()

    assert follower.has_reached(ends)
    follower.close()


def test_record_of_a_run_goes_to_its_home_whatever_its_key_and_others_by_their_key() -> None:
    home = new_record(Outgoing("events", "r-1#7", b"v", (("h", b"xy"),), home="r-1"), 12)
    keyed = new_record(Outgoing("inbox", "r-1", b"v", ()), 12)

    assert (home.partition, home.key) == (partition_of("r-1", 12), b"r-1#7")
    assert keyed.partition is None
    assert size_of(home) == len("r-1#7") + 1 + 3


def test_topic_that_was_made_anew_is_read_again_from_its_beginning_and_no_other() -> None:
    # The story: `definitions` was deleted, and applied again. Processes stood beyond its end for ever, took that for
    # having read it, and refused pipelines that were applied since.
    log = Log()
    for n in range(9):
        log.write(str(n), "old")
    log.producer.send(NewRecord("empty", b"a", b"kept"))
    log.producer.flush(1.0)
    follower = log.follow()
    while not follower.at_end:
        follower.follow()
    log.empty.rows["a"] = "not read again"

    with log.transport.hub as broker:
        for number in range(2):
            broker._log._partitions["t"][number] = PartitionLog(TopicPartition("t", number), broker._log.changed)
    log.write("a", "new")
    ends = log.admin.ends(log.table.places, Isolation.UNCOMMITTED)
    for _ in range(5):
        follower.follow()

    assert follower.has_reached(ends)
    assert log.table.rows == {"a": "new"}
    assert log.empty.rows == {"a": "not read again"}
    kinds = {trouble.kind for trouble in follower.troubles if isinstance(trouble, Trouble)}
    assert kinds == {"position_out_of_range"}, "it is told"
