"""State records: what is written when, and that it gives the run back."""

from dataclasses import replace

import msgspec
import pytest

from farandole.errors import InvariantViolation
from farandole.events import facts
from farandole.events.catalogue import decode, encode
from farandole.events.tables import Claim, RunHead
from farandole.kernel.decide import follow
from farandole.kernel.snapshot import (
    RIDES_MAX,
    group_by_run,
    read_run,
    state_records,
    tombstones,
    whole_records,
)
from farandole.kernel.state import Run
from farandole.kernel.values import Values
from farandole.testing.sketch import define, framed, node
from farandole.testing.stage import Stage

JOINED = define(node("a"), node("b"), node("j", "a", "b"))
LARGE = "x" * RIDES_MAX


def read_back(stage: Stage) -> Run:
    """The run from its records alone."""
    return read_run(lambda _: stage.graph, group_by_run(stage.table.items())["r-1"], "r-1")


def changed_by(stage: Stage, fact: facts.Fact) -> dict[str, bytes | None]:
    """The records that a fact writes."""
    after = follow(stage.run, fact, stage.moment, Values()).run
    return dict(state_records(stage.run, after, stage.now))


def test_small_payloads_ride_in_the_head() -> None:
    stage = Stage(JOINED)

    stage.succeed("a", n=1)

    assert set(stage.table) == {"r-1"}
    assert read_back(stage).step("a").output == framed(1)


def test_payload_at_the_limit_rides_and_one_byte_more_has_a_record_of_its_own() -> None:
    bare = len(framed(pad="x" * 100)) - 100

    for more, keys in ((0, {"r-1"}), (1, {"r-1", "r-1#o/0"})):
        stage = Stage(JOINED)
        stage.succeed("a", pad="x" * (RIDES_MAX - bare + more))

        assert set(stage.table) == keys
        assert read_back(stage) == stage.run


def test_runs_of_one_definition_share_its_texts() -> None:
    runs = []
    for name in ("r-1", "r-2"):
        stage = Stage(JOINED, run_id=name)
        runs.append(read_run(lambda _, of=stage: of.graph, {"": stage.table[name]}, name))  # type: ignore[misc]

    assert runs[0].head.definition is runs[1].head.definition
    assert runs[0].head.pipeline is runs[1].head.pipeline


def test_large_payload_is_written_once() -> None:
    stage = Stage(JOINED, pad=LARGE)
    assert set(stage.table) == {"r-1", "r-1#p"}
    fact = stage.report(stage.take("a"), framed(pad=LARGE))

    assert set(changed_by(stage, fact)) == {"r-1", "r-1#o/0"}
    stage.fold()

    assert set(changed_by(stage, facts.StepSucceeded("r-1", "b", 1, framed()))) == {"r-1"}


def test_large_input_of_a_failed_attempt_goes_when_the_step_succeeds() -> None:
    stage = Stage(define(node("a"), node("b", "a"), node("c")))
    stage.succeed("a", pad=LARGE)

    stage.fail("b")
    assert "r-1#i/1" in stage.table
    stage.tell(facts.RetryDue("r-1", "b", 2))
    assert read_back(stage) == stage.run
    stage.succeed("b")

    assert set(stage.table) == {"r-1"}


def test_repaired_input_replaces_a_large_one() -> None:
    stage = Stage(define(node("a"), node("b", "a", retry=1)))
    stage.succeed("a", pad=LARGE)
    stage.fail("b")

    stage.tell(facts.ReplayRequested("r-1", "b", 1, "", framed(1)))

    assert "r-1#i/1" not in stage.table
    assert read_back(stage) == stage.run


def test_empty_input_of_a_failed_attempt_does_not_break_the_restore() -> None:
    """An empty payload in a chunk stands for one with a record of its own, which was never written."""
    stage = Stage(define(node("a", retry=1)))

    stage.tell(facts.StepFailed("r-1", "a", 1, "unknown", "too large", "f", False, b"", dead_lettered=True))

    assert read_back(stage) == stage.run


def test_empty_output_and_empty_repair_do_not_break_the_restore() -> None:
    stage = Stage(define(node("a"), node("b", "a", "params.n", retry=1), node("m", over="params.items")), items=[1])

    stage.tell(facts.StepFailed("r-1", "m", 1, "exception", "", "", False, framed(), dead_lettered=True, item=0))
    stage.tell(facts.ReplayRequested("r-1", "m", 1, "", b"", 0))
    assert read_back(stage) == stage.run
    after = follow(stage.run, facts.CancelRequested("r-1"), stage.moment, Values()).run
    late = follow(after, facts.StepSucceeded("r-1", "a", 1, b""), stage.moment, Values()).run

    assert late.step("a").output is None


def test_only_the_head_is_written_where_only_the_head_changed() -> None:
    stage = Stage(define(node("m", over="params.items")), items=range(200))

    assert set(changed_by(stage, facts.CancelRequested("r-1"))) == {"r-1"}


def test_run_in_the_place_of_a_stub_is_written_whole() -> None:
    """Its params were taken for written: forgotten and started anew in one batch, it could not have been restored."""
    ended, again = Stage(define(node("a")), pad=LARGE), Stage(define(node("a")), pad=LARGE)
    ended.succeed("a")
    assert ended.run.is_settled

    records = dict(state_records(ended.run, again.run, again.now))

    assert records == again.table
    assert set(records) == {"r-1", "r-1#p"}


def test_run_that_is_written_whole_leaves_nothing_behind_of_what_it_has_no_more() -> None:
    # The story: an older coordinator could not read the definition; what the run missed was folded at its release, and
    # the input of an attempt that had been repeated meanwhile stayed in `runs` after the run had ended (seed 1944).
    stage = Stage(define(node("a"), node("b", "a"), node("c", "b")), pad=LARGE)
    stage.succeed("a", pad=LARGE)
    stage.fail("b")
    before, table = stage.run, {**stage.table}
    assert "r-1#i/1" in table
    stage.tell(facts.RetryDue("r-1", "b", 2))
    stage.succeed("b", pad=LARGE)

    records = dict(whole_records(before, stage.run, stage.now))

    assert [key for key, value in records.items() if value is None] == ["r-1#i/1"]
    assert {key: value for key, value in (table | records).items() if value is not None} == stage.table
    assert {key: value for key, value in records.items() if value is not None} == stage.table


def test_fact_without_effect_writes_nothing() -> None:
    stage = Stage(JOINED)
    fact = stage.succeed("a")

    assert changed_by(stage, fact) == {}


@pytest.mark.parametrize("settle", ["success", "cancel"])
def test_settling_leaves_the_stub_alone(settle: str) -> None:
    definition = define(node("m", over="params.items"), node("n", "item", over="m"), node("z", "n"))
    stage = Stage(definition, items=range(100), pad=LARGE)
    for item in range(99):
        stage.succeed("m", item, pad=LARGE)
        stage.fail("n", item)
    assert len(stage.table) > 200

    if settle == "cancel":
        stage.tell(facts.CancelRequested("r-1"))
        stage.fail("m", 99)
    else:
        stage.succeed("m", 99)
        for item in range(99):
            stage.tell(facts.RetryDue("r-1", "n", 2, item))
        for item in range(100):
            stage.succeed("n", item)
        stage.succeed("z")

    assert stage.outcome
    assert set(stage.table) == {"r-1"}
    assert read_back(stage) == stage.run


def test_tombstones_are_of_every_record_of_a_run() -> None:
    stage = Stage(define(node("m", over="params.items"), node("z", "m")), items=range(100), pad=LARGE)
    for item in range(0, 100, 3):
        stage.succeed("m", item, pad=LARGE)

    assert {key for key, _ in tombstones(stage.run)} == set(stage.table)


def test_head_is_a_public_record_that_says_where_the_run_stands() -> None:
    stage = Stage(define(node("a", retry=1), node("b")))

    def status() -> str:
        head = decode(stage.table["r-1"])
        assert isinstance(head, RunHead)
        return head.status

    assert status() == "running"
    stage.fail("a")
    assert status() == "held"
    stage.tell(facts.CancelRequested("r-1"))
    assert status() == "stopping"
    stage.answer("b")
    assert status() == "settled"


def test_state_of_another_version_is_refused_whatever_its_shape() -> None:
    stage = Stage(JOINED)
    head = decode(stage.table["r-1"])
    assert isinstance(head, RunHead)
    other = encode(replace(head, state=msgspec.msgpack.encode([2, {"shape": "unlike"}])))

    with pytest.raises(InvariantViolation, match=r"expected state version 1 or older, but found 2.*upgrade it"):
        read_run(lambda _: stage.graph, {"": other}, "r-1")


def test_state_that_is_damaged_or_missing_is_refused() -> None:
    stage = Stage(define(node("m", over="params.items")), items=range(100), pad=LARGE)
    parts = group_by_run(stage.table.items())["r-1"]

    with pytest.raises(InvariantViolation, match="state record is missing"):
        read_run(lambda _: stage.graph, {key: part for key, part in parts.items() if key != "c/1"}, "r-1")
    with pytest.raises(InvariantViolation, match="state record is missing"):
        read_run(lambda _: stage.graph, {key: part for key, part in parts.items() if key != "p"}, "r-1")
    with pytest.raises(InvariantViolation, match="state record is missing"):  # it was a KeyError, which named nothing
        read_run(lambda _: stage.graph, {key: part for key, part in parts.items() if key}, "r-1")
    with pytest.raises(InvariantViolation, match="damaged"):
        read_run(lambda _: stage.graph, {**parts, "c/1": b"\xff\x00"}, "r-1")
    with pytest.raises(InvariantViolation, match="expected state version"):
        read_run(lambda _: stage.graph, {**parts, "c/1": msgspec.msgpack.encode([7, []])}, "r-1")
    with pytest.raises(InvariantViolation, match=r"runs/r-1: .*bytes are missing"):
        read_run(lambda _: stage.graph, {**parts, "": parts[""][:-1]}, "r-1")
    with pytest.raises(
        InvariantViolation, match=r"runs/r-1: expected a farandole\.RunHead, but found farandole\.Claim"
    ):
        read_run(lambda _: stage.graph, {**parts, "": encode(Claim("ab" * 32, 5))}, "r-1")


def test_head_of_a_held_run_says_to_every_reader_why_it_waits() -> None:
    """`run list` showed that a run was held, and not for what."""
    stage = Stage(define(node("a"), node("b")))
    before = decode(stage.table["r-1"])

    stage.fail("a", retryable=False)
    one = decode(stage.table["r-1"])
    stage.fail("b", retryable=False)
    two = decode(stage.table["r-1"])

    assert isinstance(before, RunHead)
    assert isinstance(one, RunHead)
    assert isinstance(two, RunHead)
    assert (before.status, before.waiting) == ("running", "")
    assert (one.status, one.waiting) == ("held", "dead letter at a: boom")
    assert two.waiting == "dead letter at a and 1 more: boom"


def test_head_of_a_run_with_a_suspected_trigger_says_so() -> None:
    stage = Stage(define(node("a"), node("b")))

    stage.tell(facts.TriggerSuspected("r-1", "b", 1))

    head = decode(stage.table["r-1"])
    assert isinstance(head, RunHead)
    assert head.waiting == "trigger suspected at b"


def older(stage: Stage, version: int) -> dict[str, bytes]:
    """The records of a run as another version would have written them: its name for a run of the pipeline is longer."""
    head = decode(stage.table["r-1"])
    assert isinstance(head, RunHead)
    raw = msgspec.msgpack.decode(head.state, type=list[object])
    return {"": encode(replace(head, state=msgspec.msgpack.encode([version, "what was here before", *raw[1:]])))}


def test_state_of_an_older_version_is_upgraded_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(JOINED)
    stage.succeed("a", n=1)
    monkeypatch.setattr("farandole.kernel.upgrades.VERSION", 3)
    monkeypatch.setattr("farandole.kernel.snapshot.VERSION", 3)
    steps = {1: lambda raw: [raw[0], *raw[2:]], 2: lambda raw: raw}
    monkeypatch.setattr("farandole.kernel.snapshot.HEADS", steps)

    found = read_run(lambda _: stage.graph, older(stage, 1), "r-1")

    assert (found.head, found.chunks) == (stage.run.head, stage.run.chunks)


def test_state_of_a_version_that_no_step_leads_from_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(JOINED)
    monkeypatch.setattr("farandole.kernel.upgrades.VERSION", 3)
    monkeypatch.setattr("farandole.kernel.snapshot.VERSION", 3)
    monkeypatch.setattr("farandole.kernel.snapshot.HEADS", {2: lambda raw: raw})

    with pytest.raises(InvariantViolation, match="can be upgraded to 3, but found 1"):
        read_run(lambda _: stage.graph, older(stage, 1), "r-1")
