"""Requests that confluent-kafka cannot make, or not safely, in aiokafka's own terms and through its client.

So TLS and SASL are as everywhere. Each question has a client of its own, which costs some
connections and 10 to 30 ms: nothing here is asked often.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TypeVar

from aiokafka.client import AIOKafkaClient

from farandole.errors import NotReady, TransportError
from farandole.transport.kafka.aio_errors import AWAY, unreached
from farandole.transport.kafka.messages import UNSPOKEN
from farandole.transport.kafka.security import for_aiokafka
from farandole.transport.kafka.settings import BROKER_MIN, KafkaSettings

T = TypeVar("T")

BROKERS_TRIED = 3
"""So many brokers our patience is for: one that stands still takes connections, and answers nothing."""


def ask(settings: KafkaSettings, client_id: str, question: Callable[[AIOKafkaClient], Awaitable[T]]) -> T:
    """What a question brings. Blocking, in a thread of its own: the caller may have an event loop.

    Raises:
        NotReady: the cluster cannot be reached, or not yet.
        AccessDenied: it does not allow us what we ask.
        TransportError: it answers with another error.
    """
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(asyncio.run(_with_client(settings, client_id, question)))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=work, name=f"{client_id}.asking", daemon=True).start()
    return answer.result()


def ask_patiently(
    settings: KafkaSettings, client_id: str, about: str, question: Callable[[AIOKafkaClient], Awaitable[T]]
) -> T:
    """As `ask`, of a question that is asked again and again until it is answered, or our patience is over.

    Raises:
        NotReady: there was no answer in time; else as `ask`.
        TransportError: the cluster is too old for the question.
    """

    async def patiently(client: AIOKafkaClient) -> T:
        try:
            return await asyncio.wait_for(question(client), settings.patience)
        except TimeoutError:
            raise NotReady(f"{about}: no answer in {settings.patience} s") from None
        except UNSPOKEN as error:
            old = f"expected brokers of Kafka {BROKER_MIN} or newer, but one does not answer as they do: {error!r}"
            raise TransportError(f"{about}: {old}") from error

    return ask(settings, client_id, patiently)


async def _with_client(
    settings: KafkaSettings, client_id: str, question: Callable[[AIOKafkaClient], Awaitable[T]]
) -> T:
    client = AIOKafkaClient(
        bootstrap_servers=settings.bootstrap,
        client_id=client_id,
        request_timeout_ms=round(settings.patience * 1000 / BROKERS_TRIED),
        **for_aiokafka(settings.extra),
    )
    try:
        await asyncio.wait_for(client.bootstrap(), settings.patience)
        return await question(client)
    except AWAY as error:
        raise unreached(error, settings.bootstrap) from error
    finally:
        await client.close()
