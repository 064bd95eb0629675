"""Logical types: between the plain Python value, the raw Avro value, and JSON text.

Plain forms are those of fastavro: aware `datetime` in UTC, naive for the local kinds,
`date`, `time`, `Decimal`, `UUID`. What is finer than its type is cut, never rounded up, so
that an instant never moves into the future; a decimal that would lose a digit is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TypeVar

from farandole.events.misfit import misfit
from farandole.events.schema_tree import Fixed, Primitive
from farandole.ids import Uuid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH = EPOCH.replace(tzinfo=None)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Logical:
    """One logical type: `to_raw` takes the plain value, `from_raw` gives it, `from_json` reads its JSON form.

    `to_raw` and `from_json` raise `Misfit` for what is not one, `from_raw` ValueError or OverflowError
    for a raw value that Python cannot hold.
    """

    plain: type
    to_raw: Callable[[object], object]
    from_raw: Callable[[object], object]
    from_json: Callable[[object], object]


def logical_of(node: Primitive | Fixed) -> Logical | None:
    """What the node's logical type does; None if it has none that we know."""
    if node.logical is None:
        return None
    if node.logical == "decimal":
        return _decimal(node.precision, node.scale, node.size if isinstance(node, Fixed) else None)
    return _LOGICAL[node.logical]


def _timestamp(unit: timedelta, *, aware: bool) -> Logical:
    epoch = EPOCH if aware else _LOCAL_EPOCH
    expected = f"a datetime {'with' if aware else 'without'} a time zone"

    def to_raw(value: object) -> object:
        if not isinstance(value, datetime) or (value.utcoffset() is not None) is not aware:
            raise misfit(expected, value)
        return (value - epoch) // unit

    def from_raw(raw: object) -> object:
        assert isinstance(raw, int)
        return epoch + raw * unit

    def from_json(value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            return _held(lambda: epoch + value * unit, expected, value)
        read = _iso(datetime.fromisoformat, expected, value)
        if (read.utcoffset() is not None) is not aware:
            raise misfit(f"{expected}, as ISO 8601 text", value)
        return _held(lambda: read.astimezone(UTC) if aware else read, expected, value)

    return Logical(datetime, to_raw, from_raw, from_json)


def _date() -> Logical:
    expected = "a date"

    def to_raw(value: object) -> object:
        if not isinstance(value, date) or isinstance(value, datetime):
            raise misfit(expected, value)
        return value.toordinal() - _EPOCH_ORDINAL

    def from_raw(raw: object) -> object:
        assert isinstance(raw, int)
        return date.fromordinal(raw + _EPOCH_ORDINAL)

    def from_json(value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            return _held(lambda: from_raw(value), expected, value)
        return _iso(date.fromisoformat, expected, value)

    return Logical(date, to_raw, from_raw, from_json)


def _time(unit: timedelta) -> Logical:
    expected = "a time of day without a time zone"

    def to_raw(value: object) -> object:
        if not isinstance(value, time) or value.tzinfo is not None:
            raise misfit(expected, value)
        return (datetime.combine(_LOCAL_EPOCH, value) - _LOCAL_EPOCH) // unit

    def from_raw(raw: object) -> object:
        assert isinstance(raw, int)
        since_midnight = unit * raw
        if not timedelta() <= since_midnight < timedelta(days=1):
            raise ValueError(f"{raw} is no time of day")
        return (_LOCAL_EPOCH + since_midnight).time()

    def from_json(value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            return _held(lambda: from_raw(value), expected, value)
        read = _iso(time.fromisoformat, expected, value)
        if read.tzinfo is not None:
            raise misfit(f"{expected}, as ISO 8601 text", value)
        return read

    return Logical(time, to_raw, from_raw, from_json)


def _decimal(precision: int, scale: int, size: int | None) -> Logical:
    expected = f"a decimal of at most {precision} digits, {scale} of them after the point"

    def to_raw(value: object) -> object:
        if not isinstance(value, Decimal) or not value.is_finite():
            raise misfit(expected, value)
        sign, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)
        shift = exponent + scale
        unscaled = 0
        if any(digits):
            kept = digits[:shift] if shift < 0 else digits
            # Compared before any number is made: digits and exponent are text from a stranger. 10**999999999 is not
            # free, and Python makes no int of more than 4,300 digits, be they zeros behind the point.
            if len(digits) + shift > precision or any(digits[len(kept) :]):
                raise misfit(expected, value)
            unscaled = int("".join(map(str, kept))) * 10 ** max(shift, 0)
        width = (unscaled.bit_length() + 8) // 8 if size is None else size
        try:
            return (-unscaled if sign else unscaled).to_bytes(width, "big", signed=True)
        except OverflowError:
            raise misfit(f"{expected}, in {size} bytes", value) from None

    def from_raw(raw: object) -> object:
        assert isinstance(raw, bytes)
        unscaled = int.from_bytes(raw, "big", signed=True)
        if abs(unscaled) >= 10**precision:
            raise ValueError(f"more than {precision} digits in a decimal")
        return Decimal((unscaled < 0, tuple(map(int, str(abs(unscaled)))), -scale))

    def from_json(value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            value = Decimal(value)
        if isinstance(value, str):
            value = _iso(_number, expected, value)
        return from_raw(to_raw(value))

    return Logical(Decimal, to_raw, from_raw, from_json)


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        raise ValueError(text) from None


def _uuid() -> Logical:
    expected = "a UUID"

    def to_raw(value: object) -> object:
        if not isinstance(value, Uuid):
            raise misfit(expected, value)
        return str(value)

    def from_raw(raw: object) -> object:
        assert isinstance(raw, str)
        return Uuid(raw)

    return Logical(Uuid, to_raw, from_raw, lambda value: _iso(Uuid, expected, value))


def _timedelta() -> Logical:
    """Not Avro's: dataclasses-avroschema writes a `timedelta` as a double of seconds under a name of its own."""
    expected = "a timedelta"

    def to_raw(value: object) -> object:
        if not isinstance(value, timedelta):
            raise misfit(expected, value)
        return value.total_seconds()

    def from_raw(raw: object) -> object:
        assert isinstance(raw, float)
        return timedelta(seconds=raw)

    def from_json(value: object) -> object:
        if not isinstance(value, int | Decimal) or isinstance(value, bool):
            raise misfit(f"{expected}, as a number of seconds", value)
        return _held(lambda: timedelta(seconds=float(value)), expected, value)

    return Logical(timedelta, to_raw, from_raw, from_json)


def _iso(read: Callable[[str], _T], expected: str, value: object) -> _T:
    if not isinstance(value, str):
        raise misfit(f"{expected}, as text", value)
    try:
        return read(value)
    except ValueError:
        raise misfit(f"{expected}, as text", value) from None


def _held(make: Callable[[], _T], expected: str, value: object) -> _T:
    """What `make` gives, where Python's own range can hold it."""
    try:
        return make()
    except (OverflowError, ValueError):
        raise misfit(f"{expected} within Python's range", value) from None


_LOGICAL = {
    "date": _date(),
    "time-millis": _time(_MILLISECOND),
    "time-micros": _time(_MICROSECOND),
    "timestamp-millis": _timestamp(_MILLISECOND, aware=True),
    "timestamp-micros": _timestamp(_MICROSECOND, aware=True),
    "local-timestamp-millis": _timestamp(_MILLISECOND, aware=False),
    "local-timestamp-micros": _timestamp(_MICROSECOND, aware=False),
    "uuid": _uuid(),
    "dataclasses-avroschema-timedelta": _timedelta(),
}
