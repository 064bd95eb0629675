"""Whether the topics that exist are those that must exist: asked by `plan`, and at every process start.

A process never creates or alters a topic by itself; it refuses to start and says what `apply`
would do. Knows nothing of why a topic must be so (`topology` does).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from farandole.errors import ConfigError
from farandole.events.topics import Topics
from farandole.transport.port import Admin, TopicSpec
from farandole.transport.topology import agent_topics, home_topics, own_topic, system_topics

ANY = 0
"""As the number of partitions of an expected topic: whatever it has."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as it must be. `what` is `missing`, `partitions` or the name of a setting."""

    topic: str
    what: str
    expected: str
    found: str

    @property
    def line(self) -> str:
        """One line for a person, with what `apply` would do about it."""
        if self.what == "missing":
            return f"{self.topic}: missing; `apply` creates it"
        if self.what == "partitions":
            return f"{self.topic}: expected {self.expected} partitions, but found {self.found}; `apply` cannot mend it"
        return f"{self.topic}: expected {self.what}={self.expected}, but found {self.found}; `apply` sets it"

    @property
    def is_mendable(self) -> bool:
        """Whether `apply` can put it right. A number of partitions is fixed at the first `apply` (DESIGN section 3)."""
        return self.what != "partitions"


def faults(admin: Admin, expected: Sequence[TopicSpec]) -> tuple[Fault, ...]:
    """What is not as expected, in the order of `expected`; settings that it does not name may be anything."""
    found = admin.topics([spec.name for spec in expected])
    return tuple(fault for spec in expected for fault in _compare(spec, found.get(spec.name)))


def _compare(expected: TopicSpec, found: TopicSpec | None) -> Iterable[Fault]:
    if found is None:
        yield Fault(expected.name, "missing", str(expected.partitions), "nothing")
        return
    if expected.partitions not in (ANY, found.partitions):
        yield Fault(expected.name, "partitions", str(expected.partitions), str(found.partitions))
    for name, value in expected.config.items():
        has = found.config.get(name)
        if has != value:
            yield Fault(expected.name, name, value, has if has is not None else "the broker's default")


def partitions_of_homes(admin: Admin, topics: Topics) -> int:
    """P of a namespace: what most of its home topics have, as one may have been changed by hand; 0 without any."""
    counts = Counter(each.partitions for each in admin.topics(home_topics(topics)).values())
    return min(counts, key=lambda count: (-counts[count], count), default=0)


def essential_topics(
    topics: Topics, agents: Iterable[str], own: Iterable[str], partitions: int
) -> tuple[TopicSpec, ...]:
    """What a process needs of its topics: that they are there, with one P, and compacted or not as declared.

    Retention, sizes and the partitions of an inbox are the operator's to choose: `plan` compares them.
    """
    declared = (
        *system_topics(topics, partitions),
        *agent_topics(topics, agents, ANY),
        *(own_topic(name, ANY) for name in own),
    )
    return tuple(replace(spec, config=_essential(spec)) for spec in declared)


def _essential(spec: TopicSpec) -> dict[str, str]:
    return {name: value for name, value in spec.config.items() if name == "cleanup.policy"}


def require_topics(
    admin: Admin, topics: Topics, agents: Iterable[str] = (), own: Iterable[str] = (), *, apply: str = "farandole apply"
) -> int:
    """Check at the start of a process that its topics are there and as declared; returns P.

    Raises:
        ConfigError: they are not; the message lists every fault and what `apply` would do.
    """
    partitions = partitions_of_homes(admin, topics)
    found = faults(admin, essential_topics(topics, agents, own, partitions or ANY))
    if found:
        refuse(found, apply)
    return partitions


def refuse(found: Sequence[Fault], apply: str = "farandole apply") -> None:
    """Raise the refusal that lists these faults."""
    lines = "\n".join(f"  {fault.line}" for fault in found)
    raise ConfigError(
        f"topics: expected them as declared, but {len(found)} thing(s) are not:\n{lines}\n"
        f"Nothing was started. Run `{apply}` to see and do what is needed."
    )
