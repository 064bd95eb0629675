"""Admin operations on Kafka; blocking, each bounded in time."""

import contextlib
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, IsolationLevel, KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from farandole.errors import TransportError
from farandole.transport.kafka.errors import error_of
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.port import Isolation, Position, TopicPartition, TopicSpec

TIMEOUT = 15.0
"""Longest that one call may take, seconds."""

_ISOLATION = {
    Isolation.COMMITTED: IsolationLevel.READ_COMMITTED,
    Isolation.UNCOMMITTED: IsolationLevel.READ_UNCOMMITTED,
}

_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client's stubs lack them
_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # as above

_DYNAMIC = 1
"""Config source of an entry that was set on the topic itself (`DYNAMIC_TOPIC_CONFIG`)."""


class KafkaAdmin:
    """Implements `Admin`."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._client = AdminClient(settings.common(client_id))

    # --- topics ---------------------------------------------------------------------------

    def topics(self, names: Sequence[str] | None = None) -> Mapping[str, TopicSpec]:
        """Topics that exist, with what was set on them."""
        try:
            found = self._client.list_topics(timeout=TIMEOUT).topics
        except KafkaException as error:
            raise TransportError(f"{self._settings.bootstrap}: cannot be reached: {error}") from error
        wanted = [name for name in (names if names is not None else found) if name in found and not found[name].error]
        configs = self._configs(wanted)
        return {
            name: TopicSpec(
                name,
                len(found[name].partitions),
                max((len(p.replicas) for p in found[name].partitions.values()), default=-1),
                configs[name],
            )
            for name in wanted
        }

    def create(self, topics: Sequence[TopicSpec]) -> Sequence[str]:
        """Create what is missing, and wait until it can be used."""
        if not topics:
            return []
        new = [NewTopic(spec.name, spec.partitions, spec.replication, config=dict(spec.config)) for spec in topics]
        created = []
        for name, future in self._client.create_topics(new, operation_timeout=TIMEOUT).items():
            try:
                future.result(TIMEOUT)
                created.append(name)
            except KafkaException as exception:
                error = error_of(exception)
                if error is None or error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise TransportError(f"topic {name} was not created: {exception}") from exception
        return created

    def configure(self, topic: str, config: Mapping[str, str]) -> None:
        """Set entries of a topic's configuration; the others stay."""
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        for future in self._client.incremental_alter_configs([resource]).values():
            self._result(future, f"topic {topic} was not configured")

    def _configs(self, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        out: dict[str, Mapping[str, str]] = {}
        for resource, future in self._client.describe_configs(resources, request_timeout=TIMEOUT).items():
            entries = self._result(future, f"topic {resource.name} was not described")
            out[resource.name] = {
                key: str(entry.value) for key, entry in entries.items() if int(entry.source) == _DYNAMIC
            }
        return out

    # --- offsets --------------------------------------------------------------------------

    def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """End offsets."""
        return self._offsets(partitions, _LATEST, _ISOLATION[isolation])

    def beginnings(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """First offsets."""
        return self._offsets(partitions, _EARLIEST, IsolationLevel.READ_UNCOMMITTED)

    def _offsets(
        self, partitions: Sequence[TopicPartition], spec: OffsetSpec, isolation: IsolationLevel
    ) -> Mapping[TopicPartition, int]:
        if not partitions:
            return {}
        asked = {KafkaPartition(at.topic, at.partition): spec for at in partitions}
        futures = self._client.list_offsets(asked, isolation_level=isolation, request_timeout=TIMEOUT)
        return {
            TopicPartition(at.topic, at.partition): self._result(future, f"{at.topic}/{at.partition}").offset
            for at, future in futures.items()
        }

    def positions(
        self, group: str, partitions: Sequence[TopicPartition] | None = None
    ) -> Mapping[TopicPartition, Position]:
        """Committed positions, whatever is pending."""
        found = self._committed(group, partitions, stable=False)
        return {at: position for at, position in found.items() if position is not None}

    def read_positions(
        self, group: str, partitions: Sequence[TopicPartition], *, stable: bool
    ) -> Mapping[TopicPartition, Position | None]:
        """Committed positions; None where there never was one, absent what is pending (if `stable`)."""
        return self._committed(group, partitions, stable=stable)

    def _committed(
        self, group: str, partitions: Sequence[TopicPartition] | None, *, stable: bool
    ) -> Mapping[TopicPartition, Position | None]:
        named = None if partitions is None else [KafkaPartition(at.topic, at.partition) for at in partitions]
        request = [ConsumerGroupTopicPartitions(group, named)]
        futures = self._client.list_consumer_group_offsets(request, require_stable=stable, request_timeout=TIMEOUT)
        answer = self._result(next(iter(futures.values())), f"positions of {group}")
        out: dict[TopicPartition, Position | None] = {}
        for each in answer.topic_partitions:
            at = TopicPartition(each.topic, each.partition)
            if each.error is not None:
                if each.error.code() != KafkaError.UNSTABLE_OFFSET_COMMIT:
                    raise TransportError(f"positions of {group}: {each.error.str()}")
            elif each.offset < 0:
                out[at] = None
            else:
                out[at] = Position(each.offset, each.metadata or "")
        return out

    # --- groups ---------------------------------------------------------------------------

    def members(self, group: str) -> frozenset[str]:
        """Client ids of a group's members."""
        futures = self._client.describe_consumer_groups([group], request_timeout=TIMEOUT)
        try:
            described = next(iter(futures.values())).result(TIMEOUT)
        except KafkaException as exception:
            error = error_of(exception)
            if error is not None and error.code() == KafkaError.GROUP_ID_NOT_FOUND:
                return frozenset()
            raise TransportError(f"group {group} was not described: {exception}") from exception
        return frozenset(member.client_id for member in described.members)

    def start_positions(self, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """Positions where there is none yet, in a transaction with the snapshot of a never-joined consumer (R8)."""
        # Altering the offsets of a live group is refused; a snapshot without member id is accepted in any state.
        stranger = Consumer(self._settings.consumer(f"{self._client_id}.start", group))
        try:
            # On a fresh broker the first question to a group coordinator must come from a consumer, which waits
            # until `__consumer_offsets` is there; the admin client times out instead.
            stranger.committed([KafkaPartition(at.topic, at.partition) for at in positions], TIMEOUT)
            known = self._stable_positions(group, list(positions))
            missing = {at: position for at, position in positions.items() if known[at] is None}
            if missing:
                self._commit_once(stranger, missing)
                self._stable_positions(group, list(missing))  # a commit is answered before its markers are written
        except KafkaException as error:
            raise TransportError(f"start positions of {group}: {error}") from error
        finally:
            stranger.close()

    def _stable_positions(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Position | None]:
        """Positions once nothing is pending on them: what a transaction is about to commit counts as there."""
        until = time.monotonic() + TIMEOUT
        while len(found := self.read_positions(group, partitions, stable=True)) < len(set(partitions)):
            if time.monotonic() > until:
                raise TransportError(f"positions of {group} are pending for {TIMEOUT:g} s; apply again")
            time.sleep(0.01)
        return found

    def _commit_once(self, stranger: Consumer, positions: Mapping[TopicPartition, Position]) -> None:
        config = {
            **self._settings.producer(self._client_id),
            "transactional.id": f"{self._client_id}.{uuid.uuid4().hex}",
        }
        producer = Producer(config)
        producer.init_transactions(TIMEOUT)
        producer.begin_transaction()
        offsets = [KafkaPartition(at.topic, at.partition, p.offset, p.metadata) for at, p in positions.items()]
        producer.send_offsets_to_transaction(offsets, stranger.consumer_group_metadata(), TIMEOUT)
        producer.commit_transaction(TIMEOUT)

    def close(self) -> None:
        """The client frees itself; nothing is to be said to anybody."""
        with contextlib.suppress(KafkaException):
            self._client.poll(0)

    def _result(self, future: Any, about: str) -> Any:
        try:
            return future.result(TIMEOUT)
        except (KafkaException, TimeoutError) as error:
            raise TransportError(f"{about}: {error!r}") from error
