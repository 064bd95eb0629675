"""The headers of every record are CloudEvents in binary mode, as others read it."""

from datetime import UTC, datetime

import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from cloudevents.core.formats.json import JSONFormat

from farandole.errors import RecordError
from farandole.events.catalogue import encode
from farandole.events.envelope import parse_envelope
from farandole.events.facts import StepSucceeded
from farandole.events.outgoing import Origin, Trigger, event_record, trigger_record
from farandole.events.topics import Topics

ORIGIN = Origin(
    source="farandole/orders/0",
    now=datetime(2026, 1, 2, 3, 4, 5, 678000, UTC),
    definition="d" * 64,
    input="farandole.inbox.charge/3/8841",
    agent="charge",
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)


class Untouched(JSONFormat):
    """Leaves the data as it is: the payload is Avro."""

    def read_data(self, body: bytes, datacontenttype: str | None) -> bytes:
        """The bytes themselves."""
        return body


def read(headers: list[tuple[str, bytes]], key: str, value: bytes) -> BaseCloudEvent:
    """What the CloudEvents SDK makes of a record."""
    return from_binary_event(KafkaMessage(dict(headers), key.encode(), value), Untouched())


def test_event_record_is_read_by_the_cloudevents_sdk() -> None:
    fact = StepSucceeded("o-1", "charge", 2, b"out")
    record = event_record(Topics(), fact, event_id="o-1/charge/0/-/2/StepSucceeded", cause="c-1", origin=ORIGIN)

    event = read([*record.headers], record.key, record.value or b"")

    assert event.get_id() == "o-1/charge/0/-/2/StepSucceeded"
    assert event.get_type() == "farandole.StepSucceeded"
    assert event.get_source() == "farandole/orders/0"
    assert event.get_specversion() == "1.0"
    assert event.get_subject() == "o-1"
    assert event.get_time() == ORIGIN.now
    assert event.get_datacontenttype() == "application/avro"
    assert event.get_data() == encode(fact)
    assert [event.get_extension(name) for name in ("run", "step", "attempt", "cause", "input")] == [
        "o-1",
        "charge",
        "2",
        "c-1",
        "farandole.inbox.charge/3/8841",
    ]


def test_trigger_record_is_read_by_the_cloudevents_sdk_and_by_us() -> None:
    record = trigger_record(Topics(), Trigger("o-1", "clean", "clean", 1, b"in", 7, b"p"), cause="c", origin=ORIGIN)

    event = read([*record.headers], record.key, record.value or b"")
    envelope = parse_envelope(record.headers)

    assert event.get_type() == "farandole.Trigger"
    assert event.get_extension("item") == "7"
    assert event.get_extension("partitionkey") == "o-1/clean/7"
    assert (envelope.run, envelope.step, envelope.item, envelope.attempt) == ("o-1", "clean", 7, 1)
    assert envelope.traceparent == ORIGIN.traceparent


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_time", b"2026-01-01T00:00:00"),
        ("ce_time", b"2026-01-01"),
        ("ce_time", b"0001-01-01T00:00:00+14:00"),
        ("ce_time", b"9999-12-31T23:59:59-14:00"),
        ("ce_attempt", b"9223372036854775808"),
        ("ce_item", b"9223372036854775808"),
        ("ce_item", b"-9223372036854775809"),
        ("ce_iteration", b"1" * 70),
        ("ce_epoch", b"1" * 70),
    ],
)
def test_instant_or_number_that_no_fact_can_hold_is_refused_with_its_record(name: str, value: bytes) -> None:
    """A trigger of a stranger ended the agent, and again at each restart.

    It was taken, and what followed from it could not be said: StepSucceeded and then StepFailed took its attempt over
    64 bits, the start of the run its time without an offset. What is refused here is dead-lettered.
    """
    trigger = trigger_record(Topics(), Trigger("o-1", "clean", "clean", 1, b"in", 7, b"p"), cause="c", origin=ORIGIN)
    headers = [each for each in trigger.headers if each[0] != name] + [(name, value)]

    with pytest.raises(RecordError, match="one is malformed") as refused:
        parse_envelope(headers)

    assert refused.value.reason == "bad_envelope"


def test_instant_with_an_offset_is_read_in_utc() -> None:
    trigger = trigger_record(Topics(), Trigger("o-1", "clean", "clean", 1, b"in"), cause="c", origin=ORIGIN)
    headers = [each for each in trigger.headers if each[0] != "ce_time"]

    envelope = parse_envelope([*headers, ("ce_time", b"2026-01-02T05:04:05.678+02:00")])

    assert envelope.time == ORIGIN.now
    assert envelope.time.tzinfo is UTC
