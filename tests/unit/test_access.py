"""Which rights each kind of process needs: a table, commands of Kafka's own tool, a page."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from farandole.cli.main import app
from farandole.client.access import POSITIONS, ROLES, Resource, Right, page, rights
from farandole.events.topics import Topics
from farandole.transport.kafka.forgotten import OFFSETS

DOCS = Path(__file__).parents[2] / "docs"
TOPICS = Topics("ns")


def may(role: str, operation: str, topic: str) -> bool:
    """Whether a role may do this to a topic."""
    return any(
        each.resource is Resource.TOPIC
        and operation in each.operations
        and (topic.startswith(each.name) if each.is_prefix else topic == each.name)
        for each in rights(role, TOPICS, ("charge",), ("payments",))
    )


def test_page_is_what_the_code_says() -> None:
    told = (DOCS / "reference" / "access.md").read_text(encoding="utf-8")

    assert told == page(), "run: farandole config reference access > docs/reference/access.md"


@pytest.mark.parametrize(
    ("role", "writes"),
    [
        ("orders", {"events", "telemetry", "inbox.charge", "inbox.ship", "dead.charge"}),
        (
            "coordinator",
            {"commands", "events", "runs", "settled", "control", "inbox.charge", "inbox.ship", "dead.charge"},
        ),
        ("client", {"commands"}),
        ("apply", {"definitions", "schemas", "runs"}),  # `coordinator reposition` says in `runs` where homes stand
        ("doctor", set()),
        ("transactions", set()),
    ],
)
def test_a_role_writes_where_the_design_says_and_nowhere_else(role: str, writes: set[str]) -> None:
    names = {
        *("commands", "events", "runs", "settled", "definitions", "schemas", "telemetry", "control"),
        *("inbox.charge", "inbox.ship", "dead.charge"),
    }

    assert {name for name in names if may(role, "Write", f"ns.{name}")} == writes


def test_an_agent_reads_its_own_inbox_only() -> None:
    assert may("orders", "Read", "ns.inbox.charge")
    assert not may("orders", "Read", "ns.inbox.ship")
    assert may("orders", "Write", "payments")


def test_who_applies_may_read_all_that_tells_where_positions_stood() -> None:
    # `agent reposition` ended with TOPIC_AUTHORIZATION_FAILED as soon as there was a dead letter, in any role.
    assert [name for name in ("events", "inbox.charge", "dead.charge", "commands", "runs") if not reads(name)] == []
    assert not reads("settled")


def reads(name: str) -> bool:
    """Whether `apply` may."""
    return may("apply", "Read", f"ns.{name}")


def test_who_ends_transactions_alone_may_write_their_markers() -> None:
    able = [
        role
        for role in ("orders", *ROLES)
        if any("ClusterAction" in each.operations for each in rights(role, TOPICS, ("charge",), ("payments",)))
    ]

    assert able == ["transactions"]


@pytest.mark.parametrize("role", ["orders", *ROLES])
def test_no_right_reaches_beyond_the_namespace_or_to_everything(role: str) -> None:
    for each in rights(role, TOPICS, ("charge",), ("payments",)):
        looks_at_positions = role == "transactions" and (each.name, each.operations) == (POSITIONS, ("Read",))
        assert each.name.startswith("ns.") or each.name in ("payments", "kafka-cluster") or looks_at_positions
        assert "All" not in each.operations


def test_who_ends_transactions_may_look_where_positions_are() -> None:
    """Transactions that were forgotten there were not seen, and there seemed to be none."""
    assert may("transactions", "Read", OFFSETS)
    assert [role for role in ("orders", *ROLES) if may(role, "Read", POSITIONS)] == ["transactions"]
    assert "`not_allowed`" in page()


def test_a_right_is_a_command_of_kafkas_own_tool() -> None:
    right = Right(Resource.TRANSACTIONAL_ID, "ns.orders.", ("Write", "Describe"), "", is_prefix=True)

    assert right.command("User:CN=a b", "host:1") == (
        "kafka-acls.sh --bootstrap-server host:1 --add --allow-principal 'User:CN=a b' --transactional-id ns.orders. "
        "--resource-pattern-type prefixed --operation Write --operation Describe"
    )
    assert "--cluster --operation" in Right(Resource.CLUSTER, "kafka-cluster", ("Describe",), "").command("User:a", "h")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["acls", "nobody", "--principal", "User:a"],
            "expected one of coordinator, client, apply, doctor, transactions, or the folder",
        ),
        (["acls", "client", "--principal", "a"], "--principal: expected User:NAME"),
        (["config", "reference", "nothing"], "expected one of configuration, access"),
    ],
)
def test_what_is_typed_wrong_is_told(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    ran = CliRunner().invoke(app, words)

    assert ran.exit_code == 2
    assert message in ran.stderr


def test_acls_prints_a_command_for_each_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    ran = CliRunner().invoke(app, ["acls", "client", "--principal", "User:a", "--namespace", "ns", "-b", "host:1"])

    lines = ran.stdout.splitlines()
    assert lines == [each.command("User:a", "host:1") for each in rights("client", TOPICS)]
