"""The metadata beside a committed position: who wrote it, in which transaction, and what is done above it.

Agents and coordinators share this codec (R4, R9). The text is ASCII, because clients pass it
as a C string, and for a window of 8,192 offsets at most 1,700 of the 4,096 characters that the
broker takes by default (`offset.metadata.max.bytes`), so that it can never be refused for its
size. What cannot be read stops its partition: nothing is ever assumed to be undone. Knows
nothing of Kafka clients.

Layout after the prefix `f1.`, base64url without padding: flags, number (8 bytes), epoch,
`now` (if flagged), length and text of the writer, length of the bitmap, the bitmap (a bit set,
or run lengths if shorter), CRC-32 of all before. Numbers without a size are varints.
"""

import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass

from farandole.errors import MetadataUnreadable

WINDOW = 8192
"""Most offsets above a position of which metadata can tell: a plain bit set of it takes 1,366 characters."""

WRITER_MAX = 200
"""Longest transactional id, bytes: three names of 63 characters and two dots, rounded up."""

TEXT_MAX = 1700
"""Longest text that `encode` gives."""

NUMBER_BITS = 64

_PREFIX = "f1."
_CLEAN, _HAS_NOW, _RUNS = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is committed with a position.

    `writer` is a transactional id, `number` that of its transaction (64 bits, compared for equality only),
    `epoch` the owner's, `clean` whether the owner let go of the partition in order, `now_ms` a coordinator's clock.
    `bitmap`: bit i of byte i // 8 (lowest first) says that offset position + i is done; trailing zero bytes are
    left out. The first bit is never set, for the position is the lowest unfinished offset.
    """

    writer: str = ""
    number: int = 0
    epoch: int = 0
    clean: bool = False
    now_ms: int | None = None
    bitmap: bytes = b""


FRESH = Metadata(clean=True)
"""Of a position that was committed with no metadata: by `apply`, for a topic that nobody has read yet."""


def encode(it: Metadata) -> str:
    """The metadata as text of at most `TEXT_MAX` characters.

    Raises:
        ValueError: the writer is longer than `WRITER_MAX` or the bitmap than the window.
    """
    writer, bitmap = it.writer.encode(), it.bitmap.rstrip(b"\0")
    if len(writer) > WRITER_MAX or len(bitmap) > WINDOW // 8:
        raise ValueError(f"expected at most {WRITER_MAX} bytes of writer and {WINDOW} bits of bitmap: {it!r}")
    runs = _run_lengths(bitmap)
    flags = _CLEAN * it.clean | _HAS_NOW * (it.now_ms is not None) | _RUNS * (runs is not None)
    shown = bitmap if runs is None else runs
    body = b"".join(
        (
            bytes((flags,)),
            it.number.to_bytes(NUMBER_BITS // 8, "big"),
            _varint(it.epoch),
            b"" if it.now_ms is None else _varint(it.now_ms),
            _varint(len(writer)),
            writer,
            _varint(len(shown)),
            shown,
        )
    )
    body += zlib.crc32(body).to_bytes(4, "big")
    return _PREFIX + urlsafe_b64encode(body).rstrip(b"=").decode()


def decode(text: str) -> Metadata:
    """What `encode` wrote; `FRESH` for an empty text.

    Raises:
        MetadataUnreadable: another version, another program's, or damaged.
    """
    if not text:
        return FRESH
    if not text.startswith(_PREFIX):
        raise MetadataUnreadable(
            f"expected commit metadata of version {_PREFIX!r}, but found {text[:20]!r}. The partition stops: "
            "upgrade this process, or reset the position by hand if another program wrote it"
        )
    encoded = text[len(_PREFIX) :]
    try:
        body = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        content, crc = body[:-4], body[-4:]
        if zlib.crc32(content).to_bytes(4, "big") != crc:
            raise ValueError("its checksum does not fit")
        return _read(content)
    except (ValueError, IndexError) as bad:
        raise MetadataUnreadable(
            f"expected commit metadata, but {text[:20]!r}... is damaged: {bad}. The partition stops"
        ) from None


def _read(content: bytes) -> Metadata:
    flags, at = content[0], 1
    number, at = int.from_bytes(content[at : at + 8], "big"), at + 8
    epoch, at = _read_varint(content, at)
    now_ms = None
    if flags & _HAS_NOW:
        now_ms, at = _read_varint(content, at)
    length, at = _read_varint(content, at)
    writer, at = content[at : at + length].decode(), at + length
    length, at = _read_varint(content, at)
    if at + length != len(content):
        raise ValueError(f"its bitmap has {len(content) - at} bytes, not {length}")
    shown = content[at:]
    bitmap = _from_run_lengths(shown) if flags & _RUNS else shown.rstrip(b"\0")
    if len(bitmap) > WINDOW // 8:
        raise ValueError(f"its bitmap goes past {WINDOW} offsets")
    return Metadata(writer, number, epoch, bool(flags & _CLEAN), now_ms, bitmap)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def _run_lengths(bitmap: bytes) -> bytes | None:
    """Lengths of the runs of zeros and ones in turn, zeros first; None where the bit set itself is no longer."""
    bits, out = int.from_bytes(bitmap, "little"), bytearray()
    for length in _runs(bits):
        out += _varint(length)
        if len(out) >= len(bitmap):
            return None
    return bytes(out) if bits else None


def _runs(bits: int) -> Iterator[int]:
    while bits:
        zeros = (bits & -bits).bit_length() - 1
        bits >>= zeros
        ones = (~bits & (bits + 1)).bit_length() - 1
        bits >>= ones
        yield zeros
        yield ones


def _from_run_lengths(data: bytes) -> bytes:
    bits, at, i = 0, 0, 0
    while i < len(data):
        zeros, i = _read_varint(data, i)
        ones, i = _read_varint(data, i)
        at += zeros
        if at + ones > WINDOW:
            raise ValueError(f"its runs go past {WINDOW} offsets")
        bits |= ((1 << ones) - 1) << at
        at += ones
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")
