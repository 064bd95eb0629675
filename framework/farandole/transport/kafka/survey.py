"""What there is on a cluster, for who looks it over: settings of brokers and topics, groups and who is in them."""

from collections.abc import Mapping, Sequence
from typing import cast

from confluent_kafka.admin import (
    ConfigEntry,
    ConfigResource,
    ListConsumerGroupsResult,
    ResourceType,
)

from farandole.errors import AccessDenied
from farandole.transport.kafka.forgotten import OFFSETS
from farandole.transport.kafka.queries import Queries
from farandole.transport.kafka.settings import KafkaSettings


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

    def positions_log(self) -> Mapping[str, str]:
        """Settings of the topic of positions, if an only broker has all of it; empty if not, or if we may not see it.

        Raises:
            TransportError: there was no answer.
        """
        found = self._queries.metadata()
        topic = found.topics.get(OFFSETS)
        if topic is None or len(found.brokers) > 1 or any(len(it.replicas) > 1 for it in topic.partitions.values()):
            return {}
        try:
            return self._configs(ResourceType.TOPIC, [OFFSETS])[OFFSETS]
        except AccessDenied:
            return {}

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
