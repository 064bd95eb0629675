"""Commands from anyone: Avro, or the JSON that a person types into kcat."""

import json

import pytest

from farandole.errors import RecordError, UnknownSchema
from farandole.events.avro import Schema
from farandole.events.catalogue import decode_command, encode
from farandole.events.commands import CancelRun, Command, DiscardDeadLetter, ReleaseRun, ReplayDeadLetter, StartRun
from farandole.events.facts import CancelRequested


@pytest.mark.parametrize(
    "command",
    [
        StartRun("orders", b"\xc3\x01params", "o-1"),
        StartRun("orders", b""),
        CancelRun("o-1", "enough"),
        ReplayDeadLetter("o-1", "charge", 3, "farandole.dead.charge/0/7", b"repaired", 4),
        DiscardDeadLetter("o-1", "charge", 3, "farandole.dead.charge/0/7", "enough", 4),
        ReleaseRun("o-1"),
    ],
)
def test_command_in_avro_is_read_back(command: Command) -> None:
    assert decode_command(encode(command), []) == command


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (
            b'{"run_id":"o-1","pipeline":"orders","params":{"order": {"total":1.10}}}',
            StartRun("orders", b'{"order": {"total":1.10}}', "o-1"),
        ),
        (b'\n {"pipeline":"orders"}', StartRun("orders", b"{}")),
        (b'{"pipeline":"orders","run_id":null,"params":{}}', StartRun("orders", b"{}")),
        (b'{"command":"StartRun","pipeline":"orders","params":{}}', StartRun("orders", b"{}")),
        (b'{"command":"CancelRun","run_id":"o-1"}', CancelRun("o-1")),
        (b'{"command":"CancelRun","run_id":"o-1","reason":"\\u00e9"}', CancelRun("o-1", "é")),
        (b'{"command":"ReleaseRun","run_id":"o-1"}', ReleaseRun("o-1")),
        (
            b'{"command":"ReplayDeadLetter","run_id":"r","step":"s","attempt":3,"dead_letter":"t/0/7","input":[1]}',
            ReplayDeadLetter("r", "s", 3, "t/0/7", b"[1]"),
        ),
    ],
)
def test_command_in_json_is_read_and_its_payload_stays_as_it_was_typed(text: bytes, command: Command) -> None:
    assert decode_command(text, []) == command


def test_cloudevents_type_names_the_command_of_json_data() -> None:
    headers = [("ce_type", b"farandole.CancelRun")]

    assert decode_command(b'{"run_id":"o-1"}', headers) == CancelRun("o-1")
    assert decode_command(b'{"pipeline":"p"}', [("ce_type", b"com.shop.ordered")]) == StartRun("p", b"{}")
    with pytest.raises(RecordError, match=r"ce_type says farandole\.CancelRun and the value says 'ReleaseRun'"):
        decode_command(b'{"command":"ReleaseRun","run_id":"o-1"}', headers)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"start orders", "begins with 73 74 61 72"),
        (b"{", "expected JSON"),
        (b"[]", "as a JSON object, but found list"),
        (b'{"pipeline":"p","pipeline":"q"}', "'pipeline' stands twice"),
        (b'{"pipeline":"p","parms":{}}', "StartRun: expected only pipeline, params, run_id, but found parms"),
        (b'{"params":{}}', "StartRun.pipeline: expected a value, but found none"),
        (b'{"pipeline":null}', "StartRun.pipeline: expected text, but found null"),
        (b'{"pipeline":5}', "StartRun.pipeline: expected text, but found int 5"),
        (b'{"pipeline":"p","params":[1]}', "StartRun.params: expected an object, but found list"),
        (b'{"pipeline":"p","params":null}', "StartRun.params: expected an object, but found null"),
        (b'{"pipeline":"p","run_id":7}', "StartRun.run_id: expected text, but found int 7"),
        (b'{"command":"Stop","run_id":"r"}', "expected a command .*, but found 'Stop'"),
        (b'{"command":["CancelRun"],"run_id":"r"}', "expected a command"),
        (b'{"command":"CancelRun","run_id":null}', "CancelRun.run_id: expected text"),
        (
            b'{"command":"ReplayDeadLetter","run_id":"r","step":"s","attempt":true,"dead_letter":"t/0/7"}',
            "ReplayDeadLetter.attempt: expected an integer of 64 bits, but found bool True",
        ),
        (
            b'{"command":"ReplayDeadLetter","run_id":"r","step":"s","attempt":1.0,"dead_letter":"t/0/7"}',
            "ReplayDeadLetter.attempt: expected an integer of 64 bits",
        ),
        (b'{"pipeline":"p","params":' + b'{"a":' * 90 + b"1" + b"}" * 91, "at most 64 deep"),
        (b'{"pipeline":"' + b"p" * 1_100_000 + b'"}', "at most 1048576 bytes"),
        (encode(CancelRequested("r")), "expected a command, but found farandole.CancelRequested"),
        (encode(CancelRun("r"))[:-1], "bytes are"),
    ],
)
def test_value_that_is_no_command_is_undecodable_and_told_why(value: bytes | None, why: str) -> None:
    with pytest.raises(RecordError, match=why) as refusal:
        decode_command(value, [])

    assert refusal.value.reason == "undecodable"


def test_command_of_an_unknown_schema_is_refused_as_such() -> None:
    with pytest.raises(UnknownSchema):
        decode_command(Schema.parse('"string"').encode("x"), [])


def test_number_in_params_keeps_every_digit() -> None:
    text = json.dumps({"pipeline": "p", "params": {"x": 0}}).replace("0}", "0.12345678901234567890}").encode()

    command = decode_command(text, [])

    assert isinstance(command, StartRun)
    assert command.params == b'{"x": 0.12345678901234567890}'
