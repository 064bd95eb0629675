"""Avro's binary form to raw values: a function per type, which says where the value ends.

Stricter than fastavro's C reader, which takes a branch of -1 for the last one and a boolean of 5
for True. Nothing is believed that the data announces of itself: who claims a billion items has to
bring them. Knows nothing of schemas that differ, nor of logical types.
"""

from collections.abc import Callable
from struct import Struct, unpack

from farandole.events.wire import DOUBLE, FLOAT, INT_MAX, INT_MIN, read_length, read_long

Read = Callable[[bytes, int], tuple[object, int]]
"""The value at a place, and where it ends; IndexError or ValueError where the data is not of its schema."""


def _null(data: bytes, at: int) -> tuple[object, int]:
    return None, at


def _boolean(data: bytes, at: int) -> tuple[object, int]:
    byte = data[at]
    if byte > 1:
        raise ValueError(f"a boolean of {byte}")
    return byte == 1, at + 1


def _int(data: bytes, at: int) -> tuple[object, int]:
    number, at = read_long(data, at)
    if not INT_MIN <= number <= INT_MAX:
        raise ValueError("an int of more than 32 bits")
    return number, at


def _float(data: bytes, at: int) -> tuple[object, int]:
    return FLOAT.unpack(_taken(data, at, 4))[0], at + 4


def _double(data: bytes, at: int) -> tuple[object, int]:
    return DOUBLE.unpack(_taken(data, at, 8))[0], at + 8


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = read_length(data, at)
    return _taken(data, at, length), at + length


def _string(data: bytes, at: int) -> tuple[str, int]:
    length, at = read_length(data, at)
    end = at + length
    text = data[at:end] if end <= len(data) else _taken(data, at, length)  # a call less for most of what is read
    return text.decode(), end


def _taken(data: bytes, at: int, length: int) -> bytes:
    if at + length > len(data):
        raise IndexError(f"{length} bytes wanted, {len(data) - at} left")
    return data[at : at + length]


PRIMITIVES: dict[str, Read] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int,
    "long": read_long,
    "float": _float,
    "double": _double,
    "bytes": _bytes,
    "string": _string,
}
"""By Avro's own word for the type."""


def fixed(size: int) -> Read:
    """A run of bytes."""
    return lambda data, at: (_taken(data, at, size), at + size)


def _block(data: bytes, at: int) -> tuple[int, int, int | None]:
    """Items in the next block, where they begin, and where they end if the writer said so."""
    count, at = read_long(data, at)
    if count >= 0:
        return count, at, None
    size, at = read_length(data, at)
    return -count, at, at + size


def _check_block(at: int, end: int | None) -> None:
    if end is not None and at != end:
        raise ValueError(f"a block that ends {at - end} bytes off")


def floats(form: Struct) -> Read:
    """A list of floats, a block at a time: embeddings and series are long, and any bytes are a float."""
    letter = form.format[-1]

    def read(data: bytes, at: int) -> tuple[object, int]:
        items: list[object] = []
        while True:
            count, at, end = _block(data, at)
            if count == 0:
                return items, at
            raw = _taken(data, at, count * form.size)
            items += unpack(f"<{count}{letter}", raw)
            at += len(raw)
            _check_block(at, end)

    return read


def array(read_item: Read) -> Read:
    """A list, of any number of blocks."""

    def read(data: bytes, at: int) -> tuple[object, int]:
        items: list[object] = []
        while True:
            count, at, end = _block(data, at)
            if count == 0:
                return items, at
            for _ in range(count):  # ends with the data: admitted items take at least a byte
                item, at = read_item(data, at)
                items.append(item)
            _check_block(at, end)

    return read


def mapping(read_value: Read) -> Read:
    """A dict of texts; of a key that comes twice the last value counts."""

    def read(data: bytes, at: int) -> tuple[object, int]:
        values: dict[str, object] = {}
        while True:
            count, at, end = _block(data, at)
            if count == 0:
                return values, at
            for _ in range(count):
                key, at = _string(data, at)
                values[key], at = read_value(data, at)
            _check_block(at, end)

    return read
