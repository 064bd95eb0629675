"""The offset map: what is committed is never above anything unfinished, and never forgets what is done (R9)."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from farandole.runtime.offsets import Admission, OffsetMap
from farandole.transport.metadata import WINDOW


def bits(position: int, bitmap: bytes) -> set[int]:
    """The offsets that a bitmap names."""
    return {position + i * 8 + bit for i, byte in enumerate(bitmap) for bit in range(8) if byte >> bit & 1}


def finished(offsets: Iterable[int], arrived: Iterable[int]) -> OffsetMap:
    """A map in which `arrived` were admitted and `offsets` of them are done."""
    it = OffsetMap(0)
    for offset in arrived:
        it.admit(offset)
    it.finish(offsets)
    return it


class Model(RuleBasedStateMachine):
    """A partition with gaps, one owner after the other, finishing in any order; transactions commit or do not."""

    @initialize(window=st.sampled_from([4, 16, WINDOW]), start=st.integers(0, 1000))
    def begin(self, window: int, start: int) -> None:
        self.window = window
        self.map = OffsetMap(start, window)
        self.next = start
        self.start = start
        self.unfinished: set[int] = set()
        self.done: set[int] = set()
        self.last = (start, b"")
        self.waiting: int | None = None

    @rule(gap=st.integers(0, 12))
    def arrive(self, gap: int) -> None:
        offset = self.waiting if self.waiting is not None else self.next + gap
        admission = self.map.admit(offset)
        self.waiting = offset if admission is Admission.LATER else None
        if admission is Admission.LATER:
            assert self.unfinished
            assert offset - min(self.unfinished) >= self.window
            return
        assert (admission is Admission.DONE) == (offset in self.done)
        self.next = max(self.next, offset + 1)
        if admission is Admission.ADMITTED:
            self.unfinished.add(offset)

    @precondition(lambda self: self.waiting is None)
    @rule(markers=st.integers(0, 3))
    def reach_end(self, markers: int) -> None:
        self.next += markers
        self.map.reached_end(self.next)

    @precondition(lambda self: self.unfinished)
    @rule(data=st.data(), commits=st.booleans())
    def transact(self, data: st.DataObject, commits: bool) -> None:
        batch = data.draw(st.sets(st.sampled_from(sorted(self.unfinished)), min_size=1))
        point = self.map.commit_point(batch)
        left = self.unfinished - batch
        assert point[0] == (min(left) if left else self.next)
        assert batch | self.done <= set(range(self.start, point[0])) | bits(*point)
        assert not left & bits(*point)
        if commits:
            self.map.finish(batch)
            self.unfinished -= batch
            self.done |= batch
            assert self.map.commit_point() == point
            self.last = point

    @rule()
    def hand_over(self) -> None:
        """The next owner reads on from what was committed last; what was not committed arrives again."""
        self.map = OffsetMap.restored(*self.last, self.window)
        self.next, self.unfinished, self.waiting = self.last[0], set(), None

    @rule(offset=st.integers(0, 40))
    def deliver_again(self, offset: int) -> None:
        if self.start + offset < self.next:
            assert self.map.admit(self.start + offset) is Admission.DONE

    @invariant()
    def position_and_bitmap_tell_exactly_what_is_done(self) -> None:
        position, bitmap = self.map.commit_point()
        assert position == self.map.base
        assert position >= self.last[0], "never below an earlier one"
        assert all(position <= offset for offset in self.unfinished), "never lose"
        assert {o for o in self.done if o >= position} == bits(position, bitmap)
        assert len(bitmap) <= self.window // 8 + 1


test_offset_map_under_any_order_of_completion_loses_and_repeats_nothing = Model.TestCase


def test_base_when_the_first_is_stuck_stays_there_with_a_bitmap_above() -> None:
    it = finished([1, 2, 4], range(5))

    assert it.commit_point() == (0, bytes([0b10110]))


def test_base_when_all_is_done_is_the_next_offset() -> None:
    assert finished([0, 1, 2], range(3)).commit_point() == (3, b"")


def test_base_at_the_end_passes_markers_only_when_nothing_is_unfinished() -> None:
    it = finished([0], [0, 1])
    it.reached_end(5)
    assert it.commit_point() == (1, b"")

    it.finish([1])

    assert it.commit_point() == (5, b"")


def test_gaps_count_as_done_and_the_window_is_counted_from_the_first_unfinished() -> None:
    it = OffsetMap(0, window=8)
    assert it.admit(100) is Admission.ADMITTED
    assert it.admit(107) is Admission.ADMITTED
    assert it.admit(108) is Admission.LATER

    it.finish([100])

    assert it.admit(108) is Admission.ADMITTED
    assert it.commit_point() == (107, b"")


def test_bitmap_of_an_earlier_owner_survives_a_commit_before_anything_was_read() -> None:
    it = OffsetMap.restored(10, bytes([0b1000]))

    assert it.commit_point() == (10, bytes([0b1000]))
    assert [it.admit(offset) for offset in (10, 11, 12, 13)] == [
        Admission.ADMITTED,
        Admission.ADMITTED,
        Admission.ADMITTED,
        Admission.DONE,
    ]


@given(st.sets(st.integers(0, WINDOW - 1), min_size=1))
def test_commit_point_with_extra_changes_nothing_by_itself(batch: set[int]) -> None:
    it = finished([], range(WINDOW))
    before = it.commit_point()

    it.commit_point(batch)

    assert it.commit_point() == before
