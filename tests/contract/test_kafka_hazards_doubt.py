"""A commit of which nobody heard the end, on a real broker behind a wire that loses things (R4).

What is lost is either the request to commit, and the transaction is still open, or the reply to it,
and it has committed. Both look the same to a client; only committed positions tell.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from enum import Enum, auto
from functools import partial

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient

from farandole.testing.conformance import Kit
from farandole.testing.conformance.driven import Driven
from farandole.transport.doubt import judge, judge_all
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.metadata import Metadata, encode
from farandole.transport.port import (
    NewRecord,
    Position,
    ReadPositions,
    RenewProducer,
    TopicPartition,
    Transport,
    Verdict,
)

METADATA, FIND_COORDINATOR, END_TXN = 3, 10, 26
"""Keys of Kafka's requests: two whose replies tell addresses, and the one that ends a transaction."""

CALL_TIMEOUT_SECONDS = 20.0
COMMIT_TIMEOUT_SECONDS = 2.0
"""Instead of 10 s, so that a test of what follows a time-out takes no longer than it must."""

HERE = "127.0.0.1"
NUMBER = 4711
VALUE = b"effect"


class Loses(Enum):
    """What the wire loses."""

    NOTHING = auto()
    END_REQUESTS = auto()
    END_REPLIES = auto()


class Wire:
    """A proxy before each broker of a cluster, to which the brokers' own addresses are rewritten on the way."""

    def __init__(self, kafka: str) -> None:
        self.loses = Loses.NOTHING
        self.lost = 0
        self._moved: dict[tuple[str, int], int] = {}
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        brokers = AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=CALL_TIMEOUT_SECONDS).brokers
        listening = []
        for broker in brokers.values():
            address = (str(broker.host), broker.port)
            listener = socket.create_server((HERE, 0))
            self._moved[address] = listener.getsockname()[1]
            listening.append((listener, address))
        for listener, address in listening:
            self._start(listener, partial(self._accept, listener, address))
        self.bootstrap = f"{HERE}:{next(iter(self._moved.values()))}"

    def close(self) -> None:
        """Cut every connection."""
        for thread in self._threads:  # those that accept are the first, so that afterwards no socket is new
            self._cut()
            thread.join(CALL_TIMEOUT_SECONDS)
        for each in self._sockets:
            each.close()

    def _cut(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):  # it was cut before
                each.shutdown(socket.SHUT_RDWR)

    def _start(self, its: socket.socket, work: Callable[[], None]) -> None:
        def run() -> None:
            with contextlib.suppress(OSError):  # cut by either side, or by `close`
                work()

        self._sockets.append(its)
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, address: tuple[str, int]) -> None:
        while True:
            client, _ = listener.accept()
            broker = socket.create_connection(address)
            asked: dict[int, int] = {}
            self._start(client, partial(self._pump, client, broker, partial(self._request, asked)))
            self._start(broker, partial(self._pump, broker, client, partial(self._reply, asked)))

    def _pump(self, source: socket.socket, sink: socket.socket, through: Callable[[bytes], bytes | None]) -> None:
        try:
            while True:
                (size,) = struct.unpack(">i", _exactly(source, 4))
                frame = through(_exactly(source, size))
                if frame is not None:
                    sink.sendall(struct.pack(">i", len(frame)) + frame)
        finally:
            sink.shutdown(socket.SHUT_RDWR)

    def _request(self, asked: dict[int, int], frame: bytes) -> bytes | None:
        key, _, correlation = struct.unpack_from(">hhi", frame)
        asked[correlation] = key
        return self._unless(Loses.END_REQUESTS, key, frame)

    def _reply(self, asked: dict[int, int], frame: bytes) -> bytes | None:
        key = asked.pop(struct.unpack_from(">i", frame)[0])
        if key in (METADATA, FIND_COORDINATOR):
            return self._rewritten(frame)
        return self._unless(Loses.END_REPLIES, key, frame)

    def _unless(self, loses: Loses, key: int, frame: bytes) -> bytes | None:
        if key != END_TXN or self.loses is not loses:
            return frame
        self.lost += 1
        return None

    def _rewritten(self, frame: bytes) -> bytes:
        """With our addresses in the place of the brokers'."""
        for (host, port), moved in self._moved.items():
            for theirs, ours in zip(_addresses(host, port), _addresses(HERE, moved), strict=True):
                frame = frame.replace(theirs, ours)
        return frame


def _addresses(host: str, port: int) -> tuple[bytes, bytes]:
    """An address as the protocol writes it: with the host as a string, and as a compact string."""
    address = host.encode() + struct.pack(">i", port)
    return struct.pack(">h", len(host)) + address, bytes((len(host) + 1,)) + address


def _exactly(source: socket.socket, size: int) -> bytes:
    """So many bytes.

    Raises:
        OSError: the stream has ended.
    """
    found = b""
    while len(found) < size:
        more = source.recv(size - len(found))
        if not more:
            raise ConnectionError("the stream has ended")
        found += more
    return found


@pytest.fixture
def wire(kafka: str) -> Iterator[Wire]:
    """To the shared broker."""
    wire = Wire(kafka)
    yield wire
    wire.close()


@pytest.fixture
def kit(wire: Wire) -> Iterator[Kit]:
    """Our transport behind the wire; it gives a commit up after 2 s."""

    def hang(
        transport: Transport,
        client_id: str,
        records: Sequence[NewRecord],
        group: str,
        positions: Mapping[TopicPartition, Position],
    ) -> None:
        raise AssertionError("expected the wire to leave transactions open, but the kit was asked to")

    settings = KafkaSettings(bootstrap=wire.bootstrap, call_timeout=timedelta(seconds=COMMIT_TIMEOUT_SECONDS))
    with Kit(lambda: KafkaTransport(settings), hang=hang) as kit:
        yield kit


class Doubtful:
    """A member that has committed once on two partitions, and one more transaction of it, of which it hears nothing."""

    def __init__(self, kit: Kit, wire: Wire) -> None:
        self.kit, self.wire = kit, wire
        self.inbox = kit.topic_of([[], []])
        (self.out,) = kit.topic_of([[]], "out")
        self.member: Driven = kit.joined([self.inbox[0].topic])
        self.member.commits([], {at: self.position(1, NUMBER) for at in self.inbox})
        self.member.positions(self.inbox)

    def position(self, offset: int, number: int) -> Position:
        """A position as our loops write it."""
        return Position(offset, encode(Metadata(writer=self.member.client_id, number=number)))

    def transact(self, number: int) -> Verdict | None:
        """One effect, and the positions that belong to it."""
        record = NewRecord(self.out.topic, None, VALUE, (), self.out.partition)
        return self.member.commit([record], {at: self.position(2, number) for at in self.inbox}).verdict

    def lose(self, what: Loses) -> Verdict | None:
        """The transaction of which nothing is heard; the wire is whole again afterwards."""
        self.wire.loses = what
        verdict = self.transact(NUMBER + 1)
        self.wire.loses = Loses.NOTHING
        assert self.wire.lost > 0
        return verdict

    def renew(self) -> None:
        """As loops do: until it succeeds."""
        self.kit.until(lambda: self.member.ask(RenewProducer()).error is None, "a new producer on the same id")

    def judge_now(self) -> bool | None:
        """By what the broker says at this moment."""
        positions = self.member.ask(ReadPositions(self.inbox)).positions
        return judge_all(self.inbox, positions, self.member.client_id, NUMBER + 1)

    def judge(self) -> bool:
        """Once nothing is pending any more."""
        return judge(self.member.positions(self.inbox), self.member.client_id, NUMBER + 1)


@pytest.fixture
def doubtful(kit: Kit, wire: Wire) -> Doubtful:
    """A member about to be in doubt."""
    return Doubtful(kit, wire)


def test_commit_whose_reply_is_lost_is_in_doubt_and_judged_committed(doubtful: Doubtful) -> None:
    verdict = doubtful.lose(Loses.END_REPLIES)
    doubtful.renew()

    assert verdict is Verdict.DOUBT
    assert doubtful.judge() is True
    doubtful.kit.sees(doubtful.out, [VALUE])


def test_commit_whose_request_is_lost_is_in_doubt_and_judged_not_committed(doubtful: Doubtful) -> None:
    verdict = doubtful.lose(Loses.END_REQUESTS)
    before_renewal = doubtful.judge_now()
    doubtful.renew()

    assert verdict is Verdict.DOUBT
    assert before_renewal is None
    assert doubtful.judge() is False
    doubtful.kit.sees(doubtful.out, [])


def test_what_was_judged_not_committed_is_produced_again_and_takes_effect_once(doubtful: Doubtful) -> None:
    doubtful.lose(Loses.END_REQUESTS)
    doubtful.renew()
    assert doubtful.judge() is False

    again = doubtful.transact(NUMBER + 2)

    assert again is Verdict.COMMITTED
    doubtful.kit.sees(doubtful.out, [VALUE])


def test_doubt_judged_by_one_partition_is_wrong_when_its_next_owner_has_committed_over_it(
    kafka: str, doubtful: Doubtful
) -> None:
    doubtful.lose(Loses.END_REPLIES)
    doubtful.renew()
    kept, passed_on = doubtful.inbox
    commit_as_next_owner(kafka, doubtful.kit, passed_on)

    positions = doubtful.member.positions(doubtful.inbox)
    by_one = judge({passed_on: positions[passed_on]}, doubtful.member.client_id, NUMBER + 1)
    by_all = judge(positions, doubtful.member.client_id, NUMBER + 1)

    assert positions[kept] == doubtful.position(2, NUMBER + 1)
    assert by_one is False
    assert by_all is True


def commit_as_next_owner(kafka: str, kit: Kit, at: TopicPartition) -> None:
    """Another writer's position; a stranger's snapshot saves a rebalance."""
    writer = kit.name("next")
    config: dict[str, str | int] = {"bootstrap.servers": kafka, "transactional.id": writer}
    producer = Producer(config)
    producer.init_transactions(CALL_TIMEOUT_SECONDS)
    producer.begin_transaction()
    stranger = Consumer({"bootstrap.servers": kafka, "group.id": kit.name("group")})
    offset = KafkaPartition(at.topic, at.partition, 3, encode(Metadata(writer=writer, number=1)))
    producer.send_offsets_to_transaction([offset], stranger.consumer_group_metadata(), CALL_TIMEOUT_SECONDS)
    producer.commit_transaction(CALL_TIMEOUT_SECONDS)
    stranger.close()
