"""Any record on any topic, before the real coordinator and the real agents: the partition goes on, and so do runs."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farandole.definition.model import parse_definition
from farandole.errors import DefinitionError
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.catalogue import encode, type_name
from farandole.events.commands import CancelRun, ReleaseRun, ReplayDeadLetter, StartRun
from farandole.events.envelope import Envelope
from farandole.events.tables import RunControl
from farandole.ids import generated_run_id
from farandole.testing.fuzz import Answer
from farandole.testing.fuzz.partition import Place, fuzzed

Fine = Callable[[str, bytes], Answer]
Cases = Callable[[int], settings]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HASH = fuzzed.definition.hash
INPUT = b"\xc3\x01"
GENERATED = generated_run_id(NOW, 7)
STAMPS = st.sampled_from([None, None, -1, 0, 2**62, -(10**17), -62135596800000, 253402300799000])
"""Instants that records are written at: what no calendar has, too."""

RUNS = st.sampled_from(["r-1", "r-2", "", "x" * 200, "a#b", "a/b"])
STEPS = st.sampled_from(["double", "add", "nope", ""])
NUMBERS = st.sampled_from([-2, -1, 0, 1, 2, 1000, 2**31 - 1])
WORK = Schema.parse(fuzzed.definition.steps["double"].input_schema).encode({"number": 3})
TEXT = "\u00e9\u0663".encode()
"""A text that is no ASCII, though a decimal digit is in it."""

BYTES = st.sampled_from([b"", INPUT, WORK, WORK, b"{}", b"x" * 300, fuzzed.encode_params(number=3), TEXT]) | st.binary(
    max_size=40
)


def broken_definitions() -> list[tuple[str, bytes]]:
    """Definitions with one piece exchanged, each under its own hash: whatever can be published, can be named."""
    odd: list[object] = [None, 7, "x", "a.b.c", [], {}, ["add"], ["double"], {"type": "array", "items": "null"}, "1s"]
    found: list[tuple[str, bytes]] = []
    for part in (None, 0, 1):
        whole = json.loads(fuzzed.definition.to_json())
        for name in sorted({*(whole if part is None else whole["steps"][part]), "map", "after", "when", "join"}):
            for value in odd:
                tree = json.loads(fuzzed.definition.to_json())
                (tree if part is None else tree["steps"][part])[name] = value
                text = json.dumps(tree).encode()
                try:
                    found.append((parse_definition(text).hash, text))
                except DefinitionError:
                    continue  # refused before anybody could name it
    return found


BROKEN = broken_definitions()


DIGESTS = st.sampled_from([HASH, "h1", "nope", ""]) | st.sampled_from([digest for digest, _ in BROKEN])

TRIGGERS = st.builds(
    lambda run, step, item, attempt, digest: Envelope(
        "id", "farandole.Trigger", "me", NOW, run, step, 0, item, attempt, definition=digest, agent=step
    ),
    RUNS, STEPS, NUMBERS, NUMBERS, DIGESTS,
)  # fmt: skip

EVENTS = st.one_of(
    st.builds(facts.StepSucceeded, RUNS, STEPS, NUMBERS, BYTES, st.just(("add",)) | st.just(())),
    st.builds(facts.StepFailed, RUNS, STEPS, NUMBERS, st.just("exception"), st.just("e"), st.just("f"), st.booleans(),
              BYTES),
    st.builds(facts.RunSettled, RUNS, st.sampled_from(["succeeded", "?"]), st.just(NOW), st.just(NOW)),
    st.builds(facts.CancelRequested, RUNS, st.just("why")),
    st.builds(facts.RunStarted, RUNS | st.just(GENERATED), st.just("fuzzed"), DIGESTS, BYTES, st.just(""), st.just(NOW),
              fired=st.sampled_from([("double",), ("add",), ()])),
    st.builds(StartRun, st.sampled_from(["fuzzed", "nope"]), BYTES, RUNS),
    st.builds(CancelRun, RUNS, st.just("why")),
    st.builds(ReleaseRun, RUNS),
    st.builds(ReplayDeadLetter, RUNS, STEPS, NUMBERS, st.just("x"), st.none() | BYTES, NUMBERS),
    st.builds(RunControl, RUNS, st.sampled_from(["stopping", "?"])),
)  # fmt: skip


def envelope_of(record: object) -> Envelope:
    """An envelope that fits a record."""
    run = getattr(record, "run", None) or getattr(record, "run_id", None) or ""
    return Envelope("id", type_name(type(record)), "me", NOW, run, getattr(record, "step", ""))


def packed(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


@st.composite
def definitions(draw: st.DrawFn) -> bytes:
    """A definition that is not what the compiler gives; triggers name it later."""
    digest, text = draw(st.sampled_from(BROKEN))
    key = draw(st.sampled_from([digest.encode(), b"h1"]))
    return json.dumps(
        {"topic": "definitions", "partition": 0, "key": packed(key), "value": packed(text), "headers": []}
    ).encode()


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """A record for a topic: whole, or with a value, headers or key of another."""
    record = draw(EVENTS)
    value = draw(st.sampled_from([encode(record)]) | BYTES | st.none())
    envelope = draw(TRIGGERS) if draw(st.booleans()) else envelope_of(record)
    headers = [[name, packed(text)] for name, text in envelope.headers()]
    extra = st.tuples(
        st.sampled_from(["ce_run", "ce_folded", "ce_item", "ce_time", "ce_params", "ce_start", "x"]), BYTES
    )
    headers += [[name, packed(text)] for name, text in draw(st.lists(extra, max_size=2))]
    if draw(st.integers(0, 3)) == 0:
        headers = headers[: draw(st.integers(0, len(headers)))]
    if draw(st.integers(0, 4)) == 0:
        return draw(definitions())
    topic = draw(st.sampled_from(["inbox.double", "inbox.add", "commands", "events", "control", "definitions"]))
    key = draw(st.none() | st.sampled_from([b"r-1", b"\xff\xfe", b"", b"run:r-1", HASH.encode()[:10]]))
    place = draw(st.integers(0, 1)) if topic not in ("definitions",) else 0
    return json.dumps(
        {
            "topic": topic,
            "partition": place,
            "key": packed(key),
            "value": packed(value),
            "headers": headers,
            "timestamp_ms": draw(STAMPS),
        }
    ).encode()


def test_a_record_of_a_stranger_never_stops_a_partition(fine: Fine, cases: Cases) -> None:
    @cases(500)
    @given(records())
    def check_each(case: bytes) -> None:
        fine("push", case)

    check_each()


def pushed(topic: str, key: bytes | None, value: bytes, headers: list[tuple[str, bytes]]) -> bytes:
    return json.dumps(
        {
            "topic": topic,
            "partition": 0,
            "key": packed(key),
            "value": packed(value),
            "headers": [[name, packed(text)] for name, text in headers],
        }
    ).encode()


def trigger_of(digest: str) -> list[tuple[str, bytes]]:
    return Envelope(
        "id", "farandole.Trigger", "me", NOW, "r-9", "double", 0, -1, 1, definition=digest, agent="double"
    ).headers()


ODD = st.tuples(st.sampled_from([b"", TEXT, b"-1", b"a/b", b"\0"]) | st.binary(max_size=20), st.just(1))
LARGE = st.tuples(st.sampled_from([b"\xff", b"a", b"9"]), st.sampled_from([400, 700_000]))
"""What an inbox takes. Bytes that are no text become three times as many where they are repeated as one."""


def test_a_trigger_that_is_nearly_sound_never_stops_a_partition(fine: Fine, cases: Cases) -> None:
    """One that its agent would take, but for a header or its key."""
    names = ["key", *dict(trigger_of(HASH)), "ce_item", "ce_params", "ce_start", "traceparent", "x"]

    @cases(150)
    @given(st.sampled_from(names), ODD | LARGE)
    def check_each(name: str, odd: tuple[bytes, int]) -> None:
        piece, times = odd
        headers = {} if name == "key" else {**dict(trigger_of(HASH)), name: piece * times}
        key = piece * times if name == "key" else b"r-9"
        fine("push", pushed("inbox.double", key, WORK, [*headers.items()]))

    check_each()


def test_a_beginning_at_any_instant_never_stops_a_home(fine: Fine, cases: Cases) -> None:
    instants = st.sampled_from([-(10**17), 2**62, -62135596800000, 253402300799000]) | st.integers(-(2**63), 2**63 - 1)

    @cases(40)
    @given(st.sampled_from([GENERATED, "r-8"]), instants)
    def check_each(run: str, written: int) -> None:
        begun = facts.RunStarted(run, "fuzzed", HASH, fuzzed.encode_params(number=3), "", NOW, fired=("double",))
        case = json.loads(pushed("events", run.encode(), encode(begun), envelope_of(begun).headers()))
        fine("push", json.dumps({**case, "timestamp_ms": written}).encode())

    check_each()


def test_an_input_that_fits_reaches_the_handler() -> None:
    """What the other tests push can get as far as that: else they would prove little."""
    place = Place()

    place.push("farandole.inbox.double", json.loads(pushed("inbox.double", None, WORK, trigger_of(HASH))))

    calls = [call.step for call in place.harness._stage.executor.calls]
    place.harness.close()
    assert calls == ["double", "add"]


@pytest.mark.parametrize(("digest", "text"), BROKEN[::6], ids=[digest[:8] for digest, _ in BROKEN[::6]])
def test_a_definition_that_cannot_be_run_costs_nobody_but_who_names_it(fine: Fine, digest: str, text: bytes) -> None:
    """The agent loop died of a KeyError when a trigger named a definition whose step was `after` a step it has not.

    It parsed, its hash was right, and only its graph could not be made: in the midst of answering a trigger. The
    process was started again, read the same trigger, and died again: the partition stood still. Found by fuzzing.
    """
    fine("push", pushed("definitions", digest.encode(), text, []))

    answer = fine("push", pushed("inbox.double", None, WORK, trigger_of(digest)))

    assert answer.verdict.value == "accepted"


START = base64.b64encode(fuzzed.encode_params(number=4))


@pytest.mark.parametrize(
    "odd",
    [
        {"ce_attempt": b"9223372036854775808"},
        {"ce_item": b"9223372036854775808"},
        {"ce_start": START, "ce_time": b"2026-01-01T00:00:00"},
        {"ce_start": START, "ce_time": b"0001-01-01T00:00:00+14:00"},
        {"ce_start": START, "ce_time": b"9999-12-31T23:59:59-14:00"},
        {"ce_params": TEXT},
        {"ce_start": TEXT},
    ],
    ids=["attempt", "item", "naive", "before year 1", "after year 9999", "params", "start"],
)
def test_a_trigger_that_no_fact_can_speak_of_is_quarantined(fine: Fine, odd: dict[str, bytes]) -> None:
    """The agent took it, ran its handler and died of what it had to write: "does not fit 64 bits", "can't subtract
    offset-naive and offset-aware datetimes", "date value out of range". Each restart read the same record again.
    """
    headers = [*{**dict(trigger_of(HASH)), **odd}.items()]

    answer = fine("push", pushed("inbox.double", b"r-9", WORK, headers))

    assert answer.verdict.value == "accepted"
