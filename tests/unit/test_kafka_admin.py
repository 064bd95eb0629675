"""What the admin client makes of a cluster that is not quite there yet."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from farandole.errors import AccessDenied, NotReady, TransportError
from farandole.transport.kafka import admin
from farandole.transport.kafka.admin import START_TRIES, WAKE_TRIES, KafkaAdmin
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.kafka.transactions import Outcome
from farandole.transport.port import Position, TopicPartition, TopicSpec, Verdict

AT = TopicPartition("t", 0)


class _Stranger:
    """A consumer whose group has no coordinator yet, for so many questions."""

    def __init__(self, silent: int) -> None:
        self.silent, self.asked = silent, 0

    def committed(self, partitions: object, timeout: float) -> list[object]:
        self.asked += 1
        if self.asked <= self.silent:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return []


@pytest.mark.parametrize(("silent", "asked"), [(0, 1), (2, 3), (WAKE_TRIES + 5, WAKE_TRIES)])
def test_new_cluster_is_asked_for_a_coordinator_until_it_has_one_and_not_for_ever(silent: int, asked: int) -> None:
    """`apply` on three fresh brokers gave up after 10 s: they were creating `__consumer_offsets` for its question."""
    stranger = _Stranger(silent)

    KafkaAdmin(KafkaSettings("127.0.0.1:1"), "tests")._wake_coordinator(cast(Consumer, stranger))

    assert stranger.asked == asked


def that_starts_with(error: TransportError, patch: pytest.MonkeyPatch) -> tuple[KafkaAdmin, list[object]]:
    """An admin whose transactions are aborted for this, and what it tried to commit."""
    tried: list[object] = []

    def commit(_: object, positions: object, __: object) -> Outcome:
        tried.append(positions)
        return Outcome(Verdict.ABORTED, error)

    patch.setattr(admin, "Transactor", lambda *_: SimpleNamespace(commit=commit))
    patch.setattr(
        admin,
        "Consumer",
        lambda _: SimpleNamespace(consumer_group_metadata=lambda: None, committed=lambda *_: [], close=lambda: None),
    )
    made = KafkaAdmin(KafkaSettings("127.0.0.1:1"), "tests")
    patch.setattr(made._queries, "positions", lambda *_, **__: {AT: None})
    return made, tried


def test_start_positions_that_we_have_no_right_to_commit_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The story: `apply` without the right to its transactional ids was told that the log is not ready, and tried
    again for two minutes."""
    made, tried = that_starts_with(AccessDenied("g.-start: its producer was not initialised"), monkeypatch)

    with pytest.raises(AccessDenied, match=r"start positions of g: they were not committed: g\.-start"):
        made.start_positions("g", {AT: Position(0)})

    assert len(tried) == 1


def test_start_positions_that_could_not_be_committed_for_another_reason_may_be_in_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, tried = that_starts_with(TransportError("a rebalance"), monkeypatch)

    with pytest.raises(NotReady, match="they were not committed: a rebalance"):
        made.start_positions("g", {AT: Position(0)})

    assert len(tried) == START_TRIES


def test_topic_that_we_may_not_create_is_told_as_a_missing_right() -> None:
    refused: Future[Any] = Future()
    refused.set_exception(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "no")))
    made = KafkaAdmin(KafkaSettings("127.0.0.1:1"), "tests")
    made._queries._client = cast(AdminClient, SimpleNamespace(create_topics=lambda *_, **__: {"t": refused}))

    with pytest.raises(AccessDenied, match=r"topic t: it was not created: TOPIC_AUTHORIZATION_FAILED.*farandole acls"):
        made.create([TopicSpec("t", 1)])
