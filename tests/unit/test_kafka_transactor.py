"""What a writer makes of refusals while its clock is wrong, and of what it may have left open."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from confluent_kafka import KafkaError, KafkaException

from farandole.errors import AccessDenied, TransportError
from farandole.transport.kafka import KafkaSettings, leftovers, markers, transactions
from farandole.transport.kafka.endings import Ending
from farandole.transport.kafka.forgotten import Forgotten
from farandole.transport.kafka.transactions import MISDATED_S, NEVER_JOINED, Outcome, Snapshot, Transactor
from farandole.transport.port import TopicPartition, Verdict

T = TypeVar("T")

REFUSED = Outcome(Verdict.REFUSED)

SNAPSHOT = Snapshot(None, NEVER_JOINED)


@pytest.fixture
def transactor() -> Transactor:
    """One that has sent nothing."""
    return Transactor(KafkaSettings("localhost:1"), "ns.unit.0")


def test_refusal_after_one_for_a_timestamp_is_no_records_fault_for_a_minute(transactor: Transactor) -> None:
    # The story: after the broker had refused records for their timestamps, it refused what came next as INVALID_RECORD:
    # four runs were held as guilty of it.
    transactor._ended = 100.0
    misdated = transactor._judged(Outcome(Verdict.ABORTED), KafkaError.INVALID_TIMESTAMP)
    transactor._ended = 101.0
    soon = transactor._judged(REFUSED, KafkaError.INVALID_RECORD)
    transactor._ended = 101.0 + MISDATED_S
    late = transactor._judged(REFUSED, KafkaError.INVALID_RECORD)

    assert (misdated.verdict, soon.verdict, late.verdict) == (Verdict.ABORTED, Verdict.ABORTED, Verdict.REFUSED)


def test_refusal_with_a_clock_that_is_right_is_the_records(transactor: Transactor) -> None:
    transactor._ended = 100.0

    assert transactor._judged(REFUSED, KafkaError.INVALID_RECORD).verdict is Verdict.REFUSED


def test_what_is_open_under_ones_name_is_asked_until_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that was just made has no leader for a moment: `farandole demo --bootstrap` ended with exit code 3."""
    asked: list[str] = []

    async def moody(client: object, prefix: str, is_whole: bool, group: str, writer: str) -> list[Forgotten]:
        asked.append(prefix)
        if len(asked) < 3:
            raise TransportError("producers of ns.commands/3: Broker: Not leader for partition")
        return []

    def put(settings: object, client_id: object, about: object, question: Callable[..., Coroutine[Any, Any, T]]) -> T:
        return asyncio.run(question(None))

    monkeypatch.setattr("farandole.transport.kafka.forgotten._certainly", moody)
    monkeypatch.setattr("farandole.transport.kafka.forgotten.ask_patiently", put)
    one = Transactor(KafkaSettings("localhost:1"), "ns.unit.0")

    one._require_alone()
    one._require_alone()

    assert asked == ["ns."] * 3


class Unauthorized:
    """A producer that may not do one thing: its call raises that."""

    def __init__(self, call: str, code: int) -> None:
        self._call, self._code = call, code

    def __getattr__(self, name: str) -> Callable[..., None]:
        def called(*_: object) -> None:
            if name == self._call:
                raise KafkaException(KafkaError(self._code, "no", txn_requires_abort=True))

        return called


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("init_transactions", KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        ("send_offsets_to_transaction", KafkaError.GROUP_AUTHORIZATION_FAILED),
    ],
)
def test_transaction_that_we_have_no_right_to_says_so_in_its_outcome(
    call: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The story: the code was in the text alone, so that whoever could not go on without the right tried again."""
    monkeypatch.setattr(transactions, "Producer", lambda _: Unauthorized(call, code))
    monkeypatch.setattr(transactions, "RETRY_PAUSE", 0.0)
    monkeypatch.setattr(leftovers, "left_by", lambda *_, **__: [])
    monkeypatch.setattr(leftovers, "end_own", lambda *_, **__: [])
    one = Transactor(KafkaSettings("localhost:1"), "ns.unit.0")

    outcome = one.commit((), {}, SNAPSHOT)

    assert outcome.verdict is Verdict.ABORTED
    assert isinstance(outcome.error, AccessDenied)
    assert "farandole acls" in str(outcome.error)


def test_writer_whose_log_is_away_does_not_turn_at_full_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The question before the initialisation is refused within a millisecond, and a coordinator asks again at once: it
    asked 1,301 times in three seconds."""
    slept: list[float] = []
    monkeypatch.setattr("farandole.transport.kafka.transactions.time.sleep", slept.append)
    one = Transactor(KafkaSettings("localhost:1", call_timeout=timedelta(seconds=0.2)), "ns.unit.0")

    with pytest.raises(TransportError, match="not known yet"):
        one.renew()

    assert sum(slept) > 0.2
    assert not one._is_alone


def left(state: str, *, is_of_last_epoch: bool) -> Forgotten:
    """One of which the coordinator does not tell how it ended."""
    at = TopicPartition("ns.events", 0)
    return Forgotten(at, 7, "ns.unit.0", state, 1, 0, -1, Ending.UNKNOWN, is_of_last_epoch)


@pytest.mark.parametrize(
    ("it", "ending"),
    [
        (left("CompleteCommit", is_of_last_epoch=True), Ending.COMMITTED),
        (left("CompleteCommit", is_of_last_epoch=False), Ending.UNKNOWN),
        (left("Empty", is_of_last_epoch=True), Ending.UNKNOWN),
        (left("CompleteAbort", is_of_last_epoch=True), Ending.UNKNOWN),
    ],
)
def test_what_a_writer_knows_counts_for_its_own_epoch_alone(it: Forgotten, ending: Ending) -> None:
    """A record of an aborted transaction came late, under the epoch before: it was committed with what came since."""
    assert markers._known(it) is ending
