"""What each record of `commands` and `events` does to a batch, bad ones included."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from farandole.coordinator.reading import RUN_HEADER
from farandole.definition.model import Definition
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.catalogue import decode
from farandole.events.commands import CancelRun, Command, DiscardDeadLetter, ReleaseRun, ReplayDeadLetter, StartRun
from farandole.events.envelope import Envelope, parse_envelope
from farandole.events.framing import single_object
from farandole.events.outgoing import Origin, event_record
from farandole.ids import generated_run_id, partition_of, sha256
from farandole.kernel.state import Status
from farandole.testing.desk import Desk
from farandole.testing.sketch import define, framed, framed_params, node
from farandole.transport.outgoing import new_record
from farandole.transport.port import TopicPartition

ROW = define(node("a"), node("b", "a"), name="p")
CHAIN = define(node("a"), node("b", "a"), node("m", over="params.items"), name="p")
P = 12


def desk_of(run_id: str) -> Desk:
    """A desk for the home of a run, among twelve."""
    return Desk(CHAIN, partitions=P, number=partition_of(run_id, P))


def started(run_id: str = "r-1") -> Desk:
    """A desk with a live run."""
    desk = Desk(CHAIN)
    desk.start(run_id)
    desk.turns()
    return desk


def refusals(desk: Desk) -> list[tuple[str, str]]:
    """Run and reason of each refusal."""
    return [(it.run, it.reason) for it in desk.events(facts.RunRefused)]


# --- starts -------------------------------------------------------------------------------------


def test_start_begins_a_run_in_one_transaction() -> None:
    desk = Desk(CHAIN)
    desk.start("r-1")

    batch = desk.turn()

    assert [record.topic for record in batch.records] == [
        "farandole.events",
        "farandole.events",
        "farandole.inbox.a",
        "farandole.events",
        "farandole.events",
    ]
    assert set(desk.table) == {"r-1"}
    assert desk.home.commands_at == 1


def test_start_repeated_in_one_batch_is_one_run() -> None:
    desk = Desk(CHAIN)
    desk.start("r-1")
    desk.start("r-1")
    desk.start("r-1", n=2)

    desk.turns()

    assert len(desk.events(facts.RunStarted)) == 1
    assert refusals(desk) == [("r-1", "conflict")]
    assert desk.triggers() == ["r-1/a/0/-/1"]


def test_start_repeated_after_the_end_is_answered_by_the_stub() -> None:
    desk = Desk(define(node("a"), name="p"))
    desk.start("r-1")
    desk.turns()
    desk.succeed("a")
    desk.turns()

    desk.start("r-1")
    desk.turns()

    assert desk.outcome() == "succeeded"
    assert len(desk.events(facts.RunStarted)) == 1


def test_start_after_the_stub_was_forgotten_is_a_new_run() -> None:
    desk = Desk(define(node("a"), name="p"))
    desk.start("r-1")
    desk.turns()
    desk.succeed("a")
    desk.turns()

    desk.pass_time(timedelta(hours=25))
    assert (desk.home.runs, desk.table) == ({}, {})
    desk.start("r-1")
    desk.turns()

    assert len(desk.events(facts.RunStarted)) == 2


def test_start_without_a_run_id_gets_one_from_its_place() -> None:
    desk = Desk(CHAIN)

    record = desk.start(None)
    desk.turns()

    assert [it.run for it in desk.events(facts.RunStarted)] == [f"farandole.commands.0.{record.offset}"]


def test_start_of_a_pipeline_that_is_not_in_the_table_waits_for_a_fresh_table() -> None:
    desk = Desk(CHAIN)
    desk.certain = False
    desk.command(StartRun("later", framed_params(), "r-1"))
    desk.start("r-2", "p")

    batch = desk.batch()
    assert (batch.commands_at, batch.is_empty) == (0, True)
    desk.certain = True
    desk.turns()

    assert refusals(desk) == [("r-1", "unknown_pipeline")]
    assert desk.run("r-2").head.pipeline == "p"


def grown(definition: Definition, more: int = 5) -> tuple[Definition, bytes]:
    """A pipeline with one more param, 0 by default, and params that have it."""
    schema = definition.params_schema.replace('"fields":[', '"fields":[{"name":"more","type":"long","default":0},', 1)
    params = Schema.parse(schema).encode({"more": more, "n": 0, "items": [], "pad": ""})
    return replace(definition, params_schema=schema), params


def test_start_with_params_of_a_schema_that_is_not_in_the_table_waits_for_a_fresh_table() -> None:
    """It was refused at once, and the `apply` that it followed had been acknowledged (R13)."""
    desk = Desk(CHAIN)
    desk.certain = False
    now, params = grown(CHAIN)
    desk.command(StartRun("p", params, "r-1"))

    batch = desk.batch()
    waited = (batch.commands_at, batch.is_empty, desk.builder.wanted)
    batch.abandon()
    desk.by_name["p"] = desk.by_hash[now.hash] = now
    desk.turns()

    assert waited == (0, True, True)
    assert (desk.run("r-1").head.definition, desk.run("r-1").params, refusals(desk)) == (now.hash, params, [])


def test_start_with_params_of_a_schema_that_no_fresh_table_has_is_refused() -> None:
    desk = Desk(CHAIN)
    desk.command(StartRun("p", grown(CHAIN)[1], "r-1"))

    desk.turns()

    assert refusals(desk) == [("r-1", "params")]


def test_start_that_was_framed_before_an_apply_is_read_after_it() -> None:
    """Starts that were acknowledged and waited were refused, and so was whoever asked again for what had begun."""
    desk = started("r-1")
    now, params = grown(CHAIN, more=0)
    desk.by_name["p"] = desk.by_hash[now.hash] = now

    desk.start("r-2")
    desk.command(StartRun("p", params, "r-2"))
    desk.command(StartRun("p", params, "r-1"))
    desk.start("r-1")
    desk.turns()

    assert (desk.run("r-2").head.definition, refusals(desk)) == (now.hash, [])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "undecodable"),
        (None, "undecodable"),
        (b"\x00\x00\x00\x00\x01abc", "undecodable"),
        (b"\xc3\x01" + bytes(20), "undecodable"),
        (b"{not json", "undecodable"),
        (b"[1]", "undecodable"),
        (b'{"command": "Dance", "run_id": "x"}', "undecodable"),
        (b'{"pipeline": "p", "run_id": "x", "params": {}}', "params"),
        (b'{"pipeline": "p", "run_id": "a/b", "params": {}}', "run_id"),
        (b'{"pipeline": "q", "run_id": "x", "params": {}}', "unknown_pipeline"),
        (b"[" * 100_000, "undecodable"),
        (b'{"pipeline": "p", "run_id": "x", "params": {"n": 99999999999999999999, "items": [], "pad": ""}}', "params"),
    ],
)
def test_command_that_cannot_be_used_is_refused_and_the_next_one_is_answered(value: bytes | None, reason: str) -> None:
    desk = Desk(CHAIN)
    desk.command(value)
    desk.start("r-1")

    desk.turns()

    assert [why for _, why in refusals(desk)] == [reason]
    assert (desk.run("r-1").head.pipeline, desk.home.commands_at) == ("p", 2)


def test_refusal_of_an_undecodable_command_names_a_run_after_its_place() -> None:
    desk = Desk(CHAIN)

    record = desk.command(b"{not json")
    desk.turns()

    refused = desk.logs[TopicPartition("farandole.events", 0)][0]
    assert refusals(desk) == [(f"farandole.commands.0.{record.offset}", "undecodable")]
    assert parse_envelope(refused.headers).input == "farandole.commands/0/0"


@pytest.mark.parametrize("huge", ["run_id", "pipeline", "both"])
def test_refusal_repeats_no_more_than_a_part_of_what_a_stranger_chose(huge: str) -> None:
    """A name of some hundred kilobytes stood in key, headers and value of its refusal: the log took none, for ever."""
    desk = Desk(CHAIN)
    name = "x" * 400_000
    desk.command(StartRun("p" if huge == "run_id" else name, framed_params(), None if huge == "pipeline" else name))

    batch = desk.turn()

    sizes = [
        len(record.key) + len(record.value or b"") + sum(len(v) for _, v in record.headers) for record in batch.records
    ]
    assert len(sizes) == 1
    assert max(sizes) < 3_000


@pytest.mark.parametrize("run_id", ["r-1", "x" * 200])
def test_trace_context_of_a_megabyte_is_kept_nowhere_and_repeated_nowhere(run_id: str) -> None:
    desk = Desk(CHAIN)

    for _ in range(3):
        value = b'{"run_id":"%s","pipeline":"p","params":{"n":1,"items":[],"pad":""}}' % run_id.encode()
        headers = [("ce_id", b"i"), ("ce_type", b"farandole.StartRun"), ("ce_source", b"s")]
        desk.command(value, headers=[*headers, ("ce_time", b"2026-01-01T00:00:00Z"), ("traceparent", b"0" * 1_000_000)])
    desk.turns()

    written = [each for log in desk.logs.values() for each in log if not each.topic.endswith(".commands")]
    assert desk.home.traces == {}
    assert written
    assert max(len(text) for each in written for _, text in each.headers) < 1_000


def test_trace_contexts_are_kept_of_nothing_that_could_run() -> None:
    home = started().home

    told = [home.trace(name, "00-trace") for name in ("r-1", "a/b", "x" * 1_000_000)]

    assert (told, home.traces) == (["00-trace"] * 3, {"r-1": "00-trace"})


# --- forwarding -----------------------------------------------------------------------------------


def test_command_on_another_home_is_forwarded_unchanged() -> None:
    other = (partition_of("r-1", P) + 1) % P
    desk = Desk(CHAIN, partitions=P, number=other)
    value = b'{"run_id":"r-1","pipeline":"p","params":{"n":1,"items":[],"pad":""}}'

    record = desk.command(value, key="someone", headers=[("x", b"y")])
    batch = desk.turn()

    (forwarded,) = desk.logs[TopicPartition("farandole.commands", partition_of("r-1", P))]
    assert (forwarded.value, dict(forwarded.headers)["x"]) == (record.value, b"y")
    assert (desk.home.commands_at, batch.runs) == (1, {})
    assert desk.events(facts.RunStarted) == []


@pytest.mark.parametrize("headers", [[], [(RUN_HEADER, b"")]], ids=["none", "empty"])
@pytest.mark.parametrize("value", [b'{"pipeline":"p","params":{"n":1,"items":[],"pad":""}}', b"{not json"])
def test_command_without_a_run_id_keeps_its_derived_one_when_forwarded(
    value: bytes, headers: list[tuple[str, bytes]]
) -> None:
    """An empty header counted as one: the id was derived anew on each home, and the command went on for ever."""
    first = Desk(CHAIN, partitions=P, number=5)
    run_id = "farandole.commands.5.0"
    home = partition_of(run_id, P)
    assert home != 5

    first.command(value, headers=headers)
    first.turn()
    (forwarded,) = first.logs[TopicPartition("farandole.commands", home)]
    second = Desk(CHAIN, partitions=P, number=home)
    second.start(None)
    second.command(forwarded.value, headers=forwarded.headers)
    second.turns()

    assert dict(forwarded.headers)[RUN_HEADER] == run_id.encode()
    answered = [it.run for it in second.events(facts.RunStarted)] + [run for run, _ in refusals(second)]
    assert run_id in answered


def test_command_forwarded_by_a_batch_that_was_thrown_away_is_forwarded_once() -> None:
    desk = Desk(CHAIN, partitions=P, number=(partition_of("r-1", P) + 1) % P)
    desk.start("r-1")

    desk.batch().abandon()
    desk.turns()

    assert len(desk.logs[TopicPartition("farandole.commands", partition_of("r-1", P))]) == 1


# --- other commands ---------------------------------------------------------------------------------


def test_cancel_becomes_a_marker_that_is_folded_when_it_is_read_back() -> None:
    desk = started()
    desk.command(CancelRun("r-1", "enough"))

    desk.turn()
    assert desk.run().head.outcome == ""
    assert desk.events(facts.CancelRequested) == [facts.CancelRequested("r-1", "enough")]
    desk.turn()

    assert desk.run().head.outcome == "cancelled"


def test_cancel_reason_of_a_megabyte_is_cut() -> None:
    desk = started()

    desk.command(CancelRun("r-1", "x" * 1_000_000))
    desk.turns()

    assert len(desk.run().head.reason) == 500


@pytest.mark.parametrize("run_id", ["nobody", "a/b"])
def test_command_about_a_run_that_is_not_there_has_no_effect(run_id: str) -> None:
    desk = started()

    desk.command(CancelRun(run_id))
    desk.command(ReleaseRun(run_id))
    batch = desk.turn()

    assert (batch.records, desk.home.commands_at) == ([], 3)


def test_replay_is_marked_with_the_input_that_was_given() -> None:
    desk = started()
    desk.fail("a", retryable=False)
    desk.turns()

    desk.command(ReplayDeadLetter("r-1", "a", 1, "farandole.dead.a/0/0", framed(5)))
    desk.turns()

    assert desk.tasks()[-1].input == framed(5)
    assert desk.run().step("a").status is Status.SCHEDULED


def test_discard_is_marked_and_lets_the_run_go_on_without_the_step() -> None:
    desk = started()
    desk.fail("a", retryable=False)
    desk.turns()

    desk.command(DiscardDeadLetter("r-1", "a", 1, "farandole.dead.a/0/0", "enough"))
    desk.command(DiscardDeadLetter("r-1", "nowhere", 1, "farandole.dead.a/0/0"))
    desk.turns()

    assert [(fact.step, fact.reason) for fact in desk.events(facts.DiscardRequested)] == [("a", "enough")]
    assert ("a", "dead_letter") in [(fact.step, fact.reason) for fact in desk.events(facts.StepSkipped)]


@pytest.mark.parametrize(("step", "item"), [("nowhere", -1), ("m", 99), ("m", 0), ("a", 0)])
def test_replay_of_what_the_run_does_not_have_has_no_effect(step: str, item: int) -> None:
    """It was marked and folded: a slip of the pen held the run by an error that no release could end."""
    desk = started()

    desk.command(ReplayDeadLetter("r-1", step, 1, "x/0/0", None, item))
    desk.turns()

    assert desk.events(facts.ReplayRequested) == []
    assert not desk.run().is_held


def test_marker_that_is_already_on_its_way_is_not_written_twice() -> None:
    desk = started()
    desk.command(CancelRun("r-1"))
    desk.command(CancelRun("r-1"))
    desk.turn()
    desk.command(CancelRun("r-1"))

    desk.turns()

    assert len(desk.events(facts.CancelRequested)) == 1
    assert desk.home.marked == set()


# --- events ---------------------------------------------------------------------------------------


def test_consequences_are_skipped_by_their_header() -> None:
    desk = started()
    before = desk.run()
    log = desk.logs[TopicPartition("farandole.events", 0)]

    for record in list(log):
        desk.raw_event(record.value, record.headers)
    desk.turns()

    assert desk.run() is before
    assert desk.home.events_at == len(log)


@pytest.mark.parametrize("headers", [(), (("ce_id", b"\xff\xfe"),), (("ce_id", b"x"), ("ce_type", b"y"))])
def test_event_without_an_envelope_is_passed_over(headers: tuple[tuple[str, bytes], ...]) -> None:
    desk = started()
    before = desk.run()

    desk.raw_event(b"whatever", headers)
    desk.turns()

    assert desk.run() is before
    assert desk.builder.words["event_unreadable"] == 1


def test_event_of_a_run_that_is_not_here_is_an_orphan() -> None:
    desk = started()

    desk.fact(facts.StepSucceeded("stranger", "a", 1, framed()))
    batch = desk.turn()

    assert batch.is_empty
    assert desk.builder.words["event_orphan"] == 1


@pytest.mark.parametrize("value", [b"", b"garbage", b"\xc3\x01" + bytes(8), framed(1)])
def test_event_that_cannot_be_read_holds_its_run_and_no_other(value: bytes) -> None:
    desk = started()
    desk.start("r-2")
    desk.turns()
    bad = desk.raw_event(value, desk.record_of(facts.StepSucceeded("r-1", "a", 1, framed())).headers)
    desk.succeed("a", run="r-2")

    desk.turns()

    held = desk.run("r-1").head
    assert (bool(held.kernel_error), held.unfolded_from) == (True, bad.offset)
    assert desk.run("r-2").step("a").status is Status.SUCCEEDED


def test_event_that_speaks_of_another_run_than_its_envelope_holds_the_run() -> None:
    desk = started()
    other = desk.record_of(facts.StepSucceeded("r-9", "a", 1, framed()))

    desk.raw_event(other.value, desk.record_of(facts.StepSucceeded("r-1", "a", 1, framed())).headers)
    desk.turns()

    assert "expected a fact of run r-1" in desk.run().head.kernel_error


def test_event_of_an_ended_run_is_answered_by_its_stub() -> None:
    desk = started()
    desk.command(CancelRun("r-1"))
    desk.turns()
    desk.pass_time(timedelta(minutes=11))
    assert desk.outcome() == "cancelled"
    stub = desk.run()

    desk.succeed("a")
    desk.turns()

    assert desk.run() == stub
    assert desk.events(facts.RunHeld) == []


def test_event_of_an_unknown_type_holds_its_run_until_a_version_that_knows_it_releases_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A newer agent wrote a fact of a type that this coordinator has not: nothing is folded past it."""
    desk = started()
    known = desk.record_of(facts.StepSucceeded("r-1", "a", 1, framed()))
    newer = single_object(b"tomorrow", b"whatever it says")
    unknown = desk.raw_event(newer, known.headers)
    desk.turns()
    before = desk.run()
    desk.succeed("a")

    desk.turns()

    assert "UnknownSchema" in before.head.kernel_error or "written with" in before.head.kernel_error
    assert before.head.unfolded_from == unknown.offset
    assert desk.run().step("a").status is before.step("a").status, "folded past what it could not read"

    def decode_as_tomorrow(value: bytes) -> object:
        return facts.StepSucceeded("r-1", "a", 1, framed()) if value == newer else decode(value)

    monkeypatch.setattr("farandole.coordinator.releasing.decode", decode_as_tomorrow)
    desk.command(ReleaseRun("r-1"))
    desk.turns()

    assert desk.run().step("a").status is Status.SUCCEEDED
    assert not desk.run().head.kernel_error


# --- direct starts --------------------------------------------------------------------------------


def directly(desk: Desk, run: str = "r-1") -> facts.RunStarted:
    """A run that the agent of `a` has begun."""
    event = facts.RunStarted(run, "p", ROW.hash, framed_params(), sha256(framed_params()), desk.now, fired=("a",))
    envelope_id = f"{run}/a/0/-/1/trigger/RunStarted/0"
    desk.append(
        new_record(
            event_record(desk.topics, event, event_id=envelope_id, cause="t", origin=Origin("test", desk.now)), 1
        )
    )
    return event


def test_run_that_its_first_agent_has_begun_is_taken_in_and_its_root_is_not_triggered_again() -> None:
    desk = Desk(ROW)
    directly(desk)
    batch = desk.batch()
    desk.commit(batch)

    run = desk.home.runs["r-1"]
    assert [(it.status, it.attempt, it.waiting) for it in (run.step("a"), run.step("b"))] == [
        (Status.SCHEDULED, 1, (1,)),
        (Status.PENDING, 0, ()),
    ]
    assert batch.records == []


@pytest.mark.parametrize("written", [-(10**17), 2**62, -62135596800000, 253402300799000])
@pytest.mark.parametrize(
    ("run", "word"), [("r-1", "started"), (generated_run_id(datetime(2026, 1, 1, tzinfo=UTC), 7), "refused")]
)
def test_beginning_with_a_timestamp_that_no_calendar_has_ends_no_coordinator(written: int, run: str, word: str) -> None:
    """Any producer may write one. `fromtimestamp` raised, the home's position stood, and whoever got it ended too."""
    desk = Desk(ROW)
    directly(desk, run)
    desk.home.events.append(structs.replace(desk.home.events.pop(), timestamp_ms=written))

    desk.turns()

    assert desk.builder.words[f"event_{word}"] == 1
    assert desk.home.events_at >= 1


def test_beginning_that_bursts_for_a_reason_of_its_own_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(*_: object) -> str:
        raise ZeroDivisionError("a defect of ours")

    desk = Desk(ROW)
    directly(desk)
    with monkeypatch.context() as patched:
        patched.setattr("farandole.coordinator.reading.expired_id", burst)
        desk.turns()
    directly(desk, "r-2")
    desk.turns()

    assert desk.builder.words["event_unreadable"] == 1
    assert set(desk.home.runs) == {"r-2"}


def test_second_beginning_of_a_run_is_refused_by_the_fold() -> None:
    desk = Desk(ROW)
    directly(desk)
    desk.fact(facts.StepSucceeded("r-1", "a", 1, framed(1), ("b",)))
    desk.turns()
    before = desk.home.runs["r-1"]

    directly(desk)
    desk.turns()

    assert desk.home.runs["r-1"] == before
    assert desk.builder.words["event_second_start"] == 1


def test_run_begun_under_a_definition_that_is_not_read_yet_waits_for_it() -> None:
    desk = Desk(ROW)
    desk.certain = False
    known, desk.by_hash = desk.by_hash, {}
    directly(desk)
    batch = desk.batch()
    waited = (batch.is_empty, batch.events_at, desk.builder.wanted)
    batch.abandon()

    desk.by_hash = known
    desk.turns()

    assert waited == (True, 0, True)
    assert "r-1" in desk.home.runs


def test_lines_about_commands_and_starts_without_effect_name_the_run_its_trace_and_the_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They had the run in their text alone: who looked for the lines of a run, or of a trace, did not find them."""
    trace_id = "1" * 32
    desk = Desk(ROW)
    directly(desk)
    desk.turns()
    asked = Envelope("c", "farandole.Command", "t", desk.now, run="r-1", traceparent=f"00-{trace_id}-{'2' * 16}-01")
    commands: list[Command] = [ReplayDeadLetter("r-1", "nobody_has_it", 1, "letter"), CancelRun("r-2")]
    places = [desk.command(each, key=each.run_id, headers=asked.headers()) for each in commands]
    directly(desk)
    desk.raw_event(b"?", structs.replace(asked, type="farandole.RunStarted").headers())
    desk.turns()

    lines = [each for each in caplog.records if each.name == "farandole.coordinator"]

    found = [(vars(line)["run_id"], vars(line)["trace_id"], vars(line)["offset"]) for line in lines]
    events = len(desk.logs[TopicPartition("farandole.events", 0)])
    assert found[2:] == [("r-1", trace_id, places[0].offset), ("r-2", trace_id, places[1].offset)]
    assert [each[:2] for each in found[:2]] == [("r-1", ""), ("r-1", trace_id)]
    assert all(0 < each[2] < events for each in found[:2])
