"""Where a home stands `runs` says too: it counts where the committed positions went back (docs/decisions/0112)."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from farandole.clock import ManualClock
from farandole.coordinator.home import Home
from farandole.coordinator.logclock import LogClock
from farandole.coordinator.repair import Repair
from farandole.coordinator.restore import Restore
from farandole.coordinator.takeover import Claimed, Stage, went_on
from farandole.kernel.place import HEADER, KEY, Place, place_in
from farandole.testing.sketch import define, node
from farandole.testing.stage import Stage as Kernel
from farandole.transport.memory import MemoryTransport
from farandole.transport.metadata import Metadata
from farandole.transport.port import Isolation, NewRecord, TopicPartition, TopicSpec

PLACE = Place(120, 40, 80, 1_700_000_000_000)
TOPIC = "farandole.runs"


def carrying(*values: bytes) -> list[tuple[str, bytes]]:
    """Such headers, of a state record."""
    return [("traceparent", b"00-1"), *((HEADER, value) for value in values)]


def claimed(
    place: Place | None, *, epoch: int = 80, at: tuple[int, int] = (90, 30), ends: tuple[int, int] = (200, 50)
) -> Claimed:
    """A home that is restored: where its group says that it stands, and in which epoch."""
    home = Home(2, epoch=epoch + 1, events_at=at[0], commands_at=at[1], read_first=ends[0])
    known = Metadata("ns.coordinator.c2", 1, epoch, now_ms=1_600_000_000_000)
    return Claimed(home, Stage.RESTORE, known, commands_end=ends[1], place=place)


def test_place_is_read_as_it_was_written() -> None:
    name, value = PLACE.header()

    assert (name, value) == ("place", b"120/40/80/1700000000000")
    assert place_in(carrying(value)) == PLACE


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"120/40/80",
        b"120/40/80/1/1",
        b"-1/40/80/1",
        b"120/40/80/x",
        b"1" * 19 + b"/1/1/1",
        b"1/1/1/253402300800000",
    ],
)
def test_place_that_nobody_of_ours_wrote_is_none(value: bytes) -> None:
    assert place_in(carrying(value)) is None
    assert place_in(carrying()) is None


def test_home_whose_positions_went_back_goes_on_where_its_state_says(caplog: pytest.LogCaptureFixture) -> None:
    # The story: a broker that was killed twice in a minute gave out positions of an hour ago, epoch 3 for epoch 80, and
    # starts that had long ended were begun once more.
    clock, it = LogClock(), claimed(PLACE, epoch=3)

    assert went_on(it, clock)

    assert (it.home.at, it.home.epoch) == ((120, 40), 81)
    assert clock.reading == datetime.fromtimestamp(1_700_000_000, UTC), "an instant that was told is not taken back"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "home 2: its positions went back to 90 of events and 30 of commands" in caplog.text


@pytest.mark.parametrize(
    ("it", "at"),
    [
        (claimed(PLACE, at=(90, 40)), (120, 40)),
        (claimed(PLACE, at=(120, 30)), (120, 40)),
        (claimed(PLACE, at=(130, 30)), (130, 40)),
        (claimed(PLACE, ends=(120, 40)), (120, 40)),
    ],
    ids=["events alone", "commands alone", "one went back, the other went on", "nothing came since"],
)
def test_either_position_may_have_gone_back(it: Claimed, at: tuple[int, int]) -> None:
    assert went_on(it, LogClock())
    assert it.home.at == at


@pytest.mark.parametrize(
    "it",
    [
        claimed(None),
        claimed(PLACE, at=(120, 40)),
        claimed(PLACE, at=(130, 41)),
        claimed(PLACE, ends=(119, 50)),
        claimed(PLACE, ends=(200, 39)),
    ],
    ids=[
        "state says nothing",
        "as the state says",
        "markers and gaps were committed over since",
        "`events` was made anew",
        "`commands` was made anew",
    ],
)
def test_positions_count_where_they_did_not_go_back(it: Claimed, caplog: pytest.LogCaptureFixture) -> None:
    before = it.home.at

    assert not went_on(it, LogClock())

    assert it.home.at == before
    assert caplog.text == ""


def test_home_that_was_opened_where_its_positions_had_gone_back_is_mended_by_the_next_owner() -> None:
    """The first one died before it had read where the home stands, or never learnt that it had opened it. Its epoch is
    the higher one, and says nothing: two losses in a row stopped a home for good (seed 10312)."""
    it = claimed(PLACE, epoch=81)

    assert went_on(it, LogClock())

    assert (it.home.at, it.home.epoch) == ((120, 40), 82)


def test_epoch_and_instant_are_above_the_last_that_the_state_knows() -> None:
    it, clock = claimed(PLACE, epoch=79, at=(120, 40)), LogClock()

    assert not went_on(it, clock), "nothing is done twice"

    assert it.home.epoch == 81
    assert clock.reading == datetime.fromtimestamp(1_700_000_000, UTC), "as far as it was told (seed 3901)"


class Table:
    """`runs` in memory, and a restore of it."""

    def __init__(self) -> None:
        self.transport = MemoryTransport(ManualClock())
        self.transport.admin().create([TopicSpec(TOPIC, 3, config={"cleanup.policy": "compact"})])
        self.kernel = Kernel(define(node("a")), run_id="r-1")
        repair = Repair(lambda: self.transport.reader("mending"), "farandole.events", lambda _: self.kernel.graph)
        self.restore = Restore(self.transport.reader("restoring"), TOPIC, lambda _: self.kernel.graph, repair)

    def write(self, home: int, key: str, value: bytes | None, place: Place | None = None) -> None:
        producer = self.transport.producer("writing")
        headers = () if place is None else (place.header(),)
        producer.send(NewRecord(TOPIC, key.encode(), value, headers, home))
        assert producer.flush(1) == 0

    def read(self, *homes: int) -> list[Claimed]:
        places = {home: TopicPartition(TOPIC, home) for home in homes}
        ends = self.transport.admin().ends(list(places.values()), Isolation.UNCOMMITTED)
        claimed = [Claimed(Home(home), Stage.RESTORE, end=ends[at]) for home, at in places.items()]
        self.restore.begin(claimed)
        for _ in range(100):
            self.restore.step(2_000)
        return claimed


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table()
    yield made
    made.restore.reader.close()


def test_last_place_on_the_log_counts_also_one_on_a_tombstone(table: Table) -> None:
    (head,) = [value for key, value in table.kernel.table.items() if key == "r-1"]
    table.write(0, "r-1", head, Place(500, 1, 90, 1))  # before the topics were made anew
    table.write(0, "r-1", head, Place(7, 1, 91, 1))
    table.write(0, "r-1#o/1", None, Place(8, 2, 91, 1))
    table.write(0, "r-1", head)
    table.write(1, "r-1", head)
    table.write(2, KEY.decode(), b"", Place(9, 2, 91, 1))
    table.write(2, "r-1", head)

    first, second, third = table.read(0, 1, 2)

    assert (first.place, second.place, third.place) == (Place(8, 2, 91, 1), None, Place(9, 2, 91, 1))
    assert [each.home.runs.keys() for each in (first, second, third)] == [{"r-1"}] * 3
    assert table.restore.places == {}


def test_home_that_goes_meanwhile_leaves_no_place_for_its_next_restore(table: Table) -> None:
    table.write(0, "r-2#c/1", b"", PLACE)
    at = TopicPartition(TOPIC, 0)
    end = table.transport.admin().ends([at], Isolation.UNCOMMITTED)[at]
    table.restore.begin([Claimed(Home(0), Stage.RESTORE, end=end + 100)])
    table.restore.step(2_000)
    assert table.restore.places == {0: PLACE}

    table.restore.drop(0)

    assert table.restore.places == {}
