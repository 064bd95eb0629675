"""Payloads as JSON: what is shown may be given back, and is then the same payload."""

import math
import os
import stat
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from farandole import agent, pipeline
from farandole.cli.dead_filter import PAYLOAD
from farandole.cli.dead_letters import print_letter
from farandole.cli.editing import in_editor
from farandole.cli.output import as_json, json_text, visible
from farandole.client.dead import OPEN, DeadLetter
from farandole.client.payload import framed_input
from farandole.definition.types import schema_text, to_plain
from farandole.errors import RecordError
from farandole.events.avro import Schema


class Colour(Enum):
    """An enumeration travels by its values."""

    RED = "red"
    BLUE = "blue"


class Model(BaseModel):
    """A model of pydantic's."""

    raw: bytes
    ratio: float


@dataclass(frozen=True)
class Everything:
    """A field of each type that may travel, and of each that may stand inside another."""

    flag: bool
    count: int
    ratio: float
    text: str
    raw: bytes
    at: datetime
    day: date
    raws: list[bytes]
    ratios: tuple[float, ...]
    by_name: dict[str, bytes]
    when: datetime | None
    raw_or_not: bytes | None
    ratio_or_not: float | None
    colour: Colour
    size: Literal["s", "m"]
    model: Model


@agent
def take(raw: bytes, text: str) -> str:
    """Whose input is repaired."""
    return text


@pipeline
def taken(raw: bytes, text: str) -> str:
    """One step."""
    return take(raw, text)


STEP = taken.definition.steps["take"]

SCHEMA = Schema.parse(schema_text(Everything))

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_raws = st.binary(max_size=8)
_ratios = st.floats().map(lambda ratio: math.nan if math.isnan(ratio) else ratio)  # its 2**53 spellings are one
_instants = st.datetimes(timezones=st.just(UTC)) | st.datetimes(
    datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.timezones()
)
_everything = st.builds(
    Everything,
    flag=st.booleans(),
    count=st.integers(-(2**63), 2**63 - 1),
    ratio=_ratios,
    text=_texts,
    raw=_raws,
    at=_instants,
    day=st.dates(),
    raws=st.lists(_raws, max_size=3),
    ratios=st.lists(_ratios, max_size=3).map(tuple),
    by_name=st.dictionaries(_texts, _raws, max_size=3),
    when=st.none() | _instants,
    raw_or_not=st.none() | _raws,
    ratio_or_not=st.none() | _ratios,
    colour=st.sampled_from(Colour),
    size=st.sampled_from(["s", "m"]),
    model=st.builds(Model.model_construct, raw=_raws, ratio=_ratios),
)


def framed(value: Everything) -> bytes:
    """The payload of a value."""
    return SCHEMA.encode(to_plain(value, Everything))


@given(_everything, st.booleans())
def test_payload_that_is_shown_and_put_back_unchanged_is_the_same_payload(value: Everything, is_ascii: bool) -> None:
    """`dead edit` of one field changed the bytes of the others: c3a9 came back as e9, b"\\0\\xff" as ten letters, and
    a dead letter with NaN anywhere could not be repaired at all."""
    payload = framed(value)

    shown = json_text(SCHEMA.decode(payload), is_ascii=is_ascii)

    assert SCHEMA.encode(SCHEMA.from_json(shown.encode())) == payload
    assert visible(shown, keep="\n") == shown  # nothing in it that a terminal obeys, and that is told by other words


BYTES = [b"", "é".encode(), "é☃".encode(), b"\x00\xff\xfe", bytes(range(256))]


@pytest.mark.parametrize("raw", BYTES)
def test_bytes_are_text_of_code_points_0_to_255(raw: bytes) -> None:
    """They were shown as the UTF-8 that they might be, and read as Latin-1."""
    assert as_json({"raw": raw}) == {"raw": raw.decode("latin-1")}


@pytest.mark.parametrize("raw", BYTES)
def test_payload_on_a_terminal_is_json_that_may_be_given_back(raw: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    letter = DeadLetter("t/0/0", OPEN, "a", "r", "s", -1, 1, "error", "bad", "f", "d", datetime(2026, 1, 1, tzinfo=UTC))

    print_letter(letter, {"raw": raw, "text": "é"}, "")

    shown = capsys.readouterr().out.split(PAYLOAD, 1)[1].split("\n\n", 1)[0]
    assert framed_input(STEP, shown) == framed_input(STEP, {"raw": raw, "text": "é"})


def test_local_instant_is_shown_in_no_zone() -> None:
    """Avro's local kinds were told in UTC by the zone of the machine that showed them, and then not read."""
    assert as_json(datetime(2026, 7, 1, 12)) == "2026-07-01T12:00:00"


def test_text_that_an_editor_saves_in_another_encoding_is_refused_not_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each such byte became U+FFFD, which is a text like any other, and was sent."""
    script = tmp_path / "editor"
    script.write_text(
        f"#!{sys.executable}\nimport sys, pathlib\np = pathlib.Path(sys.argv[1])\n"
        "p.write_bytes(p.read_text('utf-8').replace('1', '2').encode('latin-1'))\n",
        encoding="utf-8",
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("VISUAL", os.fspath(script))

    written = in_editor('{"text": "é", "raw": "1"}')

    assert written is not None
    with pytest.raises(RecordError, match="UTF-8"):
        framed_input(STEP, written)
    monkeypatch.setenv("VISUAL", "true")
    assert in_editor(written) is None  # edited again: it is shown as it was left
