"""A transaction that is over for its coordinator and open in a partition: found, told from one under way, ended."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from typer.testing import CliRunner

from farandole.cli.main import app
from farandole.errors import TransportError
from farandole.testing.broker import Broker, BrokerSettings, start_broker
from farandole.testing.chaos.markers import end_forgotten
from farandole.testing.cluster import wait_until
from farandole.testing.proxy import PRODUCE, Fate, KafkaProxy
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.kafka.asking import ask
from farandole.transport.kafka.endings import Ending
from farandole.transport.kafka.forgotten import OFFSETS, _open, forgotten
from farandole.transport.kafka.inspection import _described, _ListTransactions
from farandole.transport.kafka.markers import Answer
from farandole.transport.kafka.producers import Open
from farandole.transport.kafka.succession import fence
from farandole.transport.kafka.transactions import Signs, Transactor, snapshot_of
from farandole.transport.port import Isolation, NewRecord, Position, TopicPartition, TopicSpec, Verdict

pytestmark = pytest.mark.kafka

AT = TopicPartition("ns.events", 0)
LEFT_OUT = TopicPartition("torn.runs", 0)

TRIES = 6
"""Records that may be refused before one is taken."""


@pytest.fixture(scope="module")
def lax() -> Iterator[Broker]:
    """A broker that takes a record of a transaction that is over, as those before 3.7 did."""
    settings = BrokerSettings(properties={"transaction.partition.verification.enable": "false"})
    with start_broker(settings) as broker:
        with closing(KafkaTransport(KafkaSettings(broker.bootstrap)).admin()) as admin:
            admin.create([TopicSpec(AT.topic, 1), TopicSpec("other.events", 1), TopicSpec(LEFT_OUT.topic, 2)])
        yield broker


def ends(broker: Broker, at: TopicPartition = AT) -> tuple[int, int]:
    """Where committed readers stop, and where the log ends."""
    with closing(KafkaTransport(KafkaSettings(broker.bootstrap)).admin()) as admin:
        return admin.ends([at], Isolation.COMMITTED)[at], admin.ends([at], Isolation.UNCOMMITTED)[at]


def producer(bootstrap: str, name: str, **settings: object) -> Producer:
    """A transactional one, initialised."""
    made = Producer({"bootstrap.servers": bootstrap, "transactional.id": name, "log_level": 0, **settings})
    made.init_transactions(10)
    return made


def comes_late(lax: Broker, name: str) -> bool:
    """Let a record come after its transaction has ended; whether it is taken.

    It is refused where the client has had the time to take another epoch when it aborted, as on a busy machine.
    """
    with KafkaProxy(lax.bootstrap) as proxy:
        late = producer(proxy.bootstrap, name, **{"socket.timeout.ms": 1_000, "message.timeout.ms": 1_500})
        late.begin_transaction()
        proxy.meddle(PRODUCE, Fate.HOLD, times=100)
        late.produce(AT.topic, b"late", partition=0)
        late.flush(3)
        with pytest.raises(KafkaException):
            late.commit_transaction(5)
        proxy.leave_alone()
        late.abort_transaction(10)
        assert proxy.release() > 0
    until = time.monotonic() + 1
    while (is_open := len(set(ends(lax))) == 2) is False and time.monotonic() < until:
        time.sleep(0.05)
    return is_open


def test_record_that_comes_after_its_transaction_has_ended_is_found_and_aborted(lax: Broker) -> None:
    """A broker's restart brought the like about: a coordinator stood before it for ever, and nothing told."""
    names = [f"ns.orders.{n}" for n in range(TRIES)]
    name = next(each for each in names if comes_late(lax, each))
    committed, _ = ends(lax)

    (found,) = forgotten(KafkaSettings(lax.bootstrap), "ns.")

    assert (found.at, found.start, found.transactional_id) == (AT, committed, name)
    assert forgotten(KafkaSettings(lax.bootstrap), "other.") == []
    heir, other = (Transactor(KafkaSettings(lax.bootstrap), each) for each in (name, "ns.orders.other"))
    other.prepare()
    for begin in (heir.prepare, heir.renew, heir.prepare):
        with pytest.raises(TransportError, match=r"open in ns\.events/0, and its broker has forgotten it.*doctor"):
            begin()
    left = replace(found, state="Empty", ending=Ending.UNKNOWN)
    assert list(end_forgotten(KafkaSettings(lax.bootstrap), "ns.")) == [(left, Answer.ABORTED)]
    wait_until(lambda: len(set(ends(lax))) == 1, timedelta(seconds=10), "readers to go on")
    assert forgotten(KafkaSettings(lax.bootstrap), "ns.") == []
    heir.renew()


def test_transaction_under_way_is_not_forgotten(lax: Broker) -> None:
    open_ = producer(lax.bootstrap, "ns.orders.open")
    open_.begin_transaction()
    open_.produce(AT.topic, b"soon", partition=0)
    open_.flush(10)
    committed, end = ends(lax)
    assert committed < end

    assert forgotten(KafkaSettings(lax.bootstrap), "ns.") == []
    open_.commit_transaction(10)
    assert forgotten(KafkaSettings(lax.bootstrap), "ns.") == []


def test_positions_of_a_group_are_where_its_writers_ask_for_them(lax: Broker) -> None:
    writer, settings = producer(lax.bootstrap, "ns.orders.positions"), KafkaSettings(lax.bootstrap)
    groups = [f"ns.orders{n}" for n in range(6)]
    found = []

    async def look(client: AIOKafkaClient) -> list[Open]:
        return await _open(client, "ns.", False, group)

    for group in groups:
        stranger = Consumer({"bootstrap.servers": lax.bootstrap, "group.id": group})
        writer.begin_transaction()
        writer.send_offsets_to_transaction([KafkaPartition(AT.topic, 0, 1)], stranger.consumer_group_metadata(), 10)
        found += ask(settings, "tests", look)
        writer.abort_transaction(10)
        stranger.close()

    assert [each.at.topic for each in found] == [OFFSETS] * len(groups)


def leave_out(lax: Broker, name: str, at: TopicPartition) -> None:
    """Have a record of a writer's last transaction in a partition that did not get its marker.

    The batch is built by hand: no client writes for a transaction that has ended.
    """

    async def write(client: AIOKafkaClient) -> None:
        (node,) = [each.nodeId for each in client.cluster.brokers()]
        (it,) = await _described(client, node, _ListTransactions([], []), name)
        batch = _DefaultRecordBatchBuilderPy(2, 0, 1, it.producer_id, it.producer_epoch, 0, 16_384)
        batch.append(0, it.started_ms - 5, None, name.encode(), [])
        topics = [(at.topic, [(at.partition, bytes(batch.build()))])]
        answer = await client.send(node, ProduceRequest(name, -1, 10_000, topics))
        assert [error for _, partitions in answer.topics for _, error, *_ in partitions] == [0]

    ask(KafkaSettings(lax.bootstrap), "tests", write)


def visible(lax: Broker, at: TopicPartition) -> list[bytes | None]:
    """Values that committed readers see."""
    _, end = ends(lax, at)
    reader = Consumer(
        {"bootstrap.servers": lax.bootstrap, "group.id": "tests", "enable.partition.eof": True, "log_level": 0}
    )
    reader.assign([KafkaPartition(at.topic, at.partition, 0)])
    found, until = [], time.monotonic() + 20
    try:
        while time.monotonic() < until:
            told = reader.poll(1)
            if told is not None and told.error() is None:
                found.append(told.value())
            elif told is not None:
                return found
    finally:
        reader.close()
    raise AssertionError(f"expected the end of {at} at {end}")


def test_what_was_committed_elsewhere_is_committed_where_its_marker_was_left_out(
    lax: Broker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The story: a broker that was killed in the midst of a commit left a marker out, and said that all was committed.
    Aborted, as `doctor` said, what it had written there was lost, and its writer had been told that it was not.
    """
    monkeypatch.chdir(tmp_path)
    names = {at: f"torn.orders.{at.partition}" for at in (LEFT_OUT, TopicPartition(LEFT_OUT.topic, 1))}
    for at, name in names.items():
        writer = producer(lax.bootstrap, name)
        writer.begin_transaction()
        writer.produce("other.events", b"elsewhere", partition=0)
        assert writer.flush(10) == 0  # aborted with a record on its way, a client takes another epoch
        (writer.abort_transaction if at.partition else writer.commit_transaction)(10)
        leave_out(lax, name, at)
    where = ["-b", lax.bootstrap, "--namespace", "torn", "--json"]
    assert [ends(lax, at) for at in names] == [(0, 1)] * 2

    listed = CliRunner().invoke(app, ["transactions", "list", *where])
    ended = CliRunner().invoke(app, ["transactions", "end", "--yes", *where])

    rows = [(each["partition"], each["state"], each["outcome"]) for each in json.loads(listed.stdout)["transactions"]]
    assert sorted(rows) == [(0, "CompleteCommit", "committed"), (1, "CompleteAbort", "aborted")]
    assert ended.exit_code == 0
    assert {each["partition"]: each["answer"] for each in json.loads(ended.stdout)["transactions"]} == {
        0: "committed",
        1: "aborted",
    }
    assert [visible(lax, at) for at in names] == [[b"torn.orders.0"], []]
    assert forgotten(KafkaSettings(lax.bootstrap), "torn.") == []


def ended_and_left_out(lax: Broker, name: str, at: TopicPartition, *, commit: bool) -> None:
    """A writer's last transaction, of which a broker left the marker out in a partition."""
    writer = producer(lax.bootstrap, name)
    writer.begin_transaction()
    writer.produce("other.events", b"elsewhere", partition=0)
    assert writer.flush(10) == 0
    (writer.commit_transaction if commit else writer.abort_transaction)(10)
    leave_out(lax, name, at)


@pytest.mark.parametrize("begins", ["its next process", "who takes over from it"])
@pytest.mark.parametrize("commit", [True, False], ids=["committed", "rolled back"])
def test_who_initialises_an_id_ends_before_that_what_a_broker_had_left_out(
    lax: Broker, begins: str, commit: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Initialised, it is told as `Empty`: nobody could say any more how it had ended, and a person aborted it."""
    name, settings = f"torn.heir.{len(begins)}.{commit}", KafkaSettings(lax.bootstrap)
    ended_and_left_out(lax, name, LEFT_OUT, commit=commit)
    assert len(set(ends(lax, LEFT_OUT))) == 2

    if begins == "its next process":
        Transactor(settings, name).prepare()
        assert f"written: 1 {'committed' if commit else 'aborted'}" in caplog.text
    else:
        fence(settings, name)

    assert forgotten(settings, "torn.") == []
    assert (name.encode() in visible(lax, LEFT_OUT)) is commit


def test_writer_that_has_met_an_outage_sees_that_its_last_transaction_was_ended_everywhere(
    lax: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Both have one fate where both wrote: the abort of the next one undid what had been told to stand."""
    name, settings = "torn.witness.0", KafkaSettings(lax.bootstrap)
    writer = Transactor(settings, name)
    group = Consumer({"bootstrap.servers": lax.bootstrap, "group.id": "torn.witness"})
    snapshot = snapshot_of(group.consumer_group_metadata())
    elsewhere = [NewRecord("other.events", b"k", b"elsewhere", (), 0)]
    position = {TopicPartition("other.events", 0): Position(1, "")}
    assert writer.commit(elsewhere, position, snapshot).verdict is Verdict.COMMITTED
    leave_out(lax, name, LEFT_OUT)

    writer._signs(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert writer.commit(elsewhere, position, snapshot).verdict is Verdict.COMMITTED
    group.close()

    assert "written: 1 committed" in caplog.text
    assert name.encode() in visible(lax, LEFT_OUT)


def test_abort_in_which_no_broker_was_left_is_in_doubt(lax: Broker) -> None:
    """It may have ended the transaction before, which was committed."""
    writer = Transactor(KafkaSettings(lax.bootstrap), "torn.doubter.0")
    group = Consumer({"bootstrap.servers": lax.bootstrap, "group.id": "torn.doubter"})
    snapshot = snapshot_of(group.consumer_group_metadata())
    writer.prepare()
    signs = writer._signs
    too_large = NewRecord("other.events", b"k", bytes(2_000_000), (), 0)
    position = {TopicPartition("other.events", 0): Position(1, "")}
    assert writer.commit([too_large], position, snapshot).verdict is Verdict.REFUSED

    class Away(Signs):
        """Hears of an outage whenever it is looked at."""

        @property
        def outages(self) -> int:
            """One more each time."""
            signs.count += 1
            return signs.count

        @outages.setter
        def outages(self, count: int) -> None:
            pass

    writer._signs = Away()
    verdict = writer.commit([too_large], position, snapshot).verdict
    group.close()

    assert verdict is Verdict.DOUBT
