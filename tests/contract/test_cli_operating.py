"""`farandole lag`, `agent`, `topics`, `schema`, `state`, `lineage`: against a deployment in memory."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from farandole import Context, agent, pipeline
from farandole.cli.main import app
from farandole.cli.operating import telling_how_far
from farandole.cli.repositioned import print_reposition
from farandole.client import placing, repositioning
from farandole.client.moving import carry_out, plan_move
from farandole.client.repositioning import Reposition, plan_reposition
from farandole.client.repositioning import carry_out as reposition
from farandole.events.catalogue import decode
from farandole.events.catalogue import encode as encode_record
from farandole.events.tables import RunHead
from farandole.events.topics import Topics
from farandole.ids import partition_of
from farandole.testing.cluster import wait_until
from farandole.testing.inprocess import PARTITIONS, InProcess
from farandole.transport.memory import MemoryTransport
from farandole.transport.metadata import Metadata, encode
from farandole.transport.metadata import decode as decode_metadata
from farandole.transport.port import Isolation, NewRecord, Position, Record, TopicPartition, TopicSpec

Typed = Callable[..., Result]


@dataclass(frozen=True)
class Number:
    """What travels."""

    n: int


@agent(publishes=["numbers.done"])
def double(ctx: Context, number: Number) -> Number:
    """Tells the world."""
    ctx.publish("numbers.done", number, key=str(number.n))
    return Number(2 * number.n)


@pipeline(owner="tests@example.org")
def twice(number: Number) -> Number:
    """One step."""
    return double(number)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """A deployment of the pipeline above."""
    folder = tmp_path_factory.mktemp("cli")
    with InProcess(MemoryTransport(), [twice], namespace="farandole", folder=folder) as it:
        yield it


def told(farandole: Typed, *arguments: str) -> Any:
    """What a command prints as JSON."""
    return json.loads(farandole(*arguments, "--json", code=0).stdout)


def start(farandole: Typed, run: str, n: int) -> None:
    """Start a run and wait for its end."""
    params = json.dumps({"number": {"n": n}})
    farandole("run", "start", "twice", "--id", run, "--params", params, "--wait", code=0)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for it."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what


# --- lag and agents -----------------------------------------------------------------------------


def test_lag_tells_units_topics_processes_and_comes_to_nothing(farandole: Typed, unique: str) -> None:
    start(farandole, unique, 1)

    until(lambda: all(row["behind"] == 0 for row in told(farandole, "lag")), "the lag never came to nothing")
    rows = {(row["unit"], row["topic"]): row for row in told(farandole, "lag")}
    text = farandole("lag", code=0).output

    assert set(rows) == {
        ("coordinator", "farandole.commands"),
        ("coordinator", "farandole.events"),
        ("tests", "farandole.inbox.double"),
    }
    assert {row["processes"] for row in rows.values()} == {1}
    assert "farandole.inbox.double" in text
    assert [row["topic"] for row in told(farandole, "lag", "--agent", "double")] == ["farandole.inbox.double"]


@pytest.mark.parametrize("terminal", [False, True], ids=["lines", "drawn"])
def test_lag_is_looked_at_again_and_again_until_ctrl_c(
    farandole: Typed, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    looks = iter([None, None])

    def sleep(seconds: float) -> None:
        if next(looks, KeyboardInterrupt) is KeyboardInterrupt:
            raise KeyboardInterrupt

    monkeypatch.setattr("farandole.cli.lagging.sleep", sleep)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")
    watched = farandole("lag", "--watch", code=130)

    assert watched.output.count("farandole.inbox.double") == 3 + terminal, "a drawing is drawn once more at its end"
    assert ("Ctrl-C ends" in watched.output) == terminal


def test_lag_of_an_agent_that_nobody_knows_is_an_error_with_those_that_are(farandole: Typed) -> None:
    assert "double" in farandole("lag", "--agent", "nobody", code=2).output


def test_agents_are_listed_with_their_units(farandole: Typed) -> None:
    assert [(row["unit"], row["topic"]) for row in told(farandole, "agent", "list")] == [
        ("tests", "farandole.inbox.double")
    ]
    assert "double  tests  1" in farandole("agent", "list", code=0).output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("double", "--to", "bank"), "expected no process of it to run"),
        (("double", "--to", "tests"), "whose it is already"),
        (("nobody", "--to", "bank"), "expected one that was applied (double)"),
        (("double", "--to", "coordinator"), "--to"),
        (("double", "--to", "No Name"), "--to"),
    ],
)
def test_move_that_must_not_be_is_refused_with_2(farandole: Typed, arguments: tuple[str, ...], reason: str) -> None:
    refused = farandole("agent", "move", *arguments, "--yes", code=2)

    assert reason in refused.output


@pytest.fixture
def stopped(tmp_path: Path) -> InProcess:
    """A deployment that ran, with a record done out of order, and stands still now."""
    with InProcess(MemoryTransport(), [twice], namespace="farandole", folder=tmp_path) as it:
        places = [TopicPartition(it.topics.inbox("double"), n) for n in range(3)]

        def are_owned() -> bool:
            found = it.transport.admin().positions(it.topics.group("tests"), places)
            return all(decode_metadata(found[at].metadata).epoch > 0 for at in places)

        wait_until(are_owned, timedelta(seconds=60), "every partition to be taken")
    old = encode(Metadata("farandole.elsewhere.0", 1, bitmap=b"\2"))
    positions = {TopicPartition(it.topics.inbox("double"), n): Position(n, old) for n in range(3)}
    admin = it.transport.admin()
    admin.start_positions(it.topics.group("elsewhere"), positions)
    return it


def test_move_copies_positions_with_their_metadata_and_then_the_owner_and_back_again(stopped: InProcess) -> None:
    """The second move is back to a unit that has positions from before: they are overwritten, not kept."""
    transport, topics = stopped.transport, stopped.topics
    admin = transport.admin()
    places = [TopicPartition(topics.inbox("double"), n) for n in range(3)]
    original = dict(admin.positions(topics.group("tests"), places))

    carry_out(transport, plan_move(transport, topics, "double", "elsewhere"))
    moved = dict(admin.positions(topics.group("elsewhere"), places))
    back = plan_move(transport, topics, "double", "tests")
    carry_out(transport, back)

    assert moved == original
    assert back.source == "elsewhere"
    assert dict(admin.positions(topics.group("tests"), places)) == original
    assert plan_move(transport, topics, "double", "bank").source == "tests"


def test_move_is_rehearsed_asked_for_and_done(
    stopped: InProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("farandole.cli.connect.transport_of", lambda settings: stopped.transport)

    def type_(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["agent", *arguments])

    rehearsed, declined = type_("move", "double", "--to", "bank", "--dry-run"), type_("move", "double", "--to", "bank")
    assert "double  tests" in type_("list").output
    done = type_("move", "double", "--to", "bank", "--yes", "--json")

    assert (rehearsed.exit_code, "nothing was changed" in rehearsed.output) == (0, True)
    assert (declined.exit_code, "Nothing was done" in declined.output) == (1, True)
    assert json.loads(done.stdout)["moved"] is True
    assert "double  bank" in type_("list").output


@pytest.fixture(autouse=True)
def _certain_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker starts here, so that nobody need wait before a second look."""
    monkeypatch.setattr(placing, "CERTAIN_S", 0.0)


def damage(it: InProcess) -> tuple[TopicPartition, int]:
    """Retention takes two records that nobody had read: of the partition, what is left begins there."""
    at = TopicPartition(it.topics.inbox("double"), 0)
    producer = it.transport.producer("test")
    for _ in range(2):
        producer.send(NewRecord(at.topic, b"k", b"unread", partition=0))
    producer.flush(1.0)
    admin = it.transport.admin()
    end = admin.ends([at], Isolation.UNCOMMITTED)[at]
    assert isinstance(it.transport, MemoryTransport)
    with it.transport.hub as broker:
        broker.truncate_before(at, end)
    return at, end


def test_reposition_goes_on_where_the_log_begins_and_touches_no_other_position(stopped: InProcess) -> None:
    # The story: a partition whose records retention had taken stopped its agent, and no command led on from there.
    transport, topics = stopped.transport, stopped.topics
    places = [TopicPartition(topics.inbox("double"), n) for n in range(3)]
    before = dict(transport.admin().positions(topics.group("tests"), places))
    at, begin = damage(stopped)

    it = plan_reposition(transport, topics, "double")
    reposition(transport, it)

    known = decode_metadata(before[at].metadata)
    # The owner's epoch goes on, or fencing tokens would fall; by one, so that it is told from the position before.
    fresh = Position(begin, encode(replace(known, epoch=known.epoch + 1)))
    assert known.epoch > 0
    assert (it.unit, it.fresh, it.stale) == ("tests", {at: fresh}, {at: before[at].offset})
    assert dict(transport.admin().positions(topics.group("tests"), places)) == {**before, at: fresh}
    assert not plan_reposition(transport, topics, "double").fresh


def test_reposition_is_rehearsed_asked_for_and_done(
    stopped: InProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    damage(stopped)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("farandole.cli.connect.transport_of", lambda settings: stopped.transport)

    def type_(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["agent", "reposition", *arguments])

    rehearsed, declined = type_("double", "--dry-run"), type_("double")
    done, again, unknown = type_("double", "--yes", "--json"), type_("double"), type_("nobody")

    assert (rehearsed.exit_code, "which the log does not have" in rehearsed.output) == (0, True)
    assert (declined.exit_code, "Nothing was done" in declined.output) == (1, True)
    assert (json.loads(done.stdout)["done"], len(json.loads(done.stdout)["positions"])) == (True, 1)
    assert (again.exit_code, "nothing to do" in again.output) == (0, True)
    assert (unknown.exit_code, "expected one that was applied" in unknown.output) == (2, True)


def go_back(it: InProcess) -> Callable[..., Result]:
    """The broker gives out the positions that `apply` gave, of a unit that has answered something; types."""
    assert isinstance(it.transport, MemoryTransport)
    group, inbox = it.topics.group("tests"), it.topics.inbox("double")
    known = it.transport.admin().positions(group, [TopicPartition(inbox, n) for n in range(PARTITIONS)])
    with it.transport.hub as broker:
        for at in known:
            broker.restore_position(group, at, Position(0))
    return lambda *arguments: CliRunner().invoke(app, ["agent", "reposition", "double", *arguments])


def test_positions_that_went_back_are_rehearsed_told_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with InProcess(MemoryTransport(), [twice], namespace="farandole", folder=tmp_path) as it:
        monkeypatch.setattr("farandole.cli.connect.transport_of", lambda settings: it.transport)
        start(lambda *arguments, code: CliRunner().invoke(app, [*arguments]), "r-1", 4)
    type_ = go_back(it)

    rehearsed, listed = type_("--dry-run"), json.loads(type_("--dry-run", "--json").stdout)
    done, again = type_("--yes"), type_("--yes")

    (row,) = listed["positions"]
    assert listed["done"] is False
    assert (row["from"], row["answered"] + 1, row["to"]) == (0, 1, 1)
    line = f"partition {row['partition']}: 0, which went back: 0 was answered -> 1"
    assert (rehearsed.exit_code, line in rehearsed.output) == (0, True)
    assert (done.exit_code, line in done.output, "start unit tests again" in done.output) == (0, True, True)
    assert (again.exit_code, "nothing to do" in again.output) == (0, True)


def planned(
    before: Position | None, fresh: int, answered: int | None, *, unanswered: int = 0, is_running: bool = False
) -> Reposition:
    """Of one partition."""
    at = TopicPartition("farandole.inbox.charge", 3)
    return Reposition(
        Topics(),
        "charge",
        "orders",
        {at: Position(fresh)},
        {at: before},
        {},
        {} if answered is None else {at: answered},
        {at: unanswered} if unanswered else {},
        9,
        is_running,
    )


@pytest.mark.parametrize(
    ("it", "line"),
    [
        (planned(None, 0, None), "none -> 0"),
        (planned(Position(4), 7, None), "4, which the log does not have -> 7"),
        (planned(None, 45, 44), "none, but 44 was answered -> 45"),
        (planned(Position(3, "alien"), 5, 4), "3, which nobody can read, but 4 was answered -> 5"),
        (
            planned(Position(12_040), 51_870, 51_882),
            "12,040, which went back: 51,882 was answered; 51,870 is the first that was not -> 51,870",
        ),
        (
            planned(Position(100), 16_384, 24_575, unanswered=16_284),
            "100, which went back: 24,575 was answered; 16,384 is the first that was not -> 16,384, 16,284 without an "
            "answer are passed over: they are farther below than an agent ever works, or somebody skipped them",
        ),
    ],
    ids=["missing", "gone", "missing_and_told", "unreadable", "holes", "passed_over"],
)
def test_position_that_is_given_anew_is_told_with_what_leads_to_it(
    it: Reposition, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_reposition(it)

    assert capsys.readouterr().out.splitlines()[0] == f"partition 3: {line}"


def test_records_without_an_answer_are_passed_over_only_if_somebody_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("farandole.cli.connect.transport_of", lambda settings: MemoryTransport())
    done: list[Reposition] = []
    it = planned(Position(100), 16_384, 24_575, unanswered=16_284)

    def plan(*_: object, is_rehearsal: bool) -> Reposition:
        return replace(it, is_running=is_rehearsal)

    monkeypatch.setattr(repositioning, "plan_reposition", plan)
    monkeypatch.setattr(repositioning, "carry_out", lambda transport, it: done.append(it))

    def type_(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["agent", "reposition", "charge", *arguments])

    refused, rehearsed, told = type_("--yes"), type_("--dry-run"), json.loads(type_("--dry-run", "--json").stdout)
    nothing_done = not done
    passed = type_("--yes", "--pass-over")

    assert (refused.exit_code, "16,284 have none" in refused.output, nothing_done) == (1, True, True)
    assert (rehearsed.exit_code, "unit orders runs: an indication only" in rehearsed.output) == (0, True)
    assert told["positions"][0]["unanswered"] == 16_284
    assert (passed.exit_code, done) == (0, [it])


def test_reposition_is_rehearsed_while_the_unit_runs(farandole: Typed) -> None:
    assert "unit tests runs: an indication" in farandole("agent", "reposition", "double", "--dry-run", code=0).output


def test_how_far_a_topic_is_read_is_told_on_standard_error_from_when_it_takes_long(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seldom, often = telling_how_far(60.0), telling_how_far(0.0)
    for told_ in (seldom, often):
        told_("farandole.events", 1_000, 5_000)
        told_("farandole.events", 2_000, 5_000)

    said = capsys.readouterr()

    assert (said.out, said.err) == ("", "still reading farandole.events: 2,000 of 5,000 offsets\n")


def test_reposition_while_the_unit_runs_is_refused_with_2(farandole: Typed) -> None:
    assert "expected no process of it to run" in farandole("agent", "reposition", "double", "--yes", code=2).output


def test_positions_of_coordinators_are_rehearsed_asked_for_and_given(
    stopped: InProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert isinstance(stopped.transport, MemoryTransport)
    with stopped.transport.hub as broker:
        broker.forget_positions(stopped.topics.group("coordinator"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("farandole.cli.connect.transport_of", lambda settings: stopped.transport)

    def type_(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["coordinator", "reposition", *arguments])

    rehearsed, declined = type_("--dry-run"), type_()
    done, again = type_("--yes", "--json"), type_()

    assert (rehearsed.exit_code, "farandole.events/0: none -> " in rehearsed.output) == (0, True)
    assert (declined.exit_code, "Nothing was done" in declined.output) == (1, True)
    assert (json.loads(done.stdout)["done"], len(json.loads(done.stdout)["positions"])) == (True, 6)
    assert (again.exit_code, "nothing to do" in again.output) == (0, True)


@pytest.mark.parametrize("words", [("agent", "reposition", "double"), ("coordinator", "reposition")], ids=" ".join)
def test_reposition_tells_programs_how_much_is_read_from_there_as_it_tells_people(
    stopped: InProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """How many records the new positions let be read was in the text alone; of `agent move` it is in both."""
    assert isinstance(stopped.transport, MemoryTransport)
    at, _ = damage(stopped)
    unread = stopped.transport.producer("test")
    unread.send(NewRecord(at.topic, b"k", b"after retention", partition=at.partition))
    assert unread.flush(1.0) == 0
    with stopped.transport.hub as broker:
        broker.forget_positions(stopped.topics.group("coordinator"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("farandole.cli.connect.transport_of", lambda settings: stopped.transport)

    people = CliRunner().invoke(app, [*words, "--dry-run"]).output
    programs = json.loads(CliRunner().invoke(app, [*words, "--dry-run", "--json"]).stdout)

    assert f"{programs['waiting']:,} offsets are read from there" in people
    assert programs["waiting"] == 1 or words[0] == "coordinator"


def test_positions_of_coordinators_that_run_are_refused_with_2(farandole: Typed) -> None:
    assert "expected no process of it to run" in farandole("coordinator", "reposition", "--yes", code=2).output


# --- topics -------------------------------------------------------------------------------------


def test_topics_are_listed_with_what_they_hold(farandole: Typed) -> None:
    rows = {row["topic"]: row for row in told(farandole, "topics", "list")}
    everything = {row["topic"] for row in told(farandole, "topics", "list", "--all")}
    text = farandole("topics", "list", code=0).output

    assert rows["farandole.events"]["holds"].startswith("facts")
    assert rows["farandole.inbox.double"]["partitions"] == 3
    assert everything - set(rows) == {"numbers.done"}
    assert "latest of a key" in text
    assert "90d" in text


def test_topic_is_described_with_settings_and_drift(farandole: Typed, cluster: InProcess) -> None:
    before = told(farandole, "topics", "describe", "telemetry")
    cluster.transport.admin().configure("farandole.telemetry", {"retention.ms": "77"})

    after = told(farandole, "topics", "describe", "farandole.telemetry")
    text = farandole("topics", "describe", "telemetry", code=0).output
    missing = farandole("topics", "describe", "nowhere", code=2)

    assert (before["drift"], len(after["drift"])) == ([], 1)
    assert "retention.ms" in text
    assert "farandole topics list" in missing.output


def test_consume_prints_what_a_person_can_read_of_every_topic(farandole: Typed, unique: str) -> None:
    start(farandole, unique, 21)

    def values(topic: str) -> list[Any]:
        lines = farandole("topics", "consume", topic, "--run", unique, "--json", code=0).stdout.splitlines()
        return [json.loads(line) for line in lines]

    command, trigger = values("commands")[0], values("inbox.double")[0]
    events, settled = values("events"), values("settled")[0]
    done = values("numbers.done")[0]

    assert (command["type"], command["value"]["params"]) == ("farandole.StartRun", {"number": {"n": 21}})
    assert (trigger["value"], trigger["headers"]["ce_step"]) == ({"n": 21}, "double")
    assert [each["type"] for each in events] == [
        "farandole.RunStarted", "farandole.StepScheduled", "farandole.StepSucceeded", "farandole.RunSettled"
    ]  # fmt: skip
    assert settled["value"]["output"] == {"n": 42}
    assert (done["key"], done["value"]) == ("21", {"n": 21})
    assert [each["problem"] for each in (command, trigger, *events, settled, done)] == [""] * 8
    for topic in ("runs", "definitions", "schemas", "control", "dead.double"):
        text = farandole("topics", "consume", topic, "--headers", code=0)
        assert "cannot be read" not in text.output


def test_consume_begins_and_ends_where_it_is_told(farandole: Typed, unique: str) -> None:
    for n in (31, 32, 33):
        start(farandole, f"{unique}-{n}", n)

    def places(*arguments: str) -> list[str]:
        lines = farandole("topics", "consume", *arguments, "--json", code=0).stdout.splitlines()
        return [str(json.loads(line)["place"]) for line in lines]

    def offsets(*arguments: str) -> list[int]:
        return [int(place.rsplit("/")[-1]) for place in places(*arguments)]

    home = str(partition_of(f"{unique}-31", 3))
    everything = offsets("events", "--partition", home)
    assert len(offsets("events", "--limit", "2")) == 2
    assert offsets("events", "--partition", home, "--from", str(everything[1]))[0] == everything[1]
    assert offsets("events", "--from", "end") == []
    assert len(offsets("events", "--follow", "--limit", "3")) == 3
    assert offsets("events", "--partition", home, "--last", "1000")[-2:] == everything[-2:]
    # Offsets were counted, and the last one is the mark of a transaction: of one record nothing was printed.
    for n in (1, 2, len(everything) - 1):
        assert offsets("events", "--partition", home, "--last", str(n)) == everything[-n:]
    assert len(offsets("events", "--last", "1")) == len({each.rsplit("/", 1)[0] for each in places("events")}), (
        "one of each partition that holds any"
    )
    for wrong in (("--from", "yesterday"), ("--from", "3"), ("--partition", "99"), ("--from", "end", "--last", "1")):
        assert "expected" in farandole("topics", "consume", "events", *wrong, code=2).output


def test_last_records_of_a_partition_that_retention_has_cut_are_those_that_it_has(
    farandole: Typed, cluster: InProcess, unique: str
) -> None:
    """Looked for from before its beginning, it refused to be read; one such partition spoiled the command for all."""
    topic, held = f"{unique}.aged", {0: (50, 5), 1: (50, 0), 2: (0, 12), 3: (0, 0)}
    assert isinstance(cluster.transport, MemoryTransport)
    cluster.transport.admin().create([TopicSpec(topic, len(held))])
    producer = cluster.transport.producer("test")
    for partition, (taken, left) in held.items():
        for n in range(taken + left):
            producer.send(NewRecord(topic, b"k", b"%d" % n, partition=partition))
    assert producer.flush(10) == 0
    with cluster.transport.hub as broker:
        for partition, (taken, _) in held.items():
            broker.truncate_before(TopicPartition(topic, partition), taken)

    lines = farandole("topics", "consume", topic, "--last", "10", "--json", code=0).stdout.splitlines()

    places = [str(json.loads(line)["place"]).removeprefix(f"{topic}/") for line in lines]
    assert sorted(places) == sorted([*(f"0/{n}" for n in range(50, 55)), *(f"2/{n}" for n in range(2, 12))])


def test_consume_of_what_nobody_can_read_shows_it_and_goes_on(
    farandole: Typed, cluster: InProcess, unique: str
) -> None:
    producer = cluster.transport.producer("test")
    for value in (b"\xff\xfe", b"\xc3\x01" + bytes(8), b"plain text", b'{"a": 1}', None):
        producer.send(NewRecord("numbers.done", unique.encode(), value, [("note", b"\xff")], 1))
    producer.flush(10)

    lines = farandole("topics", "consume", "numbers.done", "--run", unique, "--json", code=0).stdout.splitlines()
    found = [json.loads(line) for line in lines]

    assert [bool(each["problem"]) for each in found] == [True, True, True, False, False]
    assert [found[0]["value"], found[2]["value"]] == ["ff fe", "plain text"]
    assert found[3]["value"] == {"a": 1}
    assert found[4]["type"] == "tombstone"


def test_produce_checks_and_encodes_what_is_written(farandole: Typed, unique: str) -> None:
    place = told(farandole, "topics", "produce", "numbers.done", "--key", unique, "--value", '{"n": 5}',
                 "--schema", "twice/double/output", "--header", "note=x")["place"]  # fmt: skip
    plain = farandole("topics", "produce", "numbers.done", "--key", unique, text='{"free": true}', code=0)
    misfit = farandole("topics", "produce", "numbers.done", "--value", '{"m": 5}', "--schema", "twice/double/output",
                       code=1)  # fmt: skip
    unknown = farandole("topics", "produce", "numbers.done", "--value", "{}", "--schema", "nothing/like/it", code=2)
    no_json = farandole("topics", "produce", "numbers.done", "--value", "{", code=1)

    lines = farandole("topics", "consume", "numbers.done", "--run", unique, "--json", code=0).stdout.splitlines()
    found = {each["place"]: each for each in map(json.loads, lines)}
    assert (found[place]["value"], found[place]["headers"]) == ({"n": 5}, {"note": "x"})
    assert found[plain.stdout.strip()]["value"] == {"free": True}
    assert "Nothing was written" in misfit.output
    assert "schema list" in unknown.output
    assert "expected JSON" in no_json.output


def test_produce_of_a_command_is_checked_and_reaches_its_run_s_home(farandole: Typed, unique: str) -> None:
    command = json.dumps({"run_id": unique, "pipeline": "twice", "params": {"number": {"n": 4}}})

    farandole("topics", "produce", "commands", "--value", command, code=0)
    refused = farandole("topics", "produce", "commands", "--value", '{"command": "Explode"}', code=1)

    def outcome() -> Result:
        return farandole("run", "result", unique, "--timeout", "10s")

    until(lambda: outcome().exit_code == 0, "the command that was written by hand never ran")
    assert json.loads(outcome().stdout) == {"n": 8}
    assert "expected a command" in refused.output


@pytest.mark.parametrize("topic", ["numbers.done", "commands"])
def test_produce_to_a_partition_that_the_topic_does_not_have_is_refused(farandole: Typed, topic: str) -> None:
    """It was 3, "unreachable, try again", which nothing would have made better."""
    value = '{"pipeline": "twice", "params": {"number": {"n": 5}}}'

    refused = farandole("topics", "produce", topic, "--value", value, "--partition", "77", code=2)

    assert "--partition: expected 0 to " in refused.stderr
    assert "Nothing was written" in refused.stderr


def test_produce_of_a_command_to_a_partition_that_is_not_its_run_s_is_refused(farandole: Typed, unique: str) -> None:
    """The option was passed over in silence."""
    command = json.dumps({"run_id": unique, "pipeline": "twice", "params": {"number": {"n": 5}}})
    home = partition_of(unique, PARTITIONS)

    other = ["--partition", str((home + 1) % PARTITIONS)]
    refused = farandole("topics", "produce", "commands", "--value", command, *other, code=2)
    taken = told(farandole, "topics", "produce", "commands", "--value", command, "--partition", str(home))["place"]

    assert f"--partition: expected {home}, the home of run {unique}" in refused.stderr
    assert taken.startswith(f"farandole.commands/{home}/")


def test_produce_of_a_command_under_an_id_that_is_none_is_refused_before_it_is_written(farandole: Typed) -> None:
    """Checked first, it says; the coordinator refused it afterwards (`run_id`), of which nobody heard."""
    command = '{"run_id": "cmd 4", "pipeline": "twice", "params": {"number": {"n": 5}}}'

    refused = farandole("topics", "produce", "commands", "--value", command, code=1)

    assert "run_id: expected 1 to 128 of A-Z" in refused.stderr
    assert "Nothing was written" in refused.stderr


@pytest.mark.parametrize("topic", ["inbox.double", "events", "runs", "farandole.dead.double"])
def test_produce_to_what_only_the_framework_writes_is_refused(farandole: Typed, topic: str) -> None:
    refused = farandole("topics", "produce", topic, "--value", "{}", code=2)

    assert "farandole run start" in refused.output


# --- schemas ------------------------------------------------------------------------------------


def test_schemas_are_listed_by_use_and_shown_by_any_of_their_names(farandole: Typed) -> None:
    rows = told(farandole, "schema", "list")
    everything = told(farandole, "schema", "list", "--all")
    output = next(row for row in rows if "twice/double/output" in row["uses"])

    by_print = told(farandole, "schema", "show", output["fingerprint"][:8])
    by_use = told(farandole, "schema", "show", "twice/double/output")
    ours = told(farandole, "schema", "show", "StepSucceeded")
    unknown = farandole("schema", "show", "nonsense", code=2)

    assert by_print == by_use
    assert [field["name"] for field in by_use["text"]["fields"]] == ["n"]
    assert ours["name"] == "farandole.StepSucceeded"
    assert len(everything) > len(rows)
    assert "twice/double/output" in farandole("schema", "list", code=0).output
    assert "schema list" in unknown.output


UNIT = """
from dataclasses import dataclass, replace
from farandole import agent, pipeline, Context

@dataclass(frozen=True)
class Number:
    {fields}

@agent(publishes=["numbers.done"])
def double(ctx: Context, number: Number) -> Number:
    return number

@pipeline(owner="tests@example.org")
def twice(number: Number) -> Number:
    return double(number)
"""


def test_schema_check_compares_a_folder_with_what_is_published(farandole: Typed, unique: str, tmp_path: Path) -> None:
    def folder(fields: str) -> str:
        path = tmp_path / f"unit{len(list(tmp_path.iterdir()))}"
        path.mkdir()
        (path / f"unit_{unique}_{path.name}.py").write_text(UNIT.format(fields=fields))
        return str(path)

    same = farandole("schema", "check", folder("n: int"), code=0)
    grown = farandole("schema", "check", folder("n: int\n    note: str = 'none'"), code=0)
    broken = farandole("schema", "check", folder("n: str"), code=1)
    data = json.loads(farandole("schema", "check", folder("n: str"), "--json", code=1).stdout)
    farandole("schema", "check", folder("n: int"), "--mode", "sideways", code=2)

    assert "0 not full compatible" in same.output
    assert "changed  twice/double/output" in grown.output
    assert "backward:" in broken.output
    assert {each["state"] for each in data} == {"changed"}


def test_schema_diff_shows_lines_and_who_reads_whom(farandole: Typed, tmp_path: Path) -> None:
    schema = json.loads(farandole("schema", "show", "twice/double/output", code=0).stdout)
    schema["fields"].append({"name": "note", "type": "string"})
    (tmp_path / "new.avsc").write_text(json.dumps(schema))

    text = farandole("schema", "diff", "twice/double/output", "new.avsc", code=0).output
    same = farandole("schema", "diff", "twice/double/output", "twice/double/output", code=0).output
    missing = farandole("schema", "diff", "twice/double/output", "nowhere.avsc", code=2).output

    assert '+      "name": "note",' in text
    assert "not backward:" in text
    assert "the same schema" in same
    assert "nowhere.avsc" in missing


# --- state --------------------------------------------------------------------------------------


def test_rebuilt_runs_equal_what_runs_holds_and_a_difference_is_told(
    farandole: Typed, cluster: InProcess, unique: str
) -> None:
    for n in (41, 42, 43):
        start(farandole, f"{unique}-{n}", n)

    until(
        lambda: json.loads(farandole("state", "rebuild", "--check", "--json").stdout)["moving"] == [],
        "the events were never folded to their end",
    )
    good = farandole("state", "rebuild", "--check", code=0)
    unchecked = farandole("state", "rebuild", code=2)
    _falsify(cluster, f"{unique}-42", f"{unique}-41")
    bad = farandole("state", "rebuild", "--check", code=1)

    assert good.output.rstrip().endswith(" 0 differ")
    assert "--check" in unchecked.output
    assert f"{unique}-42" in bad.output
    assert "1 differ" in bad.output


def _falsify(cluster: InProcess, victim: str, other: str) -> None:
    """Write the state of one run as that of another, whose outcome is the same but not its params."""
    rows: dict[str, bytes] = {}
    reader = cluster.transport.reader("falsifier")
    reader.assign({TopicPartition(cluster.topics.runs, n): -2 for n in range(3)})
    deadline = time.monotonic() + 10
    while not {victim, other} <= set(rows):
        assert time.monotonic() < deadline
        for polled in reader.poll(0.1):
            if isinstance(polled, Record) and polled.key and polled.value:
                rows[polled.key.decode()] = polled.value
    reader.close()
    mine, theirs = decode(rows[victim]), decode(rows[other])
    assert isinstance(mine, RunHead)
    assert isinstance(theirs, RunHead)
    false = encode_record(replace(mine, state=theirs.state))
    producer = cluster.transport.producer("falsifier")
    producer.send(NewRecord(cluster.topics.runs, victim.encode(), false, (), partition_of(victim, 3)))
    assert producer.flush(10) == 0
