"""`topics consume`: committed records as they stand, decoded."""

from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass

import typer

from farandole.cli.output import instant, json_text, print_json, visible
from farandole.cli.texts import encodable
from farandole.client import Client
from farandole.client.published import book_of
from farandole.client.records import Readable, Reading
from farandole.client.scan import BEGINNING, closing, header, places_of, span
from farandole.client.session import Session
from farandole.errors import ConfigError
from farandole.ids import is_text
from farandole.transport.port import Isolation, Record, TopicPartition

END = -1
"""Kafka's logical offset for what will be written next."""

LOOK_BACK = 8
"""How many times farther back each look for the last records goes: offsets are also taken by the marks of transactions,
by what was aborted, and by what was compacted away."""

LOOKS_MAX = 8
"""After so many looks, 16 million offsets back for each record that is wanted, those that were found are all."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records; see the options of `topics consume`."""

    topic: str
    partition: int | None
    since: str | None
    last: int | None
    limit: int
    follow: bool
    run: str


async def consume_topic(client: Client, wanted: Wanted, *, headers: bool, as_json: bool) -> None:
    """Print them.

    Raises:
        ConfigError: the topic or partition does not exist, an option is none of its words, or two exclude each other.
    """
    if wanted.last is not None and wanted.since is not None:
        raise ConfigError("--last: expected either this or --from, but found both: each says where to begin")
    session, run = client.session, encodable(wanted.run, "--run").encode()
    places = await _places(session, wanted)
    reading = Reading(await book_of(session), session.topics, session.artifacts)
    count = 0
    async with aclosing(_records(session, wanted, places)) as records:
        async for record in records:
            if run and run not in (header(record, "ce_run"), record.key):
                continue
            _print(reading.readable(record), headers=headers, as_json=as_json)
            count += 1
            if wanted.limit and count >= wanted.limit:
                return


async def topic_named(session: Session, name: str) -> str:
    """The topic of that name, whose namespace may be left out.

    Raises:
        ConfigError: there is none.
    """
    for candidate in (name, f"{session.topics.namespace}.{name}"):
        if is_text(name) and await session.edge.partitions(candidate):
            return candidate
    raise ConfigError(f"topic {name!r}: expected one that exists, but there is none. `farandole topics list`")


async def _places(session: Session, wanted: Wanted) -> list[TopicPartition]:
    topic = await topic_named(session, wanted.topic)
    places = await places_of(session.edge, topic)
    if wanted.partition is None:
        return places
    if wanted.partition >= len(places):
        raise ConfigError(f"--partition: expected 0 to {len(places) - 1} of {topic}, but found {wanted.partition}")
    return [places[wanted.partition]]


async def _records(session: Session, wanted: Wanted, places: list[TopicPartition]) -> AsyncGenerator[Record, None]:
    ends = await session.edge.ends(places, Isolation.COMMITTED)
    if wanted.last is None:
        begin = {at: _begin(wanted, ends.get(at, 0)) for at in places}
    else:
        begin = await _begin_of_last(session, {at: ends.get(at, 0) for at in places}, wanted.last)
    if not wanted.follow:
        async with aclosing(span(session.edge, begin, ends)) as records:
            async for record in records:
                yield record
        return
    async with closing(session.edge.tail(begin)) as tail:
        async for item in tail:
            if isinstance(item, Record):
                yield item


async def _begin_of_last(session: Session, ends: Mapping[TopicPartition, int], count: int) -> dict[TopicPartition, int]:
    """Where the last so many committed records of each partition begin: looked for ever farther back, as far as the
    partition goes. A log refuses to be read from where it no longer has anything."""
    begin: dict[TopicPartition, int] = {}
    firsts = await _firsts(session, ends)
    for look in range(1, LOOKS_MAX + 1):
        left = {at: end for at, end in ends.items() if at not in begin}
        back = {at: max(firsts[at], end - count * LOOK_BACK**look) for at, end in left.items()}
        found: dict[TopicPartition, deque[int]] = {at: deque(maxlen=count) for at in left}
        async with aclosing(span(session.edge, back, left)) as records:
            async for record in records:
                found[record.at].append(record.offset)
        for at, offsets in found.items():
            if len(offsets) == count or back[at] == firsts[at] or look == LOOKS_MAX:
                begin[at] = offsets[0] if offsets else ends[at]
    return begin


async def _firsts(session: Session, places: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    """The first committed record that each partition still has; where it ends, if it has none."""
    firsts: dict[TopicPartition, int] = {}
    async with closing(session.edge.tail(dict.fromkeys(places, BEGINNING))) as tail:
        async for item in tail:
            firsts.setdefault(item.at, item.offset if isinstance(item, Record) else item.position)
            if len(firsts) == len(places):
                break
    return firsts


def _begin(wanted: Wanted, end: int) -> int:
    if wanted.since in (None, "beginning"):
        return BEGINNING
    if wanted.since == "end":
        return end
    if wanted.since.isdecimal() and wanted.partition is not None:
        return int(wanted.since)
    raise ConfigError(
        f"--from: expected beginning, end, or an offset together with --partition, but found {wanted.since!r}"
    )


def _print(it: Readable, *, headers: bool, as_json: bool) -> None:
    if as_json:
        return print_json(it, indent=None)
    typer.secho(visible(f"{it.place}  {instant(it.at)}  {it.type}  "), fg=typer.colors.CYAN, nl=False)
    typer.echo(visible(f"key {it.key}") if it.key is not None else "no key")
    for name, value in it.headers.items() if headers else ():
        typer.echo(visible(f"  {name}: {value}"))
    if it.problem:
        typer.secho(visible(f"  cannot be read: {it.problem}"), fg=typer.colors.YELLOW)
    if it.type != "tombstone":
        typer.echo(visible(f"  {_line(it.value)}", keep="\n\t"))


def _line(value: object) -> str:
    return value if isinstance(value, str) else json_text(value, indent=None)
