"""TLS, SASL and ACLs on a real broker, for both clients: who is let in, and what is said to who is not."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from aiokafka.client import AIOKafkaClient
from confluent_kafka import Producer
from typer.testing import CliRunner

from farandole.cli.main import app
from farandole.client.access import rights
from farandole.errors import AccessDenied, TransportError
from farandole.events.topics import Topics
from farandole.testing.broker.secured import SecuredBroker, expired
from farandole.testing.conformance import CASES, Case, Hang, Kit
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.kafka.acls import Grant, grant
from farandole.transport.kafka.asking import ask
from farandole.transport.kafka.endings import Ending
from farandole.transport.kafka.forgotten import Forgotten
from farandole.transport.kafka.markers import write_marker
from farandole.transport.kafka.producers import Open, open_in
from farandole.transport.port import Isolation, NewRecord, Position, TopicPartition, TopicSpec

pytestmark = pytest.mark.xdist_group("secured")

EVERYTHING = [
    *(
        Grant("topic", "*", False, each)
        for each in ("Read", "Write", "Create", "Describe", "DescribeConfigs", "AlterConfigs")
    ),
    Grant("group", "*", False, "Read"),
    Grant("transactional-id", "*", False, "Write"),
]
DENIED_WITHIN = 8.0
"""Longest until who is refused is told so, seconds: below the 10 s that an answer is waited for."""


WHOLE = "FARANDOLE_TEST_SECURED"
"""In the environment, set to anything: the whole conformance suite, two minutes (`make secured`)."""

CHOSEN = frozenset(
    {
        "a_sleeping_tail_hears_what_another_thread_writes",
        "a_snapshot_from_before_a_rebalance_is_stale_and_has_no_effect",
        "an_edge_sends_and_says_where",
        "an_open_transaction_holds_committed_readers_back_and_ends_differ",
        "configuring_a_topic_changes_only_what_is_named",
        "renewing_the_producer_aborts_what_it_left_open",
        "requests_overlap_and_replies_carry_their_tickets",
        "the_first_of_two_members_with_one_client_id_is_fenced",
        "the_members_of_a_group_are_known_by_their_client_ids",
        "topics_are_told_by_name_or_all_and_missing_ones_are_absent",
    }
)
"""One of each kind of question, reading and writing: each kind has connections, and rights, of its own."""


def _chosen() -> list[Case]:
    return [each for each in CASES if os.environ.get(WHOLE) or each.name in CHOSEN]


def test_the_chosen_cases_exist() -> None:
    assert {each.name for each in CASES} >= CHOSEN


@dataclass(frozen=True, slots=True)
class Way:
    """One way in: the listener and the settings of a user."""

    name: str
    listener: str
    settings: Callable[[SecuredBroker, str], Mapping[str, str]]

    def transport(self, broker: SecuredBroker, user: str) -> KafkaTransport:
        """A transport as this user."""
        return KafkaTransport(KafkaSettings(getattr(broker, self.listener), self.settings(broker, user)))


WAYS = [
    Way("mtls", "mtls", lambda it, user: it.with_certificate(user)),
    Way("plain", "sasl", lambda it, user: it.with_password("PLAIN", user)),
    Way("scram_256", "sasl", lambda it, user: it.with_password("SCRAM-SHA-256", user)),
    Way("scram_512", "sasl", lambda it, user: it.with_password("SCRAM-SHA-512", user)),
    Way("oauthbearer", "sasl", lambda it, user: it.with_token(user)),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_both_clients_come_in_as_the_user_and_may_do_what_was_granted(
    way: Way, secured: SecuredBroker, unique: str
) -> None:
    if way.name.startswith("scram"):
        secured.add_user("alice")
    granted = [Grant("topic", unique, False, each) for each in ("Read", "Write", "Create")]
    grant(KafkaSettings(secured.plaintext), "User:alice", granted)
    transport, at = way.transport(secured, "alice"), TopicPartition(unique, 0)

    transport.admin().create([TopicSpec(unique, 1)])
    producer = transport.producer(f"{unique}.producer")
    producer.send(NewRecord(unique, b"k", b"by librdkafka"))
    left = producer.flush(10)

    async def send() -> tuple[int, int]:
        edge = transport.edge(f"{unique}.edge")
        try:
            return await edge.send(NewRecord(unique, b"k", b"by aiokafka"))
        finally:
            await edge.close()

    assert left == 0
    assert asyncio.run(send()) == (0, 1)
    assert transport.admin().ends([at], Isolation.COMMITTED) == {at: 2}


@pytest.mark.parametrize("way", [WAYS[0], WAYS[2], WAYS[4]], ids=lambda way: way.name)
def test_both_clients_are_refused_what_was_not_granted(way: Way, secured: SecuredBroker, unique: str) -> None:
    if way.name.startswith("scram"):
        secured.add_user("stranger")
    KafkaTransport(KafkaSettings(secured.plaintext)).admin().create([TopicSpec(unique, 1)])
    transport = way.transport(secured, "stranger")

    async def send() -> None:
        edge = transport.edge(f"{unique}.edge")
        try:
            await edge.send(NewRecord(unique, b"k", b"v"))
        finally:
            await edge.close()

    with pytest.raises(
        AccessDenied, match=rf"topic {unique}: expected to be allowed, but TOPIC_AUTHORIZATION_FAILED.*acls"
    ):
        asyncio.run(send())
    with pytest.raises(AccessDenied, match="farandole acls"):
        transport.admin().topics([unique])


def test_who_may_write_nowhere_is_told_so_by_an_edge(secured: SecuredBroker, unique: str) -> None:
    """The story: a client that lacked the right to write was told that the cluster cannot be reached. Without any topic
    to write to, the broker refuses the producer itself."""
    secured.add_user("reader")
    grant(KafkaSettings(secured.plaintext), "User:reader", [Grant("topic", unique, False, "Read")])
    KafkaTransport(KafkaSettings(secured.plaintext)).admin().create([TopicSpec(unique, 1)])
    transport = WAYS[2].transport(secured, "reader")

    async def send() -> None:
        edge = transport.edge(f"{unique}.edge")
        try:
            await edge.send(NewRecord(unique, b"k", b"v"))
        finally:
            await edge.close()

    with pytest.raises(AccessDenied, match=r"CLUSTER_AUTHORIZATION_FAILED.*farandole acls.*Nothing was sent"):
        asyncio.run(send())


def test_who_may_write_another_topic_is_told_so_of_this_one_by_an_edge(secured: SecuredBroker, unique: str) -> None:
    secured.add_user("writer")
    others = Grant("topic", f"{unique}.other", False, "Write")
    grant(KafkaSettings(secured.plaintext), "User:writer", [Grant("topic", unique, False, "Read"), others])
    KafkaTransport(KafkaSettings(secured.plaintext)).admin().create([TopicSpec(unique, 1)])
    transport = WAYS[2].transport(secured, "writer")

    async def send() -> None:
        edge = transport.edge(f"{unique}.edge")
        try:
            await edge.send(NewRecord(unique, b"k", b"v"))
        finally:
            await edge.close()

    with pytest.raises(AccessDenied, match=rf"{unique}: the record was refused: .*TOPIC_AUTHORIZATION_FAILED.*acls"):
        asyncio.run(send())


def test_start_positions_without_a_right_to_their_transactional_id_are_refused_and_not_awaited(
    secured: SecuredBroker, unique: str
) -> None:
    """The story: `apply` with all rights but this one was told `NotReady`, and tried again for two minutes."""
    secured.add_user("deployer")
    granted = [Grant("topic", unique, False, "Read"), Grant("group", unique, False, "Read")]
    grant(KafkaSettings(secured.plaintext), "User:deployer", granted)
    KafkaTransport(KafkaSettings(secured.plaintext)).admin().create([TopicSpec(unique, 1)])

    with pytest.raises(AccessDenied, match=r"start positions of .*TRANSACTIONAL_ID_AUTHORIZATION_FAILED.*acls"):
        WAYS[2].transport(secured, "deployer").admin().start_positions(unique, {TopicPartition(unique, 0): Position(0)})


@pytest.mark.parametrize(
    ("listener", "settings", "message"),
    [
        ("sasl", lambda it: it.with_password("PLAIN", "alice", "wrong"), r"_AUTHENTICATION.*sasl\.password"),
        ("sasl", lambda it: it.with_password("SCRAM-SHA-512", "alice", "wrong"), r"_AUTHENTICATION.*sasl\.password"),
        ("sasl", lambda it: it.with_password("SCRAM-SHA-512", "nobody"), r"_AUTHENTICATION.*sasl\.username"),
        ("sasl", lambda it: it.with_token("alice", "wrong"), r"_AUTHENTICATION.*oauthbearer"),
        ("mtls", lambda it: it.with_certificate("alice", expired()), r"SSL.*not expired"),
        ("mtls", lambda it: it.with_certificate_of(trustme.CA(), "alice"), r"SSL.*theirs to trust"),
        ("mtls", lambda it: {"security.protocol": "SSL", **it.trust()}, r"SSL.*our certificate"),
        ("mtls", lambda it: {"security.protocol": "SSL"}, r"_SSL.*ssl\.ca\.location"),
    ],
    ids=["plain", "scram", "nobody", "token", "expired", "untrusted", "no_certificate", "untrusted_broker"],
)
def test_who_is_not_let_in_is_told_why_and_what_to_look_at(
    listener: str, settings: Callable[[SecuredBroker], dict[str, str]], message: str, secured: SecuredBroker
) -> None:
    secured.add_user("alice")
    made = KafkaSettings(getattr(secured, listener), settings(secured))
    began = time.monotonic()

    with pytest.raises(AccessDenied, match=message):
        KafkaTransport(made).admin().topics()

    assert time.monotonic() - began < DENIED_WITHIN


def test_who_speaks_plaintext_to_a_tls_listener_is_told_to_look_at_the_protocol(secured: SecuredBroker) -> None:
    made = KafkaSettings(secured.sasl, call_timeout=timedelta(seconds=2))

    with pytest.raises(TransportError, match=r"cannot be reached: .*security\.protocol"):
        KafkaTransport(made).admin().topics()


@pytest.mark.parametrize("case", _chosen(), ids=lambda case: case.name)
def test_kafka_with_tls_sasl_and_acls_conforms(
    case: Case, secured: SecuredBroker, hang_at: Callable[[str], Hang]
) -> None:
    secured.add_user("alice")
    grant(KafkaSettings(secured.plaintext), "User:alice", EVERYTHING)
    settings = KafkaSettings(secured.sasl, secured.with_password("SCRAM-SHA-512", "alice"), strict=False)
    kit = Kit(
        lambda: KafkaTransport(settings),
        hang=hang_at(secured.plaintext),
        settle=timedelta(seconds=40),
        session=timedelta(seconds=6),
    )

    check_case(case, kit)


def check_case(case: Case, kit: Kit) -> None:
    """The case asserts by itself."""
    case.run(kit)


def test_the_end_of_a_transaction_is_written_by_who_has_the_rights_for_it_and_by_nobody_else(
    secured: SecuredBroker, unique: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    at, name = TopicPartition(f"{unique}.events", 0), f"{unique}.orders.0"
    KafkaTransport(KafkaSettings(secured.plaintext)).admin().create([TopicSpec(at.topic, 1)])
    writer = Producer({"bootstrap.servers": secured.plaintext, "transactional.id": name, "log_level": 0})
    writer.init_transactions(20)
    writer.begin_transaction()
    writer.produce(at.topic, b"v", partition=0)
    writer.flush(20)
    user = f"ender-{unique}"
    secured.add_user(user)
    settings = KafkaSettings(secured.sasl, secured.with_password("SCRAM-SHA-512", user))
    grants = [
        Grant(each.resource.value, each.name, each.is_prefix, operation)
        for each in rights("transactions", Topics(unique))
        for operation in each.operations
    ]

    async def look(client: AIOKafkaClient) -> Open:
        ((_, _, (found,)),) = await open_in(client, client.cluster.brokers().pop().nodeId, {at.topic: [0]})
        return found

    async def end(client: AIOKafkaClient) -> None:
        await write_marker(client, it, is_commit=True)

    config = Path("farandole.toml")
    lines = [f'"{key}" = "{value}"' for key, value in settings.extra.items()]
    config.write_text(f'bootstrap = "{secured.sasl}"\nnamespace = "{unique}"\n[kafka]\n' + "\n".join(lines))
    config.chmod(0o600)
    blind = CliRunner().invoke(app, ["transactions", "list"])
    assert (blind.exit_code, "farandole acls" in blind.stderr) == (3, True)  # it sees no topic, which is not none
    grant(KafkaSettings(secured.plaintext), f"User:{user}", [each for each in grants if each.kind != "cluster"])
    assert "no transaction is forgotten" in CliRunner().invoke(app, ["transactions", "list"]).stdout
    found = ask(settings, "tests", look)
    epoch = found.producer_epoch
    it = Forgotten(at, 0, name, "CompleteCommit", found.producer_id, epoch, -1, Ending.COMMITTED)
    with pytest.raises(AccessDenied, match=r"CLUSTER_AUTHORIZATION_FAILED.*farandole acls"):
        ask(settings, "tests", end)
    assert ask(settings, "tests", look) == found
    grant(KafkaSettings(secured.plaintext), f"User:{user}", [each for each in grants if each.kind == "cluster"])

    ask(settings, "tests", end)

    assert KafkaTransport(settings).admin().ends([at], Isolation.COMMITTED) == {at: 2}
    writer.abort_transaction(20)
