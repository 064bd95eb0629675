"""Records as a person can read them, whatever a stranger wrote."""

from datetime import UTC, datetime

import pytest

from farandole.cli.output import as_json
from farandole.client.records import DEPTH_MAX, Reading
from farandole.events.avro import SchemaBook
from farandole.events.topics import Topics
from farandole.transport.port import Record

READING = Reading(SchemaBook([]), Topics("ns"))


@pytest.mark.parametrize("topic", ["mine", "ns.definitions", "ns.commands"])
@pytest.mark.parametrize("deep", ["[" * 100_000, "[" * 800 + "]" * 800, '{"a":' * 200 + "1" + "}" * 200])
def test_json_that_is_too_deep_to_print_is_text(topic: str, deep: str) -> None:
    """One such record ended `topics consume` with a RecursionError: a stranger's, on a topic of anybody's."""
    told = READING.readable(Record(topic, 0, 0, b"k", deep.encode(), (), 0))

    assert told.value == deep
    assert as_json(told)


def test_json_that_can_be_printed_is_what_it_says() -> None:
    told = READING.readable(Record("mine", 0, 0, b"k", ("[" * DEPTH_MAX + "]" * DEPTH_MAX).encode(), (), 0))

    assert isinstance(told.value, list)
    assert as_json(told)


def test_instant_that_no_calendar_has_is_the_epoch() -> None:
    """A producer writes the timestamp of its records: microseconds, taken for milliseconds, ended every reader."""
    told = READING.readable(Record("mine", 0, 0, b"k", b"x", (), 10**17))

    assert told.at == datetime(1970, 1, 1, tzinfo=UTC)
