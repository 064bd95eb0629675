"""What there is on a cluster, for who looks it over: settings of brokers and topics, groups and who is in them."""

from collections.abc import Mapping, Sequence
from typing import cast

from confluent_kafka import IsolationLevel, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import (
    ConfigEntry,
    ConfigResource,
    ListConsumerGroupsResult,
    ListOffsetsResultInfo,
    OffsetSpec,
    ResourceType,
)

from farandole.errors import AccessDenied, TransportError
from farandole.transport.kafka.errors import error_of
from farandole.transport.kafka.forgotten import OFFSETS
from farandole.transport.kafka.queries import Queries
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.port import TopicPartition


class Survey:
    """Looks, and changes nothing; blocking, each question bounded in time."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._queries = Queries(settings, "farandole.doctor")

    def brokers(self) -> Mapping[int, Mapping[str, str]]:
        """The settings of each broker.

        Raises:
            AccessDenied: the cluster does not let us in, or does not allow it (`DescribeConfigs` on the cluster).
            TransportError: there was no answer.
        """
        found = self._queries.metadata().brokers
        # One question each: the client refuses a second broker in the same one.
        configs = [self._configs(ResourceType.BROKER, [str(each)]) for each in found]
        return {int(name): config for one in configs for name, config in one.items()}

    def topics(self, prefix: str) -> Mapping[str, tuple[int, int, int, int]]:
        """Of the topics whose names begin so: replicas, `min.insync.replicas`, replicas in sync, partitions without a
        leader; of the first and the third the least that a partition has. Errors as `brokers`."""
        found = self._queries.metadata().topics
        names = [name for name in found if name.startswith(prefix)]
        configs = self._configs(ResourceType.TOPIC, names)
        return {
            name: (
                min((len(each.replicas) for each in found[name].partitions.values()), default=0),
                int(configs[name].get("min.insync.replicas", "1")),
                min((len(each.isrs) for each in found[name].partitions.values()), default=0),
                sum(each.leader < 0 for each in found[name].partitions.values()),
            )
            for name in names
        }

    def groups(self, prefix: str) -> Mapping[str, tuple[str, ...]]:
        """Client ids of the members of the groups whose names begin so; one that stands twice is two members."""
        listed = cast(
            ListConsumerGroupsResult,
            self._queries.result(self._queries.client.list_consumer_groups(), "groups of consumers"),
        )
        names = [each.group_id for each in listed.valid or () if each.group_id.startswith(prefix)]
        return {name: self._queries.clients(name) for name in sorted(names)}

    def positions(self, group: str) -> frozenset[str]:
        """Topics on which a group has positions."""
        return frozenset(at.topic for at in self._queries.positions(group, None, stable=False))

    def assigned(self, group: str) -> frozenset[str]:
        """Topics of which a member of a group has partitions now."""
        return self._queries.assigned(group)

    def offsets_at(self, instants: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """First offset of a record at or after an instant (ms since 1970); without partitions that have none.

        Raises:
            TransportError: there was no answer.
        """
        if not instants:
            return {}
        futures = self._queries.client.list_offsets(
            {Place(*at): OffsetSpec.for_timestamp(ms) for at, ms in instants.items()},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=self._settings.patience,
        )
        found = {
            TopicPartition(at.topic, at.partition): cast(
                ListOffsetsResultInfo, self._queries.result(future, f"offsets of {at.topic}/{at.partition}")
            ).offset
            for at, future in futures.items()
        }
        return {at: offset for at, offset in found.items() if offset >= 0}

    def positions_log(self) -> Mapping[str, str] | None:
        """Settings of the topic of positions, if one broker alone has some of it; empty if not, None if we may not see.

        Who may not see it is told of no such topic: that there is none yet, its settings tell.

        Raises:
            TransportError: there was no answer.
        """
        topic = self._queries.metadata().topics.get(OFFSETS)
        if topic is not None and all(len(it.replicas) > 1 for it in topic.partitions.values()):
            return {}
        try:
            told = self._configs(ResourceType.TOPIC, [OFFSETS])[OFFSETS]
        except AccessDenied:
            return None
        except TransportError as error:
            cause = error.__cause__
            if isinstance(cause, KafkaException) and error_of(cause).code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return {}
            raise
        return None if topic is None else told

    def _configs(self, kind: ResourceType, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        if not names:
            return {}
        resources = [ConfigResource(kind, name) for name in names]
        futures = self._queries.client.describe_configs(resources, request_timeout=self._settings.patience)
        found: dict[str, Mapping[str, str]] = {}
        for resource, future in futures.items():
            about = f"{kind.name.lower()} {resource.name}: its configuration"
            entries = cast(Mapping[str, ConfigEntry], self._queries.result(future, about))
            found[resource.name] = {
                name: str(entry.value) for name, entry in entries.items() if entry.value is not None
            }
        return found
