"""What the admin client makes of a cluster that is not quite there yet."""

import pytest

from farandole.errors import TransportError
from farandole.transport.kafka.admin import POSITIONS_TRIES, KafkaAdmin
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.port import Position, TopicPartition

AT = TopicPartition("t", 0)


class _Slow:
    """Answers about groups, after so many calls without an answer."""

    def __init__(self, silent: int) -> None:
        self.silent = silent

    def positions(self, *asked: object, **how: object) -> dict[TopicPartition, Position | None]:
        self.silent -= 1
        if self.silent >= 0:
            raise TransportError("positions of g: no answer in 10.0 s")
        return {AT: Position(7), TopicPartition("t", 1): None}


@pytest.fixture
def admin() -> KafkaAdmin:
    """One that talks to nobody."""
    return KafkaAdmin(KafkaSettings("127.0.0.1:1"), "tests")


def test_first_question_about_a_group_is_repeated_while_a_new_cluster_makes_its_topics(admin: KafkaAdmin) -> None:
    """`apply` on three fresh brokers gave up after 10 s: they were creating `__consumer_offsets` for its question."""
    admin._queries = _Slow(POSITIONS_TRIES - 1)  # type: ignore[assignment]

    assert admin.positions("g", [AT]) == {AT: Position(7)}


def test_start_positions_ask_as_patiently(admin: KafkaAdmin) -> None:
    admin._queries = _Slow(POSITIONS_TRIES - 1)  # type: ignore[assignment]

    assert admin._missing("g", {AT: Position(0)}) == {}


def test_cluster_that_never_answers_about_groups_is_given_up_on(admin: KafkaAdmin) -> None:
    admin._queries = _Slow(POSITIONS_TRIES)  # type: ignore[assignment]

    with pytest.raises(TransportError, match="no answer"):
        admin.positions("g")
