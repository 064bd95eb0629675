"""What must be so before a unit's process starts: its topics, as declared (R8, R14).

A process never creates a topic: it refuses, and says what `apply` would do. Whose inbox it is,
and whether the group agrees, is checked by the loop once `definitions` is read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from farandole.definition.spec import AgentSpec
from farandole.events.topics import Topics
from farandole.transport.drift import require_topics
from farandole.transport.port import Admin


@dataclass(frozen=True, slots=True)
class Layout:
    """How the namespace is cut: P, and the partitions of the tables that agents read, by topic."""

    home_partitions: int
    tables: Mapping[str, int]


def check(admin: Admin, topics: Topics, agents: Iterable[AgentSpec]) -> Layout:
    """The layout of a namespace in which these agents may run.

    Raises:
        ConfigError: a topic is missing or not as declared; the message says what `apply` would do.
    """
    specs = list(agents)
    own = sorted({topic for spec in specs for topic in spec.publishes})
    partitions = require_topics(admin, topics, [spec.name for spec in specs], own)
    return layout(admin, topics, partitions)


def layout(admin: Admin, topics: Topics, home_partitions: int) -> Layout:
    """The layout of a namespace whose topics are known to be there."""
    tables = (topics.definitions, topics.control)
    found = admin.topics(tables)
    return Layout(home_partitions, {name: found[name].partitions for name in tables})
