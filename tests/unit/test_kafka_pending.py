"""Positions that nobody settles any more are told from those that wait for a transaction, and from a group at work."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from farandole.transport.kafka import KafkaSettings, asking
from farandole.transport.kafka import pending as product
from farandole.transport.kafka.pending import Pending, pending
from farandole.transport.port import Position, TopicPartition

GROUP = "ns.unit"
ONE, OTHER = TopicPartition("ns.inbox.a", 0), TopicPartition("ns.inbox.a", 1)
BEFORE, AFTER = Position(7, "x"), Position(8, "y")
MINE, NEXT = (1, 100), (1, 200)


class Look(NamedTuple):
    """Positions as they were committed last, where one is pending, and what is open on the log of positions."""

    known: Mapping[TopicPartition, Position]
    pending: Sequence[TopicPartition] = (ONE,)
    open: Sequence[tuple[int, int]] = ()


class Client:
    """Connects to nothing."""

    def __init__(self, **_: object) -> None:
        pass

    async def bootstrap(self) -> None:
        return None

    async def close(self) -> None:
        return None


def found(monkeypatch: pytest.MonkeyPatch, *looks: Look) -> list[Pending]:
    """What is told of a group that looks like this, one look after the other; the last goes on."""
    left = list(looks)

    async def fetched(client: object, group: str, *, stable: bool) -> Mapping[TopicPartition, Position]:
        return {at: it for at, it in left[0].known.items() if not stable or at not in left[0].pending}

    async def opened(client: object, group: str) -> set[tuple[int, int]]:
        look = left.pop(0) if len(left) > 1 else left[0]
        return set(look.open)

    async def coordinator(client: object, group: str) -> object:
        return SimpleNamespace(node=3)

    monkeypatch.setattr(asking, "AIOKafkaClient", Client)
    monkeypatch.setattr(product, "CERTAIN_S", 0.0)
    for name, one in (("fetched", fetched), ("open_in_positions", opened), ("coordinator", coordinator)):
        monkeypatch.setattr(product, name, one)
    return pending(KafkaSettings("nowhere:1"), [GROUP])


def test_position_that_stays_pending_although_nothing_is_open_is_told_with_its_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The story: an only broker began to read its positions, resigned, began again, and let the first reading end in
    # the second's place. Half of a unit's inboxes had their positions pending from then on, as far as anybody looked.
    stuck = Look({ONE: BEFORE, OTHER: AFTER})

    assert found(monkeypatch, stuck) == [Pending(GROUP, (ONE,), 3)]


def test_transactions_of_others_beside_it_excuse_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [Look({ONE: BEFORE}, open=[each]) for each in (MINE, NEXT, MINE)]

    assert found(monkeypatch, *looks) == [Pending(GROUP, (ONE,), 3)]


@pytest.mark.parametrize(
    "looks",
    [
        [Look({ONE: BEFORE}, pending=())],
        [Look({ONE: BEFORE}, open=[MINE])],
        [Look({ONE: BEFORE}), Look({ONE: AFTER}), Look({ONE: AFTER})],
        [Look({ONE: BEFORE}), Look({ONE: BEFORE}, pending=())],
        [Look({ONE: BEFORE, OTHER: BEFORE}), Look({ONE: BEFORE, OTHER: BEFORE}, pending=(OTHER,))],
    ],
    ids=["settled", "a transaction is open", "it goes on", "it was settled meanwhile", "another is pending each time"],
)
def test_position_that_will_be_settled_is_not_told(monkeypatch: pytest.MonkeyPatch, looks: list[Look]) -> None:
    assert found(monkeypatch, *looks) == []


def test_no_group_is_no_question() -> None:
    assert pending(KafkaSettings("nowhere:1"), []) == []
