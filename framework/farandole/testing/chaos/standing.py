"""What stands on the log when runs do not end: which they are, what readers cannot pass, and what nobody ends any more.

For the report of a trial that failed: the broker is gone when somebody reads it.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing

from aiokafka import errors as aio
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as Place

from farandole.errors import TransportError
from farandole.events.topics import Topics
from farandole.testing.chaos.load import Load
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.kafka.forgotten import forgotten
from farandole.transport.outgoing import home_of
from farandole.transport.port import Isolation, TopicPartition

NAMED_MAX, TOLD_MAX = 5, 2
"""Runs that are named, and those of them of which all records are told."""

TOLD_HEADERS = ("ce_type", "ce_subject", "ce_step", "ce_attempt", "ce_source", "ce_time")

READ_MAX_S = 20.0
"""Longest that reading a topic may take."""


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
    told = frozenset(sorted(runs)[:TOLD_MAX])
    seen = set(_records(settings, places, told, "read_committed"))
    for line in _records(settings, places, told, "read_uncommitted"):
        yield f"    {line}{'' if line in seen else '   <- not committed'}"
    for each in forgotten(settings, topics.namespace):
        yield f"    {each}"


def _records(settings: KafkaSettings, places: list[TopicPartition], runs: Collection[str], isolation: str) -> list[str]:
    """What `events` and inboxes have of some runs, a line each."""
    wanted = [at for at in places if any(part in at.topic for part in (".events", ".inbox."))]
    reader = Consumer(
        {
            "bootstrap.servers": settings.bootstrap,
            "group.id": "standing",
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    reader.assign([Place(at.topic, at.partition, 0) for at in wanted])
    lines, left, until = list[str](), len(wanted), time.monotonic() + READ_MAX_S
    while left and time.monotonic() < until:
        message = reader.poll(0.5)
        if message is None:
            continue
        left -= message.error() is not None
        if message.error() is None and (message.key() or b"").decode() in runs:
            told = {each[0]: each[1] for each in message.headers() or ()}
            words = [str(told.get(name, "-")) for name in TOLD_HEADERS]
            lines.append(f"{message.topic()}/{message.partition()}@{message.offset()} {' '.join(words)}")
    reader.close()
    return lines
