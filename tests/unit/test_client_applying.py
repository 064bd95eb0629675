"""`apply` on the log in memory: what it leaves, and that doing it again leaves it alone."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from farandole import Client, agent, pipeline
from farandole.cli.units import Named, deployment_of
from farandole.client.applying import apply, plan, read_rows
from farandole.client.insisting import insist
from farandole.client.planning import Deployment, Observed, make_plan, wanted_topics
from farandole.definition.loading import Unit
from farandole.definition.types import schema_text
from farandole.errors import ConfigError, NotReady, TransportError
from farandole.events.avro import Schema, SchemaBook
from farandole.events.topics import Topics
from farandole.transport.drift import require_topics
from farandole.transport.memory import MemoryTransport
from farandole.transport.memory.admin import MemoryAdmin
from farandole.transport.memory.log import PartitionLog
from farandole.transport.port import NewRecord, Position, TopicPartition, TopicSpec, Transport
from farandole.transport.sqlite import SqliteTransport
from farandole.transport.sqlite.settings import SqliteSettings

TOPICS = Topics("ns")


@agent
def charge(amount: int) -> int:
    """An agent."""
    return amount


@pipeline(owner="shop@example.org")
def orders(amount: int) -> int:
    """A pipeline."""
    return charge(amount)


SHOP = Deployment("shop", ("charge",), ("payments.settled",), (orders.definition,), {"f1": "schema"})


def applied(partitions: int = 3) -> MemoryTransport:
    """A log to which the shop was applied."""
    transport = MemoryTransport()
    apply(transport, plan(transport, TOPICS, SHOP, partitions=partitions))
    return transport


def rows(transport: MemoryTransport) -> Mapping[str, str]:
    """The rows of `definitions`."""
    return read_rows(transport, transport.admin(), TOPICS.definitions)


def test_apply_publishes_definition_pointer_and_owner() -> None:
    transport = applied()

    found = rows(transport)

    assert found["pipeline:orders"] == orders.definition.hash
    assert found[str(orders.definition.hash)] == orders.definition.to_json()
    assert found["inbox:charge"] == "shop"
    assert read_rows(transport, transport.admin(), TOPICS.schemas) == {"f1": "schema"}


@dataclass(frozen=True, slots=True)
class Note:
    """A record that is neither input nor result of any step."""

    text: str


def test_record_that_an_agent_publishes_can_be_read_by_whoever_consumes_its_topic() -> None:
    """`apply` published the schemas of steps only: a record of any other type that a handler published was framed by a
    schema that stood nowhere, and `farandole topics consume` could not read it, nor could anybody else.
    """

    @agent(publishes={"notes": Note})
    def tell(n: int) -> int:
        """An agent."""
        return n

    transport = MemoryTransport()
    deployment = deployment_of(Named("shop", Path("shop"), Unit({"tell": tell.spec}, {})))
    apply(transport, plan(transport, TOPICS, deployment, partitions=1))

    published = read_rows(transport, transport.admin(), TOPICS.schemas)
    book = SchemaBook(Schema.parse(text) for text in published.values())
    assert book.decode(Schema.parse(schema_text(Note)).encode({"text": "hello"})) == {"text": "hello"}


def test_of_two_units_that_take_an_agent_at_the_same_time_one_is_refused() -> None:
    """Both were told "applied", both consumed the inbox, and every charge was made twice."""
    transport = MemoryTransport()
    first, second = SHOP, replace(SHOP, unit="market")
    plans = [plan(transport, TOPICS, unit, partitions=3) for unit in (first, second)]
    apply(transport, plans[0])

    with pytest.raises(ConfigError, match="charge to shop"):
        apply(transport, plans[1])

    assert rows(transport)["inbox:charge"] == "shop"
    apply(transport, plan(transport, TOPICS, first))
    with pytest.raises(ConfigError, match="belongs to shop"):
        apply(transport, plan(transport, TOPICS, second))


@pytest.fixture(params=["memory", "embedded"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Transport:
    """A log to which nothing was applied."""
    if request.param == "memory":
        return MemoryTransport()
    return SqliteTransport(SqliteSettings(tmp_path / "log.sqlite"))


BANK = Deployment("bank", ("refund",))


def test_of_two_first_applies_with_different_partitions_the_second_is_refused_and_leaves_nothing(
    fresh: Transport,
) -> None:
    """Both were told "applied". P was recorded as 6 over topics of 12, and every later plan was refused: six topics
    with another number than P, which no `apply` can mend.
    """
    twelve = plan(fresh, TOPICS, SHOP, partitions=12)
    six = plan(fresh, TOPICS, BANK, partitions=6)
    apply(fresh, twelve)

    with pytest.raises(ConfigError, match=r"^ns: expected P to be 6, but .* made ns\.commands with 12 partitions"):
        apply(fresh, six)

    assert read_rows(fresh, fresh.admin(), TOPICS.definitions)["group:coordinator"] == "12"
    assert not fresh.admin().topics([TOPICS.inbox("refund"), TOPICS.dead("refund")]), "its next plan wants 12 of each"
    apply(fresh, plan(fresh, TOPICS, BANK))
    assert require_topics(fresh.admin(), TOPICS, ["charge", "refund"]) == 12
    assert plan(fresh, TOPICS, SHOP).is_empty
    assert plan(fresh, TOPICS, BANK).is_empty


def test_two_first_applies_with_the_same_partitions_both_succeed(fresh: Transport) -> None:
    plans = [plan(fresh, TOPICS, unit, partitions=3) for unit in (SHOP, BANK)]

    for each in plans:
        apply(fresh, each)

    assert require_topics(fresh.admin(), TOPICS, ["charge", "refund"]) == 3
    assert plan(fresh, TOPICS, SHOP).is_empty
    assert plan(fresh, TOPICS, BANK).is_empty


def test_number_of_homes_that_another_apply_recorded_first_stands() -> None:
    """As the owner of an inbox: the row of whoever came second stood, because it is the latest."""
    transport = MemoryTransport()
    made = plan(transport, TOPICS, SHOP, partitions=6)
    transport.admin().create(made.create)
    producer = transport.producer("another")
    producer.send(NewRecord(TOPICS.definitions, b"group:coordinator", b"12", partition=0))
    producer.flush(1.0)

    with pytest.raises(ConfigError, match="expected P to be 6, but another `apply` has recorded 12"):
        apply(transport, made)

    assert rows(transport)["group:coordinator"] == "12"


def test_topic_that_another_apply_made_and_no_broker_tells_of_yet_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transport = MemoryTransport()
    made = plan(transport, TOPICS, SHOP, partitions=3)
    apply(transport, made)
    monkeypatch.setattr(MemoryAdmin, "topics", lambda admin, names=None: {})

    with pytest.raises(NotReady, match=r"ns\.commands: another `apply` has just made it"):
        apply(transport, made)


def test_apply_gives_start_positions_to_coordinators_and_unit() -> None:
    transport = applied()

    admin = transport.admin()

    events = [TopicPartition(TOPICS.events, n) for n in range(3)]
    inbox = [TopicPartition(TOPICS.inbox("charge"), n) for n in range(3)]
    assert admin.positions(TOPICS.group("coordinator"), events) == dict.fromkeys(events, Position(0))
    assert admin.positions(TOPICS.group("shop"), inbox) == dict.fromkeys(inbox, Position(0))


def test_apply_twice_does_nothing_the_second_time() -> None:
    transport = applied()

    again = plan(transport, TOPICS, SHOP)

    assert again.is_empty
    assert again.partitions == 3


def test_apply_that_broke_off_after_the_topics_is_finished_by_the_next() -> None:
    transport = MemoryTransport()
    transport.admin().create(plan(transport, TOPICS, SHOP, partitions=3).create)

    apply(transport, plan(transport, TOPICS, SHOP))

    inbox = TopicPartition(TOPICS.inbox("charge"), 2)
    assert transport.admin().positions(TOPICS.group("shop"), [inbox]) == {inbox: Position(0)}
    assert plan(transport, TOPICS, SHOP).is_empty


def test_topic_that_was_deleted_is_made_anew_with_start_positions_and_the_rest_keeps_its_own() -> None:
    # The story: an inbox was deleted by hand. Its agents said "run `farandole apply`", which made the topic and, since
    # the inbox had an owner, no positions: nothing was ever consumed from it again.
    transport = MemoryTransport()
    whole = plan(transport, TOPICS, SHOP, partitions=3)
    transport.admin().create([spec for spec in whole.create if spec.name != TOPICS.inbox("charge")])
    unplaced = replace(SHOP, agents=(), definitions=())
    apply(transport, plan(transport, TOPICS, unplaced))
    admin = transport.admin()
    producer = transport.producer("test")
    producer.send(NewRecord(TOPICS.definitions, b"inbox:charge", b"shop", partition=0))
    producer.flush(1.0)

    again = plan(transport, TOPICS, SHOP)
    apply(transport, again)

    inbox = [TopicPartition(TOPICS.inbox("charge"), n) for n in range(3)]
    assert (TOPICS.group("shop"), TOPICS.inbox("charge")) in again.starts
    assert (TOPICS.group("coordinator"), TOPICS.events) not in again.starts
    assert admin.positions(TOPICS.group("shop"), inbox) == dict.fromkeys(inbox, Position(0))
    assert plan(transport, TOPICS, SHOP).is_empty


def test_partitions_that_were_added_to_an_inbox_get_start_positions() -> None:
    # The story: as above, with two partitions more: those never had a position, and `apply` found nothing to do.
    transport = applied(partitions=3)
    group, topic = TOPICS.group("shop"), TOPICS.inbox("charge")
    observed = Observed(3, rows(transport), {"f1": "schema"}, grown=frozenset({topic}))

    made = make_plan(TOPICS, SHOP, observed, wanted_topics(TOPICS, SHOP, 3), ())

    assert made.starts == ((group, topic),)
    assert plan(transport, TOPICS, SHOP).starts == ()


def test_apply_of_another_unit_with_the_same_agent_changes_nothing() -> None:
    transport = applied()

    bank = plan(transport, TOPICS, Deployment("bank", ("charge", "refund")))

    with pytest.raises(ConfigError, match="belongs to shop"):
        apply(transport, bank)
    assert TOPICS.inbox("refund") not in transport.admin().topics()


def test_other_number_of_partitions_after_the_first_apply_is_refused() -> None:
    transport = applied(partitions=3)

    with pytest.raises(ConfigError, match="expected 6 partitions, but found 3"):
        apply(transport, plan(transport, TOPICS, SHOP, partitions=6))


def grown(transport: MemoryTransport, topic: str, count: int) -> None:
    """`kafka-topics --alter --partitions`."""
    with transport.hub as broker:
        log = broker._log
        log._specs[topic] = replace(log._specs[topic], partitions=count)
        for number in range(len(log._partitions[topic]), count):
            log._partitions[topic].append(PartitionLog(TopicPartition(topic, number), log.changed))


def test_home_topic_that_was_changed_by_hand_is_the_one_that_is_told() -> None:
    # The story: `commands` was given more partitions. P was taken from it, so that `apply` and every process called the
    # other topics wrong, and new clients sent commands to homes that nobody has.
    transport = applied(partitions=3)
    grown(transport, TOPICS.commands, 6)

    refused = plan(transport, TOPICS, SHOP)

    assert refused.partitions == 3
    assert list(refused.refusals) == ["ns.commands: expected 3 partitions, but found 6; `apply` cannot mend it"]
    with pytest.raises(ConfigError, match=r"1 thing\(s\) are not:\n  ns\.commands: expected 3 partitions, but found 6"):
        require_topics(transport.admin(), TOPICS, ["charge"])


@pytest.mark.parametrize("topics", [["commands"], ["events"], ["commands", "events", "runs", "settled", "control"]])
def test_number_of_homes_is_what_the_first_apply_recorded(topics: list[str]) -> None:
    transport = applied(partitions=3)
    for kind in topics:
        grown(transport, f"ns.{kind}", 6)

    assert plan(transport, TOPICS, SHOP).partitions == 3


@pytest.mark.parametrize("topic", [TOPICS.commands, TOPICS.events])
def test_client_sends_to_the_homes_that_there_are(topic: str) -> None:
    transport = applied(partitions=3)
    grown(transport, topic, 6)

    async def partitions() -> int:
        async with Client(transport, "ns") as client:
            return await client.session.partitions()

    assert asyncio.run(partitions()) == 3


def test_drifted_setting_is_set_again() -> None:
    transport = applied()
    transport.admin().configure(TOPICS.runs, {"max.message.bytes": "1000"})

    drifted = plan(transport, TOPICS, SHOP)
    apply(transport, drifted)

    assert [fault.what for fault in drifted.mend] == ["max.message.bytes"]
    assert plan(transport, TOPICS, SHOP).is_empty


def test_start_of_a_process_without_topics_is_refused_and_names_apply() -> None:
    with pytest.raises(ConfigError, match=r"ns\.events: missing; `apply` creates it(.|\n)*farandole apply"):
        require_topics(MemoryTransport().admin(), TOPICS, ["charge"])


def test_start_of_a_process_on_applied_topics_gives_the_home_partitions() -> None:
    transport = applied(partitions=5)

    assert require_topics(transport.admin(), TOPICS, ["charge"], ["payments.settled"]) == 5


def test_start_of_a_process_on_a_log_compacted_wrongly_is_refused() -> None:
    transport = MemoryTransport()
    whole = plan(transport, TOPICS, SHOP, partitions=3).create
    wrong = [TopicSpec(s.name, s.partitions, s.replication, {"cleanup.policy": "compact"}) for s in whole]
    transport.admin().create(wrong)

    with pytest.raises(ConfigError, match=r"ns\.events: expected cleanup\.policy=delete, but found compact"):
        require_topics(transport.admin(), TOPICS, ["charge"])


def test_start_of_a_process_on_uneven_home_topics_is_refused() -> None:
    transport = MemoryTransport()
    whole = plan(transport, TOPICS, SHOP, partitions=3).create
    uneven = [TopicSpec(s.name, 4 if s.name == TOPICS.runs else s.partitions, -1, s.config) for s in whole]
    transport.admin().create(uneven)

    with pytest.raises(ConfigError, match=r"ns\.runs: expected 3 partitions, but found 4"):
        require_topics(transport.admin(), TOPICS, ["charge"])


class NotYet:
    """A log that is not ready for so many calls, on a clock of its own."""

    def __init__(self, times: int, takes: float = 10.0) -> None:
        self.now = 0.0
        self.told: list[float] = []
        self._left = times
        self._takes = takes

    def __call__(self) -> str:
        if self._left:
            self._left -= 1
            self.now += self._takes
            raise NotReady("2 of 3 brokers")
        return "done"

    def insist(self, bound: float) -> str:
        return insist(
            self,
            timedelta(seconds=bound),
            lambda refused, left: self.told.append(left.total_seconds()),
            clock=lambda: self.now,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


def test_what_the_log_is_not_ready_for_is_done_again_and_told() -> None:
    log = NotYet(times=3)

    assert log.insist(120) == "done"
    assert log.told == [110, 99, 87], "ten seconds of each call, and a pause that doubles"


def test_log_that_is_never_ready_ends_the_wait_at_its_bound() -> None:
    log = NotYet(times=1_000)

    with pytest.raises(NotReady, match="2 of 3 brokers"):
        log.insist(60)
    assert log.now <= 60 + 10, "no try begins after the bound"


def test_no_patience_means_one_try() -> None:
    log = NotYet(times=1)

    with pytest.raises(NotReady):
        log.insist(0)
    assert log.told == []


def test_refusal_is_not_repeated() -> None:
    def refused() -> None:
        calls.append(1)
        raise TransportError("an entry is refused")

    calls: list[int] = []
    with pytest.raises(TransportError):
        insist(refused, timedelta(minutes=1), lambda *_: None, sleep=lambda _: None)
    assert len(calls) == 1
