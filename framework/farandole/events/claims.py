"""The claim check: what stands in a record in place of a payload that is too large for it.

Pure: whether a payload is a claim, and for what. Storing and fetching are `artifacts`.
"""

from farandole.events.catalogue import decode, schema_of
from farandole.events.framing import single_object
from farandole.events.tables import Claim

INLINE_MAX = 262_144
"""Largest payload inside a record, bytes. Source: DESIGN section 4; a quarter of Kafka's default max.message.bytes."""

_HEAD = single_object(schema_of(Claim).fingerprint, b"")


def is_claim(framed: bytes) -> Claim | None:
    """The claim that a payload is; None if it is the payload itself.

    Raises:
        RecordError: it is framed as a claim, but is none.
    """
    if not framed.startswith(_HEAD):
        return None
    claim = decode(framed)
    assert isinstance(claim, Claim)
    return claim
