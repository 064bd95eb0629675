"""What the contract tests share: a transaction that nobody ends, and the command line typed in this process."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as KafkaTopicPartition
from typer.testing import CliRunner, Result

from farandole.cli.main import app
from farandole.testing.conformance import Hang
from farandole.testing.inprocess import InProcess
from farandole.transport.port import NewRecord, Polled, Position, TopicPartition, Transport, Trouble

# Longer than any case takes, so that it is never the broker's own clean-up that ends the transaction.
TRANSACTION_TIMEOUT_MS = 120_000
CALL_TIMEOUT_SECONDS = 20.0


@pytest.fixture
def hang_at() -> Callable[[str], Hang]:
    """For an address: a raw producer that begins a transaction there, writes, and is never heard of again.

    Its client object lives on with the test's, because to destroy it would be heard of.
    """
    left: list[Producer] = []
    return lambda bootstrap: _hanging(bootstrap, left)


def _hanging(bootstrap: str, left: list[Producer]) -> Hang:

    def hang(
        transport: Transport,
        client_id: str,
        records: Sequence[NewRecord],
        group: str,
        positions: Mapping[TopicPartition, Position],
    ) -> None:
        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "transactional.id": client_id,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                # That it is fenced in the end is what the cases want.
                "log_level": 0,
                "error_cb": lambda error: None,
            }
        )
        producer.init_transactions(CALL_TIMEOUT_SECONDS)
        producer.begin_transaction()
        for record in records:
            partition = -1 if record.partition is None else record.partition
            producer.produce(record.topic, record.value, record.key, partition, headers=list(record.headers))
        assert producer.flush(CALL_TIMEOUT_SECONDS) == 0
        if positions:
            _send_positions(bootstrap, producer, group, positions)
        left.append(producer)

    return hang


def _send_positions(
    bootstrap: str, producer: Producer, group: str, positions: Mapping[TopicPartition, Position]
) -> None:
    """As a consumer that never joined: that is accepted in any state of the group."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    try:
        offsets = [
            KafkaTopicPartition(at.topic, at.partition, position.offset, position.metadata)
            for at, position in positions.items()
        ]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), CALL_TIMEOUT_SECONDS)
    finally:
        consumer.close()


@pytest.fixture
def farandole(cluster: InProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Types a command on the deployment of the module that asks (its fixture `cluster`): `farandole("run", "list")`.

    With `code` it must exit with that.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("farandole.cli.connect.transport_of", lambda settings: cluster.transport)
    monkeypatch.setattr("farandole.cli.connect.artifacts_of", lambda settings: cluster.artifacts)

    def type_(*arguments: str, text: str | None = None, code: int | None = None) -> Result:
        result = CliRunner().invoke(app, arguments, input=text)
        assert code is None or result.exit_code == code, f"{result.exit_code}: {result.output}"
        assert "Traceback" not in result.output
        return result

    return type_


class Away:
    """A reader of a log that has gone away, which it says at each poll, and a clock that its polls move."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def poll(self, timeout: float) -> Sequence[Polled]:
        self.now += timeout
        assert self.now < 600, "it is waited for without end"
        return [Trouble("unreachable", "no broker answers")]

    def position(self, at: TopicPartition) -> None:
        return None

    def assign(self, positions: object) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def away() -> Away:
    """In the place of a reader, and of `time`."""
    return Away()
