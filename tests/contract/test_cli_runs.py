"""`farandole run`, `dead` and `lineage` against a running deployment in memory: words, JSON and exit codes."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from farandole import Retry, RetryableStepError, agent, pipeline
from farandole.cli.main import app
from farandole.client import Client
from farandole.client.lookup import head_of
from farandole.events.catalogue import encode
from farandole.events.envelope import Envelope
from farandole.events.facts import StepSucceeded
from farandole.events.tables import RunHead
from farandole.ids import partition_of
from farandole.testing.cluster import wait_until
from farandole.testing.inprocess import PARTITIONS, InProcess
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import NewRecord, TopicPartition

BROKEN = {13}


@dataclass(frozen=True)
class Number:
    """What travels."""

    n: int


@agent(retry=Retry(attempts=1))
def double(number: Number) -> Number:
    """Fails for what is broken."""
    if number.n in BROKEN:
        raise ValueError(f"{number.n} is broken")
    return Number(2 * number.n)


@agent(retry=Retry(attempts=50, base="100ms"))
def stubborn(number: Number) -> Number:
    """Never succeeds, and never gives up."""
    raise ValueError("not yet")


@pipeline(owner="tests@example.org")
def twice(number: Number) -> Number:
    """May be held."""
    return double(number)


@pipeline(owner="tests@example.org")
def strict(number: Number) -> Number:
    """May fail."""
    return double.options(on_dead_letter="fail")(number)


@pipeline(owner="tests@example.org")
def lenient(number: Number) -> Number | None:
    """May be partial."""
    return double.options(on_dead_letter="skip")(number)


@agent
def slow(number: Number) -> Number:
    """Takes longer than the deadline of its pipeline."""
    threading.Event().wait(0.5)
    return number


@pipeline(owner="tests@example.org", deadline="100ms")
def hasty(number: Number) -> Number:
    """Times out."""
    return slow(number)


@pipeline(owner="tests@example.org")
def patient(number: Number) -> Number:
    """Goes on until it is cancelled."""
    return stubborn(number)


@agent(retry=Retry(attempts=3))
def busy(number: Number) -> Number:
    """Asks for more time than its pipeline has."""
    raise RetryableStepError("busy", retry_after=timedelta(hours=2))


@pipeline(owner="tests@example.org", deadline="1h")
def punctual(number: Number) -> Number:
    """Held after one attempt of three."""
    return busy(number)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """A deployment of all pipelines above."""
    pipelines = [twice, strict, lenient, hasty, patient, punctual]
    folder = tmp_path_factory.mktemp("cli")
    with InProcess(MemoryTransport(), pipelines, namespace="farandole", folder=folder) as it:
        yield it


@pytest.fixture
def cli(cluster: InProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "Cli":
    """The command line on that deployment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("farandole.cli.connect.transport_of", lambda settings: cluster.transport)
    return Cli()


class Cli:
    """Types commands."""

    def type(self, *arguments: str, text: str | None = None) -> Result:
        """Run a command."""
        return CliRunner().invoke(app, arguments, input=text)

    def json(self, *arguments: str) -> object:
        """What a command prints as JSON."""
        result = self.type(*arguments, "--json")
        assert result.exit_code == 0, result.output
        value: object = json.loads(result.stdout)
        return value

    def start(self, pipeline: str, n: int, *more: str) -> Result:
        """Start a run of a number."""
        return self.type("run", "start", pipeline, "--params", json.dumps({"number": {"n": n}}), *more)


@pytest.mark.parametrize(
    ("pipeline", "n", "code"),
    [("twice", 4, 0), ("strict", 13, 10), ("twice", 13, 11), ("lenient", 13, 12), ("hasty", 1, 14)],
)
def test_waiting_start_exits_with_the_code_of_the_outcome(cli: Cli, pipeline: str, n: int, code: int) -> None:
    result = cli.start(pipeline, n, "--wait", "--timeout", "20s")

    assert result.exit_code == code, result.output


def test_waiting_start_of_a_run_that_is_cancelled_exits_with_13(cli: Cli, unique: str) -> None:
    assert cli.start("patient", 1, "--id", unique).exit_code == 0

    _known(cli, unique)
    cancelled = cli.type("run", "cancel", unique, "--reason", "enough")
    waited = cli.start("patient", 1, "--id", unique, "--wait", "--timeout", "20s")

    assert cancelled.exit_code == 0, cancelled.output
    assert waited.exit_code == 13, waited.output
    assert "enough" in waited.output


def _known(cli: Cli, run: str) -> None:
    """Wait until the run is in the tables: the watch ends with its first line."""
    for _ in range(1000):
        if cli.type("run", "show", run).exit_code == 0:
            return
    raise AssertionError(f"{run} never showed")


def test_start_that_waits_too_long_says_so_and_exits_with_1(cli: Cli) -> None:
    result = cli.start("patient", 1, "--wait", "--timeout", "200ms")

    assert result.exit_code == 1
    assert "it goes on" in result.output


def test_start_under_the_id_of_another_run_is_refused_without_waiting_too(cli: Cli, unique: str) -> None:
    """It printed the id, exited with 0, and nobody ever heard that nothing had been started."""
    assert cli.start("twice", 4, "--id", unique).exit_code == 0

    again = cli.start("twice", 4, "--id", unique)
    other = cli.start("twice", 5, "--id", unique)

    assert again.exit_code == 0, again.output
    assert other.exit_code == 1
    assert f"run {unique}: expected it to be started, but it was refused: conflict" in other.output


def test_start_that_waits_too_long_leaves_the_id_for_programs(cli: Cli) -> None:
    """Standard output was empty, and the run that goes on had no name."""
    result = cli.start("patient", 1, "--timeout", "100ms", "--json")

    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["outcome"] is None
    assert cli.type("run", "cancel", told["run"]).exit_code == 0


def test_run_id_that_begins_with_a_sign_is_told_why_it_is_none(cli: Cli) -> None:
    result = cli.type("run", "start", "twice", "--params", '{"number": {"n": 1}}', "--id", "-x")

    assert result.exit_code == 1
    assert "a letter or digit first" in result.output


def test_start_with_a_limit_of_the_wait_waits(cli: Cli) -> None:
    """The limit was ignored without a word, where `run result` takes it as asking to wait."""
    ended = cli.start("twice", 4, "--timeout", "20s")
    goes_on = cli.start("patient", 1, "--timeout", "200ms")

    assert (ended.exit_code, json.loads(ended.stdout)) == (0, {"n": 8})
    assert (goes_on.exit_code, "it goes on" in goes_on.output) == (1, True)


@pytest.mark.parametrize("verb", ["release", "cancel"])
def test_nothing_is_asked_of_a_run_that_has_ended(cli: Cli, unique: str, verb: str) -> None:
    """`release` said that it had asked, and nobody ever answered."""
    assert cli.start("twice", 4, "--id", unique, "--wait").exit_code == 0

    result = cli.type("run", verb, unique)

    assert result.exit_code == 1
    assert "ended succeeded. Nothing was asked" in result.output


def test_params_come_from_a_file_or_standard_input(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text('{"number": {"n": 4}}')

    from_file = cli.type("run", "start", "twice", "--params", "@params.json", "--wait")
    from_input = cli.type("run", "start", "twice", "--params", "-", "--wait", text='{"number": {"n": 5}}')

    assert json.loads(from_file.stdout) == {"n": 8}
    assert json.loads(from_input.stdout) == {"n": 10}


def test_params_that_do_not_fit_are_refused(cli: Cli) -> None:
    result = cli.type("run", "start", "twice", "--params", '{"number": {"n": "four"}}')

    assert result.exit_code == 1
    assert "params" in result.output
    assert "Nothing was sent" in result.output


def test_unknown_pipeline_names_those_that_are_known(cli: Cli) -> None:
    result = cli.type("run", "start", "thrice")

    assert result.exit_code == 2
    assert "twice" in result.output


def test_held_run_is_shown_found_looked_into_and_replayed(cli: Cli, unique: str) -> None:
    assert cli.start("twice", 13, "--id", unique, "--wait").exit_code == 11

    shown = cli.type("run", "show", unique)
    listed = cli.type("dead", "list", "--run", unique)
    groups = cli.json("dead", "list", "--run", unique)
    assert isinstance(groups, list)
    place = groups[0]["letters"][0]["place"]
    looked = cli.type("dead", "show", place)
    replayed = cli.type("dead", "replay", place, "--input", '{"n": 7}')
    watched = cli.type("run", "watch", unique)
    ended = cli.start("twice", 13, "--id", unique, "--wait")
    again = cli.type("dead", "replay", place)

    assert "held" in shown.output
    assert "dead letter: ValueError: 13 is broken" in shown.output
    assert place in listed.output
    assert '"n": 13' in looked.output
    assert replayed.exit_code == 0, replayed.output
    assert "RunSettled" in watched.output.splitlines()[-1]
    assert (ended.exit_code, json.loads(ended.stdout)) == (0, {"n": 14})
    assert (again.exit_code, "closed" in again.output) == (1, True)


def test_limit_that_cut_the_attempts_short_stands_beside_the_error(cli: Cli, unique: str) -> None:
    """`RetryableStepError: busy`, with one attempt of three: nothing told that the next one came after the deadline."""
    assert cli.start("punctual", 1, "--id", unique, "--wait").exit_code == 11

    shown = cli.type("run", "show", unique).stdout

    assert "busy: dead letter (run_deadline): RetryableStepError: busy" in shown
    assert "given up" not in shown, "it stands below what is waited for"


def test_watch_prints_events_to_the_end_as_lines_and_as_json(cli: Cli, unique: str) -> None:
    assert cli.start("twice", 4, "--id", unique, "--wait").exit_code == 0

    text = cli.type("run", "watch", unique).output.splitlines()
    documents = [json.loads(line) for line in cli.type("run", "watch", unique, "--json").output.splitlines()]

    assert "RunStarted" in text[0]
    assert "succeeded" in text[-1]
    assert [each["type"] for each in documents] == ["RunStarted", "StepScheduled", "StepSucceeded", "RunSettled"]


def test_lines_of_events_have_the_clock_of_run_show_with_date_and_zone(cli: Cli, unique: str) -> None:
    """They had neither, `run show` had both, and `dev` the local time: one event stood at three times."""
    assert cli.start("twice", 4, "--id", unique, "--wait").exit_code == 0

    lines = cli.type("run", "events", unique).stdout.splitlines()
    documents = [json.loads(line) for line in cli.type("run", "events", unique, "--json").stdout.splitlines()]

    told = [datetime.fromisoformat(line[: len("2026-01-01 00:00:00.000Z")]) for line in lines]
    assert all(line[23] == "Z" for line in lines)
    assert told == [datetime.fromisoformat(each["at"]) for each in documents]


def test_lineage_shows_the_tree(cli: Cli, unique: str) -> None:
    assert cli.start("twice", 4, "--id", unique, "--wait").exit_code == 0

    text = cli.type("lineage", unique)
    data = cli.json("lineage", unique)

    assert f"run {unique}  twice  succeeded" in text.output
    assert isinstance(data, dict)
    assert data["run"] == unique


@pytest.mark.parametrize("way", ["--up", "--down"])
def test_lineage_of_a_run_refuses_the_ways_that_only_a_record_has(cli: Cli, unique: str, way: str) -> None:
    """They were ignored: the whole tree was printed, and whoever had asked for one way took it for that."""
    assert cli.start("twice", 4, "--id", unique, "--wait").exit_code == 0

    refused = cli.type("lineage", unique, way)

    assert refused.exit_code == 2
    assert "expected the place of a record" in refused.output


def test_lineage_of_a_record_that_no_tree_has_goes_up_to_the_command(cli: Cli, unique: str) -> None:
    """Of a run's record on `settled` no cause was shown: it is on none of the topics that a run is walked over."""
    assert cli.start("twice", 4, "--id", unique, "--wait").exit_code == 0
    place = _place_of(cli, "settled", unique)

    found = cli.json("lineage", place)

    assert isinstance(found, dict)
    assert [each["kind"] for each in found["up"]][:1] == ["StartRun"]
    assert [each["kind"] for each in found["up"]][-1:] == ["RunSettled"]


def _place_of(cli: Cli, topic: str, run: str) -> str:
    printed = cli.type("topics", "consume", topic, "--run", run, "--json")
    return str(json.loads(printed.output.splitlines()[0])["place"])


@pytest.mark.parametrize("away", [0, 1], ids=["at home", "forwarded"])
def test_command_of_kcats_without_a_key_is_a_part_of_the_tree(
    cli: Cli, cluster: InProcess, unique: str, away: int
) -> None:
    """The README's own example has none: one that lands on the run's home is not forwarded, and nobody saw it."""
    asked = {"pipeline": "twice", "run_id": unique, "params": {"number": {"n": 4}}}
    partition = (partition_of(unique, PARTITIONS) + away) % PARTITIONS
    kcat = cluster.transport.producer("kcat")
    kcat.send(NewRecord("farandole.commands", None, json.dumps(asked).encode(), (), partition))
    kcat.flush(20.0)
    kcat.close()
    _known(cli, unique)
    assert cli.type("run", "result", unique, "--wait").exit_code == 0

    text = cli.type("lineage", unique).output
    found = cli.json("lineage", _place_of(cli, "settled", unique))

    assert "asked by farandole.commands/" in text
    assert isinstance(found, dict)
    assert found["up"][0]["kind"] == "StartRun"


@pytest.mark.parametrize(
    "command", [("run", "show"), ("run", "watch"), ("run", "cancel"), ("run", "release"), ("lineage",)]
)
def test_run_that_nobody_knows_is_an_error_with_its_name(cli: Cli, unique: str, command: tuple[str, ...]) -> None:
    result = cli.type(*command, unique)

    assert result.exit_code == 1
    assert unique in result.output


@pytest.mark.parametrize("place", ["nonsense", "farandole.dead.double/0/999", "farandole.events/0/0", "no.topic/0/0"])
def test_place_without_a_dead_letter_is_an_error(cli: Cli, place: str) -> None:
    result = cli.type("dead", "show", place)

    assert result.exit_code == 1
    assert "error:" in result.output


def test_list_tells_status_and_filters(cli: Cli, unique: str) -> None:
    assert cli.start("strict", 13, "--id", unique, "--wait").exit_code == 10

    failed = cli.json("run", "list", "--status", "failed", "--limit", "0")
    text = cli.type("run", "list", "--pipeline", "strict")

    assert isinstance(failed, list)
    assert unique in {row["run"] for row in failed}
    assert {row["status"] for row in failed} == {"failed"}
    assert unique in text.output


@pytest.fixture
def forgetful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    """A deployment whose run ids are free again after a second."""
    second = timedelta(seconds=1)
    folder, transport = tmp_path / "forgetful", MemoryTransport()
    with InProcess(transport, [twice], namespace="farandole", folder=folder, dedupe_window=second) as it:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("farandole.cli.connect.transport_of", lambda settings: it.transport)
        yield it


async def _head(cluster: InProcess, run: str) -> RunHead | None:
    async with Client(cluster.transport, cluster.namespace) as client:
        return await head_of(client.session, run)


def test_id_that_is_used_again_is_shown_as_the_run_that_it_is_now(forgetful: InProcess) -> None:
    """The topics hold both lives of the id: `run show` told of the first one's steps and start, `lineage` of both."""
    cli, within = Cli(), timedelta(seconds=20)
    assert cli.start("twice", 4, "--id", "again", "--wait").exit_code == 0
    old = cli.json("run", "show", "again")
    wait_until(lambda: asyncio.run(_head(forgetful, "again")) is None, within, "the id to be free again")
    assert cli.start("twice", 13, "--id", "again").exit_code == 0
    wait_until(lambda: cli.json("run", "list", "--status", "held"), within, "the second run to be held")

    new = cli.json("run", "show", "again")
    text = cli.type("lineage", "again").output

    assert isinstance(old, dict)
    assert isinstance(new, dict)
    assert min(row["since"] for row in new["steps"]) > old["status"]["updated_at"]
    assert "not ended" in text
    assert "succeeded" not in text
    assert text.count("farandole.commands/") == 1


def test_run_that_a_bad_event_holds_can_be_looked_into(cli: Cli, cluster: InProcess, unique: str) -> None:
    """The tools for it ended at that event: with an error that named no place, or with a traceback at its payload."""
    assert cli.start("patient", 1, "--id", unique).exit_code == 0
    _known(cli, unique)
    nobody_has = StepSucceeded(unique, "nope", 1, b"{}")
    about = Envelope("x", "farandole.StepSucceeded", "test", datetime.now(UTC), run=unique, step="nope")
    place = TopicPartition("farandole.events", partition_of(unique, PARTITIONS))
    stranger = cluster.transport.producer("stranger")
    for value in (encode(nobody_has), b"\xc3\x01garbage!\x00"):
        stranger.send(NewRecord(place.topic, unique.encode(), value, about.headers(), place.partition))
        assert stranger.flush(20.0) == 0
    stranger.close()

    waited = cli.type("run", "result", unique, "--wait", "--timeout", "20s")
    told = cli.type("run", "events", unique, "--payloads")
    lines = [json.loads(line) for line in cli.type("run", "events", unique, "--json").output.splitlines()]
    shown = cli.type("run", "show", unique)
    cli.type("run", "cancel", unique)
    watched = cli.type("run", "watch", unique, "--plain")

    assert waited.exit_code == 11, waited.output
    assert [each.exit_code for each in (told, shown, watched)] == [0, 0, 0], told.output
    assert "has no step 'nope'" in told.output
    (bad,) = [each for each in lines if each["event"] is None]
    assert bad["place"].startswith(f"{place.topic}/{place.partition}/")
    assert (bad["type"], "expected a record of ours" in bad["problem"]) == ("StepSucceeded", True)
    assert f"{bad['place']} cannot be read" in told.output
    assert f"{bad['place']} cannot be read" in watched.output
