"""What a question through aiokafka's client ends in that is not answered: whether it is asked again."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from aiokafka import errors as aio

from farandole.client.insisting import insist
from farandole.errors import AccessDenied, NotReady, TransportError
from farandole.transport.kafka import KafkaSettings, asking
from farandole.transport.kafka.aio_errors import unreached
from farandole.transport.kafka.asking import ask, ask_patiently
from farandole.transport.kafka.positions import read_positions

SETTINGS = KafkaSettings("nowhere:1", call_timeout=timedelta(seconds=0.2))


class Client:
    """As aiokafka's; it finds no broker so often."""

    away = 0

    def __init__(self, **_: object) -> None:
        pass

    async def bootstrap(self) -> None:
        """Connected, or not."""
        if Client.away:
            Client.away -= 1
            raise aio.KafkaConnectionError("Unable to bootstrap")

    async def close(self) -> None:
        """At once."""


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of aiokafka's."""
    monkeypatch.setattr(asking, "AIOKafkaClient", Client)
    monkeypatch.setattr(Client, "away", 0)


async def answers(client: object) -> int:
    """At once."""
    return 7


async def is_silent(client: object) -> int:
    """For ever."""
    await asyncio.Event().wait()
    return 7


def test_question_to_a_cluster_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The story: `apply` waits for brokers that are to come by asking again after `NotReady`. All of its questions
    ended in that but the one for positions, which ended the whole `apply`."""
    monkeypatch.setattr(Client, "away", 2)
    told: list[NotReady] = []

    found = insist(
        lambda: ask(SETTINGS, "me", answers),
        timedelta(hours=1),
        lambda error, _: told.append(error),
        sleep=lambda _: None,
    )

    assert found == 7
    assert ["cannot be reached" in str(each) for each in told] == [True, True]


def test_positions_of_a_cluster_that_is_away_are_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "away", 1)

    with pytest.raises(NotReady, match="nowhere:1: cannot be reached"):
        read_positions(SETTINGS, "me", "g", None, stable=True)


def test_question_that_is_not_answered_in_time_is_not_ready() -> None:
    with pytest.raises(NotReady, match=r"positions of g: no answer in 0\.2 s"):
        ask_patiently(SETTINGS, "me", "positions of g", is_silent)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (aio.KafkaConnectionError("Unable to bootstrap"), NotReady),
        (aio.NodeNotReadyError("node 1"), NotReady),
        (ConnectionRefusedError(), NotReady),
        (TimeoutError(), NotReady),
        (aio.LeaderNotAvailableError(), NotReady),
        (aio.InvalidReplicationFactorError(), NotReady),
        (aio.InvalidTopicError(), TransportError),
        (aio.TopicAuthorizationFailedError(), AccessDenied),
        (aio.GroupAuthorizationFailedError(), AccessDenied),
        (aio.ClusterAuthorizationFailedError(), AccessDenied),
        (aio.TransactionalIdAuthorizationFailed(), AccessDenied),
        (aio.SaslAuthenticationFailed(), AccessDenied),
        (aio.AuthenticationFailedError(), AccessDenied),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else type(each).__name__,
)
def test_error_of_aiokafka_says_who_must_act(error: Exception, kind: type[TransportError]) -> None:
    told: Any = unreached(error, "nowhere:1")

    assert type(told) is kind
    assert str(told).startswith("nowhere:1: ")
