"""`topics/` is the published form of the declared topics; and their sizes fit into each other."""

from pathlib import Path

import pytest
import yaml

from farandole.events.topics import Topics
from farandole.transport.published import published
from farandole.transport.topology import DECLARED, agent_topics, home_topics, system_topics


def test_topics_folder_equals_the_declared_topics(repository: Path) -> None:
    files = {path.name: path.read_text() for path in (repository / "topics").glob("*.yaml")}

    assert files == published(), "python -m farandole.transport.published topics"


@pytest.mark.parametrize("name", sorted(published()))
def test_published_topic_is_yaml_that_says_what_is_declared(name: str) -> None:
    declared = next(each for each in DECLARED if f"{each.kind}.yaml" == name)

    read = yaml.safe_load(published()[name])

    assert read["topic"] == declared.name
    assert read["partitions"] == declared.partitions
    assert read["config"] == {key: value for key, value, _ in declared.config}


def test_every_declared_number_has_a_reason() -> None:
    silent = [(each.kind, name) for each in DECLARED for name, _, why in each.config if not why.strip()]

    assert not silent


def test_home_topics_have_one_number_of_partitions() -> None:
    topics = Topics("ns")

    specs = {each.name: each.partitions for each in system_topics(topics, 6)}

    assert {specs[name] for name in home_topics(topics)} == {6}


def test_names_of_declared_topics_are_those_that_writers_use() -> None:
    topics = Topics("ns")

    names = {each.name for each in (*system_topics(topics), *agent_topics(topics, ["charge"]))}

    assert names == {
        topics.commands, topics.events, topics.runs, topics.settled, topics.definitions, topics.schemas,
        topics.telemetry, topics.control, topics.inbox("charge"), topics.dead("charge"),
    }  # fmt: skip


def test_an_input_fits_into_the_fact_that_copies_it() -> None:
    sizes = {each.kind: int(next(v for k, v, _ in each.config if k == "max.message.bytes")) for each in DECLARED}

    assert sizes["inbox"] * 2 <= sizes["events"]
    assert sizes["inbox"] * 2 <= sizes["dead"]
    assert sizes["commands"] * 2 <= sizes["events"]
