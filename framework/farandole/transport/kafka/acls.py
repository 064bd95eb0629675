"""Granting rights on a cluster: what `kafka-acls.sh --add` does."""

from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from farandole.transport.kafka.queries import Queries
from farandole.transport.kafka.settings import KafkaSettings

_KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
    "cluster": ResourceType.BROKER,
}

_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
    "ClusterAction": AclOperation.CLUSTER_ACTION,
}


@dataclass(frozen=True, slots=True)
class Grant:
    """One operation on one resource. `kind` and `operation` are the words of `kafka-acls.sh`."""

    kind: str
    name: str
    is_prefix: bool
    operation: str


def grant(settings: KafkaSettings, principal: str, grants: Sequence[Grant]) -> None:
    """Allow `principal` these, from any host; what it may already is left alone.

    Raises:
        AccessDenied: we may not grant (`Alter` on the cluster).
        TransportError: there was no answer; it may be done again.
    """
    queries = Queries(settings, "farandole.acls")
    client: AdminClient = queries.client
    wanted = list(dict.fromkeys(_binding(principal, each) for each in grants))
    futures = client.create_acls(wanted, request_timeout=settings.patience)
    for future in futures.values():
        queries.result(future, f"rights of {principal}")


def _binding(principal: str, it: Grant) -> AclBinding:
    pattern = ResourcePatternType.PREFIXED if it.is_prefix else ResourcePatternType.LITERAL
    return AclBinding(
        _KINDS[it.kind], it.name, pattern, principal, "*", _OPERATIONS[it.operation], AclPermissionType.ALLOW
    )
