"""What commands print: text for people, JSON for programs; both from the same values."""

import codecs
import dataclasses
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path

import typer

_CONTROLS = {n: f"\\x{n:02x}" for n in (*range(0x20), *range(0x7F, 0xA0))} | {9: "\\t", 10: "\\n", 13: "\\r"}
"""C0, DEL and C1 of ISO 6429, which terminals take for commands."""

_ESCAPES = {n: f"\\u{n:04x}" for n in range(0x7F, 0xA0)}

STDOUT, STDERR = 1, 2
"""Where processes write that user code begins, whatever Python calls its standard output."""


@contextmanager
def prints_aside() -> Iterator[None]:
    """Send to standard error what user code prints meanwhile: standard output is for what the command was asked."""
    sys.stdout.flush()
    kept = None
    with suppress(OSError):  # one of the two is closed: then nobody reads it either
        kept = os.dup(STDOUT)
        os.dup2(STDERR, STDOUT)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, STDOUT)
            os.close(kept)


def as_json(value: object) -> object:
    """A value as JSON can hold it: dataclasses as objects, instants as RFC 3339, bytes as code points 0 to 255.

    Payloads are given back as they were shown (`dead edit`, `dead replay --input`): `events.jsonform` reads this form.
    """
    match value:
        case Enum():
            return value.value
        case float() if not math.isfinite(value):  # JSON has no such numbers, and strict readers refuse the document
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case None | bool() | int() | float() | str():
            return value
        case datetime() if value.utcoffset() is None:  # Avro's local kinds: in no zone, and no less in this machine's
            return value.isoformat()
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case bytes():
            return value.decode("latin-1")
        case Path() | Decimal():
            return str(value)
        case Mapping():
            return {str(name): as_json(each) for name, each in value.items()}
        case Iterable():
            return [as_json(each) for each in value]
        case _ if dataclasses.is_dataclass(value):
            return {name: as_json(each) for name, each in as_fields(value).items()}
        case _:
            return str(value)


def as_fields(value: object) -> dict[str, object]:
    """The fields of a dataclass by name, one level deep."""
    assert dataclasses.is_dataclass(value)
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def json_text(value: object, *, indent: int | None = 2, is_ascii: bool = False) -> str:
    """One JSON document that a terminal and an editor may be shown, and that reads back as the same value."""
    return inert(json.dumps(as_json(value), indent=indent, ensure_ascii=is_ascii, allow_nan=False))


def print_json(value: object, *, indent: int | None = 2) -> None:
    """One JSON document; `indent=None` for one line."""
    typer.echo(json_text(value, indent=indent, is_ascii=is_narrow()))


def is_narrow() -> bool:
    """Whether standard output cannot take every character: what it writes instead would be no JSON."""
    return codecs.lookup(sys.stdout.encoding or "utf-8").name != "utf-8"


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last one takes what is left."""
    cells = [tuple(head), *(tuple(map(visible, row)) for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    for row in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def ago(then: datetime | None, now: datetime) -> str:
    """How long ago, in the unit a person would use; empty if it is not known."""
    if then is None:
        return ""
    seconds = max(0.0, (now - then).total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def instant(value: datetime | None) -> str:
    """An instant to the second, in UTC."""
    return "" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def instant_ms(value: datetime) -> str:
    """An instant to the millisecond, in UTC: lines of events stand closer together than seconds."""
    at = value.astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}Z"


def visible(text: str, keep: str = "") -> str:
    """A text with its control characters written out, but for those of `keep`: an error holds whatever a stranger sent,
    and a terminal does what it says."""
    return text.translate({n: told for n, told in _CONTROLS.items() if chr(n) not in keep})


def inert(document: str) -> str:
    """JSON, and the same, without the control characters that JSON lets pass: DEL and C1."""
    return document.translate(_ESCAPES)


def shorten(text: str, width: int = 100) -> str:
    """The first line of a text, cut to a width."""
    line = text.strip().partition("\n")[0]
    line = visible(line)
    return line if len(line) <= width else line[: width - 1] + "…"
