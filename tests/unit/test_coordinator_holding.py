"""Runs that an error of ours holds: others go on, nothing is lost, and the release folds what was missed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from msgspec import structs

from farandole.coordinator.refold import Missed, Refold, RefoldWanted
from farandole.definition.graph import graph_of
from farandole.definition.model import Definition
from farandole.events import facts
from farandole.events.catalogue import encode
from farandole.events.commands import CancelRun, ReleaseRun
from farandole.events.envelope import parse_envelope
from farandole.events.tables import Claim
from farandole.ids import sha256
from farandole.kernel.rebuild import rebuild
from farandole.kernel.state import Status
from farandole.testing.desk import Desk, LogReader
from farandole.testing.sketch import define, framed, node
from farandole.transport.port import Polled, TopicPartition, Trouble

EVENTS = TopicPartition("farandole.events", 0)

# A params.n of 0 makes the condition of `b` an error.
BROKEN = define(node("a"), node("x"), node("b", "a", "x", when="a.n / params.n == 1"), name="p", output="b")
JOIN = define(node("a"), node("x"), node("y", "x"), node("j", "a.n", "y"), name="p", output="j")


def desk_of_join(folder: Path, run: str = "r-1", *, definition: Definition = JOIN) -> Desk:
    """A run whose `a` gave a large payload, of which there is only the claim: nobody finds it in the store."""
    desk = Desk(definition, artifacts=folder)
    desk.start(run)
    desk.turns()
    large = framed(4)
    task = next(task for task in desk.tasks() if task.step == "a")
    desk.report(task, encode(Claim(sha256(large), len(large))))
    return desk


def unreadable(desk: Desk, step: str = "x", *, run: str = "r-1") -> int:
    """An event about a step of the run that nobody can read; its offset."""
    good = desk.record_of(facts.StepSucceeded(run, step, 1, framed()))
    record = desk.raw_event(b"\xc3\x01garbage", good.headers)
    desk.turns()
    return record.offset


def mend(desk: Desk, offset: int, step: str = "x") -> None:
    """As if a newer version could read what stands there: the success of a step."""
    good = desk.record_of(facts.StepSucceeded("r-1", step, 1, framed()))
    desk.logs[EVENTS][offset] = structs.replace(desk.logs[EVENTS][offset], value=good.value)


@dataclass
class Deleting:
    """A reader to whom the log says that what it was to read was deleted."""

    told: Trouble

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        pass

    def poll(self, timeout: float) -> Sequence[Polled]:
        return [self.told]

    def position(self, at: TopicPartition) -> int | None:
        return None

    def close(self) -> None:
        pass


def ids(desk: Desk) -> list[str]:
    """The ids of everything on `events`."""
    return [parse_envelope(record.headers).id for record in desk.logs[EVENTS]]


def release(desk: Desk) -> None:
    """Somebody releases the run."""
    desk.command(ReleaseRun("r-1"))
    desk.turns()


def test_exception_in_an_expression_holds_its_run_and_others_go_on() -> None:
    desk = Desk(BROKEN)
    for run, n in (("r-1", 0), ("r-2", 1)):
        desk.start(run, n=n)
    desk.turns()

    for run in ("r-1", "r-2"):
        desk.succeed("x", run=run)
        desk.succeed("a", run=run, n=1)
    desk.turns()

    assert "expression 'a.n / params.n == 1'" in desk.run("r-1").head.kernel_error
    assert desk.run("r-2").step("b").status is Status.SCHEDULED
    assert len(desk.events(facts.RunHeld)) == 1


def test_hold_that_would_end_after_the_last_instant_ends_with_it() -> None:
    """The wait overflowed once more while the run was held: the error ended each coordinator that took the home."""
    desk = Desk(define(node("a", retry=1), name="p", hold_max=timedelta.max, stop_max=timedelta.max))
    desk.start("r-1")
    desk.turns()

    desk.fail("a")
    desk.turns()
    (held,) = desk.events(facts.RunHeld)
    assert held.reason == "dead_letter"
    assert held.until is not None
    assert held.until.year == 9999
    unreadable(desk, "a")
    assert desk.run().head.kernel_error
    desk.restore()
    desk.command(CancelRun("r-1", "enough"))
    desk.turns()

    assert desk.outcome() == "cancelled"


def test_exception_at_the_start_holds_the_run_and_a_release_tries_once_more() -> None:
    desk = Desk(define(node("a", when="1 / params.n == 1"), name="p"))
    desk.start("r-1", n=0)
    desk.turns()
    assert (desk.run().head.unfolded_from, desk.tasks()) == (-1, [])

    release(desk)

    assert len(desk.events(facts.RunReleased)) == 1
    assert len(desk.events(facts.RunHeld)) == 2, "the definition is as broken as it was"


def test_exception_leaves_nothing_of_the_fact_that_led_to_it(tmp_path: Path) -> None:
    desk = desk_of_join(tmp_path)
    desk.succeed("x")
    desk.turns()

    desk.succeed("y")
    desk.turns()

    head = desk.run().head
    assert head.kernel_error.startswith("ClaimBroken")
    assert desk.run().step("y").status is Status.SCHEDULED
    assert desk.events(facts.RunHeld)[0].offset == head.unfolded_from


def test_release_folds_what_was_missed_in_its_order(tmp_path: Path) -> None:
    desk = desk_of_join(tmp_path)
    desk.succeed("x")
    desk.succeed("y")
    desk.turns()
    assert desk.run().is_held

    desk.artifacts.put(framed(4))
    release(desk)
    desk.succeed("j")
    desk.turns()

    assert desk.outcome() == "succeeded"
    assert sorted(set(desk.triggers())) == sorted(desk.triggers()), "nothing was triggered twice"


def test_release_of_an_event_that_is_still_unreadable_holds_the_run_again() -> None:
    """It was decoded without a guard, and ended the process at every restart."""
    desk = Desk(JOIN)
    desk.start("r-1")
    desk.start("r-2")
    desk.turns()
    offset = unreadable(desk)

    release(desk)
    desk.succeed("x", run="r-2")
    desk.turns()

    assert (desk.run().is_held, desk.run().head.unfolded_from) == (True, offset)
    assert len(set(ids(desk))) == len(ids(desk)), "the second hold is a record of its own"
    assert desk.run("r-2").step("x").status is Status.SUCCEEDED


def test_release_after_a_second_hold_folds_from_there_on() -> None:
    desk = Desk(JOIN)
    desk.start("r-1")
    desk.turns()
    first = unreadable(desk)
    second = unreadable(desk, "a")
    assert desk.run().head.unfolded_from == first, "the second one is passed over like any other"

    mend(desk, first)
    release(desk)
    assert (desk.run().step("x").status, desk.run().head.unfolded_from) == (Status.SUCCEEDED, second)
    mend(desk, second, "a")
    release(desk)

    assert (desk.run().step("a").status, desk.run().is_held) == (Status.SUCCEEDED, False)


def test_release_waits_until_what_was_missed_has_been_read() -> None:
    desk = Desk(JOIN)
    desk.start("r-1")
    desk.turns()
    unreadable(desk)
    desk.command(ReleaseRun("r-1"))
    desk.turn()

    batch = desk.batch()
    assert (batch.is_empty, batch.events_at) == (True, len(desk.logs[EVENTS]) - 1)
    assert desk.refold.wanted is not None
    desk.turns()

    assert len(desk.events(facts.RunReleased)) == 1


def test_release_that_waits_for_what_was_missed_stays_on_its_way() -> None:
    """It was noted as read back while it waited: asked for again meanwhile, it was written again."""
    desk = Desk(JOIN)
    desk.start("r-1")
    desk.turns()
    unreadable(desk)
    desk.command(ReleaseRun("r-1"))
    desk.turn()

    desk.batch().publish()
    desk.command(ReleaseRun("r-1"))
    desk.turns()

    assert len(desk.events(facts.ReleaseRequested)) == 1


def test_release_thrown_away_with_its_batch_is_made_once() -> None:
    desk = Desk(JOIN)
    desk.start("r-1")
    desk.turns()
    mend(desk, unreadable(desk))
    desk.command(ReleaseRun("r-1"))
    desk.turn()
    desk.batch()
    while desk.refold.step():
        pass

    desk.batch().abandon()
    desk.turns()

    assert len(desk.events(facts.RunReleased)) == 1
    assert desk.run().step("x").status is Status.SUCCEEDED
    assert desk.refold.found == {}


def test_what_was_missed_is_read_once_for_all_releases_that_are_on_the_log() -> None:
    # The story: an operator released a hundred runs in a loop, after a bug in an expression was gone. For each the log
    # was read from its hold to its release, while the home stood still: 20,000 records for 100 runs of one fact each.
    desk, runs = Desk(JOIN), [f"r-{n}" for n in range(5)]
    for run in runs:
        desk.start(run)
    desk.turns()
    for run in runs:
        unreadable(desk, run=run)
    for run in runs:
        desk.command(ReleaseRun(run))
    desk.turn()

    desk.batch()
    asked = dict(desk.refold._asked)
    while desk.refold.step():
        pass
    desk.turn()

    assert sorted(asked) == runs
    assert desk.refold.wanted is None, "none was read for alone"
    assert len(desk.events(facts.RunReleased)) == 5


def test_release_whose_facts_are_there_is_not_given_up_with_one_whose_facts_were_deleted() -> None:
    """What is read for several begins where the first of them was held."""
    at = TopicPartition("farandole.events", 0)
    there, deleted = RefoldWanted("r-1", at, 5, 9), RefoldWanted("r-2", at, 3, 10)
    refold = Refold(lambda: Deleting(Trouble("position_out_of_range", "deleted", at)))

    refold.want(there, [deleted])
    refold.step()

    assert (refold.wanted, {run: it.records for run, it in refold.found.items()}) == (None, {"r-2": None})
    refold.want(there, [deleted])
    assert list(refold._asked) == ["r-1"], "it is asked for again, and alone"


def test_release_that_waits_is_forgotten_with_its_home_and_no_other_home_waits_for_it() -> None:
    """It was waited for by whoever came next, though nobody was there any more to fold it."""
    away, here = (RefoldWanted(f"r-{n}", TopicPartition("farandole.events", n), 5, 9) for n in (1, 2))
    refold = Refold(lambda: LogReader({away.at: [], here.at: []}))
    refold.found["r-0"] = Missed(away.at, range(5), [])
    refold.want(away)
    refold.step()

    refold.drop(1)
    refold.want(here)

    assert (refold.wanted, refold.found) == (here, {})


def test_release_folds_what_this_hold_missed_not_what_was_read_for_an_earlier_one() -> None:
    """A release was lost with its home; when the home came back, the next one folded the records of the first."""
    desk = Desk(JOIN)
    desk.start("r-1")
    desk.turns()
    mend(desk, unreadable(desk))
    desk.command(ReleaseRun("r-1"))
    desk.turn()
    desk.batch()
    while desk.refold.step():
        pass
    desk.batch().abandon()
    ours = desk.refold

    desk.refold = desk.builder.refold = Refold(lambda: LogReader(desk.logs))
    desk.restore()
    desk.turns()
    second = unreadable(desk, "a")
    desk.refold = desk.builder.refold = ours
    desk.restore()
    mend(desk, second, "a")
    release(desk)

    assert (desk.run().step("a").status, desk.run().is_held) == (Status.SUCCEEDED, False)


def test_retry_that_came_due_while_the_run_was_held_comes_after_its_release() -> None:
    """Its timer was dropped, and the run waited until the coordinator was restarted."""
    desk = Desk(JOIN)
    desk.start("r-1")
    desk.turns()
    desk.fail("a")
    desk.turns()
    mend(desk, unreadable(desk))
    desk.pass_time(timedelta(minutes=1))
    assert desk.events(facts.RetryDue) == []

    release(desk)
    desk.pass_time(timedelta(seconds=1))

    assert [task.attempt for task in desk.tasks() if task.step == "a"] == [1, 2]


def test_cancel_ends_a_held_run_without_asking_its_definition() -> None:
    desk = Desk(BROKEN)
    desk.start("r-1", n=0)
    desk.turns()
    desk.succeed("x")
    desk.succeed("a")
    desk.turns()

    desk.command(CancelRun("r-1", "hopeless"))
    desk.turns()

    assert desk.outcome() == "cancelled"
    assert [record.key for record in desk.logs[TopicPartition("farandole.control", 0)]] == [b"run:r-1"]


def test_hold_max_ends_a_held_run_as_failed() -> None:
    desk = Desk(BROKEN)
    desk.start("r-1", n=0)
    desk.turns()
    desk.succeed("x")
    desk.succeed("a")
    desk.turns()

    desk.pass_time(BROKEN.hold_max + timedelta(seconds=1))

    assert desk.outcome() == "failed"


def test_held_run_survives_a_restore(tmp_path: Path) -> None:
    desk = desk_of_join(tmp_path)
    desk.succeed("x")
    desk.succeed("y")
    desk.turns()
    before = desk.run()

    desk.restore()
    assert desk.run() == before
    desk.artifacts.put(framed(4))
    release(desk)

    assert desk.tasks()[-1].step == "j"


def test_payload_too_large_for_a_record_is_a_claim_that_the_shell_stores(tmp_path: Path) -> None:
    desk = Desk(define(node("a"), node("b"), node("j", "a", "b"), name="p"), artifacts=tmp_path)
    desk.start("r-1")
    desk.turns()
    for task in desk.tasks():
        desk.report(task, framed(1, pad="x" * 200_000))

    desk.turns()

    given = desk.tasks()[-1]
    assert given.step == "j"
    assert len(given.input) < 200
    assert sum(path.stat().st_size > 400_000 for path in tmp_path.rglob("*") if path.is_file()) == 1


def test_output_of_a_large_payload_passes_through_as_its_claim(tmp_path: Path) -> None:
    desk = Desk(define(node("a"), node("b", "a"), name="p", output="a"), artifacts=tmp_path)
    desk.start("r-1")
    desk.turns()
    claim = encode(Claim(sha256(framed(4)), len(framed(4))))

    desk.fact(facts.StepSucceeded("r-1", "a", 1, claim))
    desk.turns()

    assert [(task.step, task.input == claim) for task in desk.tasks()] == [("a", False), ("b", True)]


def test_release_that_meets_the_same_error_holds_the_run_where_it_was(tmp_path: Path) -> None:
    desk = desk_of_join(tmp_path)
    desk.succeed("x")
    desk.succeed("y")
    desk.turns()
    since = desk.run().head.unfolded_from

    release(desk)
    release(desk)

    assert (desk.run().is_held, desk.run().head.unfolded_from) == (True, since)
    assert len(set(ids(desk))) == len(ids(desk))
    desk.artifacts.put(framed(4))
    release(desk)
    assert desk.tasks()[-1].step == "j"


def test_rebuild_of_a_log_with_a_held_run_gives_it_as_it_stands(tmp_path: Path) -> None:
    desk = desk_of_join(tmp_path)
    desk.start("r-2")
    desk.succeed("x")
    desk.succeed("y")
    desk.turns()
    desk.fact(facts.StepFailed("r-1", "y", 1, "exception", "", "", True, framed()))
    desk.turns()

    assert rebuild(desk.logged(), lambda _: graph_of(JOIN)) == desk.home.runs


def test_rebuild_of_a_log_with_a_released_run_folds_what_it_missed_where_that_was_folded(tmp_path: Path) -> None:
    """It was never folded: a run whose state was damaged later was rebuilt with results missing, and never ended."""
    desk = desk_of_join(tmp_path)
    desk.succeed("x")
    desk.succeed("y")
    desk.turns()
    desk.fact(facts.StepFailed("r-1", "y", 1, "exception", "", "", True, framed()))  # late: it had succeeded
    desk.turns()
    release(desk)
    held_again = rebuild(desk.logged(), lambda _: graph_of(JOIN))
    assert held_again == desk.home.runs
    desk.artifacts.put(framed(4))

    release(desk)
    desk.succeed("j")
    released = rebuild(desk.logged(), lambda _: graph_of(JOIN))
    desk.turns()

    assert (released["r-1"].head.kernel_error, released["r-1"].step("j").status.name) == ("", "SUCCEEDED")
    assert rebuild(desk.logged(), lambda _: graph_of(JOIN)) == desk.home.runs


def test_fact_that_held_the_run_as_an_error_and_then_as_a_dead_letter_has_two_holds_of_different_ids(
    tmp_path: Path,
) -> None:
    """Both were the first `RunHeld` of one fact: two records, of which a reader that drops duplicates took one."""
    definition = define(node("a"), node("x"), node("j", "a.n", "x", retry=1), name="p")
    desk = desk_of_join(tmp_path, definition=definition)
    desk.artifacts.put(framed(4))
    desk.succeed("x")
    desk.turns()
    for stored in [path for path in tmp_path.rglob("*") if path.is_file()]:
        stored.unlink()

    desk.fact(facts.StepFailed("r-1", "j", 1, "exception", "", "", True, b""))
    desk.turns()
    desk.artifacts.put(framed(4))
    release(desk)

    assert [held.reason for held in desk.events(facts.RunHeld)] == ["kernel_error", "dead_letter"]
    assert len(set(ids(desk))) == len(ids(desk))
