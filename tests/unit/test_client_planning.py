"""What `apply` would do, from what is wanted and what was observed; nothing is touched."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from farandole import Retry, agent, pipeline
from farandole.cli.units import Named, deployment_of
from farandole.client.planning import Deployment, Observed, Plan, make_plan, wanted_topics
from farandole.definition.loading import Unit
from farandole.definition.types import Member, record_text
from farandole.errors import ConfigError, DefinitionError
from farandole.events.avro import Schema
from farandole.events.topics import Topics
from farandole.transport.drift import Fault
from farandole.transport.topology import Override, home_topics

TOPICS = Topics("ns")


@agent(retry=Retry(attempts=2))
def charge(amount: int) -> int:
    """An agent."""
    return amount


@pipeline(owner="shop@example.org")
def orders(amount: int) -> int:
    """A pipeline."""
    return charge(amount)


@pipeline
def ownerless(amount: int) -> int:
    """A pipeline of nobody."""
    return charge(amount)


SHOP = Deployment("shop", ("charge",), ("payments.settled",), (orders.definition,), {"f1": "schema"})
NOTHING = Observed()
APPLIED = {
    "group:coordinator": "3",
    "inbox:charge": "shop",
    "pipeline:orders": str(orders.definition.hash),
    str(orders.definition.hash): orders.definition.to_json(),
}


def plan_of(deployment: Deployment = SHOP, observed: Observed = NOTHING, faults: tuple[Fault, ...] = ()) -> Plan:
    """A plan with three home partitions."""
    return make_plan(TOPICS, deployment, observed, wanted_topics(TOPICS, deployment, 3), faults)


def test_plan_for_an_empty_log_has_everything() -> None:
    missing = tuple(Fault(spec.name, "missing", "", "") for spec in wanted_topics(TOPICS, SHOP, 3))

    plan = plan_of(faults=missing)

    assert {spec.name for spec in plan.create} >= {"ns.events", "ns.inbox.charge", "ns.dead.charge", "payments.settled"}
    assert plan.starts == (
        ("ns.coordinator", "ns.commands"), ("ns.coordinator", "ns.events"), ("ns.shop", "ns.inbox.charge"),
    )  # fmt: skip
    assert plan.schemas == ("f1",)
    assert [change.before for change in plan.changes] == [None]
    assert dict(plan.rows) == {"group:coordinator": "3", "inbox:charge": "shop"}
    assert not plan.is_empty


def test_plan_for_what_is_applied_is_empty() -> None:
    plan = plan_of(observed=Observed(3, APPLIED, {"f1": "schema"}))

    assert plan.is_empty
    assert list(plan.lines()) == []


def test_changed_pipeline_is_published_and_names_the_old_hash() -> None:
    plan = plan_of(observed=Observed(3, {**APPLIED, "pipeline:orders": "0" * 64}, {"f1": "schema"}))

    (line,) = plan.lines()
    assert "000000000000 ->" in line
    assert "keep theirs" in line


def test_changed_owner_is_published_under_the_same_hash() -> None:
    renamed = replace(orders.definition, owner="other@example.org")

    plan = plan_of(replace(SHOP, definitions=(renamed,)), Observed(3, APPLIED, {"f1": "schema"}))

    assert [change.definition.owner for change in plan.changes] == ["other@example.org"]


def test_inbox_of_another_unit_is_refused_with_its_owner() -> None:
    plan = plan_of(observed=Observed(3, {**APPLIED, "inbox:charge": "bank"}))

    with pytest.raises(ConfigError, match="belongs to bank"):
        plan.check()


def test_unit_named_as_the_coordinators_is_refused() -> None:
    plan = plan_of(replace(SHOP, unit="coordinator"))

    with pytest.raises(ConfigError, match="another name"):
        plan.check()


@pytest.mark.parametrize("topic", ["ns.inbox.charge", "ns.dead.charge", "payments.settled"])
def test_topic_of_an_agent_with_more_partitions_than_declared_is_kept_as_it_is(topic: str) -> None:
    # The story: an inbox was given more partitions, as the docs say one may. Its agents said "run `farandole apply`",
    # for their positions, and that refused: it could not mend the topic.
    grown = plan_of(faults=(Fault(topic, "partitions", "3", "6"),))
    shrunk = plan_of(faults=(Fault(topic, "partitions", "6", "3"),))

    grown.check()
    assert grown.mend == ()
    with pytest.raises(ConfigError, match="expected 6 partitions, but found 3"):
        shrunk.check()


def test_other_number_of_home_partitions_is_refused() -> None:
    plan = plan_of(faults=(Fault("ns.events", "partitions", "3", "12"),))

    with pytest.raises(ConfigError, match="expected 3 partitions, but found 12"):
        plan.check()


def plan_with(*overrides: Override, faults: tuple[Fault, ...] = ()) -> Plan:
    """A plan with three home partitions and a user's topic files."""
    return make_plan(TOPICS, SHOP, NOTHING, wanted_topics(TOPICS, SHOP, 3, overrides), faults)


@pytest.mark.parametrize("topic", ["ns.commands", "ns.events", "ns.runs", "ns.settled", "ns.control", "ns.telemetry"])
def test_topic_file_that_gives_one_home_topic_another_number_is_refused(topic: str) -> None:
    """`partitions: 24` for `events` stood in our own docs. `apply` made it so, and no process ever started on that:
    `expected 12 partitions, but found 24; apply cannot mend it`. The next plan had nothing to do.
    """
    plan = plan_with(Override(topic, 24), Override("ns.inbox.<agent>", 24))

    assert plan.partitions == 3
    with pytest.raises(ConfigError, match=rf"{topic}: expected 3 partitions, but 24 are asked for; .* its topic file"):
        plan.check()


def test_topic_file_that_cuts_a_table_which_every_process_reads_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"ns\.definitions: expected 1 partitions, but 3 are asked for"):
        plan_with(Override("ns.definitions", 3)).check()


def test_topic_file_that_is_refused_for_its_partitions_is_not_told_twice() -> None:
    """Once with the number that all home topics have as what is expected, and once with its own."""
    plan = plan_with(Override("ns.events", 24), faults=(Fault("ns.events", "partitions", "24", "3"),))

    (refusal,) = plan.refusals
    assert "expected 3 partitions, but 24 are asked for" in refusal


def test_topic_files_that_give_all_home_topics_the_same_number_say_what_p_is() -> None:
    plan = plan_with(*(Override(name, 6) for name in home_topics(TOPICS)))

    plan.check()
    assert plan.partitions == 6
    assert dict(plan.rows)["group:coordinator"] == "6"


def test_drifted_setting_is_mended() -> None:
    plan = plan_of(
        observed=Observed(3, APPLIED, {"f1": "schema"}), faults=(Fault("ns.runs", "retention.ms", "1", "2"),)
    )

    assert list(plan.lines()) == ["set ns.runs: retention.ms=1 (is 2)"]
    plan.check()


def test_pipeline_without_owner_is_refused() -> None:
    with pytest.raises(DefinitionError, match="owner"):
        plan_of(replace(SHOP, definitions=(ownerless.definition,)))


def test_schema_that_passes_for_a_published_one_is_refused_with_the_way_out() -> None:
    """A parameter changed from int to datetime: `apply` had nothing to publish, and stale payloads were misread."""
    before, after = (record_text("orders_params", [Member("since", tp)]) for tp in (int, datetime))
    key = Schema.parse(after).fingerprint.hex()

    plan = plan_of(replace(SHOP, schemas={key: after}), Observed(3, APPLIED, {key: before}))

    with pytest.raises(ConfigError, match=r"schema orders_params: .* Rename the field"):
        plan.check()


@pytest.mark.parametrize(
    "published",
    [
        '{"type": "record", "name": "orders_params", "fields": [{"name": "n", "type": "long", "doc": "more"}]}',
        '{"type": "record", "name": "orders_params", "fields": [{"name": "n", "type": "long", "default": 1}]}',
        "no schema at all",
    ],
)
def test_schema_that_differs_in_what_changes_no_value_is_not_refused(published: str) -> None:
    ours = record_text("orders_params", [Member("n", int)])
    key = Schema.parse(ours).fingerprint.hex()

    plan = plan_of(replace(SHOP, schemas={key: ours}), Observed(3, APPLIED, {key: published}))

    assert plan.is_empty
    plan.check()


def test_agent_that_no_unit_consumes_is_noted() -> None:
    plan = plan_of(replace(SHOP, agents=()))

    assert any("no unit consumes the inbox of charge" in line for line in plan.lines())


def test_topic_file_outside_the_namespace_is_an_own_topic() -> None:
    overrides = [Override("audit.log", partitions=1, config={"cleanup.policy": "compact"}), Override("ns.inbox.other")]

    wanted = {spec.name: spec for spec in wanted_topics(TOPICS, SHOP, 3, overrides)}

    assert wanted["audit.log"].partitions == 1
    assert wanted["payments.settled"].partitions == 3
    assert "ns.inbox.other" not in wanted


def test_override_of_all_inboxes_yields_to_that_of_one() -> None:
    overrides = [
        Override("ns.inbox.<agent>", partitions=6, config={"retention.ms": "1"}),
        Override("ns.inbox.charge", config={"retention.ms": "2"}),
    ]

    wanted = {spec.name: spec for spec in wanted_topics(TOPICS, SHOP, 3, overrides)}

    assert wanted["ns.inbox.charge"].partitions == 6
    assert wanted["ns.inbox.charge"].config["retention.ms"] == "2"
    assert wanted["ns.dead.charge"].partitions == 3


def test_unit_of_which_one_schema_passes_for_another_is_refused() -> None:
    """Of two schemas with one fingerprint only one is published: payloads of the other would be read by it."""

    @agent(name="mark")
    def early(since: int) -> int:
        """An agent."""
        return since

    @agent(name="mark")
    def late(since: datetime) -> int:
        """Another of that name, as it may stand in an older pipeline beside."""
        return since.year

    @pipeline(owner="shop@example.org")
    def numbers(since: int) -> int:
        """A pipeline of the one."""
        return early(since)

    @pipeline(owner="shop@example.org")
    def instants(since: datetime) -> int:
        """A pipeline of the other."""
        return late(since)

    unit = Unit({"mark": late.spec}, {"numbers": numbers, "instants": instants})

    with pytest.raises(DefinitionError, match=r"schema mark_input: .* Rename the field"):
        deployment_of(Named("shop", Path("shop"), unit))


def test_pipeline_that_is_gone_from_the_code_is_told_for_as_long_as_it_can_be_started() -> None:
    """`plan` said that the log was as the code says, while a forgotten timetable went on with the code of old."""
    without = replace(SHOP, definitions=())
    told = ("pipeline orders: on the log, and no longer in unit shop: it can still be started",)

    assert plan_of(without, Observed(3, APPLIED)).notes == told
    assert plan_of(SHOP, Observed(3, APPLIED)).notes == ()
    assert plan_of(without, Observed(3, APPLIED | {"inbox:charge": "other"})).notes == ()
    assert plan_of(without, Observed(3, APPLIED | {"pipeline:orders": "rubbish"})).notes == ()
