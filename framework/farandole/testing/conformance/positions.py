"""Committed positions: what was never committed, what is pending, where an inbox starts."""

from farandole.testing.conformance.case import cases
from farandole.testing.conformance.kit import Kit
from farandole.transport.port import FenceWriter, NewRecord, Position, ReadPositions


def positions_that_were_never_committed_are_told_as_none(kit: Kit) -> None:
    """And are absent where an operator looks: missing is not zero (R8)."""
    first, second = kit.topic_of([[], []])
    member = kit.joined([first.topic])
    member.commits([], {first: Position(0, "zero")})

    stable = member.positions([first, second])
    last = member.ask(ReadPositions([first, second], stable=False))

    assert stable == dict(last.positions) == {first: Position(0, "zero"), second: None}
    assert dict(kit.admin.positions(kit.name("group"))) == {first: Position(0, "zero")}
    assert dict(kit.admin.positions(kit.name("group"), [second])) == {}


def positions_of_a_group_that_never_was_are_none(kit: Kit) -> None:
    """Not an error: `apply` asks before anybody has joined (R8)."""
    (at,) = kit.topic_of([[]])
    member = kit.joined([at.topic])

    reply = member.ask(ReadPositions([at], group=kit.name("nobody")))

    assert dict(reply.positions) == {at: None}
    assert dict(kit.admin.positions(kit.name("nobody"))) == {}


def positions_belong_to_their_group(kit: Kit) -> None:
    """Also when another group's are asked for by a member (the watchdog does)."""
    (at,) = kit.topic_of([[]])
    one, other = kit.joined([at.topic], "one", "first"), kit.joined([at.topic], "other", "second")
    one.commits([], {at: Position(1, "one")})
    other.commits([], {at: Position(2, "other")})

    own = one.positions([at])
    others = one.positions([at], kit.name("other"))

    assert own == {at: Position(1, "one")}
    assert others == {at: Position(2, "other")}


def a_stable_read_leaves_out_what_is_pending_and_answers_for_the_rest(kit: Kit) -> None:
    """One pending partition must not hold up the others (R12)."""
    pending, free = kit.topic_of([[], []])
    member = kit.joined([pending.topic])
    member.commits([], {pending: Position(1, "one"), free: Position(1, "one")})
    member.positions([pending, free])
    kit.hang(kit.name("dead"), (), kit.name("group"), {pending: Position(9, "nine")})

    stable = member.ask(ReadPositions([pending, free]))
    last = member.ask(ReadPositions([pending, free], stable=False))

    assert dict(stable.positions) == {free: Position(1, "one")}
    assert dict(last.positions) == {pending: Position(1, "one"), free: Position(1, "one")}
    assert kit.admin.positions(kit.name("group"))[pending] == Position(1, "one")


def fencing_the_writer_settles_its_pending_positions(kit: Kit) -> None:
    """So that a take-over can go on (R7, R12)."""
    (at,) = kit.topic_of([[]])
    member = kit.joined([at.topic])
    member.commits([], {at: Position(1, "one")})
    member.positions([at])
    kit.hang(kit.name("dead"), [NewRecord(at.topic, None, b"x", (), 0)], kit.name("group"), {at: Position(9)})
    assert dict(member.ask(ReadPositions([at])).positions) == {}

    member.ask(FenceWriter(kit.name("dead")))

    assert member.positions([at]) == {at: Position(1, "one")}


def start_positions_are_committed_only_where_there_is_none(kit: Kit) -> None:
    """`apply` may run again at any time (R8)."""
    first, second = kit.topic_of([[b"x"], [b"x"]])
    group = kit.name("unborn")

    kit.admin.start_positions(group, {first: Position(1, "mine")})
    kit.admin.start_positions(group, {first: Position(0), second: Position(0, "start")})

    assert dict(kit.admin.positions(group)) == {first: Position(1, "mine"), second: Position(0, "start")}


def start_positions_may_be_committed_for_a_group_that_lives(kit: Kit) -> None:
    """A new inbox of a running unit; nobody is rebalanced for it (R8)."""
    (inbox,), (fresh,) = kit.topic_of([[]]), kit.topic_of([[b"x"]], "fresh")
    member = kit.joined([inbox.topic])
    member.commits([], {inbox: Position(0)})
    member.positions([inbox])
    before = member.member.snapshot()

    kit.admin.start_positions(kit.name("group"), {fresh: Position(0), inbox: Position(7)})

    assert member.positions([inbox, fresh]) == {inbox: Position(0), fresh: Position(0)}
    assert member.commit([], {inbox: Position(1)}, before).error is None
    assert member.moved("gone", "lost") == frozenset()


CASES = cases(
    positions_that_were_never_committed_are_told_as_none,
    positions_of_a_group_that_never_was_are_none,
    positions_belong_to_their_group,
    a_stable_read_leaves_out_what_is_pending_and_answers_for_the_rest,
    fencing_the_writer_settles_its_pending_positions,
    start_positions_are_committed_only_where_there_is_none,
    start_positions_may_be_committed_for_a_group_that_lives,
)
