"""Avro's binary primitives: variable-length integers and lengths, both ways.

Stricter than fastavro: an integer has at most 64 bits, a length is never negative.
"""

import struct

LONG_MIN, LONG_MAX = -(1 << 63), (1 << 63) - 1
INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1

FLOAT = struct.Struct("<f")
DOUBLE = struct.Struct("<d")


def _varint(number: int) -> bytes:
    if not LONG_MIN <= number <= LONG_MAX:
        raise OverflowError(f"{number} does not fit 64 bits")
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


class _Varints(dict[int, bytes]):
    """Encoded integers; small ones, which are most, are looked up and not computed."""

    def __missing__(self, number: int) -> bytes:
        return _varint(number)


VARINT = _Varints({number: _varint(number) for number in range(-64, 2048)})
"""`VARINT[n]` is the zigzag encoding of any integer of 64 bits; OverflowError for others."""


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """An integer at `at`, and where it ends.

    Raises:
        IndexError: the data ends inside it.
        ValueError: it has more than 64 bits.
    """
    byte = data[at]
    at += 1
    if byte < 0x80:  # -64 to 63, as most counts and branches are
        return (byte >> 1) ^ -(byte & 1), at
    rest, shift = byte & 0x7F, 7
    while byte > 0x7F:
        byte = data[at]
        at += 1
        rest |= (byte & 0x7F) << shift
        shift += 7
        if shift > 70:
            raise ValueError("an integer of more than 10 bytes")
    if rest >> 64:
        raise ValueError("an integer of more than 64 bits")
    return (rest >> 1) ^ -(rest & 1), at


def read_length(data: bytes, at: int) -> tuple[int, int]:
    """A length at `at`, and where it ends; errors as `read_long`, and ValueError if it is negative."""
    first = data[at]
    if not first & 1:  # up to 8,191: no call for most
        if first < 0x80:
            return first >> 1, at + 1
        if (second := data[at + 1]) < 0x80:
            return (first & 0x7F | second << 7) >> 1, at + 2
    length, at = read_long(data, at)
    if length < 0:
        raise ValueError(f"a length of {length}")
    return length, at
