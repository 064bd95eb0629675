"""The proxy between a client and a broker, in front of one that answers every request with its number."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta

import pytest

from farandole.testing.cluster import wait_until
from farandole.testing.proxy import END_TXN, PRODUCE, Fate, KafkaProxy


@pytest.fixture
def upstream() -> Iterator[str]:
    """The address of something that takes frames and answers each with its correlation id."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve(link: socket.socket) -> None:
            with closing(link), suppress(OSError, struct.error):
                while True:
                    (length,) = struct.unpack(">i", link.recv(4, socket.MSG_WAITALL))
                    frame = link.recv(length, socket.MSG_WAITALL)
                    link.sendall(struct.pack(">i", 4) + frame[4:8])

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def ask(link: socket.socket, api: int, correlation: int) -> None:
    """Send a request of that API."""
    frame = struct.pack(">hhi", api, 0, correlation)
    link.sendall(struct.pack(">i", len(frame)) + frame)


def test_reply_counts_as_lost_when_the_broker_gave_it_and_the_client_got_none(upstream: str) -> None:
    """Requests were counted: one that was asked before the fault, or whose answer never came, was as good as lost."""
    with KafkaProxy(upstream) as proxy, closing(socket.create_connection(("127.0.0.1", proxy._own_port))) as link:
        ask(link, END_TXN, 1)
        first = link.recv(8, socket.MSG_WAITALL)
        before = proxy.lost[END_TXN]
        proxy.meddle(END_TXN, Fate.LOSE_REPLY)
        ask(link, END_TXN, 2)
        wait_until(lambda: proxy.lost[END_TXN], timedelta(seconds=20), "a reply to be lost")
        ask(link, PRODUCE, 3)
        next_one = link.recv(8, socket.MSG_WAITALL)

    assert struct.unpack(">ii", first) == (4, 1)
    assert struct.unpack(">ii", next_one) == (4, 3)
    assert (before, dict(proxy.lost)) == (0, {END_TXN: 1})
