"""How to reach a cluster, and the client settings that the rules demand (R14).

Names are librdkafka's. What a user adds in `extra` (security, sockets, debugging) can not
override what decides the guarantee. Knows nothing of how the clients are used.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from farandole.errors import ConfigError
from farandole.transport.port import MemberSettings
from farandole.transport.topology import RECORD_BYTES_MAX

FIXED = frozenset(
    {
        "acks",
        "auto.commit.enable",
        "auto.offset.reset",
        "bootstrap.servers",
        "client.id",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "isolation.level",
        "max.poll.interval.ms",
        "metadata.broker.list",
        "partition.assignment.strategy",
        "partitioner",
        "queued.max.messages.kbytes",
        "request.required.acks",
        "retry.backoff.max.ms",
        "retry.backoff.ms",
        "session.timeout.ms",
        "transaction.timeout.ms",
        "transactional.id",
    }
)
"""Settings that decide the guarantee, or where it holds; they are ours alone. Under every name that librdkafka has for
them: the proper ones of `bootstrap.servers`, `acks` and `enable.auto.commit` are others (its CONFIGURATION.md)."""

ASSIGNORS = ("range", "cooperative-sticky")

SESSION_MIN, SESSION_MAX = timedelta(seconds=6), timedelta(seconds=15)
"""R14: below, a loaded machine loses its partitions; above, a killed one keeps them too long."""

POLL_INTERVAL_MAX = timedelta(minutes=5)
TRANSACTION_MAX = timedelta(seconds=10)
"""R14: how long a transaction that was left open may hold up all readers, if nobody fences its writer."""

FETCH_WAIT_MS = 100
"""Longest that the broker holds a fetch back for want of records.

A partition that is resumed, or sought, waits for the fetch under way on its siblings: p95 105 ms with this,
360 ms with librdkafka's default of 500 [measured]. Costs 10 requests a second of an idle consumer.
"""

HEARTBEAT_MS = 500
"""How soon a member hears that its group is rebalanced, by a death or a newcomer; a cooperative one takes two rounds.

The dead are missed a session after their last beat, and their heirs hear of it up to a beat later: with 1 s, `kill -9`
was recovered from in 7.4 s at sessions of 6. Costs two small requests a second and member.
"""

RETRY_BACKOFF_MS = 100
"""How soon a producer repeats a request; librdkafka's default, written down because the judgement of doubt rests on
it. More would make every AddOffsetsToTxn that comes too early cost more."""

METADATA_REFRESH_MS = 5_000
"""How often a client asks who leads what, and who coordinates its group: below a session; costs a small request each.

It asks the broker that it used last, which may be the one that is cut off, again and again (0104). What leads away from
that one then is `standstill`, `arrival` and, in readers, a wary client."""

PREFETCH_RECORDS = 4_000
"""Records fetched ahead. librdkafka's 100,000 would be thrown away and fetched anew at each pause."""

BROKER_MIN = "3.0"
"""The oldest Kafka that answers all that a process asks: ListTransactions (`forgotten.py`). Ends (`ends.py`) would need
2.8, and R1 alone 2.5."""

Value = str | int | float | bool
"""Of a setting that is no callback."""

_librdkafka = logging.getLogger("farandole.librdkafka")


class _Demoted:
    """Takes librdkafka's own lines as debugging: what matters of them reaches the loops as troubles and errors.

    Otherwise a broker that is away would write several lines a second to the terminal.
    """

    def log(self, level: int, message: str, *args: object) -> None:
        """One line."""
        _librdkafka.debug(message, *args)


_AUDIBLE: Mapping[str, object] = {"logger": _Demoted(), "log_level": 5}
"""For clients that are polled all the time."""


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """`bootstrap` is `host:port[,host:port]`; `extra` are further librdkafka settings (security, sockets).

    `call_timeout`: longest that one call may wait for the broker; below the 15 s of a session (R14), so that a
    rebalance callback never waits for more than one call. `strict`: members outside the bounds of R14 are refused.
    """

    bootstrap: str
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)
    call_timeout: timedelta = timedelta(seconds=10)
    strict: bool = True

    def __post_init__(self) -> None:
        if not self.bootstrap or any(":" not in part for part in self.bootstrap.split(",")):
            raise ConfigError(f"bootstrap: expected host:port[,host:port], but found {self.bootstrap!r}")
        if taken := sorted(FIXED & self.extra.keys()):
            raise ConfigError(f"[kafka] {', '.join(taken)}: these are fixed by the guarantee (R14) and cannot be set")

    @property
    def patience(self) -> float:
        """`call_timeout` in seconds, as the clients take it."""
        return self.call_timeout.total_seconds()

    def common(self, client_id: str) -> dict[str, Value]:
        """For every confluent-kafka client. Its lines go nowhere: a client that is not polled would pile them up."""
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": client_id,
            "log_level": 0,
            "socket.keepalive.enable": True,
            # A dead connection is noticed before the transaction times out (R14: 10 s).
            "socket.timeout.ms": 6_000,
            # The default of 10 s would keep us away long after the broker is back.
            "reconnect.backoff.max.ms": 2_000,
            # A leader that was cut off from the others answers, and has nothing new to tell, so no error leads away
            # from it; where another broker is asked, this does. 5 min by default; also until added partitions are seen.
            "topic.metadata.refresh.interval.ms": METADATA_REFRESH_MS,
            # How long a topic that is not in the metadata may still be on its way to it; 30 s by default.
            "topic.metadata.propagation.max.ms": 2_000,
            **self.extra,
        }

    def consumer(self, client_id: str, group: str) -> dict[str, object]:
        """Read-committed, positions in our own hands."""
        return {
            **self.common(client_id),
            **_AUDIBLE,
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "check.crcs": True,
            # By default a client is connected to the brokers that it reads from and to no other: one that reads from a
            # single one asks that one who leads, and never hears that it is cut off [measured].
            "enable.sparse.connections": False,
            "queued.max.messages.kbytes": 16_384,
            "queued.min.messages": PREFETCH_RECORDS,
            "fetch.wait.max.ms": FETCH_WAIT_MS,
            "fetch.error.backoff.ms": 5,
            "fetch.queue.backoff.ms": 5,
        }

    def member(self, it: MemberSettings) -> dict[str, object]:
        """A consumer in a group, on the classic protocol: KIP-848 takes over later by default (R14).

        Raises:
            ConfigError: `it` is outside the bounds of R14.
        """
        if self.strict:
            require(it)
        return {
            **self.consumer(it.client_id, it.group),
            "group.protocol": "classic",
            "partition.assignment.strategy": it.assignor,
            "session.timeout.ms": _ms(it.session_timeout),
            "heartbeat.interval.ms": HEARTBEAT_MS,
            "max.poll.interval.ms": _ms(it.poll_interval),
            # The same for the group's coordinator: heartbeats to one that is cut off are answered, and count nowhere.
            "coordinator.query.interval.ms": METADATA_REFRESH_MS,
        }

    def producer(self, client_id: str) -> dict[str, object]:
        """Idempotent, keys placed as Java places them; a record without key goes anywhere."""
        return {
            **self.common(client_id),
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "message.max.bytes": RECORD_BYTES_MAX,
            "queue.buffering.max.kbytes": 65_536,
            # Bounds the wait of a lone record; a flush ends it at once.
            "linger.ms": 5,
            # Reports of success would cost a callback a record.
            "delivery.report.only.error": True,
        }

    def transactional(self, transactional_id: str, timeout: timedelta = TRANSACTION_MAX) -> dict[str, object]:
        """A transactional producer; its client id is its transactional id (R7)."""
        return {
            **self.producer(transactional_id),
            **_AUDIBLE,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": _ms(timeout),
            "retry.backoff.ms": RETRY_BACKOFF_MS,
            # A record is given up, and told, before the broker gives up the transaction.
            "message.timeout.ms": _ms(timeout * 0.9),
            "socket.timeout.ms": _ms(min(timeout * 0.6, timedelta(seconds=6))),
        }


def require(it: MemberSettings) -> None:
    """Assert R14.

    Raises:
        ConfigError: naming what is out of bounds.
    """
    if it.assignor not in ASSIGNORS:
        raise ConfigError(f"{it.client_id}: expected an assignor of {', '.join(ASSIGNORS)}, but it is {it.assignor!r}")
    if not SESSION_MIN <= it.session_timeout <= SESSION_MAX:
        raise _out_of_bounds(it, f"session_timeout of 6 to 15 s, but it is {it.session_timeout}")
    if not it.session_timeout <= it.poll_interval <= POLL_INTERVAL_MAX:
        raise _out_of_bounds(it, f"poll_interval between the session and 5 min, but it is {it.poll_interval}")
    if not timedelta(seconds=1) <= it.transaction_timeout <= TRANSACTION_MAX:
        raise _out_of_bounds(it, f"transaction_timeout of 1 to 10 s, but it is {it.transaction_timeout}")


def _out_of_bounds(it: MemberSettings, what: str) -> ConfigError:
    return ConfigError(f"{it.client_id}: expected a {what} (R14). The process does not start")


def _ms(duration: timedelta) -> int:
    return round(duration / timedelta(milliseconds=1))
