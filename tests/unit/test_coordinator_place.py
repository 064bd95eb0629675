"""Where a home stands `runs` says too: it counts where the committed positions went back (docs/decisions/0122)."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from farandole.clock import ManualClock
from farandole.coordinator.claimed import Claimed, Stage
from farandole.coordinator.home import Home
from farandole.coordinator.repair import Repair
from farandole.coordinator.restore import TAIL, Restore
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


def claimed(*, epoch: int = 80, at: tuple[int, int] = (90, 30), ends: tuple[int, int] = (200, 50)) -> Claimed:
    """A home that is restored: where its group says that it stands, and in which epoch."""
    home = Home(2, epoch=epoch + 1, events_at=at[0], commands_at=at[1], read_first=ends[0])
    known = Metadata("ns.coordinator.c2", 1, epoch, now_ms=1_600_000_000_000)
    return Claimed(home, Stage.RESTORE, known, commands_end=ends[1])


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
    it = claimed(epoch=3)

    it.go_on(PLACE)

    assert it.went_back
    assert (it.home.at, it.home.epoch) == ((120, 40), 81)
    assert it.told_by_its_last_owner == datetime.fromtimestamp(1_700_000_000, UTC), (
        "an instant that was told is not taken back"
    )
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "home 2: its positions went back to 90 of events and 30 of commands" in caplog.text


@pytest.mark.parametrize(
    ("it", "at"),
    [
        (claimed(at=(90, 40)), (120, 40)),
        (claimed(at=(120, 30)), (120, 40)),
        (claimed(at=(130, 30)), (130, 40)),
        (claimed(ends=(120, 40)), (120, 40)),
    ],
    ids=["events alone", "commands alone", "one went back, the other went on", "nothing came since"],
)
def test_either_position_may_have_gone_back(it: Claimed, at: tuple[int, int]) -> None:
    it.go_on(PLACE)

    assert it.went_back
    assert it.home.at == at


@pytest.mark.parametrize(
    ("it", "place"),
    [
        (claimed(), None),
        (claimed(at=(120, 40)), PLACE),
        (claimed(at=(130, 41)), PLACE),
        (claimed(ends=(119, 50)), PLACE),
        (claimed(ends=(200, 39)), PLACE),
    ],
    ids=[
        "state says nothing",
        "as the state says",
        "markers and gaps were committed over since",
        "`events` was made anew",
        "`commands` was made anew",
    ],
)
def test_positions_count_where_they_did_not_go_back(
    it: Claimed, place: Place | None, caplog: pytest.LogCaptureFixture
) -> None:
    before = it.home.at

    it.go_on(place)

    assert not it.went_back
    assert it.home.at == before
    assert caplog.text == ""


def test_home_that_was_opened_where_its_positions_had_gone_back_is_mended_by_the_next_owner() -> None:
    """The first one died before it had read where the home stands, or never learnt that it had opened it. Its epoch is
    the higher one, and says nothing: two losses in a row stopped a home for good (seed 10312)."""
    it = claimed(epoch=81)

    it.go_on(PLACE)

    assert (it.home.at, it.home.epoch) == ((120, 40), 82)


def test_epoch_and_instant_are_above_the_last_that_the_state_knows() -> None:
    it = claimed(epoch=79, at=(120, 40))

    it.go_on(PLACE)

    assert not it.went_back, "nothing is done twice"
    assert it.home.epoch == 81
    assert it.told_by_its_last_owner == datetime.fromtimestamp(1_700_000_000, UTC), "as far as it was told (seed 3901)"


def test_instant_of_topics_that_were_made_anew_is_none_of_ours() -> None:
    it = claimed(ends=(0, 0))

    it.go_on(PLACE)

    assert it.told_by_its_last_owner == datetime.fromtimestamp(1_600_000_000, UTC)


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

    def claim(self, home: int) -> Claimed:
        """A home whose positions are 0, in topics that are long enough."""
        at = TopicPartition(TOPIC, home)
        end = self.transport.admin().ends([at], Isolation.UNCOMMITTED)[at]
        return Claimed(Home(home, read_first=1_000), Stage.RESTORE, Metadata(epoch=91), end, commands_end=1_000)

    def read(self, *claimed: Claimed) -> list[Claimed]:
        """Restore them; those that are done."""
        self.restore.begin([*claimed])
        return [done for _ in range(100) for done in self.restore.step(2_000)]


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

    first, second, third = (table.claim(home) for home in (0, 1, 2))

    table.read(first, second, third)

    assert (first.place, second.place, third.place) == (Place(8, 2, 91, 1), None, Place(9, 2, 91, 1))
    assert [each.home.runs.keys() for each in (first, second, third)] == [{"r-1"}] * 3
    assert table.restore.places == {}


def test_home_that_goes_meanwhile_leaves_no_place_for_its_next_restore(table: Table) -> None:
    table.write(0, "r-2#c/1", b"", PLACE)
    it = table.claim(0)
    it.end += 100
    table.read(it)
    assert table.restore.places == {0: PLACE}

    table.restore.drop(0)

    assert table.restore.places == {}


def test_what_is_folded_anew_for_a_damaged_run_is_what_the_place_says(table: Table) -> None:
    """A success behind the positions that had gone back was not folded into the run that was rebuilt, and passed over
    when the home went on from its place: what followed from it never came."""
    table.write(0, "r-1", b"damaged", Place(5, 2, 91, 1))

    assert table.read(it := table.claim(0)) == []

    (damaged,) = table.restore.repair.waiting.values()
    assert damaged.claimed is it
    assert it.home.at == (5, 2)


@pytest.mark.parametrize(
    ("place", "is_kept"),
    [
        (Place(9, 2, 91, 1), True),
        (Place(9, 2, 92, 1), False),
        (Place(12, 2, 91, 1), False),
        (None, False),
    ],
    ids=["ours", "another owner's, who did nothing but markers", "another owner's", "an older coordinator's"],
)
def test_state_in_memory_counts_while_nobody_has_written_since(
    table: Table, place: Place | None, *, is_kept: bool
) -> None:
    """Of a broker that had lost exactly what another owner had committed since, a coordinator took up its own memory:
    ten runs were started twice, and nothing was told."""
    (head,) = [value for key, value in table.kernel.table.items() if key == "r-1"]
    for _ in range(TAIL):
        table.write(0, "r-1", head, Place(3, 1, 90, 1))
    table.write(0, "r-1", head, place)
    it = table.claim(0)
    it.keeps_state, it.home.events_at, it.home.commands_at = True, 9, 2

    done = table.read(it)

    assert (done == [it], it.keeps_state) == (is_kept, is_kept)
    assert it.home.runs == {}, "it is not read again, or not yet"
    assert not table.restore.has(0)
    assert table.restore.read == TAIL + 1, "with the end that is told"


def test_home_of_which_nothing_was_ever_written_is_kept_too(table: Table) -> None:
    it = table.claim(0)
    it.keeps_state = True

    assert table.read(it) == [it]
