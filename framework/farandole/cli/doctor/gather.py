"""Collects the facts about a cluster; what it may not see becomes a fact too, and the rest goes on."""

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from farandole.cli.connect import address_of, kafka_of, topics_of
from farandole.cli.doctor.facts import Facts, Finding, Severity, TopicFact
from farandole.cli.doctor.findings import replicas
from farandole.cli.settings import Settings
from farandole.client.applying import read_rows
from farandole.client.lately import Lately, named_lately, went_back
from farandole.client.planning import INBOX
from farandole.client.since import named_since
from farandole.errors import AccessDenied, ConfigError, InvariantViolation, TransportError
from farandole.events.catalogue import ALL, schema_of
from farandole.events.topics import Topics
from farandole.registry.exchange import Exchange
from farandole.registry.log import SchemaTopic
from farandole.transport.drift import faults, partitions_of_homes
from farandole.transport.kafka import KafkaTransport
from farandole.transport.kafka.forgotten import forgotten
from farandole.transport.kafka.inspection import Inspected, inspect
from farandole.transport.kafka.pending import pending
from farandole.transport.kafka.survey import Survey
from farandole.transport.port import Admin, Transport
from farandole.transport.topology import agent_topics, system_topics

T = TypeVar("T")

UNSEEN = -1
"""As the number of partitions: we may not look."""


class Gatherer:
    """Asks a cluster for everything that the rules look at."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kafka = kafka_of(settings)
        self._topics = topics_of(settings)
        self._prefix = f"{settings.namespace}."
        self._untold: list[str] = []
        self._unanswered: list[str] = []

    def facts(self) -> Facts:
        """All of them.

        Raises:
            AccessDenied: the cluster does not let us in.
            TransportError: it cannot be reached.
        """
        survey = Survey(self._kafka)
        transport = KafkaTransport(self._kafka)
        admin = transport.admin()
        admin.topics(())  # The one question that must be answered: else nothing else is asked.
        topics: Mapping[str, tuple[int, int, int, int]] = self._try(lambda: survey.topics(self._prefix), {})
        is_led = not any(leaderless for _, _, _, leaderless in topics.values())  # else nothing is waited for in vain
        # Before the owners: meanwhile an agent may be moved to another one, who has its positions then.
        lately = self._lately(transport, admin, survey) if is_led else {}
        owners: Mapping[str, str] = self._try(
            lambda: owners_of(read_rows(transport, admin, self._topics.definitions)), {}
        )
        partitions = self._try(lambda: partitions_of_homes(admin, self._topics), UNSEEN)
        declared = (
            *system_topics(self._topics, max(1, partitions), -1),
            *agent_topics(self._topics, sorted(owners), 0, -1),
        )
        groups: Mapping[str, tuple[str, ...]] = self._try(lambda: survey.groups(self._prefix), {})
        settings, no_log = self._settings, cast("Mapping[str, str] | None", {})
        protocol = settings.kafka.get("security.protocol", "PLAINTEXT").upper()
        return Facts(
            address_of(settings),
            settings.namespace,
            settings.is_production,
            protocol.endswith("SSL"),
            {"agent": settings.agent.session_timeout, "coordinator": settings.coordinator.session_timeout},
            self._try(survey.brokers, {}),
            self._try(lambda: inspect(self._kafka, self._prefix), Inspected()),
            tuple(self._try(lambda: forgotten(self._kafka, self._prefix), [])),
            tuple(self._try(lambda: pending(self._kafka, sorted(groups)), [])),
            tuple(self._try(lambda: went_back(transport, admin, self._topics, lately, owners), [])),
            self._try(survey.positions_log, no_log),
            {name: TopicFact(*each) for name, each in topics.items()},
            self._try(lambda: faults(admin, declared), ()) if partitions > 0 else (),
            partitions != 0,
            groups,
            owners,
            readers_of(self._topics, {each: self._positions(survey, each) for each in groups}),
            readers_of(
                self._topics, {each: self._assigned(survey, each) for each, clients in groups.items() if clients}
            ),
            tuple(dict.fromkeys(self._untold)),
            tuple(dict.fromkeys(self._unanswered)),
        )

    def _lately(self, transport: Transport, admin: Admin, survey: Survey) -> Lately:
        """What was answered, as far as a look of seconds tells."""
        topics = self._topics
        lately: Lately = self._try(lambda: named_lately(transport, admin, topics), {})
        owners: Mapping[str, str] = self._try(lambda: owners_of(read_rows(transport, admin, topics.definitions)), {})
        since: Lately = self._try(lambda: named_since(transport, admin, topics, owners, survey.offsets_at), {})
        return {at: [*lately.get(at, ()), *since.get(at, ())] for at in {**lately, **since}}

    def _positions(self, survey: Survey, group: str) -> frozenset[str]:
        return self._try(lambda: survey.positions(group), frozenset())

    def _assigned(self, survey: Survey, group: str) -> frozenset[str]:
        return self._try(lambda: survey.assigned(group), frozenset())

    def _try(self, ask: Callable[[], T], otherwise: T) -> T:
        """An answer, or what stands for one that we may not have."""
        try:
            return ask()
        except TransportError as error:
            (self._untold if isinstance(error, AccessDenied) else self._unanswered).append(str(error))
            return otherwise


def owners_of(rows: Mapping[str, str]) -> dict[str, str]:
    """Unit of each agent, from the rows of `definitions`."""
    return {name.removeprefix(INBOX): unit for name, unit in rows.items() if name.startswith(INBOX)}


def readers_of(topics: Topics, positions: Mapping[str, frozenset[str]]) -> dict[str, tuple[str, ...]]:
    """Groups with something on each inbox (positions, members that have partitions), by agent."""
    prefix = topics.inbox("")
    found: dict[str, list[str]] = {}
    for group, names in positions.items():
        for name in names:
            if name.startswith(prefix):
                found.setdefault(name.removeprefix(prefix), []).append(group)
    return {agent: tuple(sorted(groups)) for agent, groups in found.items()}


def require_safe(settings: Settings) -> None:
    """Refuse to start a process in production on topics that are not safe (R14).

    Raises:
        ConfigError: with the topics, and how they are mended.
    """
    if not settings.is_production or settings.bootstrap is None:
        return
    topics = Survey(kafka_of(settings)).topics(f"{settings.namespace}.")
    seen = {name: TopicFact(*each) for name, each in topics.items()}
    facts = Facts(address_of(settings), settings.namespace, is_production=True, topics=seen)
    if found := list(replicas(facts)):
        listed = "\n".join(f"  {each.fact}\n    {each.fix}" for each in found)
        raise ConfigError(f'profile = "production": expected safe topics, but:\n{listed}\nNothing was started.')


def registry_findings(settings: Settings) -> list[Finding]:
    """Whether the registry, if one is configured, lets us in and knows our schemas."""
    if settings.registry is None:
        return []
    try:
        Exchange(settings.registry, _no_topic).require(schema_of(record) for record in ALL)
    except (ConfigError, TransportError) as error:
        return [
            Finding(
                Severity.ERROR,
                "registry",
                str(error),
                "payloads stand in its frame: without it no process starts, and nobody can read them",
                "see url, user, password and ca in [registry] of farandole.toml; then farandole apply PATH",
            )
        ]
    return []


def _no_topic() -> SchemaTopic:
    raise InvariantViolation("our own schemas are known without the log")
