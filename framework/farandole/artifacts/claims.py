"""The claim check, transparent to both ends: large payloads go to the store, a claim into the record.

Stored before the transaction that writes the record: an aborted one leaves an artifact that
nobody refers to, never a record that refers to nothing.
"""

from farandole.artifacts.port import ArtifactStore
from farandole.errors import ClaimBroken
from farandole.events.catalogue import encode
from farandole.events.claims import INLINE_MAX, is_claim


def check_in(store: ArtifactStore, framed: bytes, limit: int = INLINE_MAX) -> bytes:
    """The payload itself, or a framed claim in its place if it is larger than `limit` bytes; errors as `put`."""
    return framed if len(framed) <= limit else encode(store.put(framed))


def check_out(store: ArtifactStore, framed: bytes) -> bytes:
    """The payload that `check_in` was given.

    Raises:
        ClaimBroken: it is claimed and missing or altered, or it is a claim again.
        RecordError: it is framed as a claim, but is none.
    """
    claim = is_claim(framed)
    if claim is None:
        return framed
    payload = store.get(claim)
    if is_claim(payload) is not None:
        raise ClaimBroken(f"artifact {claim.sha256}: expected a payload, but found another claim")
    return payload
