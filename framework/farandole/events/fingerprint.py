"""CRC-64-AVRO: the fingerprint that names a schema in single-object encoding.

Source: Avro 1.12 specification, "Schema Fingerprints"; fastavro's is the same, but makes its
table anew for every schema.
"""

_EMPTY = 0xC15D213AA4D7A795


def _entry(index: int) -> int:
    for _ in range(8):
        index = (index >> 1) ^ (_EMPTY if index & 1 else 0)
    return index


_TABLE = [_entry(index) for index in range(256)]


def crc64_avro(canonical: bytes) -> bytes:
    """The fingerprint of a schema's parsing canonical form: 8 bytes, little endian as they stand in a frame."""
    crc = _EMPTY
    for byte in canonical:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc.to_bytes(8, "little")
