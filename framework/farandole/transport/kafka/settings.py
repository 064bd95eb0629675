"""How to reach a cluster, and the client settings that the rules demand (R14).

One set of settings is mapped to both clients. `extra` entries are librdkafka's own and may
add, never override what a rule fixes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from farandole.errors import ConfigError
from farandole.transport.port import MemberSettings

FIXED = frozenset(
    {
        "enable.auto.commit",
        "enable.auto.offset.store",
        "isolation.level",
        "auto.offset.reset",
        "enable.partition.eof",
        "acks",
        "enable.idempotence",
        "transactional.id",
        "transaction.timeout.ms",
        "partitioner",
        "partition.assignment.strategy",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "client.id",
        "bootstrap.servers",
    }
)
"""Settings that decide the guarantee; they are ours alone."""

Config = dict[str, str | int | float | bool]
"""Settings as confluent-kafka takes them."""

RECORD_BYTES_MAX = 2 * 1024 * 1024
"""What the client lets pass; each topic's `max.message.bytes` is lower and has the last word."""


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """`bootstrap` is `host:port[,host:port]`; `extra` are further librdkafka settings (security, sockets)."""

    bootstrap: str
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.bootstrap or any(":" not in part for part in self.bootstrap.split(",")):
            raise ConfigError(f"bootstrap: expected host:port[,host:port], but found {self.bootstrap!r}")
        if taken := sorted(FIXED & self.extra.keys()):
            raise ConfigError(f"[kafka] {', '.join(taken)}: these are fixed by the guarantee (R14) and cannot be set")

    def common(self, client_id: str) -> Config:
        """For every confluent-kafka client."""
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": client_id,
            "socket.keepalive.enable": True,
            "reconnect.backoff.max.ms": 2_000,
            # Topics are never created behind our back: one that is unknown now is refused soon, not in 30 s.
            "topic.metadata.propagation.max.ms": 2_000,
            "log_level": 2,  # connection failures are told by the loops, once a minute
            **self.extra,
        }

    def consumer(self, client_id: str, group: str) -> Config:
        """Read-committed, positions in our own hands."""
        return {
            **self.common(client_id),
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "check.crcs": True,
            "queued.max.messages.kbytes": 16_384,
            "fetch.wait.max.ms": 500,
            "fetch.error.backoff.ms": 5,
            "fetch.queue.backoff.ms": 5,
        }

    def member(self, it: MemberSettings) -> Config:
        """A consumer in a group, on the classic protocol (DESIGN R14)."""
        return {
            **self.consumer(it.client_id, it.group),
            "partition.assignment.strategy": it.assignor,
            "session.timeout.ms": round(it.session_timeout.total_seconds() * 1000),
            "heartbeat.interval.ms": round(it.session_timeout.total_seconds() * 1000 / 4),
            "max.poll.interval.ms": round(it.poll_interval.total_seconds() * 1000),
        }

    def transactional(self, it: MemberSettings) -> Config:
        """The transactional producer of a member; its id is the client id (R7)."""
        return {
            **self.producer(it.client_id),
            "transactional.id": it.client_id,
            "transaction.timeout.ms": round(it.transaction_timeout.total_seconds() * 1000),
            "message.timeout.ms": round(it.transaction_timeout.total_seconds() * 900),
            "socket.timeout.ms": round(it.transaction_timeout.total_seconds() * 600),
            "linger.ms": 0,
        }

    def producer(self, client_id: str) -> Config:
        """Idempotent, placed as Java places."""
        return {
            **self.common(client_id),
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "message.max.bytes": RECORD_BYTES_MAX,
            "queue.buffering.max.kbytes": 65_536,
            "linger.ms": 2,
        }

    def asyncio(self, client_id: str) -> dict[str, str]:
        """For aiokafka."""
        return {"bootstrap_servers": self.bootstrap, "client_id": client_id}
