"""What stands on the log when runs do not end: which they are, what readers cannot pass, and what nobody ends any more.

For the report of a trial that failed: the broker is gone when somebody reads it.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing

from aiokafka import errors as aio

from farandole.errors import TransportError
from farandole.events.topics import Topics
from farandole.testing.chaos.load import Load
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.kafka.forgotten import forgotten
from farandole.transport.outgoing import home_of
from farandole.transport.port import Isolation, TopicPartition

NAMED_MAX = 5
"""Runs that are named."""


def standing(settings: KafkaSettings, topics: Topics, load: Load, runs: Collection[str], partitions: int) -> str:
    """Several lines about runs that have not settled."""
    try:
        return "\n".join(_lines(settings, topics, load, runs, partitions))
    except (TransportError, aio.KafkaError) as error:
        return f"the log does not say how it stands: {error}"


def _lines(
    settings: KafkaSettings, topics: Topics, load: Load, runs: Collection[str], partitions: int
) -> Iterator[str]:
    homes = Counter(home_of(run, partitions) for run in runs)
    yield f"--- {len(runs)} runs wait, by home {dict(sorted(homes.items()))}: {', '.join(sorted(runs)[:NAMED_MAX])}"
    yield f"    {topics.settled} was followed to {dict(sorted(load.followed.items()))}"
    with closing(KafkaTransport(settings).admin()) as admin:
        names = {name: spec.partitions for name, spec in admin.topics().items() if name.startswith(topics.namespace)}
        places = [TopicPartition(name, number) for name, count in sorted(names.items()) for number in range(count)]
        whole, stable = admin.ends(places, Isolation.UNCOMMITTED), admin.ends(places, Isolation.COMMITTED)
    for at in places:
        if at.topic == topics.settled or stable[at] < whole[at]:
            yield f"    {at.topic}/{at.partition}: readers come to {stable[at]} of {whole[at]}"
    for each in forgotten(settings, topics.namespace):
        yield f"    {each}"
