"""What we ask of a place for large payloads: content by its hash, nothing else.

Whoever has stored something twice has stored it once. Calls block: they belong to the
shell. A store is thread-safe.
"""

from typing import Protocol

from farandole.events.tables import Claim


class ArtifactStore(Protocol):
    """Keeps payloads under the SHA-256 of their content."""

    def put(self, data: bytes) -> Claim:
        """Store a payload durably; when this returns, a record may refer to it.

        Raises:
            TransportError: the store cannot take it now.
        """
        ...

    def get(self, claim: Claim) -> bytes:
        """The payload of a claim, verified.

        Raises:
            ClaimBroken: it is not there, or its size or hash differ.
            TransportError: the store cannot be read now.
        """
        ...
