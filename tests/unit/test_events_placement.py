"""Where keys live must be where Java's clients put them."""

import pytest

from farandole.ids import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "java"),
    [
        # Source: Apache Kafka, UtilsTest.testMurmur2
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_hash_is_javas_made_positive(key: str, java: int) -> None:
    assert murmur2(key.encode()) == java & 0x7FFFFFFF


def test_key_is_placed_by_its_hash() -> None:
    assert [partition_of(key, 12) for key in ("21", b"foobar")] == [
        (-973932308 & 0x7FFFFFFF) % 12,
        (-790332482 & 0x7FFFFFFF) % 12,
    ]
