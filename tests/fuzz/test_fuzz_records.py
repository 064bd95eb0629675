"""Records of strangers: payloads, our own records, framing, headers, commands, commit metadata, schemas."""

import json
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.catalogue import encode
from farandole.events.commands import CancelRun, ReplayDeadLetter, StartRun
from farandole.events.envelope import Envelope
from farandole.events.framing import confluent, single_object
from farandole.testing.fuzz import Answer
from farandole.testing.fuzz.targets import PAYLOADS
from farandole.transport import metadata

Fine = Callable[[str, bytes], Answer]
Cases = Callable[[int], settings]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMAS = [Schema.parse(text) for text in PAYLOADS]
RECORDS = [
    facts.StepSucceeded("r-1", "a", 1, b"\xc3\x01" + b"x" * 20, ("b", "c")),
    facts.StepFailed("r-1", "a", 1, "exception", "boom", "f00d", True, b"input"),
    facts.RunSettled("r-1", "succeeded", NOW, NOW, "", b"out"),
    facts.RunHeld("r-1", "dead_letter", "why", "a", 3, NOW, 17),
    StartRun("orders", b"params", "r-1"),
    CancelRun("r-1", "why"),
    ReplayDeadLetter("r-1", "a", 2, "dead/0/1", b"input", 3),
]
ENVELOPE = Envelope(
    "id", "farandole.StepSucceeded", "farandole/unit/0", NOW, "r-1", "a", 0, 3, 1, definition="hash", cause="cause"
)
HOSTILE = [
    b"\xff" * 9 + b"\x01",  # 2^63 and more, as a varint
    b"\x80" * 12 + b"\x01",  # a varint without an end in sight
    b"\x01",  # -1
    b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x94\xeb\xdc\x03",  # 500 million
    b"\xff\x93\xeb\xdc\x03" + b"\x00",  # a block of minus as many
    b"\0",
    b"\xc3\x01",
    b"{",
    b"[" * 3000,
    b"9" * 5000,
]


@st.composite
def mutated(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    """A sample with a few bytes changed, cut, repeated, or replaced by what hurts."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 5)):
            case 0:
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                del data[at:]
            case 2:
                data[at:at] = draw(st.sampled_from(HOSTILE))
            case 3:
                data[at:at] = data[max(0, at - draw(st.integers(1, 40))) : at] * draw(st.integers(1, 50))
            case 4:
                data[at:at] = draw(st.binary(max_size=30))
            case _:
                del data[at : at + draw(st.integers(1, 20))]
    return bytes(data)


def frames(body: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Bodies under every kind of frame."""
    fingerprints = [schema.fingerprint for schema in SCHEMAS]
    return st.one_of(
        body,
        st.builds(single_object, st.sampled_from(fingerprints) | st.binary(min_size=8, max_size=8), body),
        st.builds(confluent, st.integers(0, 2**32 - 1) | st.integers(0, 3), body),
    )


BODIES = [
    SCHEMAS[0].encode_body({"n": 5, "s": "text", "d": 1.5, "b": b"raw"}),
    SCHEMAS[1].encode_body({"rows": [{"a": ["x", None], "b": []}, {}]}),
    SCHEMAS[2].encode_body({"e": "A", "f": b"12345", "u": True}),
    b"",
]
JSONS = [b'{"n":5,"s":"text","d":1.5,"b":"raw"}', b'{"rows":[{"a":["x",null]}]}', b'{"e":"A","f":"12345","u":null}']


def test_a_payload_is_read_or_refused(fine: Fine, cases: Cases) -> None:
    @cases(900)
    @given(st.integers(0, 3), frames(mutated(BODIES)) | mutated(JSONS) | st.binary(max_size=200))
    def check_each(number: int, body: bytes) -> None:
        fine("value", bytes([number]) + body)

    check_each()


def test_a_record_of_ours_is_read_or_refused(fine: Fine, cases: Cases) -> None:
    @cases(900)
    @given(mutated([encode(each) for each in RECORDS]) | frames(mutated(BODIES)))
    def check_each(case: bytes) -> None:
        fine("ours", case)
        fine("framing", case)

    check_each()


def heads() -> st.SearchStrategy[list[list[str]]]:
    """Headers of ours with values of anybody's; some missing, some twice."""
    names = [name for name, _ in ENVELOPE.headers()]
    valid = [[name, value.decode()] for name, value in ENVELOPE.headers()]
    odd = st.sampled_from(["", "-1", "9" * 400, "1e9", "\xff\xfe", "٣", "2026-01-01T00:00:00Z",
                           "0001-01-01T00:00:00+23:59",
                           "9999-12-31T23:59:59.999999-23:59", "a/b/c", "\0", "1_0", " 7 ", "nan"])  # fmt: skip
    latin = st.text(st.characters(max_codepoint=255), max_size=30)
    wrong = st.tuples(st.sampled_from([*names, "ce_iteration", "ce_folded", "ce_home"]), odd | latin).map(list)
    return st.tuples(st.lists(st.sampled_from(valid)) | st.just(valid), st.lists(wrong, max_size=4)).map(
        lambda both: both[0] + both[1]
    )


def test_headers_are_read_or_refused(fine: Fine, cases: Cases) -> None:
    @cases(800)
    @given(heads())
    def check_each(given_: list[list[str]]) -> None:
        fine("headers", json.dumps(given_).encode())

    check_each()


COMMANDS = [
    b'{"run_id":"o-1","pipeline":"orders","params":{"order":{"total":5}}}',
    b'{"run_id":"o-1","reason":"why"}',
    b'{"run_id":"o-1","step":"a","attempt":1,"dead_letter":"x","input":{"n":1},"item":3}',
    *(encode(each) for each in RECORDS[4:]),
]


def test_a_command_is_read_or_refused(fine: Fine, cases: Cases) -> None:
    types = st.sampled_from(
        ["farandole.StartRun", "farandole.CancelRun", "farandole.ReplayDeadLetter", "StartRun", "x"]
    )

    @cases(600)
    @given(types, heads(), mutated(COMMANDS))
    def check_each(kind: str, given_: list[list[str]], value: bytes) -> None:
        fine("command", json.dumps([["ce_type", kind], *given_]).encode() + b"\n" + value)

    check_each()


def sealed(body: bytes) -> bytes:
    """Metadata whose checksum fits, whatever it says."""
    return b"f1." + urlsafe_b64encode(body + zlib.crc32(body).to_bytes(4, "big")).rstrip(b"=")


def test_commit_metadata_is_read_or_stops_the_partition(fine: Fine, cases: Cases) -> None:
    texts = [
        metadata.encode(it).encode()
        for it in (
            metadata.FRESH,
            metadata.Metadata("ns.unit.0", 2**63, 7, True, 1_700_000_000_000, b"\x02\xff\x01"),
            metadata.Metadata("ns.unit.0", 1, 0, False, None, b"\x02" + b"\0" * 900 + b"\x01"),
        )
    ]
    bodies = [b"\x04" + bytes(8) + b"\0\0" + b"\x02\x05\x05", b"\x02" + bytes(8) + b"\x01\x01\x03abc\x01\x02"]

    @cases(900)
    @given(mutated(texts) | st.binary(max_size=60) | mutated(bodies).map(sealed))
    def check_each(case: bytes) -> None:
        fine("commit", case)

    check_each()


def schemas() -> st.SearchStrategy[object]:
    """Avro schemas, right and wrong: recursive ones, zero-sized items, doubtful defaults and names."""
    names = st.sampled_from(["A", "B", "a.b.C", "", "1x", "ä", "null", "long"])
    leaves = st.sampled_from(
        ["null", "boolean", "int", "long", "float", "double", "bytes", "string", "A", "B", 7, None]
    )
    logical = st.sampled_from(["decimal", "uuid", "date", "time-millis", "timestamp-micros", "duration", "other"])
    numbers = st.sampled_from([-1, 0, 1, 5, 2**31, 2**70, 1.5, "3"])

    def inner(child: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
        field = st.fixed_dictionaries({"name": names, "type": child}, optional={"default": st.none() | numbers})
        return st.one_of(
            st.fixed_dictionaries({"type": st.just("array"), "items": child}),
            st.fixed_dictionaries({"type": st.just("map"), "values": child}),
            st.fixed_dictionaries({"type": st.just("record"), "name": names, "fields": st.lists(field, max_size=4)}),
            st.fixed_dictionaries({"type": st.just("fixed"), "name": names, "size": numbers}),
            st.fixed_dictionaries({"type": st.just("enum"), "name": names, "symbols": st.lists(names, max_size=3)}),
            st.fixed_dictionaries(
                {"type": child, "logicalType": logical}, optional={"precision": numbers, "scale": numbers}
            ),
            st.lists(child, max_size=4),
        )

    return st.recursive(leaves, inner, max_leaves=12)


def test_a_schema_of_a_stranger_is_admitted_or_refused_and_values_of_it_are_read_or_refused(
    fine: Fine, cases: Cases
) -> None:
    deep = '{"type":"array","items":' * 400 + '"int"' + "}" * 400

    @cases(600)
    @given(schemas().map(json.dumps) | st.just(deep), st.lists(st.sampled_from(HOSTILE), max_size=4).map(b"".join))
    def check_each(text: str, tail: bytes) -> None:
        try:
            head = single_object(Schema.parse(text).fingerprint, b"")
        except Exception:
            head = b"\xc3\x01" + bytes(8)
        fine("schema", text.encode() + b"\n" + head + tail)

    check_each()
