"""A broker seen through a bad network: a TCP proxy that reads Kafka's framing and meddles with chosen requests.

In front of a single broker, on the loopback. Addresses in the broker's answers are rewritten, so
that clients which came through the proxy stay on it. Knows lengths, API keys and correlation ids,
nothing of what requests contain.

    with KafkaProxy("127.0.0.1:9092") as proxy:
        proxy.meddle(END_TXN, Fate.LOSE_REPLY)
        KafkaTransport(KafkaSettings(proxy.bootstrap))
"""

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self

# API keys, from the Kafka protocol guide.
PRODUCE, FETCH, METADATA, FIND_COORDINATOR = 0, 1, 3, 10
INIT_PRODUCER_ID, ADD_PARTITIONS_TO_TXN, ADD_OFFSETS_TO_TXN, END_TXN, TXN_OFFSET_COMMIT = 22, 24, 25, 26, 28
HEARTBEAT = 12
DESCRIBE_CLUSTER, DESCRIBE_TOPIC_PARTITIONS = 60, 75

_TELL_ADDRESSES = (METADATA, FIND_COORDINATOR, DESCRIBE_CLUSTER, DESCRIBE_TOPIC_PARTITIONS)
_FRAME_BYTES_MAX = 100_000_000
_ACCEPT_LOOK = 0.2


class Fate(Enum):
    """What becomes of a request."""

    LOSE_REQUEST = "lose_request"
    """The broker never gets it."""
    LOSE_REPLY = "lose_reply"
    """The broker does it, the client is never told."""
    CUT = "cut"
    """The broker does it; the connection is closed instead of the reply."""
    DELAY = "delay"
    """The reply comes late."""
    HOLD = "hold"
    """The connection is cut, and the broker gets the request when `release` is called: a client that has long
    repeated it on another connection has gone on by then."""
    LEAVE = "leave"
    """The reply is delivered, and then the broker is away until `come_back`."""
    STALL = "stall"
    """The request goes on to the broker only after some seconds; what follows on its connection waits with it."""


@dataclass(slots=True)
class _Rule:
    fate: Fate
    times: int
    seconds: float


@dataclass(slots=True)
class _Connection:
    """Two sockets, and what the replies under way answer."""

    client: socket.socket
    broker: socket.socket
    asked: dict[int, tuple[int, _Rule | None]] = field(default_factory=dict)

    def close(self) -> None:
        """Both ends at once."""
        for each in (self.client, self.broker):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class KafkaProxy:
    """One proxy; a context that ends it.

    `counts` says how often each API key was asked, `lost` how often the broker's reply was taken and not delivered.
    """

    def __init__(self, upstream: str) -> None:
        self._host, _, port = upstream.split(",")[0].rpartition(":")
        self._port = int(port)
        self._rules: dict[int, _Rule] = {}
        self._lock = threading.Lock()
        self._connections: dict[int, _Connection] = {}
        self._held: list[bytes] = []
        self._is_away = False
        self._is_closed = False
        self.counts: Counter[int] = Counter()
        self.lost: Counter[int] = Counter()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_ACCEPT_LOOK)
        self._own_port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="kafka-proxy", daemon=True).start()

    @property
    def bootstrap(self) -> str:
        """Its address, for clients."""
        return f"{self._host}:{self._own_port}"

    def meddle(self, api: int, fate: Fate, *, times: int = 1, seconds: float = 0.0) -> None:
        """Let the next `times` requests of this API key have this fate; `seconds` for a delay."""
        with self._lock:
            self._rules[api] = _Rule(fate, times, seconds)

    def leave_alone(self) -> None:
        """Meddle no more."""
        with self._lock:
            self._rules.clear()

    @property
    def held(self) -> int:
        """How many requests are held."""
        with self._lock:
            return len(self._held)

    def release(self) -> int:
        """Let the broker have what is held, each on a connection of its own; returns when it has answered all.

        The number of requests.
        """
        with self._lock:
            frames, self._held = self._held, []
        for frame in frames:
            with socket.create_connection((self._host, self._port), timeout=10) as link:
                link.sendall(struct.pack(">i", len(frame)) + frame)
                _read_frame(link)
        return len(frames)

    def go_away(self) -> None:
        """Close all connections and take no new ones."""
        self._is_away = True
        self.cut(lambda: True)

    def cut(self, chosen: Callable[[], bool]) -> None:
        """Close the connections for which `chosen` says so; clients may connect again at once."""
        for connection in list(self._connections.values()):
            if chosen():
                connection.close()

    def come_back(self) -> None:
        """Take connections again."""
        self._is_away = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        self._listener.close()
        self.go_away()

    # --- threads ----------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if self._is_away:
                client.close()
            else:
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        client.settimeout(None)
        try:
            broker = socket.create_connection((self._host, self._port))
        except OSError:
            client.close()
            return
        for each in (client, broker):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(client, broker)
        self._connections[id(connection)] = connection
        for pump in (self._requests, self._replies):
            threading.Thread(target=self._run, args=(pump, connection), name="kafka-proxy", daemon=True).start()

    def _run(self, pump: Callable[[_Connection], None], connection: _Connection) -> None:
        with contextlib.suppress(OSError):
            pump(connection)
        connection.close()
        self._connections.pop(id(connection), None)

    def _requests(self, connection: _Connection) -> None:
        while (frame := _read_frame(connection.client)) is not None:
            api, _, correlation = struct.unpack(">hhi", frame[:8])
            rule = self._rule(api)
            if rule is not None and rule.fate is Fate.LOSE_REQUEST:
                continue
            if rule is not None and rule.fate is Fate.HOLD:
                with self._lock:
                    self._held.append(frame)
                return
            if rule is not None and rule.fate is Fate.STALL:
                time.sleep(rule.seconds)
            connection.asked[correlation] = api, rule
            connection.broker.sendall(struct.pack(">i", len(frame)) + frame)

    def _replies(self, connection: _Connection) -> None:
        while (frame := _read_frame(connection.broker)) is not None:
            (correlation,) = struct.unpack(">i", frame[:4])
            api, rule = connection.asked.pop(correlation, (-1, None))
            if rule is not None and rule.fate is Fate.LOSE_REPLY:
                with self._lock:
                    self.lost[api] += 1
                continue
            if rule is not None and rule.fate is Fate.CUT:
                return
            if rule is not None and rule.fate is Fate.DELAY:
                time.sleep(rule.seconds)
            if api in _TELL_ADDRESSES:
                frame = frame.replace(self._address(self._port), self._address(self._own_port))
            connection.client.sendall(struct.pack(">i", len(frame)) + frame)
            if rule is not None and rule.fate is Fate.LEAVE:
                self.go_away()

    def _rule(self, api: int) -> _Rule | None:
        with self._lock:
            self.counts[api] += 1
            rule = self._rules.get(api)
            if rule is None:
                return None
            rule.times -= 1
            if rule.times <= 0:
                del self._rules[api]
            return rule

    def _address(self, port: int) -> bytes:
        """How an address stands in an answer, of whatever version: the host's text, then the port."""
        return self._host.encode() + struct.pack(">i", port)


def _read_frame(source: socket.socket) -> bytes | None:
    head = _read(source, 4)
    if head is None:
        return None
    (length,) = struct.unpack(">i", head)
    if not 0 <= length <= _FRAME_BYTES_MAX:
        raise OSError(f"a frame of {length} bytes is none of Kafka's")
    return _read(source, length)


def _read(source: socket.socket, length: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < length:
        part = source.recv(length - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)
