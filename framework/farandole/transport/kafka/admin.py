"""Admin operations on Kafka; blocking, each bounded in time."""

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewTopic,
    ResourceType,
)

from farandole.errors import AccessDenied, NotReady
from farandole.transport.kafka.errors import error_of, failure, told
from farandole.transport.kafka.queries import Queries
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.kafka.transactions import NEVER_JOINED, Snapshot, Transactor
from farandole.transport.port import Isolation, Position, TopicPartition, TopicSpec, Verdict

START_TRIES = 3
"""Transactions for start positions: one may meet a rebalance, or another `apply`."""

_LOOK = 0.05
_NOBODYS = "farandole-nobodys"
"""A topic that does not exist."""

_INTERNAL = "__"
"""How the names of the broker's own topics begin."""

WAKE_TRIES = 6
"""How often a new cluster is asked who coordinates a group: a minute together."""


class KafkaAdmin:
    """Implements `Admin`."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._queries = Queries(settings, client_id)

    # --- topics ---------------------------------------------------------------------------

    def topics(self, names: Sequence[str] | None = None) -> Mapping[str, TopicSpec]:
        """Topics that exist, with what was set on them; the broker's own only if they are named.

        Raises:
            AccessDenied: we may not see one that was named.
            TransportError: the cluster cannot be reached.
        """
        found = self._queries.metadata().topics
        self._require_allowed(name for name in names or () if name not in found)
        asked = names if names is not None else [name for name in found if not name.startswith(_INTERNAL)]
        wanted = [name for name in asked if name in found and found[name].error is None]
        configs = self._configs(wanted)
        return {
            name: TopicSpec(
                name,
                len(found[name].partitions),
                max((len(each.replicas) for each in found[name].partitions.values()), default=-1),
                configs[name],
            )
            for name in wanted
        }

    def create(self, topics: Sequence[TopicSpec]) -> Sequence[str]:
        """Create what is missing, and wait until every partition has a leader.

        Raises:
            AccessDenied: we may not create one; those before it may exist by now, as after any error.
            TransportError: one was refused.
            NotReady: the brokers are too few, or did not answer in time.
        """
        if not topics:
            return []
        patience = self._settings.patience
        new = [NewTopic(spec.name, spec.partitions, spec.replication, config=dict(spec.config)) for spec in topics]
        created = []
        futures = self._queries.client.create_topics(new, operation_timeout=patience, request_timeout=patience)
        for name, future in futures.items():
            try:
                future.result(patience + 1)
                created.append(name)
            except (KafkaException, TimeoutError) as error:
                if isinstance(error, TimeoutError) or error_of(error).code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise failure(f"topic {name}: it was not created: {_said(error)}", error) from error
        self._wait_for(created)
        return created

    def configure(self, topic: str, config: Mapping[str, str]) -> None:
        """Set entries of a topic's configuration; the others stay.

        Raises:
            TransportError: the topic does not exist, or an entry is refused.
        """
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        for future in self._queries.client.incremental_alter_configs([resource]).values():
            self._queries.result(future, f"topic {topic}: it was not configured")

    def _require_allowed(self, missing: Iterable[str]) -> None:
        """A topic that we may not see is left out like one that is not there; asked for by name, the two differ."""
        for name in missing:
            self._queries.partitions(name)

    def _wait_for(self, names: Sequence[str]) -> None:
        """A topic is created before every broker knows of it, and before its partitions can be written."""
        until = time.monotonic() + self._settings.patience
        while names and time.monotonic() < until:
            found = self._queries.metadata().topics
            if all(name in found and _is_usable(found[name].partitions) for name in names):
                return
            time.sleep(_LOOK)
        if names:
            raise NotReady(
                f"topics {', '.join(names)}: expected every partition to have a leader, but not all have yet"
            )

    def _configs(self, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        futures = self._queries.client.describe_configs(resources, request_timeout=self._settings.patience)
        found: dict[str, Mapping[str, str]] = {}
        for resource, future in futures.items():
            about = f"topic {resource.name}: its configuration"
            entries = cast(Mapping[str, ConfigEntry], self._queries.result(future, about))
            found[resource.name] = {
                name: str(entry.value)
                for name, entry in entries.items()
                if ConfigSource(entry.source) is ConfigSource.DYNAMIC_TOPIC_CONFIG
            }
        return found

    # --- offsets and groups -----------------------------------------------------------------

    def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """End offsets."""
        return self._queries.ends(partitions, isolation)

    def beginnings(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """First offsets."""
        return self._queries.beginnings(partitions)

    def positions(
        self, group: str, partitions: Sequence[TopicPartition] | None = None
    ) -> Mapping[TopicPartition, Position]:
        """Committed positions, whatever is pending."""
        found = self._queries.positions(group, partitions, stable=False)
        return {at: position for at, position in found.items() if position is not None}

    def members(self, group: str) -> frozenset[str]:
        """Client ids of a group's members."""
        return self._queries.members(group)

    def topics_read(self, group: str) -> frozenset[str] | None:
        """Topics of which a member has partitions; None while the group divides them anew."""
        return self._queries.topics_read(group)

    def start_positions(self, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """Positions where there is none yet, in a transaction with the snapshot of a never-joined consumer (R8).

        Altering the offsets of a live group is refused; such a snapshot is accepted in any state of the group,
        which is why nobody else may have one.

        Raises:
            AccessDenied: we have no right to; told at once, for trying again cannot help.
            NotReady: they could not be committed; `apply` may be run again.
        """
        # No slot's id: names begin with a letter. The same for every `apply`, so that the last one wins.
        transactor = Transactor(self._settings, f"{group}.-start")
        stranger = Consumer(self._settings.consumer(f"{self._client_id}.start", group))
        try:
            self._wake_coordinator(stranger)
            never_joined = Snapshot(stranger.consumer_group_metadata(), NEVER_JOINED)
            for _ in range(START_TRIES):
                missing = self._missing(group, positions)
                if not missing:
                    return
                outcome = transactor.commit((), missing, never_joined)
                if isinstance(outcome.error, AccessDenied):
                    raise AccessDenied(f"start positions of {group}: they were not committed: {outcome.error}")
                if outcome.verdict in (Verdict.DOUBT, Verdict.FENCED):
                    transactor.renew()
            if self._missing(group, positions):
                raise NotReady(f"start positions of {group}: they were not committed: {outcome.error}")
        finally:
            stranger.close()

    def _wake_coordinator(self, stranger: Consumer) -> None:
        """On a fresh cluster the first question makes `__consumer_offsets`; a consumer waits for that, the admin not.

        Asked again while there is no answer: on three brokers of one busy machine that took longer than one call may
        wait, and an admin client that is thrown away in the midst of its question may take the process along (4605).
        Asked is a partition that nobody has a position for, so that nothing can be pending on it.
        """
        for _ in range(WAKE_TRIES):
            with contextlib.suppress(KafkaException):
                stranger.committed([KafkaPartition(_NOBODYS, 0)], self._settings.patience)
                return

    def _missing(self, group: str, positions: Mapping[TopicPartition, Position]) -> dict[TopicPartition, Position]:
        """Those without a position, once none of them is pending."""
        until = time.monotonic() + self._settings.patience
        while True:
            found = self._queries.positions(group, list(positions), stable=True)
            if all(at in found for at in positions):
                return {at: position for at, position in positions.items() if found[at] is None}
            if time.monotonic() > until:
                pending = sorted(f"{at.topic}/{at.partition}" for at in positions if at not in found)
                raise NotReady(f"start positions of {group}: a transaction is pending on {', '.join(pending)}")
            time.sleep(_LOOK)

    def close(self) -> None:
        """Nothing to be said to anybody: the client frees itself with its last reference."""


def _said(error: BaseException) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else told(error)


def _is_usable(partitions: Mapping[int, object]) -> bool:
    return bool(partitions) and all(getattr(each, "leader", -1) >= 0 for each in partitions.values())
